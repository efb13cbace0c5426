"""Runs kept in a journal: they stop and go on, wait without anybody, hear what people say, and never send twice."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.engine_kit import Servers, broken, flow, statuses
from motet.calls import Answer, Asked, Question
from motet.engine.durable import Durable
from motet.engine.journal import LostRun
from motet.engine.store.opening import open_store
from motet.engine.store.sqlite import SqliteStore
from motet.engine.store.tables import SCHEMA
from motet.errors import ConnectionLost, RunError, ServerUnavailable
from motet.workflow.entries import Started


def down(server: str = "a") -> ServerUnavailable:
    return ServerUnavailable("it is down", server=server)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "runs.sqlite")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, file: str) -> str:
    """A fresh journal of each kind."""
    return file if request.param == "sqlite" else request.getfixturevalue("database")()


@asynccontextmanager
async def journal(file: str, **more: Any) -> AsyncGenerator[Durable]:
    async with open_store(file) as store:
        yield Durable(store, **more)


async def called(servers: Servers, tool: str) -> None:
    """Return once that tool was called."""
    async with asyncio.timeout(10):
        while tool not in servers.names:  # noqa: ASYNC110 - the call itself is what is waited for
            await asyncio.sleep(0.001)


async def interrupted(runs: Durable, run: str, servers: Servers, *, after: str) -> None:
    """Drive the run, and abandon it once that tool was called."""
    task = asyncio.ensure_future(runs.drive(run, servers))
    await called(servers, after)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def forever(_: dict[str, Any]) -> Any:
    await asyncio.Event().wait()


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


APPROVAL = """
steps:
  made: {call: a.make}
  ok: {approval: {message: "Go on with ${{ made.n }}?"}}
  go: {call: a.go, with: {n: "${{ made.n }}"}, needs: [ok]}
output: {n: "${{ made.n }}", by: "${{ ok.by }}"}
"""


async def test_a_run_that_waits_is_rows_and_goes_on_in_another_process(where: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(where) as runs:
        run = await runs.start(flow(APPROVAL), {})
        report = await runs.drive(run, servers)
        assert (report.status, [left.what for left in report.pending]) == ("waiting", ["waiting(approval)"])
        assert report.pending[0].command == f"motet approve {run} ok"
        assert (await runs.list())[0].status == "waiting"
    async with journal(where) as runs:
        await runs.approve(run, "ok", who="ann")
        report = await runs.resume(run, servers)
        assert (report.status, report.output) == ("complete", {"n": 5, "by": "ann"})
        assert servers.names == ["a.make", "a.go"]
        assert (await runs.list())[0].status == "complete"
        assert await runs.verify(run) == []
        assert (await runs.show(run)).to_json() == report.to_json()


async def test_an_answer_is_bound_to_what_was_shown_and_must_fit(where: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(where) as runs:
        run = await runs.start(flow(APPROVAL), {})
        await runs.drive(run, servers)
        waiting = (await runs.state(run)).find("ok").waiting
        assert waiting is not None
        assert waiting.shown == {"message": "Go on with 5?", "then": {"go": {"n": 5}}}
        with pytest.raises(RunError, match="shows something else"):
            await runs.approve(run, "ok", digest="0" * 64)
        with pytest.raises(RunError, match="`done` is no answer"):
            await runs.resolve(run, "ok", "done")
        with pytest.raises(RunError, match="no step `nope`"):
            await runs.approve(run, "nope")
        await runs.reject(run, "ok", who="bob", note="not today")
        report = await runs.resume(run, servers)
        assert (report.status, report.step("ok").reason) == ("failed", "rejected by bob: not today")
        with pytest.raises(RunError, match="is failed"):
            await runs.cancel(run)


async def test_a_call_in_flight_that_may_not_be_repeated_is_unknown_and_waits_for_a_verdict(
    where: str, servers: Servers
) -> None:
    servers.tools = {"a.x": forever, "a.y": lambda _: {}}
    text = "steps: {s: {call: a.x}, t: {call: a.y, with: {v: '${{ s.v }}'}}}"
    async with journal(where) as runs:
        run = await runs.start(flow(text), {})
        await interrupted(runs, run, servers, after="a.x")
        report = await runs.resume(run, servers)
        assert (report.status, servers.count("a.x")) == ("waiting", 1)
        assert [(left.step, left.what) for left in report.attention] == [("s", "unknown")]
        await runs.resolve(run, "s", "done", data={"v": 7}, who="ann")
        report = await runs.resume(run, servers)
        assert (report.status, servers.calls[-1], report.step("s").via) == ("complete", ("a.y", {"v": 7}), "resolve")
        assert servers.count("a.x") == 1


async def test_a_call_in_flight_that_may_be_repeated_is_sent_with_the_same_key(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": forever}
    servers.keyed.add("a.x")
    async with journal(where) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        await interrupted(runs, run, servers, after="a.x")
        servers.tools["a.x"] = lambda _: {}
        report = await runs.resume(run, servers)
        assert (report.status, len(servers.sent)) == ("complete", 2)
        assert servers.sent[0].key == servers.sent[1].key is not None


async def test_a_call_in_flight_is_looked_up_when_the_file_says_how(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": forever, "a.find": lambda _: {"found": True, "v": 3}}
    text = "steps: {s: {call: a.x, reconcile: {call: a.find, happened: result.found}}}\noutput: {v: '${{ s.v }}'}"
    async with journal(where) as runs:
        run = await runs.start(flow(text), {})
        await interrupted(runs, run, servers, after="a.x")
        report = await runs.resume(run, servers)
        assert (report.status, report.output, servers.names) == ("complete", {"v": 3}, ["a.x", "a.find"])


async def test_finished_steps_are_not_repeated_and_compensation_goes_on(where: str, servers: Servers) -> None:
    servers.tools = {
        "a.one": lambda _: {"id": 1},
        "a.two": lambda _: {"id": 2},
        "a.fail": lambda _: broken("a"),
        "a.undo_two": forever,
        "a.undo_one": lambda _: {},
    }
    servers.idempotent.add("a.undo_two")
    text = """
