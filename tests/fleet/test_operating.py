"""What people do to a fleet from any machine: the life of a run, schedules, limits, and looking at workers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fleet.fleet_kit import FLOW, Fleet
from motet.engine.fleet.limits import Limits
from motet.engine.fleet.members import Members, new_member
from motet.engine.store.sql import Sql

pytestmark = pytest.mark.timeout(90)

UNKNOWN = """motet: 1
name: unknown
steps:
  u1: {{call: a.act, with: {{id: "${{{{ run.id }}}}/u1"}}}}
  k1: {{call: a.keyed, with: {{id: "${{{{ run.id }}}}/k1"}}, needs: [u1]}}
"""
GAP = """motet: 1
name: gap
steps:
  bad: {call: a.fail, with: {id: x}, on_error: continue}
"""
ASKS = """motet: 1
name: asks
steps:
  ok: {approval: {message: "Go ahead?"}}
"""


def written(fleet: Fleet, text: str) -> str:
    """A workflow file."""
    file = fleet.folder / "flow.yaml"
    file.write_text(text)
    return str(file)


async def status(fleet: Fleet, run: str) -> str:
    return (await fleet.durable.ledger.row(run)).status


async def test_all_commands_of_a_runs_life_work_beside_workers(fleet: Fleet) -> None:
    (worker,) = await fleet.fully(1)
    fleet.hold()
    (run,) = await fleet.start(text=UNKNOWN)
    await fleet.until(lambda: fleet.within(run), what="the call")
    worker.signal(signal.SIGKILL)
    await worker.ended()
    fleet.let_go()
    await fleet.worker()
    await fleet.until(lambda: fleet.rested([run]), what="the unknown outcome")
    code, shown, _ = await fleet.motet("show", run)
    assert (code, f"motet resolve {run} u1 --done|--failed" in shown) == (4, True)
    code, told, _ = await fleet.motet("resolve", run, "u1", "--retry")
    assert (code, "a worker goes on with it" in told) == (0, True)
    await fleet.until(lambda: fleet.over([run]), what="the end")
    assert (await status(fleet, run), [ident for _, ident, _ in fleet.effects()]) == (
        "complete",
        [f"{run}/u1", f"{run}/k1"],
    )
    assert (await fleet.motet("verify", run))[:2] == (0, f"the journal of run {run} is whole\n")

    code, out, _ = await fleet.motet("rerun", run, "--json")
    assert (code, json.loads(out)["status"]) == (0, "complete")

    code, *_ = await fleet.motet("run", written(fleet, GAP), "--id", "gap")
    assert code == 3
    code, out, _ = await fleet.motet("resume", "gap")
    assert (code, "partial: gap" in out) == (3, True)

    for word, ends in (("reject", "failed"), ("cancel", "cancelled")):
        assert (await fleet.motet("run", written(fleet, ASKS), "--id", word))[0] == 4
        await fleet.motet(word, word, *(["ok"] if word == "reject" else []))
        await fleet.until(lambda run=word: fleet.over([run]), what=f"the run to be {ends}")
        assert await status(fleet, word) == ends

    _, out, _ = await fleet.motet("runs", "--json")
    assert {one["status"] for one in json.loads(out)} == {"complete", "partial", "failed", "cancelled"}
    code, out, _ = await fleet.motet("prune", "--older-than", "0s")
    assert (code, await fleet.durable.list()) == (0, [])


async def test_whoever_watches_is_told_when_no_worker_is_left(fleet: Fleet) -> None:
    (worker,) = await fleet.fully(1)
    fleet.hold()
    file = written(fleet, UNKNOWN.format())
    watching = asyncio.create_task(fleet.motet("run", file, "--id", "r1"))
    await fleet.until(lambda: fleet.within("r1"), what="the call")
    worker.signal(signal.SIGKILL)
    err = fleet.folder / "command-1.err"
    await fleet.until(lambda: "run r1 waits: no worker is alive" in err.read_text(), what="the word")
    fleet.let_go()
    await fleet.worker()
    code, out, _ = await watching
    assert (code, "motet resolve r1 u1" in out) == (4, True)  # it is a person's turn


async def test_schedules_at_the_command_line(fleet: Fleet) -> None:
    file = written(fleet, FLOW.format(name="flow"))
    code, out, _ = await fleet.motet(
        "schedule", "add", file, "0 7 * * 1-5", "--tz", "Europe/Berlin", "-i", "seconds:=0"
    )
    assert (code, out.startswith("flow: next run at ")) == (0, True)
    code, _, err = await fleet.motet("schedule", "add", file, "0 7 * * 1-5", "-i", "seconds:=0")
    assert (code, "there is a schedule `flow` already" in err) == (1, True)
    code, out, err = await fleet.motet("schedule", "trigger", "flow")
    assert (code, "no worker takes it up" in err) == (0, True)
    assert await status(fleet, out.strip()) == "running"
    assert (await fleet.motet("schedule", "pause", "flow"))[:2] == (0, "flow: paused\n")
    _, out, _ = await fleet.motet("schedule", "list", "--json")
    assert [(one["name"], one["paused"], one["zone"]) for one in json.loads(out)] == [("flow", True, "Europe/Berlin")]
    assert (await fleet.motet("schedule", "resume", "flow"))[:2] == (0, "flow: goes on\n")
    assert (await fleet.motet("schedule", "remove", "flow"))[:2] == (0, "flow: removed\n")
    code, _, err = await fleet.motet("schedule", "pause", "flow")
    assert (code, "there is no schedule `flow`" in err) == (1, True)


async def test_a_limit_of_a_server_holds_across_workers_that_run_already(fleet: Fleet) -> None:
    await fleet.fully(2)
    set_ = await fleet.motet("limit", "set", "server:a", "--concurrency", "3", "--rate", "1000/s", "--burst", "100")
    assert set_[:2] == (0, "server:a: set\n")
    await asyncio.sleep(1)  # two heartbeats: that soon it holds
    fleet.hold()
    runs = await fleet.start(12, text=UNKNOWN)
    limits = Limits(fleet.store)
    await fleet.until(lambda: waiting(limits, 9), what="nine that wait")
    _, out, _ = await fleet.motet("limit", "list", "--json")
    (limit,) = json.loads(out)
    assert (sum(limit["used"].values()), limit["waiting"], len(fleet.effects())) == (3, 9, 0)
    fleet.let_go()
    await fleet.until(lambda: fleet.over(runs), what="the runs to end")
    assert await fleet.statuses(runs) == {"complete": 12}
    assert (await fleet.motet("limit", "remove", "server:a"))[:2] == (0, "server:a: removed\n")


async def waiting(limits: Limits, count: int) -> bool:
    return (await limits.all())[0].waiting == count


async def test_a_run_goes_to_the_worker_that_knows_its_servers(fleet: Fleet) -> None:
    other = fleet.folder / "other.toml"
    other.write_text((fleet.folder / "motet.toml").read_text().replace("[servers.a]", "[servers.b]"))
    for config in (None, other):
        await fleet.worker(config=config)
    await fleet.until(lambda: fleet.living(2), what="both workers")
    ours = await fleet.start(3)
    theirs = await fleet.start(3, text=FLOW.replace("call: a.", "call: b."))
    (nobodys,) = await fleet.start(text=FLOW.replace("call: a.", "call: c."))
    await fleet.finished([*ours, *theirs])
    assert await fleet.wrong([*ours, *theirs]) == []
    _, out, _ = await fleet.motet("runs", "--stuck", "--limit", "1", "--json")
    assert [(one["id"], one["reason"]) for one in json.loads(out)] == [
        (nobodys, "no living worker is configured for c")
    ]


async def test_a_worker_is_taken_for_dead_after_the_silence_it_named_itself(fleet: Fleet) -> None:
    members = Members(fleet.store)
    for stall in (60.0, 15.0):
        await members.beat(new_member(["a"], speaks=[1], room=1, stall=stall), legs=0, draining=False)
    await fleet.store.do(Sql("update worker set seen = seen - 20"))
    assert [member.alive for member in await members.all()] == [True, False]
    _, out, _ = await fleet.motet("workers")
    assert [line.split()[3] for line in out.splitlines()[1:]] == ["alive", "silent"]


async def test_what_a_worker_says_to_prometheus_is_what_prometheus_reads(fleet: Fleet) -> None:
    worker = await fleet.worker("--http", "127.0.0.1:0", "--log", "json")
    (run,) = await fleet.start()
    await fleet.finished([run])
    await fleet.until(lambda: "leg ended" in worker.log.read_text(), what="the end of the leg")
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    address = next(one["event"].rpartition(" ")[2] for one in lines if "serving health" in one["event"])
    async with aiohttp.ClientSession() as session, session.get(f"{address}/metrics") as answer:
        families = {one.name: one for one in text_string_to_metric_families(await answer.text())}
    page = (Path(__file__).parents[2] / "docs" / "fleet.md").read_text(encoding="utf-8")
    assert {
        name for name in families if not name.endswith("_created") and f"`{name}" not in page
    } == set()  # each is explained there
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert found[("motet_runs_total", "complete", "flow")] == 1
    assert found[("motet_steps_total", "done", "flow")] == 4
    assert found[("motet_calls_total", "a", "done", "tools/call", "yes")] == 4
    assert found[("motet_legs",)] == 0
    assert 0 <= found[("motet_heartbeat_age_seconds",)] < 60
    assert {"time", "level", "event", "worker"} <= set(lines[-1])


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://motet:hunter2@127.0.0.1:1/none", "is it running, and can it be reached from here?"),
        ("{there}?host={socket}&dbname=no_such_database", "create it, or name another one"),
        ("postgresql://no_such_role:hunter2@/postgres?host={socket}", "create it, or name another one"),
        ("postgresql://motet:hunter2%zz@127.0.0.1/none", "the URL of the database cannot be read"),
        ("postgresql://motet:hunt er2@127.0.0.1/none", "the URL of the database cannot be read"),
        ("postgresql://motet:hunt@er2@127.0.0.1/none", "the URL of the database cannot be read"),
        ("postgresql://motet:hunt/er2@127.0.0.1/none", "the URL of the database cannot be read"),
        ("postgresql://motet@127.0.0.1/none?pasword=hunter2", "the URL of the database cannot be read"),
        ("postgres+asyncpg://motet:hunter2@127.0.0.1/none", "a journal is a file, or a PostgreSQL database"),
        ("mysql://motet:hunter2@127.0.0.1/none", "a journal is a file, or a PostgreSQL database"),
        ("host=127.0.0.1 dbname=none password=hunter2", "a journal is a file, or a PostgreSQL database"),
    ],
)
@pytest.mark.parametrize("words", [("worker",), ("runs",)])
async def test_a_database_that_cannot_be_used_is_an_error_with_a_way_out_and_without_its_password(
    fleet: Fleet, url: str, says: str, words: tuple[str, ...]
) -> None:
    socket = fleet.database.socket().parent
    url = url.format(there="postgresql://postgres:hunter2@/", socket=socket)
    code, out, err = await fleet.motet(*words, database=url)
    assert (code, out, says in err) == (1, "", True)
    assert not [piece for piece in ("hunt", "er2") if piece in err]


async def test_without_what_a_fleet_needs_it_says_what_to_install(fleet: Fleet) -> None:
    lacking = "import sys; sys.modules['procrastinate'] = sys.modules['psycopg'] = None"
    for words in (["worker"], ["runs"]):
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", f"{lacking}\nfrom motet.cli.main import main\nmain()", *words),
            *("--database", fleet.url, "--config", str(fleet.folder / "motet.toml")),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "MOTET_JOURNAL": ""},
        )
        _, err = await child.communicate()
        assert (child.returncode, "pip install 'motet[postgres]'" in err.decode()) == (1, True)
