"""Looking at the schema with SQLAlchemy's inspector: the same code for both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.exc import NoSuchTableError

from motet_servers.database.driver import KEY_TABLE
from motet_servers.database.model import Column, Description, ForeignKey, Index, Kind, TableInfo
from motet_servers.kit.errors import NotFound

HIDDEN = frozenset({"information_schema", "pg_catalog", "pg_toast"})


def uri(schema: str, table: str) -> str:
    """The address of a table."""
    return f"db://tables/{quote(schema, safe='')}.{quote(table, safe='')}"


def tables(connection: Connection) -> list[TableInfo]:
    """All tables and views, by schema and name."""
    look: Inspector = inspect(connection)
    found: list[TableInfo] = []
    for schema in look.get_schema_names():
        if schema in HIDDEN or schema.startswith("pg_"):
            continue
        kinds: list[tuple[Kind, list[str]]] = [
            ("table", look.get_table_names(schema)),
            ("view", look.get_view_names(schema)),
        ]
        for kind, names in kinds:
            found += [TableInfo(name, schema, kind, uri(schema, name)) for name in names if name != KEY_TABLE]
    return sorted(found, key=lambda table: (table.schema, table.name))


def find(connection: Connection, name: str, schema: str | None) -> TableInfo:
    """One table, by `name`, `schema.name` or both; NotFound naming close ones."""
    there = tables(connection)
    default = inspect(connection).default_schema_name or "main"
    wanted = {(schema, name)} if schema else {(default, name), _split(name)}
    for table in there:
        if (table.schema, table.name) in wanted:
            return table
    close = ", ".join(sorted(table.name for table in there if name.lower() in table.name.lower())[:5])
    raise NotFound(f"there is no table {name!r}{f'; close: {close}' if close else ''}. See list_tables.")


def describe(name: str, schema: str | None) -> Callable[[Connection], Description]:
    """A look at one table."""

    def look(connection: Connection) -> Description:
        table = find(connection, name, schema)
        inspector: Inspector = inspect(connection)
        try:
            return _description(inspector, table)
        except NoSuchTableError:
            raise NotFound(f"the table {name!r} is gone.") from None

    return look


def _description(inspector: Inspector, table: TableInfo) -> Description:
    key = inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"]
    return Description(
        name=table.name,
        schema=table.schema,
        kind=table.kind,
        uri=table.uri,
        columns=[_column(column, key) for column in inspector.get_columns(table.name, table.schema)],
        primary_key=list(key),
        foreign_keys=[
            ForeignKey(list(each["constrained_columns"]), each["referred_table"], list(each["referred_columns"]))
            for each in inspector.get_foreign_keys(table.name, table.schema)
        ],
        indexes=[
            Index(each["name"] or "", [column or "" for column in each["column_names"]], bool(each["unique"]))
            for each in inspector.get_indexes(table.name, table.schema)
        ],
    )


def _column(column: ReflectedColumn, key: list[str]) -> Column:
    default: Any = column.get("default")
    return Column(
        name=column["name"],
        type=str(column["type"]),
        nullable=column["nullable"],
        default=None if default is None else str(default),
        primary_key=column["name"] in key,
        comment=column.get("comment"),
    )


def _split(name: str) -> tuple[str, str]:
    schema, _, table = name.partition(".")
    return schema, table


def rows_of(name: str) -> Callable[[Connection], str]:
    """A look that gives the query for all rows of a table, in the order of its primary key."""

    def look(connection: Connection) -> str:
        table = find(connection, name, None)
        inspector: Inspector = inspect(connection)
        key = inspector.get_pk_constraint(table.name, table.schema)["constrained_columns"]
        order = f" order by {', '.join(map(_quoted, key))}" if key else ""
        return f"select * from {_quoted(table.schema)}.{_quoted(table.name)}{order}"

    return look


def _quoted(name: str) -> str:
    """The name as it is written in SQL."""
    return '"' + name.replace('"', '""') + '"'
