"""When a server that is gone is started again: back-off with jitter, restart intensity, then parked and probed.

    running   a life that lasts `stable` seconds forgives all earlier failures
    down      tried again after a growing pause, at most `most` starts within `within` seconds
    parked    too many starts; tried once now and then, with growing pauses, until a life lasts

The intensity is Erlang's (supervisor: "maximum restart intensity"): a server that dies as often as it is started costs
a bounded number of starts, for ever.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Intensity:
    """How eagerly a server is started again. Seconds."""

    most: int = 3
    within: float = 60.0
    base: float = 0.25
    growth: float = 4.0
    cap: float = 15.0
    stable: float = 10.0
    probe: float = 60.0
    """First pause while parked; it doubles up to `probe_cap`."""
    probe_cap: float = 300.0


PROCESS = Intensity()
REMOTE = Intensity(most=6, growth=2.0, probe=15.0, probe_cap=60.0)
"""A server we only reach costs nothing to try."""


class Restarts:
    """The decision for one server."""

    __slots__ = ("_began", "_failures", "_intensity", "_parks", "_starts", "parked")

    def __init__(self, intensity: Intensity = PROCESS) -> None:
        self._intensity = intensity
        self._starts: deque[float] = deque(maxlen=intensity.most)
        self._failures = 0
        self._parks = 0
        self._began: float | None = None
        self.parked = False

    def started(self, now: float) -> None:
        """A start is made."""
        self._starts.append(now)

    def up(self, now: float) -> None:
        """It works: a life begins."""
        self._began = now

    def down(self, now: float, chance: float) -> float:
        """It failed or ended: seconds until the next start. `parked` says whether that is a probe."""
        rules = self._intensity
        lasted = self._began is not None and now - self._began >= rules.stable
        self._began = None
        if lasted:
            self._failures = self._parks = 0
            self.parked = False
        pause = rules.base * rules.growth ** min(self._failures, 30)
        self._failures += 1
        used_up = len(self._starts) == rules.most and now - self._starts[0] < rules.within
        if self.parked or used_up:
            self.parked = True
            pause = min(rules.probe_cap, rules.probe * 2.0 ** min(self._parks, 30))
            self._parks += 1
            return pause * (0.75 + chance / 2)
        return min(rules.cap, pause) * (0.5 + chance / 2)
