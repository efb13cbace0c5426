"""A host that is given up at any moment of its start leaves no process and no task; starts leave room for others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from host.fake_servers import FakeServer, host_of
from host.host_kit import Bench, none_left
from motet.config.model import Config, HttpTransport, ServerConfig, StdioTransport, Timeouts
from motet.host.exposure import exposure
from motet.host.host import Host
from motet.upstream.pace import LONGEST_PAUSE, Pace
from resilience.virtual_time import run


@pytest.mark.parametrize("after", [0.0, 0.002, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4])
async def test_a_start_that_is_given_up_leaves_nothing(tmp_path: Path, after: float) -> None:
    bench = Bench(tmp_path)
    scripts = ("s00", "s01", "s02", "s16", "s17", "s25", "s31")
    quick = Timeouts(connect=8.0, close=0.3)
    config = Config({script: bench.config(script, name=script, timeout=quick) for script in scripts})
    host = Host(config)
    starting = asyncio.create_task(host.__aenter__())
    await asyncio.wait([starting], timeout=after)
    if starting.done():
        await host.__aexit__(None, None, None)
    else:
        starting.cancel()
        await asyncio.wait([starting])
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("motet")] == []
    await none_left(bench.run)


def test_processes_are_started_one_after_the_other_with_pauses() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pace, turns = Pace(loop.time), list[int]()

        async def start(number: int) -> None:
            await pace.turn()
            turns.append(number)
            assert len(turns) == number + 1

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(start(number))
        assert turns == list(range(20))
        assert loop.time() - 1000.0 <= 20 * LONGEST_PAUSE

    run(main())


def test_who_was_never_started_comes_before_who_is_started_again() -> None:
    async def main() -> None:
        pace, turns = Pace(asyncio.get_running_loop().time), list[str]()

        async def start(name: str, *, again: bool) -> None:
            await pace.turn(again=again)
            turns.append(name)

        async with asyncio.TaskGroup() as group:
            for name in ("one", "dead", "two", "dead too", "three"):
                group.create_task(start(name, again=name.startswith("dead")))
        assert turns == ["one", "two", "three", "dead", "dead too"]

    run(main())


@pytest.mark.parametrize("leaves", [0, 1, 2])
def test_who_gives_up_waiting_for_its_turn_holds_nobody(leaves: int) -> None:
    async def main() -> None:
        pace = Pace(asyncio.get_running_loop().time)
        await pace.turn()
        waiting = [asyncio.create_task(pace.turn(again=again)) for again in (False, True, False)]
        await asyncio.sleep(0)
        waiting[leaves].cancel()
        await asyncio.wait(waiting)
        assert [task.cancelled() for task in waiting] == [number == leaves for number in range(3)]
        await pace.turn()

    run(main())


@pytest.mark.parametrize("leaves_first", [False, True])
def test_who_gives_up_at_its_very_turn_hands_it_on(leaves_first: bool) -> None:
    async def main() -> None:
        pace = Pace(asyncio.get_running_loop().time)
        await pace.turn()
        first, second = asyncio.create_task(pace.turn()), asyncio.create_task(pace.turn())
        await asyncio.sleep(0)
        if leaves_first:
            first.cancel()
        pace._next()
        first.cancel()
        await asyncio.wait([first, second])
        assert (first.cancelled(), second.cancelled()) == (True, False)

    run(main())

    run(main())


def test_an_owner_task_that_fails_costs_its_server_alone_and_says_so() -> None:
    async def main() -> None:
        async with host_of({"a": FakeServer(), "b": FakeServer()}) as host:

            def broken(*_: object) -> None:
                raise RuntimeError("a bug")

            host.servers["a"].supervisor._went = broken  # type: ignore[method-assign] # the mistake
            host._tasks["a"].cancel()
            await asyncio.sleep(1.0)
            assert "its supervisor failed: RuntimeError: a bug" in host.servers["a"].reason
            assert host.servers["b"].state == "ready"

    run(main())


@pytest.mark.proves("FR-ORCH-005")
def test_what_the_configuration_shows_to_whom_is_known_without_showing_it() -> None:
    files = ServerConfig(
        "files",
        StdioTransport(
            "npx",
            ("-y", "@modelcontextprotocol/server-filesystem", "/srv/data/", "/srv/more"),
            {"API_TOKEN": "secret-value-1", "LANG": "C", "DSN": "postgresql+asyncpg://u:p4ssword@DB:5432/app"},
        ),
    )
    shown = exposure(files)
    assert shown.roots == ("/srv/data", "/srv/more")
    assert list(shown.credentials) == ["API_TOKEN"]
    assert shown.databases == {"DSN": "postgres://db:5432/app"}
    assert "secret-value-1" not in repr(shown)
    assert "p4ssword" not in repr(shown)
    web = ServerConfig("web", HttpTransport("https://x.example", {"Authorization": "secret-value-1"}))
    assert list(exposure(web).credentials.values()) == list(shown.credentials.values())
    roots = ServerConfig("r", StdioTransport("x", (), {"FILESYSTEM_ROOTS": "/a:/b/"}))
    assert exposure(roots).roots == ("/a", "/b")


@pytest.mark.proves("FR-ORCH-005")
def test_one_credential_shown_to_two_servers_is_found() -> None:
    async def main() -> None:
        given = {"transport": StdioTransport("x", (), {"GITHUB_TOKEN": "ghp_0123456789"})}
        servers = {"a": FakeServer(), "b": FakeServer()}
        host = host_of(servers)
        async with host:
            for name in servers:
                host.servers[name].config = ServerConfig(name, given["transport"])
            assert [(one.kind, one.servers) for one in host.lint() if one.kind != "undeclared"] == [
                ("shared_credential", ("a", "b"))
            ]

    run(main())
