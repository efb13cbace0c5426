"""SQLite: the file is opened read-only, and two more locks hold a reading connection.

The locks: `mode=ro`, `PRAGMA query_only`, and an authorizer that refuses everything but reading. Writing connections
may not attach files, change pragmas or load code. Each call has a connection and a thread of its own, in which SQLite
asks every few thousand steps whether the call is over (`sqlite3_progress_handler`): a deadline or a cancelled call
ends the statement wherever it is, and what it had begun is rolled back.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import aiosqlite
from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from motet_servers.database.driver import INSPECT_WITHIN, KEY_TABLE, Key, Parameters, Written
from motet_servers.database.limits import Collector, Limits, plan
from motet_servers.database.model import Effect, Rows
from motet_servers.database.sql import Statement
from motet_servers.database.values import for_sqlite
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, Refused, TooLarge, Unavailable
from motet_servers.kit.threads import Stop, in_thread

T = TypeVar("T")
CHUNK = 200
STEPS = 10_000
"""Instructions of SQLite's machine between two looks whether the call is over: under a millisecond."""
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
        self._busy = busy
        self._uri = "file:" + quote(str(path.absolute()))
        self._inspecting = _engine(f"{self._uri}?mode=ro", busy)

    async def read(self, wanted: Statement, parameters: Parameters, *, skip: int, limits: Limits) -> Rows:
        def work(connection: sqlite3.Connection) -> Rows:
            taking = _Taking(skip, limits)
            connection.row_factory = taking
            with closing(connection.execute(wanted.text, _bound(parameters))) as cursor:
                if cursor.description is None:
                    raise InvalidInput("this statement gives no rows; query is for reading.")
                with suppress(_Full):
                    while cursor.fetchmany(CHUNK):
                        """Each row is taken as it comes."""
                return taking.rows(cursor)

        return await self._work(work, limits, mode="ro")

    async def explain(self, wanted: Statement, parameters: Parameters, *, analyze: bool, limits: Limits) -> list[str]:
        if analyze:
            raise InvalidInput("SQLite has no EXPLAIN ANALYZE; leave analyze out.")

        def work(connection: sqlite3.Connection) -> list[str]:
            depth: dict[int, int] = {0: -1}
            lines: list[str] = []
            for number, parent, _, detail in connection.execute(
                f"EXPLAIN QUERY PLAN {wanted.text}", _bound(parameters)
            ):
                depth[number] = depth.get(parent, -1) + 1
                lines.append("  " * depth[number] + detail)
            return plan(lines, limits)

        return await self._work(work, limits, mode="ro")

    async def write(self, batch: Sequence[tuple[Statement, Parameters]], *, key: Key | None, limits: Limits) -> Written:
        def work(connection: sqlite3.Connection) -> Written:
            connection.execute("BEGIN IMMEDIATE")
            try:
                remembered = None if key is None else _remembered(connection, key)
                if remembered is not None:
                    return Written(remembered, repeated=True)
                connection.set_authorizer(may_write)
                effects = [_effect(connection, wanted, given, limits) for wanted, given in batch]
                connection.set_authorizer(None)
                if key is not None:
                    answer = json.dumps([asdict(effect) for effect in effects])
                    connection.execute(
                        f"INSERT INTO {KEY_TABLE} (mark, fingerprint, answer) VALUES (?, ?, ?)",
                        (key.mark, key.fingerprint, answer),
                    )
                connection.execute("COMMIT")
            finally:
                connection.set_authorizer(None)
                connection.set_progress_handler(None, STEPS)
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return Written(effects, repeated=False)

        return await self._work(work, limits, mode="rw")

    async def inspect(self, look: Callable[[Connection], T]) -> T:
        self._there()
        try:
            async with asyncio.timeout(INSPECT_WITHIN), self._inspecting.connect() as connection:
                return await connection.run_sync(look)
        except DBAPIError as error:
            raise explained(error.orig if isinstance(error.orig, sqlite3.Error) else sqlite3.Error(error)) from error
        except TimeoutError:
            raise Unavailable(f"the schema could not be read within {INSPECT_WITHIN:g} s; try again.") from None

    async def close(self) -> None:
        await self._inspecting.dispose()

    async def _work(self, work: Callable[[sqlite3.Connection], T], limits: Limits, *, mode: Literal["ro", "rw"]) -> T:
        """Do it with a connection and a thread of its own, which end with the deadline or the call; errors told."""
        self._there()
        factory = ReadingConnection if mode == "ro" else WritingConnection

        def run(stop: Stop) -> T:
            until = time.monotonic() + limits.timeout
            uri = f"{self._uri}?mode={mode}"
            try:
                with closing(
                    sqlite3.connect(uri, uri=True, factory=factory, isolation_level=None, timeout=self._busy)
                ) as connection:
                    connection.set_progress_handler(lambda: stop() or time.monotonic() > until, STEPS)
                    return work(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname == "SQLITE_INTERRUPT":
                    raise TooLarge(f"the statement took over {limits.timeout:g} s and was ended.") from None
                raise

        try:
            return await in_thread(run)
        except sqlite3.Error as error:
            raise explained(error) from error
        except OverflowError:
            raise InvalidInput("a number is over 64 bits, more than SQLite has; give it as text.") from None

    def _there(self) -> None:
        if not self._path.exists():
            raise Unavailable(
                f"the database file {self._path.name} does not exist; create it (an empty file will do), "
                "or set DATABASE_URL to where it is."
            )


def _engine(uri: str, busy: float) -> AsyncEngine:
    async def connect() -> aiosqlite.Connection:
        return await aiosqlite.connect(uri, uri=True, factory=ReadingConnection, isolation_level=None, timeout=busy)

    return create_async_engine("sqlite+aiosqlite://", async_creator=connect, poolclass=NullPool)


def _bound(parameters: Parameters) -> dict[str, Any]:
    return {name: for_sqlite(value) for name, value in parameters.items()}


def _remembered(connection: sqlite3.Connection, key: Key) -> list[Effect] | None:
    """The answer of an earlier call with this key."""
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {KEY_TABLE} (mark TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, "
        "answer TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    found = connection.execute(f"SELECT fingerprint, answer FROM {KEY_TABLE} WHERE mark = ?", (key.mark,)).fetchone()
    if found is None:
        return None
    if found[0] != key.fingerprint:
        raise Conflict("this idempotency_key was used with another statement; take a new one.")
    return [Effect(**effect) for effect in json.loads(found[1])]


class _Full(Exception):
    """No more rows are wanted."""


class _Taking:
    """Takes rows in SQLite's own thread as they are read, so that no row is held beyond the cap.

    It is what makes a row (`row_factory`). With `all_of_them`, rows beyond the cap are still stepped through, as a
    statement that writes needs it to finish.
    """

    def __init__(self, skip: int, limits: Limits, *, all_of_them: bool = False) -> None:
        self._skip = skip
        self._limits = limits
        self._all = all_of_them
        self._collector: Collector | None = None

    def __call__(self, cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> bool:
        if self._skip:
            self._skip -= 1
            return True
        if self._collector is None:
            self._collector = Collector(_columns(cursor), self._limits)
        if not (self._collector.truncated or self._collector.add(row)) and not self._all:
            raise _Full
        return True

    def rows(self, cursor: sqlite3.Cursor) -> Rows:
        """What was taken."""
        taken = self._collector or Collector(_columns(cursor), self._limits)
        return Rows(taken.columns, taken.rows, len(taken.rows), truncated=taken.truncated, next_cursor=None)


def _columns(cursor: sqlite3.Cursor) -> list[str]:
    return [column[0] for column in cursor.description]


def _effect(connection: sqlite3.Connection, wanted: Statement, given: Parameters, limits: Limits) -> Effect:
    taking = _Taking(0, limits, all_of_them=True)
    connection.row_factory = taking
    try:
        with closing(connection.execute(wanted.text, _bound(given))) as cursor:
            if cursor.description is None:
                return Effect(max(cursor.rowcount, 0), [], [], truncated=False)
            while cursor.fetchmany(CHUNK):
                """Each row is taken as it comes; the statement is done when there are no more."""
            rows = taking.rows(cursor)
            return Effect(max(cursor.rowcount, 0), rows.columns, rows.rows, rows.truncated)
    finally:
        connection.row_factory = None


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
