"""Counts over the last so many seconds, in constant memory: what breaker and retry budget decide on.

The span is cut into slices; a slice is forgotten as a whole, so a count is exact to one slice (a tenth of the span).
"""

from __future__ import annotations

SLICES = 10


class Tally:
    """Two counts, `all` and `marked`, over the last `span` seconds."""

    __slots__ = ("_all", "_at", "_marked", "_place", "_until", "_width", "all", "marked")

    def __init__(self, span: float) -> None:
        self._width = span / SLICES
        self._at = -(1 << 62)
        self._place = 0
        self._until = float("-inf")
        """When the present slice is over."""
        self._all = [0] * SLICES
        self._marked = [0] * SLICES
        self.all = 0
        self.marked = 0

    def add(self, now: float, *, marked: bool = False) -> None:
        """Count one, and one marked."""
        if now >= self._until:
            self.turn(now)
        place = self._place
        self._all[place] += 1
        self.all += 1
        if marked:
            self._marked[place] += 1
            self.marked += 1

    def turn(self, now: float) -> None:
        """Forget what is older than the span."""
        at = int(now // self._width)
        if at != self._at:
            self._forget(at)

    def clear(self) -> None:
        """Forget everything."""
        self._all, self._marked = [0] * SLICES, [0] * SLICES
        self.all = self.marked = 0

    def _forget(self, at: int) -> None:
        for step in range(self._at + 1, at + 1) if at - self._at < SLICES else range(SLICES):
            place = step % SLICES
            self.all -= self._all[place]
            self.marked -= self._marked[place]
            self._all[place] = self._marked[place] = 0
        self._at, self._place, self._until = at, at % SLICES, (at + 1) * self._width
