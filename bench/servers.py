"""What the bundled servers cost over a bare FastMCP server: CPU time to start, and per call.

Run it as `python -m bench.servers`. A start is the user CPU time of a whole process whose client goes away at once; a
call is made in process, by the server and by a FastMCP tool written by hand: one read of the same small file, and one
and a hundred issues from the same answer of GitHub.
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
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from fastmcp import FastMCP

from bench.rows import Row, ratio, show
from motet_servers.filesystem.__main__ import COMMAND
from motet_servers.filesystem.server import build
from motet_servers.github.server import github_server
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


ISSUE = {
    "number": 1,
    "title": "It is slow",
    "state": "open",
    "html_url": "https://x.test/1",
    "body": "b" * 200,
    "created_at": "2026-11-23T00:00:00Z",
    "updated_at": "2026-11-23T00:00:00Z",
    "user": {"login": "ada"},
    "labels": [{"name": "bug"}],
    "assignees": [],
    "comments": 3,
}


def answered(request: httpx2.Request) -> httpx2.Response:
    """GitHub, without a network: one issue or a page of a hundred."""
    many = request.url.path.endswith("/issues")
    return httpx2.Response(200, json=[{**ISSUE, "number": number} for number in range(1, 101)] if many else ISSUE)


async def issues() -> dict[str, dict[str, list[float]]]:
    """CPU seconds per call of each tool, ours and by hand, in alternating rounds."""
    transport = httpx2.MockTransport(answered)
    ours = github_server("https://github.test", "x" * 20, repository="acme/app", transport=transport)
    bare: FastMCP[Any] = FastMCP("by-hand")
    spent: dict[str, dict[str, list[float]]] = {
        "get_issue": {"ours": [], "bare": []},
        "list_issues": {"ours": [], "bare": []},
    }
    async with httpx2.AsyncClient(base_url="https://github.test/repos/acme/app", transport=transport) as client:

        @bare.tool
        async def get_issue(number: int) -> dict[str, Any]:
            return (await client.get(f"/issues/{number}")).raise_for_status().json()

        @bare.tool
        async def list_issues(limit: int) -> dict[str, Any]:
            return {"items": (await client.get("/issues", params={"per_page": limit})).raise_for_status().json()}

        for tool, arguments in (("get_issue", {"number": 1}), ("list_issues", {"limit": 100})):
            for _ in range(ROUNDS):
                spent[tool]["ours"].append(await per_call(partial(ours.call_tool, tool, arguments)))
                spent[tool]["bare"].append(await per_call(partial(bare.call_tool, tool, arguments)))
    return spent


def issue_rows() -> list[Row]:
    """A vendor's answer, by ours and by hand."""
    return [
        Row(
            f"{what} / a FastMCP tool by hand ({statistics.median(spent['bare']) * 1e6:.0f} µs)",
            f"{(of := ratio(spent['ours'], spent['bare'])):.2f}",
            "≤ 1.3",
            of <= 1.3,
        )
        for what, spent in zip(("one issue", "a page of 100 issues"), asyncio.run(issues()).values(), strict=True)
    ]


def rows() -> list[Row]:
    """Measure."""
    return [*start_rows(), call_row(), *issue_rows()]


if __name__ == "__main__":
    show("The bundled servers", rows())
