"""What is left of a server's processes: nothing, however this process or the server goes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import pytest

from motet.config.model import ServerConfig, StdioTransport
from motet.errors import ServerUnavailable
from motet.upstream import process
from upstream.bench import NASTY, Bench, alive, echo, none_left, processes_of, some_running

HOST = """
import asyncio, sys
from motet.config.model import ServerConfig, StdioTransport
from motet.upstream.opening import open_connection

async def main(script, run, reap):
    env = {"NASTY_RUN": run, "NASTY_SETSID": "1"}
    config = ServerConfig("s", StdioTransport(sys.executable, (script,), env), reap=reap)
    deadline = asyncio.get_running_loop().time() + 10
    connection = await open_connection(config, deadline=deadline, on_changed=lambda _: None)
    print(connection.details["reap"], flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


def has_namespaces() -> bool:
    """Does bwrap work here? Where it does not, the fallback is what is tested."""
    return shutil.which("bwrap") is not None and asyncio.run(process._namespaces_work(str(shutil.which("bwrap"))))


NAMESPACES = has_namespaces()


async def test_auto_says_which_way_is_in_force(bench: Bench) -> None:
    connection = await bench.nasty("s00")
    expected = {"namespace"} if NAMESPACES else {"group+death", "group"}
    assert connection.details["reap"] in expected


@pytest.mark.skipif(not NAMESPACES, reason="bwrap is absent or may not make a pid namespace here")
async def test_nothing_is_left_after_the_host_was_killed(bench: Bench) -> None:
    script = bench.script("host.py", HOST)
    nasty = str(next(NASTY.glob("s17*.py")))
    host = await asyncio.create_subprocess_exec(
        sys.executable, str(script), nasty, bench.run, "auto", stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    async with asyncio.timeout(15):
        assert await host.stdout.readline() == b"namespace\n"
    await some_running(bench.run, 2)  # the server and its grandchild in a session of its own
    host.send_signal(signal.SIGKILL)
    await host.wait()
    await none_left(bench.run)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is absent")
async def test_without_namespaces_the_server_itself_dies_with_the_host(bench: Bench) -> None:
    script = bench.script("host.py", HOST)
    nasty = str(next(NASTY.glob("s16*.py")))  # ignores everything but SIGKILL
    host = await asyncio.create_subprocess_exec(
        sys.executable, str(script), nasty, bench.run, "group", stdout=asyncio.subprocess.PIPE
    )
    assert host.stdout is not None
    async with asyncio.timeout(15):
        assert await host.stdout.readline() == b"group+death\n"
    assert processes_of(bench.run)
    host.send_signal(signal.SIGKILL)
    await host.wait()
    await none_left(bench.run)


@pytest.mark.parametrize("reap", ["auto", "group", "none"])
async def test_every_way_closes_and_leaves_nothing(bench: Bench, reap: str) -> None:
    connection = await bench.nasty("s16", reap=reap)
    assert await echo(connection) == {"v": 1}
    pid = connection.details["pid"]
    await connection.close(within=1.0)
    assert not alive(pid)
    await connection.close(within=1.0)  # twice is fine


async def test_a_close_that_is_cancelled_leaves_nothing_either(bench: Bench) -> None:
    connection = await bench.nasty("s16")
    closing = asyncio.create_task(connection.close(within=30.0))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await none_left(bench.run)


async def test_an_opening_that_is_cancelled_leaves_nothing(bench: Bench) -> None:
    opening = asyncio.create_task(bench.nasty("s01"))
    await some_running(bench.run, 1)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await none_left(bench.run)


async def test_bwrap_that_is_demanded_and_missing_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None: ...

    monkeypatch.setattr(process.shutil, "which", nothing)
    config = ServerConfig("s", StdioTransport(sys.executable), reap="bwrap")
    with pytest.raises(ServerUnavailable, match="bwrap"):
        await process.wrap_for(config)
    assert await process.wrap_for(ServerConfig("s", StdioTransport(sys.executable))) == process.Wrap((), "group")


def test_the_environment_is_what_was_declared_and_the_usual_few() -> None:
    ours = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "GITHUB_TOKEN": "hunter2", "PYTHONPATH": "x"}
    assert process.environment({"MINE": "1", "HOME": "/srv"}, ours) == {
        "PATH": "/bin",
        "HOME": "/srv",
        "LC_ALL": "C",
        "MINE": "1",
    }


@pytest.mark.parametrize(
    ("transport", "why"),
    [
        (StdioTransport("./no-such-file"), "no-such-file"),
        (StdioTransport("true", cwd="/no/such/folder"), "working directory"),
        (StdioTransport("\x1b[31mred"), "red"),
    ],
)
async def test_what_cannot_be_started_is_named(bench: Bench, transport: StdioTransport, why: str) -> None:
    with pytest.raises(ServerUnavailable, match=why) as caught:
        await bench.open(ServerConfig("s", transport))
    assert caught.value.reason == "spawn"
    assert "\x1b" not in str(caught.value)


async def test_a_relative_program_is_found_in_its_working_directory(bench: Bench, tmp_path: Path) -> None:
    program = bench.script("server", f"#!{sys.executable}\n" + next(NASTY.glob("s00*.py")).read_text())
    program.chmod(0o755)
    env = {"PYTHONPATH": str(NASTY), "NASTY_RUN": bench.run}
    connection = await bench.open(ServerConfig("nasty", StdioTransport("./server", (), env, cwd=str(tmp_path))))
    assert await echo(connection) == {"v": 1}
