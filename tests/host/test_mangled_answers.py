"""Servers whose answers are mangled by dice, on both transports: faults nobody thought of (FR-ORCH-004).

Whatever comes back, each call ends as one outcome of a known kind, what is said to be unsent has had no effect, and the
neighbour notices nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from host.host_kit import Bench, Stage, brief, on_stage
from motet.calls import Retry, looked_at
from motet.config.model import HttpTransport, RetrySettings, ServerConfig, StdioTransport, Timeouts

pytestmark = pytest.mark.proves("FR-ORCH-004")

SCRIPT = Path(__file__).with_name("mangling_server.py")
TIMES = Timeouts(connect=3.0, call=0.5, close=0.5)
ONCE = RetrySettings(policy=Retry(attempts=1))
KINDS = {
    "done", "unavailable", "unusable_answer", "connection_lost", "timeout", "protocol", "circuit_open", "rate_limited",
    "result_too_large",
}  # fmt: skip


async def every_call_ends(stage: Stage, servers: list[str], effects: Callable[[], set[int]]) -> None:
    told: dict[int, tuple[str, str]] = {}

    async def calls(server: str, numbers: range) -> None:
        for n in numbers:
            told[n] = brief(looked_at(await stage.call("t", {"n": n}, server=server)))

    async with asyncio.TaskGroup() as group:
        for number, server in enumerate(servers):
            group.create_task(calls(server, range(number * 20, number * 20 + 20)))
    assert {kind for kind, _ in told.values()} <= KINDS
    assert {n: told[n] for n in effects() if told[n][1] == "no"} == {}


@pytest.mark.parametrize("seed", range(4))
async def test_over_pipes(tmp_path: Path, seed: int) -> None:
    bench = Bench(tmp_path)

    def mangling(number: int) -> ServerConfig:
        env = {
            "SEED": str(seed * 100 + number),
            "CLEAN": str(2 + number),
            "NASTY_RUN": bench.run,
            "NASTY_EFFECTS": str(bench.effects),
        }
        return ServerConfig(
            f"m{number}", StdioTransport(sys.executable, (str(SCRIPT),), env), timeout=TIMES, retry=ONCE
        )

    configs = [mangling(number) for number in range(5)]
    async with on_stage(tmp_path, *configs, bench=bench) as stage:
        await every_call_ends(
            stage,
            [config.name for config in configs],
            lambda: {int(line) for line in bench.effects.read_text().split()} if bench.effects.exists() else set(),
        )


STATUS = b"HTTP/1.1 200 OK"
OTHER_STATUS = [
    b"HTTP/1.1 500 X", b"HTTP/1.1 304 X", b"HTTP/1.1 204 No", b"HTTP/1.1 999 X",
    b"HTTP/1.1 100 Go on", b"HTTP/1.1 101 Up", b"HTTP/9 200 OK",
]  # fmt: skip
"""No 302, 4xx: by those a server says that it has done nothing."""
REPLACED = [
    (b"content-length", b"x-length"), (b"application/json", b"text/html"), (b"application/json", b"text/event-stream"),
    (b"content-length", b"transfer-encoding: chunked\r\nx"), (b'"result"', b'"error"'),
    (b"content-type", b"content-encoding: gzip\r\ncontent-type"),
]  # fmt: skip


class ManglingHttp:
    """The same over HTTP."""

    def __init__(self, seed: int, clean: int, effects: set[int]) -> None:
        self._dice = random.Random(seed)
        self._clean = clean
        self._effects = effects

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next((line.split(":")[1] for line in head.split("\r\n") if line.startswith("content-length")), "0")
        message: dict[str, Any] = json.loads(await reader.readexactly(int(length)) or b"{}")
        if "id" not in message:
            writer.write(b"HTTP/1.1 405 X\r\ncontent-length: 0\r\n\r\n")
            return True
        if message["method"] == "tools/call":
            self._effects.add(message["params"]["arguments"]["n"])
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": RESULTS[message["method"]]}).encode()
        said = STATUS + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        self._clean -= 1
        if self._clean < 0:
            said = self._mangled(said)
        if self._dice.random() < 0.03:
            writer.transport.abort()
            return False
        writer.write(said)
        return self._dice.random() > 0.05

    def _mangled(self, said: bytes) -> bytes:
        at = self._dice.randrange(len(said))
        match self._dice.randrange(8):
            case 0:
                return said[:at] + bytes([self._dice.randrange(256)]) + said[at + 1 :]
            case 1:
                return said[:at]
            case 2:
                return said + said
            case 3:
                return self._dice.randbytes(300)
            case 4:
                return said.replace(STATUS, self._dice.choice(OTHER_STATUS))
            case 5:
                return said.replace(*self._dice.choice(REPLACED))
            case _:
                return said


RESULTS: dict[str, Any] = {
    "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"},
    "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}], "resultType": "complete"},
    "tools/call": {"content": [{"type": "text", "text": "done"}], "resultType": "complete"},
}


@asynccontextmanager
async def listening(meet: ManglingHttp) -> AsyncGenerator[str]:
    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    server.close()


@pytest.mark.parametrize("seed", range(4))
async def test_over_http(tmp_path: Path, seed: int) -> None:
    effects: set[int] = set()
    async with (
        listening(ManglingHttp(seed * 3, 2, effects)) as one,
        listening(ManglingHttp(seed * 3 + 1, 3, effects)) as two,
        listening(ManglingHttp(seed * 3 + 2, 6, effects)) as three,
    ):
        urls = {"one": one, "two": two, "three": three}
        configs = [
            ServerConfig(name, HttpTransport(url), timeout=TIMES, retry=ONCE, era="modern")
            for name, url in urls.items()
        ]
        async with on_stage(tmp_path, *configs) as stage:
            await every_call_ends(stage, list(urls), lambda: effects)
