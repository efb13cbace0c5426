"""A durable run among people and crashes: approvals that count for what was shown, deferrals, waits, recoveries."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.engine_kit import Servers, broken, flow
from motet.calls import Answer, Asked, Question
from motet.engine.durable import Durable
from motet.engine.journal import Busy
from motet.engine.store.opening import open_store
from motet.engine.watching import watch
from motet.errors import RunError, ServerUnavailable
from motet.events import RunChanged, StepChanged
from motet.workflow.entries import Answered

APPROVAL = """
steps:
  made: {call: a.make}
  ok: {approval: {message: "Go on with ${{ made.n }}?", timeout: 1h}, needs: [made]}
  go: {call: a.go, with: {n: "${{ made.n }}"}, needs: [ok]}
output: {by: "${{ ok.by }}"}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "runs.sqlite")


@asynccontextmanager
async def journal(where: str, **more: Any) -> AsyncGenerator[Durable]:
    async with open_store(where) as opened:
        yield Durable(opened, **more)


class Clock:
    """A wall clock that moves when a test says so."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


async def called(servers: Servers, tool: str) -> None:
    async with asyncio.timeout(10):
        while tool not in servers.names:  # noqa: ASYNC110 - the call itself is what is waited for
            await asyncio.sleep(0.001)


async def forever(_: dict[str, Any]) -> Any:
    await asyncio.Event().wait()


async def killed_in(runs: Durable, run: str, servers: Servers, tool: str) -> None:
    """Drive the run, and abandon it in that call, as a process does that dies there."""
    servers.calls.clear()
    task = asyncio.ensure_future(runs.drive(run, servers))
    await called(servers, tool)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_approval_counts_from_when_it_was_said_and_the_record_says_when_and_by_whom(
    file: str, servers: Servers
) -> None:
    clock = Clock()
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(file, now=clock) as runs:
        run = await runs.start(flow(APPROVAL), {})
        await runs.drive(run, servers)
        clock.at += 3000
        await runs.approve(run, "ok", who="ann", note="fine")
        clock.at += 3000
        report = await runs.resume(run, servers)
        assert (report.status, report.output) == ("complete", {"by": "ann"})
        (answered,) = (entry for entry in await runs.history(run) if isinstance(entry, Answered))
        assert (answered.who, answered.note, answered.said, answered.at) == ("ann", "fine", 1_003_000.0, 1_006_000.0)


async def test_an_approval_that_is_said_too_late_does_not_count(file: str, servers: Servers) -> None:
    clock = Clock()
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(file, now=clock) as runs:
        run = await runs.start(flow(APPROVAL), {})
        await runs.drive(run, servers)
        clock.at += 3601
        await runs.approve(run, "ok", who="ann")
        report = await runs.resume(run, servers)
        assert (report.status, report.step("ok").reason) == ("failed", "nobody approved it in time")
        assert servers.names == ["a.make"]
        assert [one["who"] for one in await runs.records(run) if one["event"] == "refused"] == ["ann"]


async def test_a_yes_to_what_has_changed_before_it_was_heard_does_not_count(file: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(file) as runs:
        run = await runs.start(flow(APPROVAL), {})
        await runs.drive(run, servers)
        said = {"kind": "answer", "step": "ok", "verdict": "approve", "who": "ann", "shown": "of another question"}
        await runs.ledger.tell(run, runs.now(), said)
        report = await runs.resume(run, servers)
        assert (report.status, servers.names) == ("waiting", ["a.make"])
        (left,) = report.pending
        assert (left.shown, left.command) == ({"go": {"n": 5}}, f"motet approve {run} ok")
        assert left.digest
        await runs.approve(run, "ok", digest=left.digest[:8])
        assert (await runs.resume(run, servers)).status == "complete"


async def test_a_call_that_asks_for_an_approval_is_approved_from_elsewhere(file: str, servers: Servers) -> None:
    def tool(arguments: dict[str, Any]) -> Any:
        answered = arguments.get("_round")
        if answered is None:
            return Asked((Question("a", "approval", "Call a.x?", key="policy"),))
        return {"said": answered.answers["policy"]}

    servers.tools = {"a.x": tool}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        report = await runs.drive(run, servers)
        assert [(left.reason, left.command) for left in report.pending] == [("Call a.x?", f"motet approve {run} s")]
        for data in ({}, {"other": {"action": "accept"}}):
            with pytest.raises(RunError, match="it asks for policy"):
                await runs.answer(run, "s", "answer", data=data)
        await runs.approve(run, "s", who="ann")
        report = await runs.resume(run, servers)
        assert report.step("s").output == {"said": {"action": "accept", "content": {"by": "ann"}}}


async def test_an_elicitation_is_no_approval(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: Asked((Question("a", "elicitation", "Which?", key="q"),))}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x, on_error: continue}}"), {})
        report = await runs.drive(run, servers)
        assert report.pending[0].command == f"motet answer {run} s"
        with pytest.raises(RunError, match="more is asked than an approval"):
            await runs.approve(run, "s")
        await runs.answer(run, "s", "decline")
        report = await runs.resume(run, servers)
        assert (report.status, report.step("s").reason) == ("partial", "the question was declined")


async def test_whoever_answers_in_place_sees_what_it_is_for_without_secrets(file: str, servers: Servers) -> None:
    asked: list[str] = []

    async def ask(question: Question) -> Answer:
        asked.append(question.message)
        return Answer("accept", {"by": "ann"})

    servers.tools = {"a.go": lambda _: {}}
    text = """
