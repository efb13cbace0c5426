"""What only one of the databases does: its own ways to write from a read, its own way to be interrupted."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from motet_servers.database.limits import Limits
from motet_servers.database.server import Settings

FOREVER = "with recursive n (i) as (select 1 union all select i + 1 from n) select count(*) from n"
Opened = Any
pytestmark = pytest.mark.timeout(60)  # the first test of a process starts PostgreSQL
Pg = Any


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


# -- SQLite ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "attach '{other}' as other",
        "pragma query_only = off",
        "pragma journal_mode = delete",
        "pragma writable_schema = 1",
        "pragma user_version = 7",
        "select load_extension('/tmp/evil.so')",
        "select writefile('{other}', 'x')",
        "select fts3_tokenizer('simple', x'00')",
        "detach main",
        "savepoint s",
        "create temp table t (x)",
        "insert into temp.sqlite_master values (1)",
        "replace into people (id, name) values (1, 'x')",
        "vacuum into '{other}'",
        "reindex",
        "analyze",
        "update everybody set name = 'x'",
        "insert into everybody (id, name) values (9, 'x')",
        "select * from pragma_query_only(0)",
        "select * from pragma_writable_schema",
        "select * from pragma_journal_mode",
        "create virtual table v using fts5 (x)",
        "alter table people rename to others",
        "explain delete from people; delete from people",
        "begin immediate",
        "with x as (select 1) delete from people",
        "select readfile('/etc/passwd')",
        "select edit('x')",
    ],
)
async def test_sqlite_reads_hold_against_its_own_tricks(
    sqlite_file: Path, opened: Opened, tmp_path: Path, statement: str
) -> None:
    with sqlite3.connect(sqlite_file) as prepared:
        prepared.executescript(
            "create view everybody as select * from people; create trigger wipe instead of insert on everybody "
            "begin delete from people; end"
        )
    prepared.close()
    database = await opened(Settings(url=f"sqlite:///{sqlite_file}"))
    before = content(sqlite_file)
    other = tmp_path / "other.db"
    await database.refused("query", sql=statement.format(other=other))
    assert content(sqlite_file) == before
    assert not other.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "select load_extension('/tmp/evil.so')",
        "create trigger t after insert on people begin select load_extension('x'); end",
        "with x as (select 1) select * from pragma_writable_schema",
        "select readfile('/etc/passwd')",
        "select writefile('/tmp/motet-evil', 'x')",
    ],
)
async def test_sqlite_writes_do_not_reach_around_the_file(sqlite_file: Path, opened: Opened, statement: str) -> None:
    database = await opened(Settings(url=f"sqlite:///{sqlite_file}"))
    result = await database.client.call_tool("execute", {"sql": statement}, raise_on_error=False)
    if not result.is_error:
        await database.refused("execute", sql="insert into people (id, name) values (5, 'x')")


async def test_a_file_that_is_not_there_is_not_created(tmp_path: Path, opened: Opened) -> None:
    database = await opened(Settings(url=f"sqlite:///{tmp_path}/no.db"))
    assert "does not exist" in await database.refused("query", sql="select 1")
    assert "does not exist" in await database.refused("execute", sql="create table t (x)")
    assert not (tmp_path / "no.db").exists()


async def test_a_file_that_is_no_database_says_so(tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "text.db").write_text("hello, I am not a database at all" * 100)
    database = await opened(Settings(url=f"sqlite:///{tmp_path}/text.db"))
    assert "cannot be used" in await database.refused("query", sql="select * from sqlite_master")


async def test_a_sqlite_statement_ends_at_the_time_limit_and_when_cancelled(sqlite_file: Path, opened: Opened) -> None:
    quick = await opened(Settings(url=f"sqlite:///{sqlite_file}", limits=Limits(timeout=0.2)))
    assert "took over 0.2 s" in await quick.refused("query", sql=FOREVER)
    patient = await opened(Settings(url=f"sqlite:///{sqlite_file}"))
    call = asyncio.create_task(patient.client.call_tool("query", {"sql": FOREVER}))
    await patient.query("select 1")
    call.cancel()
    await asyncio.wait([call], timeout=10)
    assert call.cancelled()
    changed = await patient("execute", sql="update people set name = name")
    assert changed["rows_affected"] == 2, "nothing holds the file"


async def test_another_writer_is_waited_for_and_then_told(sqlite_file: Path, opened: Opened) -> None:
    database = await opened(Settings(url=f"sqlite:///{sqlite_file}", limits=Limits(timeout=0.3)))
    holder = sqlite3.connect(sqlite_file, isolation_level=None)
    holder.execute("begin immediate")
    try:
        text = await database.refused("execute", sql="delete from people")
    finally:
        holder.execute("rollback")
        holder.close()
    assert "took over" in text or "another writer" in text
    assert len(await database.query("select * from people")) == 2


# -- PostgreSQL --------------------------------------------------------------------------------------------------------

TRICKS = [
    "copy people to '/tmp/motet-evil'",
    "copy (select 1) to program 'touch /tmp/motet-evil'",
    "select set_config('transaction_read_only', 'off', false)",
    "select set_config('transaction_read_only', 'off', true) from people",
    "set transaction read write",
    "reset all",
    "do $$ begin delete from people; end $$",
    "call wipe()",
    "select wipe_function()",
    "select * from people for update",
    "select nextval('numbers')",
    "select lo_create(0)",
    "select lo_export(1, '/tmp/motet-evil')",
    "select pg_read_file('/etc/passwd')",
    "select * into evil from people",
    "select 1 where wipe_function() = 1",
    "values (wipe_function())",
    "table people; delete from people",
    "declare c cursor for select 1",
    "fetch all from motet_rows",
    "select query_to_xml('delete from people', true, true, '')",
    "select dblink_exec('dbname=postgres', 'delete from people')",
    "prepare p as delete from people",
    "lock table people",
    "notify x",
    "merge into people p using (select 1 as id) s on p.id = s.id when matched then delete",
    "set session characteristics as transaction read write",
    "set session authorization default",
    "load 'auto_explain'",
    "select lo_import('/etc/passwd')",
    "select lo_unlink(1)",
    "select pg_ls_dir('/')",
    "select pg_read_binary_file('/etc/passwd')",
    "explain analyze insert into people (id, name) values (9, 'x')",
    "explain (analyze) delete from people",
    "create temp table t as select 1",
    "update everybody set name = 'x'",
    "insert into everybody (id, name) values (9, 'x')",
    "with x as (update everybody set name = 'x' returning *) select * from x",
    "select 1) as named (c1)) as asked) as measured; delete from people; --",
    "select 1 union all (delete from people returning id)",
    "select $$;$$; delete from people",
    "select E'\\''; delete from people; --'",
    "/* /* nested */ select 1; */ delete from people",
    "sel/**/ect 1",
    'select U&"d\\0061t\\+000061" from people; delete from people',
    "execute p",
    "discard all",
    "alter system set log_statement = 'all'",
    "vacuum people",
    "refresh materialized view x",
    "checkpoint",
    "cluster",
    "security label on table people is 'x'",
    "import foreign schema public from server x into public",
]


@pytest.mark.parametrize("role", ["reader", "app"])
async def test_postgresql_reads_hold_against_its_own_tricks(pg: Pg, opened: Opened, role: str) -> None:
    """Also through the role that owns the tables: then the transaction and the cursor hold alone."""
    pg.sql(
        "set role app; create sequence numbers; "
        "create procedure wipe() language sql as 'delete from people'; "
        "create function wipe_function() returns int language plpgsql volatile security definer as "
        "'begin delete from people; return 1; end'; grant all on sequence numbers to reader; "
        "create view everybody as select * from people; grant all on everybody to reader; "
        "create function erase() returns trigger language plpgsql security definer as "
        "'begin delete from people; return null; end'; "
        "create trigger wipe instead of insert on everybody for each row execute function erase();"
    )
    database = await opened(Settings(url=pg.app, read_url=getattr(pg, role)))
    for statement in TRICKS:
        await database.refused("query", sql=statement)
        assert len(await database.query("select * from people")) == 2, statement
        assert content(Path("/tmp/motet-evil")) == b"", statement


async def test_explain_runs_nothing_that_writes(pg: Pg, opened: Opened) -> None:
    pg.sql(
        "set role app; create function wipe_function() returns int language plpgsql volatile security definer as "
        "'begin delete from people; return 1; end'"
    )
    database = await opened(Settings(url=pg.app, read_url=pg.app))
    for statement in (
        "insert into people (id, name) values (9, 'x')",
        "with x as (delete from people returning *) select * from x",
        "select wipe_function()",
        "create table evil as select * from people",
    ):
        await database.refused("explain", sql=statement, analyze=True)
    for statement in ("(analyze) delete from people", "analyze delete from people", "select 1; delete from people"):
        await database.refused("explain", sql=statement)
    assert len(await database.query("select * from people")) == 2


async def test_a_role_of_its_own_for_reading_cannot_end_the_others_sessions(pg: Pg, opened: Opened) -> None:
    database = await opened(Settings(url=pg.app, read_url=pg.reader))
    await database("execute", sql="update people set name = name")
    others = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'"
    assert "not allowed here" in await database.refused("query", sql=others)
    assert await database.query("select pg_notify('x', 'y') is not null as told") == [{"told": True}], "never sent"


async def test_what_a_query_set_for_its_session_is_gone_for_the_next(pg: Pg, opened: Opened) -> None:
    database = await opened(Settings(url=pg.app, read_url=pg.app))
    await database.query(
        "select set_config('search_path', 'nowhere', false), set_config('default_transaction_read_only', 'off', false)"
    )
    await database.query("select pg_advisory_lock(1)")
    await database("execute", sql="select set_config('search_path', 'nowhere', false)")
    assert await database.query("select current_setting('search_path') as path") == [{"path": '"$user", public'}]
    assert await database.query("select count(*) as n from pg_locks where locktype = 'advisory'") == [{"n": 0}]


async def test_a_superuser_is_refused_unless_accepted(pg: Pg, opened: Opened) -> None:
    database = await opened(Settings(url=pg.admin))
    assert "no read-only lock holds it" in await database.refused("query", sql="select 1")
    accepted = await opened(Settings(url=pg.admin, allow_superuser=True))
    assert await accepted.query("select 1 as one") == [{"one": 1}]


async def test_parameters_become_the_types_postgresql_asks_for(pg: Pg, opened: Opened) -> None:
    database = await opened(Settings(url=pg.app, read_url=pg.reader))
    row = await database.query(
        "select :d::date as d, :t::timestamptz as t, :u::uuid as u, :n::numeric as n, "
        ":j::jsonb as j, :a::int[] as a, :b::bytea as b",
        d="2026-11-22",
        t="2026-11-22T10:00:00Z",
        u="9f1c0c0e-6ba1-4e09-9a6d-0c6a1fd7e9d1",
        n=1.10,
        j={"k": [1]},
        a=[1, 2],
        b="/w==",
    )
    assert row == [
        {
            "d": "2026-11-22",
            "t": "2026-11-22T10:00:00+00:00",
            "u": "9f1c0c0e-6ba1-4e09-9a6d-0c6a1fd7e9d1",
            "n": "1.1",
            "j": {"k": [1]},
            "a": [1, 2],
            "b": "/w==",
        }
    ]
    assert "parameter d: 'soon' is not a date" in await database.refused(
        "query", sql="select :d::date", parameters={"d": "soon"}
    )


async def test_a_postgresql_statement_ends_at_the_time_limit_and_a_cancelled_one_on_the_server(
    pg: Pg, opened: Opened
) -> None:
    quick = await opened(Settings(url=pg.app, read_url=pg.reader, limits=Limits(timeout=0.2)))
    assert "statement timeout" in await quick.refused("query", sql="select pg_sleep(60)")
    patient = await opened(Settings(url=pg.app, read_url=pg.reader))
    call = asyncio.create_task(patient.client.call_tool("query", {"sql": "select pg_sleep(60)"}))
    running = "select count(*) as n from pg_stat_activity where wait_event = 'PgSleep'"

    async def until(wanted: int) -> None:
        async with asyncio.timeout(10):
            while await patient.query(running) != [{"n": wanted}]:
                """Ask again; each round is a round trip."""

    await until(1)
    call.cancel()
    await asyncio.wait([call], timeout=10)
    await until(0)


async def test_a_connection_lost_in_a_write_is_an_unknown_outcome_and_its_key_settles_it(
    pg: Pg, opened: Opened
) -> None:
    database = await opened(Settings(url=pg.app, read_url=pg.app))
    write = "with nap as (select pg_sleep({})) insert into people (id, name) select 7, 'x' from nap"
    call = asyncio.create_task(database.refused("execute", sql=write.format(60), idempotency_key="k"))
    napping = "select pid from pg_stat_activity where wait_event = 'PgSleep'"
    async with asyncio.timeout(10):
        while not (found := await database.query(napping)):
            """Ask again; each round is a round trip."""
    pg.sql(f"select pg_terminate_backend({found[0]['pid']})")
    assert "repeat it with the same idempotency_key" in await call
    for repeated in (False, True):
        done = await database("execute", sql=write.format(0), idempotency_key="k")
        assert (done["rows_affected"], done["repeated"]) == (1, repeated)
    assert await database.query("select id from people where id = 7") == [{"id": 7}]


async def test_an_answer_cut_after_the_commit_is_settled_by_the_same_key(pg: Pg, line: Any, opened: Opened) -> None:
    """The line passes the commit on, waits until PostgreSQL has answered it, and is cut instead of telling."""
    database = await opened(Settings(url=line.url, read_url=pg.reader))
    call = {"sql": "insert into people (id, name) values (8, 'once')", "idempotency_key": "cut"}
    line.cut_next_commit = True
    assert "look whether it happened" in await database.refused("execute", **call)
    assert await database.query("select name from people where id = 8") == [{"name": "once"}], "it had happened"
    assert (await database("execute", **call))["repeated"] is True
    assert await database.query("select count(*) as n from people") == [{"n": 3}]


async def test_no_password_shows_in_any_answer(pg: Pg, opened: Opened) -> None:
    database = await opened(Settings(url=pg.app.replace("app:app-pass", "nobody:wrong-pass"), secrets=("wrong-pass",)))
    text = await database.refused("query", sql="select 1")
    assert ("refused the role" in text, "wrong-pass" in text) == (True, False)
    echoed = await opened(Settings(url=pg.app, secrets=("app-pass",)))
    assert await echoed.query("select :it as it", it="is it app-pass?") == [{"it": "is it [redacted]?"}]
