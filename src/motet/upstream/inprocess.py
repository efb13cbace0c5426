"""A server object in this very process (FastMCP, or the SDK's own): for tests and embedding. There is no isolation.

The server runs in a task of its own, on the SDK's in-memory streams, and speaks whole JSON-RPC messages: what works
here works over a pipe.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import anyio
import msgspec
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from motet.calls import Call, Json
from motet.config.model import InProcessTransport, ServerConfig
from motet.errors import ServerUnavailable
from motet.upstream.answers import Reader
from motet.upstream.channel import Channel
from motet.upstream.link import Ident, Peer, read_envelope
from motet.upstream.sanitise import clean_line


class InProcessLink(Channel):
    """Made by `InProcessLink.start`."""

    transport = "in-process"
    wants_headers = False

    def __init__(self, config: ServerConfig, peer: Peer, reader: Reader) -> None:
        super().__init__(config, peer, reader)
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._task: asyncio.Task[None]

    @classmethod
    async def start(cls, config: ServerConfig, peer: Peer, reader: Reader) -> InProcessLink:
        """Run the server object.

        Raises:
            ServerUnavailable: (reason `spawn`) it is no server object we know.

        """
        server = cast("InProcessTransport", config.transport).server
        lowlevel = getattr(server, "_mcp_server", None) or getattr(server, "_lowlevel_server", None) or server
        if not callable(getattr(lowlevel, "run", None)) or not hasattr(lowlevel, "create_initialization_options"):
            kind = clean_line(type(cast("object", server)).__name__)
            raise ServerUnavailable(
                f"{kind} is no MCP server object", server=config.name, reason="spawn", transient=False
            )
        link = cls(config, peer, reader)
        link._task = asyncio.get_running_loop().create_task(link._run(server, lowlevel))
        return link

    @property
    def details(self) -> Mapping[str, Json]:
        return {"transport": "in-process", "reap": "none (in process)"}

    def adopt(self, version: str, *, modern: bool) -> None:
        """Nothing to do: streams show no version."""

    def exchange(
        self,
        ident: Ident,
        message: bytes,
        until: float | None,
        call: Call | None,
        headers: Mapping[str, str] | None,  # noqa: ARG002 - streams have none
    ) -> asyncio.Future[msgspec.Raw]:
        """Send one request and wait for its result until loop time `until`. Raises CallError."""
        answer = self._expect(ident, until, call)
        self._outbox.put_nowait(message)
        if call is not None:
            call.written = True
        return answer

    def post(self, message: bytes) -> None:
        """Send something that has no answer."""
        if self._gone is None:
            self._outbox.put_nowait(message)

    async def close(self, *, within: float) -> None:
        """End the server's task, within so many seconds."""
        self._end("closed")
        self._outbox.put_nowait(None)
        await asyncio.wait({self._task}, timeout=within / 2)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=within / 2)
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # what it died of was the reason of `closed`

    async def _run(self, server: Any, lowlevel: Any) -> None:
        """The server's whole life: lifespan outside, its streams inside."""
        try:
            async with (
                _lifespan(server),
                create_client_server_memory_streams() as (ours, theirs),
                anyio.create_task_group() as group,
            ):
                group.start_soon(self._serve, lowlevel, theirs)
                group.start_soon(self._read, ours[0])
                await self._write(ours[1])
                group.cancel_scope.cancel()
        except* Exception as failures:  # noqa: BLE001 - a server object may raise anything; it ends its own link only
            self._end(f"the server object failed: {self._reader.text(failures.exceptions[0], 300)}")
        self._end("the server object has ended")

    async def _serve(self, lowlevel: Any, theirs: Any) -> None:
        await lowlevel.run(theirs[0], theirs[1], lowlevel.create_initialization_options())
        self._end("the server object has ended")

    async def _read(self, stream: Any) -> None:
        async for received in stream:
            self.received += 1
            if not isinstance(received, SessionMessage):
                continue
            line = received.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
            if len(line) > self._cap:
                self._settle(
                    cast("Ident | None", getattr(received.message, "id", None)), self._reader.too_large(self._cap)
                )
                continue
            with suppress(msgspec.MsgspecError):
                self._message(read_envelope(line))

    async def _write(self, stream: Any) -> None:
        while (message := await self._outbox.get()) is not None:
            with suppress(ValidationError):
                parsed = jsonrpc_message_adapter.validate_json(message, by_name=False)
                await stream.send(SessionMessage(parsed))
        await stream.aclose()


@asynccontextmanager
async def _lifespan(server: Any) -> AsyncGenerator[None]:
    """FastMCP keeps its lifespan outside its low-level server; the SDK's servers enter theirs in `run`."""
    manager = getattr(server, "_lifespan_manager", None)
    if manager is None:
        yield
        return
    async with manager():
        yield
