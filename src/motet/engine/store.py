"""Where journals lie: one SQLite file, or PostgreSQL by URL. The same statements run on both.

SQLite: WAL, `synchronous=FULL`, one writer thread; what arrives while a commit is on its way to the disk shares the
next one. The file is the user's alone (mode 0600). PostgreSQL: `synchronous_commit=on`, a few connections. Leases go by
the database's clock. Whatever goes wrong below is a `RunError` that says what, and nothing of a failed `do` remains.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import re
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

from motet.errors import RunError

SCHEMA = 3
"""Of the tables. A newer one is refused, an older one is brought up to date on opening."""
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        (
            "create table run(id text primary key, workflow text not null, bundle text not null, status text not null,"
            " generation integer not null, rerun_of text, key text unique, created double precision not null,"
            " updated double precision not null, owner text, lease double precision not null, wake double precision,"
            " seq integer not null, head text not null, size bigint not null)"
        ),
        "create index run_due on run(status, wake)",
        (
            "create table entry(run text not null, seq integer not null, event text not null, act text not null,"
            " body text not null, hash text not null, primary key(run, seq))"
        ),
        (
            "create table inbox(id text primary key, run text not null, at double precision not null,"
            " body text not null, state text not null, note text not null)"
        ),
        "create index inbox_new on inbox(run, state)",
        "create table blob(run text not null, hash text not null, body text not null, primary key(run, hash))",
    ),
    2: (  # what a fleet needs to know of runs and of its workers
        "alter table run add column priority integer not null default 0",
        "alter table run add column speaks integer not null default 1",
        "alter table run add column needs text not null default '[]'",
        "alter table run add column deaths integer not null default 0",
        "alter table run add column parked text not null default ''",
        (
            "create table worker(id text primary key, host text not null, pid integer not null, release text not null,"
            " speaks text not null, servers text not null, started double precision not null,"
            " seen double precision not null, legs integer not null, room integer not null, draining integer not null)"
        ),
        "create table duty(name text primary key, at double precision not null)",
        (
            "create table schedule(name text primary key, workflow text not null, bundle text not null,"
            " cron text not null, zone text not null, inputs text not null, overlap text not null,"
            " catch_up text not null, priority integer not null, paused integer not null,"
            " next double precision not null, waiting double precision, last double precision, run text,"
            " missed integer not null, missed_at text not null, trouble text not null)"
        ),
        (
            "create table limits(name text primary key, concurrency integer not null, rate double precision not null,"
            " burst integer not null, tat double precision not null, locked bigint not null)"
        ),
        (
            "create table permit(name text not null, holder text not null, worker text not null,"
            " until double precision not null, primary key(name, holder))"
        ),
        (
            "create table ticket(name text not null, holder text not null, at double precision not null,"
            " until double precision not null, primary key(name, holder))"
        ),
    ),
    3: (  # each worker says after which silence it is to be taken for dead
        "alter table worker add column stall double precision not null default 15",
    ),
}
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
            for version, statement in _steps_from(found, self.path):
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


def _steps_from(found: int, where: str) -> list[tuple[int, str]]:
    if found > SCHEMA:
        raise RunError(
            f"the journal {where} has schema {found}; this motet knows {SCHEMA}", hint="use the motet that wrote it"
        )
    return [(version, text) for version in range(found + 1, SCHEMA + 1) for text in MIGRATIONS[version]]


@asynccontextmanager
async def sqlite_store(path: str) -> AsyncGenerator[SqliteStore]:
    """The journal in that file. Raises `RunError` when it cannot be used."""
    store = SqliteStore(path)
    try:
        store.open()
        yield store
    finally:
        await store.close()


_POSTGRES_NOW = "extract(epoch from clock_timestamp())::double precision"


PATIENCE = 10.0
"""Seconds to go on trying to reach PostgreSQL, and that one transaction may take."""
KEEPALIVE: Final[Mapping[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "tcp_user_timeout": 10_000,
}
"""How soon a connection that nobody answers on is given up, where it is one over the network."""
_SESSION: Final = (
    "set synchronous_commit = on",
    "set idle_in_transaction_session_timeout = '5s'",
    "set tcp_keepalives_idle = 5",
    "set tcp_keepalives_interval = 2",
    "set tcp_keepalives_count = 3",
    "set tcp_user_timeout = 10000",
)
"""How soon PostgreSQL gives up a client: one that is stopped or cut off in the middle of a transaction must not keep
its locks, or nobody else could take up its run."""


async def settle_session(connection: Any) -> None:
    """Make a new connection to PostgreSQL one that can be trusted with a journal, and that commits by itself."""
    await connection.set_autocommit(True)
    for setting in _SESSION:
        await connection.execute(setting)


class Unreachable(RunError):
    """The database does not answer. `doubtful`: it may have done what was asked nevertheless."""

    def __init__(self, message: str, *, doubtful: bool = False) -> None:
        super().__init__(message, hint="is it running, and can it be reached from here?")
        self.doubtful = doubtful


class PostgresStore:
    """Journals in PostgreSQL. Open it with `postgres_store`. A restart of the server is waited for, within bounds."""

    def __init__(self, url: str, connections: int = 4) -> None:
        self._url = url
        self._hidden: Callable[[str], str] = str
        self._free: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        self._size = connections

    async def open(self) -> None:
        """Connect, and bring the tables up to date. Raises `RunError`."""
        try:
            import psycopg
        except ModuleNotFoundError as error:
            raise RunError(
                f"PostgreSQL needs {error.name}, which is not installed", hint="pip install 'motet[postgres]'"
            ) from None
        self._hidden = hide_password(self._url)
        try:
            for _ in range(self._size):
                self._free.put_nowait(await self._connect())
            await self._migrate()
        except psycopg.Error as error:
            raise self._trouble(error) from error

    async def _connect(self) -> Any:
        import psycopg

        connection = await psycopg.AsyncConnection.connect(self._url, **KEEPALIVE)
        try:
            await settle_session(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _migrate(self) -> None:
        connection = await self._free.get()
        try:
            async with connection.transaction():
                await connection.execute("select pg_advisory_xact_lock(7305)")
                await connection.execute("create table if not exists motet_schema(version integer not null)")
                row = await (await connection.execute("select max(version) from motet_schema")).fetchone()
                for version, statement in _steps_from(int(row[0] or 0), "in PostgreSQL"):
                    await connection.execute(statement)
                    await connection.execute("insert into motet_schema(version) values (%s)", (version,))
        finally:
            self._free.put_nowait(connection)

    async def close(self) -> None:
        """Let go of the connections."""
        while not self._free.empty():
            await self._free.get_nowait().close()

    async def do(self, *statements: Sql) -> list[Rows]:
        """See `Store.do`. Raises `Unreachable` when the database does not answer in time."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + PATIENCE, 0.05
        while True:
            try:
                return await self._once(statements)
            except Unreachable as error:
                if error.doubtful or loop.time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def _once(self, statements: Sequence[Sql]) -> list[Rows]:
        import psycopg

        doubtful = False
        connection = await self._free.get()
        try:
            async with asyncio.timeout(PATIENCE):
                if connection.closed:
                    connection = await self._connect()
                async with connection.transaction():
                    rows = [await self._one(connection, sql) for sql in statements]
                    doubtful = True  # from here on the commit is on its way
                return rows
        except TimeoutError:
            await connection.close()
            message = f"the journal in PostgreSQL did not answer within {PATIENCE:.0f} s"
            raise Unreachable(message, doubtful=True) from None
        except psycopg.Error as error:
            if not connection.closed:  # it answered: a lock, a full disk, a missing right
                raise self._trouble(error) from error
            raise Unreachable(self._trouble(error).message, doubtful=doubtful) from error
        finally:
            self._free.put_nowait(connection)

    async def read(self, statement: Sql) -> Rows:
        """See `Store.read`."""
        return (await self.do(statement))[0]

    async def compact(self) -> None:
        """Nothing: PostgreSQL does that by itself."""

    async def _one(self, connection: Any, sql: Sql) -> Rows:
        text = sql.text.replace("{now}", _POSTGRES_NOW).replace("?", "%s")
        cursor = await connection.execute(text, tuple(sql.parameters))
        rows: Rows = cast("Rows", await cursor.fetchall()) if cursor.description else []
        if sql.must and not rows:
            raise Nothing
        return rows

    def _trouble(self, error: Exception) -> RunError:
        hints = {
            "permission denied": "grant the role what docs/fleet.md lists",
            "authentication failed": "is the password the one of that role?",
            "does not exist": "create it, or name another one",
            "connection failed": "is it running, and can it be reached from here?",
            "resolve host": "is it running, and can it be reached from here?",
        }
        said = self._hidden(str(error).strip() or type(error).__name__)
        hint = next((text for word, text in hints.items() if word in said), "")
        return RunError(f"the journal in PostgreSQL: {said}", hint=hint)


