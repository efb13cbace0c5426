"""The database server's tools and resources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from fastmcp.resources.base import ResourceResult
from pydantic import BaseModel, ConfigDict, Field

from motet_servers.database import model, named, sql
from motet_servers.database.driver import Driver, Key, Parameters, Written
from motet_servers.database.limits import Limits
from motet_servers.kit import idempotency, paging
from motet_servers.kit.arguments import Cursor
from motet_servers.kit.arguments import Key as Idempotency
from motet_servers.kit.errors import InvalidInput, NotFound, TooLarge
from motet_servers.kit.progress import ticking
from motet_servers.kit.server import JSON, DomainServer, as_json, closing
from motet_servers.kit.settings import SettingsError, Values

PAGE = 500
MOST_SKIPPED = 1 << 62
MOST_STATEMENTS = 500
MOST_PARAMETERS = 500
MOST_GIVEN = 8 << 20
"""Characters of all parameters of a call, as JSON."""
IGNORED = frozenset({"channel_binding", "connect_timeout"})
"""Parameters of a PostgreSQL URL that libpq knows and the driver does not."""
Value = None | bool | int | float | str | list[Any] | dict[str, Any]
Sql = Annotated[str, Field(description="One statement; values as `:name`.", min_length=1, max_length=sql.LONGEST)]
Given = Annotated[dict[str, Value], Field(description="A value for every `:name` in sql.", max_length=MOST_PARAMETERS)]
Most = Annotated[int, Field(ge=1, le=100_000, description="Most rows; the server's own cap holds too.")]
Name = Annotated[str, Field(min_length=1, max_length=300)]


class BatchStatement(BaseModel):
    """One statement of a batch."""

    model_config = ConfigDict(extra="forbid")

    sql: Sql
    parameters: Given = Field(default_factory=dict[str, Value])


@dataclass(frozen=True, slots=True)
class Settings:
    """Which database, and what may be done with it."""

    url: str = field(repr=False)
    read_url: str | None = field(default=None, repr=False)
    read_only: bool = False
    allow_superuser: bool = False
    limits: Limits = field(default_factory=Limits)
    queries: Mapping[str, named.Prepared] = field(default_factory=dict[str, named.Prepared])
    secrets: tuple[str, ...] = field(default=(), repr=False)


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server for the environment's database."""
    if arguments:
        raise SettingsError("takes no arguments.")
    read = values.get("DATABASE_READ_URL")
    queries = values.get("DATABASE_QUERIES")
    return database_server(
        Settings(
            url=database_url("DATABASE_URL", values.require("DATABASE_URL")),
            read_url=database_url("DATABASE_READ_URL", read) if read else None,
            read_only=values.flag("DATABASE_READ_ONLY"),
            allow_superuser=values.flag("DATABASE_ALLOW_SUPERUSER"),
            limits=Limits(
                rows=values.number("DATABASE_MAX_ROWS", minimum=1, maximum=1_000_000),
                bytes=values.number("DATABASE_MAX_BYTES", minimum=1024, maximum=64 << 20),
                timeout=values.number("DATABASE_TIMEOUT", minimum=1, maximum=3600),
            ),
            queries=named.load(Path(queries)) if queries else {},
            secrets=values.secrets,
        )
    )


def database_url(variable: str, text: str) -> str:
    """The URL with the scheme's usual spelling; SettingsError, never showing it, when it is none we serve."""
    scheme, _, rest = text.partition("://")
    backend = scheme.partition("+")[0]
    if backend in {"postgres", "postgresql"} and rest:
        return _postgres_url(variable, rest)
    if backend != "sqlite":
        raise SettingsError(f"{variable} must begin with sqlite:/// or postgresql://; nothing else is served.")
    if not rest.startswith("/") or rest[1:].startswith((":memory:", "file:")) or len(rest) < 2:
        raise SettingsError(f"{variable} must name a file: sqlite:///relative.db or sqlite:////absolute.db.")
    return f"sqlite://{rest}"


def _postgres_url(variable: str, rest: str) -> str:
    try:
        parts = urlsplit(f"postgresql://{rest}")
        _ = parts.port
    except ValueError:
        raise SettingsError(f"{variable} must look like postgresql://user:password@host:5432/name.") from None
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in IGNORED]
    return parts._replace(query=urlencode(kept, safe="/")).geturl()


