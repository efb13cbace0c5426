"""`motet` killed with -9 in the middle of a run, and what the next command makes of it: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("deploy_server.py")
pytestmark = pytest.mark.timeout(90)
FLOW = """\
motet: 1
name: deploy
inputs: {version: string}
steps:
  deploy:
    call: deploy.deploy
    with: {version: "${{ inputs.version }}"}
    undo: {call: deploy.rollback, with: {to: "${{ deploy.version }}"}}
  healthy: {call: deploy.check, needs: [deploy]}
  ticket: {call: jira.move, with: {to: "${{ deploy.version }}"}, needs: [healthy], on_error: continue}
output: {version: "${{ deploy.version }}", ticket: "${{ steps.ticket.status }}"}
"""
ASKS = """\
motet: 1
name: asks
steps:
  where: {call: deploy.ask}
  deploy: {call: deploy.deploy, with: {region: "${{ where.region }}"}}
output: {region: "${{ where.region }}", state: "${{ where.state }}"}
"""


@dataclass
class Terminal:
    """Commands in a folder of their own."""

    folder: Path
    place: str

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "MOTET_STATE_DIR": str(self.folder / "state"), "MOTET_JOURNAL": self.place}

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command, and leave it."""
        command = [sys.executable, "-m", "motet", *arguments]
        return subprocess.Popen(command, cwd=self.folder, stdout=-1, stderr=-1, text=True, env=self.environment)

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command to its end: its code, and what it said."""
        with self.begin(*arguments) as process:
            out, err = process.communicate(timeout=60)
            return process.returncode, out, err

    def report(self, *arguments: str) -> dict[str, Any]:
        """The report that a command prints."""
        code, out, err = self(*arguments, "--json")
        assert out, err
        return {**json.loads(out), "code": code}

    def effects(self) -> list[str]:
        path = self.folder / "effects"
        return path.read_text().split() if path.exists() else []

    def until_checking(self) -> None:
        """Return once `healthy` is in flight, and the journal says so; pytest's time limit bounds it."""
        while not (self.folder / "checking").exists():
            time.sleep(0.01)  # noqa: TID251 - waits for another process
        self.until_journalled(event="started", key="healthy")

    def until_journalled(self, **wanted: str) -> None:
        """Return once the journal has such an entry."""
        run = json.loads(self("runs", "--json")[1])[0]["id"]
        while not any(wanted.items() <= entry.items() for entry in self.report("show", run, "--history")["history"]):
            pass

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate(timeout=20)


@pytest.fixture
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Terminal:
    """On a journal in a file, or on what the test asks for."""
    place = str(tmp_path / "runs.sqlite")
    if getattr(request, "param", "sqlite") == "postgresql":
        place = request.getfixturevalue("database")()
    made = Terminal(tmp_path, place)
    servers: list[str] = []
    for name, patience in (("deploy", "30s"), ("jira", "3s")):
        servers += [f"[servers.{name}]", f"command = {json.dumps(sys.executable)}", "trusted = true", 'reap = "group"']
        servers += [f"args = {json.dumps([str(SERVER), str(tmp_path), name])}", f'timeout = {{call = "{patience}"}}']
    made.write("motet.toml", "\n".join(servers))
    made.write("deploy.yaml", FLOW)
    made.write("asks.yaml", ASKS)
    return made


@pytest.mark.parametrize("terminal", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.proves("FR-ORCH-004")
def test_killed_after_the_deploy_it_goes_on_without_deploying_again_and_the_ticket_is_done_when_jira_is_back(
    terminal: Terminal,
) -> None:
    run = terminal.begin("run", "deploy.yaml", "-i", "version=v2", "--id", "one")
    terminal.until_checking()
    terminal.kill(run)
    assert terminal.effects() == ["deploy"]
    terminal.write("gate", "")
    terminal.write("jira.down", "")
    partial = terminal.report("resume", "one")
    assert (partial["code"], partial["status"], partial["pending"][0]["command"]) == (3, "partial", "motet resume one")
    (terminal.folder / "jira.down").unlink()
    done = terminal.report("resume", "one")
    assert (done["code"], done["status"], done["output"]) == (0, "complete", {"version": "v2", "ticket": "done"})
    assert terminal.effects() == ["deploy", "move"]
    assert terminal("verify", "one")[:2] == (0, "the journal of run one is whole\n")


def test_a_killed_run_goes_on_with_its_id_or_its_key_and_as_it_was_begun(terminal: Terminal) -> None:
    run = terminal.begin("run", "deploy.yaml", "-i", "version=v2", "--key", "k")
    terminal.until_checking()
    terminal.kill(run)
    terminal.write("gate", "")
    terminal.write("deploy.yaml", FLOW.replace("jira.move", "jira.rollback"))
    code, out, err = terminal("run", "deploy.yaml", "-i", "version=v3", "--key", "k")
    assert (code, "complete: deploy" in out) == (0, True), err
    assert "is there already and goes on as it was begun; its workflow is not what you give now" in err
    assert terminal.effects() == ["deploy", "move"]


def test_a_question_is_answered_from_another_terminal(terminal: Terminal) -> None:
    waiting = terminal.report("run", "asks.yaml", "--id", "one")
    left = waiting["pending"][0]
    assert (waiting["code"], left["reason"], left["command"]) == (4, "Which region?", "motet answer one where")
    code, _, err = terminal("answer", "one", "where", "region=mars")
    assert (code, "it asks for region" in err) == (2, True)
    assert terminal("answer", "one", "where", "region=eu")[:2] == (
        0,
        "where of run one: answered; go on with: motet resume one\n",
    )
    done = terminal.report("resume", "one")
    assert (done["status"], done["output"]) == ("complete", {"region": "eu", "state": "opaque"})
    assert terminal.effects() == ["ask", "deploy"]


def test_two_terminals_never_drive_one_run_and_each_can_watch_and_end_it(terminal: Terminal) -> None:
    with terminal.begin("run", "deploy.yaml", "-i", "version=v2", "--id", "one") as first:
        terminal.until_checking()
        code, _, err = terminal("resume", "one")
        assert (code, "run one is being driven by another process" in err) == (1, True)
        follower = terminal.begin("show", "one", "--follow")
        assert terminal("cancel", "one")[:2] == (0, "run one is being cancelled\n")
        terminal.until_journalled(event="cancelled")
        terminal.write("gate", "")
        out, err = first.communicate(timeout=30)
        assert (first.returncode, "cancelled: deploy" in out) == (1, True), err
        followed, told = follower.communicate(timeout=30)
        assert (follower.returncode, "cancelled: deploy" in followed) == (1, True), told
    assert terminal.effects() == ["deploy", "rollback"]


def test_ctrl_c_pauses_a_run_and_twice_leaves_it_as_it_is(terminal: Terminal) -> None:
    with terminal.begin("run", "deploy.yaml", "-i", "version=v2", "--id", "one") as run:
        terminal.until_checking()
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("pausing"):
                break
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=30)
        assert run.returncode == 130
    assert terminal.report("show", "one")["status"] == "running"
    terminal.write("gate", "")
    assert terminal.report("resume", "one")["status"] == "complete"
    assert terminal.effects() == ["deploy", "move"]
