from collections.abc import Awaitable, Callable

import pytest

from motet.calls import Answer, Question
from motet.cli.asking import ask_person

SCHEMA = {
    "properties": {
        "count": {"type": "integer"},
        "colour": {"enum": ["red", "blue"]},
        "sure": {"type": "boolean"},
        "note": {"type": "string"},
    },
    "required": ["count", "colour"],
}


def typing(*lines: str) -> Callable[[str], Awaitable[str | None]]:
    left = list(lines)

    async def read(_prompt: str) -> str | None:
        return left.pop(0) if left else None

    return read


@pytest.mark.parametrize(
    ("kind", "lines", "answer"),
    [
        ("approval", ["y"], Answer("accept")),
        ("approval", ["maybe", "no"], Answer("decline")),
        ("approval", [], None),
        ("url", ["yes"], Answer("accept")),
        ("elicitation", ["n"], Answer("decline")),
        (
            "elicitation",
            ["y", "many", "3", "green", "blue", "y", ""],
            Answer("accept", {"count": 3, "colour": "blue", "sure": True}),
        ),
        ("elicitation", ["y", "3"], Answer("cancel")),
        ("sampling", ["y"], None),
    ],
)
async def test_what_the_person_types_becomes_the_answer(kind: str, lines: list[str], answer: Answer | None):
    question = Question("jira", kind, "Which?", schema=SCHEMA, url="https://example.org")  # pyright: ignore[reportArgumentType] - a table of literals
    assert await ask_person(question, typing(*lines)) == answer


async def test_what_a_server_asks_reaches_no_terminal_raw(capsys: pytest.CaptureFixture[str]):
    await ask_person(Question("jira", "approval", "really \x1b[2J\u202e?"), typing("y"))
    assert capsys.readouterr().err == "\njira: really ?\n"
