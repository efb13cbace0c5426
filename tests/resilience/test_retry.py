"""Retry, back-off, budget and restart intensity as tables: no event loop, no clock, no chance."""

from __future__ import annotations

import pytest

from motet.calls import Retry
from motet.errors import (
    CallCancelled,
    CallError,
    CircuitOpen,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArguments,
    NeedsAuth,
    OutputSchemaMismatch,
    PolicyRefused,
    ProtocolError,
    QueueFull,
    RateLimited,
    ResultTooLarge,
    Sent,
    ServerUnavailable,
    ToolChanged,
    ToolError,
    UnknownAddress,
    UnusableAnswer,
)
from motet.resilience.restarts import Intensity, Restarts
from motet.resilience.retry import Budget, again, backoff, longest, worst
from motet.resilience.tally import Tally

S = "s"


def tried(
    error: CallError, *, repeatable: bool = True, attempt: int = 1, left: float = 100.0, chance: float = 0.5
) -> float | None:
    return again(
        error,
        repeatable=repeatable,
        attempt=attempt,
        policy=Retry(),
        now=1000.0,
        deadline=1000.0 + left,
        chance=chance,
    )


EVENTS: list[tuple[CallError, Sent, str, bool, bool]] = [
    # error, sent, what the breaker hears, tried again when repeatable, and when not: SEMANTICS §4, row by row
    (UnknownAddress("no such tool", server=S), "no", "none", False, False),
    (InvalidArguments("bad", server=S), "no", "none", False, False),
    (PolicyRefused("denied", server=S), "no", "none", False, False),
    (ToolChanged("changed", server=S), "no", "none", False, False),
    (QueueFull("full", server=S), "no", "none", False, False),
    (CircuitOpen("open", server=S), "no", "none", False, False),
    (ServerUnavailable("spawn", server=S, reason="spawn"), "no", "failure", True, True),
    (ServerUnavailable("connect", server=S, reason="connect"), "no", "failure", True, True),
    (NeedsAuth("401", server=S), "no", "none", False, False),
    (RateLimited("429", server=S), "no", "neutral", True, True),
    (ProtocolError("parse", server=S, code=-32700), "no", "success", False, False),
    (ProtocolError("request", server=S, code=-32600), "no", "success", False, False),
    (ProtocolError("method", server=S, code=-32601), "no", "success", False, False),
    (ProtocolError("params", server=S, code=-32602), "no", "success", False, False),
    (ProtocolError("internal", server=S, code=-32603), "yes", "neutral", True, False),
    (ProtocolError("server", server=S, code=-32000), "yes", "neutral", True, False),
    (ProtocolError("server, too", server=S, code=-32099), "yes", "neutral", True, False),
    (ToolError("isError", server=S, tool="t"), "yes", "success", False, False),
    (ConnectionLost("reset", server=S), "unknown", "failure", True, False),
    (DeadlineExceeded("time-out", server=S), "unknown", "failure", True, False),
    (DeadlineExceeded("before it was written", server=S, sent="no"), "no", "failure", True, True),
    (UnusableAnswer("unreadable", server=S), "yes", "success", False, False),
    (ResultTooLarge("cap", server=S), "yes", "success", False, False),
    (OutputSchemaMismatch("lie", server=S), "yes", "success", False, False),
    (CallCancelled("before the write", server=S), "no", "none", False, False),
    (CallCancelled("after it", server=S, sent="unknown"), "unknown", "none", False, False),
]


@pytest.mark.proves("FR-ORCH-004")
@pytest.mark.parametrize(("error", "sent", "health", "safe", "unsafe"), EVENTS, ids=lambda value: str(value)[:30])
def test_only_what_can_help_and_cannot_harm_is_tried_again(
    error: CallError, sent: Sent, health: str, safe: bool, unsafe: bool
) -> None:
    assert (error.sent, error.health) == (sent, health)
    assert (tried(error) is not None, tried(error, repeatable=False) is not None) == (safe, unsafe)


LOST = ConnectionLost("reset", server=S)


def test_the_back_off_doubles_up_to_its_cap_and_is_a_random_share_of_it() -> None:
    policy = Retry(base=0.2, cap=8.0)
    assert [backoff(policy, attempt, 1.0) for attempt in (1, 2, 3, 6, 7, 2000)] == [0.2, 0.4, 0.8, 6.4, 8.0, 8.0]
    assert [backoff(policy, 3, chance) for chance in (0.0, 0.25, 0.5)] == [0.0, 0.2, 0.4]


def test_attempts_end() -> None:
    assert [tried(LOST, attempt=attempt) is not None for attempt in (1, 2, 3, 4)] == [True, True, False, False]


def test_there_must_be_time_left_for_the_wait() -> None:
    assert tried(LOST, left=0.11) == pytest.approx(0.1)
    assert tried(LOST, left=0.1) is None
    assert tried(LOST, left=-5.0) is None


