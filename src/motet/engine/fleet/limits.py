"""Limits that hold across all workers of a fleet: how many at once, and how many in a time.

They are rows of the database, so there is one truth, changed at once. To take a permit is one transaction that first
locks the limit's row: what it counts then is all there is, however many workers ask. A permit is a lease; its worker's
heartbeat renews it, and a dead worker's permits are over by themselves. Who waits has a ticket, and the oldest goes
first. The rate is kept by GCRA, the generic cell rate algorithm (ITU-T I.371): one theoretical arrival time per limit,
and no history.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec

from motet.calls import Call, Failed, Json, Method, Outcome, Progress, Retry, Round
from motet.engine.fleet.members import STALL
from motet.engine.journal import RunRow
from motet.engine.ports import Dispatch
from motet.engine.store.sql import Nothing, Sql, Store
from motet.errors import QueueFull, RunError, ServerUnavailable

LOOK = 0.2
"""Seconds between a waiter's looks."""
TICKET = 5.0
"""Seconds a ticket lasts that its holder does not show again."""
WAIT = 300.0
"""Seconds to wait for a permit when the call has no deadline of its own."""
_NAME = re.compile(r"(server|workflow):[^\s:]+")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|m|h|d)")
_PER = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit as it stands."""

    name: str
    """`server:NAME` or `workflow:NAME`."""
    concurrency: int
    """How many at once; 0: as many as come."""
    rate: float
    """How many a second; 0: as many as come."""
    burst: int
    """How many of them may come at one moment."""
    used: Mapping[str, int]
    """How many each worker holds now."""
    waiting: int

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        return msgspec.to_builtins(self)


def rate(text: str) -> float:
    """How many a second, from `10/s`, `6/m`, `100/h`, `5/d`. Raises `RunError`."""
    found = _RATE.fullmatch(text.strip())
    if found is None or float(found[1]) <= 0:
        raise RunError(f"`{text}` is no rate", hint="as in 10/s, 6/m, 100/h, 5/d")
    return float(found[1]) / _PER[found[2]]


class Limits:
    """All limits of one database."""

    def __init__(self, store: Store, *, stall: float = STALL) -> None:
        self._store = store
        self._stall = stall
        self.names: frozenset[str] = frozenset()
        """The limits there are, as of the last `refresh`."""

    # -- what people set ------------------------------------------------------------------------------------------

    async def set(self, name: str, *, concurrency: int = 0, rate: float = 0.0, burst: int = 1) -> None:
        """Make or change a limit; `rate` is how many a second. Raises `RunError` for a name that is none."""
        if not _NAME.fullmatch(name):
            raise RunError(f"`{name}` names no limit", hint="server:NAME or workflow:NAME")
        if concurrency <= 0 and rate <= 0:
            raise RunError("a limit needs a concurrency or a rate", hint="--concurrency 4, --rate 10/s")
        text = (
            "insert into limits(name, concurrency, rate, burst, tat, locked) values(?, ?, ?, ?, 0, 0) on conflict(name)"
            " do update set concurrency = excluded.concurrency, rate = excluded.rate, burst = excluded.burst"
        )
        await self._store.do(Sql(text, (name, concurrency, rate, max(1, burst))))

    async def remove(self, name: str) -> None:
        """Forget it. Raises `RunError` when there is none of that name."""
        try:
            await self._store.do(
                Sql("delete from limits where name = ? returning name", (name,), must=True),
                Sql("delete from permit where name = ?", (name,)),
                Sql("delete from ticket where name = ?", (name,)),
            )
        except Nothing:
            raise RunError(f"there is no limit `{name}`", hint="motet limit list") from None

    async def all(self) -> list[Limit]:
        """All of them, with what is in use."""
        held = await self._store.read(
            Sql("select name, worker, count(*) from permit where until > {now} group by 1, 2")
        )
        waits = await self._store.read(Sql("select name, count(*) from ticket where until > {now} group by 1"))
        waiting = {str(name): int(count) for name, count in waits}
        rows = await self._store.read(Sql("select name, concurrency, rate, burst from limits order by name"))
        return [
            Limit(
                *(name, concurrency, rate, burst),
                {worker: count for of, worker, count in held if of == name},
                waiting.get(name, 0),
            )
            for name, concurrency, rate, burst in rows
        ]

    # -- what workers do ------------------------------------------------------------------------------------------

    async def refresh(self, worker: str) -> None:
        """Learn which limits there are, and keep this worker's permits. Raises `RunError`."""
        self.names = frozenset(str(name) for (name,) in await self._store.read(Sql("select name from limits")))
        if self.names:
            await self._store.do(
                Sql("update permit set until = {now} + ? where worker = ?", (self._stall, worker)),
                Sql("delete from permit where until < {now} - ?", (self._stall,)),
                Sql("delete from ticket where until < {now} - ?", (self._stall,)),
            )

    async def take(self, name: str, holder: str, worker: str, *, counts: bool = True) -> bool:
        """Take a permit, if there is room and nobody waits longer. Without `counts` its rate is not asked.

        False: a ticket keeps the place in the queue, as long as this is called again within a few seconds. Raises
        `RunError`.
        """
        later = "greatest(tat, {now}) + 1 / rate" if counts else "tat"
        fits = "rate = 0 or greatest(tat, {now}) - {now} <= (burst - 1) / rate + 0.001" if counts else "1 = 1"
        before = "select count(*) from ticket t where t.name = limits.name and t.until > {now} and t.at < mine.at"
        held = "select count(*) from permit p where p.name = limits.name and p.until > {now}"
        try:
            await self._store.do(
                Sql(
                    "insert into ticket(name, holder, at, until) values(?, ?, {now}, {now} + ?)"
                    " on conflict(name, holder) do update set until = excluded.until",
                    (name, holder, TICKET),
                ),
                Sql("update limits set locked = locked + 1 where name = ?", (name,)),  # one at a time from here on
                Sql(
                    f"update limits set tat = case when rate = 0 then tat else {later} end"
                    " from ticket mine where limits.name = ? and mine.name = limits.name and mine.holder = ?"
                    f" and ({fits}) and (rate = 0 or ({before}) = 0)"
                    f" and (concurrency = 0 or ({held}) + ({before}) < concurrency) returning limits.name",
                    (name, holder),
                    must=True,
                ),
                Sql(
                    "insert into permit(name, holder, worker, until) values(?, ?, ?, {now} + ?)"
                    " on conflict(name, holder) do update set until = excluded.until",
                    (name, holder, worker, self._stall),
                ),
                Sql("delete from ticket where name = ? and holder = ?", (name, holder)),
            )
        except Nothing:
            await self._queue(name, holder)
            return False
        return True

    async def _queue(self, name: str, holder: str) -> None:
        """Keep a place: the transaction that found no room took its ticket back."""
        text = (
            "insert into ticket(name, holder, at, until) values(?, ?, {now}, {now} + ?)"
            " on conflict(name, holder) do update set until = excluded.until"
        )
        await self._store.do(Sql(text, (name, holder, TICKET)))

    async def give_back(self, name: str, holder: str) -> None:
        """Let go of a permit and of a place in the queue."""
        await self._store.do(
            Sql("delete from permit where name = ? and holder = ?", (name, holder)),
            Sql("delete from ticket where name = ? and holder = ?", (name, holder)),
        )

    @asynccontextmanager
    async def leg(self, row: RunRow, worker: str) -> AsyncGenerator[bool]:
        """Inside, the run counts against the limit of its workflow; False when there is no room now."""
        name = f"workflow:{row.workflow}"
        if name not in self.names:
            yield True
            return
        taken = await self.take(name, row.id, worker, counts=row.seq <= 1)
        try:
            yield taken
        finally:
            if taken:
                await asyncio.shield(self.give_back(name, row.id))


