"""A journal in one SQLite file: WAL, `synchronous=FULL`, one writer thread.

What arrives while a commit is on its way to the disk shares the next one. The file is the user's alone (mode 0600).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from motet.engine.store import tables
from motet.engine.store.sql import Nothing, Rows, Sql
from motet.errors import RunError


@dataclass(slots=True)
class _Job:
    statements: tuple[Sql, ...]
    writes: bool
    future: asyncio.Future[list[Rows]]
    loop: asyncio.AbstractEventLoop
    rows: list[Rows] | None = None
    error: Exception | None = None

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.rows or [])


def _settle(jobs: Sequence[_Job]) -> None:
    """Tell those who wait, of one event loop, with one call to it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, its in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever waited
            loop.call_soon_threadsafe(_settle_all, its)


def _settle_all(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        job.settle()


_GROUP = 256
"""Jobs that share one commit at most."""
_TROUBLE = (sqlite3.Error, OSError, ValueError, OverflowError)
"""What a statement may raise; the last two when a value is no text or number that a database holds."""
_GONE = "the file was moved, replaced or deleted"
_SQLITE_NOW = "((julianday('now') - 2440587.5) * 86400.0)"


class SqliteStore:
    """Journals in one file. Open it with `sqlite_store`."""

    def __init__(self, path: str, *, patience: float = 10.0) -> None:
        self.path = os.path.abspath(path)  # noqa: PTH100 - links stay links
        self._patience = patience
        """Seconds to wait for another process that holds the file."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] = (0, 0)
        """Which file of the disk it is: a path can lose its file while we still write to that."""
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Make the file if it is not there, and bring it up to date. Blocks shortly. Raises `RunError`."""
        try:
            self._prepare_file()
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=self._patience)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF"):
                self._db.execute(f"pragma {pragma}")
            self._migrate(self._db)
        except (sqlite3.Error, OSError) as error:
            raise self._trouble(error) from error
        self._thread = threading.Thread(target=self._work, name="motet-journal", daemon=True)
        self._thread.start()

    def _prepare_file(self) -> None:
        file = Path(self.path)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(handle, 0o600)
            self._file = _identity(os.fstat(handle))
        finally:
            os.close(handle)

    def _migrate(self, db: sqlite3.Connection) -> None:
        db.execute("begin immediate")
        try:
            found = int(db.execute("pragma user_version").fetchone()[0])
            for version, statement in tables.steps_from(found, self.path):
                db.execute(statement)
                db.execute(f"pragma user_version={version}")
        except BaseException:
            db.execute("rollback")
            raise
        db.execute("commit")

    async def close(self) -> None:
        """Finish what was given, and let go of the file."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._db is not None:
            self._db.close()
            self._db = None

    async def do(self, *statements: Sql) -> list[Rows]:
        """See `Store.do`."""
        return await self._give(statements, writes=True)

    async def read(self, statement: Sql) -> Rows:
        """See `Store.read`."""
        return (await self._give((statement,), writes=False))[0]

    async def compact(self) -> None:
        """See `Store.compact`."""
        await self._give((), writes=True)

    async def _give(self, statements: tuple[Sql, ...], *, writes: bool) -> list[Rows]:
        if self._thread is None:
            raise RunError(f"the journal {self.path} is closed")
        loop = asyncio.get_running_loop()
        job = _Job(statements, writes, loop.create_future(), loop)
        self._jobs.put(job)
        return await job.future

    # -- in the writer thread

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            jobs: list[_Job] = []
            while job is not None:
                jobs.append(job)
                if len(jobs) >= _GROUP or self._jobs.empty():
                    break
                job = self._jobs.get()
            if jobs:
                self._together(jobs)
            if job is None:
                return

    def _together(self, jobs: list[_Job]) -> None:
        db = self._db
        assert db is not None
        try:
            self._still_there()
            if not self._at_once(db, jobs):
                self._one_by_one(db, jobs)
            if not all(job.statements for job in jobs):
                self._compact(db)
        except _TROUBLE as error:
            if db.in_transaction:
                db.execute("rollback")
            for job in jobs:
                job.rows, job.error = None, self._trouble(error)
        _settle(jobs)

    def _at_once(self, db: sqlite3.Connection, jobs: list[_Job]) -> bool:
        """All jobs in one transaction; False, and nothing is done, when one of them fails."""
        db.execute(_begin(jobs))
        try:
            for job in jobs:
                job.rows = [_sqlite(db, sql) for sql in job.statements]
        except (Nothing, *_TROUBLE):
            if not db.in_transaction:
                raise  # the whole transaction is gone (disk full, corruption)
            db.execute("rollback")
            return False
        db.execute("commit")
        return True

    def _compact(self, db: sqlite3.Connection) -> None:
        """Writing it anew needs the file alone; where another process has it, its pages are only free."""
        with contextlib.suppress(sqlite3.OperationalError):
            db.execute("vacuum")
            db.execute("pragma wal_checkpoint(truncate)")

    def _one_by_one(self, db: sqlite3.Connection, jobs: list[_Job]) -> None:
        """All jobs in one transaction, of which each may fail for itself."""
        db.execute(_begin(jobs))
        for job in jobs:
            self._one(db, job)
        db.execute("commit")

    def _still_there(self) -> None:
        """Raises OSError when what we would write to is no longer what the next process will find."""
        try:
            found = _identity(os.stat(self.path))  # noqa: PTH116 - once per commit
        except FileNotFoundError:
            raise OSError(_GONE) from None
        if found != self._file:
            raise OSError(_GONE)

    def _one(self, db: sqlite3.Connection, job: _Job) -> None:
        db.execute("savepoint one")
        try:
            job.rows = [_sqlite(db, sql) for sql in job.statements]
            db.execute("release one")
        except (Nothing, *_TROUBLE) as error:
            if not db.in_transaction:
                raise  # the whole transaction is gone (disk full, corruption)
            db.execute("rollback to one")
            db.execute("release one")
            job.rows = None
            job.error = error if isinstance(error, Nothing) else self._trouble(error)

    def _trouble(self, error: Exception) -> RunError:
        hints = {
            "database is locked": "another process holds it: end that, or wait",
            "readonly": "make it writable for you",
            "Read-only": "make it writable for you",
            "full": "make room on the disk; the run goes on where it stopped",
            "malformed": "the file is damaged: `motet verify` says which runs are whole",
            "not a database": "this is no journal: name another file",
            _GONE: "put the file back; the run goes on where it stopped",
        }
        hint = next((text for word, text in hints.items() if word in str(error)), "")
        return RunError(f"the journal {self.path}: {error}", hint=hint)


def _begin(jobs: Sequence[_Job]) -> str:
    return "begin immediate" if any(job.writes for job in jobs) else "begin"


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _sqlite(db: sqlite3.Connection, sql: Sql) -> Rows:
    rows = db.execute(sql.text.replace("{now}", _SQLITE_NOW), tuple(sql.parameters)).fetchall()
    if sql.must and not rows:
        raise Nothing
    return rows


@asynccontextmanager
async def sqlite_store(path: str) -> AsyncGenerator[SqliteStore]:
    """The journal in that file. Raises `RunError` when it cannot be used."""
    store = SqliteStore(path)
    try:
        store.open()
        yield store
    finally:
        await store.close()
