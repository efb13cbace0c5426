"""Runs that begin by the clock: when, once, and what becomes of times that nobody was there for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from fleet.fleet_kit import FLOW, Fleet
from motet.cli.fleet import beginner
from motet.engine.fleet.schedules import Due, Move, Overlap, Schedule, Schedules, checked, move, times
from motet.engine.store.sql import Sql
from motet.errors import RunError, WorkflowError
from motet.workflow.loading import load_text

pytestmark = pytest.mark.timeout(60)
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    """The time that the clock of Berlin shows so."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def shown(found: list[float]) -> list[str]:
    """What the clock of Berlin shows then."""
    return [datetime.fromtimestamp(one, BERLIN).strftime("%d. %H:%M%z") for one in found]


@pytest.mark.parametrize(
    ("cron", "after", "found"),
    [
        ("30 2 * * *", "2026-03-28 00:00", ["28. 02:30+0100", "29. 03:00+0200", "30. 02:30+0200"]),
        ("30 2 * * *", "2026-10-24 00:00", ["24. 02:30+0200", "25. 02:30+0200", "26. 02:30+0100"]),
        ("*/30 * * * *", "2026-10-25 02:15", ["25. 02:30+0200", "25. 02:00+0100", "25. 02:30+0100"]),
        ("0 7 * * 1-5", "2026-11-20 08:00", ["23. 07:00+0100", "24. 07:00+0100", "25. 07:00+0100"]),
        ("@daily", "2026-11-20 08:00", ["21. 00:00+0100", "22. 00:00+0100", "23. 00:00+0100"]),
    ],
)
def test_when_a_schedule_fires_also_where_clocks_change(cron: str, after: str, found: list[str]) -> None:
    assert shown(times(cron, "Europe/Berlin", at(after), limit=3)) == found


