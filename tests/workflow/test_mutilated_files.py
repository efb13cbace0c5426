"""Whatever is done to a workflow file: checking it ends with problems that have places, never with an exception."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from motet.workflow.check import Checked, check_text
from workflow.check_catalog import catalog

EXAMPLES = sorted((Path(__file__).parent.parent.parent / "docs" / "examples").glob("*.yaml"))
SERVERS = catalog()
PIECES = [
    "${{", "}}", "'", "\"", "{", "}", "[", "]", ":", "- ", "\n", "  ", "#", "|", ">", "&a", "*a", "!x", "null",
    "inputs", "steps.x.ok", "item", "release", "call: ", "needs: ", "foreach: ", "set: ", "undo: ", "on_error: ",
    "1", "-1", "1e999", "\t", "\\", "\x00", "é", "😀", "\r\n", "? ", "%", "@", ", ", "map(x, x)", ".?a", "true",
    "as: in",
]  # fmt: skip


def checked(text: str, path: str) -> Checked:
    def read(name: str) -> str:
        return (Path(__file__).parent.parent.parent / "docs" / "examples" / Path(name).name).read_text()

    return check_text(text, SERVERS, path=path, read=read)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_a_mutilated_file_gives_problems_and_no_exception(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(EXAMPLES)).read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 30))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + cut :]
    for path in ("flow.yaml", "flow.json"):
        found = checked(text, path)
        lines = text.count("\n") + 1
        for problem in found.problems:
            assert problem.message
            assert problem.render()
            if problem.file == path:
                assert 1 <= problem.place.line <= lines
        assert found.plan.render() is not None
        assert found.plan.mermaid()
