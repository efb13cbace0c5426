"""What bounds a call: sizes, time, cancelling; and what a caller reads when something cannot be."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from motet_servers.database import sqlite
from motet_servers.database.limits import Limits, plan
from motet_servers.database.server import Settings, database_server, database_url
from motet_servers.kit import progress
from motet_servers.kit.errors import InvalidInput, TooLarge
from motet_servers.kit.settings import SettingsError

Opened = Any
Pg = Any
Database = Any
pytestmark = pytest.mark.timeout(60)  # the first test of a process starts PostgreSQL
MIB = 1 << 20
SMALL = Limits(bytes=10_000)
FOREVER = "with recursive n (i) as (select 1 union all select i + 1 from n) select count(*) from n"


async def test_cells_beyond_the_cap_are_not_even_sent_by_postgresql(pg: Pg, line: Any, opened: Opened) -> None:
    database = await opened(Settings(url=line.url, read_url=line.url, limits=SMALL))
    await database.query("select 1 as warm")
    line.received = 0
    huge = f"repeat('x', {4 * MIB})"
    assert "the first row alone is over 10,000 bytes" in await database.refused("query", sql=f"select {huge} as x")
    for cell in (f"('\\x' || {huge})::text", f"array[{huge}]", f"to_jsonb({huge})", f"convert_to({huge}, 'utf8')"):
        page = await database("query", sql=f"select 1 as n, '' as x union all select 2, ({cell})::text order by n")
        assert (page["rows"], page["truncated"]) == ([{"n": 1, "x": ""}], True)
    several = f"select n, repeat('x', {MIB}) as x from generate_series(1, 20) n"
    await database.refused("query", sql=several)
    assert line.received < MIB
    rest = await database("query", sql="select n from generate_series(1, 5) n", cursor=page["next_cursor"])
    assert [row["n"] for row in rest["rows"]] == [2, 3, 4, 5]


async def test_cells_beyond_the_cap_are_held_one_at_a_time_by_sqlite(sqlite_file: Path, opened: Opened) -> None:
    database = await opened(Settings(url=f"sqlite:///{sqlite_file}", limits=SMALL))
    rows = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 100) select i, {} as x from n"
    growing = rows.format(f"case when i < 3 then '' else hex(zeroblob({2 * MIB})) end")
    tracemalloc.start()
    try:
        page = await database("query", sql=growing)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ([row["i"] for row in page["rows"]], page["truncated"]) == ([1, 2], True)
    assert peak < 30 * MIB, "a hundred of them would be 400 MiB"


@pytest.mark.parametrize("rows", [10_000])
async def test_ten_thousand_rows_page_and_no_page_is_over_the_cap(database: Database, rows: int) -> None:
    numbers = f"with recursive n (i) as (select 1 union all select i + 1 from n where i < {rows}) select i from n"
    seen, cursor, pages = 0, None, 0
    while True:
        page = await database("query", sql=numbers, limit=100_000, cursor=cursor)
        assert page["row_count"] <= 1000
        seen, cursor, pages = seen + page["row_count"], page["next_cursor"], pages + 1
        if cursor is None:
            break
    assert (seen, pages) == (rows, 10)


async def test_rows_of_every_shape_come_through_the_measuring(pg: Pg, opened: Opened) -> None:
    database = await opened(Settings(url=pg.app, read_url=pg.reader))
    shapes: list[tuple[str, dict[str, Any]]] = [
        ("select pg_sleep(0) as nothing", {"nothing": None}),
        ("select (1, 'a') as pair", {"pair": [1, "a"]}),
        ("select 1 as n, 2 as n", {"n": 1, "n_2": 2}),
        ("values (1, null)", {"column1": 1, "column2": None}),
        ("table names", {"name": "Ada"}),
        ("select array[1, 2] as a, '{}'::json as j", {"a": [1, 2], "j": {}}),
        ("select count(relacl) > 0 as x from pg_class", {"x": True}),
        ("(select 1 as one) -- the end", {"one": 1}),
        ("select name from people order by id desc limit 1", {"name": "Grace"}),
    ]
    for statement, row in shapes:
        assert (await database.query(statement))[0] == row, statement
    assert "relacl" in (await database("query", sql="select relacl from pg_class limit 1"))["columns"]
    assert "gives no rows" in await database.refused("query", sql="select from people")
    assert "cast the column to text" in await database.refused("query", sql="select most_common_vals from pg_stats")


async def test_a_plan_is_capped_too(database: Database) -> None:
    long = " or ".join(f"name = 'name {number}'" for number in range(20))
    assert (await database("explain", sql=f"select * from people where {long}"))["lines"]


def test_the_lines_of_a_plan_are_counted() -> None:
    with pytest.raises(TooLarge, match="explain a part"):
        plan(["x" * 6000] * 2, SMALL)


@pytest.mark.parametrize("given", [{"x": 10**30}, {"x": -(10**30)}])
async def test_a_number_that_no_column_holds_is_an_argument_that_is_wrong(database: Database, given: Any) -> None:
    text = await database.refused("execute", sql="update people set id = :x where id = 99", parameters=given)
    assert "over 64 bits" in text or "out of int32 range" in text


async def test_parameters_are_bounded_and_text_that_is_none_is_refused(database: Database) -> None:
    many = {f"x{number}": 1 for number in range(501)}
    assert "at most 500 items" in await database.refused("query", sql="select 1", parameters=many)
    big = {"x": ["x" * MIB] * 9}
    assert "over 8,388,608 characters" in await database.refused("query", sql="select :x", parameters=big)
    assert "invalid byte" in (said := await database.refused("query", sql="select 'a\x00b'")) or "NUL" in said


@pytest.mark.parametrize("given", ["\ud800", ["\ud800"], {"\ud800": 1}])
async def test_half_a_character_is_refused_before_anything_is_sent(sqlite_file: Path, given: Any) -> None:
    server = database_server(Settings(url=f"sqlite:///{sqlite_file}"))
    with pytest.raises(InvalidInput, match="half a character"):
        await server.call_tool("query", {"sql": "select :x", "parameters": {"x": given}})


@pytest.mark.parametrize("tool", ["list_tables", "describe_table", "query", "explain", "execute", "execute_batch"])
async def test_a_database_that_is_not_there_says_so_to_whichever_tool_comes_first(tool: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"sql": "select 1"}
    arguments = {"describe_table": {"table": "people"}, "list_tables": {}}.get(tool, arguments)
    if tool == "execute_batch":
        arguments = {"statements": [{"sql": "select 1"}]}
    (tmp_path / "text.db").write_text("hello, I am not a database at all" * 100)
    places = {
        f"sqlite:///{tmp_path}/no.db": "the database file no.db does not exist; create it",
        "postgresql://u:pw-secret@127.0.0.1:1/x": "cannot be reached",
        "postgresql://u:pw-secret@127.0.0.1:1/x?sslmode=nonsense": "DATABASE_URL cannot be used: `sslmode`",
    }
    if tool != "query":  # `select 1` needs no file
        places[f"sqlite:///{tmp_path}/text.db"] = "the database file cannot be used: file is not a database"
    if tool == "explain":
        del places[f"sqlite:///{tmp_path}/text.db"]
    for url, said in places.items():
        async with Client(database_server(Settings(url=url, secrets=("pw-secret",)))) as client:
            result = await client.call_tool(tool, arguments, raise_on_error=False)
        assert said in getattr(result.content[0], "text", ""), url


async def test_the_parameters_of_libpq_are_known(pg: Pg, opened: Opened) -> None:
    url = database_url("DATABASE_URL", f"{pg.app}&sslmode=disable&channel_binding=prefer&connect_timeout=5")
    assert await (await opened(Settings(url=url))).query("select 1 as one") == [{"one": 1}]
    wrong = await opened(Settings(url=f"{pg.app}&nonsense=1"))
    assert 'refused the connection: unrecognized configuration parameter "nonsense"' in await wrong.refused(
        "list_tables"
    )
    nowhere = await opened(Settings(url=pg.app.replace("/postgres?", "/nowhere?")))
    assert 'database "nowhere" does not exist' in await nowhere.refused("query", sql="select 1")


@pytest.mark.parametrize("url", ["postgresql://u:pw@h:port/d", "postgres://u:pw@[::1/d"])
def test_an_address_that_cannot_be_right_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL must look like") as caught:
        database_url("DATABASE_URL", url)
    assert "pw@" not in str(caught.value)


async def test_a_key_without_the_right_to_make_its_table_says_what_to_do(pg: Pg, opened: Opened) -> None:
    pg.sql("grant insert on people to reader")
    database = await opened(Settings(url=pg.reader))
    insert = {"sql": "insert into people (id, name) values (3, 'x')", "idempotency_key": "k"}
    assert "CREATE TABLE IF NOT EXISTS motet_idempotency" in await database.refused("execute", **insert)
    assert len(await database.query("select * from people")) == 2


@pytest.mark.parametrize("tool", ["query", "execute", "execute_batch"])
async def test_a_cancelled_sqlite_call_ends_its_statement_and_changes_nothing(
    sqlite_file: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    allowed = sqlite.may_write if tool != "query" else sqlite.may_read

    def telling(action: int, *rest: Any) -> int:
        if action == sqlite3.SQLITE_RECURSIVE:
            loop.call_soon_threadsafe(started.set)
        return allowed(action, *rest)

    monkeypatch.setattr(sqlite, "may_write", telling)
    monkeypatch.setattr(sqlite, "may_read", telling)
    database = await opened(Settings(url=f"sqlite:///{sqlite_file}"))
    endless = f"insert into people (id, name) {FOREVER.replace('count(*)', 'count(*), 1')}"
    arguments: dict[str, Any] = {"sql": FOREVER if tool == "query" else endless, "idempotency_key": "k"}
    if tool == "execute_batch":
        first = {"sql": "delete from people"}
        arguments = {"statements": [first, {"sql": endless}], "idempotency_key": "k"}
    if tool == "query":
        del arguments["idempotency_key"]
    call = asyncio.create_task(database.client.call_tool(tool, arguments))
    async with asyncio.timeout(10):
        await started.wait()
    call.cancel()
    await asyncio.wait([call], timeout=10)
    assert call.cancelled()
    monkeypatch.undo()
    changed = await database("execute", sql="update people set name = name", idempotency_key="k")
    assert (changed["rows_affected"], changed["repeated"]) == (2, False), "nothing holds the file, nothing was changed"


async def test_a_cancelled_postgresql_batch_changes_nothing(pg: Pg, opened: Opened) -> None:
    database = await opened(Settings(url=pg.app, read_url=pg.app))
    slow = [{"sql": "delete from people"}, {"sql": "select pg_sleep(60)"}]
    call = asyncio.create_task(database.client.call_tool("execute_batch", {"statements": slow, "idempotency_key": "k"}))
    running = "select count(*) as n from pg_stat_activity where wait_event = 'PgSleep'"

    async def until(wanted: int) -> None:
        async with asyncio.timeout(10):
            while await database.query(running) != [{"n": wanted}]:
                """Ask again; each round is a round trip."""

    await until(1)
    call.cancel()
    await asyncio.wait([call], timeout=10)
    await until(0)
    assert len(await database.query("select * from people")) == 2
    again = await database("execute_batch", statements=[{"sql": "select 1"}], idempotency_key="k")
    assert again["repeated"] is False, "the key was not used"


async def test_a_long_statement_says_that_it_is_still_at_work(
    sqlite_file: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TELL_EVERY", 0.01)
    told = asyncio.Event()

    async def hear(done: float, total: float | None, message: str | None) -> None:
        assert (total, message) == (None, "seconds: the database is at work")
        assert done > 0
        told.set()

    database = await opened(Settings(url=f"sqlite:///{sqlite_file}"))
    call = asyncio.create_task(database.client.call_tool("query", {"sql": FOREVER}, progress_handler=hear))
    async with asyncio.timeout(10):
        await told.wait()
    call.cancel()
    await asyncio.wait([call], timeout=10)


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_a_tables_rows_come_in_the_order_of_its_key(
    request: pytest.FixtureRequest, opened: Opened, dialect: str
) -> None:
    url = request.getfixturevalue("pg").app if dialect == "postgresql" else None
    database = await opened(Settings(url=url or f"sqlite:///{request.getfixturevalue('sqlite_file')}"))
    await database("execute", sql='create table "odd ""name" (a integer, "b;c" integer, primary key ("b;c", a))')
    await database("execute", sql='insert into "odd ""name" values (1, 3), (2, 1), (3, 2), (1, 1)')
    [odd] = [table for table in (await database("list_tables"))["tables"] if table["name"].startswith("odd")]
    (rows,) = await database.client.read_resource(f"{odd['uri']}/rows")
    assert [list(row.values()) for row in json.loads(rows.text)["rows"]] == [[1, 1], [2, 1], [3, 2], [1, 3]]
