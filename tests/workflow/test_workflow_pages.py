"""docs/workflows.md and docs/expressions.md against the code; run as a program, this writes their parts anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from motet.calls import Json
from motet.workflow.check import check
from motet.workflow.expressions.compiling import forms_of
from motet.workflow.expressions.expression import Expression
from motet.workflow.expressions.library import ALL, MACROS, Function
from motet.workflow.expressions.parser import MAX_LENGTH, MAX_NESTING
from motet.workflow.expressions.runtime import BUDGET
from motet.workflow.expressions.tree import Call, Ident
from motet.workflow.format import (
    APPROVAL_KEYS,
    INPUT_KEYS,
    KINDS,
    MODIFIERS,
    ON_ERROR_KEYS,
    RECONCILE_KEYS,
    RETRY_KEYS,
    UNDO_KEYS,
    WAIT_KEYS,
    WORKFLOW_KEYS,
)
from motet.workflow.graph import all_steps
from motet.workflow.loading import load
from motet.workflow.shapes import Dyn, Shape, say

DOCUMENTS = Path(__file__).parent.parent.parent / "docs"
WORKFLOWS, EXPRESSIONS = DOCUMENTS / "workflows.md", DOCUMENTS / "expressions.md"
EXAMPLES = sorted((DOCUMENTS / "examples").glob("*.yaml"))
_EXAMPLE = re.compile(r"<!-- (examples/[a-z-]+\.yaml) -->\n(?:```yaml\n.*?```\n)?", re.DOTALL)
_FUNCTIONS = re.compile(r"<!-- functions -->\n.*?(?=\n## Where it differs)", re.DOTALL)
_TITLES = {
    "text": "Text",
    "lists": "Lists and maps",
    "numbers": "Numbers",
    "times": "Times",
    "conversions": "Conversions and types",
    "optionals": "Optionals",
}


def with_examples(page: str) -> str:
    return _EXAMPLE.sub(lambda found: f"<!-- {found[1]} -->\n```yaml\n{(DOCUMENTS / found[1]).read_text()}```\n", page)


def with_functions(page: str) -> str:
    parts = ["<!-- functions -->"]
    for group, title in _TITLES.items():
        parts += ["", f"## {title}", "", "| function | gives | example |", "|---|---|---|"]
        parts += [_row(one) for one in ALL if one.group == group]
        if group == "lists":
            parts += [
                "",
                "Item by item; a map is gone through by its keys:",
                "",
                "| macro | gives | example |",
                "|---|---|---|",
            ]
            parts += [_macro(name) for name in MACROS if not name.startswith("opt")]
        if group == "optionals":
            parts += [_macro(name) for name in MACROS if name.startswith("opt")]
            parts.append('| `has(x.field)` | Is the field there? | `has({"a": 1}.a)` is `true` |')
    parts += ["", "`cel.bind(name, value, expression)` gives the expression with the name standing for the value.", ""]
    return _FUNCTIONS.sub(lambda _: "\n".join(parts), page)


def _row(one: Function) -> str:
    takes = [_kind(part) for part in one.takes]
    more = [f"[{_kind(part)}]" for part in one.may_take[:1]] + (["…"] if len(one.may_take) > 1 else [])
    arguments = ", ".join([*(takes[1:] if one.method else takes), *more])
    call = f"{takes[0]}.{one.name}({arguments})" if one.method else f"{one.name}({arguments})"
    return f"| `{call}` | {one.about.replace('|', chr(92) + '|')} | `{one.example}` is `{_shown(one.result)}` |"


def _macro(name: str) -> str:
    about, example, result = MACROS[name]
    owner = "optional" if name.startswith("opt") else "list"
    arguments = "x, expression" if name in ("map", "sortBy") or owner == "optional" else "x, test"
    return f"| `{owner}.{name}({arguments})` | {about} | `{example}` is `{_shown(result)}` |"


def _kind(part: Shape) -> str:
    words = say(part)
    return {"optional anything": "optional", "list of string": "list", "object": "map"}.get(
        words, words if not isinstance(part, Dyn) else "any"
    ).replace(" or object", " or map")


def _shown(value: Json) -> str:
    return (
        f'"{value}"'
        if isinstance(value, str)
        else str(value).replace("'", '"').replace("True", "true").replace("False", "false")
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_file_checks_without_an_error(path: Path) -> None:
    from workflow.check_catalog import catalog

    found = check(load(path), catalog())
    assert [problem.render() for problem in found.errors] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_warn_of_nothing_that_a_reader_should_not_copy(path: Path) -> None:
    from workflow.check_catalog import catalog

    meant = {"unchecked", "unsafe"} if path.name in ("deploy-and-tell.yaml", "fine-print.yaml") else set[str]()
    assert {problem.code for problem in check(load(path), catalog()).warnings} <= meant


def test_the_page_shows_the_example_files_as_they_are() -> None:
    page = WORKFLOWS.read_text()
    assert with_examples(page) == page


def test_every_example_file_is_on_the_page() -> None:
    assert {f"examples/{path.name}" for path in EXAMPLES} == {
        found[1] for found in _EXAMPLE.finditer(WORKFLOWS.read_text())
    }


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table under a heading, by the words in their first column."""
    part = page.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", part, re.MULTILINE)
    assert table is not None
    found: dict[str, list[str]] = {}
    for line in table[0].strip().split("\n")[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`([^`]+)`", cells[0]):
            found[name] = cells[1:]
    return found


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("## The file", WORKFLOW_KEYS),
        ("### Inputs", (*INPUT_KEYS, "default")),
        ("## Steps", KINDS),
        ("## Modifiers", tuple(MODIFIERS)),
        ("### `approval`", APPROVAL_KEYS),
        ("### `wait`", WAIT_KEYS),
        ("### `timeout`, `retry`", RETRY_KEYS),
        ("### `reconcile`", RECONCILE_KEYS),
        ("### `undo`", UNDO_KEYS),
    ],
)
def test_the_page_names_every_key_and_no_other(heading: str, keys: tuple[str, ...]) -> None:
    assert set(rows(WORKFLOWS.read_text(), heading)) == set(keys)


def test_the_page_says_which_steps_a_modifier_belongs_to() -> None:
    for name, cells in rows(WORKFLOWS.read_text(), "## Modifiers").items():
        if cells[0] not in ("all", "with `foreach`"):
            assert cells[0].split(", ") == list(MODIFIERS[name]), name
        elif cells[0] == "all":
            assert MODIFIERS[name] == KINDS, name


def test_every_form_of_on_error_is_on_the_page() -> None:
    page = WORKFLOWS.read_text()
    assert all(f"{key}:" in page for key in ON_ERROR_KEYS)


def test_every_key_is_used_by_an_example() -> None:
    text = "\n".join(path.read_text() for path in EXAMPLES)
    for key in (
        *WORKFLOW_KEYS,
        *KINDS,
        *MODIFIERS,
        *RETRY_KEYS,
        *APPROVAL_KEYS,
        *WAIT_KEYS,
        *RECONCILE_KEYS,
        *UNDO_KEYS,
        *INPUT_KEYS,
    ):
        assert re.search(rf"(^|[{{ ]){key}:", text, re.MULTILINE), key


def test_the_page_of_expressions_shows_every_function_as_it_is() -> None:
    page = EXPRESSIONS.read_text()
    assert with_functions(page) == page


def test_every_example_on_the_page_of_expressions_comes_to_what_it_says() -> None:
    shown = re.findall(r"\| `([^`]+)` is `([^`]+)` \|", EXPRESSIONS.read_text())
    assert len(shown) == len(ALL) + len(MACROS) + 1
    for text, result in shown:
        assert _shown(Expression.parse(text).evaluate({})) == result, text


def test_the_bounds_on_the_page_are_those_of_the_code() -> None:
    page = EXPRESSIONS.read_text()
    assert f"{MAX_LENGTH:,} characters" in page
    assert f"at most {MAX_NESTING} deep" in page
    assert f"{BUDGET:,} units" in page


def test_every_function_of_the_table_can_be_called_by_its_name() -> None:
    for one in ALL:
        target = Ident("x") if one.method else None
        given = len(one.takes) - one.method
        forms = forms_of(Call(one.name, target, cast("list[Json]", [Ident("y")] * given)))
        assert one in forms


def test_examples_name_only_steps_that_they_have() -> None:
    for path in EXAMPLES:
        assert all_steps(load(path)), path


if __name__ == "__main__":
    WORKFLOWS.write_text(with_examples(WORKFLOWS.read_text()))
    EXPRESSIONS.write_text(with_functions(EXPRESSIONS.read_text()))
