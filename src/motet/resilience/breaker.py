"""The circuit breaker: leaves a failing server alone for a while, then lets one call try it.

    closed     every call may pass; >= `failure_rate` of >= `calls` outcomes within `window` seconds failed -> open
    open       nobody passes; `open_for` seconds later -> half_open
    half_open  `probes` calls may pass: one succeeds -> closed, one fails -> open; the others are refused

Each move starts a new *generation*; a permit belongs to the one it was given in, and an outcome from an earlier one is
ignored: it tells of a server that was. A permit that comes back without a verdict (cancelled, or an answer that says
nothing) is only given back. After Resilience4j's sliding window and Nygard's "Release It!".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from motet.resilience.tally import Tally

BreakerState = Literal["closed", "open", "half_open"]
Verdict = Literal["success", "failure", "none"]


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a server is left alone for a while."""

    calls: int = 5
    failure_rate: float = 0.5
    window: float = 30.0
    """Seconds."""
    open_for: float = 15.0
    """Seconds."""
    probes: int = 1
    enabled: bool = True


class Breaker:
    """One server's breaker. `now` is any clock that does not go back, in seconds."""

    __slots__ = ("_generation", "_out", "_settings", "_tally", "_until", "state")

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self.state: BreakerState = "closed"
        self._generation = 0
        self._until = 0.0
        self._out = 0
        self._tally = Tally(settings.window)

    def admits(self, now: float) -> bool:
        """Would a call pass? Takes nothing."""
        if self.state == "closed":
            return True
        if self.state == "open":
            return now >= self._until
        return self._out < self._settings.probes

    def admit(self, now: float) -> int | None:
        """A permit (to be given to `settle` once), or None: the circuit is open."""
        if self.state == "closed":
            return self._generation
        if self.state == "open":
            if now < self._until:
                return None
            self._move("half_open")
        if self._out >= self._settings.probes:
            return None
        self._out += 1
        return self._generation

    def settle(self, permit: int, verdict: Verdict, now: float) -> None:
        """What became of the call that holds this permit. Every permit is settled exactly once."""
        if permit != self._generation:
            return
        if self.state == "half_open":
            self._out -= 1
            if verdict == "failure":
                self._open(now)
            elif verdict == "success":
                self._move("closed")
        elif verdict != "none" and self.state == "closed" and self._settings.enabled:
            tally = self._tally
            tally.add(now, marked=verdict == "failure")
            if (
                tally.marked
                and tally.all >= self._settings.calls
                and tally.marked >= self._settings.failure_rate * tally.all
            ):
                self._open(now)

    def renew(self) -> None:
        """The server has been replaced by a fresh one: an open circuit may be probed now."""
        if self.state == "open":
            self._move("half_open")

    def retry_after(self, now: float) -> float:
        """Seconds until the next probe may be tried; 0: now, or as soon as the present probe is settled."""
        return max(0.0, self._until - now) if self.state == "open" else 0.0

    def _open(self, now: float) -> None:
        self._move("open")
        self._until = now + self._settings.open_for

    def _move(self, state: BreakerState) -> None:
        self.state = state
        self._generation += 1
        self._out = 0
        self._tally.clear()
