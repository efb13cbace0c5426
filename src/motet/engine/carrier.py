"""The runs of a journal, wherever it lies: a file of this machine, or a database that many share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from motet.engine.clock import DatabaseClock
from motet.engine.durable import Durable
from motet.engine.fleet.members import STALL
from motet.engine.journal import LEASE
from motet.engine.memory import PARALLEL
from motet.engine.ports import Redact, as_it_is, wall_clock
from motet.engine.store.opening import is_database, open_store
from motet.events import Emit, nobody


@asynccontextmanager
async def durable_at(
    place: str,
    *,
    emit: Emit = nobody,
    secrets: Mapping[str, str] | None = None,
    redact: Redact = as_it_is,
    parallel: int = PARALLEL,
    keep: float | None = None,
) -> AsyncGenerator[Durable]:
    """All runs in that file or behind that `postgresql://` URL. Raises `RunError` when it cannot be used.

    A database goes by its own clock and by the leases of a fleet, whose workers may be driving its runs.
    """
    shared = is_database(place)
    if not shared:
        Path(place).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with open_store(place) as store:
        clock = DatabaseClock(store)
        if shared:
            await clock.sync()
        yield Durable(
            store,
            now=clock.now if shared else wall_clock,
            emit=emit,
            secrets=secrets,
            redact=redact,
            parallel=parallel,
            keep=keep,
            lease=STALL if shared else LEASE,
        )