@asynccontextmanager
async def postgres_store(url: str) -> AsyncGenerator[PostgresStore]:
    """The journal behind that URL. Raises `RunError` when it cannot be used."""
    store = PostgresStore(url)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def _passwords(url: str) -> frozenset[str]:
    """The password in that URL, in every form it may be shown in.

    Raises `RunError`, without a piece of the URL, when it is none: what cannot be read may be the password.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    hint = "postgresql://ROLE:PASSWORD@HOST/DATABASE; in the password write @ as %40, / as %2F, : as %3A, % as %25"
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        raise RunError("the URL of the database cannot be read", hint=hint) from None
    port = str(parts.get("port") or "")
    if "@" in str(parts.get("host") or "") or not all(one.isdigit() for one in port.split(",") if one):
        raise RunError("the URL of the database cannot be read", hint=hint)
    password = str(parts.get("password") or "")
    return frozenset(filter(None, (password, quote(password), quote(password, safe=""))))


def hide_password(url: str) -> Callable[[str], str]:
    """Gives a function that hides the password of that database in any text. Raises `RunError` as opening it does."""
    secrets = _passwords(url)

    def hidden(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return hidden


_DATABASE = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
_NO_FILE = re.compile(r"[a-z][a-z0-9+.-]*://|(?:.*\s)?(?:host|dbname|user|password)\s*=", re.IGNORECASE)


def is_database(where: str) -> bool:
    """Is it the URL of a PostgreSQL database, rather than a file?

    Raises `RunError`, without showing it, when it is the address of something else: it may hold a password.
    """
    if _DATABASE.match(where):
        return True
    if _NO_FILE.match(where):
        raise RunError(
            "a journal is a file, or a PostgreSQL database", hint="--database postgresql://ROLE@HOST/DATABASE"
        )
    return False


@asynccontextmanager
async def open_store(where: str) -> AsyncGenerator[Store]:
    """The journal in a file, or behind a `postgresql://` URL. Raises `RunError`."""
    if is_database(where):
        async with postgres_store(where) as store:
            yield store
    else:
        async with sqlite_store(where) as file:
            yield file
