"""On a terminal: progress moves, questions are asked, and nothing of it is in the result."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from upstream.authority import authority

Run = Callable[..., Any]
FLOW = """\
motet: 1
name: relay
steps:
  said: {call: alto.say, with: {text: la}}
  asked: {approval: "Keep ${{ said.said }}?"}
  kept: {call: alto.keep, with: {text: "${{ said.said }}"}, needs: [asked]}
"""


def on_terminal(folder: Path, typed: bytes | Callable[[str], bytes], *arguments: str) -> tuple[int, str]:
    """Run `motet` on a terminal of its own and type when it asks; gives exit code and everything shown.

    What is typed may depend on what was shown.
    """
    terminal, theirs = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "motet", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**os.environ, "TERM": "xterm-256color"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
    )
    os.close(theirs)
    shown, answered = b"", False
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the terminal's other end is gone
            break
        if not part:
            break
        shown += part
        if not answered and b"[y/n]" in shown:
            os.write(terminal, typed if isinstance(typed, bytes) else typed(shown.decode()))
            answered = True
    os.close(terminal)
    return process.wait(timeout=15), shown.decode()


@pytest.mark.parametrize(("typed", "code", "says"), [(b"y\n", 0, "complete: relay"), (b"n\n", 1, "failed: relay")])
def test_an_approval_is_asked_in_place(choir: Run, folder: Path, typed: bytes, code: int, says: str):
    choir("alto")
    (folder / "relay.yaml").write_text(FLOW)
    ended, shown = on_terminal(folder, typed, "run", "relay.yaml")
    assert (ended, "Keep la?" in shown, says in shown) == (code, True, True)


def test_ctrl_c_at_a_question_pauses_the_run(choir: Run, folder: Path, motet: Run):
    choir("alto")
    (folder / "relay.yaml").write_text(FLOW)
    ended, shown = on_terminal(folder, b"\x03", "run", "relay.yaml", "--id", "one")
    assert (ended, "go on with: motet resume one" in shown) == (130, True)
    assert motet("show", "one", "--json").json["status"] == "waiting"


def test_tables_are_drawn(choir: Run, folder: Path):
    choir("alto")
    code, shown = on_terminal(folder, b"", "servers")
    assert (code, "─" in shown, "\x1b[32mready" in shown) == (0, True, True)


async def test_a_login_is_asked_for_once_and_remembered(folder: Path):
    def visits_the_page(shown: str) -> bytes:
        (address,) = re.findall(r"Open this address: (\S+)", shown)
        with urlopen(address, timeout=10) as page:  # the page sends the browser back to us
            assert page.read() == b"Logged in. You can close this page."
        return b"y\n"

    def piped(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "motet", *arguments]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=15, check=False)

    async with authority() as (rules, server):
        (folder / "motet.toml").write_text(f'[servers.guarded]\nurl = "{server.url}"\nauth = {{}}\n')
        before = await asyncio.to_thread(piped, "call", "guarded.t")
        assert (before.returncode, before.stderr.splitlines()[-1]) == (
            5,
            "try: log in, on a terminal: motet login guarded",
        )
        code, shown = await asyncio.to_thread(on_terminal, folder, visits_the_page, "login")
        assert (code, shown.splitlines()[-1]) == (0, "guarded: ready")
        after = await asyncio.to_thread(piped, "call", "guarded.t")
        assert (after.returncode, after.stdout, rules.granted) == (0, "done\n", ["authorization_code"])
        again = await asyncio.to_thread(piped, "login")
        assert (again.returncode, "a login takes a person at a terminal" in again.stderr) == (2, True)
