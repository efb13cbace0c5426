"""What a session needs of the thing that carries its messages: a `Link` (stdio, HTTP, SSE, in-process).

A link moves JSON-RPC messages that are already encoded and pairs answers with requests. It knows nothing of MCP beyond
what its transport forces on it. Whatever goes wrong on it is one `CallError` with the right `sent`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import msgspec
import orjson

from motet.calls import Call, Json

Ident = int | str


class Envelope(msgspec.Struct, gc=False):
    """One JSON-RPC message from a server. What we may not need stays raw."""

    id: int | str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: str | msgspec.UnsetType = msgspec.UNSET
    params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


read_envelope = msgspec.json.Decoder(Envelope).decode


class Peer(Protocol):
    """What a link tells its session. Plain functions that do not block and do not raise."""

    def notified(self, method: str, params: Json) -> None:
        """The server sent a notification."""
        ...

    def asked(self, ident: Ident, method: str, params: Json) -> None:
        """The server sent a request (before 2026-07-28); the session answers with `post`."""
        ...

    def noticed(self, what: str, message: str) -> None:
        """Something worth a line happened; the text is sanitised."""
        ...

    def answered_late(self, call: Call, raw: msgspec.Raw | None, error: Exception | None) -> None:
        """An answer came for a call that was given up."""
        ...


class Link(Protocol):
    """One open channel to one server."""

    @property
    def transport(self) -> str:
        """`stdio`, `http`, `sse` or `in-process`."""
        ...

    @property
    def wants_headers(self) -> bool:
        """Does it mirror method, name and parameters into HTTP headers (2026-07-28)?"""
        ...

    @property
    def received(self) -> int:
        """How often something came from the server: a measure of life."""
        ...

    @property
    def closed(self) -> asyncio.Future[str]:
        """Done once the channel is gone, with the reason (sanitised)."""
        ...

    @property
    def details(self) -> Mapping[str, Json]:
        """For people."""
        ...

    def exchange(
        self, ident: Ident, message: bytes, until: float | None, call: Call | None, headers: Mapping[str, str] | None
    ) -> Awaitable[msgspec.Raw]:
        """Send one newline-terminated request and wait for its result until loop time `until`. Raises CallError."""
        ...

    def abandon(self, ident: Ident, why: str) -> None:
        """The caller of `exchange` gave up: forget it and tell the server."""
        ...

    def expire(self, ident: Ident, why: str) -> None:
        """End an exchange now as if its deadline had passed."""
        ...

    def post(self, message: bytes) -> None:
        """Send something that has no answer; a failure shows elsewhere."""
        ...

    async def deliver(self, message: bytes) -> None:
        """Send something that has no answer, before anything that is sent later. Does not raise."""
        ...

    def adopt(self, version: str, *, modern: bool) -> None:
        """The negotiated version, for links that show it."""
        ...

    def fail(self, reason: str) -> None:
        """Declare the channel lost: every exchange ends and `closed` is done."""
        ...

    async def close(self, *, within: float) -> None:
        """End it and everything it started, within so many seconds."""
        ...


def loads(raw: msgspec.Raw | msgspec.UnsetType) -> Any:
    """Decode a raw part; None when it is missing or unreadable."""
    if raw is msgspec.UNSET:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def encode(method: str, params: Mapping[str, Json] | None, ident: Ident | None) -> bytes:
    """One newline-terminated message; a notification when `ident` is None. Raises TypeError for what is no JSON."""
    message: dict[str, Json] = {"jsonrpc": "2.0", "method": method}
    if ident is not None:
        message["id"] = ident
    if params:
        message["params"] = params
    return orjson.dumps(message) + b"\n"