steps:
  one: {call: a.one, undo: {call: a.undo_one}}
  two: {call: a.two, needs: [one], undo: {call: a.undo_two}}
  fail: {call: a.fail, needs: [two]}
"""
    async with journal(where) as runs:
        run = await runs.start(flow(text), {})
        await interrupted(runs, run, servers, after="a.undo_two")
        servers.tools["a.undo_two"] = lambda _: {}
        report = await runs.resume(run, servers)
        assert (report.status, report.undone) == ("failed", ("one", "two"))
        assert servers.names == ["a.one", "a.two", "a.fail", "a.undo_two", "a.undo_two", "a.undo_one"]


@pytest.mark.proves("FR-ORCH-004")
async def test_resume_of_a_partial_run_finishes_the_ticket_and_nothing_else(where: str, servers: Servers) -> None:
    servers.tools = {
        "deploy.deploy": lambda _: {"v": "v2"},
        "jira.move": lambda _: down("jira"),
        "slack.tell": lambda a: a,
    }
    text = """
steps:
  deploy: {call: deploy.deploy}
  ticket: {call: jira.move, needs: [deploy], on_error: continue}
  tell: {call: slack.tell, with: {ok: "${{ steps.ticket.ok }}"}, needs: [deploy]}
output: {ticket: "${{ steps.ticket.status }}"}
"""
    async with journal(where) as runs:
        run = await runs.start(flow(text), {})
        report = await runs.drive(run, servers)
        assert (report.status, report.output) == ("partial", {"ticket": "failed"})
        assert [(left.step, left.command) for left in report.pending] == [("ticket", f"motet resume {run}")]
        servers.tools["jira.move"] = lambda _: {}
        servers.calls.clear()
        report = await runs.resume(run, servers)
        assert (report.status, report.output, servers.names) == ("complete", {"ticket": "done"}, ["jira.move"])
        with pytest.raises(RunError, match="nothing is left"):
            await runs.resume(run, servers)


async def test_an_unknown_outcome_under_continue_can_be_resolved_after_the_end(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: ConnectionLost("cut", server="a")}
    async with journal(where) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x, on_error: continue}}"), {})
        assert (await runs.drive(run, servers)).status == "partial"
        with pytest.raises(RunError) as caught:
            await runs.resume(run, servers)
        assert caught.value.hint == f"motet resolve {run} STEP --done|--failed"
        await runs.resolve(run, "s", "done", data=1)
        assert (await runs.drive(run, servers)).status == "complete"
        assert servers.count("a.x") == 1


async def test_the_same_id_or_key_is_the_same_run(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}}
    workflow = flow("steps: {s: {call: a.x}}")
    async with journal(where) as runs:
        first = await runs.start(workflow, {}, key="k")
        assert await runs.start(workflow, {}, key="k") == first
        assert await runs.start(workflow, {}, run=first) == first
        await runs.drive(first, servers)
        await runs.drive(first, servers)
        assert servers.count("a.x") == 1


async def test_editing_the_file_never_changes_a_run(where: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(where) as runs:
        run = await runs.start(flow("steps: {s: {run: inner.yaml}}", inner=APPROVAL), {})
        await runs.drive(run, servers)
        await runs.approve(run, "s/ok")
        assert (await runs.resume(run, servers)).status == "complete"


async def test_rerun_from_a_step_keeps_what_does_not_depend_on_it(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda a: {"v": a.get("v", 1)}, "a.y": lambda _: broken("a")}
    servers.keyed |= {"a.x", "a.y"}
    text = """
