"""Many servers at once, some of them broken: what the others notice. Run it as `python -m bench.host`.

All servers are real processes (`stub_server.py`, and the faulty ones of `tests/nasty`). The machine is shared with
them: with a hundred processes on a few cores, starting them is most of what is seen.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.rows import Row, show
from motet.calls import Done, Failed, Retry
from motet.config.model import Config, Limits, RetrySettings, ServerConfig, StdioTransport, Timeouts
from motet.events import ServerChanged
from motet.host.host import Host

STUB = str(Path(__file__).with_name("stub_server.py"))
NASTY = Path(__file__).parent.parent / "tests" / "nasty"
MIB = 1 << 20
ONCE = RetrySettings(policy=Retry(attempts=1))


def stub(name: str, mode: str = "0", **more: Any) -> ServerConfig:
    """One stub server. `-S -E`: the interpreter alone, so that a hundred of them start in a moment."""
    return ServerConfig(name, StdioTransport(sys.executable, ("-S", "-E", STUB, name, mode)), reap="group", **more)


def nasty(script: str, **more: Any) -> ServerConfig:
    """One faulty server."""
    env = more.pop("env", {})
    path = str(next(NASTY.glob(f"{script}*.py")))
    return ServerConfig(script, StdioTransport(sys.executable, (path,), env), **more)


@asynccontextmanager
async def hosting(servers: Iterable[ServerConfig], events: list[Any] | None = None) -> AsyncGenerator[Host]:
    """A host of these."""
    config = Config({server.name: server for server in servers})
    async with Host(config, emit=None if events is None else events.append) as host:
        yield host


async def reading() -> list[Row]:
    """100 resources from 100 servers, against the slowest of them (200 ms) alone, alternating."""
    names = [f"s{number}" for number in range(100)]
    async with hosting(stub(name, f"{number * 2 / 1000}") for number, name in enumerate(names, 1)) as host:
        await host.settled()

        async def once(addresses: list[str]) -> tuple[float, float]:
            began, busy = time.perf_counter(), time.process_time()
            outcomes = await host.read(addresses)
            assert all(isinstance(outcome, Done) for outcome in outcomes.values())
            return time.perf_counter() - began, time.process_time() - busy

        alone, together = list[float](), list[tuple[float, float]]()
        for _ in range(7):
            alone.append((await once(["s99://x"]))[0])
            together.append(await once([f"{name}://x" for name in names]))
    over = (statistics.median(one[0] for one in together) - statistics.median(alone)) * 1000
    busy = statistics.median(one[1] for one in together) * 1000
    return [
        Row("reading 100 resources from 100 stub servers", f"slowest + {over:.1f} ms", "slowest + 20 ms", over <= 20),
        Row("… CPU time of our side for all of them", f"{busy:.1f} ms"),
    ]


async def readiness(servers: list[ServerConfig]) -> tuple[float, float]:
    """Seconds until the host could be used, and until its last good server was ready."""
    events: list[Any] = []
    began = asyncio.get_running_loop().time()
    async with hosting(servers, events) as host:
        usable = asyncio.get_running_loop().time() - began
        good = [server.name for server in servers if server.name.startswith("good")]
        async with asyncio.timeout(60):
            for name in good:
                await host.servers[name].supervisor.settled.wait()
    ready = [event.at for event in events if isinstance(event, ServerChanged) and event.state == "ready"]
    return usable, max(ready) - began


async def among_fifty() -> list[Row]:
    """One dead and one silent server among 50, against 50 good ones."""
    whole, broken = list[tuple[float, float]](), list[tuple[float, float]]()
    for _ in range(5):
        good = [stub(f"good{number}") for number in range(48)]
        whole.append(await readiness([*good, stub("good48"), stub("good49")]))
        broken.append(await readiness([*good, stub("dead", "dead"), stub("silent", "silent")]))
    usable = [statistics.median(one[0] for one in runs) * 1000 for runs in (whole, broken)]
    ready = [statistics.median(one[1] for one in runs) * 1000 for runs in (whole, broken)]
    added = ready[1] - ready[0]
    return [
        Row(
            "one dead and one silent server among 50: the others' readiness",
            f"{ready[1]:.0f} ms, against {ready[0]:.0f} ms without",
            "nothing added",
            added <= 0.1 * ready[0],
        ),
        Row("… until the host can be used", f"{usable[1]:.0f} ms, against {usable[0]:.0f} ms without"),
    ]


async def half_dead() -> Row:
    """500 configured servers, every second one dead; one read of all of them, counted from the very start."""
    deadline = 30.0
    names = [f"s{number}" for number in range(500)]
    began = asyncio.get_running_loop().time()
    async with hosting(
        stub(name, "dead" if number % 2 else "0", retry=ONCE) for number, name in enumerate(names)
    ) as host:
        usable = asyncio.get_running_loop().time() - began
        outcomes = await host.read([(name, f"{name}://x") for name in names], deadline=began + deadline)
        took = asyncio.get_running_loop().time() - began
    found = sum(isinstance(outcome, Done) for outcome in outcomes.values())
    missing = sum(isinstance(outcome, Failed) for outcome in outcomes.values())
    told = f"{found} found, {missing} missing after {took:.1f} s (usable after {usable:.1f} s)"
    what = f"500 configured, half of them dead: one read of all, deadline {deadline:g} s"
    return Row(what, told, "partial results in time", found == 250 and took <= deadline + 0.25)


OVERSHOOT: list[tuple[str, str, dict[str, str]]] = [
    ("s00", "echo", {}),
    ("s12", "effect", {"NASTY_DELAY": "5", "NASTY_ALWAYS": "1"}),
    ("s13", "echo", {"NASTY_MB": "50"}),
    ("s14", "effect", {"NASTY_COUNT": "-1"}),
    ("s24", "echo", {}),
    ("s25", "echo", {}),
    ("s01", "echo", {}),
    ("s31", "echo", {}),
    ("s40", "effect", {}),
    ("s07", "effect", {}),
    ("s06", "big", {"NASTY_BYTES": "50000000"}),
]


async def overshoot() -> Row:
    """How much later than its deadline any call ends, over every nasty case at once."""
    late: list[float] = []
    limits = Timeouts(connect=4.0, call=0.25, close=1.0)
    servers = [nasty(script, env=env, timeout=limits, retry=ONCE) for script, _, env in OVERSHOOT]
    loop = asyncio.get_running_loop()
    async with hosting(servers) as host:

        async def calls(server: str, tool: str) -> None:
            for _ in range(20):
                deadline = loop.time() + 0.25
                try:
                    call = host.prepare(server, "tools/call", tool, {"text": "x" * 100_000}, deadline=deadline)
                    await host.attempt(call)
                except Exception:  # noqa: BLE001 - a refusal before anything is sent is in time
                    await asyncio.sleep(0.05)
                late.append(loop.time() - deadline)

        async with asyncio.TaskGroup() as group:
            for script, tool, _ in OVERSHOOT:
                group.create_task(calls(script, tool))
    worst = statistics.quantiles(late, n=100)[98] * 1000
    what = f"deadline overshoot, 99th percentile of {len(late)} calls to nasty servers"
    return Row(what, f"{max(worst, 0.0):.1f} ms", "≤ 50 ms", worst <= 50)


async def beside_the_huge() -> list[Row]:
    """How long a neighbour's call takes while 50 MB arrive, taken and refused."""
    rows: list[Row] = []
    for what, cap in (("a 50 MB answer", 64 * MIB), ("50 MB over the cap", 16 * MIB)):
        huge = nasty("s06", env={"NASTY_BYTES": "50000000"}, limits=Limits(answer=cap), timeout=Timeouts(call=60.0))
        async with hosting([huge, nasty("s00")]) as host:
            await host.settled()
            big = asyncio.create_task(host.attempt(host.prepare("s06", "tools/call", "big", {})))
            took: list[float] = []
            while not big.done():
                began = time.perf_counter()
                await host.attempt(host.prepare("s00", "tools/call", "echo", {}))
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0.001)
            await big
        worst = max(took) * 1000
        rows.append(Row(f"{what} elsewhere: a neighbour's slowest call", f"{worst:.1f} ms", "≤ 50 ms", worst <= 50))
    return rows


async def memory() -> Row:
    """What one more connected server costs our process."""
    few, many = [await resident(count) for count in (20, 120)]
    each = (many - few) / 100 / 1024
    return Row("memory per connected server, our side", f"{each:.0f} KiB", "≤ 64 KiB", each <= 64)


async def resident(servers: int) -> float:
    """Bytes of this process with so many servers connected."""
    async with hosting(stub(f"s{number}") for number in range(servers)) as host:
        await host.settled()
        for name in host.servers:
            await host.attempt(host.prepare(name, "tools/call", "echo", {}))
        gc.collect()
        return pages() * 4096.0


def pages() -> int:
    """Resident pages of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1])


async def measured() -> list[Row]:
    """Every row, one after the other."""
    rows = [await memory(), *await reading(), *await among_fifty(), await half_dead(), await overshoot()]
    return [*rows, *await beside_the_huge()]


def rows() -> list[Row]:
    """Measure."""
    return asyncio.run(measured())


if __name__ == "__main__":
    show("Many servers, some of them broken", rows())
