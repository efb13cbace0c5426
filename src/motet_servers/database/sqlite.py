"""SQLite: the file is opened read-only, and two more locks hold a reading connection.

The locks: `mode=ro`, `PRAGMA query_only`, and an authorizer that refuses everything but reading. Writing connections
may not attach files, change pragmas or load code. Statements run in a thread; a deadline or a cancelled call interrupts
them (`sqlite3_interrupt`).
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, NullPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from motet_servers.database.driver import KEY_TABLE, Key, Parameters, Written
from motet_servers.database.limits import Collector, Limits
from motet_servers.database.model import Effect, Rows
from motet_servers.database.sql import Statement
from motet_servers.database.values import for_sqlite
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, Refused, TooLarge, Unavailable

T = TypeVar("T")
CHUNK = 200
BUSY = 5.0
"""Seconds to wait for another writer."""
LONGEST_VALUE = 64 << 20

READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
SCHEMA_PRAGMAS = {
    "table_info",
    "table_xinfo",
    "table_list",
    "index_list",
    "index_info",
    "index_xinfo",
    "foreign_key_list",
    "database_list",
}
FORBIDDEN_FUNCTIONS = {"load_extension", "fts3_tokenizer", "writefile", "readfile", "edit"}
NEVER = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT}


def may_read(action: int, first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    """The authorizer of reading connections (https://sqlite.org/c3ref/set_authorizer.html)."""
    if action in READING or _harmless(action, first, second):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def may_write(action: int, first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    """The authorizer of writing connections: data and schema of this file, nothing around it."""
    if action in NEVER:
        return sqlite3.SQLITE_DENY
    if action in {sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_FUNCTION} and not _harmless(action, first, second):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _harmless(action: int, first: str | None, second: str | None) -> bool:
    if action == sqlite3.SQLITE_FUNCTION:
        return (second or "").lower() not in FORBIDDEN_FUNCTIONS
    if action != sqlite3.SQLITE_PRAGMA:
        return False
    name = (first or "").lower()
    return name in SCHEMA_PRAGMAS or (name == "read_uncommitted" and second is None)


class ReadingConnection(sqlite3.Connection):
    """Opened read-only by its URI, and locked twice more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        self.execute("PRAGMA query_only = ON")
        self.execute("PRAGMA trusted_schema = OFF")
        self.set_authorizer(may_read)


class WritingConnection(sqlite3.Connection):
    """Foreign keys are on; a commit is on disk."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        self.execute("PRAGMA foreign_keys = ON")
        self.execute("PRAGMA trusted_schema = OFF")
        self.execute("PRAGMA synchronous = FULL")


class SqliteDriver:
    """One SQLite file."""

    dialect: Literal["sqlite", "postgresql"] = "sqlite"

    def __init__(self, path: Path, *, busy: float = BUSY) -> None:
        """The file; another writer is waited for `busy` seconds."""
        self._path = path
        uri = "file:" + quote(str(path.absolute()))
        self._reading = _engine(uri + "?mode=ro", ReadingConnection, busy)
        self._writing = _engine(uri + "?mode=rw", WritingConnection, busy)

    async def read(self, wanted: Statement, parameters: Parameters, *, skip: int, limits: Limits) -> Rows:
        async with (
            self._connected(self._reading, limits) as connection,
            await connection.execute(wanted.text, _bound(parameters)) as cursor,
        ):
            return await _rows(cursor, skip, limits)

    async def explain(self, wanted: Statement, parameters: Parameters, *, analyze: bool, limits: Limits) -> list[str]:
        if analyze:
            raise InvalidInput("SQLite has no EXPLAIN ANALYZE; leave analyze out.")
        async with (
            self._connected(self._reading, limits) as connection,
            await connection.execute(f"EXPLAIN QUERY PLAN {wanted.text}", _bound(parameters)) as cursor,
        ):
            steps = list(await cursor.fetchall())
        depth: dict[int, int] = {0: -1}
        lines: list[str] = []
        for number, parent, _, detail in steps:
            depth[number] = depth.get(parent, -1) + 1
            lines.append("  " * depth[number] + detail)
        return lines

    async def write(self, batch: Sequence[tuple[Statement, Parameters]], *, key: Key | None, limits: Limits) -> Written:
        async with self._connected(self._writing, limits) as connection:
            await connection.execute("BEGIN IMMEDIATE")
            try:
                remembered = None if key is None else await self._remembered(connection, key)
                if remembered is not None:
                    return Written(remembered, repeated=True)
                await connection.set_authorizer(may_write)
                effects = [await _effect(connection, wanted, given, limits) for wanted, given in batch]
                await connection.set_authorizer(None)
                if key is not None:
                    answer = json.dumps([asdict(effect) for effect in effects])
                    await connection.execute(
                        f"INSERT INTO {KEY_TABLE} (mark, fingerprint, answer) VALUES (?, ?, ?)",
                        (key.mark, key.fingerprint, answer),
                    )
                await connection.execute("COMMIT")
            finally:
                await connection.set_authorizer(None)
                if connection.in_transaction:
                    await connection.execute("ROLLBACK")
        return Written(effects, repeated=False)

    async def _remembered(self, connection: aiosqlite.Connection, key: Key) -> list[Effect] | None:
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS {KEY_TABLE} (mark TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, "
            "answer TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        found = await connection.execute_fetchall(
            f"SELECT fingerprint, answer FROM {KEY_TABLE} WHERE mark = ?",
            (key.mark,),
        )
        for fingerprint, answer in found:
            if fingerprint != key.fingerprint:
                raise Conflict("this idempotency_key was used with another statement; take a new one.")
            return [Effect(**effect) for effect in json.loads(answer)]
        return None

    async def inspect(self, look: Callable[[Connection], T]) -> T:
        async with self._reading.connect() as connection:
            return await connection.run_sync(look)

    async def close(self) -> None:
        await self._reading.dispose()
        await self._writing.dispose()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine, limits: Limits) -> AsyncGenerator[aiosqlite.Connection]:
        """A raw connection whose statement ends with the deadline or with the call, its errors told."""
        if not self._path.exists():
            raise Unavailable(f"the database file {self._path.name} does not exist.")
        async with engine.connect() as pooled:
            raw = (await pooled.get_raw_connection()).driver_connection
            assert isinstance(raw, aiosqlite.Connection)
            try:
                async with asyncio.timeout(limits.timeout):
                    yield raw
            except TimeoutError:
                await raw.interrupt()
                raise TooLarge(f"the statement took over {limits.timeout:g} s and was ended.") from None
            except asyncio.CancelledError:
                await raw.interrupt()
                raise
            except sqlite3.Error as error:
                raise explained(error) from error


def _engine(uri: str, factory: type[sqlite3.Connection], busy: float) -> AsyncEngine:
    async def connect() -> aiosqlite.Connection:
        return await aiosqlite.connect(uri, uri=True, factory=factory, isolation_level=None, timeout=busy)

    return create_async_engine("sqlite+aiosqlite://", async_creator=connect, poolclass=NullPool)


def _bound(parameters: Parameters) -> dict[str, Any]:
    return {name: for_sqlite(value) for name, value in parameters.items()}


async def _rows(cursor: aiosqlite.Cursor, skip: int, limits: Limits) -> Rows:
    columns = _columns(cursor)
    if not columns:
        raise InvalidInput("this statement gives no rows; query is for reading.")
    collector = Collector(columns, limits)
    while chunk := list(await cursor.fetchmany(CHUNK)):
        for row in chunk[min(skip, len(chunk)) :]:
            if not collector.add(row):
                return Rows(collector.columns, collector.rows, len(collector.rows), truncated=True)
        skip = max(0, skip - len(chunk))
    return Rows(collector.columns, collector.rows, len(collector.rows), truncated=False)


def _columns(cursor: aiosqlite.Cursor) -> list[str]:
    """The columns' names; none when it gives no rows (`description` is None then, whatever its type says)."""
    return [column[0] for column in cursor.description or ()]


async def _effect(connection: aiosqlite.Connection, wanted: Statement, given: Parameters, limits: Limits) -> Effect:
    async with await connection.execute(wanted.text, _bound(given)) as cursor:
        if not _columns(cursor):
            return Effect(max(cursor.rowcount, 0))
        rows = await _rows(cursor, 0, limits)
        while await cursor.fetchmany(CHUNK):
            """Rows beyond the cap still have to be stepped through for the statement to finish."""
        return Effect(max(cursor.rowcount, 0), rows.columns, rows.rows, rows.truncated)


def explained(error: sqlite3.Error) -> DomainError:
    """What an error of SQLite means for the caller."""
    text = str(error)
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_AUTH") or "not authorized" in text or "prohibited" in text:
        return Refused(f"not allowed here: {text}. query only reads; execute changes data and schema, nothing else.")
    if name.startswith("SQLITE_READONLY"):
        return Refused(f"this connection only reads: {text}.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable("another writer holds the database; try again.")
    if name.startswith(("SQLITE_TOOBIG", "SQLITE_FULL", "SQLITE_NOMEM")):
        return TooLarge(f"{text}.")
    if name.startswith("SQLITE_CONSTRAINT"):
        return Conflict(f"{text}; nothing was changed.")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Unavailable(f"the database file cannot be used: {text}.")
    return InvalidInput(f"{text}.")
