"""The end of a workflow: its `finally`, what it has come to, and what that is for the step that ran it."""

from __future__ import annotations

from motet.workflow.entries import ErrorInfo, Result
from motet.workflow.judging import output_of, verdict
from motet.workflow.machine.outcomes import acted
from motet.workflow.machine.run import Run
from motet.workflow.scopes import LAST_BOUND
from motet.workflow.standing import HAS_DATA, Frame, Unit, together


def begin_finally(run: Run, frame: Frame) -> None:
    """Everything before it has settled; what it has come to is what `finally` sees."""
    frame.stage = "finally"
    frame.status = verdict(frame)
    run.bound(frame, run.at + LAST_BOUND if frame.final else None)
    run.begin_stage(frame, frame.final)


def conclude(run: Run, frame: Frame) -> None:
    """It has ended; or had ended, and something of it is now known to be different."""
    frame.output, frame.missing = None, ()
    status = verdict(frame)
    if status in ("complete", "partial"):
        frame.output, frame.missing = output_of(frame, run.scopes)
        status = verdict(frame)
    frame.status = status
    frame.deadline = None
    if frame.stage != "ended":
        frame.stage = "ended"
        frame.ended = run.at
        if frame.parent is not None:
            _for_its_step(run, frame, frame.parent)
    elif frame.parent is not None and frame.parent.status in HAS_DATA:
        unit = frame.parent
        unit.status = "done" if frame.status == "complete" else "partial"
        unit.data, unit.missing = frame.output, frame.missing
        run.amend(unit)


def _for_its_step(run: Run, child: Frame, unit: Unit) -> None:
    frame = unit.node.frame
    if child.taken_back:
        frame.undoing = None
        run.undo_is(unit, together([inner.undo for node in child.nodes.values() for inner in node.units]))
        run.todo.append(("undo", frame))
        return
    frame.running.pop(unit.key, None)
    unit.data, unit.missing = child.output, child.missing
    if child.status == "complete" or child.status == "partial":
        run.settle(unit, "done" if child.status == "complete" else "partial", via="call")
    elif child.stopped and child.failure is None:
        run.settle(unit, "cancelled", reason="stopped")
    else:
        why = child.failure[1].message if child.failure is not None else "it was cancelled"
        where = f"{child.failure[0]}: " if child.failure is not None else ""
        error = ErrorInfo(kind="run", message=f"{child.workflow.name} failed: {where}{why}")
        acted(run, unit, Result(status="failed", error=error, reason=error.message))
    if frame.stage == "stopping":
        run.todo.append(("advance", frame))
