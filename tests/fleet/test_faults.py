"""What happens to the runs of a fleet when workers, their connections or PostgreSQL itself fail."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from fleet.fleet_kit import STALL, Fleet, Proxy

pytestmark = pytest.mark.timeout(90)


async def test_the_runs_of_a_killed_worker_are_finished_by_the_others(fleet: Fleet) -> None:
    first, *_ = await fleet.fully(3)
    runs = await fleet.start(60, seconds=0.4)
    await fleet.acting(90)
    first.signal(signal.SIGKILL)
    await fleet.finished(runs)
    assert await fleet.wrong(runs) == []


async def test_a_worker_that_was_stopped_and_comes_back_starts_nothing_and_its_late_answers_count(fleet: Fleet) -> None:
    first, *_ = await fleet.fully(3)
    runs = await fleet.start(30, seconds=1.0)
    await fleet.acting(45)
    first.signal(signal.SIGSTOP)
    await fleet.until(lambda: fleet.rested(runs), what="the others to take over")
    unknown = [run for run in runs if not (await fleet.durable.ledger.row(run)).ended]
    first.signal(signal.SIGCONT)
    assert unknown  # those were in the middle of a call that may not be repeated
    await fleet.until(lambda: late_answers(fleet, unknown), what="late answers")
    await fleet.finished(runs)
    assert await fleet.wrong(runs) == []


async def late_answers(fleet: Fleet, runs: list[str]) -> bool:
    """Have all of these ended, with nobody saying what became of them?"""
    return all([(await fleet.durable.ledger.row(run)).ended for run in runs])


async def test_postgresql_is_restarted_and_every_run_goes_on(fleet: Fleet) -> None:
    await fleet.fully(2)
    runs = await fleet.start(30, seconds=0.3)
    await fleet.acting(40)
    await asyncio.to_thread(fleet.database.restart)
    await fleet.finished(runs, within=60)
    assert await fleet.wrong(runs) == []


async def test_a_worker_cut_off_from_the_database_loses_its_runs_and_is_of_use_again_when_healed(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with Proxy.to(fleet.database.socket(), tmp_path) as proxy:
        await fleet.worker(url=proxy.url(fleet.url))
        await fleet.worker()
        await fleet.until(lambda: fleet.living(2), what="two workers")
        runs = await fleet.start(30, seconds=0.5)
        await fleet.acting(40)
        proxy.open.clear()
        await asyncio.sleep(STALL * 1.5)
        await fleet.until(lambda: fleet.rested(runs), what="the other to take over")
        proxy.open.set()
        await fleet.finished(runs)
        assert await fleet.wrong(runs) == []
        await fleet.until(lambda: fleet.living(2), what="the healed worker")


async def test_a_worker_that_is_asked_to_end_leaves_the_rest_to_the_others(fleet: Fleet) -> None:
    first, _ = await fleet.fully(2)
    runs = await fleet.start(20, seconds=0.5)
    await fleet.acting(25)
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0
    await fleet.until(lambda: fleet.rested(runs), what="the other to finish")
    assert (await fleet.statuses(runs)) == {"complete": 20}  # nothing was left unknown
    assert await fleet.wrong(runs) == []
