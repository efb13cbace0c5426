"""Runs that outlive their process: the commands around the journal."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
FLOW = """\
motet: 1
name: relay
steps:
  said: {call: alto.say, with: {text: la}}
  kept:
    call: tenor.keep
    with: {text: "${{ said.said }}"}
    undo: {call: tenor.forget, with: {text: "${{ kept.kept }}"}}
    on_error: ON_ERROR
  asked: {approval: "Go on?", needs: [kept]}
  last: {call: alto.say, with: {text: end}, needs: [asked]}
output: "${{ last.said }}"
"""


@pytest.fixture
def flow(folder: Path) -> Callable[..., str]:
    def write(*, approval: bool = True, on_error: str = "fail", tool: str = "tenor.keep") -> str:
        text = FLOW.replace("ON_ERROR", on_error).replace("tenor.keep", tool)
        if not approval:
            text = text.replace('{approval: "Go on?", needs: [kept]}', "{set: {yes: true}, needs: [kept]}")
        (folder / "relay.yaml").write_text(text)
        return "relay.yaml"

    return write


def test_a_run_waits_for_an_approval_and_goes_on_after_it(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    waiting = motet("run", flow(), "--id", "one", "--json")
    assert (waiting.code, waiting.json["status"]) == (4, "waiting")
    assert waiting.json["pending"][0]["command"] == "motet approve one asked"
    said = motet("approve", "one", "asked", "--note", "fine")
    assert (said.code, said.out) == (
        0,
        "asked of run one: approved; go on with: motet resume one\n",
    )
    done = motet("resume", "one", "--json")
    assert (done.code, done.json["status"], done.json["output"]) == (0, "complete", "end")


def test_a_rejected_run_fails_and_undoes_what_it_did(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    motet("run", flow(), "--id", "one")
    motet("reject", "one", "asked")
    done = motet("resume", "one", "--json")
    assert (done.code, done.json["status"], done.json["undone"]) == (1, "failed", ["kept"])


def test_a_partial_run_is_finished_when_its_server_is_back(motet: Run, choir: Run, flow: Run):
    broken = choir("alto", "tenor", more={"tenor": 'tools = {approve = ["nothing"]}'})
    name = flow(approval=False, on_error="continue")
    motet("servers")
    text = broken.read_text()
    broken.write_text(text.replace("choir.py", "gone.py", 2).replace("gone.py", "choir.py", 1))
    partial = motet("run", name, "--id", "one", "--json")
    assert (partial.code, [left["step"] for left in partial.json["pending"]]) == (3, ["kept"])
    assert partial.json["pending"][0]["command"] == "motet resume one"
    broken.write_text(text)
    done = motet("resume", "one", "--json")
    assert (done.code, done.json["status"]) == (0, "complete")


def test_an_unknown_outcome_waits_for_a_person(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor", more={"tenor": 'timeout = {call = "300ms"}'})
    waiting = motet("run", flow(approval=False, tool="tenor.hang"), "--id", "one", "--json")
    assert (waiting.code, waiting.json["attention"][0]["step"]) == (4, "kept")
    assert motet("resolve", "one", "kept", "--done", '{"kept": "la"}').code == 0
    done = motet("resume", "one", "--json")
    assert (done.code, done.json["status"]) == (0, "complete")


def test_the_same_id_or_key_is_the_same_run(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    name = flow(approval=False)
    first = motet("run", name, "--key", "k", "--json").json
    again = motet("run", name, "--key", "k", "--json").json
    assert (again["run"], again["steps"]) == (first["run"], first["steps"])


def test_runs_are_listed_shown_verified_run_again_and_forgotten(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    motet("run", flow(approval=False), "--id", "one")
    again = motet("rerun", "one", "--json").json
    assert [(row["id"], row["status"], row["rerun_of"]) for row in motet("runs", "--json").json] == [
        (again["run"], "complete", "one"),
        ("one", "complete", None),
    ]
    shown = motet("show", "one", "--history", "--json")
    assert (shown.code, shown.json["status"], bool(shown.json["history"])) == (0, "complete", True)
    lines = motet("show", "one", "--history").out.splitlines()
    assert [line[25:].partition(" {")[0] for line in lines if line[23:25] == "Z "] == [
        "began",
        "started said",
        "finished said",
        "started kept",
        "finished kept",
        "started last",
        "finished last",
        "ended",
    ]
    assert motet("verify", "one").out == "the journal of run one is whole\n"
    assert motet("prune", "--older-than", "0s").out == "2 runs forgotten\n"
    assert motet("runs", "--json").json == []


def test_a_cancelled_run_is_taken_back(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    motet("run", flow(), "--id", "one")
    done = motet("cancel", "one", "--json")
    assert (done.code, done.json["status"], done.json["undone"]) == (0, "cancelled", ["kept"])


def test_every_interrupted_run_is_gone_on_with(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    motet("run", flow(), "--id", "one")
    motet("approve", "one", "asked")
    done = motet("resume", "--all", "--json")
    assert (done.code, {run: report["status"] for run, report in done.json.items()}) == (0, {"one": "complete"})


def test_a_run_is_left_alone_where_its_servers_are_not_configured(motet: Run, choir: Run, flow: Run):
    choir("alto", "tenor")
    motet("run", flow(), "--id", "one")
    motet("approve", "one", "asked")
    choir("alto")
    one, every = motet("resume", "one"), motet("resume", "--all", "--json")
    said = "the run may need `tenor`, which is not configured here"
    assert (one.code, one.err.splitlines()[0]) == (2, f"error: {said}")
    assert (every.code, every.json["one"]["error"]["message"]) == (2, said)
    assert motet("show", "one").code == 4


def process(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "motet", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=-1, stderr=-1, text=True, env=dict(os.environ))


def test_a_run_killed_in_a_write_knows_that_it_does_not_know(motet: Run, choir: Run, flow: Run, folder: Path):
    choir("alto", "tenor")
    with process(folder, "run", flow(approval=False, tool="tenor.hang"), "--id", "one") as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("  done     said"):
                break
        wait_for_start(motet, "kept")
        running.kill()
    resumed = motet("resume", "one", "--json")
    assert (resumed.code, resumed.json["attention"][0]["step"]) == (4, "kept")
    assert next(step["attempts"] for step in resumed.json["steps"]) == 1


def wait_for_start(motet: Run, step: str) -> None:
    """Until the journal says that the step's call was begun; pytest's time limit bounds it."""
    while not any(entry.get("key") == step for entry in motet("show", "one", "--history", "--json").json["history"]):
        pass


def test_ctrl_c_pauses_a_run_and_says_how_to_go_on(motet: Run, choir: Run, flow: Run, folder: Path):
    choir("alto", "tenor", more={"tenor": 'timeout = {call = "2s"}'})
    with process(folder, "run", flow(approval=False, tool="tenor.hang", on_error="continue"), "--id", "one") as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("  done     said"):
                break
        wait_for_start(motet, "kept")
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=15)
    assert (running.returncode, "go on with: motet resume one" in err) == (130, True)
    assert "last" not in {step["step"] for step in motet("show", "one", "--json").json["steps"] if step["ok"]}


def test_a_run_that_is_not_there(motet: Run, choir: Run):
    choir("alto")
    for arguments in (("show", "x"), ("resume", "x"), ("approve", "x", "y"), ("cancel", "x"), ("verify", "x")):
        said = motet(*arguments)
        assert (said.code, said.err) == (1, "error: there is no run `x`\ntry: motet runs\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("resume",), "name one RUN, or say --all"),
        (("resolve", "x", "y"), "say one of --done, --failed and --retry"),
        (("resolve", "x", "y", "{", "--done"), "DATA is not valid JSON"),
        (("prune", "--older-than", "soon"), "'soon' is no duration"),
        (("run", "x.yaml", "--memory", "--id", "x"), "--id and --key belong to a run with a journal"),
    ],
)
def test_usage_of_the_run_commands(motet: Run, choir: Run, arguments: tuple[str, ...], says: str):
    choir("alto")
    said = motet(*arguments)
    assert (said.code, says in said.err) == (2, True), said.err
