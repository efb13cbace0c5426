"""Journals in PostgreSQL: `synchronous_commit=on`, a few connections, and never the password in any text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import quote

from motet.engine.store import tables
from motet.engine.store.sql import Nothing, Rows, Sql, Unreachable
from motet.errors import RunError

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
                for version, statement in tables.steps_from(int(row[0] or 0), "in PostgreSQL"):
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
