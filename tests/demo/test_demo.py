"""`motet demo` as a process of its own: what it says, how it exits, and that it leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BOUND = 110
"""Seconds after which a demo hangs, whatever else the machine has to do."""
pytestmark = pytest.mark.timeout(BOUND + 10)


@dataclass(frozen=True)
class Demo:
    """A place to run the demo in, by which everything it starts can be known."""

    folder: Path
    mark: str

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "motet", "demo", *options]
        environment = {**os.environ, "TMPDIR": str(self.folder), "MOTET_TEST_MARK": self.mark}
        return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment, cwd=self.folder.parent)

    def run(self, *options: str) -> tuple[int, Any]:
        """Exit code and the JSON document."""
        with self.start("--json", *options) as process:
            out, err = process.communicate(timeout=BOUND)
        assert out, err
        return process.returncode, json.loads(out)

    def left(self) -> list[str]:
        """Processes in its folder or with its mark, and what lies in the folder."""
        found: list[str] = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                where, marked = (process / "cwd").readlink(), self.mark.encode() in (process / "environ").read_bytes()
                if marked or where.is_relative_to(self.folder):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found + [path.name for path in self.folder.iterdir()]


@pytest.fixture
def demo(tmp_path: Path) -> Generator[Demo]:
    folder = tmp_path / "tmp"
    folder.mkdir()
    demo = Demo(folder, uuid.uuid4().hex)
    yield demo
    assert demo.left() == []


def statuses(outcome: Any) -> dict[str, str]:
    return {name: pattern["status"] for name, pattern in outcome["patterns"].items()}


def steps(outcome: Any, pattern: str) -> dict[str, str]:
    return {step["step"]: step["status"] for step in outcome["patterns"][pattern]["steps"]}


@pytest.mark.proves("FR-ORCH-001", "FR-ORCH-002", "FR-ORCH-003", "FR-ORCH-004", "CP-04")
def test_the_demo_is_complete_and_with_jira_killed_partial(demo: Demo):
    """What `make demo` runs: both acts in one go."""
    code, (whole, broken) = demo.run("--twice", "--break", "jira")
    assert code == 3
    the_whole_act_is_complete(whole)
    the_others_do_their_work_and_it_says_what_is_pending(broken)


def the_whole_act_is_complete(outcome: Any) -> None:
    assert (outcome["status"], outcome["trouble"]) == ("complete", None)
    assert statuses(outcome) == {"sequential": "complete", "parallel": "complete", "chain": "complete"}
    assert {name: (server["state"], server["domain"]) for name, server in outcome["servers"].items()} == {
        "filesystem": ("ready", "filesystem"),
        "github": ("ready", "github"),
        "database": ("ready", "database"),
        "jira": ("ready", "jira"),
        "calendar": ("ready", "calendar"),
        "deploy": ("ready", "deploy"),
        "slack": ("ready", "slack"),
    }
    answers = {when: json.loads(answer["body"])["version"] for when, answer in outcome["service"].items()}
    assert answers == {"before": "v2.0.0", "after": "v2.1.0"}
    assert outcome["patterns"]["chain"]["output"]["message"] == "v2.1.0 is on staging"


def the_others_do_their_work_and_it_says_what_is_pending(outcome: Any) -> None:
    assert (outcome["status"], outcome["trouble"]) == ("partial", {"kind": "break", "server": "jira"})
    assert statuses(outcome) == {"sequential": "partial", "parallel": "partial", "chain": "partial"}
    assert steps(outcome, "chain") == {
        "release": "done",
        "deploy": "done",
        "healthy": "done",
        "ticket": "failed",
        "tell": "done",
    }
    chain = outcome["patterns"]["chain"]
    assert chain["output"]["message"] == "v2.1.0 is on staging; ticket update pending"
    assert [left["step"] for left in chain["pending"]] == ["ticket"]
    assert chain["finish"] == ["motet call jira.transition_issue key=PROJ-42 status=deployed"]
    assert sorted(outcome["patterns"]["parallel"]["output"]["status"]) == ["deadlines", "pull_requests"]
    assert {name for name, server in outcome["servers"].items() if server["state"] != "ready"} == {"jira"}


def test_a_pattern_that_cannot_go_on_without_its_server_fails(demo: Demo):
    code, outcome = demo.run("--break", "deploy")
    assert (code, statuses(outcome)) == (1, {"sequential": "complete", "parallel": "complete", "chain": "failed"})


@pytest.mark.proves("FR-ORCH-004")
def test_a_silent_server_costs_its_own_results_only(demo: Demo):
    code, outcome = demo.run("--hang", "calendar")
    assert (code, statuses(outcome)) == (3, {"sequential": "complete", "parallel": "partial", "chain": "complete"})
    assert outcome["patterns"]["parallel"]["missing"] == ["status[deadlines]"]


def test_a_slow_server_is_waited_for(demo: Demo):
    code, outcome = demo.run("--slow", "slack")
    assert (code, outcome["status"]) == (0, "complete")


def test_interrupted_it_clears_up(demo: Demo):
    with demo.start("--hang", "jira") as process:  # the first pattern waits for it: there is time to interrupt
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("sequential"):
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=BOUND)
    assert process.returncode == 130


def test_piped_it_speaks_in_plain_lines(demo: Demo):
    with demo.start("--break", "slack") as process:
        out, err = process.communicate(timeout=BOUND)
    assert process.returncode == 3
    assert "\x1b" not in out + err
    assert "  failed   tell     slack.send_message" in err
    assert "chain       partial   v2.1.0 healthy" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--break", "jira", "--hang", "slack"), "one of --break, --hang and --slow at a time"),
        (("--twice",), "--twice wants --break, --hang or --slow"),
        (("--break", "gira"), "Invalid value for '--break': 'gira' is not one of"),
    ],
)
def test_what_it_cannot_do_is_a_usage_error(demo: Demo, options: tuple[str, ...], says: str):
    with demo.start(*options) as process:
        _, err = process.communicate(timeout=BOUND)
    assert (process.returncode, says in err) == (2, True)