inputs: {token: {type: string, secret: true}}
steps:
  ok: {approval: {message: "Go?"}}
  go: {call: a.go, with: {token: "${{ inputs.token }}"}, needs: [ok]}
output: {by: "${{ ok.by }}"}
"""
    async with journal(file, secrets={"T": "canary"}) as runs:
        run = await runs.start(flow(text), {"token": "T"})
        report = await runs.drive(run, servers, ask=ask)
        assert (report.output, asked) == ({"by": "ann"}, ['Go?\n  then go: {"token":"<secret T>"}'])
        assert servers.sent[0].arguments == {"token": "canary"}


async def test_a_deferred_step_waits_through_restarts_and_goes_on_when_its_server_is_back(
    file: str, servers: Servers
) -> None:
    clock = Clock()
    servers.tools = {"a.x": lambda _: ServerUnavailable("it is down", server="a"), "a.y": lambda _: {}}
    text = "steps: {s: {call: a.x, on_unavailable: {defer: 1d}}, t: {call: a.y, needs: [s]}}"
    async with journal(file, now=clock, near=0) as runs:
        run = await runs.start(flow(text), {})
        report = await runs.drive(run, servers)
        assert (report.status, [left.what for left in report.pending]) == ("waiting", ["waiting(server)"])
    async with journal(file, now=clock, near=0) as runs:
        assert await runs.resume_all(servers) == {}
        clock.at += 3600
        servers.tools["a.x"] = lambda _: {}
        found = await runs.resume_all(servers)
        assert {name: getattr(one, "status", one) for name, one in found.items()} == {run: "complete"}
        assert servers.names == ["a.x", "a.x", "a.y"]


async def test_a_server_that_comes_back_wakes_a_run_that_is_being_driven(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: ServerUnavailable("it is down", server="a")}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x, on_unavailable: {defer: 1d}}}"), {})
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(runs.drive(run, servers))
            await called(servers, "a.x")
            servers.tools["a.x"] = lambda _: {}
            while not task.done():
                runs.server_back("a")
                await asyncio.sleep(0.001)
        assert (task.result().status, servers.names) == ("complete", ["a.x", "a.x"])


async def test_a_step_that_kills_its_process_again_and_again_waits_for_a_person(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": forever}
    servers.keyed.add("a.x")
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}}"), {})
        for _ in range(4):
            await killed_in(runs, run, servers, "a.x")
        servers.calls.clear()
        report = await runs.resume(run, servers)
        assert (report.status, servers.calls) == ("waiting", [])
        assert [(left.step, left.reason) for left in report.attention] == [
            ("s", "it may have acted: its process ended 4 times while it was in flight")
        ]
        await runs.resolve(run, "s", "retry")
        servers.tools["a.x"] = lambda _: {}
        assert (await runs.resume(run, servers)).status == "complete"
        assert len({call.key for call in servers.sent}) == 1


async def test_an_undo_that_kills_its_process_again_and_again_is_given_up_and_the_rest_is_undone(
    file: str, servers: Servers
) -> None:
    servers.tools = {
        "a.x": lambda _: {},
        "a.undo": lambda _: {},
        "a.deadly": forever,
        "a.fail": lambda _: broken("a"),
    }
    servers.idempotent |= {"a.deadly", "a.undo"}
    text = """
