"""PostgreSQL: a role, a read-only transaction and a cursor lock what reads.

The role is `DATABASE_READ_URL`'s, or one that is no superuser. The transaction is always rolled back. Exactly one
statement is prepared, as the query of a cursor, which takes SELECT and VALUES only (no data-modifying CTE, no COPY, no
SET, no CALL). Why prepared: in a read-only transaction the simple protocol runs `select 1; commit; insert …` whole.
The cursor's query measures its rows on the server, and of those beyond the cap sends nothing but that they are.

A cancelled call cancels the statement on the server (asyncpg sends the cancel request); `statement_timeout` bounds it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Literal, Protocol, TypeVar, cast

import anyio
import asyncpg  # pyright: ignore[reportMissingTypeStubs] - the parts in use are typed below
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from motet_servers.database.driver import INSPECT_WITHIN, KEY_TABLE, Key, Parameters, Written
from motet_servers.database.limits import Collector, Limits, plan
from motet_servers.database.model import Effect, Rows
from motet_servers.database.sql import Statement, positional
from motet_servers.database.values import for_postgres
from motet_servers.kit.errors import (
    Conflict,
    DomainError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    Refused,
    TooLarge,
    Unavailable,
)

T = TypeVar("T")
CHUNK = 200
CONNECT_WITHIN = 10.0
CLEAN_WITHIN = 5.0
CURSOR = "motet_rows"
ROOM = 4
"""A row's text, which the server measures, may be so many times as long as what JSON makes of it."""
UNNULLABLE = frozenset({"void", "record"})
"""Types that no CASE takes."""
UNREADABLE = frozenset({"aclitem", "aclitem[]"})
"""Types without a binary form; their text is read instead."""
MAKE_KEY_TABLE = (
    f"CREATE TABLE IF NOT EXISTS {KEY_TABLE} (mark text PRIMARY KEY, fingerprint text NOT NULL, answer text, "
    "at timestamptz NOT NULL DEFAULT now())"
)
POWERS = """
select rolsuper
    or pg_has_role(current_user, 'pg_execute_server_program', 'member')
    or pg_has_role(current_user, 'pg_write_server_files', 'member')
    or pg_has_role(current_user, 'pg_read_server_files', 'member')
from pg_roles where rolname = current_user
"""


class Named(Protocol):
    """The type of a column or placeholder."""

    name: str


class Column(Protocol):
    """A column."""

    name: str
    type: Named


class Prepared(Protocol):
    """What is used of asyncpg's prepared statement."""

    def get_parameters(self) -> Sequence[Named]: ...

    def get_attributes(self) -> Sequence[Column]: ...

    def get_statusmsg(self) -> str: ...

    async def fetch(self, *values: Any) -> list[Sequence[Any]]: ...

    def cursor(self, *values: Any, prefetch: int) -> AsyncIterable[Sequence[Any]]: ...


class Transaction(Protocol):
    """What is used of asyncpg's transaction."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def start(self) -> None: ...

    async def rollback(self) -> None: ...


class Raw(Protocol):
    """What is used of asyncpg's connection."""

    async def prepare(self, query: str) -> Prepared: ...

    async def execute(self, query: str, *values: Any) -> str: ...

    async def fetchval(self, query: str, *values: Any) -> Any: ...

    async def fetchrow(self, query: str, *values: Any) -> Mapping[str, Any] | None: ...

    def transaction(self, *, isolation: str | None = None, readonly: bool = False) -> Transaction: ...

    async def reset(self) -> None: ...

    def is_closed(self) -> bool: ...


