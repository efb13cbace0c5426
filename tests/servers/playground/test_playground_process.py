"""The playground as the process that others start."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2


@asynccontextmanager
async def started(*arguments: str) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "motet_servers.playground", *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def told(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(15):
        return json.loads(await process.stdout.readline())


async def ended(process: Process) -> int:
    async with asyncio.timeout(15):
        return await process.wait()


async def test_it_says_where_everything_is_and_every_token_is_new() -> None:
    async with started() as first, started() as second:
        one, other = await told(first), await told(second)
    assert isinstance(one["control"], str)
    shape = {name: sorted(one[name]) for name in one if name != "control"}
    assert shape == {
        "github": ["GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN"],
        "jira": ["JIRA_PERSONAL_TOKEN", "JIRA_URL"],
        "slack": ["SLACK_API_URL", "SLACK_BOT_TOKEN"],
        "calendar": ["CALDAV_PASSWORD", "CALDAV_URL", "CALDAV_USERNAME"],
    }
    assert one["github"]["GITHUB_REPOSITORY"] == "acme/app"
    secrets = [
        (each["github"]["GITHUB_TOKEN"], each["jira"]["JIRA_PERSONAL_TOKEN"], each["slack"]["SLACK_BOT_TOKEN"])
        for each in (one, other)
    ]
    assert len({*secrets[0], *secrets[1]}) == 6


async def test_it_ends_when_its_stdin_does() -> None:
    async with started() as process:
        await told(process)
        assert process.stdin is not None
        process.stdin.close()
        assert await ended(process) == 0


async def test_it_ends_at_sigterm() -> None:
    async with started() as process:
        await told(process)
        process.terminate()
        assert await ended(process) == 0


async def test_a_port_in_use_is_named_with_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with started("--port", str(taken.getsockname()[1])) as process:
            assert await ended(process) == 2
            assert process.stderr is not None
            said = (await process.stderr.read()).decode()
    assert "address already in use" in said
    assert "Traceback" not in said


async def test_a_broken_seed_is_named_with_exit_code_2(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text('{"repositories": "acme/app"}')
    async with started("--seed", str(seed)) as process:
        assert await ended(process) == 2
        assert process.stderr is not None
        assert (await process.stderr.read()).decode() == "playground: repositories must be a list\n"


async def test_a_seed_file_is_the_world(tmp_path: Path) -> None:
    seed = tmp_path / "seed.json"
    seed.write_text(
        json.dumps({"repositories": [{"full_name": "me/mine", "releases": {"v9": "2026-01-01T00:00:00Z"}}]})
    )
    async with started("--seed", str(seed)) as process:
        where = (await told(process))["github"]
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {where['GITHUB_TOKEN']}"}) as client:
            latest = await client.get(f"{where['GITHUB_API_URL']}/repos/me/mine/releases/latest")
    assert latest.json()["tag_name"] == "v9"


async def test_control_answers_only_below_its_secret_path() -> None:
    async with started() as process:
        control = (await told(process))["control"]
        async with httpx2.AsyncClient() as client:
            without = await client.get(f"{control.rpartition('/')[0]}/state")
            state = (await client.get(f"{control}/state")).json()
            ordered = await client.put(f"{control}/trouble/jira", json={"kind": "nonsense"})
            unknown = await client.put(f"{control}/trouble/gitlab", json={"kind": "down"})
    assert (without.status_code, ordered.status_code, unknown.status_code) == (404, 422, 404)
    assert state["jira"]["PROJ-42"]["status"] == "In Review"
    assert "kind must be one of none, down, slow" in ordered.json()["error"]
