"""What waited goes on.

waits for   moved by                         comes to
approval    approve · reject · its time      done · failed(rejected) · failed(expired)
question    answer · decline, its time       the same round again, with the answer · failed(unanswered)
timer       its time                         done
server      its next try · its bound         ready again · the step's `on_error`
resolve     done · retry · failed            done, via a verdict · ready again · the step's `on_error`
nothing     a verdict on an unknown outcome that the run went past: its record changes, and nothing starts
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from motet.calls import Json
from motet.errors import RunError
from motet.workflow.entries import Answered, ErrorInfo, Recovered, Result, Waiting, Woke
from motet.workflow.judging import KINDS, with_sent_no
from motet.workflow.machine.ending import conclude
from motet.workflow.machine.ladder import by_rule
from motet.workflow.machine.outcomes import climb, trouble
from motet.workflow.machine.run import Run
from motet.workflow.machine.undoing import looked_before_undo, undone
from motet.workflow.model import OnError
from motet.workflow.standing import Frame, Unit

RECOVERIES = 3
"""How often one act may be begun again after a crash."""


def parked(run: Run, entry: Waiting) -> None:
    """An act has come to wait for somebody or something."""
    unit = run.over(entry.key).unit
    frame = unit.node.frame
    unit.attempts += entry.attempts
    if entry.reason == "question" and not unit.node.goes_on:
        run.settle(unit, "cancelled", reason="stopped")
        run.todo.append(("advance", frame))
        return
    if entry.reason == "approval":
        shown = cast("Mapping[str, Json]", entry.shown or {})
        frame.shown.update(shown.get("then") or {})
    run.wait(unit, entry)


def woke(run: Run, entry: Woke) -> None:
    """The time of a wait has come."""
    unit = run.find(entry.key)
    waiting = unit.waiting
    if waiting is None:
        raise RunError(f"run {run.id}: `{entry.key}` waits for nothing")
    run.back(unit)
    match waiting.reason:
        case "timer":
            unit.data = None
            run.settle(unit, "done", via="call")
        case "server" if not entry.over:
            _once_more(run, unit)
        case "server":
            unit.error = waiting.error
            climb(run, unit, by_rule(unit))
        case "approval":
            _refuse(run, unit, "expired", "nobody approved it in time")
        case _:
            _unanswered(run, unit, "nobody answered in time")


def answered(run: Run, entry: Answered) -> None:
    """Somebody has answered. Raises `RunError` when that is no answer to what it waits for."""
    unit = run.find(entry.key)
    if unit.status == "unknown":
        _resolve_later(run, unit, entry)
        return
    waiting = unit.waiting
    if waiting is None:
        raise RunError(f"`{entry.key}` of run {run.id} does not wait for an answer")
    match waiting.reason, entry.verdict:
        case "approval", "approve":
            run.back(unit)
            unit.data = {"approved": True, "by": entry.who, "note": entry.note}
            run.settle(unit, "done", via="call")
        case "approval", "reject":
            run.back(unit)
            by = f" by {entry.who}" if entry.who else ""
            _refuse(run, unit, "rejected", f"rejected{by}" + (f": {entry.note}" if entry.note else ""))
        case "question", "answer":
            run.back(unit)
            unit.round = (cast("Mapping[str, Json]", entry.data or {}), waiting.round_state)
            _once_more(run, unit)
        case "question", "decline":
            run.back(unit)
            _unanswered(run, unit, "the question was declined")
        case "resolve", "done" | "failed" | "retry":
            run.back(unit)
            _resolve(run, unit, entry)
        case _:
            raise RunError(f"`{entry.key}` waits for {waiting.reason}; `{entry.verdict}` is no answer to that")


def recovered(run: Run, entry: Recovered) -> None:
    """The process ended while a repeatable act was in flight: it is ready again, but not for ever."""
    act, _ = run.in_flight.pop(entry.key, (None, None))
    if act is None:
        raise RunError(f"run {run.id}: `{entry.key}` was not in flight")
    unit = act.unit
    unit.node.frame.running.pop(entry.key, None)
    unit.recoveries += 1
    if unit.recoveries > RECOVERIES:
        message = f"its process ended {unit.recoveries} times while it was in flight"
        error = ErrorInfo(kind="interrupted", message=message, sent="unknown")
        if act.phase == "undo":
            held = Result(status="unknown", error=error, reason=message)
            (looked_before_undo if act.kind == "reconcile" else undone)(run, unit, held)
            return
        unit.error, unit.reason, unit.uncertain = error, message, True
        run.wait(unit, Waiting(at=run.at, key=unit.key, reason="resolve", error=unit.error))
        return
    run.ready[entry.key] = act
    if act.phase != "undo":
        unit.status = "ready"


def _once_more(run: Run, unit: Unit) -> None:
    run.push(unit, KINDS[type(unit.node.step.action)])


def _refuse(run: Run, unit: Unit, kind: str, message: str) -> None:
    unit.refused = True
    unit.error, unit.reason = ErrorInfo(kind=kind, message=message), message
    rule = unit.node.step.on_error
    climb(run, unit, by_rule(unit, rule if rule.mode == "continue" else OnError("fail")))


def _unanswered(run: Run, unit: Unit, message: str) -> None:
    error = ErrorInfo(kind="unanswered", message=message)
    trouble(run, unit, Result(status="failed", error=error, reason=message))


def _resolve(run: Run, unit: Unit, entry: Answered) -> None:
    unit.uncertain = False
    match entry.verdict:
        case "done":
            unit.data = entry.data
            run.settle(unit, "done", via="resolve")
        case "retry":
            unit.recoveries = 0
            if unit.stage == "fallback":
                run.push(unit, "fallback")
            else:
                _once_more(run, unit)
        case _:
            unit.error = with_sent_no(unit.error or ErrorInfo(kind="failed", message="it did not happen"))
            climb(run, unit, "fail" if unit.stage == "fallback" else by_rule(unit))


def _resolve_later(run: Run, unit: Unit, entry: Answered) -> None:
    unit.uncertain = False
    if entry.verdict == "done":
        unit.status, unit.via, unit.data, unit.reason = "done", "resolve", entry.data, None
    elif entry.verdict in ("failed", "retry"):
        unit.status = "failed"
        unit.error = None if unit.error is None else with_sent_no(unit.error)
    else:
        raise RunError(f"`{entry.verdict}` is no answer to an unknown outcome")
    if unit.undo == "unknown":
        unit.undo = "pending" if entry.verdict == "done" else "none"
    run.amend(unit)
    run.changed(unit, unit.status)
    frame: Frame | None = unit.node.frame
    while frame is not None and frame.stage == "ended":
        conclude(run, frame)
        frame = None if frame.parent is None else frame.parent.node.frame
