"""The MCP Inspector's own command line lists and calls each bundled server over stdio.

It lists in the protocol's revision 2026-07-28 and calls in the one before. `--strict` makes it judge the tools' schemas
too: one that clients may not take is exit code 6.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standins import node, npm_program

from motet_servers.playground.world import Playground

pytestmark = pytest.mark.timeout(90)  # two node and two server processes each, on a busy machine
PATIENCE = 80.0
"""Seconds for one run of the Inspector."""


@dataclass(frozen=True, slots=True)
class Case:
    server: str
    tool: str
    arguments: tuple[str, ...]
    expected: dict[str, Any]
    """Fields of the answer."""


CASES = [
    Case("filesystem", "create", ("path=note.txt", "content=hello"), {"path": "files/note.txt"}),
    Case("database", "query", ("sql=select 1 + 1 as two",), {"rows": [{"two": 2}]}),
    Case("github", "create_issue", ("title=Hello", "repo=acme/app"), {"title": "Hello", "created": True}),
    Case("jira", "get_issue", ("key=PROJ-42",), {"summary": "Session lookup is too slow"}),
    Case("calendar", "create_event", ("summary=Lunch", "start=2026-11-25"), {"end": "2026-11-26", "changed": True}),
    Case("slack", "send_message", ("channel=#releases", "text=Out"), {"text": "Out", "created": True}),
    Case("deploy", "list_releases", ("env=staging",), {"env": "staging"}),
]


def environment(server: str, playground: Playground, folder: Path) -> dict[str, str]:
    match server:
        case "filesystem":
            return {"FILESYSTEM_ROOTS": f"files={folder}"}
        case "database":
            (folder / "data.db").touch()
            return {"DATABASE_URL": f"sqlite:///{folder / 'data.db'}"}
        case "deploy":
            return {"DEPLOY_ROOT": str(folder)}
        case _:
            found: Any = playground.environment()[server]
            return {str(name): str(value) for name, value in found.items()}


async def inspector(*options: str, server: str, env: dict[str, str]) -> Any:
    """What the Inspector printed, as JSON."""
    program = await asyncio.to_thread(npm_program, "mcp-inspector")
    settings = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
    process = await asyncio.create_subprocess_exec(
        *(
            *program,
            "--cli",
            *settings,
            *options,
            "--connect-timeout",
            f"{PATIENCE * 1000:.0f}",
            "--transport",
            "stdio",
            sys.executable,
            "-m",
            f"motet_servers.{server}",
        ),
        env={
            **os.environ,
            "MCP_CLIENT_CONFIG_PATH": "/no/such/file",
            "PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (process.returncode, out[-1500:], err[-1500:])
    return json.loads(out)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.server)
async def test_the_inspector_lists_and_calls_every_bundled_server(case: Case, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    async with Playground() as playground:
        env = environment(case.server, playground, tmp_path)
        given = [part for argument in case.arguments for part in ("--tool-arg", argument)]
        asking = ["--method", "tools/list", "--strict", "--protocol-era", "modern"]
        calling = ["--method", "tools/call", "--tool-name", case.tool, *given, "--protocol-era", "legacy"]
        async with asyncio.TaskGroup() as both:
            lists = both.create_task(inspector(*asking, server=case.server, env=env))
            calls = both.create_task(inspector(*calling, server=case.server, env=env))
    for tool in lists.result()["tools"]:
        assert {"inputSchema", "outputSchema", "annotations", "_meta", "description"} <= tool.keys()
    called = calls.result()
    answer = called["structuredContent"]
    assert {name: answer[name] for name in case.expected} == case.expected
    assert called.get("isError", False) is False
