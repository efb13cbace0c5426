"""Change notifications: only what somebody subscribed to is watched.

The watcher is a hint that something happened near; what is told is decided by comparing what is there with what was
there, so a missed or doubled hint does no harm.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from urllib.parse import unquote

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType] - trio is not installed, so one of its types is unknown

from motet_servers.filesystem.jail import Jail, Place
from motet_servers.kit.errors import DomainError
from motet_servers.kit.subscriptions import ResourceUpdates

Signature = tuple[int, ...]


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
        while True:
            self._changed.clear()
            directories = self._directories()
            if not directories:
                await self._changed.wait()
                continue
            changes: AsyncGenerator[object] = awatch(
                *directories, recursive=False, step=50, debounce=200, stop_event=self._changed
            )
            async for _ in changes:
                await self._compare()
            await self._compare()

    async def _compare(self) -> None:
        for uri, before in list(self._seen.items()):
            place = place_of(self._jail, uri)
            now = () if place is None else signature(self._jail, place)
            if now != before and uri in self._seen:
                self._seen[uri] = now
                await self._updates.updated(uri)

    def _directories(self) -> set[str]:
        """The real directories to watch: a directory itself, and what holds a file; only inside its root."""
        found: set[str] = set()
        for uri in self._seen:
            place = place_of(self._jail, uri)
            if place is None:
                continue
            real = os.path.realpath(place.root.path.joinpath(*place.parts))
            for path in (real, os.path.dirname(real)):  # noqa: PTH120 - realpath of text
                inside = path == str(place.root.path) or path.startswith(f"{place.root.path}{os.sep}")
                if inside and os.path.isdir(path):  # noqa: PTH112 - as above
                    found.add(path)
        return found
