"""A whole host in virtual time over servers that delay, drop, duplicate, reorder, refuse and die; seeded.

Whatever the servers do: every call ends once and within its deadline, no place and no permit leaks, nothing unsafe is
sent twice, at half-open one probe is out, a limit is a limit, and the neighbour does not notice.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from motet.calls import Asked, Call, Done, Failed, Outcome, Reply, Retry, ToolResult
from motet.config.model import Config, InProcessTransport, Limits, RetrySettings, ServerConfig, Timeouts
from motet.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    ProtocolError,
    RateLimited,
    ServerUnavailable,
    ToolError,
)
from motet.events import AttemptFailed, CallSettled
from motet.host.host import Host
from motet.resilience.breaker import Breaker, Verdict
from motet.upstream.connection import Listing, OnChanged
from resilience.virtual_time import run

TOOLS = tuple({"name": name, "inputSchema": {"type": "object"}} for name in ("safe", "unsafe"))
ANSWER = b'{"content":[{"type":"text","text":"ok"}]}'


@dataclass
class World:
    """What all connections of one simulated server share, and what was seen of it."""

    name: str
    chance: random.Random
    troubles: float
    """How often something goes wrong, 0 to 1."""
    down_until: float = 0.0
    written: Counter[int] = field(default_factory=Counter[int])
    """Call number -> how often it was written."""
    effects: Counter[int] = field(default_factory=Counter[int])
    in_flight: int = 0
    most_in_flight: int = 0
    broken: list[str] = field(default_factory=list[str])


class Simulated:
    """One connection to a simulated server; a `Connection`."""

    version = "2026-07-28"
    instructions = ""
    server_info: Mapping[str, Any] = {}
    capabilities: Mapping[str, Any] = {"tools": {}}
    details: Mapping[str, Any] = {}

    def __init__(self, world: World) -> None:
        self.world = world
        self.loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self.loop.create_future()

    async def list_all(self, *, deadline: float) -> Listing:
        await asyncio.sleep(0.05)
        if self.gone.done():
            raise ConnectionLost("gone while listing", server=self.world.name)
        return Listing(tools=TOOLS)

    async def wait_closed(self) -> str:
        return await asyncio.shield(self.gone)

    async def close(self, *, within: float) -> None:
        self.die("closed")

    def die(self, why: str) -> None:
        if not self.gone.done():
            self.gone.set_result(why)

    async def send(self, call: Call) -> Reply:
        """One attempt: fate decides when it is written, when it acts, and what comes back."""
        world = self.world
        call.written = False
        if call.attempt_deadline is None or call.attempt_deadline > (call.deadline or 0.0) + 1e-9:
            world.broken.append("an attempt outlives its call")
        if self.gone.done():
            raise ServerUnavailable("gone", server=world.name, reason="exited")
        world.in_flight += 1
        world.most_in_flight = max(world.most_in_flight, world.in_flight)
        try:
            async with asyncio.timeout_at(call.attempt_deadline):
                return await self._fate(call, call.arguments["number"])
        except TimeoutError:
            raise DeadlineExceeded(
                "no answer in time", server=world.name, sent="unknown" if call.written else "no"
            ) from None
        finally:
            world.in_flight -= 1

    async def _fate(self, call: Call, number: int) -> Reply:
        world, chance = self.world, self.world.chance
        if chance.random() < world.troubles * 0.1:
            await self._or_gone(chance.uniform(0, 0.2))
            raise ServerUnavailable("the pipe is full", server=world.name)
        call.written = True
        world.written[number] += 1
        if chance.random() >= world.troubles:
            await self._or_gone(chance.uniform(0.01, 0.3))  # answers overtake one another
            world.effects[number] += 1
            return ToolResult(ANSWER)
        return await self._trouble(number)

    async def _trouble(self, number: int) -> Reply:
        world, chance = self.world, self.world.chance
        match chance.choice(["drop", "drop after", "late", "reset", "die", "429", "internal", "tool", "duplicate"]):
            case "drop":
                await self._or_gone(1e6)
            case "drop after":
                world.effects[number] += 1
                await self._or_gone(1e6)
            case "late":
                await self._or_gone(chance.uniform(1.0, 6.0))
                world.effects[number] += 1
            case "reset":
                raise ConnectionLost("reset", server=world.name)
            case "die":
                world.effects[number] += chance.choice([0, 1])
                world.down_until = self.loop.time() + chance.choice([0.0, 0.5, 20.0])
                self.die("killed")
                raise ConnectionLost("killed", server=world.name)
            case "429":
                world.written[number] -= 1  # turned away at the door: it had no chance to act
                raise RateLimited("429", server=world.name, retry_after=chance.choice([None, 0.5, 3.0, 1e9]))
            case "internal":
                world.effects[number] += chance.choice([0, 1])
                raise ProtocolError("internal", server=world.name, code=-32603)
            case "tool":
                world.effects[number] += 1
                raise ToolError("isError", server=world.name, tool="t")
            case _:
                self.loop.call_later(0.1, lambda: None)  # the second answer finds nobody
                world.effects[number] += 1
        return ToolResult(ANSWER)

    async def _or_gone(self, seconds: float) -> None:
        done, _ = await asyncio.wait([asyncio.ensure_future(self.wait_closed())], timeout=seconds)
        if done:
            raise ConnectionLost("gone", server=self.world.name)


def opening(worlds: Mapping[str, World]) -> Any:
    """`open_connection`, into these worlds."""

    async def opened(config: ServerConfig, *, deadline: float, on_changed: OnChanged, **_: Any) -> Simulated:
        world = worlds[config.name]
        await asyncio.sleep(world.chance.uniform(0.01, 0.3))
        if asyncio.get_running_loop().time() < world.down_until:
            raise ServerUnavailable("still down", server=config.name, reason="spawn")
        return Simulated(world)

    return opened


def configured(name: str) -> ServerConfig:
    return ServerConfig(
        name,
        InProcessTransport(None),
        timeout=Timeouts(connect=5.0, call=2.0, close=0.5),
        retry=RetrySettings(policy=Retry(attempts=3), idempotent=frozenset({"safe"})),
        limits=Limits(concurrency=4, queue=10),
    )


@dataclass
class Ended:
    """How one call ended."""

    number: int
    safe: bool
    outcome: Outcome | None
    late_by: float


async def one_call(host: Host, server: str, number: int, chance: random.Random) -> Ended:
    loop = asyncio.get_running_loop()
    safe = chance.random() < 0.6
    deadline = loop.time() + chance.choice([0.3, 2.0, 10.0, 30.0])
    try:
        call = host.prepare(
            server,
            "tools/call",
            "safe" if safe else "unsafe",
            {"number": number},
            deadline=deadline,
            waits=chance.random() < 0.5,
        )
    except CallError as error:
        return Ended(number, safe, Failed(error), 0.0)
    trying = asyncio.create_task(host.attempt(call))
    if chance.random() < 0.1:
        await asyncio.wait([trying], timeout=chance.uniform(0, 2.0))
        trying.cancel()
    await asyncio.wait([trying])
    outcome = None if trying.cancelled() else trying.result()
    return Ended(number, safe, outcome, loop.time() - deadline)


@dataclass
class Watch:
    """Every permit of every breaker, from `admit` to `settle`."""

    out: Counter[tuple[int, int]] = field(default_factory=Counter[tuple[int, int]])
    broken: list[str] = field(default_factory=list[str])

    def over(self, patch: pytest.MonkeyPatch) -> None:
        admit, settle = Breaker.admit, Breaker.settle

        def watched_admit(breaker: Breaker, now: float) -> int | None:
            closed = breaker.state == "closed" or breaker.retry_after(now) == 0.0
            permit = admit(breaker, now)
            if permit is not None:
                self.out[id(breaker), permit] += 1
                if not closed:
                    self.broken.append("admitted while the circuit was open")
                if breaker.state == "half_open" and self.out[id(breaker), permit] > 1:
                    self.broken.append("two probes at once")
            return permit

        def watched_settle(breaker: Breaker, permit: int, verdict: Verdict, now: float) -> None:
            self.out[id(breaker), permit] -= 1
            if self.out[id(breaker), permit] < 0:
                self.broken.append("a permit was settled twice")
            settle(breaker, permit, verdict, now)

        patch.setattr(Breaker, "admit", watched_admit)
        patch.setattr(Breaker, "settle", watched_settle)


async def simulated(seed: int) -> None:
    chance = random.Random(seed)
    worlds = {
        "odd": World("odd", random.Random(seed + 1), troubles=chance.choice([0.05, 0.3, 0.7, 1.0])),
        "even": World("even", random.Random(seed + 2), troubles=0.0),
    }
    events: list[Any] = []
    config = Config({name: configured(name) for name in worlds})
    async with Host(config, emit=events.append, opening=opening(worlds), chance=chance.random) as host:
        await host.settled()
        calls: list[Awaitable[Ended]] = []
        for number in range(120):
            server = "even" if number % 4 == 0 else "odd"
            calls.append(asyncio.create_task(one_call(host, server, number, chance)))
            await asyncio.sleep(chance.choice([0.0, 0.0, 0.05, 0.4]))
        ended = [await call for call in calls]
        examine(ended, worlds, events)
        await recovers(host, worlds)
    for server in host.servers.values():
        room = server.pipeline.room
        assert (room.free, room.waiting) == (4, 0), "a place leaked"
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("motet")] == []


def examine(ended: list[Ended], worlds: Mapping[str, World], events: list[Any]) -> None:
    odd, even = worlds["odd"], worlds["even"]
    assert odd.broken == []
    assert len({one.number for one in ended}) == 120
    assert max(one.late_by for one in ended) < 1e-6, "a call outlived its deadline"
    for one in ended:
        if not one.safe:
            assert odd.written[one.number] <= 1, "an unsafe call was sent twice"
        if isinstance(one.outcome, Failed) and one.outcome.error.sent == "no":
            assert odd.written[one.number] == 0, "it was sent, and the answer says it was not"
            assert odd.effects[one.number] == 0
        assert not isinstance(one.outcome, Asked)
    assert max(odd.most_in_flight, even.most_in_flight) <= 4
    for one in ended:
        if one.number % 4 == 0 and one.outcome is not None and one.late_by < -1.0:
            assert isinstance(one.outcome, Done), "the neighbour noticed"
            assert one.outcome.attempts == 1
    started = Counter(event.server for event in events if isinstance(event, CallSettled))
    retries = Counter(e.server for e in events if isinstance(e, AttemptFailed) and e.again_in is not None)
    assert retries["even"] == 0
    assert retries["odd"] <= max(6, 0.1 * started["odd"]) * 3  # two minutes at most


async def recovers(host: Host, worlds: Mapping[str, World]) -> None:
    """Once the trouble is over, calls work again: neither breaker nor limit nor supervisor is stuck."""
    worlds["odd"].troubles = 0.0
    await asyncio.sleep(400.0)
    for server in worlds:
        call = host.prepare(server, "tools/call", "unsafe", {"number": 1000})
        assert isinstance(await host.attempt(call), Done)


@pytest.mark.proves("FR-ORCH-004")
@pytest.mark.parametrize("seed", range(60))
def test_whatever_servers_do_the_promises_hold(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    watch.over(monkeypatch)
    run(simulated(seed))
    assert watch.broken == []
    assert sum(watch.out.values()) == 0, "a permit leaked"
