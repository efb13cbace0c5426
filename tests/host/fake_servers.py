"""Servers that are objects: a host over them runs in virtual time, and a test holds both ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from motet.calls import Call, Reply, ResourceResult, ToolResult
from motet.config.model import Config, InProcessTransport, ServerConfig, Timeouts
from motet.errors import CallError, ConnectionLost, ServerUnavailable
from motet.host.host import Host
from motet.upstream.connection import Listing, OnChanged

OBJECT: dict[str, Any] = {"type": "object"}


def tool(name: str, description: str = "", schema: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A listed tool."""
    return {"name": name, "description": description, "inputSchema": schema or OBJECT, **more}


@dataclass
class FakeServer:
    """One server: what it lists, what it answers, how it fails."""

    tools: list[Any] = field(default_factory=lambda: [tool("echo")])
    resources: list[Any] = field(default_factory=list[Any])
    boundary: dict[str, Any] | None = None
    subscribes: bool = True
    opens_after: float = 0.0
    lists_after: float = 0.0
    refuses: list[CallError] = field(default_factory=list[CallError])
    """Errors of the next attempts to open it."""
    list_troubles: list[CallError] = field(default_factory=list[CallError])
    answer: Callable[[Call], Awaitable[Reply] | Reply] | None = None
    starts: int = 0
    calls: list[Call] = field(default_factory=list[Call])
    connections: list[FakeConnection] = field(default_factory=list[Any])

    @property
    def connection(self) -> FakeConnection:
        """The latest one."""
        return self.connections[-1]

    def change(self, tools: list[Any]) -> None:
        """List something else, and say so."""
        self.tools = tools
        self.connection.on_changed("tools")


class FakeConnection:
    """A `Connection` to a `FakeServer`."""

    version = "2026-07-28"
    instructions = ""
    server_info: Mapping[str, Any] = {}

    def __init__(self, server: FakeServer, on_changed: OnChanged) -> None:
        self.server = server
        self.on_changed = on_changed
        self.gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.closed = False
        self.watched: frozenset[str] = frozenset()
        self.updated: Callable[[str], None] = print

    @property
    def capabilities(self) -> Mapping[str, Any]:
        declared = {} if self.server.boundary is None else {"motet/boundary": self.server.boundary}
        return {"tools": {}, "resources": {"subscribe": self.server.subscribes}, "experimental": declared}

    @property
    def details(self) -> Mapping[str, Any]:
        return {"pid": self.server.starts}

    async def list_all(self, *, deadline: float) -> Listing:
        async with asyncio.timeout_at(deadline):
            await asyncio.sleep(self.server.lists_after)
        if self.server.list_troubles:
            raise self.server.list_troubles.pop(0)
        return Listing(tools=tuple(self.server.tools), resources=tuple(self.server.resources))

    async def send(self, call: Call) -> Reply:
        if self.gone.done():
            raise ServerUnavailable("gone", server=call.server, reason="exited")
        call.written = True
        self.server.calls.append(call)
        if self.server.answer is not None:
            answer = self.server.answer(call)
            return answer if isinstance(answer, Reply) else await answer
        if call.method == "resources/read":
            return ResourceResult(orjson.dumps({"contents": [{"uri": call.name, "text": call.server}]}))
        return ToolResult(orjson.dumps({"content": [{"type": "text", "text": orjson.dumps(call.arguments).decode()}]}))

    def watch(self, uris: frozenset[str], updated: Callable[[str], None]) -> None:
        self.watched, self.updated = uris, updated

    async def wait_closed(self) -> str:
        return await asyncio.shield(self.gone)

    async def close(self, *, within: float) -> None:
        self.closed = True
        self.die("closed")

    def die(self, why: str = "killed") -> None:
        """The connection is gone."""
        if not self.gone.done():
            self.gone.set_result(why)

    def lose(self, call: Call) -> Reply:
        """Die while this call is in flight."""
        self.die()
        raise ConnectionLost("killed", server=call.server)


def host_of(
    servers: Mapping[str, FakeServer], configs: Mapping[str, Mapping[str, Any]] | None = None, **options: Any
) -> Host:
    """A host over these servers; `configs` adds settings by name."""

    async def opening(config: ServerConfig, *, deadline: float, on_changed: OnChanged, **_: Any) -> FakeConnection:
        server = servers[config.name]
        server.starts += 1
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(server.opens_after)
        except TimeoutError:
            raise ServerUnavailable("no handshake in time", server=config.name, reason="handshake") from None
        if server.refuses:
            raise server.refuses.pop(0)
        connection = FakeConnection(server, on_changed)
        server.connections.append(connection)
        return connection

    made: dict[str, ServerConfig] = {}
    for name in servers:
        usual: dict[str, Any] = {"timeout": Timeouts(connect=10.0, call=5.0, close=1.0)}
        made[name] = ServerConfig(name, InProcessTransport(None), **(usual | dict((configs or {}).get(name, {}))))
    state = options.pop("state", None)
    secrets = options.pop("secrets", {})
    return Host(
        Config(made, state=state, secrets=secrets), opening=opening, chance=lambda: 0.5, wall=lambda: 1e9, **options
    )