steps:
  one: {call: a.x, undo: {call: a.undo}}
  two: {call: a.x, needs: [one], undo: {call: a.deadly}}
  fail: {call: a.fail, needs: [two]}
"""
    async with journal(file) as runs:
        run = await runs.start(flow(text), {})
        for _ in range(4):
            await killed_in(runs, run, servers, "a.deadly")
        servers.calls.clear()
        report = await runs.resume(run, servers)
        assert (report.status, report.undone, servers.names) == ("failed", ("one",), ["a.undo"])
        assert [(left.step, left.what) for left in report.attention] == [("two", "undo unknown")]


async def test_data_that_is_not_kept_is_in_no_report_and_no_record(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {"v": "canary"}}
    text = "steps: {s: {call: a.x, keep: false}, t: {set: {n: '${{ size(s.v) }}'}}}\noutput: '${{ t.n }}'"
    async with journal(file) as runs:
        run = await runs.start(flow(text), {})
        report = await runs.drive(run, servers)
        assert (report.status, report.output, report.step("s").output) == ("complete", 6, None)
        assert "canary" not in str(report.to_json()) + str(await runs.records(run))


async def test_a_run_is_watched_by_whoever_does_not_drive_it(file: str, servers: Servers) -> None:
    servers.tools = {"a.make": lambda _: {"n": 5}, "a.go": lambda _: {}}
    async with journal(file) as runs, journal(file) as others:
        run = await runs.start(flow(APPROVAL), {})
        await runs.drive(run, servers)
        seen = [event async for event in watch(others, run)]
        assert [(event.step, event.status) for event in seen if isinstance(event, StepChanged)] == [
            ("made", "running"),
            ("made", "done"),
            ("ok", "waiting(approval)"),
        ]
        assert [event.status for event in seen if isinstance(event, RunChanged)] == ["waiting"]
        await others.approve(run, "ok")
        await runs.resume(run, servers)
        seen = [event async for event in watch(others, run)]
        assert [event.status for event in seen if isinstance(event, RunChanged)] == ["complete"]


HOLDS = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from engine.engine_kit import Servers
from motet.engine.durable import Durable
from motet.engine.store.opening import open_store

async def forever(_):
    print("in flight", flush=True)
    await asyncio.Event().wait()

async def main():
    async with open_store(sys.argv[1]) as store:
        await Durable(store).drive("r1", Servers(tools={"a.x": forever, "a.y": lambda _: {}}))

asyncio.run(main())
"""


@pytest.mark.timeout(60)
async def test_a_run_of_another_process_is_left_alone_until_that_is_gone(file: str, servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.y": lambda _: {}}
    async with journal(file) as runs:
        await runs.start(flow("steps: {s: {call: a.x}, t: {call: a.y, needs: [s]}}"), {}, run="r1")
        command = [sys.executable, "-c", HOLDS, file, str(Path(__file__).parents[1])]
        with subprocess.Popen(command, stdout=-1, text=True) as other:  # noqa: ASYNC220 - bounded by the test's time
            assert other.stdout is not None
            assert other.stdout.readline() == "in flight\n"
            with pytest.raises(Busy, match=f"another process .process {other.pid} on "):
                await runs.resume("r1", servers)
            assert (await runs.resume_all(servers), servers.calls) == ({}, [])
            os.kill(other.pid, signal.SIGKILL)
        found = await runs.resume_all(servers)
        assert {run: getattr(one, "status", one) for run, one in found.items()} == {"r1": "waiting"}
        await runs.resolve("r1", "s", "done")
        assert (await runs.resume("r1", servers)).status == "complete"
        assert servers.names == ["a.y"]