steps:
  one: {call: a.x}
  two: {call: a.x, with: {v: "${{ one.v }}"}}
  other: {call: a.y, on_error: {value: 1}}
  three: {call: a.x, with: {v: "${{ two.v }}"}, foreach: "${{ [1, 2] }}"}
"""
    async with journal(where) as runs:
        run = await runs.start(flow(text), {})
        await runs.drive(run, servers)
        before = {call.key for call in servers.sent}
        servers.calls.clear()
        servers.sent.clear()
        again = await runs.rerun(run, start="two")
        report = await runs.drive(again, servers)
        assert (report.status, sorted(servers.names)) == ("complete", ["a.x", "a.x", "a.x"])
        assert before.isdisjoint({call.key for call in servers.sent})
        whole = await runs.rerun(run)
        assert (await runs.drive(whole, servers)).status == "complete"
        assert len(servers.calls) == 3 + 5
        with pytest.raises(RunError, match="no step `nope`"):
            await runs.rerun(run, start="nope")


async def test_two_processes_never_drive_one_run(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": forever}
    async with journal(where) as runs, journal(where) as others:
        run = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        task = asyncio.ensure_future(runs.drive(run, servers))
        await called(servers, "a.x")
        with pytest.raises(LostRun, match="another process"):
            await others.drive(run, servers)
        assert await others.ledger.due(0) == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [row.id for row in await others.ledger.due(0)] == [run]


async def test_a_run_that_was_taken_over_stops_before_its_next_effect(file: str, servers: Servers) -> None:
    taken = asyncio.Event()

    async def until_taken(_: dict[str, Any]) -> Any:
        await taken.wait()
        return {}

    servers.tools = {"a.x": until_taken, "a.y": lambda _: {}}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}, t: {call: a.y, needs: [s]}}"), {})
        task = asyncio.ensure_future(runs.drive(run, servers))
        await called(servers, "a.x")
        thief = sqlite3.connect(file)
        thief.execute("update run set owner = 'elsewhere/1/1/x'")
        thief.commit()
        thief.close()
        taken.set()
        with pytest.raises(LostRun):
            await task
        assert servers.count("a.y") == 0


async def test_cancel_from_elsewhere_is_heard_and_undoes(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.wait": forever, "a.undo": lambda _: {}}
    servers.read_only.add("a.wait")
    text = "steps: {s: {call: a.x, undo: {call: a.undo}}, t: {call: a.wait, needs: [s]}}"
    async with journal(where) as runs, journal(where) as others:
        run = await runs.start(flow(text), {})
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(runs.drive(run, servers))
            await called(servers, "a.wait")
            await others.cancel(run, who="ann")
        report = task.result()
        assert (report.status, report.undone) == ("cancelled", ("s",))


async def test_a_cancel_whose_mark_was_lost_in_a_crash_is_not_heard_twice(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.wait": forever, "a.undo": forever}
    servers.read_only.add("a.wait")
    servers.idempotent.add("a.undo")
    text = """
steps:
  one: {call: a.x, undo: {call: a.undo}}
  two: {call: a.x, needs: [one], undo: {call: a.undo}}
  wait: {call: a.wait, needs: [two]}
