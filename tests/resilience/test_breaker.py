"""The circuit breaker as a table: no event loop, no clock, no chance."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.resilience.breaker import Breaker, BreakerSettings, Verdict

FIVE = BreakerSettings(calls=5, failure_rate=0.5, window=30.0, open_for=15.0, probes=1)


def after(outcomes: str, settings: BreakerSettings = FIVE, *, now: float = 100.0) -> Breaker:
    """A breaker that has seen these outcomes at `now`: `f`ailure, `s`uccess, `n`one."""
    breaker = Breaker(settings)
    for outcome in outcomes:
        permit = breaker.admit(now)
        assert permit is not None
        breaker.settle(permit, VERDICTS[outcome], now)
    return breaker


VERDICTS: dict[str, Verdict] = {"f": "failure", "s": "success", "n": "none"}


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("", "closed"),
        ("ffff", "closed"),  # fewer than five say nothing
        ("fffff", "open"),
        ("sssss", "closed"),
        ("ssfff", "open"),  # three of five
        ("sssff", "closed"),  # two of five
        ("sssfff", "open"),  # exactly half of six
        ("ssssff", "closed"),
        ("ffffs", "open"),  # the fifth outcome completes the picture, whatever it is
        ("ffffn", "closed"),  # an outcome without a verdict is none
        ("ffffnnnnnf", "open"),
    ],
)
def test_it_opens_at_half_of_at_least_five(outcomes: str, state: str) -> None:
    assert after(outcomes).state == state


def test_an_open_circuit_refuses_until_its_time_is_over() -> None:
    breaker = after("fffff")
    assert breaker.admit(100.0) is None
    assert not breaker.admits(114.9)
    assert breaker.admit(114.9) is None
    assert breaker.retry_after(110.0) == 5.0
    assert breaker.admits(115.0)
    assert breaker.state == "open"  # being asked takes nothing
    assert breaker.admit(115.0) is not None
    assert breaker.state == "half_open"


def test_one_probe_passes_and_the_others_wait_for_its_verdict() -> None:
    breaker = after("fffff")
    assert breaker.admit(115.0) is not None
    assert [breaker.admit(115.0 + step) for step in range(3)] == [None, None, None]
    assert not breaker.admits(200.0)


def test_as_many_probes_as_configured_pass() -> None:
    breaker = after("fffff", BreakerSettings(probes=3))
    assert [breaker.admit(115.0) is not None for _ in range(5)] == [True, True, True, False, False]


def test_a_good_probe_closes_it_and_forgets_the_past() -> None:
    breaker = after("fffff")
    probe = breaker.admit(115.0)
    assert probe is not None
    breaker.settle(probe, "success", 116.0)
    assert breaker.state == "closed"
    for _ in range(4):
        breaker.settle(breaker.admit(117.0) or 0, "failure", 117.0)
    assert breaker.state == "closed"


def test_a_bad_probe_opens_it_again_for_the_whole_time() -> None:
    breaker = after("fffff")
    probe = breaker.admit(115.0)
    assert probe is not None
    breaker.settle(probe, "failure", 118.0)
    assert breaker.state == "open"
    assert breaker.retry_after(118.0) == 15.0
    assert breaker.admit(132.9) is None
    assert breaker.admit(133.0) is not None


def test_a_cancelled_probe_gives_its_permit_back_without_a_verdict() -> None:
    breaker = after("fffff")
    probe = breaker.admit(115.0)
    assert probe is not None
    breaker.settle(probe, "none", 116.0)
    assert breaker.state == "half_open"
    assert breaker.admit(116.0) is not None
    assert breaker.admit(116.0) is None


def test_outcomes_of_calls_begun_before_the_last_move_are_ignored() -> None:
    breaker = Breaker(FIVE)
    early = [breaker.admit(100.0) for _ in range(12)]
    for permit in early[:5]:
        breaker.settle(permit or 0, "failure", 101.0)
    assert breaker.state == "open"
    for permit in early[5:8]:
        breaker.settle(permit or 0, "success", 102.0)
    assert breaker.state == "open"
    probe = breaker.admit(116.0)
    assert probe is not None
    breaker.settle(early[8] or 0, "failure", 117.0)
    assert breaker.state == "half_open"
    breaker.settle(probe, "success", 118.0)
    for permit in early[9:]:
        breaker.settle(permit or 0, "failure", 119.0)
    assert breaker.state == "closed"
    for _ in range(4):
        breaker.settle(breaker.admit(119.0) or 0, "failure", 119.0)
    assert breaker.state == "closed"


def test_old_outcomes_leave_the_window() -> None:
    breaker = after("ffff", now=100.0)
    breaker.settle(breaker.admit(140.0) or 0, "failure", 140.0)
    assert breaker.state == "closed"
    for _ in range(4):
        breaker.settle(breaker.admit(141.0) or 0, "failure", 141.0)
    assert breaker.state == "open"


def test_old_successes_no_longer_outweigh_new_failures() -> None:
    breaker = after("s" * 100, now=100.0)
    for _ in range(5):
        breaker.settle(breaker.admit(131.0) or 0, "failure", 131.0)
    assert breaker.state == "open"


def test_a_fresh_connection_lets_a_probe_through_at_once() -> None:
    breaker = after("fffff")
    breaker.renew()
    assert breaker.state == "half_open"
    assert breaker.admit(100.0) is not None
    assert breaker.admit(100.0) is None


def test_renewing_a_closed_breaker_changes_nothing() -> None:
    breaker = after("ffff")
    breaker.renew()
    assert breaker.state == "closed"
    breaker.settle(breaker.admit(100.0) or 0, "failure", 100.0)
    assert breaker.state == "open"


def test_switched_off_it_never_opens() -> None:
    assert after("f" * 50, BreakerSettings(enabled=False)).state == "closed"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["admit", "success", "failure", "none", "wait", "renew"]), st.floats(0.01, 40.0)),
        max_size=120,
    )
)
def test_whatever_happens_no_permit_leaks_and_one_probe_is_out_at_most(steps: list[tuple[str, float]]) -> None:
    breaker, now, out = Breaker(FIVE), 0.0, list[tuple[int, str]]()
    for what, amount in steps:
        if what == "wait":
            now += amount
        elif what == "renew":
            breaker.renew()
        elif what == "admit":
            would = breaker.admits(now)
            permit = breaker.admit(now)
            assert would == (permit is not None)
            if permit is not None:
                out.append((permit, breaker.state))
        elif out:
            permit, _ = out.pop(0)
            breaker.settle(permit, VERDICTS[what[0]], now)
        probes = [permit for permit, state in out if state == "half_open" and permit == max(p for p, _ in out)]
        assert breaker.state != "half_open" or len(probes) <= 1
    for permit, _ in out:
        breaker.settle(permit, "none", now)
    assert breaker.admit(now + 15.0) is not None
