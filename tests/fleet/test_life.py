"""The life of runs in a fleet: handed over, watched, left alone, poisoned; what a worker says when it cannot work."""

from __future__ import annotations

import json
import os
import signal

import aiohttp
import pytest

from fleet.faults import tried
from fleet.fleet_kit import FLOW, Fleet
from motet.engine import owners
from motet.engine.fleet.jobs import open_jobs
from motet.engine.fleet.members import Member, stuck, who_could
from motet.engine.journal import RunRow
from motet.engine.store import tables
from motet.engine.store.opening import open_store
from motet.engine.store.sql import Sql
from motet.engine.store.tables import MIGRATIONS, SCHEMA
from motet.workflow.loading import load_text

pytestmark = pytest.mark.timeout(90)

QUICK = """motet: 1
name: quick
steps:
  k1: {call: a.keyed, with: {id: "${{ run.id }}/k1", seconds: 0.2}}
output: {id: "${{ k1.id }}"}
"""
ASKS = """motet: 1
name: asks
steps:
  ok: {approval: {message: "Go ahead?"}}
  k1: {call: a.keyed, with: {id: "${{ run.id }}/k1"}, needs: [ok]}
"""
POISON = """motet: 1
name: poison
steps:
  die: {{call: a.kill_parent, with: {{id: x}}}}
"""


def written(fleet: Fleet, text: str) -> str:
    """A workflow file."""
    file = fleet.folder / "flow.yaml"
    file.write_text(text)
    return str(file)


async def test_a_run_is_handed_to_a_living_worker_and_watched_to_its_end(fleet: Fleet) -> None:
    await fleet.fully(1)
    code, out, err = await fleet.motet("run", written(fleet, QUICK), "--id", "r1")
    assert (code, "complete: quick" in out) == (0, True)
    assert "done" in err  # the steps were shown as they settled
    row = await fleet.durable.ledger.row("r1")
    assert row.status == "complete"


async def test_without_workers_a_run_is_driven_by_the_command_itself(fleet: Fleet) -> None:
    code, out, _ = await fleet.motet("run", written(fleet, QUICK))
    assert (code, "complete: quick" in out) == (0, True)


async def test_a_run_that_is_left_alone_waits_for_a_worker_and_says_so(fleet: Fleet) -> None:
    code, out, err = await fleet.motet("run", written(fleet, QUICK), "--detach", "--id", "r1")
    assert (code, out.strip()) == (0, "r1")
    assert "no worker is alive; start one with: motet worker" in err
    _, told, _ = await fleet.motet("runs", "--stuck", "--json")
    assert [(one["id"], one["reason"]) for one in json.loads(told)] == [("r1", "no worker is alive")]
    await fleet.worker()
    await fleet.finished(["r1"])


async def test_an_approval_is_given_from_another_machine_and_a_worker_goes_on(fleet: Fleet) -> None:
    await fleet.fully(1)
    code, _, _ = await fleet.motet("run", written(fleet, ASKS), "--id", "r1")
    assert code == 4
    code, out, _ = await fleet.motet("approve", "r1", "ok", "--note", "fine")
    assert (code, "a worker goes on with it" in out) == (0, True)
    await fleet.until(lambda: ended(fleet, "r1"), what="the run to end")
    assert (await fleet.durable.ledger.row("r1")).status == "complete"


async def ended(fleet: Fleet, run: str) -> bool:
    return (await fleet.durable.ledger.row(run)).ended


BREAKS = """
from motet.engine import durable
def replayed(workflow, run, entries):
    raise KeyError("a mistake of motet's own")
durable.replayed = replayed
"""


@pytest.mark.parametrize("mistake", ["journal", "motet"])
async def test_a_run_whose_legs_fail_is_parked_after_three_and_says_why(fleet: Fleet, mistake: str) -> None:
    (run,) = await fleet.start()
    if mistake == "journal":
        await fleet.store.do(Sql("update entry set body = replace(body, 'flow', 'flaw')"))
    await fleet.worker(script=QUICKLY + (BREAKS if mistake == "motet" else ""))
    await fleet.until(lambda: parked(fleet, run), what="the run to be parked")
    _, told, _ = await fleet.motet("runs", "--stuck", "--json")
    why = {"journal": "is not what was written", "motet": "a mistake of motet's own"}[mistake]
    assert [(one["id"], why in one["reason"]) for one in json.loads(told)] == [(run, True)]


