"""What the tools answer: flat, stable fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["table", "view"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One table or view."""

    name: str
    schema: str
    kind: Kind
    uri: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables and views."""

    tables: list[TableInfo]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: str
    nullable: bool
    default: str | None
    primary_key: bool
    comment: str | None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns that point to another table's."""

    columns: list[str]
    table: str
    references: list[str]


@dataclass(frozen=True, slots=True)
class Index:
    """One index."""

    name: str
    columns: list[str]
    unique: bool


@dataclass(frozen=True, slots=True)
class Description:
    """A table's shape."""

    name: str
    schema: str
    kind: Kind
    uri: str
    columns: list[Column]
    primary_key: list[str]
    foreign_keys: list[ForeignKey]
    indexes: list[Index]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as objects. Numbers beyond a double's precision, times and UUIDs are text, bytes are base64."""

    columns: list[str]
    rows: list[Row]
    row_count: int
    truncated: bool
    """Is there more? `next_cursor` goes on (the query runs again: give it an ORDER BY)."""
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """How the database would run a query."""

    dialect: Literal["sqlite", "postgresql"]
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a statement did."""

    rows_affected: int
    columns: list[str]
    rows: list[Row]
    """What RETURNING gave."""
    truncated: bool


@dataclass(frozen=True, slots=True)
class Executed:
    """What one statement did."""

    rows_affected: int
    columns: list[str]
    rows: list[Row]
    truncated: bool
    repeated: bool
    """Is this the remembered answer of an earlier call with the same key?"""


@dataclass(frozen=True, slots=True)
class ExecutedBatch:
    """What the statements of one transaction did, in order."""

    results: list[Effect]
    rows_affected: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A query the operator prepared."""

    name: str
    description: str
    parameters: list[str]
    sql: str
    uri: str


@dataclass(frozen=True, slots=True)
class NamedQueries:
    """The prepared queries."""

    queries: list[NamedQuery]