class LimitedDispatch:
    """A `Dispatch` whose calls keep to the limits of their servers. A server without one costs nothing."""

    def __init__(
        self, inner: Dispatch, limits: Limits, worker: str, *, chance: Callable[[], float], wait: float = WAIT
    ) -> None:
        self._inner = inner
        self._limits = limits
        self._worker = worker
        self._chance = chance
        """Numbers from 0 to 1: waiters do not look all at once."""
        self._wait = wait

    def prepare(
        self,
        server: str,
        method: Method,
        name: str,
        arguments: Mapping[str, Json],
        *,
        key: str | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        waits: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
        round: Round | None = None,  # noqa: A002 - the specification's word
    ) -> Call:
        """See `Dispatch.prepare`."""
        return self._inner.prepare(
            server,
            method,
            name,
            arguments,
            key=key,
            deadline=deadline,
            timeout=timeout,
            retry=retry,
            waits=waits,
            on_progress=on_progress,
            round=round,
        )

    def route(self, uri: str, server: str | None = None) -> str:
        """See `Dispatch.route`."""
        return self._inner.route(uri, server)

    async def attempt(self, call: Call) -> Outcome:
        """See `Dispatch.attempt`; waits for a permit first, within the call's own deadline."""
        name = f"server:{call.server}"
        if name not in self._limits.names:
            return await self._inner.attempt(call)
        holder = uuid.uuid4().hex
        try:
            if not await self._permit(name, holder, call):
                hint = f"motet limit set {name}"
                message = f"no room under the limit {name} in time ({hint} changes it)"
                return Failed(QueueFull(message, server=call.server))
            return await self._inner.attempt(call)
        except RunError as error:
            return Failed(ServerUnavailable(f"the limit {name} cannot be asked: {error.message}", server=call.server))
        finally:
            await asyncio.shield(self._done(name, holder))

    async def _permit(self, name: str, holder: str, call: Call) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait if call.deadline is None else call.deadline
        while name in self._limits.names and not await self._limits.take(name, holder, self._worker):
            pause = LOOK * (0.5 + self._chance())
            if loop.time() + pause >= until:
                return False
            await asyncio.sleep(pause)
        return True

    async def _done(self, name: str, holder: str) -> None:
        try:
            await self._limits.give_back(name, holder)
        except RunError:
            return  # it is over by itself
