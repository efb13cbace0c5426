"""The layers together, in virtual time: SEMANTICS §4 as the caller sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from motet.calls import Asked, Call, InputRequired, Reply, Retry
from motet.errors import (
    CallError,
    CircuitOpen,
    ConnectionLost,
    DeadlineExceeded,
    ProtocolError,
    QueueFull,
    RateLimited,
    ServerUnavailable,
    ToolError,
)
from motet.events import AttemptFailed
from motet.resilience.breaker import BreakerSettings
from motet.resilience.pipeline import Pipeline, Settings
from resilience.virtual_time import run

DONE = Reply(b"{}")
Script = Callable[[Call], Awaitable[Reply]]


@dataclass
class Rig:
    """A pipeline over a scripted send, and what was seen."""

    answers: Sequence[CallError | Reply | float | InputRequired]
    settings: Settings = field(default_factory=Settings)
    sent: list[float] = field(default_factory=list[float])
    events: list[Any] = field(default_factory=list[Any])
    bounds: list[float | None] = field(default_factory=list[float | None])

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.script = iter(self.answers)
        self.pipeline = Pipeline(
            self._send,
            self.settings,
            clock=self.loop.time,
            chance=lambda: 0.5,
            emit=self.events.append,
            may_pass=lambda tool: tool == "flaky",
        )

    async def _send(self, call: Call) -> Reply:
        self.sent.append(self.loop.time() - 1000.0)
        self.bounds.append(call.attempt_deadline)
        answer = next(self.script, DONE)
        if isinstance(answer, int | float):  # silence for so long
            try:
                async with asyncio.timeout_at(call.attempt_deadline):
                    await asyncio.sleep(answer)
            except TimeoutError:
                raise DeadlineExceeded("no answer in time", server="s") from None
            return DONE
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call(self, name: str = "t", **more: Any) -> Reply | CallError:
        """What comes out."""
        try:
            return await self.pipeline.send(Call(server="s", name=name, **more))
        except CallError as error:
            return error


LOST = ("connection_lost", "unknown")


def told(outcome: Reply | CallError) -> tuple[str, str]:
    return ("done", "yes") if isinstance(outcome, Reply) else (outcome.kind, outcome.sent)


def lost() -> ConnectionLost:
    return ConnectionLost("reset", server="s")


ROWS: list[tuple[str, Callable[[], CallError], bool, int]] = [
    # what happens each time, is the call repeatable, how often it is sent
    ("connect", lambda: ServerUnavailable("refused", server="s", reason="connect"), False, 3),
    ("429", lambda: RateLimited("429", server="s", retry_after=1.0), False, 3),
    ("-32602", lambda: ProtocolError("params", server="s", code=-32602), True, 1),
    ("-32603 safe", lambda: ProtocolError("internal", server="s", code=-32603), True, 3),
    ("-32603 unsafe", lambda: ProtocolError("internal", server="s", code=-32603), False, 1),
    ("isError", lambda: ToolError("no", server="s", tool="t"), True, 1),
    ("reset safe", lost, True, 3),
    ("reset unsafe", lost, False, 1),
]


@pytest.mark.parametrize(("make", "repeatable", "times"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_row_is_sent_as_often_as_it_may_be(make: Callable[[], CallError], repeatable: bool, times: int) -> None:
    async def main() -> None:
        rig = Rig([make() for _ in range(5)])
        outcome = await rig.call(repeatable=repeatable)
        assert told(outcome) == (make().kind, make().sent)
        assert len(rig.sent) == times
        assert [event.attempt for event in rig.events] == list(range(1, times + 1))
        assert [event.again_in is None for event in rig.events] == [False] * (times - 1) + [True]

    run(main())


def test_a_call_that_succeeds_at_last_is_done() -> None:
    async def main() -> None:
        rig = Rig([lost(), lost()])
        assert told(await rig.call(repeatable=True)) == ("done", "yes")
        assert rig.sent == [0.0, pytest.approx(0.1), pytest.approx(0.3)]
        assert all(isinstance(event, AttemptFailed) for event in rig.events)

    run(main())


def test_what_the_server_asks_for_is_waited() -> None:
    async def main() -> None:
        rig = Rig([RateLimited("429", server="s", retry_after=7.0)])
        assert told(await rig.call()) == ("done", "yes")
        assert rig.sent == [0.0, 7.0]

    run(main())


def test_a_call_that_may_have_acted_once_may_have_acted() -> None:
    async def main() -> None:
        down = ServerUnavailable("down", server="s")
        rig = Rig([lost(), down, down])
        assert told(await rig.call(repeatable=True)) == ("unavailable", "unknown")
        rig = Rig([lost()], Settings(breaker=BreakerSettings(calls=1)))
        assert told(await rig.call(repeatable=True)) == LOST  # not: the breaker that our own failure opened

    run(main())


def test_the_tools_own_failure_is_repeated_where_it_is_configured_and_safe() -> None:
    async def main() -> None:
        def failing() -> list[CallError | Reply | float | InputRequired]:
            return [ToolError("no", server="s", tool="flaky") for _ in range(2)]

        assert told(await Rig(failing()).call("flaky", repeatable=True)) == ("done", "yes")
        assert told(await Rig(failing()).call("flaky", repeatable=False)) == ("tool_error", "yes")
        assert told(await Rig(failing()).call("other", repeatable=True)) == ("tool_error", "yes")

    run(main())


def test_a_question_passes_all_layers_and_is_a_sign_of_health() -> None:
    async def main() -> None:
        need = InputRequired(Asked(()))
        rig = Rig([lost(), lost(), lost(), lost(), need])
        for _ in range(4):
            await rig.call()
        with pytest.raises(InputRequired):
            await rig.call()
        assert rig.pipeline.room.free == 8
        assert rig.pipeline.breaker.state == "open"  # it counts: four of five, not four of four

    run(main())


def test_every_attempt_has_its_own_bound_within_the_whole() -> None:
    async def main() -> None:
        rig = Rig([60.0, 60.0, 60.0], Settings(timeout=10.0))
        assert told(await rig.call(repeatable=True, deadline=1025.0)) == ("timeout", "unknown")
        assert rig.bounds == [1010.0, pytest.approx(1020.1), 1025.0]
        assert asyncio.get_running_loop().time() == 1025.0

    run(main())


def test_a_tool_may_have_a_bound_of_its_own_and_a_call_too() -> None:
    async def main() -> None:
        rig = Rig([], Settings(timeout=10.0, timeouts={"slow": 50.0}))
        await rig.call("slow")
        await rig.call("slow", timeout=3.0)
        await rig.call("t")
        assert rig.bounds == [1050.0, 1003.0, 1010.0]

    run(main())


def test_a_call_brings_its_own_retry_in_place_of_the_servers() -> None:
    async def main() -> None:
        rig = Rig([lost() for _ in range(9)], Settings(retry=Retry(attempts=3)))
        await rig.call(repeatable=True, retry=Retry(attempts=1))
        assert len(rig.sent) == 1
        rig = Rig([lost() for _ in range(9)], Settings(retries={"t": Retry(attempts=2)}))
        await rig.call(repeatable=True)
        assert len(rig.sent) == 2

    run(main())


def test_the_whole_call_is_bounded_even_when_nobody_says_how_long() -> None:
    async def main() -> None:
        rig = Rig([99.0] * 5, Settings(timeout=10.0, retry=Retry(attempts=3, base=0.2, cap=8.0)))
        assert told(await rig.call(repeatable=True)) == ("timeout", "unknown")
        assert asyncio.get_running_loop().time() <= 1000.0 + 30.6
        rig = Rig([99.0] * 5, Settings(timeout=10.0, total=12.0))
        began = asyncio.get_running_loop().time()
        assert told(await rig.call(repeatable=True)) == ("timeout", "unknown")
        assert asyncio.get_running_loop().time() == pytest.approx(began + 12.0)

    run(main())


def test_a_deadline_that_is_over_sends_nothing_and_blames_nobody() -> None:
    async def main() -> None:
        rig = Rig([])
        outcome = await rig.call(deadline=1000.0)
        assert isinstance(outcome, DeadlineExceeded)
        assert (outcome.sent, outcome.health, outcome.transient) == ("no", "none", False)
        assert rig.sent == []

    run(main())


def test_the_breaker_opens_refuses_and_lets_one_probe_through() -> None:
    async def main() -> None:
        rig = Rig([lost() for _ in range(5)] + [5.0])
        for _ in range(5):
            await rig.call()
        refused = await rig.call()
        assert isinstance(refused, CircuitOpen)
        assert (refused.sent, refused.retry_after, len(rig.sent)) == ("no", 15.0, 5)
        await asyncio.sleep(15.0)
        outcomes = await together(rig.call(), rig.call(), rig.call())
        assert sorted(told(outcome)[0] for outcome in outcomes) == ["circuit_open", "circuit_open", "done"]
        assert rig.pipeline.breaker.state == "closed"

    run(main())


def test_nobody_queues_for_a_server_that_is_left_alone() -> None:
    async def main() -> None:
        rig = Rig([*(lost() for _ in range(5)), 10.0], Settings(concurrency=1))
        for _ in range(5):
            await rig.call()
        await asyncio.sleep(15.0)
        probe = asyncio.create_task(rig.call())
        await asyncio.sleep(1.0)
        assert told(await rig.call(waits=True)) == ("circuit_open", "no")
        assert asyncio.get_running_loop().time() == 1016.0  # at once, not after the probe
        assert told(await probe) == ("done", "yes")

    run(main())


def test_a_cancelled_probe_says_nothing_and_frees_its_place() -> None:
    async def main() -> None:
        rig = Rig([lost() for _ in range(5)] + [50.0])
        for _ in range(5):
            await rig.call()
        await asyncio.sleep(15.0)
        probe = asyncio.create_task(rig.call())
        await asyncio.sleep(1.0)
        probe.cancel()
        await asyncio.wait([probe])
        assert (rig.pipeline.breaker.state, rig.pipeline.room.free) == ("half_open", 8)
        assert told(await rig.call()) == ("done", "yes")
        assert rig.pipeline.breaker.state == "closed"

    run(main())


def test_no_more_than_so_many_are_in_flight_and_the_rest_wait_their_turn() -> None:
    async def main() -> None:
        rig = Rig([1.0] * 6, Settings(concurrency=2))
        outcomes = await together(*(rig.call() for _ in range(6)))
        assert {told(outcome) for outcome in outcomes} == {("done", "yes")}
        assert rig.sent == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]

    run(main())


def test_a_full_queue_refuses_all_but_those_that_wait() -> None:
    async def main() -> None:
        rig = Rig([1.0] * 9, Settings(concurrency=1, queue=1))
        first, second, third = (asyncio.create_task(rig.call()) for _ in range(3))
        await asyncio.sleep(0)
        patient = asyncio.create_task(rig.call(waits=True))
        outcomes = [told(await task) for task in (first, second, third, patient)]
        assert outcomes == [("done", "yes"), ("done", "yes"), ("queue_full", "no"), ("done", "yes")]
        assert isinstance(await third, QueueFull)

    run(main())


def test_who_waits_too_long_gives_up_unsent_and_keeps_nobody_out() -> None:
    async def main() -> None:
        rig = Rig([10.0, 1.0], Settings(concurrency=1))
        first = asyncio.create_task(rig.call())
        await asyncio.sleep(0)
        late = await rig.call(deadline=1002.0)
        assert isinstance(late, DeadlineExceeded)
        assert (late.sent, asyncio.get_running_loop().time()) == ("no", 1002.0)
        await first
        assert (rig.pipeline.room.free, rig.pipeline.room.waiting) == (1, 0)
        assert rig.pipeline.breaker.state == "closed"

    run(main())


def test_a_place_handed_to_one_who_just_left_goes_on_to_the_next() -> None:
    async def main() -> None:
        rig = Rig([1.0, 1.0], Settings(concurrency=1))
        first = asyncio.create_task(rig.call())
        await asyncio.sleep(0)
        second, third = asyncio.create_task(rig.call()), asyncio.create_task(rig.call())
        await asyncio.sleep(0)
        loop = asyncio.get_running_loop()  # cancelled after it was given its turn and before it takes it
        loop.call_at(1001.0, loop.call_soon, second.cancel)
        assert told(await third) == ("done", "yes")
        await asyncio.wait([first, second])
        assert second.cancelled()
        assert rig.pipeline.room.free == 1

    run(main())


def test_who_is_cancelled_in_the_queue_leaves_no_trace() -> None:
    async def main() -> None:
        rig = Rig([5.0], Settings(concurrency=1))
        first = asyncio.create_task(rig.call())
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(rig.call()) for _ in range(3)]
        await asyncio.sleep(1)
        for task in waiting:
            task.cancel()
        await asyncio.wait([first, *waiting])
        assert (rig.pipeline.room.free, rig.pipeline.room.waiting) == (1, 0)
        assert len(rig.sent) == 1

    run(main())


def test_a_retry_holds_no_place_while_it_sleeps() -> None:
    async def main() -> None:
        rig = Rig([RateLimited("429", server="s", retry_after=20.0)], Settings(concurrency=1))
        sleeping = asyncio.create_task(rig.call())
        await asyncio.sleep(1)
        assert told(await rig.call()) == ("done", "yes")
        assert told(await sleeping) == ("done", "yes")
        assert rig.sent == [0.0, 1.0, 20.0]

    run(main())


def test_a_tool_with_a_limit_of_its_own_holds_nobody_elses_place() -> None:
    async def main() -> None:
        rig = Rig([1.0] * 9, Settings(concurrency=2, tool_concurrency={"heavy": 1}))
        outcomes = await together(*(rig.call("heavy") for _ in range(3)), rig.call("light"))
        assert {told(outcome) for outcome in outcomes} == {("done", "yes")}
        assert rig.sent == [0.0, 0.0, 1.0, 2.0]

    run(main())


def test_the_retry_budget_holds_back_a_storm() -> None:
    async def main() -> None:
        storm = [lost() for _ in range(200)]
        rig = Rig(storm, Settings(concurrency=100, breaker=BreakerSettings(enabled=False)))
        await together(*(rig.call(repeatable=True) for _ in range(50)))
        assert len(rig.sent) == 50 + 6

    run(main())


async def together(*calls: Awaitable[Reply | CallError]) -> list[Reply | CallError]:
    tasks = [asyncio.ensure_future(call) for call in calls]
    return [await task for task in tasks]
