"""A small HTTP server, written by hand, whose every answer is decided by the test: bytes on a socket, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
TOOLS = [{"name": "t", "inputSchema": {"type": "object"}}]
DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}


@dataclass
class Request:
    """One request as it came, and the way to answer it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    raw: bytes = b""

    @property
    def rpc(self) -> str:
        """The JSON-RPC method."""
        return str(self.body.get("method", ""))

    def result(self, result: Json) -> bytes:
        """The JSON-RPC answer to this request."""
        return json.dumps({"jsonrpc": "2.0", "id": self.body.get("id"), "result": result}).encode()

    async def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        """A whole response."""
        given = {"content-type": "application/json", "content-length": str(len(body))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.head(status, given)
        self.writer.write(body)
        await self.writer.drain()

    def head(self, status: int, headers: dict[str, str]) -> None:
        """The status line and headers."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())

    def reset(self) -> None:
        """Cut the connection as a crash does."""
        self.writer.transport.abort()


Handler = Callable[[Request], Awaitable[None]]


@dataclass
class FaultyHttp:
    """Answers the handshake and lists by itself; everything else is `on_call`."""

    on_call: Handler
    era: str = "modern"
    capabilities: Json = field(default_factory=lambda: {"tools": {}})
    before: Handler | None = None
    """Sees every request first; may answer, and then raises `Answered`."""
    seen: list[Request] = field(default_factory=list[Request])
    url: str = ""
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def __aenter__(self) -> FaultyHttp:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/mcp"
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    def calls(self) -> list[Request]:
        """The tool calls that came."""
        return [request for request in self.seen if request.rpc == "tools/call"]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while not writer.is_closing():
                    await self._one(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        body: Json = json.loads(raw) if raw and headers.get("content-type", "").startswith("application/json") else {}
        request = Request(method, path, headers, body, reader, writer, raw)
        self.seen.append(request)
        try:
            if self.before is not None:
                await self.before(request)
            await self._usual(request)
        except Answered:
            return

    async def _usual(self, request: Request) -> None:
        complete = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        if request.method != "POST":
            await request.answer(status=405)
        elif "id" not in request.body:
            await request.answer(status=202)
        elif request.rpc == "server/discover" and self.era == "modern":
            found = {"supportedVersions": ["2026-07-28"], "capabilities": self.capabilities, **complete}
            await request.answer(request.result(found))
        elif request.rpc == "initialize" and self.era == "legacy":
            found = {
                "protocolVersion": "2025-11-25",
                "capabilities": self.capabilities,
                "serverInfo": {"name": "faulty"},
            }
            await request.answer(request.result(found), mcp_session_id="session-1")
        elif request.rpc == "tools/list":
            await request.answer(request.result({"tools": TOOLS, **complete}))
        elif request.rpc == "tools/call":
            await self.on_call(request)
        else:
            await request.answer(b"not here", status=400, content_type="text/plain")


class Answered(Exception):
    """The request has had its answer."""


async def done(request: Request) -> None:
    """The healthy answer."""
    await request.answer(request.result(DONE))
