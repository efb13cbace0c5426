"""What an engine is given: a way to call servers, a place to write, a clock, observers, and somebody to ask.

The host implements `Dispatch`; the engine knows no servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

from motet.calls import Call, Json, Method, Outcome, Progress, Retry, Round
from motet.workflow.entries import Entry

Now = Callable[[], float]
"""Wall-clock time in seconds since 1970."""
Redact = Callable[[Json], Json]
"""Gives the value back with everything in it replaced that may not be shown."""


class Dispatch(Protocol):
    """All servers at once, as a run sees them."""

    def prepare(
        self,
        server: str,
        method: Method,
        name: str,
        arguments: Mapping[str, Json],
        *,
        key: str | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        waits: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
        round: Round | None = None,  # noqa: A002 - the specification's word
    ) -> Call:
        """A call that is known to be possible. Raises `CallError`; nothing was sent then.

        Address, arguments and policy are checked, `repeatable` and `read_only` are decided, and the idempotency `key`
        stands where the tool declares one, or `Call.key` is None.

        `deadline` is loop time, `timeout` seconds for one attempt. It must not wait.
        """
        ...

    async def attempt(self, call: Call) -> Outcome:
        """What came of the call, all its attempts included. Never raises `CallError`."""
        ...

    def route(self, uri: str, server: str | None = None) -> str:
        """The server that serves the URI. Raises `UnknownAddress` or `Ambiguous`."""
        ...


class Journal(Protocol):
    """Where entries are kept. Their order is that of `record`."""

    def record(self, entry: Entry) -> None:
        """Take the entry. Does not wait, and may raise `RunError` when this journal can take no more."""
        ...

    async def durable(self) -> None:
        """Return once everything recorded so far will be found after a crash. Raises `RunError` when it will not."""
        ...


class MemoryJournal:
    """Entries in a list, gone with the process."""

    def __init__(self, *, keep: bool = False) -> None:
        self.entries: list[Entry] = []
        self._keep = keep

    def record(self, entry: Entry) -> None:
        """Keep the entry, if entries are kept at all."""
        if self._keep:
            self.entries.append(entry)

    async def durable(self) -> None:
        """Return at once."""


def wall_clock() -> float:
    """Seconds since 1970, as the system tells them."""
    return datetime.now(UTC).timestamp()


def as_it_is(value: Json) -> Json:
    """The redactor that hides nothing."""
    return value