"""
    async with journal(file) as runs:
        run = await runs.start(flow(text), {})
        await interrupted(runs, run, servers, after="a.wait")
        await runs.cancel(run)
        await interrupted(runs, run, servers, after="a.undo")
        db = sqlite3.connect(file)
        db.execute("update inbox set state = 'new'")
        db.commit()
        db.close()
        servers.tools["a.undo"] = lambda _: {}
        report = await runs.resume(run, servers)
        assert (report.status, report.undone, report.attention) == ("cancelled", ("one", "two"), ())


async def test_a_locked_journal_says_so_and_the_run_goes_on_when_it_is_free(file: str, servers: Servers) -> None:
    def locks(_: dict[str, Any]) -> Any:
        holder.execute("begin immediate")
        return {}

    servers.tools = {"a.x": locks, "a.y": lambda _: {}}
    servers.idempotent.add("a.x")
    store = SqliteStore(file, patience=0.05)
    store.open()
    holder = sqlite3.connect(file, isolation_level=None)
    runs = Durable(store)
    run = await runs.start(flow("steps: {s: {call: a.x}, t: {call: a.y, needs: [s]}}"), {})
    with pytest.raises(RunError, match="locked") as caught:
        await runs.drive(run, servers)
    assert (servers.count("a.y"), caught.value.hint) == (0, "another process holds it: end that, or wait")
    holder.close()
    servers.tools["a.x"] = lambda _: {}
    assert (await runs.resume(run, servers)).status == "complete"
    await store.close()


async def test_a_paused_run_lets_calls_finish_and_goes_on_later(where: str, servers: Servers) -> None:
    go = asyncio.Event()

    async def slow(_: dict[str, Any]) -> Any:
        await go.wait()
        return {}

    servers.tools = {"a.slow": slow, "a.y": lambda _: {}}
    async with journal(where) as runs:
        run = await runs.start(flow("steps: {s: {call: a.slow}, t: {call: a.y, needs: [s]}}"), {})
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(runs.drive(run, servers))
            await called(servers, "a.slow")
            assert runs.pause(run)
            go.set()
        assert (task.result().status, servers.names) == ("running", ["a.slow"])
        report = await runs.resume(run, servers)
        assert (report.status, servers.names) == ("complete", ["a.slow", "a.y"])


async def test_waits_survive_and_wake_by_time(where: str, servers: Servers) -> None:
    moment = [1000.0]
    servers.tools = {"a.x": lambda _: {}}
    async with journal(where, now=lambda: moment[0]) as runs:
        run = await runs.start(flow("steps: {w: {wait: 1d}, s: {call: a.x, needs: [w]}}"), {})
        assert (await runs.drive(run, servers)).status == "waiting"
        assert await runs.ledger.due(moment[0]) == []
    moment[0] += 86400
    async with journal(where, now=lambda: moment[0]) as runs:
        assert [row.id for row in await runs.ledger.due(moment[0])] == [run]
        found = await runs.resume_all(servers)
        assert {run: getattr(report, "status", report) for run, report in found.items()} == {run: "complete"}


async def test_a_question_is_answered_later_in_the_same_round(where: str, servers: Servers) -> None:
    def tool(arguments: dict[str, Any]) -> Any:
        answered = arguments.get("_round")
        if answered is None:
            return Asked((Question("a", "elicitation", "Which?", key="q"),), state="opaque")
        return {"state": answered.state, "answers": answered.answers}

    servers.tools = {"a.x": tool}
    async with journal(where) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        report = await runs.drive(run, servers)
        assert [left.what for left in report.pending] == ["waiting(question)"]
        await runs.answer(run, "s", "answer", data={"q": {"action": "accept", "content": {"v": 1}}})
        report = await runs.resume(run, servers)
        assert report.step("s").output == {
            "state": "opaque",
            "answers": {"q": {"action": "accept", "content": {"v": 1}}},
        }
        again = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        await runs.drive(again, servers)

        async def ask(question: Question) -> Answer:
            return Answer("accept", {"said": question.message})

        report = await runs.resume(again, servers, ask=ask)
        assert report.step("s").output["answers"] == {"q": {"action": "accept", "content": {"said": "Which?"}}}


async def test_no_secret_is_ever_in_the_journal_nor_beside_it(file: str, servers: Servers, tmp_path: Path) -> None:
    secret = "canary-5c1e8f-canary"
    servers.tools = {"a.x": lambda a: {"n": len(a["token"])}, "a.bad": lambda _: broken("a")}
    text = """