def test_what_the_server_asks_for_is_waited() -> None:
    assert tried(RateLimited("429", server=S, retry_after=3.0)) == 3.0
    assert tried(RateLimited("429", server=S, retry_after=0.01)) == pytest.approx(0.1)
    assert tried(RateLimited("429", server=S, retry_after=500.0)) is None
    assert tried(RateLimited("429", server=S, retry_after=float("nan"))) == pytest.approx(0.1)
    assert tried(RateLimited("429", server=S, retry_after=float("inf"))) == pytest.approx(0.1)


def test_a_whole_call_is_as_long_as_its_attempts_and_back_offs() -> None:
    assert longest(Retry(attempts=3, base=0.2, cap=8.0), 30.0) == pytest.approx(90.6)
    assert longest(Retry(attempts=1), 30.0) == 30.0


@pytest.mark.parametrize(
    ("attempts", "whole"),
    [
        (["no"], "no"),
        (["no", "no"], "no"),
        (["unknown", "no"], "unknown"),
        (["no", "unknown"], "unknown"),
        (["yes", "no"], "yes"),
        (["unknown", "yes"], "yes"),
        ([], "no"),
    ],
)
def test_a_call_had_its_chance_if_any_attempt_had(attempts: list[Sent], whole: Sent) -> None:
    assert worst(attempts) == whole


def test_a_quiet_server_is_spared_all_but_six_retries_a_minute() -> None:
    budget = Budget(0.1, 6)
    budget.call(1000.0)
    assert [budget.retry(1000.0 + step) for step in range(8)] == [True] * 6 + [False] * 2
    assert not budget.retry(1053.0)
    assert budget.retry(1066.0)  # a minute later, to a tenth


def test_a_busy_server_is_spared_all_but_a_tenth() -> None:
    budget = Budget(0.1, 6)
    for _ in range(200):
        budget.call(1000.0)
    assert [budget.retry(1001.0) for _ in range(22)] == [True] * 20 + [False] * 2


def test_retries_do_not_feed_their_own_budget() -> None:
    budget = Budget(0.5, 1)
    for _ in range(10):
        budget.call(1000.0)
    assert [budget.retry(1000.0) for _ in range(7)] == [True] * 5 + [False] * 2


def test_the_budget_forgets_calls_after_a_minute() -> None:
    budget = Budget(0.1, 0)
    for _ in range(100):
        budget.call(1000.0)
    assert budget.retry(1010.0)
    assert not budget.retry(1075.0)


def test_a_tally_counts_what_is_no_older_than_its_span() -> None:
    tally = Tally(10.0)
    tally.add(0.5)
    tally.add(5.5, marked=True)
    assert (tally.all, tally.marked) == (2, 1)
    tally.turn(10.1)
    assert (tally.all, tally.marked) == (1, 1)
    tally.turn(15.1)
    assert (tally.all, tally.marked) == (0, 0)
    tally.add(1e6)
    assert (tally.all, tally.marked) == (1, 0)
    tally.clear()
    assert (tally.all, tally.marked) == (0, 0)


# ---- restarts ------------------------------------------------------------------------------------------------------


def lives(restarts: Restarts, *ends: tuple[float, float], began: float = 0.0) -> list[tuple[float, bool]]:
    """The pause after each life: (seconds it lasted, chance)."""
    now, pauses = began, list[tuple[float, bool]]()
    for lasted, chance in ends:
        restarts.started(now)
        restarts.up(now)
        now += lasted
        pause = restarts.down(now, chance)
        pauses.append((round(pause, 6), restarts.parked))
        now += pause
    return pauses


def test_a_crash_loop_is_started_three_times_then_parked_and_probed_ever_more_rarely() -> None:
    loop = [(0.05, 0.5)] * 7
    assert lives(Restarts(), *loop) == [
        (0.1875, False),
        (0.75, False),
        (60.0, True),
        (120.0, True),
        (240.0, True),
        (300.0, True),
        (300.0, True),
    ]


def test_a_life_that_lasts_forgives() -> None:
    restarts = Restarts()
    lives(restarts, *[(0.05, 0.5)] * 3)
    assert restarts.parked
    assert lives(restarts, (3600.0, 0.0), began=1000.0) == [(0.125, False)]


def test_pauses_are_jittered() -> None:
    assert lives(Restarts(), (0.05, 0.0)) == [(0.125, False)]
    assert lives(Restarts(), (0.05, 1.0)) == [(0.25, False)]
    parked = [lives(Restarts(), *[(0.05, chance)] * 3)[-1][0] for chance in (0.0, 1.0)]
    assert parked == [45.0, 75.0]


def test_one_death_an_hour_is_never_parked() -> None:
    assert {parked for _, parked in lives(Restarts(), *[(3600.0, 0.5)] * 20)} == {False}


def test_starts_spread_over_more_than_a_minute_are_no_storm() -> None:
    restarts = Restarts(Intensity(stable=1000.0))
    assert [parked for _, parked in lives(restarts, *[(40.0, 0.5)] * 4)] == [False, False, False, False]
