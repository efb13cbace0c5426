"""Finished steps are taken back, one at a time, the newest finish first (SEMANTICS §3, undo).

of a step                                              what is done
known to have acted, with `undo`                       its undo
a nested workflow that finished, without `undo`        its steps are taken back in the same way
it may have acted, with `reconcile`                    a look; then as above, or nothing
it may have acted, with `undo: {when: maybe}`          its undo
it may have acted                                      nothing: it stays unknown, for a person
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from motet.workflow.entries import ErrorInfo, Result
from motet.workflow.judging import looked, may_undo, took_effect, with_sent_no
from motet.workflow.machine.ending import begin_finally, conclude
from motet.workflow.machine.run import Run
from motet.workflow.standing import Frame, Undoing, Unit

Way: TypeAlias = Literal["undo", "nested", "reconcile", "unknown", "none"]


def way_back(unit: Unit, *, has_looked: bool = False) -> Way:
    """How this step is taken back: the table above."""
    step = unit.node.step
    if step.undo is None and unit.child is not None:
        return "nested"
    if took_effect(unit):
        return "undo" if step.undo is not None else "none"
    if step.reconcile is not None and not has_looked:
        return "reconcile"
    if step.undo is None:
        return "none"
    return "undo" if step.undo.when == "maybe" else "unknown"


def begin_undo(run: Run, frame: Frame) -> None:
    """Take back what it did."""
    frame.stage = "undoing"
    frame.deadline = None
    units = [unit for node in frame.nodes.values() for unit in node.units if may_undo(unit)]
    frame.to_undo = sorted(units, key=lambda unit: unit.seq)
    for unit in frame.to_undo:
        unit.undo = "pending"
        unit.node.cached = None
    undo_next(run, frame)


def go_on_undoing(run: Run, frame: Frame) -> None:
    """Take back what was left, or could not be."""
    frame.stage = "undoing"
    units = [unit for node in frame.nodes.values() for unit in node.units if unit.undo in ("pending", "failed")]
    frame.to_undo = sorted(units, key=lambda unit: unit.seq)
    undo_next(run, frame)


def undo_next(run: Run, frame: Frame) -> None:
    """The newest that is left; after the last, the workflow goes on to its end."""
    if frame.undoing is not None:
        return
    if frame.to_undo:
        unit = frame.undoing = frame.to_undo.pop()
        _take_back(run, unit, way_back(unit))
    elif frame.taken_back:
        conclude(run, frame)
    else:
        begin_finally(run, frame)


def looked_before_undo(run: Run, unit: Unit, result: Result) -> None:
    """The look of a `reconcile`, before its undo, has ended."""
    happened, data = looked(unit, result, run.scopes)
    if happened is not None:
        unit.uncertain = False
        if happened:
            unit.status, unit.via, unit.data = "done", "reconcile", data
        else:
            unit.status = "failed" if unit.via is None else "done"  # a value in its place is all there is of it
            unit.error = None if unit.error is None else with_sent_no(unit.error)
        unit.node.cached = None
        if unit.node.foreach is None:
            run.amend(unit)
    if happened is False:
        _over(run, unit, "none")
    else:
        _take_back(run, unit, way_back(unit, has_looked=True))


def undone(run: Run, unit: Unit, result: Result) -> None:
    """Its undo has ended."""
    if result.status == "done":
        _over(run, unit, "done")
        return
    why = result.reason or "it could not be undone"
    unit.undo_error = result.error or ErrorInfo(kind="expression", message=why)
    blind = result.status == "skipped" and not took_effect(unit)  # `maybe`, but it needs the data that nobody has
    _over(run, unit, "unknown" if blind or result.status == "unknown" else "failed")


def _take_back(run: Run, unit: Unit, way: Way) -> None:
    match way:
        case "undo" | "reconcile":
            run.push(unit, way, undo=True)
        case "nested":
            child = unit.child
            assert child is not None, "only what ran is taken back"
            child.taken_back = True
            begin_undo(run, child)
        case "unknown" | "none":
            _over(run, unit, way)


def _over(run: Run, unit: Unit, undo: Undoing) -> None:
    frame = unit.node.frame
    frame.undoing = None
    run.undo_is(unit, undo)
    run.todo.append(("undo", frame))
