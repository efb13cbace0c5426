"""What the bundled servers cost over a bare FastMCP server: CPU time to start, and per call.

Run it as `python -m bench.servers`. A start is the user CPU time of a whole process whose client goes away at once; a
call is made in process, by the server and by a FastMCP tool written by hand: one read of the same small file, and the
same answer of a vendor. Lists of ten thousand are measured by the memory that one page of them takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from fastmcp import FastMCP

from bench.rows import Row, ratio, show
from motet_servers.database.__main__ import COMMAND as DATABASE
from motet_servers.database.server import build as build_database
from motet_servers.filesystem.__main__ import COMMAND as FILES
from motet_servers.filesystem.server import build as build_files
from motet_servers.github.server import github_server
from motet_servers.jira.dialect import DataCenter
from motet_servers.jira.server import jira_server
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import Values
from motet_servers.slack.server import slack_server

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
    ours = build_files(Values(FILES.variables, {}), [folder])
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


STAMP = "2026-11-23T00:00:00Z"
ISSUE = {
    "number": 1,
    "title": "It is slow",
    "state": "open",
    "html_url": "https://x.test/1",
    "body": "b" * 200,
    "created_at": STAMP,
    "updated_at": STAMP,
    "user": {"login": "ada"},
    "labels": [{"name": "bug"}],
    "assignees": [],
    "comments": 3,
}
TICKET = {
    "id": "1",
    "key": "PROJ-1",
    "fields": {
        "summary": "It is slow",
        "description": "b" * 200,
        "status": {"id": "1", "name": "Open", "statusCategory": {"name": "To Do"}},
        "issuetype": {"name": "Bug"},
        "priority": {"name": "High"},
        "project": {"key": "PROJ"},
        "assignee": {"name": "ada", "displayName": "Ada"},
        "labels": ["bug"],
        "created": STAMP,
        "updated": STAMP,
    },
}
SENT = {
    "ok": True,
    "channel": "C0000001",
    "ts": "1788253200.000100",
    "message": {"text": "x", "ts": "1788253200.000100"},
}


def answered(request: httpx2.Request) -> httpx2.Response:
    """The three vendors, without a network: an issue, a page of a hundred, a ticket, a message sent."""
    match request.url.host, request.url.path:
        case "jira.test", _:
            return httpx2.Response(200, json=TICKET)
        case "slack.test", _:
            return httpx2.Response(200, json=SENT)
        case _, path if path.endswith("/issues"):
            return httpx2.Response(200, json=[{**ISSUE, "number": number} for number in range(1, 101)])
        case _:
            return httpx2.Response(200, json=ISSUE)


def by_hand(client: httpx2.AsyncClient) -> FastMCP[Any]:
    """The same calls as a short script would make them."""
    bare: FastMCP[Any] = FastMCP("by-hand")

    async def got(url: str, **params: Any) -> Any:
        return (await client.get(url, params=params)).raise_for_status().json()

    @bare.tool
    async def get_issue(number: int) -> dict[str, Any]:
        return await got(f"https://github.test/repos/acme/app/issues/{number}")

    @bare.tool
    async def list_issues(limit: int) -> dict[str, Any]:
        return {"items": await got("https://github.test/repos/acme/app/issues", per_page=limit)}

    @bare.tool
    async def get_ticket(key: str) -> dict[str, Any]:
        return await got(f"https://jira.test/rest/api/2/issue/{key}", fields=DataCenter.shown)

    @bare.tool
    async def send_message(channel: str, text: str) -> dict[str, Any]:
        form = {"channel": channel, "text": text}
        return (await client.post("https://slack.test/chat.postMessage", data=form)).raise_for_status().json()

    return bare


async def vendor_calls() -> dict[str, dict[str, list[float]]]:
    """CPU seconds per call of each tool, ours and by hand, in alternating rounds."""
    transport = httpx2.MockTransport(answered)
    github = github_server("https://github.test", "x" * 20, repository="acme/app", transport=transport)
    jira = jira_server("https://jira.test", personal_token="x" * 20, transport=transport)
    slack = slack_server("https://slack.test", "x" * 20, transport=transport)
    message = {"channel": "C0000001", "text": "x"}
    pairs: list[tuple[str, DomainServer, str, str, dict[str, Any]]] = [
        ("github: one issue", github, "get_issue", "get_issue", {"number": 1}),
        ("github: a page of 100 issues", github, "list_issues", "list_issues", {"limit": 100}),
        ("jira: one issue", jira, "get_issue", "get_ticket", {"key": "PROJ-1"}),
        ("slack: a message sent", slack, "send_message", "send_message", message),
    ]
    spent: dict[str, dict[str, list[float]]] = {}
    async with httpx2.AsyncClient(transport=transport) as client:
        bare = by_hand(client)
        for what, server, tool, theirs, arguments in pairs:
            spent[what] = {"ours": [], "bare": []}
            for _ in range(ROUNDS):
                spent[what]["ours"].append(await per_call(partial(server.call_tool, tool, arguments)))
                spent[what]["bare"].append(await per_call(partial(bare.call_tool, theirs, arguments)))
    return spent


def vendor_rows() -> list[Row]:
    """A vendor's answer, by ours and by hand."""
    return [
        Row(
            f"{what} / a FastMCP tool by hand ({statistics.median(spent['bare']) * 1e6:.0f} µs)",
            f"{(of := ratio(spent['ours'], spent['bare'])):.2f}",
            "≤ 1.3",
            of <= 1.3,
        )
        for what, spent in asyncio.run(vendor_calls()).items()
    ]


MANY = 10_000


async def peak(server: DomainServer, tool: str, arguments: dict[str, Any]) -> tuple[float, int]:
    """MiB that a call takes at its highest, and bytes of its answer; after one call to warm up."""
    await server.call_tool(tool, arguments)
    tracemalloc.start()
    try:
        answer = await server.call_tool(tool, arguments)
        return tracemalloc.get_traced_memory()[1] / (1 << 20), len(json.dumps(answer.structured_content))
    finally:
        tracemalloc.stop()


async def pages(folder: Path) -> dict[str, tuple[float, int]]:
    """One page out of ten thousand files, and one out of ten thousand rows."""
    files = folder / "files"
    files.mkdir()
    for number in range(MANY):
        (files / f"{number:05}.txt").touch()
    with contextlib.closing(sqlite3.connect(folder / "rows.db")) as database, database:
        database.execute("create table entries (number integer, text text)")
        database.executemany("insert into entries values (?, ?)", ((number, "t" * 100) for number in range(MANY)))
    listing = build_files(Values(FILES.variables, {}), [str(files)])
    asking = build_database(Values(DATABASE.variables, {"DATABASE_URL": f"sqlite:///{folder / 'rows.db'}"}), [])
    return {
        "files": await peak(listing, "list", {"path": "."}),
        "rows": await peak(asking, "query", {"sql": "select * from entries"}),
    }


def page_rows() -> list[Row]:
    """Lists of ten thousand come in pages, and a page costs as much memory as a page."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(pages(Path(folder)))
    return [
        Row(f"peak of a page out of {MANY:,} {what} ({size / 1024:.0f} KiB)", f"{mib:.1f} MiB", "≤ 4 MiB", mib <= 4)
        for what, (mib, size) in found.items()
    ]


def rows() -> list[Row]:
    """Measure."""
    return [*start_rows(), call_row(), *vendor_rows(), *page_rows()]


if __name__ == "__main__":
    show("The bundled servers", rows())
