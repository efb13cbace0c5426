"""The workers of a fleet: one row each, kept fresh by its heartbeat. Whose row is old is taken for dead."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import msgspec

from motet.calls import Json
from motet.engine.journal import RunRow
from motet.engine.owners import this_machine
from motet.engine.store.sql import Nothing, Sql, Store

HEARTBEAT = 5.0
"""Seconds between two signs of life."""
STALL = 15.0
"""Seconds of silence after which a worker's runs are another's."""
OVERDUE = 60.0
"""Seconds after which a run that could go on and does not is called stuck."""
FORGOTTEN = 24 * 3600.0
"""Seconds after which a worker that left no word is no longer listed."""

_COLUMNS = "id, host, pid, release, speaks, servers, started, seen, legs, room, draining, stall"


@dataclass(frozen=True, slots=True)
class Member:
    """One worker, as it last said of itself."""

    id: str
    host: str
    pid: int
    release: str
    """The motet it is."""
    speaks: frozenset[int]
    """The versions of the journal's entries it can go on with."""
    servers: frozenset[str]
    """The servers its configuration names."""
    started: float = 0.0
    seen: float = 0.0
    legs: int = 0
    """Runs it drives."""
    room: int = 0
    """Runs it would drive at once."""
    draining: bool = False
    stall: float = STALL
    """Seconds of silence after which it is to be taken for dead."""
    silent: float = 0.0
    """Seconds since it was seen, by the database's clock."""

    @property
    def alive(self) -> bool:
        """Is it taken for alive?"""
        return self.silent <= self.stall

    def can_drive(self, row: RunRow) -> bool:
        """Does it speak the run's version, and know every server the run may touch?"""
        return self.fits(row.speaks, row.servers)

    def fits(self, speaks: int, needs: frozenset[str] | None) -> bool:
        """Does it speak that version, and know these servers (None: whatever they are)?"""
        return speaks in self.speaks and (needs is None or needs <= self.servers)

    @property
    def working(self) -> bool:
        """Is it alive, and taking runs?"""
        return self.alive and not self.draining

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        told = msgspec.to_builtins(self)
        return {**told, "speaks": sorted(self.speaks), "servers": sorted(self.servers), "alive": self.alive}


def new_member(servers: Iterable[str], *, speaks: Iterable[int], room: int, stall: float = STALL) -> Member:
    """The process we are, as a worker."""
    return Member(
        id=uuid.uuid4().hex[:12],
        host=this_machine().partition("~")[0],
        pid=os.getpid(),
        release=version("motet"),
        speaks=frozenset(speaks),
        servers=frozenset(servers),
        room=room,
        stall=stall,
    )


def who_could(row: RunRow, members: Sequence[Member]) -> str:
    """Why no worker takes the run; empty when one could."""
    living = [member for member in members if member.working]
    if not living:
        return "no worker is alive"
    speaking = [member for member in living if row.speaks in member.speaks]
    if not speaking:
        return f"no living worker speaks version {row.speaks} of the journal"
    if not any(member.can_drive(row) for member in speaking):
        needed = row.servers or frozenset[str]()
        known = frozenset[str]().union(*(member.servers for member in speaking))
        lacking = sorted(needed - known) or sorted(needed)
        return f"no living worker is configured for {', '.join(lacking)}"
    return ""


def stuck(rows: Sequence[RunRow], members: Sequence[Member], now: float) -> list[tuple[RunRow, str]]:
    """Open runs that ought to go on and do not: a person has to do something, or another worker; with the reason.

    A run that waits for an approval, a timer or an answer is not stuck. `now` is seconds since 1970.
    """
    found: list[tuple[RunRow, str]] = []
    for row in rows:
        late = now - max(row.wake or 0.0, row.updated, row.lease)
        if row.parked:
            found.append((row, f"parked: {row.parked}"))
        elif row.wake is not None and row.wake <= now and (row.owner is None or row.lease < now):
            if why := who_could(row, members):
                found.append((row, why))
            elif late > OVERDUE:
                found.append((row, f"nobody took it up for {late:.0f} s: are the workers at the end of their room?"))
    return found


class Members:
    """The rows of all workers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def beat(self, member: Member, *, legs: int, draining: bool) -> None:
        """Say that it lives; the first time, that it is there. Raises `RunError`."""
        await self._store.do(
            Sql(
                f"insert into worker({_COLUMNS}) values(?, ?, ?, ?, ?, ?, {{now}}, {{now}}, ?, ?, ?, ?)"
                " on conflict(id) do update set seen = excluded.seen, legs = excluded.legs,"
                " draining = excluded.draining",
                (
                    *(member.id, member.host, member.pid, member.release),
                    msgspec.json.encode(sorted(member.speaks)).decode(),
                    msgspec.json.encode(sorted(member.servers)).decode(),
                    *(legs, member.room, int(draining), member.stall),
                ),
            ),
            Sql("delete from worker where seen < {now} - ?", (FORGOTTEN,)),
        )

    async def leave(self, member: Member) -> None:
        """Say that it is gone."""
        await self._store.do(Sql("delete from worker where id = ?", (member.id,)))

    async def all(self) -> list[Member]:
        """Everyone who said something lately, the longest serving first."""
        rows = await self._store.read(Sql(f"select {_COLUMNS}, {{now}} - seen from worker order by started, id"))
        return [_member(*row) for row in rows]

    async def on_duty(self, duty: str, every: float) -> bool:
        """True for one caller every so many seconds: what only one worker has to do at a time."""
        text = (
            "insert into duty(name, at) values(?, {now}) on conflict(name) do update set at = excluded.at"
            " where duty.at <= excluded.at - ? returning name"
        )
        try:
            await self._store.do(Sql(text, (duty, every), must=True))
        except Nothing:
            return False
        return True


def _member(
    id_: str,
    host: str,
    pid: int,
    release: str,
    speaks: str,
    servers: str,
    started: float,
    seen: float,
    legs: int,
    room: int,
    draining: int,
    stall: float,
    silent: float,
) -> Member:
    return Member(
        *(id_, host, pid, release),
        frozenset(msgspec.json.decode(speaks, type=list[int])),
        frozenset(msgspec.json.decode(servers, type=list[str])),
        *(started, seen, legs, room),
        bool(draining),
        stall,
        silent,
    )