inputs: {token: {type: string, secret: true}}
steps:
  s: {call: a.x, with: {token: "Bearer ${{ inputs.token }}"}, undo: {call: a.x, with: {token: "${{ inputs.token }}"}}}
  ok: {approval: {message: "with ${{ inputs.token }}?"}, needs: [s]}
  bad: {call: a.bad, with: {token: "${{ inputs.token }}"}, needs: [ok]}
"""
    async with journal(file, secrets={"T": secret}) as runs:
        run = await runs.start(flow(text), {"token": "T"})
        first = await runs.drive(run, servers)
        await runs.approve(run, "ok")
        report = await runs.resume(run, servers)
        assert (report.status, report.undone) == ("failed", ("s",))
        assert {call.arguments["token"] for call in servers.sent} == {f"Bearer {secret}", secret}
        assert secret not in str(first.to_json()) + report.to_text() + str(report.to_json())
    assert [path for path in files_of(tmp_path) if secret.encode() in path.read_bytes()] == []


async def test_the_journal_is_the_users_alone(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}}
    async with journal(file) as runs:
        await runs.drive(await runs.start(flow("steps: {s: {call: a.x}}"), {}), servers)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in Path(file).parent.iterdir()}
        assert set(modes.values()) == {0o600}
        assert len(modes) == 3


async def test_large_answers_lie_beside_the_entries_and_come_back_whole(file: str, servers: Servers) -> None:
    big = {"rows": ["x" * 1000] * 400}
    servers.tools = {"a.x": lambda _: big}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}}\noutput: '${{ s }}'"), {})
        assert (await runs.drive(run, servers)).output == big
        assert (await runs.show(run)).output == big
    db = sqlite3.connect(file)
    assert db.execute("select count(*), max(length(body)) > 400000 from blob").fetchone() == (1, 1)
    assert db.execute("select max(length(body)) < 10000 from entry").fetchone() == (1,)
    db.close()


async def test_damage_is_found_named_and_stops_the_run_before_anything_is_sent(file: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(file) as runs:
        run = await runs.start(flow(APPROVAL), {})
        await runs.drive(run, servers)
        await runs.approve(run, "ok")
        db = sqlite3.connect(file)
        db.execute("update entry set body = replace(body, '5', '6') where event = 'finished'")
        db.commit()
        db.close()
        servers.calls.clear()
        assert await runs.verify(run) == [f"run {run}: entry 2 of its journal is not what was written"]
        with pytest.raises(RunError, match="not what was written"):
            await runs.resume(run, servers)
        assert servers.calls == []


async def test_lost_rows_are_found(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        await runs.drive(run, servers)
        db = sqlite3.connect(file)
        db.execute("delete from entry where event = 'ended'")
        db.commit()
        db.close()
        assert await runs.verify(run) == [f"run {run}: 3 entries are there, 4 were written"]


async def test_a_newer_schema_or_journal_is_refused_with_the_reason(file: str, servers: Servers) -> None:
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {set: 1}}"), {})
    db = sqlite3.connect(file)
    db.execute("pragma user_version=99")
    db.commit()
    db.close()
    with pytest.raises(RunError, match=f"schema 99; this motet knows {SCHEMA}"):
        async with journal(file):
            pass
    assert run


async def test_a_file_that_is_no_journal_or_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "no.sqlite"
    path.write_text("this is a text\n" * 1000)
    with pytest.raises(RunError, match="not a database") as caught:
        async with journal(str(path)):
            pass
    assert caught.value.hint
    with pytest.raises(RunError, match=r"below\.sqlite"):
        async with journal(str(path / "below.sqlite")):
            pass


async def test_a_journal_that_takes_no_more_stops_the_run_before_the_next_effect(file: str, servers: Servers) -> None:
    full = asyncio.Event()

    async def fills(_: dict[str, Any]) -> Any:
        db = sqlite3.connect(file)
        db.execute("create trigger full before insert on entry begin select raise(abort, 'disk is full'); end")
        db.commit()
        db.close()
        full.set()
        return {}

    servers.tools = {"a.x": fills, "a.y": lambda _: {}}
    servers.idempotent.add("a.x")
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}, t: {call: a.y, needs: [s]}}"), {})
        with pytest.raises(RunError, match="disk is full"):
            await runs.drive(run, servers)
        assert servers.count("a.y") == 0
        db = sqlite3.connect(file)
        db.execute("drop trigger full")
        db.commit()
        db.close()
        servers.tools["a.x"] = lambda _: {}
        report = await runs.resume(run, servers)
        assert (report.status, servers.count("a.y")) == ("complete", 1)


async def test_a_clock_that_is_set_back_moves_no_entry_before_another(where: str, servers: Servers) -> None:
    moments = iter([5000.0, 4000.0, *([3000.0] * 1000)])
    servers.tools = {"a.x": lambda _: {}}
    async with journal(where, now=lambda: next(moments)) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}, t: {call: a.x, needs: [s]}}"), {})
        assert (await runs.drive(run, servers)).status == "complete"
        ats = [entry.at for entry in await runs.history(run)]
        assert ats == sorted(ats)


async def test_prune_forgets_what_ended_long_ago_and_nothing_else(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.make": lambda _: {"n": 1}}
    async with journal(where, now=lambda: 1000.0) as runs:
        ended = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        await runs.drive(ended, servers)
        waits = await runs.start(flow(APPROVAL), {})
        await runs.drive(waits, servers)
        assert await runs.prune(1000.0) == 0
        assert await runs.prune(1001.0) == 1
        assert [row.id for row in await runs.list()] == [waits]
        with pytest.raises(RunError, match="there is no run"):
            await runs.show(ended)


async def test_runs_are_kept_as_long_as_configured_and_forgotten_when_another_begins(
    where: str, servers: Servers
) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.make": lambda _: {"n": 1}}
    now = 1000.0
    async with journal(where, now=lambda: now, keep=60.0) as runs:
        old = await runs.start(flow("steps: {s: {call: a.x}}"), {}, key="k")
        await runs.drive(old, servers)
        waits = await runs.start(flow(APPROVAL), {})
        await runs.drive(waits, servers)
        now = 1060.0
        assert await runs.start(flow("steps: {s: {call: a.x}}"), {}, key="k") == old
        now = 1061.0
        new = await runs.start(flow("steps: {s: {call: a.x}}"), {}, key="k")
        assert {row.id for row in await runs.list()} == {waits, new}


async def test_the_records_say_which_answer_fed_which_call(where: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "b.go": lambda _: {}}
    async with journal(where) as runs:
        run = await runs.start(flow("steps: {m: {call: a.make}, g: {call: b.go, with: {v: '${{ m.n }}'}}}"), {})
        report = await runs.drive(run, servers)
        started = [entry for entry in await runs.history(run) if isinstance(entry, Started)]
        assert [entry.flows for entry in started] == [(), (("a", "m", "v"),)]
        assert report.flows == (("a", "b"),)


async def test_what_was_said_in_vain_is_kept_beside(where: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(where) as runs:
        run = await runs.start(flow(APPROVAL), {})
        await runs.drive(run, servers)
        await runs.approve(run, "ok", who="ann")
        await runs.reject(run, "ok", who="bob")
        report = await runs.resume(run, servers)
        assert (report.status, report.output["by"]) == ("complete", "ann")
        assert [message.body["who"] for message, _ in await runs.ledger.refused(run)] == ["bob"]


async def test_a_hundred_waiting_runs_hold_no_task(file: str, servers: Servers) -> None:
    workflow = flow("steps: {ok: {approval: {message: go}}, s: {set: 1, needs: [ok]}}")
    async with journal(file) as runs:
        ids = [await runs.start(workflow, {}) for _ in range(100)]
        for run in ids:
            await runs.drive(run, servers)
        assert len(asyncio.all_tasks()) == 1
        for run in ids:
            await runs.approve(run, "ok")
        found = await runs.resume_all(servers)
        assert [getattr(report, "status", "") for report in found.values()] == ["complete"] * 100


async def test_statuses_are_those_of_the_state(where: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}}
    async with journal(where) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        assert statuses(await runs.show(run)) == {"s": "ready"}
