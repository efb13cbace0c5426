"""Limits that hold across workers: never one too many, the longest waiting first, nothing left behind by the dead."""

from __future__ import annotations

import asyncio
import signal

import pytest

from fleet.fleet_kit import Fleet
from motet.calls import Call, Done, Failed, Outcome, ToolResult
from motet.engine.fleet.limits import LimitedDispatch, Limits, rate
from motet.engine.owners import alive
from motet.engine.ports import Dispatch
from motet.engine.store.opening import open_store
from motet.engine.store.sql import Sql
from motet.errors import RunError

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(("text", "often"), [("10/s", 10.0), ("6/m", 0.1), ("36/h", 0.01), ("0.5 / s", 0.5)])
def test_a_rate_is_so_many_in_a_time(text: str, often: float) -> None:
    assert rate(text) == pytest.approx(often)


@pytest.mark.parametrize("text", ["10", "0/s", "ten/s", "10/y", "-1/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(RunError, match="no rate"):
        rate(text)


async def test_a_limit_needs_a_name_that_is_one_and_something_to_limit(fleet: Fleet) -> None:
    limits = Limits(fleet.store)
    with pytest.raises(RunError, match="names no limit"):
        await limits.set("jira", concurrency=1)
    with pytest.raises(RunError, match="needs a concurrency or a rate"):
        await limits.set("server:jira")
    with pytest.raises(RunError, match="no limit `server:jira`"):
        await limits.remove("server:jira")


async def test_many_who_ask_at_once_never_get_more_than_there_is(fleet: Fleet) -> None:
    await Limits(fleet.store).set("server:a", concurrency=3)
    async with open_store(fleet.url) as one, open_store(fleet.url) as other:
        asking = [Limits(store) for store in (one, other, fleet.store)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asking[n % 3].take("server:a", f"h{n}", f"w{n % 3}")) for n in range(60)]
    assert sum(task.result() for task in tasks) == 3
    (limit,) = await Limits(fleet.store).all()
    assert (sum(limit.used.values()), limit.waiting) == (3, 57)


async def test_who_waits_longest_goes_first(fleet: Fleet) -> None:
    limits = Limits(fleet.store)
    await limits.set("server:a", concurrency=1)
    assert await limits.take("server:a", "first", "w")
    assert not await limits.take("server:a", "second", "w")
    assert not await limits.take("server:a", "third", "w")
    await limits.give_back("server:a", "first")
    assert not await limits.take("server:a", "third", "w")
    assert await limits.take("server:a", "second", "w")


async def test_a_rate_lets_a_burst_through_and_then_no_more(fleet: Fleet) -> None:
    limits = Limits(fleet.store)
    await limits.set("server:a", rate=0.01, burst=2)
    assert [await limits.take("server:a", f"h{n}", "w") for n in range(4)] == [True, True, False, False]


async def test_a_rate_holds_across_workers(fleet: Fleet) -> None:
    await Limits(fleet.store).set("server:a", rate=0.01, burst=3)
    async with open_store(fleet.url) as one, open_store(fleet.url) as other:
        asking = [Limits(store) for store in (one, other, fleet.store)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asking[n % 3].take("server:a", f"h{n}", f"w{n % 3}")) for n in range(15)]
    assert sum(task.result() for task in tasks) == 3


async def test_the_permits_of_a_dead_worker_are_over_and_those_of_a_living_one_are_kept(fleet: Fleet) -> None:
    limits = Limits(fleet.store)
    await limits.set("server:a", concurrency=2)
    assert await limits.take("server:a", "dead", "w1")
    assert await limits.take("server:a", "living", "w2")
    await fleet.store.do(Sql("update permit set until = {now} + 0.01"))
    await limits.refresh("w2")
    await fleet.store.do(Sql("select pg_sleep(0.02)"))
    (limit,) = await limits.all()
    assert limit.used == {"w2": 1}
    assert await limits.take("server:a", "next", "w2")


