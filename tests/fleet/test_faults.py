"""What happens to the runs of a fleet when workers, their connections or PostgreSQL itself fail."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import psycopg
import pytest

from fleet.faults import FAULTS, HEAD, MANY, PAGE, tried
from fleet.fleet_kit import STALL, Fleet, Proxy
from motet.engine.store.postgres import settle_session

pytestmark = pytest.mark.timeout(90)


def test_the_table_of_faults_in_the_docs_is_what_the_tests_print() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    at = lines.index(HEAD) + 2
    assert lines[at : at + len(FAULTS) + 1] == [*(fault.row(0, 0) for fault in FAULTS.values()), ""]


def test_every_fault_in_the_table_is_tried() -> None:
    texts = [file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py")]
    assert {name for text in texts for name in re.findall(r'tried\("(\w+)"', text)} == FAULTS.keys()


async def test_the_runs_of_a_killed_worker_are_finished_by_the_others(fleet: Fleet) -> None:
    first, *_ = await fleet.fully(3)
    runs = await fleet.in_flight(MANY)
    first.signal(signal.SIGKILL)
    fleet.let_go()
    await fleet.finished(runs)
    await tried("killed", fleet, runs)


async def test_a_worker_that_was_stopped_and_comes_back_starts_nothing_and_its_late_answers_count(fleet: Fleet) -> None:
    first, *_ = await fleet.fully(3)
    runs = await fleet.in_flight(MANY)
    first.signal(signal.SIGSTOP)
    fleet.let_go()
    await fleet.until(lambda: fleet.rested(runs), what="the others to take over")
    unknown = await fleet.open(runs)
    before = fleet.effects()
    first.signal(signal.SIGCONT)
    assert unknown  # those were in the middle of a call that may not be repeated
    await fleet.until(lambda: fleet.all_told(unknown), what="late answers")  # nobody else said what became of them
    left = {ident.partition("/")[0] for _, ident, _ in fleet.effects()[len(before) :]}
    assert left <= set(unknown)  # the runs that others had ended saw nothing of it
    await tried("stopped", fleet, runs)


async def test_postgresql_is_restarted_and_every_run_goes_on(fleet: Fleet) -> None:
    await fleet.fully(2)
    runs = await fleet.in_flight(100)
    restart = asyncio.create_task(asyncio.to_thread(fleet.database.restart))
    fleet.let_go()
    await restart
    await fleet.finished(runs, within=60)
    await tried("restarted", fleet, runs)


async def test_a_worker_cut_off_from_the_database_loses_its_runs_and_is_of_use_again_when_healed(
    fleet: Fleet, tmp_path: Path
) -> None:
    async with Proxy.to(fleet.database.socket(), tmp_path) as proxy:
        await fleet.worker(url=proxy.url(fleet.url))
        await fleet.worker()
        await fleet.until(lambda: fleet.living(2), what="two workers")
        runs = await fleet.in_flight(100)
        proxy.open.clear()
        fleet.let_go()
        await asyncio.sleep(STALL * 1.5)
        await fleet.until(lambda: fleet.rested(runs), what="the other to take over")
        proxy.open.set()
        await fleet.finished(runs)
        await tried("cut", fleet, runs)
        await fleet.until(lambda: fleet.living(2), what="the healed worker")


async def test_a_process_that_is_stopped_within_a_transaction_keeps_no_run_from_the_others(fleet: Fleet) -> None:
    (run,) = await fleet.start()
    async with await psycopg.AsyncConnection.connect(fleet.url) as stopped:
        await settle_session(stopped)
        await stopped.execute("begin")
        await stopped.execute("select id from run for update")  # and then it says no more
        await fleet.worker()
        await fleet.finished([run])
        assert stopped.closed or await ended_by_the_server(stopped)
    await tried("open", fleet, [run])


async def ended_by_the_server(connection: psycopg.AsyncConnection) -> bool:
    """Is it told, when it says something again, that its transaction was ended?"""
    try:
        await connection.execute("commit")
    except psycopg.Error:
        return connection.closed
    return False


async def test_a_worker_that_is_asked_to_end_leaves_the_rest_to_the_others(fleet: Fleet) -> None:
    first, _ = await fleet.fully(2)
    runs = await fleet.in_flight(20)
    first.signal(signal.SIGTERM)
    fleet.let_go()
    assert await first.ended() == 0
    await fleet.until(lambda: fleet.rested(runs), what="the other to finish")
    assert (await fleet.statuses(runs)) == {"complete": 20}  # nothing was left unknown
    await tried("drained", fleet, runs)


async def test_a_run_that_came_at_the_moment_a_worker_was_to_end_is_not_cut_off(fleet: Fleet) -> None:
    (worker,) = await fleet.fully(1)
    runs = await fleet.start(30, seconds=0.5)
    await fleet.until(lambda: fleet.driven(runs), what="the first claim")
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    rows = [await fleet.durable.ledger.row(run) for run in runs]
    assert {(row.owner, row.status in ("running", "complete")) for row in rows} == {(None, True)}
    await fleet.worker()
    await fleet.until(lambda: fleet.rested(runs), what="the other to finish")
    assert await fleet.wrong(runs) == []
