"""Streamable HTTP, both protocol eras: one request is one POST, driven in the task of its caller.

Nothing is shared but the connection pool: a dropped connection, a slow answer or a cancellation costs that call only.
The table of failures is in `http_door`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import orjson

from motet.calls import Call, Json
from motet.config.model import ServerConfig
from motet.errors import CallError, ConnectionLost, DeadlineExceeded, NeedsAuth, ServerUnavailable
from motet.upstream.answers import Reader
from motet.upstream.credentials import Auth
from motet.upstream.http_door import ERROR_BODY, SESSION, HttpDoor, Mark, Refused, SessionEnded
from motet.upstream.link import Envelope, Ident, Peer, loads
from motet.upstream.sse import EventTooLong, Parser

RESUMES = 2
POST_PATIENCE = 30.0
LISTEN_PAUSE_CAP = 60.0

_VERSION, _LAST_EVENT = "mcp-protocol-version", "last-event-id"


class _Cursor:
    """Where a resumable stream stands."""

    last: str | None = None
    retry: float | None = None


class HttpLink:
    """A link to one server's URL. Making it sends nothing; it raises ServerUnavailable for a URL HTTP cannot reach."""

    transport = "http"
    wants_headers = True

    def __init__(self, config: ServerConfig, peer: Peer, reader: Reader, auth: Auth | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._name = config.name
        self._peer = peer
        self._reader = reader
        self._cap = config.limits.answer
        self._version = ""
        self._modern = False
        self._gone: str | None = None
        self._timers: dict[Ident, tuple[asyncio.Timeout, list[str]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.received = 0
        self._door = HttpDoor(config, reader, auth)

    @property
    def details(self) -> Mapping[str, Json]:
        return {"transport": "http", "url": self._door.shown_url, "reap": "none (remote)"}

    def adopt(self, version: str, *, modern: bool) -> None:
        """The negotiated version: shown on every request from now on."""
        self._version, self._modern = version, modern
        if modern or not version:
            self._door.session = None  # sessions belong to the initialize era
        if version and not modern:
            self._spawn(self._listen())

    def fail(self, reason: str) -> None:
        """Declare the link lost."""
        if self._gone is None:
            self._gone = reason
            self.closed.set_result(reason)

    async def close(self, *, within: float) -> None:
        """End the server's session and the connections, within so many seconds."""
        self.fail("closed")
        session, self._door.session = self._door.session, None
        for task in list(self._tasks):
            task.cancel()
        try:
            if session is not None:
                with suppress(aiohttp.ClientError, OSError, TimeoutError, CallError):
                    async with asyncio.timeout(min(2.0, within / 2)):
                        async with self._door.ask("DELETE", await self._headers({SESSION: session})):
                            pass
        finally:
            await self._door.close()

    # -- one exchange -------------------------------------------------------------------------------------------------

    async def exchange(
        self, ident: Ident, message: bytes, until: float | None, call: Call | None, headers: Mapping[str, str] | None
    ) -> msgspec.Raw:
        """Send one request and wait for its result until loop time `until`. Raises CallError."""
        if self._gone is not None:
            raise ServerUnavailable(self._gone, server=self._name, reason="down")
        mark: Call | Mark = call if call is not None else Mark()
        timer = asyncio.timeout_at(until)
        why = ["no answer in time"]
        self._timers[ident] = (timer, why)
        try:
            async with timer:
                return await self._authorised(message, mark, headers)
        except TimeoutError:
            if self._door.auth is not None and self._door.auth.asking:
                raise NeedsAuth("nobody logged in in time", server=self._name) from None
            if call is not None:
                self._cancel_there(ident, "timeout")
            raise DeadlineExceeded(why[0], server=self._name, sent="unknown" if mark.written else "no") from None
        except asyncio.CancelledError:
            if call is not None:
                self._cancel_there(ident, "cancelled")
            raise
        finally:
            del self._timers[ident]

    def expire(self, ident: Ident, why: str) -> None:
        """End an exchange now as if its deadline had passed."""
        if (known := self._timers.get(ident)) is not None:
            known[1][0] = why
            known[0].reschedule(self._loop.time())

    def abandon(self, ident: Ident, why: str) -> None:
        """Nothing to do: an exchange is its caller's own task and has cleaned up after itself."""

    def _cancel_there(self, ident: Ident, why: str) -> None:
        """2026-07-28: closing the response was the cancellation. Before, a disconnect means nothing, so say it."""
        if not self._modern and self._version:
            note = {
                "jsonrpc": "2.0",
                "method": "notifications/cancelled",
                "params": {"requestId": ident, "reason": why},
            }
            self.post(orjson.dumps(note))

    async def _authorised(self, message: bytes, mark: Call | Mark, headers: Mapping[str, str] | None) -> msgspec.Raw:
        for last in (False, False, True):
            sent = await self._headers(headers)
            try:
                return await self._once(message, mark, sent)
            except Refused as refused:
                auth = self._door.auth
                if last or auth is None:
                    raise self._door.needs_auth(refused) from None
                if not await auth.renew(refused.status, refused.challenge, sent, in_place=bool(self._version)):
                    raise self._door.needs_auth(refused) from None
                mark.written = False
        raise AssertionError("unreachable")

    async def _once(self, message: bytes, mark: Call | Mark, headers: Mapping[str, str]) -> msgspec.Raw:
        """One POST and its answer. Raises CallError, or Refused."""
        cursor = _Cursor()
        try:
            async with await self._door.post(message, mark, headers) as response:
                self.received += 1
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                if response.status == 200 and kind == "application/json":
                    return self._result(await self._door.read(response, self._cap))
                if response.status == 200 and kind == "text/event-stream":
                    try:
                        raw = await self._stream(response, cursor)
                    except (aiohttp.ClientError, OSError):
                        if cursor.last is None or self._modern:
                            raise
                        raw = None  # it may be taken up again
                    if raw is not None:
                        return raw
                else:
                    raise await self._door.complaint(response, kind)
            return await self._resume(cursor)
        except SessionEnded as ended:
            self.fail(ended.message)
            raise
        except (aiohttp.ClientError, OSError) as why:
            raise self._door.broken(why, mark) from None

    async def _headers(self, stamped: Mapping[str, str] | None) -> dict[str, str]:
        headers = await self._door.headers(stamped)
        if self._version:
            headers[_VERSION] = self._version
        return headers

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _stream(self, response: aiohttp.ClientResponse, cursor: _Cursor) -> msgspec.Raw | None:
        """The answer on an event stream, or None when it ended without one. Serves all else that comes on it."""
        parser = Parser(self._cap)
        async for chunk in self._door.chunks(response):
            self.received += 1
            try:
                events = parser.feed(chunk)
            except EventTooLong:
                raise self._reader.too_large(self._cap) from None
            for event in events:
                cursor.last = event.ident if event.ident is not None else cursor.last
                cursor.retry = event.retry if event.retry is not None else cursor.retry
                if event.data and event.kind == "message" and (raw := self._message(event.data)) is not None:
                    return raw
        return None

    def _message(self, data: bytes) -> msgspec.Raw | None:
        """One message of a stream: the answer's result, or None for what the server sends besides."""
        message = self._door.envelope(data)
        if message.method is msgspec.UNSET:
            return self._answer(message)
        if message.id is not None:
            self._peer.asked(message.id, message.method, loads(message.params))
        else:
            self._peer.notified(message.method, loads(message.params))
        return None

    def _result(self, body: bytes) -> msgspec.Raw:
        return self._answer(self._door.envelope(body))

    def _answer(self, message: Envelope) -> msgspec.Raw:
        if message.result is not msgspec.UNSET:
            return message.result
        raise self._reader.protocol_error(None if message.error is msgspec.UNSET else message.error)

    async def _resume(self, cursor: _Cursor) -> msgspec.Raw:
        """Before 2026-07-28 a stream that gave event ids may be taken up again; else the request is lost."""
        left = RESUMES
        while cursor.last is not None and not self._modern and left > 0:
            before = cursor.last
            await asyncio.sleep(min(cursor.retry if cursor.retry is not None else 1.0, LISTEN_PAUSE_CAP))
            headers = {**await self._headers(None), "accept": "text/event-stream", _LAST_EVENT: cursor.last}
            with suppress(aiohttp.ClientError, OSError):
                async with self._door.ask("GET", headers) as response:
                    if response.status >= 300:
                        break
                    raw = await self._stream(response, cursor)
                    if raw is not None:
                        return raw
            left = RESUMES if cursor.last != before else left - 1
        raise ConnectionLost("the stream ended without an answer", server=self._name)

    # -- what has no answer -------------------------------------------------------------------------------------------

    def post(self, message: bytes) -> None:
        """Send something that has no answer; a failure shows on the next request."""
        modern_note = self._modern and b'"method"' in message  # the 2026-07-28 wire has no notifications from clients
        if self._gone is None and not modern_note:
            self._spawn(self._post_quietly(message))

    async def deliver(self, message: bytes) -> None:
        """Send something that has no answer, and wait until it has arrived."""
        await self._post_quietly(message)

    async def _post_quietly(self, message: bytes) -> None:
        with suppress(aiohttp.ClientError, OSError, TimeoutError, CallError):
            async with asyncio.timeout(POST_PATIENCE):
                async with await self._door.post(message, Mark(), await self._headers(None)) as response:
                    await self._door.read(response, ERROR_BODY)

    async def _listen(self) -> None:
        """The standalone stream of the session era; a server that has none refuses it."""
        cursor, pause, heard = _Cursor(), 1.0, False
        while self._gone is None:
            before = cursor.last
            with suppress(aiohttp.ClientError, OSError, CallError):
                headers = {**await self._headers(None), "accept": "text/event-stream"}
                if cursor.last is not None:
                    headers[_LAST_EVENT] = cursor.last
                async with self._door.ask("GET", headers) as response:
                    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                    if response.status == 200 and kind == "text/event-stream":
                        heard = True
                        await self._stream(response, cursor)
                    elif not heard or response.status < 500:
                        return
            if not heard:
                return
            pause = 1.0 if cursor.last != before else min(2 * pause, LISTEN_PAUSE_CAP)
            await asyncio.sleep(min(cursor.retry if cursor.retry is not None else pause, LISTEN_PAUSE_CAP))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