class _Connector:
    """The driver, made at the first call: listing tools loads no database library."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._driver: Driver | None = None

    def __call__(self) -> Driver:
        if self._driver is None:
            self._driver = self._made()
        return self._driver

    def _made(self) -> Driver:
        settings = self._settings
        if settings.url.startswith("sqlite"):
            from motet_servers.database.sqlite import BUSY, SqliteDriver

            path = unquote(settings.url.removeprefix("sqlite:///").partition("?")[0])
            return SqliteDriver(Path(path), busy=min(BUSY, settings.limits.timeout))
        from motet_servers.database.postgres import PostgresDriver

        read = settings.read_url or settings.url
        return PostgresDriver(settings.url, read, allow_superuser=settings.allow_superuser)

    async def aclose(self) -> None:
        """Close its connections."""
        if self._driver is not None:
            await self._driver.close()


def database_server(settings: Settings) -> DomainServer:
    """A server over one database. Nothing is connected until the first call."""
    driver = _Connector(settings)

    server = DomainServer(
        "database-mcp-server",
        version="1.0.0",
        description="One SQL database: its schema, queries that only read, changes in one transaction.",
        capabilities={"tools": {}, "resources": {}},
        domain="database",
        uris=["db://**"],
        open_world=False,
        secrets=settings.secrets,
        lifespan=closing(driver),
    )
    _schema_tools(server, driver)
    _reading_tools(server, driver, settings)
    if not settings.read_only:
        _writing_tools(server, driver, settings)
    _resources(server, driver, settings)
    return server


async def _tables(driver: _Connector, prefix: str, cursor: str | None) -> model.Tables:
    from motet_servers.database import schema

    start = paging.offset(cursor)
    found = [table for table in await driver().inspect(schema.tables) if table.name.startswith(prefix)]
    more = paging.encode({"offset": start + PAGE}) if len(found) > start + PAGE else None
    return model.Tables(found[start : start + PAGE], more)


async def _describe(driver: _Connector, table: str, schema_name: str | None) -> model.Description:
    from motet_servers.database import schema

    return await driver().inspect(schema.describe(table, schema_name))


async def _read(
    driver: _Connector,
    settings: Settings,
    wanted: sql.Statement,
    given: Parameters,
    most: int | None,
    cursor: str | None,
) -> model.Rows:
    _check(wanted, given)
    skip = paging.offset(cursor)
    rows = min(most or settings.limits.rows, settings.limits.rows)
    limits = replace(settings.limits, rows=rows)
    if skip > MOST_SKIPPED:
        raise InvalidInput("cursor is not one this server gave; leave it out to start at the beginning.")
    async with ticking("seconds: the database is at work"):
        page = await driver().read(wanted, given, skip=skip, limits=limits)
    return replace(page, next_cursor=paging.encode({"offset": skip + page.row_count}) if page.truncated else None)


def _schema_tools(server: DomainServer, driver: _Connector) -> None:
    @server.tool(retry="safe", title="List tables")
    async def list_tables(
        prefix: Annotated[str, Field(max_length=300, description="Only names that begin like this.")] = "",
        cursor: Cursor = None,
    ) -> model.Tables:
        """The tables and views, by schema and name."""
        return await _tables(driver, prefix, cursor)

    @server.tool(retry="safe", title="Describe a table")
    async def describe_table(
        table: Annotated[Name, Field(description="`name` or `schema.name`.")],
        schema_name: Annotated[Name | None, Field(description="The schema, if it is not the default one.")] = None,
    ) -> model.Description:
        """Columns, keys and indexes of a table or view."""
        return await _describe(driver, table, schema_name)


def _reading_tools(server: DomainServer, driver: _Connector, settings: Settings) -> None:
    queries = settings.queries

    @server.tool(retry="safe", title="Query")
    async def query(
        sql: Sql, parameters: Given | None = None, limit: Most | None = None, cursor: Cursor = None
    ) -> model.Rows:
        """Run one statement that reads. It cannot write, whatever it says; use `execute` for that."""
        return await _read(driver, settings, _statement(sql), parameters or {}, limit, cursor)

    @server.tool(retry="safe", title="Explain a query")
    async def explain(sql: Sql, parameters: Given | None = None, *, analyze: bool = False) -> model.QueryPlan:
        """How the database would run a query; with `analyze` it runs it, read-only, and measures."""
        wanted = _statement(sql)
        _check(wanted, parameters or {})
        async with ticking("seconds: the database is at work"):
            lines = await driver().explain(wanted, parameters or {}, analyze=analyze, limits=settings.limits)
        return model.QueryPlan(driver().dialect, lines)

    if not queries:
        return

    @server.tool(retry="safe", title="List named queries")
    async def list_queries() -> model.NamedQueries:
        """The queries the operator prepared, with their parameters."""
        return _named(queries)

    @server.tool(retry="safe", title="Run a named query")
    async def run_query(
        name: Name, parameters: Given | None = None, limit: Most | None = None, cursor: Cursor = None
    ) -> model.Rows:
        """Run a prepared query by its name."""
        return await _read(driver, settings, _prepared(queries, name).statement, parameters or {}, limit, cursor)


def _writing_tools(server: DomainServer, driver: _Connector, settings: Settings) -> None:
    @server.tool(retry="keyed", destructive=True, title="Execute")
    async def execute(sql: Sql, parameters: Given | None = None, idempotency_key: Idempotency = None) -> model.Executed:
        """Run one statement that changes data or schema, as a transaction of its own; RETURNING gives rows."""
        written = await _write(driver, settings, "execute", [(sql, parameters or {})], idempotency_key)
        effect = written.effects[0]
        return model.Executed(effect.rows_affected, effect.columns, effect.rows, effect.truncated, written.repeated)

    @server.tool(retry="keyed", destructive=True, title="Execute a batch")
    async def execute_batch(
        statements: Annotated[list[BatchStatement], Field(min_length=1, max_length=MOST_STATEMENTS)],
        idempotency_key: Idempotency = None,
    ) -> model.ExecutedBatch:
        """Run several statements in one transaction: all of them take effect, or none."""
        batch = [(each.sql, each.parameters) for each in statements]
        written = await _write(driver, settings, "execute_batch", batch, idempotency_key)
        total = sum(effect.rows_affected for effect in written.effects)
        return model.ExecutedBatch(written.effects, total, written.repeated)


async def _write(
    driver: _Connector, settings: Settings, tool: str, batch: list[tuple[str, dict[str, Any]]], key: str | None
) -> Written:
    statements: list[tuple[sql.Statement, Parameters]] = []
    for number, (text, given) in enumerate(batch, start=1):
        try:
            wanted = sql.writable(text)
            _check(wanted, given)
        except InvalidInput as error:
            raise InvalidInput(f"statement {number}: {error}" if len(batch) > 1 else str(error)) from None
        statements.append((wanted, given))
    stored = None
    if idempotency.checked(key) is not None and key is not None:
        stored = Key(idempotency.mark("database", tool, key), idempotency.fingerprint(batch))
    async with ticking("seconds: the database is at work"):
        return await driver().write(statements, key=stored, limits=settings.limits)


def _statement(text: str) -> sql.Statement:
    return sql.statement(text)


def _check(wanted: sql.Statement, given: Parameters) -> None:
    sql.check_parameters(wanted, dict(given))
    text = json.dumps([wanted.text, given], ensure_ascii=False)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInput("sql or a parameter holds half a character (a lone surrogate).") from None
    if len(text) - len(wanted.text) > MOST_GIVEN:
        raise TooLarge(f"the parameters are over {MOST_GIVEN:,} characters; nothing was sent.")


def _prepared(queries: Mapping[str, named.Prepared], name: str) -> named.Prepared:
    if name not in queries:
        raise NotFound(f"there is no named query {name!r}; there are: {', '.join(sorted(queries)) or 'none'}.")
    return queries[name]


def _named(queries: Mapping[str, named.Prepared]) -> model.NamedQueries:
    return model.NamedQueries(
        [
            model.NamedQuery(
                each.name,
                each.description,
                list(each.statement.names),
                each.statement.text,
                f"db://queries/{each.name}",
            )
            for each in queries.values()
        ]
    )


def _resources(server: DomainServer, driver: _Connector, settings: Settings) -> None:
    @server.resource("db://tables{?cursor}", name="tables", mime_type=JSON)
    async def tables_page(cursor: Cursor = None) -> ResourceResult:
        """The tables and views, a page at a time."""
        return as_json(await _tables(driver, "", cursor))

    @server.resource("db://tables/{table}", mime_type=JSON)
    async def table(table: Name) -> ResourceResult:
        """A table's columns, keys and indexes; `name` or `schema.name`."""
        return as_json(await _describe(driver, table, None))

    @server.resource("db://tables/{table}/rows{?cursor}", mime_type=JSON)
    async def rows(table: Name, cursor: Cursor = None) -> ResourceResult:
        """A table's rows in the order of its primary key, a page at a time."""
        from motet_servers.database import schema

        wanted = sql.statement(await driver().inspect(schema.rows_of(table)))
        return as_json(await _read(driver, settings, wanted, {}, None, cursor))

    @server.resource("db://queries/{name}{?cursor}", mime_type=JSON)
    async def named_rows(name: Name, cursor: Cursor = None) -> ResourceResult:
        """The rows of a named query that has no parameters."""
        prepared = _prepared(settings.queries, name)
        return as_json(await _read(driver, settings, prepared.statement, {}, None, cursor))
