"""What one session has asked its server to tell of: changed lists, and changes of single resources.

2026-07-28: a `subscriptions/listen` request for the lists and one for the resources, each held open and taken up again.
Before: servers tell of lists unasked; resources are subscribed to one by one. After a stream was lost, what it would
have told of counts as changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol

import msgspec
import orjson

from motet.calls import Json
from motet.errors import CallError, ProtocolError
from motet.upstream.connection import ListKind
from motet.upstream.link import Ident, Link

LISTEN_PAUSE = 1.0
LISTEN_LONG = 60.0
LISTEN_PAUSE_CAP = 60.0
SUBSCRIBE_WITHIN = 10.0
"""Seconds for subscribing to one resource, before 2026-07-28."""

OnUpdated = Callable[[str], None]
"""Told the URI of a resource that may be another one now. Must not block."""


class Request(Protocol):
    """`Session._request`."""

    def __call__(
        self, method: str, params: dict[str, Json], *, until: float | None, ident: Ident | None = None
    ) -> Awaitable[msgspec.Raw]: ...


class Subscriptions:
    """One session's. Made once its version is agreed on."""

    def __init__(
        self,
        request: Request,
        link: Link,
        *,
        modern: bool,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        noticed: Callable[[str, str], None],
    ) -> None:
        """`noticed` is told what a server refuses."""
        self._request = request
        self._link = link
        self._modern = modern
        self._spawn = spawn
        self._noticed = noticed
        self._loop = asyncio.get_running_loop()
        self._streams = 0
        self._uris: frozenset[str] = frozenset()
        self._updated: OnUpdated | None = None
        self._task: asyncio.Task[None] | None = None

    def lists(self, kinds: Iterable[ListKind], changed: Callable[..., None]) -> None:
        """Be told of changes of these lists."""
        wanted: Mapping[str, Json] = {f"{kind}ListChanged": True for kind in kinds}
        if self._modern and wanted:
            self._spawn(self._listen(wanted, lambda: changed(*kinds)))

    def watch(self, uris: frozenset[str], updated: OnUpdated) -> None:
        """From now on, be told of changes of these resources, and of no others."""
        before, self._uris, self._updated = self._uris, uris, updated
        if uris == before:
            return
        if not self._modern:
            self._task = self._spawn(self._subscribe(sorted(before - uris), sorted(uris - before), after=self._task))
            return
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if uris:
            self._task = self._spawn(self._listen({"resourceSubscriptions": sorted(uris)}, self._all_updated))

    def updated(self, uri: Json) -> None:
        """The server said so."""
        if self._updated is not None and isinstance(uri, str):
            self._updated(uri)

    def _all_updated(self) -> None:
        for uri in self._uris:
            self.updated(uri)

    async def _listen(self, wanted: Mapping[str, Json], lost: Callable[[], None]) -> None:
        """Hold a stream open for these notifications; `lost` is called when some may have been missed."""
        pause = LISTEN_PAUSE
        while not self._link.closed.done():
            self._streams += 1
            ident = f"listen-{self._streams}"
            began = self._loop.time()
            try:
                await self._request("subscriptions/listen", {"notifications": dict(wanted)}, until=None, ident=ident)
            except ProtocolError as error:
                if error.sent == "no":  # it has no subscriptions, whatever it declares
                    self._noticed("subscription", error.message)
                    return
            except CallError:
                pass
            except asyncio.CancelledError:
                note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": ident}}
                self._link.post(orjson.dumps(note) + b"\n")
                raise
            await asyncio.sleep(pause)
            pause = LISTEN_PAUSE if self._loop.time() - began > LISTEN_LONG else min(pause * 2, LISTEN_PAUSE_CAP)
            lost()

    async def _subscribe(self, old: list[str], new: list[str], *, after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait([after])
        for method, uris in (("resources/unsubscribe", old), ("resources/subscribe", new)):
            for uri in uris:
                try:
                    await self._request(method, {"uri": uri}, until=self._loop.time() + SUBSCRIBE_WITHIN)
                except CallError as error:
                    self._noticed("subscription", f"{uri}: {error.message}")
