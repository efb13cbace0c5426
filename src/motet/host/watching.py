"""Changes of resources, from the servers that tell of them to everybody who watches them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Self

from motet.errors import CallError


class Watch:
    """An async iterator of the URIs that may have changed, as they were asked for; each once while nobody looks.

    It never ends by itself: leave the loop, or cancel it.
    """

    def __init__(self, uris: Mapping[str, str], missing: Mapping[str, CallError]) -> None:
        self.uris = uris
        """URI -> the server that tells of it."""
        self.missing = missing
        """URI -> why nobody tells of it."""
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()

    def tell(self, server: str, uri: str) -> None:
        """A server says that this address, or one below what we asked for, is another one now."""
        for asked, owner in self.uris.items():
            if owner == server and (uri == asked or uri.startswith(asked.rstrip("/") + "/")):
                self._changed[asked] = None
                self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while not self._changed:
            self._news.clear()
            await self._news.wait()
        changed = next(iter(self._changed))
        del self._changed[changed]
        return changed


Ask = Callable[[str, frozenset[str], Callable[[str], None]], None]
"""Ask one server to tell of exactly these addresses."""


class Watches:
    """Everybody who watches: each server is asked once for what anybody wants to know of it."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._open: list[Watch] = []

    def begin(self, watch: Watch) -> None:
        """From now on it is told."""
        self._open.append(watch)
        self._ask_anew(watch.uris.values())

    def end(self, watch: Watch) -> None:
        """Nobody looks at it any more."""
        self._open.remove(watch)
        self._ask_anew(watch.uris.values())

    def _ask_anew(self, servers: Iterable[str]) -> None:
        for server in set(servers):
            wanted = {uri for watch in self._open for uri, owner in watch.uris.items() if owner == server}
            self._ask(server, frozenset(wanted), partial(self._tell, server))

    def _tell(self, server: str, uri: str) -> None:
        for watch in self._open:
            watch.tell(server, uri)
