"""What both databases do alike."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from motet_servers.database import sql, values
from motet_servers.database.__main__ import COMMAND
from motet_servers.database.limits import Limits
from motet_servers.database.named import load
from motet_servers.database.server import Settings, database_server, database_url
from motet_servers.kit.errors import InvalidInput, Refused
from motet_servers.kit.settings import SettingsError

Database = Any
pytestmark = pytest.mark.timeout(60)  # the first test of a process starts PostgreSQL
ADA = {"id": 1, "name": "Ada", "born": "1815-12-10"}


async def test_a_query_takes_parameters_and_gives_rows_as_objects(database: Database) -> None:
    answer = await database("query", sql="select * from people where name = :who", parameters={"who": "Ada"})
    assert answer == {
        "columns": ["id", "name", "born"],
        "rows": [ADA],
        "row_count": 1,
        "truncated": False,
        "next_cursor": None,
    }
    assert await database.query("select 'a:b' as x, name from people where id = :id -- :no\n;", id=2) == [
        {"x": "a:b", "name": "Grace"}
    ]
    assert await database.query("select 1 as n, 2 as n") == [{"n": 1, "n_2": 2}]


async def test_a_parameter_is_never_read_as_sql(database: Database) -> None:
    assert await database.query("select * from people where name = :who", who="' or 1=1; drop table people --") == []
    assert len(await database.query("select * from people")) == 2


async def test_missing_and_unused_parameters_are_named(database: Database) -> None:
    assert "lacks who" in await database.refused("query", sql="select :who")
    assert "has what" in await database.refused("query", sql="select 1", parameters={"what": 1})


async def test_rows_page_and_are_cut_at_the_limit(database: Database) -> None:
    first = await database("query", sql="select id from people order by id", limit=1)
    assert (first["rows"], first["truncated"]) == ([{"id": 1}], True)
    rest = await database("query", sql="select id from people order by id", cursor=first["next_cursor"])
    assert (rest["rows"], rest["truncated"], rest["next_cursor"]) == ([{"id": 2}], False, None)


async def test_tables_are_listed_and_described(database: Database) -> None:
    tables = (await database("list_tables"))["tables"]
    assert [(table["name"], table["kind"]) for table in tables] == [
        ("names", "view"),
        ("orders", "table"),
        ("people", "table"),
    ]
    told = await database("describe_table", table="orders")
    assert [(column["name"], column["nullable"], column["primary_key"]) for column in told["columns"]][1:] == [
        ("person", False, False),
        ("total", True, False),
    ]
    assert (told["primary_key"], told["foreign_keys"]) == (
        ["id"],
        [{"columns": ["person"], "table": "people", "references": ["id"]}],
    )
    assert "close: orders" in await database.refused("describe_table", table="order")


async def test_execute_changes_data_and_gives_what_returning_says(database: Database) -> None:
    done = await database(
        "execute", sql="update people set name = upper(name) where id = :id returning name", parameters={"id": 1}
    )
    assert done == {
        "rows_affected": 1,
        "columns": ["name"],
        "rows": [{"name": "ADA"}],
        "truncated": False,
        "repeated": False,
    }
    assert (await database("execute", sql="delete from people where id = 99"))["rows_affected"] == 0
    await database("execute", sql="create table extra (x integer)")
    assert (await database("execute", sql="insert into extra values (1), (2)"))["rows_affected"] == 2


async def test_a_batch_is_one_transaction(database: Database) -> None:
    good = {"sql": "insert into people (id, name) values (:id, 'x')", "parameters": {"id": 3}}
    text = await database.refused("execute_batch", statements=[good, good])
    assert "nothing was changed" in text.lower()
    assert len(await database.query("select * from people")) == 2
    done = await database("execute_batch", statements=[good, {"sql": "delete from people where id < 3"}])
    assert ([each["rows_affected"] for each in done["results"]], done["rows_affected"]) == ([1, 2], 3)


async def test_a_key_makes_one_effect_of_many_calls_even_at_once(database: Database) -> None:
    call = {
        "sql": "insert into people (id, name) select max(id) + 1, 'new' from people returning id",
        "idempotency_key": "k",
    }
    results = await asyncio.gather(*(database("execute", **call) for _ in range(6)))  # noqa: TID251 - none raises
    assert [result["rows"] for result in results] == [[{"id": 3}]] * 6
    assert sorted(result["repeated"] for result in results) == [False] + [True] * 5
    assert len(await database.query("select * from people")) == 3
    assert "another statement" in await database.refused("execute", sql="delete from people", idempotency_key="k")


async def test_a_failed_call_leaves_its_key_free(database: Database) -> None:
    assert await database.refused("execute", sql="insert into people (id) values (9)", idempotency_key="k")
    done = await database("execute", sql="insert into people (id, name) values (9, 'n')", idempotency_key="k2")
    assert done["repeated"] is False
    again = "insert into people (id) values (9)"
    assert await database.refused("execute", sql=again, idempotency_key="k"), "it is tried again, not remembered"


WRITING = [
    "insert into people (id, name) values (7, 'x')",
    "update people set name = 'x'",
    "delete from people",
    "drop table people",
    "create table evil (x integer)",
    "create table evil as select * from people",
    "with gone as (delete from people returning *) select * from gone",
    "with x as (select 1) insert into people select 7, 'x', null from x",
    "select 1; delete from people",
    "select 1; commit; delete from people",
    "/* select */ delete from people",
    "commit",
    "begin; delete from people; commit",
    "explain analyze delete from people",
    "vacuum",
]


async def test_query_never_writes(database: Database) -> None:
    for statement in WRITING:
        await database.refused("query", sql=statement)
        assert len(await database.query("select * from people where name <> 'x'")) == 2, statement
    assert [table["name"] for table in (await database("list_tables"))["tables"]] == ["names", "orders", "people"]


async def test_explain_never_writes_either(database: Database) -> None:
    await database.client.call_tool("explain", {"sql": "delete from people"}, raise_on_error=False)
    await database.client.call_tool("explain", {"sql": "delete from people", "analyze": True}, raise_on_error=False)
    assert len(await database.query("select * from people")) == 2
    assert (await database("explain", sql="select * from people where id = :id", parameters={"id": 1}))["lines"]


@pytest.mark.parametrize(
    "word",
    [
        "begin",
        "commit",
        "rollback",
        "savepoint x",
        "set x = 1",
        "attach 'x' as y",
        "copy x to 'y'",
        "vacuum",
        "do $$ begin end $$",
        "pragma query_only = 0",
        "listen x",
        "prepare x as select 1",
    ],
)
def test_execute_does_not_leave_its_transaction_or_the_database(word: str) -> None:
    with pytest.raises(Refused, match="is not for execute"):
        sql.writable(f"/* insert */ {word}")


async def test_named_queries_are_listed_run_and_read(sqlite_file: Path, opened: Any, tmp_path: Path) -> None:
    file = tmp_path / "queries.toml"
    file.write_text(
        '[queries.by_name]\ndescription = "One"\nsql = "select id from people where name = :name"\n'
        '[queries.everyone]\nsql = "select name from people order by id"\n'
    )
    database = await opened(Settings(url=f"sqlite:///{sqlite_file}", queries=load(file)))
    listed = (await database("list_queries"))["queries"]
    assert [(each["name"], each["parameters"]) for each in listed] == [("by_name", ["name"]), ("everyone", [])]
    assert (await database("run_query", name="by_name", parameters={"name": "Ada"}))["rows"] == [{"id": 1}]
    (content,) = await database.client.read_resource("db://queries/everyone")
    assert json.loads(content.text)["rows"] == [{"name": "Ada"}, {"name": "Grace"}]
    assert "there are: by_name, everyone" in await database.refused("run_query", name="nobody")
    file.write_text("[queries.bad]\nsql = 'select 1; select 2'\n")
    with pytest.raises(SettingsError, match=r"queries\.bad: one statement only"):
        load(file)


async def test_resources_give_tables_their_shape_and_rows(database: Database) -> None:
    (tables,) = await database.client.read_resource("db://tables")
    assert [table["name"] for table in json.loads(tables.text)["tables"]] == ["names", "orders", "people"]
    (shape,) = await database.client.read_resource("db://tables/people")
    assert json.loads(shape.text)["primary_key"] == ["id"]
    (rows,) = await database.client.read_resource("db://tables/people/rows")
    assert json.loads(rows.text)["rows"][0] == ADA


async def test_a_read_only_server_offers_no_tool_that_writes(sqlite_file: Path) -> None:
    async with Client(database_server(Settings(url=f"sqlite:///{sqlite_file}", read_only=True))) as client:
        tools = await client.list_tools()
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)


async def test_answers_stay_under_the_byte_cap(sqlite_file: Path, opened: Any) -> None:
    database = await opened(Settings(url=f"sqlite:///{sqlite_file}", limits=Limits(bytes=2000)))
    numbers = (
        "with recursive n (i) as (select 1 union all select i + 1 from n where i < 10000) select i, 'x' as x from n"
    )
    page = await database("query", sql=numbers)
    assert (page["truncated"], 50 < page["row_count"] < 120) == (True, True)
    assert "the first row alone is over" in await database.refused("query", sql="select hex(zeroblob(5000)) as x")


# -- without a database ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word", "names", "positional"),
    [
        ("select :a, ':b', \":c\", x::int, :a", "select", ("a",), "select $1, ':b', \":c\", x::int, $1"),
        ("-- :x\n  /* :y */ Update t set a=:b;", "update", ("b",), "-- :x\n  /* :y */ Update t set a=$1"),
        ("select $$ :x ; $$, $tag$ ; :y $tag$, :z", "select", ("z",), "select $$ :x ; $$, $tag$ ; :y $tag$, $1"),
        ("(select e'it\\'s :x', 'it''s :y', :z)", "select", ("z",), "(select e'it\\'s :x', 'it''s :y', $1)"),
    ],
)
def test_placeholders_are_found_outside_literals_and_comments(
    text: str, word: str, names: Any, positional: str
) -> None:
    found = sql.statement(text)
    assert (found.word, found.names, sql.positional(found)) == (word, names, positional)


@pytest.mark.parametrize(
    "text", ["select 1; select 2", "select 1; -- x\n delete from t", "select '\\'; delete from t; --'; x"]
)
def test_more_than_one_statement_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="one statement only"):
        sql.statement(text)


@pytest.mark.parametrize("text", ["", "  ;; ", "-- only a comment", "select \0", "x" * 100_001])
def test_what_is_no_statement_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        sql.statement(text)


def test_values_become_json_without_losing_digits() -> None:
    assert values.to_json([2**53 + 1, float("nan"), b"\xff", {"a": (1,)}]) == [
        "9007199254740993",
        "nan",
        "/w==",
        {"a": [1]},
    ]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://u:pw@h/d", "must begin with sqlite:/// or postgresql://"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("nonsense", "must begin with"),
    ],
)
def test_a_url_that_cannot_be_served_is_refused_without_being_shown(url: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        database_url("DATABASE_URL", url)
    assert "pw" not in str(caught.value)


def test_the_command_names_the_missing_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMAND.main([], {}) == 2
    assert capsys.readouterr().err.startswith("motet-server-database: DATABASE_URL is not set:")


async def test_tools_are_listed_without_a_database(tmp_path: Path) -> None:
    server = database_server(Settings(url=f"postgresql://u:pw@127.0.0.1:1/{tmp_path.name}", secrets=("pw-secret",)))
    async with Client(server) as client:
        assert len(await client.list_tools()) == 6
        result = await client.call_tool("query", {"sql": "select 1"}, raise_on_error=False)
    assert "cannot be reached" in getattr(result.content[0], "text", "")
