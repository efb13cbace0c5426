"""What a supervisor needs of one open connection, whatever carries it.

A connection is opened by `open_connection` (in `upstream.opening`) under one total deadline, lives in its
supervisor's owner task, and is closed once. It makes single attempts: no retry, no breaker, no queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from motet.calls import Call, Json, Reply

ListKind = Literal["tools", "resources", "prompts"]
OnChanged = Callable[[ListKind], None]
"""Told, coalesced, that a list is another one now. A plain function: it must not block."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything a server lists, as plain JSON objects, each entry unchecked. What could not be fetched is named."""

    tools: tuple[Json, ...] = ()
    resources: tuple[Json, ...] = ()
    templates: tuple[Json, ...] = ()
    prompts: tuple[Json, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict[str, str])
    """List -> why it is incomplete (too many pages, repeated cursor, an error)."""


class Connection(Protocol):
    """One open, negotiated connection."""

    @property
    def version(self) -> str:
        """The negotiated protocol revision, such as `2026-07-28`."""
        ...

    @property
    def server_info(self) -> Mapping[str, Json]:
        """`name`, `version`, `title` … as the server gave them, sanitised."""
        ...

    @property
    def instructions(self) -> str:
        """The server's instructions, sanitised; may be empty."""
        ...

    @property
    def capabilities(self) -> Mapping[str, Json]:
        """The server's capabilities, `experimental` included."""
        ...

    async def list_all(self, *, deadline: float) -> Listing:
        """All lists the server has, bounded in pages, entries and bytes. Raises CallError when `tools/list` fails."""
        ...

    def watch(self, uris: frozenset[str], updated: Callable[[str], None]) -> None:
        """From now on, `updated` is told of changes of these resources (`uris`, or addresses below them)."""
        ...

    async def send(self, call: Call) -> Reply:
        """One attempt, ended by `call.attempt_deadline` (loop time). Raises one CallError, or InputRequired."""
        ...

    async def wait_closed(self) -> str:
        """Returns why, once the connection is gone: sanitised, with exit code and last stderr lines."""
        ...

    async def close(self, *, within: float) -> None:
        """End it and everything it started, within so many seconds."""
        ...

    @property
    def details(self) -> Mapping[str, Json]:
        """For people: pid, reap mode in force, noise count, transport, last stderr lines (sanitised)."""
        ...
