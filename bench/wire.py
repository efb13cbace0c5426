"""What one call costs on the wire: client CPU against a bare loop, `mcp.Client` and `fastmcp.Client`.

The server is `bench/floor_server.py` in a process of its own, so the CPU time of this process (`time.process_time`, the
kernel's work for it included, waiting not) is the client's. Every candidate is connected at once; rounds alternate
between them; medians count. One by one, much of what is measured is falling asleep and waking up, the same for all;
many at once, it is the client's own code.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from bench.rows import Row, ratio, show
from motet import Orchestrator
from motet.calls import Call, ToolResult
from motet.catalog.tool import Tool
from motet.config.model import HttpTransport, ServerConfig, StdioTransport, Transport
from motet.upstream.opening import open_connection

SERVER = str(Path(__file__).with_name("floor_server.py"))
ROUNDS = 9
TEXT = "x" * 100
Once = Callable[[str], Awaitable[object]]
"""Calls one tool once."""


class BareLoop:
    """The floor: an asyncio pipe, orjson, a table of futures, and a deadline for each call."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader, self._writer = reader, writer
        self._ids = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._task = self._loop.create_task(self._read())

    async def _read(self) -> None:
        while line := await self._reader.readline():
            message = orjson.loads(line)
            answer = self._waiting.pop(message["id"], None)
            if answer is not None and not answer.done():
                answer.set_result(message["result"])

    def _expire(self, ident: int) -> None:
        self._waiting.pop(ident).set_exception(TimeoutError())

    async def call(self, tool: str) -> object:
        """One call with a deadline."""
        self._ids = ident = self._ids + 1
        answer = self._waiting[ident] = self._loop.create_future()
        timer = self._loop.call_later(30, self._expire, ident)
        params = {"name": tool, "arguments": {"text": TEXT}}
        message = {"jsonrpc": "2.0", "id": ident, "method": "tools/call", "params": params}
        self._writer.write(orjson.dumps(message) + b"\n")
        try:
            return await answer
        finally:
            timer.cancel()


@asynccontextmanager
async def bare() -> AsyncGenerator[Once]:
    """The bare loop on a child of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, SERVER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    yield BareLoop(child.stdout, child.stdin).call
    child.stdin.close()
    await child.wait()


@asynccontextmanager
async def bare_http(url: str) -> AsyncGenerator[Once]:
    """The floor over HTTP: aiohttp and orjson, and a deadline for each call."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        ids = 0

        async def once(tool: str) -> object:
            nonlocal ids
            ids += 1
            params = {"name": tool, "arguments": {"text": TEXT}}
            message = orjson.dumps({"jsonrpc": "2.0", "id": ids, "method": "tools/call", "params": params})
            async with asyncio.timeout(30):
                async with http.post(url, data=message, headers={"content-type": "application/json"}) as response:
                    return orjson.loads(await response.read())["result"]

        yield once


@asynccontextmanager
async def whole(server: dict[str, Any]) -> AsyncGenerator[Once]:
    """Motet as people use it: the orchestrator, with every layer on."""
    async with Orchestrator.from_config({"servers": {"floor": server}}) as motet:
        await motet.call_tool("floor", "echo", {"text": TEXT})
        yield lambda tool: motet.call_tool("floor", tool, {"text": TEXT})


@asynccontextmanager
async def ours(transport: Transport) -> AsyncGenerator[Once]:
    """A bare connection of motet's, without the layers above it."""
    loop = asyncio.get_running_loop()
    config = ServerConfig("floor", transport)
    connection = await open_connection(config, deadline=loop.time() + 10, on_changed=lambda _: None)
    listed = (await connection.list_all(deadline=loop.time() + 10)).tools
    tools = {t["name"]: Tool("floor", t["name"], output_schema=t.get("outputSchema")) for t in listed}

    async def once(tool: str) -> object:
        request = Call(
            server="floor",
            name=tool,
            arguments={"text": TEXT},
            definition=tools[tool],
            attempt_deadline=loop.time() + 30,
        )
        reply = await connection.send(request)
        assert isinstance(reply, ToolResult)
        return reply.content

    yield once
    await connection.close(within=5)


@asynccontextmanager
async def official(where: str | None) -> AsyncGenerator[Once]:
    """`mcp.Client`."""
    from mcp import Client, StdioServerParameters, stdio_client

    target: Any = where or stdio_client(StdioServerParameters(command=sys.executable, args=[SERVER]))
    async with Client(target, read_timeout_seconds=30) as client:
        await client.list_tools()
        yield lambda tool: client.call_tool(tool, {"text": TEXT})


@asynccontextmanager
async def fast(where: str | None) -> AsyncGenerator[Once]:
    """`fastmcp.Client`."""
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport as FastStdio

    target: Any = where or FastStdio(sys.executable, [SERVER], keep_alive=False)
    async with Client(target, timeout=30) as client:
        await client.list_tools()
        yield lambda tool: client.call_tool(tool, {"text": TEXT})


