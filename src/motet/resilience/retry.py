"""Whether a failed attempt is tried again, and when: full jitter, the server's own Retry-After, and a budget.

Retry <=> transient and (nothing was sent, or the call is repeatable) and attempts, time and budget are left. Full
jitter (a random share of a doubling bound) spreads callers that failed together; see AWS, "Exponential Backoff And
Jitter". The budget keeps retries from multiplying the load on a server in trouble; see the Google SRE book, "Handling
Overload".
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from motet.calls import Retry
from motet.errors import CallError, Sent
from motet.resilience.tally import Tally

_RANK: dict[Sent, int] = {"no": 0, "unknown": 1, "yes": 2}


def backoff(policy: Retry, attempt: int, chance: float) -> float:
    """Seconds to wait after attempt number `attempt` (from 1). `chance` is in [0, 1)."""
    return chance * min(policy.cap, policy.base * 2.0 ** min(attempt - 1, 60))


def again(
    error: CallError,
    *,
    repeatable: bool,
    attempt: int,
    policy: Retry,
    now: float,
    deadline: float,
    chance: float,
) -> float | None:
    """Seconds until the next attempt, or None: this failure is final. The budget is asked after this.

    `attempt` is how many have been made; `deadline` is when the whole call ends.
    """
    if not error.transient or attempt >= policy.attempts:
        return None
    if error.sent != "no" and not repeatable:
        return None
    wait = backoff(policy, attempt, chance)
    asked = error.retry_after
    if asked is not None and isfinite(asked):
        wait = max(wait, asked)
    return wait if now + wait < deadline else None


def longest(policy: Retry, timeout: float) -> float:
    """Seconds that all attempts of `timeout` seconds and the back-offs between them can take at most."""
    waits = sum(backoff(policy, attempt, 1.0) for attempt in range(1, min(policy.attempts, 100)))
    return policy.attempts * timeout + waits


def worst(sent: Iterable[Sent]) -> Sent:
    """Whether a request had its chance to act, over several attempts of it."""
    everything: list[Sent] = ["no", *sent]
    return max(everything, key=_RANK.__getitem__)


class Budget:
    """How many retries one server is spared: a share of the last minute's calls, but never under a floor."""

    __slots__ = ("_floor", "_share", "_tally")

    def __init__(self, share: float = 0.1, floor: int = 6) -> None:
        self._share = share
        self._floor = floor
        self._tally = Tally(60.0)

    def call(self, now: float) -> None:
        """A call begins (not: a retry of it)."""
        self._tally.add(now)

    def retry(self, now: float) -> bool:
        """May one more retry be made? True takes it from the budget."""
        tally = self._tally
        tally.turn(now)
        retries = tally.marked
        if retries >= max(self._floor, self._share * (tally.all - retries)):
            return False
        tally.add(now, marked=True)
        return True
