"""A workflow stops: a step failed, it was cancelled, or its time is over.

Nothing new starts. What is ready is skipped, what waits is cancelled, what is in flight ends in its own way (acts that
need not be waited for are listed as `unwanted`). Once nothing is in flight any more, `undoing` begins.
"""

from __future__ import annotations

from motet.errors import RunError
from motet.workflow.entries import ErrorInfo, Expired
from motet.workflow.machine.run import Run
from motet.workflow.standing import Frame, Node, Unit


def fail(run: Run, node: Node, key: str, error: ErrorInfo) -> None:
    """A step failed, and its workflow with it; a failure under `finally` leaves the other steps there alone."""
    frame = node.frame
    if node.phase == "finally":
        frame.broken_finally = True
        frame.failure = frame.failure or (key, error)
    elif frame.stage == "forward":
        frame.failure = (key, error)
        stop(run, frame)


def expire(run: Run, entry: Expired) -> None:
    """The time of a workflow, or of its `finally`, is over."""
    frame = run.workflow_at(entry.key)
    frame.deadline = None
    if frame.stage == "finally":
        _drop(run, frame, frame.final)
        run.todo.append(("advance", frame))
    elif frame.stage == "forward":
        message = f"{frame.workflow.name} took longer than the {frame.workflow.timeout:g} s it may"
        frame.failure = (entry.key or frame.workflow.name, ErrorInfo(kind="deadline", message=message))
        stop(run, frame)


def cancel(run: Run, frame: Frame) -> None:
    """Somebody wants no more of it. Raises `RunError` when it has ended."""
    match frame.stage:
        case "forward":
            frame.cancelled = True
            stop(run, frame)
        case "stopping":
            frame.cancelled = True
        case "undoing":
            frame.cancelled = not frame.taken_back
            _leave_undo(run, frame)
        case "finally":
            frame.cancelled = True
            _drop(run, frame, frame.final)
        case "ended":
            raise RunError(f"run {run.id} has ended")


def stop(run: Run, frame: Frame) -> None:
    """Nothing new starts; what is in flight ends in its own way."""
    frame.stage = "stopping"
    _drop(run, frame, frame.nodes)
    run.todo.append(("advance", frame))


def _leave_undo(run: Run, frame: Frame) -> None:
    """The undo that is in flight ends; the rest stays to be done."""
    frame.to_undo.clear()
    unit = frame.undoing
    if unit is None:
        return
    if unit.child is not None and unit.child.taken_back:
        cancel(run, unit.child)
    elif any(run.ready.pop(f"{kind} {unit.key}", None) is not None for kind in ("undo", "reconcile")):
        frame.undoing = None
        run.todo.append(("undo", frame))


def _drop(run: Run, frame: Frame, nodes: dict[str, Node]) -> None:
    still_open = [node for node in nodes.values() if node.status == "pending"]
    for node in still_open:
        node.broken = True
    while frame.backlog:
        unit = frame.backlog.popleft()
        frame.active += 1
        run.settle(unit, "skipped", reason="stopped")
    for unit in list(frame.waits.values()):
        run.back(unit)
        if unit.uncertain:
            run.settle(unit, "unknown", reason=unit.reason)
        else:
            run.settle(unit, "cancelled", reason="stopped")
    _give_up(run, frame)
    for unit in [unit for node in still_open for unit in node.units if unit.status == "ready"]:
        _drop_ready(run, unit)
    for node in still_open:
        if node.status == "pending" and node.open == 0:
            run.skip(node, "stopped")


def _give_up(run: Run, frame: Frame) -> None:
    for unit in list(frame.running.values()):
        held = run.in_flight.get(unit.key)
        if held is not None:
            run.unwanted.append(held[1])
        elif unit.child is not None and unit.child.stage == "forward":
            unit.child.stopped = True
            cancel(run, unit.child)


def _drop_ready(run: Run, unit: Unit) -> None:
    for key in (unit.key, f"reconcile {unit.key}", f"fallback {unit.key}"):
        run.ready.pop(key, None)
    if unit.stage == "act" and unit.error is None:
        run.settle(unit, "skipped", reason="stopped")
    else:
        run.settle(unit, unit.lost, reason=unit.reason)
