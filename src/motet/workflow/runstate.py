"""Where a run stands: a workflow, its inputs, and the entries so far, and nothing else.

The idea: `ready()` names what may be done now, `apply()` takes what was journalled of it. No clock, no waiting, no
input or output: the same entries give the same state in any carrier. Work per entry does not grow with the workflow.

    a workflow:  forward ─(all settled)──────────────────────────────► finally ─► ended
                 forward ─(a failure, a cancel, its time)► stopping ─► undoing ─► finally ─► ended
                 ended ─(Resumed: gaps, or undo that was left)─► forward or undoing

    a unit:      pending ► ready ► running ► done | partial | failed | unknown | skipped | cancelled
                 running ► waiting ► ready | settled          (approval, question, timer, server, resolve)
                 running ─(unknown)► reconcile ─(failed)► on_unavailable ► on_error ► fallback    (SEMANTICS §2.3)

Nested workflows run in the same state, under the path of the step that runs them. What each entry moves is a table
below; the moves themselves are in `machine`, one module for each idea, and what they ask first in `judging`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Literal

from motet.calls import Json
from motet.errors import RunError
from motet.workflow.entries import (
    Answered,
    Began,
    Cancelled,
    Ended,
    Entry,
    ErrorInfo,
    Expired,
    Finished,
    Recovered,
    Result,
    Resumed,
    Started,
    Waiting,
    Woke,
)
from motet.workflow.judging import bind_inputs
from motet.workflow.machine import answers, ending, forward, outcomes, resuming, stopping, undoing
from motet.workflow.machine.run import Change, Run
from motet.workflow.model import Step, Workflow
from motet.workflow.scopes import Act, Request, Requests
from motet.workflow.standing import Frame, Node, Unit

__all__ = ["Change", "RunState", "RunStatus"]

RunStatus = Literal["running", "waiting", "complete", "partial", "failed", "cancelled"]


class RunState:
    """One run. Begin it with a `Began` entry, then `apply` every entry in the order of the journal."""

    def __init__(self, workflow: Workflow, began: Began, *, durable: bool = False, held: bool = False) -> None:
        """`held`: steps will be added by `grow`, and it stays open until `close`."""
        self.run = began.run
        self.durable = durable
        """Does an unknown outcome wait for a person, or end the run?"""
        self.began = began
        self.heard: set[str] = set()
        """Inbox messages that have moved it."""
        inputs = bind_inputs(workflow, began.inputs)
        self.root = Frame(workflow, inputs, prefix="", generation=str(began.generation), parent=None, at=began.at)
        self._run = Run(self.root, run_id=began.run, durable=durable)
        self._requests = Requests(began.run, self._run.scopes)
        forward.open_workflow(self._run, self.root, workflow.timeout)
        self.held = held
        """Will more steps come?"""
        self.root.open += held
        self._work()

    # -- where it stands ------------------------------------------------------------------------------------------

    @property
    def at(self) -> float:
        """The time of the newest entry."""
        return self._run.at

    def ready(self, limit: int | None = None) -> list[Act]:
        """What may be done now, oldest first. Each stays until its `Started`, `Waiting` or `Finished` is applied."""
        return list(islice(self._run.ready.values(), limit))

    def request(self, act: Act, now: float) -> Request | Result:
        """The act with everything evaluated; or, when that fails, what is to be journalled as its result."""
        return self._requests.of(act, now)

    @property
    def in_flight(self) -> Mapping[str, tuple[Act, Started]]:
        """Acts that were started and have not finished."""
        return self._run.in_flight

    @property
    def waiting(self) -> list[Unit]:
        """Everything that waits for a person, a timer, a server or a verdict."""
        return [unit for frame in self.frames() for unit in frame.waits.values()]

    @property
    def ended(self) -> bool:
        """Has everything come to its end?"""
        return self.root.stage == "ended"

    @property
    def status(self) -> RunStatus:
        """Where the run stands (SEMANTICS §5)."""
        return _status(self._run)

    @property
    def changes(self) -> list[Change]:
        """What observers have not been told yet; whoever tells them empties it."""
        return self._run.changes

    @property
    def unwanted(self) -> list[Started]:
        """Acts in flight that nobody needs any more; whoever ends them empties it."""
        return self._run.unwanted

    def wakes_at(self) -> float | None:
        """When the next wait, or a workflow's own time, is over."""
        return self._run.alarms.next()

    def due(self, now: float, *, within: float = 0.0) -> Entry | None:
        """One entry that has become due, or will `within` seconds, to be journalled and applied; None: none yet."""
        return self._run.alarms.due(now, within=within)

    def frames(self) -> Iterable[Frame]:
        """Every workflow that runs or ran, the outermost first."""
        return self._run.frames()

    def find(self, key: str) -> Unit:
        """The unit of that key. Raises `RunError` when there is none."""
        return self._run.find(key)

    def gaps(self) -> bool:
        """Would `Resumed` find something to do?"""
        return resuming.has_gaps(self._run)

    # -- what moves it --------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Move by one entry. Raises `RunError` when the entry does not fit where the run stands."""
        run = self._run
        run.at = max(run.at, entry.at)
        _MOVES[type(entry)](run, entry)
        if isinstance(entry, (Answered, Cancelled, Resumed)) and entry.message:
            self.heard.add(entry.message)
        self._work()

    def _work(self) -> None:
        run = self._run
        while run.todo:
            match run.todo.popleft():
                case "release", node:
                    forward.release(run, node)
                case "feed", node:
                    forward.feed(run, node)
                case "admit", frame:
                    forward.admit(run, frame)
                case "advance", frame:
                    _advance(run, frame)
                case "undo", frame:
                    undoing.undo_next(run, frame)

    # -- a workflow that grows while it runs ----------------------------------------------------------------------

    def grow(self, step: Step) -> Node:
        """One more step, possible at once. For workflows whose order is made by a function."""
        node = forward.grow(self._run, step)
        self._work()
        return node

    def close(self, at: float, *, output: Json = None, failure: tuple[str, ErrorInfo] | None = None) -> None:
        """No more steps will come: the function has returned its output, or failed."""
        run, frame = self._run, self.root
        run.at = max(run.at, at)
        frame.given = output
        frame.open -= self.held
        self.held = False
        if failure is not None and frame.stage == "forward":
            frame.failure = failure
            stopping.stop(run, frame)
        run.todo.append(("advance", frame))
        self._work()


