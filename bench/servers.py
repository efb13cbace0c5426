"""What the bundled servers cost over a bare FastMCP server: CPU time to start, and per call.

Run it as `python -m bench.servers`. A start is the user CPU time of a whole process whose client goes away at once; a
call is one read of the same small file, by the filesystem server and by a FastMCP tool written by hand, in process.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastmcp import FastMCP

from bench.rows import Row, ratio, show
from motet_servers.filesystem.__main__ import COMMAND
from motet_servers.filesystem.server import build
from motet_servers.kit.settings import Values

ROUNDS = 7
CALLS = 200
BARE = (
    "from fastmcp import FastMCP\nserver = FastMCP('bare')\n"
    "@server.tool\ndef echo(text: str) -> str:\n    return text\nserver.run(show_banner=False)\n"
)
ENVIRONMENT = {
    "filesystem": {"FILESYSTEM_ROOTS": "."},
    "github": {"GITHUB_TOKEN": "x" * 20},
    "database": {"DATABASE_URL": "sqlite:///none.sqlite"},
    "jira": {"JIRA_URL": "http://127.0.0.1:1", "JIRA_PERSONAL_TOKEN": "x" * 20},
    "calendar": {"CALDAV_URL": "http://127.0.0.1:1", "CALDAV_USERNAME": "u", "CALDAV_PASSWORD": "x" * 20},
    "deploy": {"DEPLOY_ROOT": "."},
    "slack": {"SLACK_BOT_TOKEN": "xoxb-" + "x" * 20},
}


def started(argv: list[str], folder: str, env: dict[str, str]) -> float:
    """User CPU seconds of a server from its start to the end of its input."""
    before = os.times().children_user
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(argv, cwd=folder, env={**inherited, **env}, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"{argv} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return os.times().children_user - before


def start_rows() -> list[Row]:
    """Alternating rounds, every server beside the bare one."""
    spent: dict[str, list[float]] = {name: [] for name in ("bare", *ENVIRONMENT)}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            spent["bare"].append(started([sys.executable, "-c", BARE], folder, {}))
            for name, env in ENVIRONMENT.items():
                spent[name].append(started([sys.executable, "-m", f"motet_servers.{name}"], folder, env))
    bare = statistics.median(spent["bare"])
    return [
        Row(
            f"start of {name} / bare FastMCP ({bare:.2f} s)",
            f"{(of := ratio(spent[name], spent['bare'])):.2f}",
            "≤ 1.2",
            of <= 1.2,
        )
        for name in ENVIRONMENT
    ]


async def per_call(call: Callable[[], Awaitable[Any]]) -> float:
    """CPU seconds per call."""
    began = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - began) / CALLS


def call_row() -> Row:
    """The same read by both."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "note.txt")
        path.write_text("a line\n" * 20)
        spent = asyncio.run(reads(folder, path))
    of = ratio(spent["ours"], spent["bare"])
    each = statistics.median(spent["bare"]) * 1e6
    return Row(f"one read of a file / a FastMCP tool by hand ({each:.0f} µs)", f"{of:.2f}", "≤ 1.3", of <= 1.3)


async def reads(folder: str, path: Path) -> dict[str, list[float]]:
    """CPU seconds per call of each, in alternating rounds."""
    ours = build(Values(COMMAND.variables, {}), [folder])
    bare: FastMCP[Any] = FastMCP("by-hand")

    @bare.tool
    def read(path: str) -> dict[str, str]:
        return {"path": path, "content": Path(path).read_text()}

    named = f"{Path(folder).name}/note.txt"
    spent: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS):
        spent["ours"].append(await per_call(lambda: ours.call_tool("read", {"path": named})))
        spent["bare"].append(await per_call(lambda: bare.call_tool("read", {"path": str(path)})))
    return spent


def rows() -> list[Row]:
    """Measure."""
    return [*start_rows(), call_row()]


if __name__ == "__main__":
    show("The bundled servers", rows())
