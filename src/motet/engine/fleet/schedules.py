"""Runs that begin by the clock: cron in a time zone, fired once by whichever worker is first.

    due       a time has come; times more than a minute old are missed, for no worker was alive
    fire      begin the run under the key `schedule:NAME:TIME`, then move the schedule on by compare-and-set

A worker that dies between the two leaves a run that has the key already: the next one finds it instead of making a
second. The workflow is stored as it was when the schedule was made. The times of the day that a change of the clock
leaves out come a moment later, those it brings twice count once, as in Vixie cron; steps (`*/30`) go on by the hour.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from croniter import croniter

from motet.calls import Json
from motet.engine.durable import packed
from motet.engine.journal import OPEN
from motet.engine.memory import check_inputs
from motet.engine.store.sql import Nothing, Sql, Store
from motet.errors import MotetError, RunError
from motet.workflow.model import Workflow

GRACE = 60.0
"""Seconds after which a time that has passed is missed."""
REMEMBERED = 20
"""Missed times that are listed; all of them are counted."""
LOOK = 1_000
"""Times of one schedule that are looked at in one go."""
_YEARS = 8
"""A cron text that names no time within these never comes: the 29th of February does."""

Overlap = Literal["skip", "queue", "allow"]
"""What becomes of a time that comes while the run before it has not ended: nothing, later, at once."""
CatchUp = Literal["none", "one"]
"""What becomes of missed times: nothing, or one run for all of them."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule as it stands. Times are seconds since 1970."""

    name: str
    workflow: str
    cron: str
    zone: str
    inputs: Mapping[str, Json]
    overlap: Overlap
    catch_up: CatchUp
    priority: int
    paused: bool
    next: float
    waiting: float | None
    """A time that has come and waits for the run before it to end."""
    last: float | None
    run: str | None
    """The run it began last."""
    missed: int
    missed_at: list[float]
    """The latest of them."""
    trouble: str
    """Why its last time began no run; empty when it did."""

    def to_json(self) -> dict[str, Json]:
        """As JSON; times as ISO 8601 in UTC."""
        told: dict[str, Json] = msgspec.to_builtins(self)
        for name in ("next", "waiting", "last"):
            told[name] = None if told[name] is None else iso(told[name])
        return {**told, "missed_at": [iso(at) for at in self.missed_at]}


_COLUMNS = (
    "name, workflow, cron, zone, inputs, overlap, catch_up, priority, paused, next, waiting, last, run, missed,"
    " missed_at, trouble"
)


