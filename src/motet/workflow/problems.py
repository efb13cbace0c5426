"""What is wrong with a workflow: the place, the line with a caret, what was expected, what was probably meant."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

from motet.calls import Json
from motet.workflow.model import Place

Severity = Literal["error", "warning"]
_START = Place(1, 1)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding."""

    severity: Severity
    code: str
    """A stable word: syntax, form, key, name, type, field, argument, server, tool, cycle, unchecked, …"""
    message: str
    hint: str = ""
    """What to write instead, when that is known."""
    place: Place = _START
    file: str = ""
    line: str = field(default="", repr=False)
    """The line of the file it stands in."""

    def render(self) -> str:
        """`file:line:column: error: message [code]`, then the line and a caret below the place."""
        where = f"{self.file or '<workflow>'}:{self.place.line}:{self.place.column}"
        head = f"{where}: {self.severity}: {self.message} [{self.code}]"
        shown, column = _window(self.line, self.place.column - 1)
        width = max(1, min(self.place.end - self.place.start, len(shown) - column))
        number = str(self.place.line)
        lead = "".join("\t" if char == "\t" else " " for char in shown[:column])
        caret = f" {' ' * len(number)} | {lead}{'^' * width}"
        return f"{_printable(head)}\n {number} | {shown}\n{caret}" + (f" {_printable(self.hint)}" if self.hint else "")

    def to_json(self) -> Json:
        """The same for programs; `line` and `column` count from 1, `end` is the column after the last character."""
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "file": self.file,
            "line": self.place.line,
            "column": self.place.column,
            "end": self.place.column + max(1, self.place.end - self.place.start),
        }


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _window(line: str, column: int) -> tuple[str, int]:
    """At most some 200 characters of a line, around the column, with nothing in it that moves a terminal's cursor."""
    clean = _printable(line[: column + 400])
    column = min(column, len(clean))
    if len(clean) <= 200:
        return clean, column
    start = max(0, column - 80)
    cut = clean[start : start + 200]
    return ("…" + cut[1:] if start else cut), column - start


class Source:
    """A file's text, and where its lines begin."""

    __slots__ = ("_starts", "path", "text")

    def __init__(self, text: str, path: str = "") -> None:
        self.text = text
        self.path = path
        self._starts = [0]
        find, position = text.find, 0
        while (position := find("\n", position) + 1) > 0:
            self._starts.append(position)

    def place(self, start: int, end: int) -> Place:
        """The place of a stretch of text, given as offsets in characters."""
        start = max(0, min(start, len(self.text)))
        row = bisect_right(self._starts, start) - 1
        return Place(row + 1, start - self._starts[row] + 1, start, max(start, end))

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\r")

    def problem(
        self, message: str, start: int, end: int, *, hint: str = "", code: str = "form", severity: Severity = "error"
    ) -> Problem:
        """A problem at a stretch of this text."""
        place = self.place(start, end)
        return Problem(severity, code, message, hint, place, self.path, self.line(place.line))


def in_order(problems: list[Problem], first: str = "") -> tuple[Problem, ...]:
    """By file (`first` first) and place, each once. Where an error stands, no warning about the same words."""
    files = {name: index for index, name in enumerate(dict.fromkeys([first, *(problem.file for problem in problems)]))}
    errors: dict[tuple[str, int], list[Place]] = {}
    for problem in problems:
        if problem.severity == "error":
            errors.setdefault((problem.file, problem.place.line), []).append(problem.place)
    kept = [
        problem
        for problem in dict.fromkeys(problems)
        if problem.severity == "error" or not _within(problem.place, errors.get((problem.file, problem.place.line), []))
    ]
    return tuple(sorted(kept, key=lambda one: (files[one.file], one.place.start, one.severity)))


def _within(place: Place, others: list[Place]) -> bool:
    return any(other.start <= place.start and place.end <= other.end for other in others[:20])
