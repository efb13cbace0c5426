"""Secrets planted in every input of a run turn up nowhere it is stored or shown; where one would, it is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).with_name("leaky_server.py")
pytestmark = pytest.mark.timeout(90)
CANARY = {
    name: f"canary-{name.lower()}-5c1e8f" for name in ("ENV", "ARG", "HEADER", "URL", "INPUT", "FILE", "PASSWORD")
}
CONFIG = """
[secrets]
token = "env:INPUT"
other = "file:secret.txt"

[servers.leaky]
command = PYTHON
args = [SERVER, "--token=${ARG}"]
env = {PASSWORD = "${PASSWORD}"}
secrets = {ENV = "env:ENV", ARG = "env:ARG"}
trusted = true
reap = "group"

[servers.web]
url = "http://127.0.0.1:9/${URL}/mcp?token=${URL}"
headers = {Authorization = "Bearer ${HEADER}"}
secrets = {URL = "env:URL", HEADER = "env:HEADER"}
timeout = {connect = "1s", call = "1s"}
"""
FLOW = """
motet: 1
name: canary
inputs: {token: {type: string, secret: true}, other: {type: string, secret: true}}
steps:
  told: {call: leaky.tell, with: {token: "Bearer ${{ inputs.token }}", other: "${{ inputs.other }}"}}
  again:
    call: leaky.tell
    with: {all: "${{ told }}", token: "${{ inputs.token }}"}
    undo: {call: leaky.tell, with: {token: "${{ inputs.token }}"}}
  failed: {call: leaky.fail, with: {token: "${{ inputs.token }}"}, on_error: continue}
  refused: {call: leaky.refuse, with: {token: "${{ inputs.token }}"}, on_error: continue}
  read: {read: "leaky=nasty://${{ inputs.token }}"}
  web: {call: web.anything, with: {token: "${{ inputs.token }}"}, on_error: continue}
  each: {call: leaky.tell, foreach: "${{ [inputs.token, inputs.other] }}", with: {token: "${{ item }}"}}
  asked: {call: leaky.ask, with: {token: "${{ inputs.token }}"}}
  sly: {call: leaky.sly, with: {token: "${{ inputs.token }}"}, on_error: continue}
  ok: {approval: {message: "With ${{ inputs.token }}?"}, needs: [asked, again]}
  last: {call: leaky.tell, with: {token: "${{ inputs.token }}"}, needs: [ok]}
  end: {call: leaky.fail, with: {token: "${{ inputs.other }}"}, needs: [last]}
output: {told: "${{ told }}", asked: "${{ asked }}"}
"""


def test_no_secret_is_in_the_journal_nor_in_anything_that_is_shown(tmp_path: Path) -> None:
    (tmp_path / "motet.toml").write_text(
        CONFIG.replace("PYTHON", json.dumps(sys.executable)).replace("SERVER", json.dumps(str(SERVER)))
    )
    (tmp_path / "canary.yaml").write_text(FLOW)
    (tmp_path / "secret.txt").write_text(CANARY["FILE"])
    shown: list[str] = []
    environment = {**os.environ, **CANARY, "MOTET_STATE_DIR": str(tmp_path / "state")}

    def motet(*arguments: str) -> int:
        command = [sys.executable, "-m", "motet", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        shown.append(done.stdout + done.stderr)
        return done.returncode

    assert motet("run", "canary.yaml", "-i", "token=token", "-i", "other=other", "--id", "one") == 4, shown
    assert motet("show", "one", "--history", "--json") == 4
    assert motet("answer", "one", "asked", f"why={CANARY['ENV']}") == 1
    assert "the answer holds the value of a configured secret" in shown[-1]
    assert motet("answer", "one", "asked", "why=because") == 0
    assert motet("resume", "one", "--json") == 4
    assert motet("approve", "one", "ok", "--note", f"because {CANARY['INPUT']}") == 0
    assert motet("resume", "one") == 1
    for arguments in (("show", "one"), ("show", "one", "--history"), ("rerun", "one", "--yes"), ("runs", "--json")):
        motet(*arguments)
    assert motet("show", "one", "--json") == 1
    report = json.loads(shown[-1])
    assert report["undone"] == ["again"]
    (sly,) = (step for step in report["steps"] if step["step"] == "sly")
    assert "its own state holds a configured secret" in sly["reason"]
    assert motet("run", "canary.yaml", "-i", "token=token", "-i", "other=other", "--key", CANARY["ARG"]) == 1
    assert motet("verify", "one") == 0
    stored = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in stored)
    places = {path.name: path.read_bytes() for path in stored} | {
        f"said {number}": text.encode() for number, text in enumerate(shown)
    }
    assert [
        (place, name) for place, data in places.items() for name, value in CANARY.items() if value.encode() in data
    ] == []