async def test_a_run_that_somebody_drives_is_not_counted_as_lost(fleet: Fleet) -> None:
    await fleet.fully(1)
    (run,) = await fleet.in_flight(1)
    await fleet.store.do(Sql("update run set deaths = 2"))
    async with open_jobs(fleet.url) as jobs:
        await jobs.put([await fleet.durable.ledger.row(run)])  # a job too many
    await fleet.worker()
    await fleet.until(lambda: fleet.living(2), what="another worker")
    await fleet.until(lambda: nothing_to_do(fleet), what="the job to be taken")
    assert not await parked(fleet, run)
    fleet.let_go()
    await fleet.finished([run])
    assert await fleet.wrong([run]) == []


async def nothing_to_do(fleet: Fleet) -> bool:
    return not await fleet.store.read(Sql("select id from procrastinate_jobs where status = 'todo'"))


async def test_a_step_that_kills_its_workers_is_parked_after_three(fleet: Fleet) -> None:
    (run,) = await fleet.start(text=POISON)
    for _ in range(3):
        worker = await fleet.worker()
        assert await worker.ended() == -signal.SIGKILL
    await fleet.worker()
    await fleet.until(lambda: parked(fleet, run), what="the run to be parked")


AHEAD = """
import datetime, time
plain, Plain = time.time, datetime.datetime
time.time = lambda: plain() + 7200
class Ahead(Plain):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(plain() + 7200, tz)
datetime.datetime = Ahead
"""
QUICKLY = """
from dataclasses import replace
from motet.cli import fleet
plain = fleet.work
async def work(config, given, settings, **more):
    await plain(config, given, replace(settings, again=0.1), **more)
fleet.work = work
"""
LATER = """motet: 1
name: later
steps:
  hour: {{wait: 1h}}
  k1: {{call: a.keyed, with: {{id: x}}, needs: [hour]}}
"""
DIES = """
import os, signal
from motet.engine import durable
real = durable.replayed
def replayed(workflow, run, entries):
    if run == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(workflow, run, entries)
durable.replayed = replayed
"""


async def test_a_run_that_kills_whoever_takes_it_up_is_parked_after_three(fleet: Fleet) -> None:
    flow = load_text(FLOW.format(name="flow"), path="flow.yaml")
    await fleet.durable.start(flow, {"seconds": 0}, run="poison")
    for _ in range(3):
        worker = await fleet.worker(script=DIES)
        assert await worker.ended() == -signal.SIGKILL
    await fleet.worker()
    await fleet.until(lambda: parked(fleet, "poison"), what="the run to be parked")
    _, told, _ = await fleet.motet("runs", "--stuck")
    assert "parked: 3 legs in a row were lost without getting anywhere" in told
    others = await fleet.start(3)
    await fleet.finished(others)
    code, out, _ = await fleet.motet("resume", "poison")  # by workers that no longer die of it
    assert (code, "complete: flow" in out) == (0, True)
    await tried("poison", fleet, [*others, "poison"])


async def parked(fleet: Fleet, run: str) -> bool:
    return bool((await fleet.durable.ledger.row(run)).parked)


async def test_a_run_stays_with_workers_that_speak_its_version_of_the_journal(fleet: Fleet) -> None:
    newer = "import motet.engine.durable; motet.engine.durable.VERSION = 2"
    await fleet.worker(script=newer)
    await fleet.until(lambda: fleet.living(1), what="the newer worker")
    (run,) = await fleet.start()
    _, told, _ = await fleet.motet("runs", "--stuck")
    assert "no living worker speaks version 1 of the journal" in told
    await fleet.worker()
    await fleet.finished([run])
    await tried("versions", fleet, [run])


