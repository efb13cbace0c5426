"""Change notifications: only what somebody subscribed to is watched.

The watcher is a hint that something happened near; what is told is decided by comparing what is there with what was
there, so a missed or doubled hint does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from urllib.parse import unquote

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType] - trio is not installed, so one of its types is unknown
from watchfiles._rust_notify import WatchfilesRustInternalError

from motet_servers.filesystem.jail import Jail, Place
from motet_servers.kit.errors import DomainError
from motet_servers.kit.subscriptions import ResourceUpdates

Signature = tuple[int, ...]
logger = logging.getLogger(__name__)
POLL_MS = 500
"""How often to look where the system gives no notes (its limit of watches is reached, say)."""


def place_of(jail: Jail, uri: str) -> Place | None:
    """The place a `files://` address names; None when it is none of ours."""
    scheme, _, rest = uri.partition("://")
    if scheme != "files":
        return None
    name, *parts = (unquote(part) for part in rest.partition("?")[0].rstrip("/").split("/"))
    root = next((root for root in jail.roots if root.name == name), None)
    return None if root is None else Place(root, tuple(parts))


def signature(jail: Jail, place: Place) -> Signature:
    """Something that differs when the file's content or the directory's entries do; () for nothing there."""
    try:
        with jail.parent(place) as (directory, name):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (DomainError, OSError):
        return ()
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


class Watcher:
    """Watches the subscribed files and directories while it is entered."""

    def __init__(self, jail: Jail, updates: ResourceUpdates) -> None:
        self._jail = jail
        self._updates = updates
        self._seen: dict[str, Signature] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        updates.on_change = self._on_change

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._run(), name="filesystem-watcher")

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _on_change(self) -> None:
        self._note_wanted()
        self._changed.set()

    def _note_wanted(self) -> None:
        """Remember how a newly wanted thing looks now, before its subscription is answered."""
        wanted = {uri: place for uri in self._updates.wanted if (place := place_of(self._jail, uri)) is not None}
        self._seen = {uri: self._seen.get(uri) or signature(self._jail, place) for uri, place in wanted.items()}

    async def _run(self) -> None:
        polling = False
        while True:
            self._changed.clear()
            directories = self._directories()
            if not directories:
                await self._changed.wait()
                continue
            try:
                await self._watch(directories, polling=polling)
            except (OSError, WatchfilesRustInternalError) as error:
                # a directory went before it was watched, or the system has no watches left
                if not polling and not isinstance(error, FileNotFoundError):
                    logger.warning("cannot watch (%s); looking every %d ms instead.", error, POLL_MS)
                    polling = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_MS / 1000):
                        await self._changed.wait()
            await self._compare()

    async def _watch(self, directories: set[str], *, polling: bool) -> None:
        """Compare at every hint, until something else is wanted or the directories to watch are others."""
        changes: AsyncGenerator[object] = awatch(
            *directories,
            recursive=False,
            step=50,
            debounce=200,
            stop_event=self._changed,
            force_polling=polling,
            poll_delay_ms=POLL_MS,
        )
        async with aclosing(changes):
            async for _ in changes:
                await self._compare()
                if self._directories() != directories:
                    return

    async def _compare(self) -> None:
        for uri, before in list(self._seen.items()):
            place = place_of(self._jail, uri)
            now = () if place is None else signature(self._jail, place)
            if now != before and uri in self._seen:
                self._seen[uri] = now
                await self._updates.updated(uri)

    def _directories(self) -> set[str]:
        """The real directories to watch: a directory itself, and what holds a file; only inside its root.

        Of what is not there, the nearest directory above it that is: there it would come back.
        """
        found: set[str] = set()
        for uri in self._seen:
            place = place_of(self._jail, uri)
            if place is None:
                continue
            root = place.root.path
            real = Path(os.path.realpath(root.joinpath(*place.parts)))
            if not real.is_relative_to(root):
                continue
            above = [each for each in (real, *real.parents) if each.is_relative_to(root)]
            watched = [each for each in above[1:] if each.is_dir()][:1] or [root]
            found |= {str(each) for each in (*watched, *above[:1]) if each.is_dir()}
        return found