def _status(run: Run) -> RunStatus:
    if run.root.stage == "ended":
        return run.root.status or "complete"
    return "running" if run.ready or run.in_flight else "waiting"


def _advance(run: Run, frame: Frame) -> None:
    """From one stage to the next, when nothing is open any more: the first diagram above."""
    match frame.stage:
        case "forward" if frame.open == 0:
            ending.begin_finally(run, frame)
        case "stopping" if frame.open == 0 and not frame.running:
            undoing.begin_undo(run, frame)
        case "finally" if frame.open == 0:
            ending.conclude(run, frame)
        case _:
            pass


def _started(run: Run, entry: Started) -> None:
    act = run.take(entry.key)
    unit = act.unit
    run.in_flight[entry.key] = (act, entry)
    unit.node.frame.running[entry.key] = unit
    if act.phase == "undo":  # what the step itself was, it stays
        if act.kind == "undo":
            unit.undo_started = entry
            run.changed(unit, "running", "undo")
        return
    if act.kind in ("call", "read", "prompt"):
        unit.started = entry
    if unit.began is None:
        unit.began = run.at
    unit.status = "running"
    run.changed(unit, "running")


def _finished(run: Run, entry: Finished) -> None:
    act = run.over(entry.key)
    unit = act.unit
    match act.kind, act.phase:
        case "reconcile", "undo":
            undoing.looked_before_undo(run, unit, entry.result)
        case "reconcile", _:
            outcomes.reconciled(run, unit, entry.result)
        case "undo", _:
            undoing.undone(run, unit, entry.result)
        case "fallback", _:
            outcomes.fell_back(run, unit, entry.result)
        case _:
            outcomes.acted(run, unit, entry.result)
    if unit.node.frame.stage == "stopping":
        run.todo.append(("advance", unit.node.frame))


def _cancelled(run: Run, _: Cancelled) -> None:
    stopping.cancel(run, run.root)


def _resumed(run: Run, _: Resumed) -> None:
    if not resuming.has_gaps(run):
        raise RunError(f"run {run.id} is {_status(run)}: nothing is left to do", hint="motet rerun starts it anew")
    resuming.reopen(run, run.root)


def _agree(run: Run, entry: Ended) -> None:
    if _status(run) != entry.status:
        raise RunError(f"run {run.id}: its journal says {entry.status}, its steps say {_status(run)}")


def _began_twice(run: Run, _: Began) -> None:
    raise RunError(f"run {run.id} began twice")


_MOVES: Mapping[type, Callable[[Run, Any], None]] = {
    Started: _started,
    Finished: _finished,
    Waiting: answers.parked,
    Answered: answers.answered,
    Woke: answers.woke,
    Recovered: answers.recovered,
    Expired: stopping.expire,
    Cancelled: _cancelled,
    Resumed: _resumed,
    Ended: _agree,
    Began: _began_twice,
}