@pytest.mark.parametrize(
    ("cron", "zone", "says"),
    [
        ("61 * * * *", "UTC", "no cron text"),
        ("* * * * * *", "UTC", "no cron text"),
        ("every day", "UTC", "no cron text"),
        ("0 0 30 2 *", "UTC", "never comes"),
        ("0 0 * * *", "Mars/Olympus", "no time zone"),
        ("0 0 * * *", "../../etc/passwd", "no time zone"),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(cron: str, zone: str, says: str) -> None:
    with pytest.raises(RunError, match=says):
        checked(cron, zone)


HOURLY = Schedule(
    *("s", "flow", "0 * * * *", "UTC", dict[str, str](), "skip", "none", 0, False),
    *(3600.0, None, None, None, 0, list[float](), ""),
)


@pytest.mark.parametrize(
    ("schedule", "now", "busy", "moved"),
    [
        (HOURLY, 3599.0, False, Move(None, None, [], 3600.0)),
        (HOURLY, 3601.0, False, Move(3600.0, None, [], 7200.0)),
        (HOURLY, 3661.0, False, Move(None, None, [3600.0], 7200.0)),
        (HOURLY, 7300.0, False, Move(None, None, [3600.0, 7200.0], 10800.0)),
        (HOURLY, 7201.0, False, Move(7200.0, None, [3600.0], 10800.0)),
        (replace(HOURLY, catch_up="one"), 7300.0, False, Move(7200.0, None, [3600.0], 10800.0)),
        (HOURLY, 3601.0, True, Move(None, None, [3600.0], 7200.0)),
        (replace(HOURLY, overlap="queue"), 3601.0, True, Move(None, 3600.0, [], 7200.0)),
        (replace(HOURLY, overlap="queue", waiting=0.5), 3601.0, True, Move(None, 0.5, [], 7200.0)),
        (replace(HOURLY, overlap="queue", waiting=0.5), 10.0, False, Move(0.5, None, [], 3600.0)),
        (replace(HOURLY, overlap="queue", waiting=0.5), 10.0, True, Move(None, 0.5, [], 3600.0)),
    ],
)
def test_what_a_schedule_does(schedule: Schedule, now: float, busy: bool, moved: Move) -> None:
    assert move(schedule, now, busy=busy) == moved


FLOWS = load_text(FLOW.format(name="flow"), path="flow.yaml")


async def come(fleet: Fleet, *, ago: float = 1.0) -> None:
    """Let the time of every schedule have come so many seconds ago."""
    await fleet.store.do(Sql("update schedule set next = {now} - ?", (ago,)))


async def test_several_workers_see_the_same_time_and_one_run_begins(fleet: Fleet) -> None:
    schedules = Schedules(fleet.store)
    await schedules.add("s", FLOWS, "@yearly", {"seconds": 0})
    await come(fleet)
    begin = beginner(fleet.durable)
    begun: list[str] = []

    async def also(due: Due) -> str:
        run = await begin(due)
        if not begun:  # another worker comes between the run and the schedule's move
            begun.append(run)
            begun.extend(fired.run for fired in await Schedules(fleet.store).tick(begin))
        return run

    assert await schedules.tick(also) == []  # the other was faster
    assert [begun[0]] * 2 == begun
    assert [row.id for row in await fleet.durable.list()] == [begun[0]]
    assert (await schedules.get("s")).run == begun[0]


async def test_a_time_nobody_was_there_for_is_counted_and_listed(fleet: Fleet) -> None:
    schedules = Schedules(fleet.store)
    await schedules.add("s", FLOWS, "@hourly", {"seconds": 0})
    await come(fleet, ago=3 * 3600)
    assert await schedules.tick(beginner(fleet.durable)) == []
    assert ((await schedules.get("s")).missed, await fleet.durable.list()) == (4, [])


async def test_a_long_time_without_workers_is_caught_up_with_one_run(fleet: Fleet) -> None:
    schedules = Schedules(fleet.store)
    await schedules.add("s", FLOWS, "* * * * *", {"seconds": 0}, catch_up="one")
    await come(fleet, ago=2000 * 60)
    fired = [one for _ in range(4) for one in await schedules.tick(beginner(fleet.durable))]
    found = await schedules.get("s")
    assert (len(fired), len(await fleet.durable.list()), found.missed >= 1999) == (1, 1, True)


@pytest.mark.parametrize(("overlap", "runs", "missed"), [("skip", 1, 1), ("queue", 1, 0), ("allow", 2, 0)])
async def test_a_time_that_comes_while_the_run_before_it_goes_on(
    fleet: Fleet, overlap: Overlap, runs: int, missed: int
) -> None:
    schedules = Schedules(fleet.store)
    await schedules.add("s", FLOWS, "@hourly", {"seconds": 0}, overlap=overlap)
    for ago in (2.0, 1.0):
        await come(fleet, ago=ago)
        await schedules.tick(beginner(fleet.durable))
    assert (len(await fleet.durable.list()), (await schedules.get("s")).missed) == (runs, missed)
    await fleet.store.do(Sql("update run set status = 'complete'"))
    await schedules.tick(beginner(fleet.durable))
    assert len(await fleet.durable.list()) == {"skip": 1, "queue": 2, "allow": 2}[overlap]


async def test_a_paused_schedule_lets_its_times_pass_and_goes_on_with_the_next(fleet: Fleet) -> None:
    schedules = Schedules(fleet.store)
    await schedules.add("s", FLOWS, "@hourly", {"seconds": 0})
    await schedules.pause("s")
    await come(fleet)
    assert await schedules.tick(beginner(fleet.durable)) == []
    await schedules.resume("s")
    assert await schedules.tick(beginner(fleet.durable)) == []
    assert (await schedules.get("s")).missed == 0


async def test_a_run_that_cannot_begin_leaves_the_reason_with_its_schedule(fleet: Fleet) -> None:
    schedules = Schedules(fleet.store)
    await schedules.add("s", FLOWS, "@hourly", {"seconds": 0})
    await come(fleet)

    async def broken(_: Due) -> str:
        raise RunError("no secret is configured under the name `token`")

    assert await schedules.tick(broken) == []
    found = await schedules.get("s")
    assert (found.trouble, found.missed) == ("no secret is configured under the name `token`", 1)


async def test_a_schedule_is_refused_when_its_inputs_do_not_fit_or_its_name_is_taken(fleet: Fleet) -> None:
    schedules = Schedules(fleet.store)
    with pytest.raises(WorkflowError, match="seconds"):
        await schedules.add("s", FLOWS, "@hourly", {"seconds": "many"})
    await schedules.add("s", FLOWS, "@hourly", {"seconds": 0})
    with pytest.raises(RunError, match="already"):
        await schedules.add("s", FLOWS, "@hourly", {"seconds": 0})
    assert (await schedules.add("s", FLOWS, "@daily", {"seconds": 1}, replace=True)).cron == "@daily"
    await schedules.remove("s")
    with pytest.raises(RunError, match="no schedule"):
        await schedules.get("s")


async def test_a_worker_begins_and_drives_what_is_due(fleet: Fleet) -> None:
    schedules = Schedules(fleet.store)
    await schedules.add("s", FLOWS, "@yearly", {"seconds": 0}, priority=3)
    await fleet.worker()
    await fleet.until(lambda: fleet.living(1), what="the worker")
    await come(fleet)
    await fleet.until(lambda: fired(fleet), what="the run to begin")
    (row,) = await fleet.durable.list()
    await fleet.finished([row.id])
    assert (row.priority, await fleet.wrong([row.id])) == (3, [])


async def fired(fleet: Fleet) -> bool:
    return bool(await fleet.durable.list())