async def cpu(once: Once, tool: str, calls: int, at_once: int) -> float:
    """CPU microseconds per call of this process."""
    began = time.process_time()
    if at_once == 1:
        for _ in range(calls):
            await once(tool)
    else:
        left = calls

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await once(tool)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    return (time.process_time() - began) / calls * 1e6


async def measure(candidates: dict[str, Once], tool: str, at_once: int) -> dict[str, list[float]]:
    """Alternating rounds; the slow candidates make fewer calls in each."""
    size = {name: 150 if name in ("mcp", "fastmcp") else 1500 for name in candidates}
    for name, once in candidates.items():
        await cpu(once, tool, size[name] // 2, at_once)
    found: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    for _ in range(ROUNDS):
        for name, once in candidates.items():
            found[name].append(await cpu(once, tool, size[name], at_once))
    return found


def _row(what: str, found: dict[str, list[float]], against: str, budget: float) -> Row:
    of = ratio(found["motet"], found[against])
    micro = {name: f"{statistics.median(times):.0f}" for name, times in found.items()}
    shown = " · ".join(f"{name} {value} µs" for name, value in micro.items())
    return Row(f"{what}: motet / {against}", f"{of:.2f} ({shown})", f"≤ {budget:.2f}", of <= budget)


async def stdio_rows() -> list[Row]:
    """Over pipes."""
    async with AsyncExitStack() as stack:
        candidates: dict[str, Once] = {
            "bare": await stack.enter_async_context(bare()),
            "motet": await stack.enter_async_context(
                whole({"command": sys.executable, "args": [SERVER], "concurrency": 32})
            ),
            "connection": await stack.enter_async_context(ours(StdioTransport(sys.executable, (SERVER,)))),
            "mcp": await stack.enter_async_context(official(None)),
            "fastmcp": await stack.enter_async_context(fast(None)),
        }
        one = await measure(candidates, "echo", 1)
        many = await measure(candidates, "echo", 32)
        checked = await measure(candidates, "rows", 1)
    return [
        _row("stdio, sequential", one, "bare", 1.3),
        _row("stdio, sequential", one, "mcp", 1 / 5),
        _row("stdio, sequential", one, "fastmcp", 1 / 5),
        _row("stdio, 32 at once", many, "bare", 1.5),
        _row("stdio, 32 at once", many, "mcp", 1 / 5),
        _row("stdio, output schema", checked, "mcp", 1 / 8),
        _row("stdio, output schema", checked, "fastmcp", 1 / 8),
    ]


async def http_rows() -> list[Row]:
    """Over HTTP."""
    child = await asyncio.create_subprocess_exec(sys.executable, SERVER, "http", stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    url = f"http://127.0.0.1:{int(await child.stdout.readline())}/mcp"
    try:
        async with AsyncExitStack() as stack:
            candidates: dict[str, Once] = {
                "aiohttp": await stack.enter_async_context(bare_http(url)),
                "motet": await stack.enter_async_context(whole({"url": url, "concurrency": 32})),
                "connection": await stack.enter_async_context(ours(HttpTransport(url))),
                "mcp": await stack.enter_async_context(official(url)),
                "fastmcp": await stack.enter_async_context(fast(url)),
            }
            one = await measure(candidates, "echo", 1)
            many = await measure(candidates, "echo", 32)
    finally:
        child.kill()
        await child.wait()
    return [
        _row("HTTP, sequential", one, "mcp", 1 / 5),
        _row("HTTP, sequential", one, "fastmcp", 1 / 5),
        _row("HTTP, 32 at once", many, "mcp", 1 / 5),
    ]


async def lag_rows() -> list[Row]:
    """How long others wait while a large answer is read."""
    found: list[Row] = []
    for name, size in (("a 50 MB answer, over the cap", 50_000_000), ("a 16 MB answer, under the cap", 16_000_000)):
        holds = [await longest_hold(size) for _ in range(5)]
        worst = statistics.median(holds)
        found.append(Row(f"{name}: longest hold of the loop", f"{worst * 1000:.0f} ms", "≤ 50 ms", worst <= 0.05))
    return found


async def longest_hold(size: int) -> float:
    """Seconds that the event loop was held at most while an answer of `size` bytes came in."""
    loop = asyncio.get_running_loop()
    nasty = str(Path(__file__).parent.parent / "tests" / "nasty" / "s06_huge_result.py")
    transport = StdioTransport(sys.executable, (nasty,), {"NASTY_BYTES": str(size)})
    config = ServerConfig("big", transport)
    connection = await open_connection(config, deadline=loop.time() + 10, on_changed=lambda _: None)
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            began = loop.time()
            await asyncio.sleep(0.001)
            worst = max(worst, loop.time() - began - 0.001)

    watcher = asyncio.create_task(watch())
    await _ignoring(connection.send(Call(server="big", name="big")))
    watcher.cancel()
    await connection.close(within=5)
    return worst


async def _ignoring(work: Awaitable[object]) -> None:
    from motet.errors import CallError

    try:
        await work
    except CallError:
        return


def rows() -> list[Row]:
    """Measure."""
    return asyncio.run(stdio_rows()) + asyncio.run(http_rows()) + asyncio.run(lag_rows())


if __name__ == "__main__":
    show("One call, against the official clients", rows())
