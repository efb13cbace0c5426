import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from motet.cli import session
from motet.cli.options import config_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_work_cleans_up_before_it_ends(number: signal.Signals):
    cleaned: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            cleaned.append("yes")

    with pytest.raises(KeyboardInterrupt):
        session.run(work)
    assert cleaned == ["yes"]


def test_sigterm_also_ends_what_a_shell_started_in_the_background():
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.get_running_loop().create_future()

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as such a shell does
    try:
        with pytest.raises(KeyboardInterrupt):
            session.run(work)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interruption_is_asked_for_and_the_second_is_final(number: signal.Signals):
    heard: list[str] = []

    async def work() -> None:
        def first() -> None:
            heard.append("first")
            os.kill(os.getpid(), number)

        with session.interruptible(first):
            os.kill(os.getpid(), number)
            await asyncio.get_running_loop().create_future()

    with pytest.raises(KeyboardInterrupt):
        session.run(work)
    assert heard == ["first"]


def test_a_bundled_server_is_found_beside_this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "motet.toml"
    path.write_text('[servers.files]\ncommand = "motet-server-filesystem"\n')
    (server,) = session.configured(str(path)).servers.values()
    assert str(Path(sys.executable).with_name("motet-server-filesystem")) in repr(server.transport)


def test_the_variable_names_the_configuration_when_no_option_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOTET_CONFIG", "theirs.toml")
    assert (config_path(None), config_path("mine.toml")) == (Path("theirs.toml"), Path("mine.toml"))
