"""An HTTP proxy on loopback that brings trouble between a server and the API it talks to.

Each request is read whole, passed on (or not), and the answer given back (or not), by the fault that is armed for it:

| fault | what happens |
|---|---|
| `latency` | it is done; the answer waits until `release()` |
| `limited` | 429 with `Retry-After: 7`, nothing done |
| `error_before` | 503, nothing done |
| `error_after` | it is done, then 502 |
| `cut_before` | the connection is cut, nothing done |
| `cut_after` | it is done, then the connection is cut |

`seen` tells what came by and what the API answered. Addresses of the API in its answers are told as the proxy's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

import h11

Kind = Literal["latency", "limited", "error_before", "error_after", "cut_before", "cut_after"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PATIENCE = 10.0
"""Seconds for the API to answer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that came by."""

    method: str
    target: str
    status: int | None
    """What the API answered; None: it never got there."""
    fault: Kind | None


@dataclass
class FaultProxy:
    """Stands before `upstream` (host, port); `url` is where it listens."""

    upstream: tuple[str, int]
    url: str = ""
    seen: list[Seen] = field(default_factory=list[Seen])
    done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request struck by a fault has been carried out (or refused) by the API."""
    _armed: list[tuple[Kind, Callable[[str, str], bool]]] = field(
        default_factory=list[tuple[Kind, Callable[[str, str], bool]]]
    )
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def arm(self, kind: Kind, *, when: Callable[[str, str], bool] = lambda method, _: method in WRITES) -> None:
        """Strike the next request for which `when(method, target)` holds; once."""
        self._armed.append((kind, when))

    def release(self) -> None:
        """Let go of answers that `latency` holds."""
        self._released.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, for `asyncio.start_server`."""
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is over."""
        request = await _message(h11.Connection(h11.SERVER), reader)
        if request is None:
            return False
        head, body = request
        assert isinstance(head, h11.Request)
        method, target = head.method.decode(), head.target.decode()
        fault = self._strike(method, target)
        if fault in {"limited", "error_before", "cut_before"}:
            self.seen.append(Seen(method, target, None, fault))
            self.done.set()
            match fault:
                case "limited":
                    return await _say(writer, 429, ("Retry-After", "7"))
                case "error_before":
                    return await _say(writer, 503)
                case _:
                    return False
        async with asyncio.timeout(PATIENCE):
            answer = await self._pass_on(head, body)
        self.seen.append(Seen(method, target, answer[0].status_code, fault))
        if fault is not None:
            self.done.set()
        match fault:
            case "error_after":
                return await _say(writer, 502)
            case "cut_after":
                return False
            case "latency":
                await self._released.wait()
            case _:
                pass
        return await _send(writer, *answer, head_only=method == "HEAD")

    def _strike(self, method: str, target: str) -> Kind | None:
        for number, (kind, when) in enumerate(self._armed):
            if when(method, target):
                del self._armed[number]
                return kind
        return None

    async def _pass_on(self, head: h11.Request, body: bytes) -> tuple[h11.Response, bytes]:
        reader, writer = await asyncio.open_connection(*self.upstream)
        try:
            connection = h11.Connection(h11.CLIENT)
            dropped = {b"connection", b"transfer-encoding", b"content-length", b"expect"}
            headers = [(name, value) for name, value in head.headers if name not in dropped]
            headers += [(b"connection", b"close"), (b"content-length", str(len(body)).encode())]
            for event in (
                h11.Request(method=head.method, target=head.target, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            answer = await _message(connection, reader)
            if answer is None:
                raise ConnectionResetError
            response, content = answer
            assert isinstance(response, h11.Response)
            return response, content.replace(f":{self.upstream[1]}/".encode(), f":{urlsplit(self.url).port}/".encode())
        finally:
            writer.transport.abort()


async def _message(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Request | h11.Response, bytes] | None:
    head: h11.Request | h11.Response | None = None
    body: list[bytes] = []
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request | h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            return head, b"".join(body)
        elif isinstance(event, h11.InformationalResponse):
            continue
        else:
            return None


async def _say(writer: asyncio.StreamWriter, status: int, *headers: tuple[str, str]) -> bool:
    lines = [
        f"HTTP/1.1 {status} Trouble",
        "Content-Length: 0",
        *(f"{name}: {value}" for name, value in headers),
        "",
        "",
    ]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    return True


async def _send(writer: asyncio.StreamWriter, head: h11.Response, body: bytes, *, head_only: bool) -> bool:
    dropped = {b"connection", b"transfer-encoding", b"content-length"}
    lines = [b"HTTP/1.1 %d Answer" % head.status_code]
    lines += [name + b": " + value for name, value in head.headers if name not in dropped]
    if head.status_code not in {204, 304}:
        lines.append(b"content-length: %d" % len(body))
    writer.write(b"\r\n".join([*lines, b"", b""]) + (b"" if head_only else body))
    await writer.drain()
    return True


@contextlib.asynccontextmanager
async def proxied(host: str, port: int) -> AsyncGenerator[FaultProxy]:
    """A proxy in front of an API on this machine."""
    proxy = FaultProxy((host, port))
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await proxy.serve(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.wait(list(tasks), timeout=5) if tasks else None
