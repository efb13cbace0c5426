"""The HTTP+SSE transport of 2024-11-05, for servers with `kind = "sse"`: one endless GET brings every answer.

The stream names the URL that requests are posted to; it must lie on the server's own origin. When the stream breaks,
the connection is lost, with everything that waits on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from motet.calls import Call, Json
from motet.config.model import ServerConfig
from motet.errors import CallError, ServerUnavailable
from motet.upstream.answers import Reader
from motet.upstream.channel import Channel
from motet.upstream.credentials import Auth
from motet.upstream.http_door import ERROR_BODY, HttpDoor, Mark, Refused
from motet.upstream.link import Ident, Peer
from motet.upstream.sanitise import clean_line
from motet.upstream.sse import Event, EventTooLong, Parser

POST_PATIENCE = 30.0


class SseLink(Channel):
    """Made by `SseLink.connect`."""

    transport = "sse"
    wants_headers = False

    def __init__(self, config: ServerConfig, peer: Peer, reader: Reader, auth: Auth | None) -> None:
        super().__init__(config, peer, reader)
        self._door = HttpDoor(config, reader, auth)
        self._endpoint: asyncio.Future[URL] = self._loop.create_future()
        self._version = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def connect(cls, config: ServerConfig, peer: Peer, reader: Reader, auth: Auth | None) -> SseLink:
        """Open the stream and wait until it names its endpoint. Bounded by the caller. Raises CallError."""
        link = cls(config, peer, reader, auth)
        link._spawn(link._listen())
        try:
            await link._endpoint
        except BaseException:
            await link.close(within=1.0)
            raise
        return link

    @property
    def details(self) -> Mapping[str, Json]:
        return {"transport": "sse", "url": self._door.shown_url, "reap": "none (remote)"}

    def adopt(self, version: str, *, modern: bool) -> None:
        """Shown on every request from now on."""
        self._version = "" if modern else version

    def exchange(
        self,
        ident: Ident,
        message: bytes,
        until: float | None,
        call: Call | None,
        headers: Mapping[str, str] | None,  # noqa: ARG002 - this era mirrors nothing
    ) -> asyncio.Future[msgspec.Raw]:
        """Send one request and wait for its result until loop time `until`. Raises CallError."""
        answer = self._expect(ident, until, call)
        self._spawn(self._post(ident, message, call if call is not None else Mark()))
        return answer

    async def deliver(self, message: bytes) -> None:
        """Send something that has no answer, and wait until it has arrived."""
        await self._post(None, message, Mark())

    def post(self, message: bytes) -> None:
        """Send something that has no answer."""
        if self._gone is None:
            self._spawn(self._post(None, message, Mark()))

    async def close(self, *, within: float) -> None:
        """Close the stream and the connections."""
        self._end("closed")
        for task in list(self._tasks):
            task.cancel()
        async with asyncio.timeout(within):
            await self._door.close()

    async def _post(self, ident: Ident | None, message: bytes, mark: Call | Mark) -> None:
        try:
            async with asyncio.timeout(POST_PATIENCE):
                await self._posted(message, mark)
        except TimeoutError:
            pass  # the exchange has a deadline of its own
        except Refused as refused:
            self._settle(ident, self._door.needs_auth(refused))
        except CallError as error:
            self._settle(ident, error)
        except (aiohttp.ClientError, OSError) as why:
            self._settle(ident, self._door.broken(why, mark))

    async def _posted(self, message: bytes, mark: Call | Mark) -> None:
        for again in (True, False):
            sent = await self._headers()
            async with await self._door.post(message, mark, sent, self._endpoint.result()) as response:
                if response.status < 300:
                    await self._door.read(response, ERROR_BODY)
                    return
                complaint = await self._door.complaint(response, "")
            auth = self._door.auth
            if not isinstance(complaint, Refused) or auth is None or not again:
                raise complaint
            if not await auth.renew(complaint.status, complaint.challenge, sent, in_place=bool(self._version)):
                raise complaint

    async def _headers(self) -> dict[str, str]:
        headers = await self._door.headers(None)
        if self._version:
            headers["mcp-protocol-version"] = self._version
        return headers

    async def _listen(self) -> None:
        """The stream, until it ends."""
        reason = "the event stream has ended"
        mark = Mark()
        try:
            for again in (True, False):
                headers = {**await self._headers(), "accept": "text/event-stream"}
                try:
                    await self._heard(headers)
                    break
                except Refused as refused:
                    auth = self._door.auth
                    if auth is None or not again:
                        raise
                    if not await auth.renew(refused.status, refused.challenge, headers, in_place=False):
                        raise
        except Refused as refused:
            self._unreached(self._door.needs_auth(refused))
        except CallError as error:
            reason = error.message
            self._unreached(error)
        except EventTooLong:
            reason = f"it sent an event longer than {self._cap} bytes"
        except (aiohttp.ClientError, OSError) as why:
            error = self._door.broken(why, mark)
            reason = f"the event stream broke: {clean_line(why) or type(why).__name__}"
            self._unreached(error)
        self._unreached(ServerUnavailable(reason, server=self._name, reason="connect"))
        self._end(reason)

    async def _heard(self, headers: Mapping[str, str]) -> None:
        async with self._door.ask("GET", headers) as response:
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status != 200 or kind != "text/event-stream":
                raise await self._door.complaint(response, kind)
            parser = Parser(self._cap)
            async for chunk in self._door.chunks(response):
                self.received += 1
                for event in parser.feed(chunk):
                    self._event(event)

    def _unreached(self, error: CallError) -> None:
        if not self._endpoint.done():
            self._endpoint.set_exception(error)

    def _event(self, event: Event) -> None:
        if event.kind == "endpoint" and not self._endpoint.done():
            self._name_endpoint(event.data.decode("utf-8", "replace").strip())
        elif event.kind == "message" and event.data:
            with suppress(CallError):  # what cannot be read costs itself; its call has a deadline
                self._message(self._door.envelope(event.data))

    def _name_endpoint(self, said: str) -> None:
        try:
            to = self._door.url.join(URL(said, encoded=True))
            same = to.origin() == self._door.url.origin() and to.user is None
        except ValueError:
            same, to = False, self._door.url
        if same:
            self._endpoint.set_result(to)
        else:
            why = f"its stream names an endpoint elsewhere: {clean_line(said)}"
            self._unreached(ServerUnavailable(why, server=self._name, reason="connect", transient=False))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
