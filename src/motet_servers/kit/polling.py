"""Subscriptions to what announces nothing: looked at now and then, told when it looks different.

What something looks like is a text, given by the server's own `look`; an address it leaves out could not be looked at
just now, and is left as it was. A subscription is answered when its things have been looked at for the first time, so
that every later change is heard. Only what somebody subscribed to is looked at, one look at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from motet_servers.kit.errors import DomainError
from motet_servers.kit.subscriptions import ResourceUpdates

Look = Callable[[frozenset[str]], Awaitable[Mapping[str, str]]]
logger = logging.getLogger(__name__)


class Poller:
    """Looks while it is entered. `nudge()` when something may just have changed."""

    def __init__(self, updates: ResourceUpdates, look: Look, *, every: float) -> None:
        """Look every so many seconds."""
        self._updates = updates
        self._look = look
        self._every = every
        self._seen: dict[str, str] = {}
        self._due = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        updates.on_change = self.nudge
        updates.settle = self._compare

    def nudge(self) -> None:
        """Look soon."""
        self._due.set()

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._run(), name="poller")

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            if self._updates.wanted:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        await self._due.wait()
            else:
                await self._due.wait()
            self._due.clear()
            await self._compare()

    async def _compare(self) -> None:
        async with self._turn:
            wanted = self._updates.wanted
            now: Mapping[str, str] = {}
            try:
                if wanted:
                    now = await self._look(wanted)
            except DomainError as error:
                logger.warning("cannot look for changes: %s", error)
                return
            before, self._seen = (
                self._seen,
                {uri: look for uri, look in self._seen.items() if uri in wanted} | dict(now),
            )
            for uri, look in now.items():
                if before.get(uri, look) != look:
                    await self._updates.updated(uri)
