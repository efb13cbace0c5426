"""docs/python.md and docs/failures.md against the code; run as a program, this writes their parts anew."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, get_args

import pytest
from fastmcp import FastMCP

from motet import Orchestrator, errors, events
from motet.errors import CallError

DOCUMENTS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCUMENTS / "examples" / "python"
_EXAMPLE = re.compile(r"<!-- (examples/python/\w+\.py) -->\n(?:```python\n.*?```\n)?", re.DOTALL)
_EVENTS = re.compile(r"\| event \| says \|\n\|---\|---\|\n.*?(?=\n## )", re.DOTALL)
_ERRORS = re.compile(r"<!-- errors -->\n.*?(?=\nA tool that says)", re.DOTALL)


def written(name: str) -> str:
    """The page with its examples and tables as they have to be."""
    page = (DOCUMENTS / name).read_text()
    page = _EXAMPLE.sub(
        lambda found: f"<!-- {found[1]} -->\n```python\n{(DOCUMENTS / found[1]).read_text()}```\n", page
    )
    page = _EVENTS.sub(lambda _: "\n".join(["| event | says |", "|---|---|", *map(_event, event_types()), ""]), page)
    rows = ["<!-- errors -->", "| kind | what happened | sent | transient |", "|---|---|---|---|"]
    return _ERRORS.sub(lambda _: "\n".join([*rows, *map(_error, error_types()), ""]), page)


def event_types() -> tuple[type, ...]:
    return get_args(events.Event)


def error_types() -> list[type[CallError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, CallError)]
    return [one for one in found if one is not CallError]


def _event(one: type) -> str:
    return f"| `{one.__name__}` | {_first(one)} |"


def _error(one: type[CallError]) -> str:
    return f"| `{one.kind}` | {_first(one)} | {one.sent} | {'yes' if one.transient else 'no'} |"


def _first(one: type) -> str:
    return " ".join((one.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")


@pytest.mark.parametrize("name", ["python.md", "failures.md"])
def test_the_page_shows_the_files_the_events_and_the_errors_as_they_are(name: str):
    assert (DOCUMENTS / name).read_text() == written(name)


def test_every_example_is_on_the_page():
    shown = re.findall(r"<!-- examples/python/(\w+\.py) -->", (DOCUMENTS / "python.md").read_text())
    assert sorted(shown) == sorted(path.name for path in EXAMPLES.glob("*.py"))


# -- the examples run ------------------------------------------------------------------------------------------------


def example(name: str) -> Any:
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def jira(*, lists: bool = True) -> FastMCP:
    server = FastMCP("jira")

    @server.tool
    def get_issue(key: str) -> dict[str, str]:
        return {"key": key, "summary": "It breaks"}

    @server.tool
    def transition_issue(key: str, status: str) -> dict[str, str]:
        if key == "PROJ-0":
            raise ValueError("there is no PROJ-0")
        return {"key": key, "status": status}

    if lists:

        @server.resource("jira://project/{project}/sprint/current")
        def sprint(project: str) -> str:
            return f"sprint of {project}"

    return server


def github() -> FastMCP:
    server = FastMCP("github")

    @server.tool
    def create_issue(repo: str, title: str) -> dict[str, Any]:
        return {"number": 7, "title": f"{repo}: {title}"}

    @server.tool
    def close_issue(number: int) -> dict[str, int]:
        return {"closed": number}

    return server


def settings(**more: Any) -> dict[str, Any]:
    servers = {"jira": jira(), "github": github()}
    return {"servers": servers, **more}


@pytest.fixture
async def motet() -> AsyncGenerator[Orchestrator]:
    async with Orchestrator.from_config(settings()) as running:
        yield running


CLOSE, KEPT = str(EXAMPLES / "close.yaml"), str(EXAMPLES / "kept.yaml")


async def test_servers_may_be_objects():
    assert await example("embedding").main() == "ready: la"


async def test_calls_raise_or_give_an_outcome(motet: Orchestrator):
    calling = example("calling")
    assert await calling.summary(motet, "PROJ-42") == "It breaks"
    assert await calling.close(motet, "PROJ-42") == "it is done"
    assert (await calling.close(motet, "PROJ-0")).startswith("it is not done: jira: transition_issue failed")


async def test_reading_names_what_is_missing(motet: Orchestrator):
    said = await example("reading").status(motet)
    (missing,) = said["missing"]
    assert (said["found"], missing) == (
        {"jira://project/PROJ/sprint/current": "sprint of PROJ"},
        "github://acme/app/pull-requests",
    )
    assert "Resource jira://project/PROJ/sprint/current from server jira" in said["for a model"]


async def test_changes_are_told(tmp_path: Path):
    note = tmp_path / "today.txt"
    note.write_text("bread")
    command = {"command": sys.executable, "args": ["-m", "motet_servers.filesystem", str(tmp_path)]}
    uri = f"files://{tmp_path.name}/today.txt"
    async with Orchestrator.from_config(
        {"servers": {"files": {**command, "boundary": {"schemes": ["files"]}}}}
    ) as motet:
        changed = asyncio.create_task(example("changes").next_text(motet, uri))
        while not changed.done():
            note.write_text("butter")
            await asyncio.wait([changed], timeout=0.1)
        assert await changed == "butter"


async def test_a_workflow_file_is_run_and_its_report_read(motet: Orchestrator):
    running = example("running")
    assert await running.close_and_tell(motet, CLOSE, "PROJ-42") == "7"
    told = await running.close_and_tell(motet, CLOSE, "PROJ-0")
    assert told.startswith(f"ticket missing; to finish it: motet run {CLOSE}")


async def test_a_function_does_the_same(motet: Orchestrator):
    function = example("function")
    done, partial = await function.run(motet, "PROJ-42"), await function.run(motet, "PROJ-0")
    assert (done.status, done.output, partial.status, partial.missing) == ("complete", 7, "partial", ("ticket",))


async def test_a_kept_run_waits_and_is_gone_on_with(motet: Orchestrator, tmp_path: Path):
    kept, journal = example("kept"), str(tmp_path / "runs.sqlite")
    assert await kept.begin(motet, KEPT, journal) == "waiting"
    assert await kept.approve(motet, journal) == "complete"


async def test_events_are_told_as_they_happen():
    lines = await example("observing").observed(settings(), "PROJ-42")
    assert {"jira is ready", "github is ready", "jira.get_issue: done after 1"} <= set(lines)


async def test_questions_are_answered_in_place():
    assert await example("asking").approved(settings(), KEPT) == "complete"


async def test_faults_take_the_place_of_servers(motet: Orchestrator):
    faults = example("faults")
    down, lost = await faults.with_jira_down(motet, CLOSE), await faults.with_an_answer_lost(motet, CLOSE)
    mocked = await faults.without_github(motet, CLOSE)
    assert (down.status, down.missing) == ("partial", ("ticket",))
    assert (lost.status, [left.step for left in lost.attention]) == ("failed", ["issue"])
    assert (mocked.status, mocked.output) == ("complete", 7)


if __name__ == "__main__":
    for page in ("python.md", "failures.md"):
        (DOCUMENTS / page).write_text(written(page))
