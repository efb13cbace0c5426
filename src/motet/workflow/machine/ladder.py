"""What a step comes to when its action failed, or nobody knows what it did (SEMANTICS §2.3). Decides, moves nothing.

The ladder, from the top; each rung is taken when its condition holds, and what lies below it is not looked at:

    leave      its workflow is stopping
    reconcile  declared, and the call may have acted: look first
    again      the look proved it had no effect, the trouble was transient, and its retries are not used up
    defer      `on_unavailable: {defer}`, the server is away, nothing was sent, and the bound is not over
    value      `on_error: {value}`
    fallback   `on_error: {call}`, and the outcome is known
    leave      `on_error` or `on_unavailable: continue`: it stays failed or unknown, and the run goes on
    fail       the run fails; where a durable run does not know the outcome, it waits for a verdict instead
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from motet.calls import Retry
from motet.workflow.entries import Waiting
from motet.workflow.judging import UNAVAILABLE, sent_of
from motet.workflow.model import OnError
from motet.workflow.standing import Unit

ASK_AGAIN = (5.0, 60.0)
"""Seconds before a deferred step tries its server again: the first time, and at most."""

Rung: TypeAlias = Literal["leave", "reconcile", "again", "defer", "value", "fallback", "fail"]


def after_trouble(unit: Unit, at: float) -> Rung:
    """Its call failed, or its outcome is unknown."""
    if not unit.node.goes_on:
        return "leave"
    if unit.node.step.reconcile is not None and (unit.uncertain or sent_of(unit) == "unknown"):
        return "reconcile"
    return _unless_away(unit, at)


def after_blind_look(unit: Unit, at: float) -> Rung:
    """A reconcile could not tell whether it happened."""
    return _unless_away(unit, at) if unit.node.goes_on else "leave"


def after_no_effect(unit: Unit, at: float) -> Rung:
    """A reconcile proved that it did not happen (SEMANTICS §4: sent = no)."""
    if not unit.node.goes_on:
        return "leave"
    return "again" if _may_be_sent_again(unit, at) else _unless_away(unit, at)


def by_rule(unit: Unit, rule: OnError | None = None) -> Rung:
    """What this rule says; by default, the step's own `on_error`."""
    rule = rule or unit.node.step.on_error
    match rule.mode:
        case "continue":
            return "leave"
        case "value" if rule.value is not None:
            return "value"
        case "call" if rule.call is not None and not unit.uncertain:
            return "fallback"
        case _:
            return "fail"


def deferral(unit: Unit, at: float, *, since: float) -> Waiting:
    """The wait of a step whose server has been away `since` then: longer each time, as the server asks, and bounded."""
    declared, error = unit.node.step.on_unavailable, unit.error
    assert declared is not None, "only a step that declares it is deferred"
    assert error is not None, "only a failed call is deferred"
    until = since + declared.defer
    first, most = ASK_AGAIN
    pause = error.retry_after or min(most, max(first, (at - since) / 2))
    return Waiting(at=at, key=unit.key, reason="server", until=until, again=min(until, at + pause), error=error)


def _may_be_sent_again(unit: Unit, at: float) -> bool:
    step = unit.node.step
    transient = unit.error is not None and unit.error.transient
    in_time = step.timeout is None or unit.began is None or at < unit.began + step.timeout
    return transient and unit.resends < (step.retry or Retry()).attempts - 1 and in_time


def _unless_away(unit: Unit, at: float) -> Rung:
    declared, error = unit.node.step.on_unavailable, unit.error
    if declared is None or error is None or error.kind not in UNAVAILABLE or error.sent != "no":
        return by_rule(unit)
    if declared.mode != "defer":
        return by_rule(unit, OnError(declared.mode))
    since = at if unit.deferred is None else unit.deferred
    return "defer" if at < since + declared.defer else by_rule(unit)
