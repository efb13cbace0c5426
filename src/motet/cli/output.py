"""What a person or a program gets to see: tables on a terminal, plain columns in a pipe, stable JSON when asked.

Data goes to stdout; progress, notes and errors go to stderr. Every text passes `clean`: what a server wrote never
reaches a terminal raw. rich is imported only to draw on a terminal.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from motet.errors import CallError, MotetError, WorkflowError

if TYPE_CHECKING:
    from rich.console import Console

STYLES: Mapping[str, str] = {
    **dict.fromkeys(("ready", "complete", "done", "ok", "yes", "found"), "green"),
    **dict.fromkeys(("partial", "degraded", "connecting", "waiting", "skipped", "idle", "stale", "warning"), "yellow"),
    **dict.fromkeys(
        ("down", "failed", "unknown", "parked", "needs_auth", "cancelled", "missing", "no", "error"), "red"
    ),
    **dict.fromkeys(("disabled",), "dim"),
}
"""Words that carry a colour wherever they stand at the start of a cell."""

_INVISIBLE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|[\U000e0000-\U000e0fff]")


def is_terminal(stream: TextIO) -> bool:
    """Is somebody looking at this stream?"""
    try:
        return stream.isatty()
    except ValueError:
        return False


def clean(text: object, *, limit: int = 20_000) -> str:
    """Text of a server, fit for a terminal."""
    from motet.upstream import sanitise

    return sanitise.clean(text, limit=limit)


def clean_line(text: object, *, limit: int = 500) -> str:
    """The same, on one line."""
    from motet.upstream import sanitise

    return sanitise.clean_line(text, limit=limit)


def json_text(value: Any) -> str:
    """Indented JSON in which no character can move a cursor: those are written as escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return _INVISIBLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def emit_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json_text(value))


def say(text: str = "") -> None:
    """A line on stderr: progress and notes."""
    click.echo(text, err=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Rows on stdout, as wide as they need: drawn on a terminal, in plain columns otherwise."""
    texts = [[clean_line(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        _draw(columns, texts, title)
        return
    if title:
        click.echo(title)
    for line in columns_text(columns, texts):
        click.echo(line)


def columns_text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A header in capitals and the rows under it, two blanks between columns, nothing after the last."""
    head = [column.upper() for column in columns]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]


def console(*, stderr: bool = False) -> Console:
    """A rich console that takes text as text: no markup, no emoji names, no guessing at colours."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)


def style_of(cell: str) -> str:
    """The colour of a cell, by its first word."""
    word = cell.split(" ", 1)[0].split("(", 1)[0].rstrip(":,")
    return STYLES.get(word, "")


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=style_of(cell)) for cell in row))
    console().print(drawn)


def error_json(error: MotetError) -> dict[str, Any]:
    """An error for programs."""
    shown: dict[str, Any] = {"kind": _kind(error), "message": clean(error.message), "hint": error.hint}
    if isinstance(error, CallError):
        shown |= {
            "server": error.server,
            "sent": error.sent,
            "transient": error.transient,
            "retry_after": error.retry_after,
        }
    if isinstance(error, WorkflowError):
        shown["problems"] = list(error.problems)
    return shown


def _kind(error: MotetError) -> str:
    if isinstance(error, CallError):
        return error.kind
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__.removesuffix("Error")).lower()


def error_lines(error: MotetError) -> list[str]:
    """An error for people: what and why, then what to try."""
    lines = [f"error: {clean(error)}"]
    if isinstance(error, WorkflowError) and any(problem not in error.message for problem in error.problems):
        return [*lines, *(clean(problem) for problem in error.problems), "try: motet check FILE shows all there is"]
    if isinstance(error, CallError) and error.sent == "unknown":
        lines.append("note: the request was sent and may have acted; look before you repeat it")
    if error.hint:
        lines.append(f"try: {clean(error.hint)}")
    return lines


def complain(error: MotetError) -> None:
    """An error on stderr."""
    for line in error_lines(error):
        head, colon, rest = line.partition(": ")
        mark = {"error": "red", "try": "cyan", "note": "yellow"}.get(head)
        say(click.style(head, fg=mark, bold=True) + colon + rest if mark else line)


def plural(count: int, noun: str) -> str:
    """`1 tool`, `2 tools`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


Line = Callable[[str], None]
"""Takes one line of progress."""