async def test_tables_that_a_newer_motet_brought_up_to_date_serve_a_worker_that_runs(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.fully(1)
    runs = await fleet.start(4, seconds=0.5)
    await fleet.acting(4)
    with monkeypatch.context() as newer:
        newer.setattr(tables, "SCHEMA", SCHEMA + 1)
        newer.setitem(MIGRATIONS, SCHEMA + 1, ("alter table run add column later text",))
        async with open_store(fleet.url):
            pass
    await fleet.finished(runs)
    code, _, err = await fleet.motet("runs")
    assert (code, f"has schema {SCHEMA + 1}; this motet knows {SCHEMA}" in err) == (1, True)
    await tried("newer", fleet, runs)


async def waits(fleet: Fleet, run: str) -> bool:
    """Does it wait, let go of, for more than half an hour?"""
    row = await fleet.durable.ledger.row(run)
    return row.status == "waiting" and row.owner is None and (row.wake or 0.0) > fleet.durable.now() + 1800


async def test_two_machines_whose_clocks_disagree_go_by_the_databases(fleet: Fleet) -> None:
    ahead = await fleet.worker(script=AHEAD)
    await fleet.worker()
    await fleet.until(lambda: fleet.living(2), what="both workers")
    runs = await fleet.start(20, seconds=0.3)
    (later,) = await fleet.start(text=LATER)
    await fleet.acting(20)
    await fleet.until(lambda: waits(fleet, later), what="the run that waits for an hour")
    ahead.signal(signal.SIGKILL)
    await fleet.finished(runs)
    assert await waits(fleet, later)
    await tried("clocks", fleet, runs)


async def test_a_role_without_rights_is_told_which_page_lists_them(fleet: Fleet) -> None:
    role = f"poor{os.getpid()}"
    fleet.database.sql(f"create role {role} login")
    try:
        worker = await fleet.worker(url=fleet.url.replace("//postgres:", f"//{role}:"))
        assert await worker.ended() == 1
        told = worker.log.read_text()
        assert "permission denied" in told
        assert "docs/fleet.md" in told
    finally:
        fleet.database.sql(f"drop role {role}")


def member(**given: object) -> Member:
    """A worker as it would be."""
    plain = Member("w", "host", 1, "0", frozenset({1}), frozenset({"a"}))
    return Member(**{**{name: getattr(plain, name) for name in Member.__slots__}, **given})  # pyright: ignore[reportArgumentType] - test data


def row(**given: object) -> RunRow:
    """A run that could go on."""
    values: dict[str, object] = {
        "id": "r",
        "workflow": "w",
        "status": "running",
        "generation": 0,
        "rerun_of": None,
        "key": None,
        "created": 0.0,
        "updated": 0.0,
        "owner": None,
        "lease": 0.0,
        "wake": 0.0,
        "seq": 1,
        "needs": '["a"]',
    }
    return RunRow(**{**values, **given})  # pyright: ignore[reportArgumentType] - test data


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([], "no worker is alive"),
        ([member(silent=16.0)], "no worker is alive"),
        ([member(draining=True)], "no worker is alive"),
        ([member(speaks=frozenset({2}))], "no living worker speaks version 1 of the journal"),
        ([member(servers=frozenset[str]())], "no living worker is configured for a"),
        ([member(silent=14.0)], ""),
    ],
)
def test_why_no_worker_takes_a_run(members: list[Member], why: str) -> None:
    assert who_could(row(), members) == why


def test_a_run_is_stuck_when_nothing_will_move_it() -> None:
    able = [member()]
    assert stuck([row(updated=99.0)], able, 100.0) == []
    assert [why for _, why in stuck([row(parked="it killed three")], able, 100.0)] == ["parked: it killed three"]
    assert [why for _, why in stuck([row(updated=10.0)], able, 100.0)] == [
        "nobody took it up for 90 s: are the workers at the end of their room?"
    ]
    assert stuck([row(wake=None, status="waiting")], [], 100.0) == []  # it waits for somebody, and that is no fault
    assert stuck([row(owner="x", lease=200.0)], [], 100.0) == []  # it is being driven


def test_two_containers_of_one_name_are_two_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    here = owners.this_machine()
    monkeypatch.setattr(owners, "_pid_namespace", lambda: "another")
    assert owners.this_machine.__wrapped__() != here
    assert owners.this_machine.__wrapped__().partition("~")[0] == here.partition("~")[0]


async def test_a_worker_shows_its_health_and_counts_and_says_when_it_is_to_end(fleet: Fleet) -> None:
    worker = await fleet.worker("--http", "127.0.0.1:0", "--log", "json")
    await fleet.until(lambda: "serving health" in worker.log.read_text(), what="its address")
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    address = next(one["event"].rpartition(" ")[2] for one in lines if "serving health" in one["event"])
    runs = await fleet.start(2, seconds=1.0)
    async with aiohttp.ClientSession() as session:
        await fleet.acting(3)
        async with session.get(f"{address}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"ok": True})
        async with session.get(f"{address}/metrics") as answer:
            assert "motet_legs 2.0" in (await answer.text()).splitlines()
        worker.signal(signal.SIGTERM)
        await fleet.until(lambda: unready(session, address), what="it to be unready")
    assert await worker.ended() == 0
    await fleet.worker()
    await fleet.finished(runs)


async def unready(session: aiohttp.ClientSession, address: str) -> bool:
    async with session.get(f"{address}/readyz") as answer:
        return answer.status == 503 and "draining" in (await answer.json())["wrong"]