class PostgresDriver:
    """One PostgreSQL database, through one role or two."""

    dialect: Literal["sqlite", "postgresql"] = "postgresql"

    def __init__(self, url: str, read_url: str, *, allow_superuser: bool = False) -> None:
        self._writing = _engine(url)
        self._reading = self._writing if read_url == url else _engine(read_url)
        self._role_checked = allow_superuser

    async def read(self, wanted: Statement, parameters: Parameters, *, skip: int, limits: Limits) -> Rows:
        async with self._read_only(limits) as raw:
            text = positional(wanted)
            columns = (await raw.prepare(text)).get_attributes()
            if not columns:
                raise InvalidInput("this statement gives no rows; query is for reading.")
            query = measured(text, columns, skip=skip, limits=limits)
            declared = await raw.prepare(f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {query}")
            await declared.fetch(*_bound(declared, wanted, parameters))
            page = await raw.prepare(f"FETCH FORWARD {CHUNK} FROM {CURSOR}")
            collector = Collector([column.name for column in columns], limits)
            while not collector.truncated and (chunk := await page.fetch()):
                _collect(chunk, collector, limits)
            return Rows(collector.columns, collector.rows, len(collector.rows), collector.truncated, None)

    async def explain(self, wanted: Statement, parameters: Parameters, *, analyze: bool, limits: Limits) -> list[str]:
        async with self._read_only(limits) as raw:
            text = positional(wanted)
            if analyze:  # it runs: only what a cursor takes
                await raw.prepare(f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {text}")
            prepared = await raw.prepare(f"EXPLAIN ({'ANALYZE, BUFFERS' if analyze else 'COSTS'}) {text}")
            return plan((line for (line,) in await prepared.fetch(*_bound(prepared, wanted, parameters))), limits)

    async def write(self, batch: Sequence[tuple[Statement, Parameters]], *, key: Key | None, limits: Limits) -> Written:
        async with self._raw(self._writing, writes=True) as raw, raw.transaction():
            await _bounded(raw, limits)
            if key is not None:
                remembered = await _remembered(raw, key)
                if remembered is not None:
                    return Written(remembered, repeated=True)
            effects = [await _effect(raw, wanted, given, limits) for wanted, given in batch]
            if key is not None:
                answer = json.dumps([asdict(effect) for effect in effects])
                await raw.execute(f"UPDATE {KEY_TABLE} SET answer = $2 WHERE mark = $1", key.mark, answer)
            return Written(effects, repeated=False)

    async def inspect(self, look: Callable[[Connection], T]) -> T:
        try:
            async with asyncio.timeout(INSPECT_WITHIN), self._reading.connect() as connection:
                return await connection.run_sync(look)
        except UNREACHABLE as error:
            raise _unreachable(error) from error

    async def close(self) -> None:
        await self._reading.dispose()
        await self._writing.dispose()

    @asynccontextmanager
    async def _read_only(self, limits: Limits) -> AsyncGenerator[Raw]:
        async with self._raw(self._reading, writes=False) as raw:
            if not self._role_checked:
                await self._check_role(raw)
            transaction = raw.transaction(isolation="repeatable_read", readonly=True)
            await transaction.start()
            try:
                await _bounded(raw, limits)
                yield raw
            finally:
                with anyio.move_on_after(CLEAN_WITHIN, shield=True):  # also when the call was cancelled
                    await transaction.rollback()

    async def _check_role(self, raw: Raw) -> None:
        if await raw.fetchval(POWERS):
            raise Refused(
                "this role can reach beyond the database (superuser or server files), and no read-only lock holds it. "
                "Set DATABASE_READ_URL to a role that only reads, or DATABASE_ALLOW_SUPERUSER=1 to accept it."
            )
        self._role_checked = True

    @asynccontextmanager
    async def _raw(self, engine: AsyncEngine, *, writes: bool) -> AsyncGenerator[Raw]:
        """A pooled connection of the driver's own kind, its errors told."""
        try:
            pooled = await engine.connect()
        except UNREACHABLE as error:
            raise _unreachable(error) from error
        raw = cast("Raw", (await pooled.get_raw_connection()).driver_connection)
        try:
            yield raw
        except UNDECODABLE as error:
            raise InvalidInput(
                f"this client cannot read such a value ({str(error)[:200]}); cast the column to text (`x::text`)."
            ) from error
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
            lost = OutcomeUnknown if writes else Unavailable
            remedy = ": look whether it happened, or repeat it with the same idempotency_key." if writes else "."
            raise lost(f"the connection to the database was lost ({type(error).__name__}){remedy}") from error
        except asyncpg.PostgresError as error:
            raise explained(error) from error
        finally:
            with anyio.move_on_after(CLEAN_WITHIN, shield=True):
                if not await _clean(raw):
                    await pooled.invalidate()
                await pooled.close()


UNREACHABLE = (DBAPIError, OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError)
UNDECODABLE = (asyncpg.UnsupportedClientFeatureError, asyncpg.InternalClientError, BufferError)


def measured(text: str, columns: Sequence[Column], *, skip: int, limits: Limits) -> str:
    """The query with its rows' running size as a last column, and with nothing else in the rows that are beyond it.

    So a row that will not be shown is not sent, however large. The rows keep their order: nothing here sorts.
    """
    names = [f"c{number}" for number in range(1, len(columns) + 1)]
    most = limits.bytes * ROOM
    cells = [_cell(name, column.type.name, most) for name, column in zip(names, columns, strict=True)]
    return (
        f"SELECT {', '.join(cells)}, measured.size FROM ("
        "SELECT asked.*, sum(octet_length(asked::text)) OVER (ROWS UNBOUNDED PRECEDING) AS size FROM ("
        f"SELECT * FROM (\n{text}\n) AS named ({', '.join(names)}) OFFSET {skip:d} LIMIT {limits.rows + 1:d}"
        ") AS asked) AS measured"
    )


def _cell(name: str, kind: str, most: int) -> str:
    if kind in UNNULLABLE:
        return f"measured.{name}"
    value = f"measured.{name}::text" if kind in UNREADABLE else f"measured.{name}"
    return f"CASE WHEN measured.size <= {most:d} THEN {value} END"


def _collect(chunk: Sequence[Sequence[Any]], collector: Collector, limits: Limits) -> None:
    for row in chunk:
        *values, size = tuple(row)
        if size > limits.bytes * ROOM and len(collector.rows) < limits.rows:
            collector.end()
        if collector.truncated or not collector.add(values):
            return


async def _clean(raw: Raw) -> bool:
    """Undo what a statement set for its session (settings, advisory locks); False when the connection is of no use."""
    try:
        if not raw.is_closed():
            await raw.reset()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return False
    return not raw.is_closed()


def _engine(url: str) -> AsyncEngine:
    """An engine whose connections asyncpg makes from the URL itself: it knows its parameters, such as `sslmode`."""
    settings = {"application_name": "motet-server-database"}

    async def connect() -> Any:
        driver = cast("Any", asyncpg)  # untyped there
        return await driver.connect(dsn=url, timeout=CONNECT_WITHIN, server_settings=settings)

    return create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, pool_size=4, max_overflow=4, pool_pre_ping=True
    )


async def _bounded(raw: Raw, limits: Limits) -> None:
    await raw.execute(f"SET LOCAL statement_timeout = {int(limits.timeout * 1000):d}")
    await raw.execute(f"SET LOCAL idle_in_transaction_session_timeout = {int(limits.timeout * 1000) + 10_000:d}")


def _bound(prepared: Prepared, wanted: Statement, parameters: Parameters) -> list[Any]:
    kinds = [kind.name for kind in prepared.get_parameters()]
    return [for_postgres(name, parameters[name], kind) for name, kind in zip(wanted.names, kinds, strict=True)]


async def _effect(raw: Raw, wanted: Statement, given: Parameters, limits: Limits) -> Effect:
    prepared = await raw.prepare(positional(wanted))
    collector = Collector([column.name for column in prepared.get_attributes()], limits)
    values = _bound(prepared, wanted, given)
    if not collector.columns:
        await prepared.fetch(*values)
        return Effect(_counted(prepared.get_statusmsg()), [], [], truncated=False)
    count = 0
    async for row in prepared.cursor(*values, prefetch=CHUNK):
        count += 1
        if not collector.truncated:
            collector.add(tuple(row))
    affected = 0 if wanted.word in {"select", "values"} else count
    return Effect(affected, collector.columns, collector.rows, collector.truncated)


def _counted(tag: str) -> int:
    """The number in a command tag such as `INSERT 0 3`."""
    last = tag.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0


async def _remembered(raw: Raw, key: Key) -> list[Effect] | None:
    """The answer of an earlier call with this key; otherwise the key is taken, in this transaction.

    A concurrent call with the same key waits here until the first one has committed or given up.
    """
    if await raw.fetchval("SELECT to_regclass($1)", KEY_TABLE) is None:
        await raw.execute("SELECT pg_advisory_xact_lock(hashtext($1))", KEY_TABLE)
        try:
            await raw.execute(MAKE_KEY_TABLE)
        except asyncpg.InsufficientPrivilegeError:
            raise Refused(
                "idempotency keys are kept in a table that this role may not create; nothing was done. "
                f"Create it once for the role ({MAKE_KEY_TABLE}), or leave the key out."
            ) from None
    taken = await raw.fetchval(
        f"INSERT INTO {KEY_TABLE} (mark, fingerprint) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true",
        key.mark,
        key.fingerprint,
    )
    if taken:
        return None
    row = await raw.fetchrow(f"SELECT fingerprint, answer FROM {KEY_TABLE} WHERE mark = $1", key.mark)
    if row is None or row["fingerprint"] != key.fingerprint:
        raise Conflict("this idempotency_key was used with another statement; take a new one.")
    return [Effect(**effect) for effect in json.loads(row["answer"])]


def _unreachable(error: BaseException) -> DomainError:
    cause: BaseException = error
    while not isinstance(cause, asyncpg.PostgresError | OSError | ValueError):
        inner = getattr(cause, "orig", None) or cause.__cause__
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if isinstance(cause, asyncpg.InvalidAuthorizationSpecificationError):
        return Refused("the database refused the role or its password; check DATABASE_URL and DATABASE_READ_URL.")
    if isinstance(cause, asyncpg.PostgresError):
        return Unavailable(f"the database refused the connection: {cause}; nothing was sent.")
    if isinstance(cause, ValueError):
        return Refused(f"DATABASE_URL cannot be used: {cause}; nothing was sent.")
    return Unavailable(f"the database cannot be reached ({type(cause).__name__}); nothing was sent.")


def explained(error: asyncpg.PostgresError) -> DomainError:
    """What an error of PostgreSQL means for the caller (by SQLSTATE class)."""
    text = str(error).rstrip(".")
    hint = getattr(error, "hint", None)
    told = f"{text}. {hint}" if hint else f"{text}."
    state: str = getattr(error, "sqlstate", None) or ""
    match state:
        case "25006" | "42501":
            return Refused(f"not allowed here: {told}")
        case "57014":
            return TooLarge(f"the statement was ended: {told}")
        case "42P01" | "3F000":
            return NotFound(told)
        case "55P03" | "40P01" | "40001" | "53300" | "57P03":
            return Unavailable(f"{told} Nothing was changed; try again.")
        case _ if state.startswith("23"):
            return Conflict(f"{told} Nothing was changed.")
        case _ if state.startswith(("53", "54")):
            return TooLarge(told)
        case _ if state.startswith(("08", "57")):
            return Unavailable(told)
        case _:
            return InvalidInput(told)
