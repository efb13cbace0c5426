"""What the server asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from motet_servers.database.limits import Limits
from motet_servers.database.model import Effect, Rows
from motet_servers.database.sql import Statement

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")
Parameters = Mapping[str, Any]
KEY_TABLE = "motet_idempotency"
INSPECT_WITHIN = 30.0
"""Seconds a look at the schema may take."""


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key as it is stored: a hash of it, and one of the arguments."""

    mark: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did."""

    effects: list[Effect]
    repeated: bool


class Driver(Protocol):
    """One database."""

    dialect: Literal["sqlite", "postgresql"]

    async def read(self, wanted: Statement, parameters: Parameters, *, skip: int, limits: Limits) -> Rows:
        """Run one reading statement behind every lock there is; rows from `skip` on."""
        ...

    async def explain(self, wanted: Statement, parameters: Parameters, *, analyze: bool, limits: Limits) -> list[str]:
        """The plan, as lines of text; with `analyze` the statement runs, read-only."""
        ...

    async def write(self, batch: Sequence[tuple[Statement, Parameters]], *, key: Key | None, limits: Limits) -> Written:
        """Run statements in one transaction, all or none; with a key that was used before, give its answer."""
        ...

    async def inspect(self, look: Callable[[Connection], T]) -> T:
        """Run a look at the schema with SQLAlchemy's own means."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
