"""Progress of a run as people watch it: a table that moves on a terminal, a line for each settled step elsewhere.

`Board` is what has been seen so far, built from events and nothing else; the two views draw it. Both write to stderr:
stdout belongs to the result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from motet.cli import output
from motet.events import AttemptFailed, StepChanged, StepProgress
from motet.workflow.model import PromptGet, Read, RunWorkflow, ToolCall, Workflow

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live
    from rich.spinner import Spinner

    from motet.engine.report import Report

MOVING = frozenset({"pending", "ready", "running"})
"""States in which a step is not settled."""


@dataclass(slots=True)
class Row:
    """One step as it stands."""

    step: str
    what: str
    """What it does: `jira.get_issue`, `read`, `approval`, …"""
    status: str = "pending"
    note: str = ""
    took: float | None = None


@dataclass(slots=True)
class Board:
    """The steps of one run, in the order of the file; undo and `finally` steps are added as they happen."""

    title: str
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    titled: bool = False
    """Has the title been printed?"""

    @classmethod
    def of(cls, workflow: Workflow) -> Board:
        """The board of a run that has not begun."""
        rows = {name: Row(name, what(step.action)) for name, step in workflow.steps.items()}
        return cls(": ".join(filter(None, (workflow.name, workflow.description))), rows)

    def tell(self, event: Any) -> Row | None:
        """Take one event; gives the row that settled by it, if one did."""
        match event:
            case StepChanged():
                return self._changed(event)
            case StepProgress(step=step, message=message):
                self._row(step).note = message
            case AttemptFailed(server=server, message=message, again_in=float()):
                for row in self.rows.values():
                    if row.status == "running" and row.what.startswith(f"{server}."):
                        row.note = f"trying again: {message}"
            case _:
                pass
        return None

    def _changed(self, event: StepChanged) -> Row | None:
        name = event.step if event.phase == "step" else f"{event.phase} {event.step}"
        if event.item is not None:
            return None
        row = self._row(name)
        row.status, row.note = event.status.partition("(")[0], event.message
        if event.took:
            row.took = event.took
        return None if event.status in MOVING else row

    def _row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row(name, self._what(name)))

    def _what(self, name: str) -> str:
        known = self.rows.get(name.rpartition(" ")[2])
        return known.what if known else ""


def what(action: object) -> str:
    """What a step does, in a word or an address."""
    match action:
        case ToolCall(server=server, tool=tool):
            return f"{server}.{tool}"
        case PromptGet(server=server, name=name):
            return f"{server}.{name}"
        case Read(uris=uris):
            return "read" if len(uris) == 1 else f"read {len(uris)}"
        case RunWorkflow(workflow=inner):
            return f"run {inner.name}"
        case _:
            return {"SetValues": "set"}.get(type(action).__name__, type(action).__name__.lower())


def seconds(took: float | None) -> str:
    """`12 ms`, `3.4 s`; empty for none."""
    if took is None:
        return ""
    return f"{took * 1000:.0f} ms" if took < 1 else f"{took:.1f} s"


def line(row: Row, board: Board) -> str:
    """One settled step as a plain line, in columns."""
    steps = max(map(len, board.rows))
    acts = max(len(other.what) for other in board.rows.values())
    note = output.clean_line(row.note)
    return f"  {row.status:<9}{row.step:<{steps}}  {row.what:<{acts}}  {seconds(row.took):>7}  {note}".rstrip()


@dataclass(frozen=True, slots=True)
class View:
    """A board that is being drawn."""

    board: Board
    tell: Callable[[Any], None]
    """Takes events."""
    paused: Callable[[], AbstractContextManager[object]] = nullcontext
    """Inside, nothing is drawn: somebody is asked something."""

    def settle(self, report: Report) -> None:
        """Tell of the steps that nothing was heard of, as the report has them."""
        for step in report.steps:
            row = self.board.rows.get(step.step)
            if row is not None and row.status in MOVING:
                self.tell(StepChanged(0.0, report.run, step.step, step.status, message=step.reason or ""))


@contextmanager
def shown(board: Board) -> Generator[View]:
    """Draw the board while the block runs."""
    if not output.is_terminal(sys.stderr):
        yield View(board, lambda event: _tell_line(board, event))
        return
    live = _live(board)

    @contextmanager
    def paused() -> Generator[None]:
        nonlocal live
        live.stop()
        try:
            yield
        finally:
            live = _live(board)  # a new one, below what was said meanwhile
            live.start()

    live.start()
    try:
        yield View(board, lambda event: _tell(board, event), paused)
    finally:
        live.stop()


def _tell_line(board: Board, event: Any) -> None:
    if (row := board.tell(event)) is not None:
        if not board.titled:
            output.say(board.title)
            board.titled = True
        output.say(line(row, board))


def _tell(board: Board, event: Any) -> None:
    board.tell(event)


def _live(board: Board) -> Live:
    from rich.live import Live
    from rich.spinner import Spinner

    spinner = Spinner("dots")
    return Live(
        console=output.console(stderr=True), refresh_per_second=12, get_renderable=lambda: _drawn(board, spinner)
    )


MARKS: Mapping[str, str] = {
    "done": "✓", "partial": "◐", "failed": "✗", "unknown": "?", "skipped": "-", "cancelled": "-", "waiting": "…",
}  # fmt: skip


def _drawn(board: Board, spinner: Spinner) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2, 0, 0))
    for row in board.rows.values():
        style = output.style_of(row.status)
        mark = spinner if row.status == "running" else Text(MARKS.get(row.status, " "), style=style)
        note = output.clean_line(row.note)
        drawn.add_row(
            Text(" "), mark, Text(row.step), Text(row.what, style="dim"), Text(row.status, style=style),
            Text(seconds(row.took), style="dim"), Text(note, overflow="fold"),
        )  # fmt: skip
    return Group(Text(board.title, style="bold"), drawn)
