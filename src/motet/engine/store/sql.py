"""The words a journal is written in: statements that every store takes, and what a store is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from motet.errors import RunError

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Sql:
    """One statement, with `?` for its parameters and `{now}` for the database's clock in seconds since 1970."""

    text: str
    parameters: Sequence[Any] = ()
    must: bool = False
    """Undo everything and raise `Nothing` when it gives no row."""


class Nothing(Exception):
    """A statement that had to give a row gave none."""


class Store(Protocol):
    """A database that holds journals."""

    async def do(self, *statements: Sql) -> list[Rows]:
        """All of them in one transaction, durable on return. Raises `RunError`, or `Nothing`."""
        ...

    async def read(self, statement: Sql) -> Rows:
        """What it gives. Raises `RunError`."""
        ...

    async def compact(self) -> None:
        """Give back the room of what was deleted, so that nothing of it lies about; not while others use it."""
        ...


class Unreachable(RunError):
    """The database does not answer. `doubtful`: it may have done what was asked nevertheless."""

    def __init__(self, message: str, *, doubtful: bool = False) -> None:
        super().__init__(message, hint="is it running, and can it be reached from here?")
        self.doubtful = doubtful