class Inner:
    """A dispatch that counts how many calls it has at once."""

    def __init__(self) -> None:
        self.now, self.most = 0, 0

    async def attempt(self, call: Call) -> Outcome:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        self.now -= 1
        return Done(ToolResult(b"{}"))


def limited(inner: Inner, limits: Limits) -> LimitedDispatch:
    dispatch: Dispatch = inner  # type: ignore[assignment]  # only `attempt` is used here
    return LimitedDispatch(dispatch, limits, "w", chance=lambda: 0.1)


async def test_calls_wait_for_a_permit_and_give_it_back(fleet: Fleet) -> None:
    limits, inner = Limits(fleet.store), Inner()
    await limits.set("server:a", concurrency=2)
    await limits.refresh("w")
    dispatch = limited(inner, limits)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(dispatch.attempt(Call(server="a", name="x"))) for _ in range(8)]
    assert (inner.most, {type(task.result()) for task in tasks}) == (2, {Done})
    (limit,) = await limits.all()
    assert (dict(limit.used), limit.waiting) == ({}, 0)


async def test_a_call_that_gets_no_permit_in_its_time_was_not_sent_and_says_which_limit(fleet: Fleet) -> None:
    limits, inner = Limits(fleet.store), Inner()
    await limits.set("server:a", concurrency=1)
    await limits.refresh("w")
    assert await limits.take("server:a", "other", "w")
    loop = asyncio.get_running_loop()
    outcome = await limited(inner, limits).attempt(Call(server="a", name="x", deadline=loop.time() + 0.3))
    assert isinstance(outcome, Failed)
    assert (outcome.error.kind, outcome.error.sent, inner.most) == ("queue_full", "no", 0)
    assert "motet limit set server:a" in str(outcome.error)
    assert (await limits.all())[0].waiting == 0


async def test_a_cancelled_waiter_leaves_the_queue(fleet: Fleet) -> None:
    limits, inner = Limits(fleet.store), Inner()
    await limits.set("server:a", concurrency=1)
    await limits.refresh("w")
    assert await limits.take("server:a", "other", "w")
    task = asyncio.create_task(limited(inner, limits).attempt(Call(server="a", name="x")))
    await fleet.until(lambda: queued(limits), what="the waiter")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await limits.all())[0].waiting == 0


async def queued(limits: Limits) -> bool:
    return bool((await limits.all())[0].waiting)


async def test_a_workflow_that_may_run_once_at_a_time_does_so_across_workers_and_a_kill(fleet: Fleet) -> None:
    await Limits(fleet.store).set("workflow:flow", concurrency=1)
    first, _ = await fleet.fully(2)
    runs = await fleet.start(4, seconds=0.2)
    most = 0

    async def driven() -> bool:
        nonlocal most
        rows = [await fleet.durable.ledger.row(run) for run in runs]
        most = max(most, sum(row.owner is not None and alive(row.owner) for row in rows))
        return await fleet.rested(runs)

    await fleet.acting(5)
    first.signal(signal.SIGKILL)
    await fleet.until(driven, what="the runs to rest")
    await fleet.finished(runs)
    assert (most, await fleet.wrong(runs)) == (1, [])


async def test_of_two_runs_that_wait_the_one_of_higher_priority_goes_first(fleet: Fleet) -> None:
    from fleet.fleet_kit import FLOW
    from motet.workflow.loading import load_text

    flow = load_text(FLOW.format(name="flow"), path="flow.yaml")
    for run, priority in (("low", 0), ("high", 5), ("middle", 3)):
        await fleet.durable.start(flow, {"seconds": 0}, run=run, priority=priority)
    await fleet.worker("--room", "1")
    await fleet.finished(["low", "high", "middle"])
    assert [ident.partition("/")[0] for _, ident, _ in fleet.effects()][::4] == ["high", "middle", "low"]
