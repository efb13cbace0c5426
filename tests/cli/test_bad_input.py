"""What people get wrong, each answered by one clear message, the right exit code, and no traceback."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
READY = 'timeout = {call = "5s", connect = "10s"}'


def test_without_a_configuration_it_says_how_to_get_one(motet: Run, folder: Path):
    said = motet("servers")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"error: no motet.toml in {folder}\n"
        "try: `motet init` writes one; `--config FILE` names yours (a motet.toml, .mcp.json or mcp.json)\n"
    )


def test_a_configuration_that_is_not_there(motet: Run, folder: Path):
    said = motet("servers", "--config", "other.toml")
    assert (said.code, said.err.splitlines()[0]) == (2, f"error: {folder}/other.toml: no such file")
    assert "try: motet init" in said.err


@pytest.mark.parametrize("place", [("--config", "x.toml", "servers"), ("servers", "--config", "x.toml")])
def test_the_configuration_may_be_named_before_or_after_the_command(motet: Run, folder: Path, place: tuple[str, ...]):
    assert "x.toml: no such file" in motet(*place).err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[servers\n", "motet.toml: not valid TOML"),
        ('[servers.a]\ncomand = "x"\n', "motet.toml:2: servers.a.comand: unknown key; did you mean `command`?"),
        ("[servers.a]\n", "motet.toml:1: servers.a: has neither `command` nor `url`"),
        (
            '[servers.a]\ncommand = "x"\ntimeout = "soon"\n',
            "motet.toml:3: servers.a.timeout.call: 'soon' is no duration",
        ),
        ('[servers.a]\ncommand = "x"\nenv = {T = "${NO_SUCH_VARIABLE}"}\n', "the variable NO_SUCH_VARIABLE is not set"),
        ('[servers.a]\ncommand = "x"\nsecrets = {T = "env:NO_SUCH_TOKEN"}\n', "the variable NO_SUCH_TOKEN is not set"),
        ('include = ["gone.json"]\n', "gone.json cannot be read"),
    ],
)
def test_a_broken_configuration_is_named_by_file_and_place(motet: Run, folder: Path, text: str, says: str):
    (folder / "motet.toml").write_text(text)
    said = motet("servers")
    assert said.code == 2
    assert says in said.err.splitlines()[0]


def test_an_unknown_server_is_answered_with_the_nearest(motet: Run, choir: Run):
    choir("alto", "tenor")
    said = motet("call", "alt.say", "text=x")
    assert (said.code, said.err) == (
        2,
        "error: there is no server `alt`; did you mean `alto`?\ntry: there are: alto, tenor\n",
    )


def test_an_unknown_tool_is_answered_with_the_nearest(motet: Run, choir: Run):
    choir("alto")
    said = motet("call", "alto.sya", "text=x")
    assert (said.code, said.err.splitlines()[0]) == (2, "error: alto: there is no tool `sya`; did you mean `say`?")


def test_a_missing_argument_is_named_with_its_type(motet: Run, choir: Run):
    choir("alto")
    said = motet("call", "alto.say")
    assert (said.code, said.err) == (
        2,
        "error: alto: `say`: `text` is missing (expected string)\ntry: motet tools alto.say\n",
    )


def test_text_where_a_number_belongs_is_refused_before_anything_is_sent(motet: Run, choir: Run):
    choir("alto")
    said = motet("call", "alto.say", "text=x", "times=3")
    assert (said.code, "`times`" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("call", "alto"), "'alto' is no tool: write SERVER.TOOL"),
        (("call", "alto.say", "text"), "'text' is no argument: write key=text, or key:=json"),
        (("call", "alto.say", "n:=five"), "n:=five is not valid JSON"),
        (("call",), "Missing argument 'SERVER.TOOL'"),
        (("read",), "Missing argument 'URI...'"),
        (("run", "x.yaml", "--reads"), "--reads belongs to --dry-run"),
        (("calls",), "Did you mean 'call'?"),
        (("call", "--jsn"), "'--json'"),
    ],
)
def test_usage_is_told_by_example(motet: Run, choir: Run, arguments: tuple[str, ...], says: str):
    choir("alto")
    said = motet(*arguments)
    assert (said.code, says in said.err) == (2, True), said.err


def test_a_uri_that_nobody_serves(motet: Run, choir: Run):
    choir("alto")
    said = motet("read", "allto://part")
    assert (said.code, said.err.splitlines()[0]) == (
        2,
        "error: no server claims `allto://part`; did you mean `alto`?",
    )


def test_a_server_whose_program_is_missing_says_so(motet: Run, folder: Path):
    (folder / "motet.toml").write_text('[servers.alto]\ncommand = "no-such-program"\n')
    said = motet("call", "alto.say", "text=x")
    assert said.code == 1
    assert "no-such-program is not a program on its PATH" in said.err
    assert "try: install it, or give the full path as `command`" in said.err


def test_a_missing_credential_is_told_in_the_servers_own_words(motet: Run, folder: Path):
    (folder / "motet.toml").write_text('[servers.github]\ncommand = "motet-server-github"\nreap = "group"\n')
    said = motet("call", "github.get_latest_release", "repo=acme/app")
    assert said.code == 1
    assert "GITHUB_TOKEN is not set" in said.err


@pytest.mark.parametrize("command", [("motet_servers.filesystem", "--http", "."), ("motet_servers.playground",)])
def test_a_port_that_is_taken_is_named(folder: Path, command: tuple[str, ...]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", *command, "--port", port], capture_output=True, text=True, timeout=15
        )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert port in done.stderr


def test_errors_are_json_too_when_json_is_asked_for(motet: Run, folder: Path):
    said = motet("servers", "--json")
    assert (said.code, said.json["error"]["kind"]) == (2, "config")


def test_a_workflow_that_is_not_there(motet: Run, choir: Run):
    choir("alto")
    for command in ("check", "run"):
        said = motet(command, "gone.yaml")
        assert (said.code, "gone.yaml" in said.err, "No such file" in said.err) == (2, True, True)


def test_no_run_begins_while_a_workflow_has_mistakes(motet: Run, choir: Run, folder: Path):
    choir("alto", more={"alto": READY})
    steps = "  a:\n    call: alto.kep\n    with: {text: 5}\n  b:\n    call: alto.say\n    with: {txt: a}\n"
    (folder / "x.yaml").write_text(f"motet: 1\nname: x\nsteps:\n{steps}")
    said = motet("run", "x.yaml")
    assert (said.code, said.out) == (2, "")
    assert "x.yaml:5:16: error: server `alto` has no tool `kep`" in said.err
    assert "did you mean `text`?" in said.err


def test_an_input_that_is_missing_or_unknown(motet: Run, choir: Run, folder: Path):
    choir("alto")
    (folder / "x.yaml").write_text(
        "motet: 1\nname: x\ninputs: {text: {type: string}}\nsteps:\n  a:\n    call: alto.say\n"
        '    with: {text: "${{ inputs.text }}"}\n'
    )
    said = motet("run", "x.yaml", "-i", "txt=a")
    assert (said.code, said.err) == (2, "error: x: input `txt` is unknown; input `text` is missing\n")


def test_other_hosts_files_are_read_as_they_are(motet: Run, choir: Run, folder: Path):
    choir("alto")
    entry: dict[str, Any] = {"command": "no-such-program", "args": [], "description": "theirs"}
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"alto": entry}}))
    said = motet("servers", "--config", ".mcp.json", "--json")
    assert (said.code, [server["name"] for server in said.json["servers"]]) == (1, ["alto"])
