"""Real servers that nobody here wrote, over our connections: they list, they answer, they go."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from motet.calls import Call, Progress, ToolResult
from motet.config.model import ServerConfig, StdioTransport, Timeouts
from motet.errors import CallError
from motet.upstream.connection import Connection
from motet.upstream.opening import open_connection
from node.install import install, node
from upstream.bench import alive

pytestmark = pytest.mark.timeout(120)

Open: TypeAlias = Callable[..., Coroutine[Any, Any, Connection]]


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncGenerator[Open]:
    made: list[Connection] = []

    async def open_one(command: str, *args: str, **more: Any) -> Connection:
        transport = StdioTransport(command, args, more.pop("env", {}), cwd=str(tmp_path))
        config = ServerConfig("real", transport, timeout=Timeouts(connect=30, call=20), **more)
        deadline = asyncio.get_running_loop().time() + 60
        connection = await open_connection(config, deadline=deadline, on_changed=lambda _: None)
        made.append(connection)
        return connection

    yield open_one
    for connection in made:
        pid = connection.details["pid"]
        await connection.close(within=5)
        assert not alive(pid)


def npm(name: str) -> tuple[str, str]:
    """Node, and the program of one reference server."""
    return str(node()), str(install() / "node_modules" / "@modelcontextprotocol" / name / "dist" / "index.js")


async def call(connection: Connection, name: str, arguments: dict[str, Any], **more: Any) -> ToolResult:
    until = asyncio.get_running_loop().time() + 20
    reply = await connection.send(Call(server="real", name=name, arguments=arguments, attempt_deadline=until, **more))
    assert isinstance(reply, ToolResult)
    return reply


async def names(connection: Connection) -> set[str]:
    listing = await connection.list_all(deadline=asyncio.get_running_loop().time() + 30)
    assert listing.troubles == {}
    return {tool["name"] for tool in listing.tools}


async def test_server_everything(opened: Open) -> None:
    connection = await opened(*npm("server-everything"))
    listing = await connection.list_all(deadline=asyncio.get_running_loop().time() + 30)
    assert {"echo", "get-sum"} <= {tool["name"] for tool in listing.tools}
    assert listing.resources
    assert listing.templates
    assert listing.prompts
    assert (await call(connection, "echo", {"message": "hi"})).text == "Echo: hi"
    assert "5" in (await call(connection, "get-sum", {"a": 2, "b": 3})).text
    with pytest.raises(CallError):
        await call(connection, "get-sum", {"a": "two"})
    told: list[Progress] = []
    await call(connection, "trigger-long-running-operation", {"duration": 0.3, "steps": 3}, on_progress=told.append)
    assert [step.progress for step in told] == [1, 2, 3]
    structured = await call(connection, "get-structured-content", {"location": "New York"})
    assert "temperature" in structured.body["structuredContent"]
    uri = listing.resources[0]["uri"]
    read = await connection.send(Call(server="real", method="resources/read", name=uri))
    assert read.body["contents"]
    prompt = await connection.send(Call(server="real", method="prompts/get", name=listing.prompts[0]["name"]))
    assert prompt.body["messages"]


async def test_server_filesystem(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    connection = await opened(*npm("server-filesystem"), str(tmp_path))
    assert {"read_text_file", "write_file", "list_directory"} <= await names(connection)
    assert (await call(connection, "read_text_file", {"path": str(tmp_path / "a.txt")})).text == "hello"
    await call(connection, "write_file", {"path": str(tmp_path / "b.txt"), "content": "ünï\u2028code"})
    assert (tmp_path / "b.txt").read_text() == "ünï\u2028code"
    with pytest.raises(CallError) as outside:
        await call(connection, "read_text_file", {"path": "/etc/passwd"})
    assert outside.value.kind == "tool_error"


async def test_server_memory(opened: Open, tmp_path: Path) -> None:
    env = {"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")}
    connection = await opened(*npm("server-memory"), env=env)
    assert {"create_entities", "read_graph"} <= await names(connection)
    entity = {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}
    await call(connection, "create_entities", {"entities": [entity]})
    graph = await call(connection, "read_graph", {})
    assert graph.body["structuredContent"]["entities"] == [entity]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with one commit."""
    repo = tmp_path / "repo"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q", str(repo)], check=True)
    (repo / "file").write_text("1")
    subprocess.run([*git, "-C", str(repo), "add", "file"], check=True)
    subprocess.run([*git, "-C", str(repo), "commit", "-qm", "first commit"], check=True)
    return repo


async def test_mcp_server_git(opened: Open, repo: Path) -> None:
    connection = await opened(sys.executable, "-m", "mcp_server_git", "--repository", str(repo))
    assert {"git_status", "git_log"} <= await names(connection)
    assert "first commit" in (await call(connection, "git_log", {"repo_path": str(repo)})).text
    assert "clean" in (await call(connection, "git_status", {"repo_path": str(repo)})).text


async def test_mcp_server_time(opened: Open) -> None:
    connection = await opened(sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC")
    assert await names(connection) == {"get_current_time", "convert_time"}
    asked = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    assert "21:00" in (await call(connection, "convert_time", asked)).text


async def test_four_real_servers_answer_side_by_side(opened: Open, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        opening = [
            group.create_task(opened(*npm("server-everything"))),
            group.create_task(opened(*npm("server-filesystem"), str(tmp_path))),
            group.create_task(opened(*npm("server-memory"))),
            group.create_task(opened(sys.executable, "-m", "mcp_server_time", "--local-timezone", "UTC")),
        ]
    async with asyncio.TaskGroup() as group:
        listing = [group.create_task(names(task.result())) for task in opening]
    assert all(task.result() for task in listing)
