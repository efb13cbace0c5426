"""What came of an action, of the look of a `reconcile`, of a fallback. The `ladder` says what comes next."""

from __future__ import annotations

from typing import cast

from motet.calls import Json
from motet.workflow.entries import ErrorInfo, Result, Waiting
from motet.workflow.judging import KINDS, joined, looked, with_sent_no
from motet.workflow.machine import ladder
from motet.workflow.machine.ladder import Rung
from motet.workflow.machine.run import Run
from motet.workflow.machine.stopping import fail
from motet.workflow.model import ExpressionError, Read
from motet.workflow.scopes import expression_result
from motet.workflow.standing import Unit


def acted(run: Run, unit: Unit, result: Result) -> None:
    """Its action has ended."""
    unit.attempts += result.attempts
    match result.status:
        case "done" | "partial":
            _got(run, unit, result)
        case "skipped":
            run.settle(unit, "skipped", reason=result.reason)
        case "cancelled":
            run.settle(unit, "cancelled", reason=result.reason or "stopped")
        case "failed" | "unknown" if unit.kept is not None:
            _got(run, unit, result)  # the gaps are still gaps; what was there before still is
        case "failed" | "unknown":
            unit.records, unit.missing = result.items, result.missing
            trouble(run, unit, result)


def trouble(run: Run, unit: Unit, result: Result) -> None:
    """It failed, or nobody knows what it did."""
    unit.error, unit.reason = result.error, result.reason
    unit.uncertain = result.status == "unknown"
    climb(run, unit, ladder.after_trouble(unit, run.at))


def reconciled(run: Run, unit: Unit, result: Result) -> None:
    """The look of a `reconcile` has ended."""
    happened, data = looked(unit, result, run.scopes)
    if happened is None:
        climb(run, unit, ladder.after_blind_look(unit, run.at))
    elif happened:
        unit.data = data
        run.settle(unit, "done", via="reconcile")
    else:
        unit.uncertain = False
        unit.error = None if unit.error is None else with_sent_no(unit.error)
        climb(run, unit, ladder.after_no_effect(unit, run.at))


def fell_back(run: Run, unit: Unit, result: Result) -> None:
    """The call of its `on_error` has ended."""
    unit.attempts += result.attempts
    if result.status == "done":
        unit.data = result.data
        run.settle(unit, "done", via="fallback", reason=unit.reason)
        return
    _blame(unit, result)
    unit.uncertain = result.status == "unknown"
    climb(run, unit, "fail" if unit.node.goes_on else "leave")


def climb(run: Run, unit: Unit, rung: Rung) -> None:
    """Do what the ladder says."""
    match rung:
        case "leave":
            run.settle(unit, unit.lost, reason=unit.reason)
        case "reconcile":
            run.push(unit, "reconcile")
        case "again":
            unit.resends += 1
            run.push(unit, KINDS[type(unit.node.step.action)])
        case "defer":
            unit.deferred = run.at if unit.deferred is None else unit.deferred
            run.wait(unit, ladder.deferral(unit, run.at, since=unit.deferred))
        case "value":
            _value_instead(run, unit)
        case "fallback":
            run.push(unit, "fallback")
        case "fail":
            _fatal(run, unit)


def _got(run: Run, unit: Unit, result: Result) -> None:
    action = unit.node.step.action
    unit.error = None
    unit.data, status = result.data, result.status
    if isinstance(action, Read) and action.form != "one":
        kept = cast("dict[str, Json]", unit.kept or {})
        found = {**kept, **cast("dict[str, Json]", result.data or {})}
        unit.missing = tuple(key for key in action.uris if key not in found)
        unit.records = joined(unit.records, result.items, list(action.uris))
        unit.data = [found.get(key) for key in action.uris] if action.form == "list" else found
        status = "partial" if unit.missing else "done"
    unit.kept = None
    run.settle(unit, "partial" if status == "partial" else "done", via="call", reason=result.reason)


def _value_instead(run: Run, unit: Unit) -> None:
    value, status = unit.node.step.on_error.value, unit.lost
    assert value is not None, "only a declared value takes the place of data"
    try:
        unit.data = value.evaluate(run.scopes.scope(unit.node.frame, value, own=unit))
    except ExpressionError as error:
        _blame(unit, expression_result(error))
        _fatal(run, unit)
        return
    run.settle(unit, "unknown" if status == "unknown" else "done", via="value", reason=unit.reason)


def _blame(unit: Unit, result: Result) -> None:
    if result.error is not None:
        unit.error = result.error
    elif unit.error is None:
        unit.error = ErrorInfo(kind="expression", message=result.reason or "it could not be evaluated")
    unit.reason = result.reason if result.reason is not None else unit.reason


def _fatal(run: Run, unit: Unit) -> None:
    if unit.uncertain and run.durable:
        run.wait(unit, Waiting(at=run.at, key=unit.key, reason="resolve", error=unit.error))
        return
    node = unit.node
    error = unit.error or ErrorInfo(kind="failed", message=unit.reason or "failed")
    node.broken = True
    run.settle(unit, unit.lost, reason=unit.reason)
    fail(run, node, unit.key, error)
