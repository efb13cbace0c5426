"""The database's clock, told without asking: what machines that share a journal go by, however wrong their own is."""

from __future__ import annotations

import sys
import time

from motet.engine.store.sql import Sql, Store

SYNC = 60.0
"""Seconds after which it wants to be compared again."""


def awake() -> float:
    """Seconds that also pass while this process is stopped or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class DatabaseClock:
    """Seconds since 1970 by the database. It never goes back, whatever is done to any machine's clock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ahead = 0.0
        """What to add to `awake()`."""
        self._said = 0.0
        self.synced: float | None = None
        """When it was last compared, by `awake()`; None: never."""
        self.took = 0.0
        """Seconds the last comparison took: a round trip to the database."""

    async def sync(self) -> None:
        """Compare with the database. Raises `RunError`."""
        before = awake()
        rows = await self._store.read(Sql("select {now}"))
        after = awake()
        self._ahead = float(rows[0][0]) - (before + after) / 2
        self.synced, self.took = after, after - before

    def now(self) -> float:
        """Seconds since 1970. Call `sync` before."""
        self._said = max(self._said, awake() + self._ahead)
        return self._said
