"""Journals on disks that are full or read-only, and journals of an earlier motet. Real ones."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.engine_kit import Servers, flow
from motet.engine.durable import Durable
from motet.engine.store.opening import open_store
from motet.engine.store.sql import Sql
from motet.engine.store.tables import MIGRATIONS

HERE = Path(__file__).parent
BWRAP = shutil.which("bwrap")
pytestmark = pytest.mark.timeout(60)


def on_a_disk(folder: Path, what: str, *mount: str) -> dict[str, Any]:
    """What `journal_on_a_disk.py` says, run where the folder is mounted so."""
    assert BWRAP, "bubblewrap is not installed: it makes the small and the read-only disk of these tests"
    command = [BWRAP, "--dev-bind", "/", "/", *mount, sys.executable, str(HERE / "journal_on_a_disk.py")]
    done = subprocess.run([*command, str(folder), what], capture_output=True, text=True, timeout=40, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_full_disk_stops_the_run_before_the_next_effect_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    told = on_a_disk(tmp_path, "full", "--size", "4000000", "--tmpfs", str(tmp_path))
    assert "full" in told["said"]
    assert told["hint"] == "make room on the disk; the run goes on where it stopped"
    assert "a.act" not in told["done"]
    assert (told["status"], told["after"].count("a.act")) == ("complete", 1)


def test_a_read_only_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    told = on_a_disk(tmp_path, "read-only", "--ro-bind", str(tmp_path), str(tmp_path))
    assert "read-only" in told["said"].lower()
    assert told["hint"] == "make it writable for you"


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Callable[[list[str]], None]]:
    """An empty place for a journal, and a way to do something in it without motet."""
    if request.param == "sqlite":
        file = tmp_path / "runs.sqlite"

        def do(statements: list[str]) -> None:
            db = sqlite3.connect(file)
            for statement in (*statements, "pragma user_version=1"):
                db.execute(statement)
            db.commit()
            db.close()

        return str(file), do
    url: str = request.getfixturevalue("database")()

    def do_there(statements: list[str]) -> None:
        with psycopg.connect(url) as db:
            for statement in (
                *statements,
                "create table motet_schema(version integer not null)",
                "insert into motet_schema values (1)",
            ):
                db.execute(statement.encode())

    return url, do_there


@asynccontextmanager
async def opened(where: str) -> AsyncGenerator[Durable]:
    async with open_store(where) as store:
        yield Durable(store)


async def test_a_journal_of_the_first_schema_is_brought_up_to_date_with_its_runs(
    old: tuple[str, Callable[[list[str]], None]], tmp_path: Path
) -> None:
    where, do = old
    servers = Servers(tools={"a.x": lambda _: {"n": 1}}, read_only={"a.x"})
    text = "steps: {s: {call: a.x}, ok: {approval: {message: go}, needs: [s]}, t: {call: a.x, needs: [ok]}}"
    async with opened(str(tmp_path / "new.sqlite")) as runs:
        run = await runs.start(flow(text), {})
        await runs.drive(run, servers)
        store = runs.ledger.store
        columns = "id, workflow, bundle, status, generation, rerun_of, key, created, updated, owner, lease, wake, seq"
        columns += ", head, size"
        rows = await store.read(Sql(f"select {columns} from run"))
        entries = await store.read(Sql("select run, seq, event, act, body, hash from entry"))
    inserts = [_insert("run", columns, row) for row in rows]
    inserts += [_insert("entry", "run, seq, event, act, body, hash", row) for row in entries]
    do([*MIGRATIONS[1], *inserts])
    async with opened(where) as runs:
        assert await runs.verify(run) == []
        assert [row.status for row in await runs.list()] == ["waiting"]
        await runs.approve(run, "ok")
        report = await runs.drive(run, servers)
    assert report.status == "complete"


def _insert(table: str, columns: str, row: tuple[Any, ...]) -> str:
    def shown(value: object) -> str:
        if value is None:
            return "null"
        return repr(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"

    return f"insert into {table}({columns}) values({', '.join(map(shown, row))})"