def iso(at: float) -> str:
    """A time as ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- decisions --------------------------------------------------------------------------------------------------------


def checked(cron: str, zone: str) -> None:
    """Raises `RunError` when the cron text or the time zone cannot be used."""
    if not cron.startswith("@") and len(cron.split()) != 5:
        raise RunError(
            f"`{cron}` is no cron text", hint='five fields: minute hour day month weekday, as in "0 7 * * 1-5"'
        )
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise RunError(f"there is no time zone `{zone}`", hint="an IANA name, as in Europe/Berlin") from None
    if not croniter.is_valid(cron):
        raise RunError(f"`{cron}` is no cron text", hint='as in "0 7 * * 1-5": weekdays at seven')
    if not times(cron, zone, 0.0, limit=1):
        raise RunError(f"`{cron}` names a time that never comes")


def times(cron: str, zone: str, after: float, *, until: float = float("inf"), limit: int = LOOK) -> list[float]:
    """The times after `after`, up to and with `until`, at most so many."""
    clock: Any = croniter(
        cron, datetime.fromtimestamp(after, ZoneInfo(zone)), ret_type=datetime, max_years_between_matches=8
    )
    by_the_hour = cron.startswith("@") or not cron.split()[1].isdigit()
    found: list[float] = []
    while len(found) < limit:
        try:
            at: datetime = clock.get_next()
        except ValueError:  # it never comes again
            break
        if at.timestamp() > until:
            break
        if by_the_hour or not at.fold:
            found.append(at.timestamp())
    return found


@dataclass(frozen=True, slots=True)
class Move:
    """What a schedule is to do now."""

    fire: float | None
    """Begin the run of this time."""
    waiting: float | None
    """This time waits for the run before it."""
    missed: list[float]
    next: float


def move(schedule: Schedule, now: float, *, busy: bool) -> Move:
    """What a schedule is to do; `busy`: the run it began last has not ended."""
    come = (
        [schedule.next, *times(schedule.cron, schedule.zone, schedule.next, until=now)] if schedule.next <= now else []
    )
    later = times(schedule.cron, schedule.zone, come[-1], limit=1) if come else [schedule.next]
    missed = [at for at in come if now - at > GRACE]
    current = come[len(missed) :]
    caught_up = not later or later[0] > now
    if missed and not current and caught_up and schedule.catch_up == "one":
        current = [missed.pop()]
    missed += current[:-1]
    fire = current[-1] if current else None
    waiting = schedule.waiting
    if busy and fire is not None:
        if schedule.overlap == "queue":
            fire, waiting = None, waiting or fire
        elif schedule.overlap == "skip":
            fire, missed = None, [*missed, fire]
    elif not busy and waiting is not None and fire is None:
        fire, waiting = waiting, None
    return Move(fire, waiting, sorted(missed), later[0] if later else float("inf"))


# -- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """A run that a schedule wants to begin."""

    schedule: str
    bundle: str
    inputs: Mapping[str, Json]
    key: str
    priority: int


Begin = Callable[[Due], Awaitable[str]]
"""Begins the run, or finds the one that has its key; gives its id. Raises `MotetError`."""


@dataclass(frozen=True, slots=True)
class Fired:
    """A run that was begun by the clock."""

    schedule: str
    at: float
    run: str


class Schedules:
    """All schedules of one database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(
        self,
        name: str,
        workflow: Workflow,
        cron: str,
        inputs: Mapping[str, Json],
        *,
        zone: str = "UTC",
        overlap: Overlap = "skip",
        catch_up: CatchUp = "none",
        priority: int = 0,
        replace: bool = False,
    ) -> Schedule:
        """Make a schedule; its workflow stays as it is now, whatever becomes of the file.

        Raises `RunError` for a cron text or time zone that cannot be used, or a name that is taken; `WorkflowError` for
        inputs that do not fit.
        """
        checked(cron, zone)
        check_inputs(workflow, inputs)
        now = await self._now()
        values = (
            *(name, workflow.name, packed(workflow), cron, zone, msgspec.json.encode(inputs).decode()),
            *(overlap, catch_up, priority, times(cron, zone, now, limit=1)[0]),
        )
        columns = ("workflow", "bundle", "cron", "zone", "inputs", "overlap", "catch_up", "priority", "next")
        then = ", ".join(f"{column} = excluded.{column}" for column in columns) + ", waiting = null, trouble = ''"
        text = (
            f"insert into schedule(name, {', '.join(columns)}, paused, missed, missed_at, trouble)"
            f" values({', '.join('?' * len(values))}, 0, 0, '[]', '')"
            f" on conflict(name) do {f'update set {then}' if replace else 'nothing'} returning name"
        )
        try:
            await self._store.do(Sql(text, values, must=True))
        except Nothing:
            raise RunError(
                f"there is a schedule `{name}` already", hint="--replace puts this one in its place"
            ) from None
        return await self.get(name)

    async def get(self, name: str) -> Schedule:
        """One of them. Raises `RunError` when there is none of that name."""
        rows = await self._store.read(Sql(f"select {_COLUMNS} from schedule where name = ?", (name,)))
        if not rows:
            raise RunError(f"there is no schedule `{name}`", hint="motet schedule list")
        return _schedule(rows[0])

    async def all(self) -> list[Schedule]:
        """All of them, the next to fire first."""
        rows = await self._store.read(Sql(f"select {_COLUMNS} from schedule order by paused, next, name"))
        return [_schedule(row) for row in rows]

    async def pause(self, name: str) -> None:
        """Let its times pass. Raises `RunError` when there is none of that name."""
        await self._change(name, "paused = 1", ())

    async def resume(self, name: str) -> None:
        """Let it go on with the next time from now; what passed meanwhile was not missed."""
        schedule = await self.get(name)
        later = times(schedule.cron, schedule.zone, await self._now(), limit=1)[0]
        await self._change(name, "paused = 0, next = ?", (later,))

    async def remove(self, name: str) -> None:
        """Forget it; runs it began go on. Raises `RunError` when there is none of that name."""
        try:
            await self._store.do(Sql("delete from schedule where name = ? returning name", (name,), must=True))
        except Nothing:
            raise RunError(f"there is no schedule `{name}`", hint="motet schedule list") from None

    async def trigger(self, name: str, begin: Begin) -> str:
        """Begin a run of it now, beside its times; gives the run's id."""
        schedule = await self.get(name)
        return await begin(await self._due(schedule, f"schedule:{name}:{uuid.uuid4().hex}"))

    async def tick(self, begin: Begin) -> list[Fired]:
        """Begin every run whose time has come; the others' work is not done twice. Raises `RunError`."""
        text = f"select {_COLUMNS}, {{now}} from schedule where paused = 0 and (next <= {{now}} or waiting is not null)"
        fired: list[Fired] = []
        for *row, now in await self._store.read(Sql(text)):
            schedule = _schedule(row)
            moved = move(schedule, float(now), busy=await self._busy(schedule))
            if moved == Move(None, schedule.waiting, [], schedule.next):
                continue
            run, trouble = schedule.run, ""
            if moved.fire is not None:
                try:
                    run = await begin(await self._due(schedule, f"schedule:{schedule.name}:{iso(moved.fire)}"))
                except MotetError as error:
                    trouble, moved = error.message, Move(None, moved.waiting, [*moved.missed, moved.fire], moved.next)
            if await self._move(schedule, moved, run, trouble) and moved.fire is not None and run is not None:
                fired.append(Fired(schedule.name, moved.fire, run))
        return fired

    async def _busy(self, schedule: Schedule) -> bool:
        if schedule.run is None or schedule.overlap == "allow":
            return False
        rows = await self._store.read(Sql("select status from run where id = ?", (schedule.run,)))
        return bool(rows) and rows[0][0] in OPEN

    async def _move(self, schedule: Schedule, moved: Move, run: str | None, trouble: str) -> bool:
        missed = [*schedule.missed_at, *moved.missed][-REMEMBERED:]
        text = (
            "update schedule set next = ?, waiting = ?, last = coalesce(?, last), run = ?, missed = missed + ?,"
            " missed_at = ?, trouble = ? where name = ? and next = ? and coalesce(waiting, 0) = ? returning name"
        )
        values = (
            *(moved.next, moved.waiting, moved.fire, run, len(moved.missed), msgspec.json.encode(missed).decode()),
            *(trouble, schedule.name, schedule.next, schedule.waiting or 0),
        )
        try:
            await self._store.do(Sql(text, values, must=True))
        except Nothing:
            return False  # another worker was faster
        return True

    async def _due(self, schedule: Schedule, key: str) -> Due:
        rows = await self._store.read(Sql("select bundle from schedule where name = ?", (schedule.name,)))
        if not rows:
            raise RunError(f"there is no schedule `{schedule.name}` any more")
        return Due(schedule.name, str(rows[0][0]), schedule.inputs, key, schedule.priority)

    async def _change(self, name: str, what: str, values: tuple[float, ...]) -> None:
        try:
            text = f"update schedule set {what} where name = ? returning name"
            await self._store.do(Sql(text, (*values, name), must=True))
        except Nothing:
            raise RunError(f"there is no schedule `{name}`", hint="motet schedule list") from None

    async def _now(self) -> float:
        return float((await self._store.read(Sql("select {now}")))[0][0])


def _schedule(row: Any) -> Schedule:
    name, workflow, cron, zone, inputs, overlap, catch_up, priority, paused, *rest = row
    next_, waiting, last, run, missed, missed_at, trouble = rest
    return Schedule(
        *(name, workflow, cron, zone, msgspec.json.decode(inputs), overlap, catch_up, priority, bool(paused)),
        *(next_, waiting, last, run, missed, msgspec.json.decode(missed_at, type=list[float]), trouble),
    )
