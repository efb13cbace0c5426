"""HTTP/1.1 served from a plain function, with the connection itself in reach.

Trouble needs what web frameworks hide: refuse to listen, say nothing, or cut the line after the work was done. So this
is asyncio and h11, and a handler that answers ``None`` has its connection cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import orjson

MAX_BODY = 32 * 1024 * 1024
"""Bytes one request may carry."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole."""

    method: str
    path: str
    """As sent, still percent-encoded; no query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Lower-case names; the last of several wins."""
    body: bytes
    target: str
    """Path and query as they were on the wire."""

    def json(self) -> dict[str, object]:
        """The body as a JSON object.

        Raises Refused: 400, it is not one.
        """
        try:
            found = orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise Refused(400, "Problems parsing JSON") from error
        if not isinstance(found, dict):
            raise Refused(400, "Body should be a JSON object")
        return cast("dict[str, object]", found)

    def params(self) -> dict[str, object]:
        """Query, then form or JSON body: the way Slack reads its arguments."""
        merged: dict[str, object] = dict(self.query)
        if "json" in self.headers.get("content-type", ""):
            merged.update(self.json())
        elif "urlencoded" in self.headers.get("content-type", ""):
            merged.update(parse_qsl(self.body.decode(), keep_blank_values=True))
        return merged


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, sent whole."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    effect: str = ""
    """What this request changed for good, e.g. ``issue.created``; empty for reads and refusals."""


def json_response(
    value: object, status: int = 200, *, effect: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON answer."""
    return Response(
        status, orjson.dumps(value), {"content-type": "application/json; charset=utf-8", **(headers or {})}, effect
    )


Handler: TypeAlias = Callable[[Request], Awaitable[Response | None]]
"""``None``: cut the connection, answer nothing."""


class Refused(Exception):
    """A vendor's refusal: status and message, to be put in that vendor's shape."""

    def __init__(self, status: int, message: str, **details: object) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details


class HttpServer:
    """Serves one handler on one loopback port; can go down and come back on the same port."""

    def __init__(self, handler: Handler, *, port: int = 0) -> None:
        self._handler = handler
        self.port = port
        self._listener: asyncio.Server | None = None
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def listening(self) -> bool:
        return self._listener is not None

    async def start(self) -> None:
        """Listens; the first time this also settles the port.

        Raises OSError: the port is in use.
        """
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = int(self._listener.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stops listening and cuts every open connection."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        current = asyncio.current_task()
        for task, writer in list(self._conversations.items()):
            writer.transport.abort()
            if task is not current:
                task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - a coroutine always runs in a task here
            return
        self._conversations[task] = writer
        try:
            with contextlib.suppress(ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            del self._conversations[task]
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while (request := await _receive(connection, reader)) is not None:
            response = await self._handler(request)
            if response is None:
                writer.transport.abort()
                return
            writer.write(_encode(connection, request, response))
            await writer.drain()
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
    head: h11.Request | None = None
    chunks: list[bytes] = []
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            chunks.append(bytes(event.data))
            if sum(map(len, chunks)) > MAX_BODY:
                return None
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            target = head.target.decode("ascii", "replace")
            parts = urlsplit(target)
            return Request(
                method=head.method.decode("ascii"),
                path=parts.path,
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
                body=b"".join(chunks),
                target=target,
            )
        else:
            return None


def _encode(connection: h11.Connection, request: Request, response: Response) -> bytes:
    headers = {name: value for name, value in response.headers.items() if name.lower() != "content-length"}
    headers["content-length"] = str(len(response.body))
    if response.status in (204, 304):
        del headers["content-length"]
    head = h11.Response(
        status_code=response.status,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
    )
    data = b"" if request.method == "HEAD" or response.status in (204, 304) else response.body
    parts = [connection.send(head), connection.send(h11.Data(data=data)), connection.send(h11.EndOfMessage())]
    return b"".join(part for part in parts if part)


class Router:
    """Finds the function for a method and path; ``{name}`` is one decoded segment, ``{name*}`` the rest."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Response]]] = []

    def add(self, method: str, template: str, function: Callable[..., Response]) -> None:
        pattern = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.+)", template)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        self._routes.append((method, re.compile(pattern + "/?"), function))

    def answer(self, request: Request) -> Response:
        """What the route's function answers to the request and the path's parts.

        Raises Refused: 404 unknown path, 405 known path but not by this method; or what the function raises.
        """
        known = False
        for method, pattern, function in self._routes:
            if (match := pattern.fullmatch(request.path)) is not None:
                if method == request.method:
                    return function(request, **{name: unquote(value) for name, value in match.groupdict().items()})
                known = True
        raise Refused(405 if known else 404, "Method Not Allowed" if known else "Not Found")


def text(source: Mapping[str, object], name: str, default: str = "") -> str:
    """The string under `name`.

    Raises Refused: 422, it is there and is no string.
    """
    match source.get(name):
        case None:
            return default
        case str() as found:
            return found
        case _:
            raise Refused(422, f"{name} must be a string")


def texts(source: Mapping[str, object], name: str) -> list[str]:
    """The list of strings under `name`; empty when absent.

    Raises Refused: 422, it is there and is no list of strings.
    """
    found = source.get(name)
    items = cast("list[object]", found) if isinstance(found, list) else []
    if found is not None and not (isinstance(found, list) and all(isinstance(item, str) for item in items)):
        raise Refused(422, f"{name} must be a list of strings")
    return [item for item in items if isinstance(item, str)]


def mapping(source: Mapping[str, object], name: str) -> dict[str, object]:
    """The object under `name`; empty when absent.

    Raises Refused: 422, it is there and is no object.
    """
    found = source.get(name, {})
    if not isinstance(found, dict):
        raise Refused(422, f"{name} must be an object")
    return cast("dict[str, object]", found)


def objects(source: Mapping[str, object], name: str) -> list[dict[str, object]]:
    """The list of objects under `name`; empty when absent. Raises Refused: 422, it is there and is none."""
    found = source.get(name, [])
    if not isinstance(found, list):
        raise Refused(422, f"{name} must be a list")
    return [mapping({name: each}, name) for each in cast("list[object]", found)]


def strings(source: Mapping[str, object], name: str) -> dict[str, str]:
    """The object of strings under `name`; empty when absent.

    Raises Refused: 422, it is there and is none.
    """
    found = mapping(source, name)
    return {key: text(found, key) for key in found}


def number(source: Mapping[str, object], name: str, default: int) -> int:
    """The whole number under `name`, also when it is written as text.

    Raises Refused: 422, it is there and is none.
    """
    match source.get(name):
        case None:
            return default
        case int() as found:
            return int(found)
        case str() as written if written.lstrip("-").isdigit():
            return int(written)
        case _:
            raise Refused(422, f"{name} must be a whole number")
