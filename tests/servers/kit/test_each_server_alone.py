"""Each bundled server by its own console script, with only its own extra, and no vendor to reach."""

from __future__ import annotations

import ast
import asyncio
import os
import sys
import tomllib
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson
import pytest
from packaging.utils import canonicalize_name

from motet_servers.playground.world import Playground

sys.path.append(str(Path(__file__).parent))  # test folders are no packages

from alone import installed_with

HERE = Path(__file__).parent
SERVERS = HERE.parents[2] / "src" / "motet_servers"
PROJECT: dict[str, Any] = tomllib.loads((HERE.parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
NOWHERE = "https://vendor.invalid/api"
ENVIRONMENT = {
    "filesystem": {"FILESYSTEM_ROOTS": "."},
    "github": {"GITHUB_TOKEN": "x", "GITHUB_API_URL": NOWHERE},
    "database": {"DATABASE_URL": "postgresql://u:p@vendor.invalid/d"},
    "jira": {"JIRA_URL": NOWHERE, "JIRA_PERSONAL_TOKEN": "x"},
    "calendar": {"CALDAV_URL": NOWHERE, "CALDAV_USERNAME": "u", "CALDAV_PASSWORD": "x"},
    "deploy": {"DEPLOY_ROOT": "."},
    "slack": {"SLACK_BOT_TOKEN": "x", "SLACK_API_URL": NOWHERE},
}
SCHEMES = {"filesystem": "files", "database": "db"}
"""Where it is not the server's name."""


def test_every_server_has_a_console_script_an_extra_of_its_name_and_a_place_in_the_one_for_all() -> None:
    scripts = {name for name in PROJECT["scripts"] if name.startswith("motet-server-")}
    assert scripts == {f"motet-server-{name}" for name in ENVIRONMENT}
    extras = PROJECT["optional-dependencies"]
    assert ENVIRONMENT.keys() <= extras.keys()
    everything = extras["servers"][0].removeprefix("motet[").removesuffix("]").split(",")
    assert set(everything) == ENVIRONMENT.keys()


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_everything_it_imports_anywhere_comes_with_its_extra(name: str) -> None:
    owners = metadata.packages_distributions()
    brought = installed_with(name)
    missing = {
        module
        for package in (name, "kit")
        for file in (SERVERS / package).glob("*.py")
        for module in imported(file.read_text("utf-8"))
        if module not in sys.stdlib_module_names | {"motet_servers"}
        and not {canonicalize_name(owner) for owner in owners[module]} & brought
    }
    assert missing == set()


def imported(source: str) -> Iterator[str]:
    """The packages a module imports, also inside its functions."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str(module)):
                yield module.partition(".")[0]
            case _:
                pass


@asynccontextmanager
async def started(server: str, extra: str, folder: Path, environment: Mapping[str, str]) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HERE / "alone.py"), server, extra, str(folder / "report.json")),
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        cwd=folder,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(50):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def asked(process: Process, method: str, **params: Any) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(orjson.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}) + b"\n")
    return orjson.loads(await process.stdout.readline())["result"]


async def introduced(process: Process) -> dict[str, Any]:
    """What it says of itself to a client."""
    who = {"name": "t", "version": "1"}
    said = await asked(process, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=who)
    assert process.stdin is not None
    process.stdin.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    return said


@pytest.mark.proves("FR-ORCH-001", "FR-ORCH-005")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ENVIRONMENT)
async def test_its_extra_is_enough_to_list_everything_without_reaching_anybody_and_motet_is_not_loaded(
    name: str, tmp_path: Path
) -> None:
    async with started(name, name, tmp_path, ENVIRONMENT[name]) as process:
        assert process.stdin is not None
        begun = await introduced(process)
        tools = (await asked(process, "tools/list"))["tools"]
        listed = [each["uri"] for each in (await asked(process, "resources/list"))["resources"]]
        templates = (await asked(process, "resources/templates/list"))["resourceTemplates"]
        process.stdin.close()
        assert await process.wait() == 0
    boundary = begun["capabilities"]["experimental"]["motet/boundary"]
    scheme = f"{SCHEMES.get(name, name)}://"
    assert boundary["tools"] == [tool["name"] for tool in tools]
    assert all({"outputSchema", "annotations", "_meta", "description"} <= tool.keys() for tool in tools)
    assert boundary["capabilities"].keys() == {"tools", "resources"}
    addresses = [*listed, *boundary["uris"], *(each["uriTemplate"] for each in templates)]
    assert [address for address in addresses if not address.startswith(scheme)] == []
    assert all(each.get("mimeType") for each in templates)
    assert orjson.loads((tmp_path / "report.json").read_bytes()) == {"motet": False, "reached": []}


FIRST: dict[str, tuple[str, dict[str, Any], str, Any]] = {
    "filesystem": ("create", {"path": "a.txt", "content": "x"}, "path", "root/a.txt"),
    "github": ("get_issue", {"number": 1}, "title", "Login page loads slowly"),
    "database": ("query", {"sql": "select 1 as one"}, "rows", [{"one": 1}]),
    "jira": ("get_issue", {"key": "PROJ-42"}, "summary", "Session lookup is too slow"),
    "calendar": ("create_event", {"summary": "Lunch", "start": "2026-11-25"}, "changed", True),
    "deploy": ("list_releases", {"env": "staging"}, "env", "staging"),
    "slack": ("get_channel", {"channel": "#releases"}, "name", "releases"),
}
"""Per server a tool, its arguments, and a field of its answer."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FIRST)
async def test_its_extra_is_enough_to_work_and_a_tool_can_be_the_first_request(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "team").mkdir(parents=True)
    (root / "data.db").touch()
    local = {
        "filesystem": {"FILESYSTEM_ROOTS": str(root)},
        "database": {"DATABASE_URL": f"sqlite:///{root / 'data.db'}"},
        "calendar": {"CALENDAR_FOLDER": str(root)},
        "deploy": {"DEPLOY_ROOT": str(root)},
    }
    tool, arguments, field, expected = FIRST[name]
    async with Playground() as playground:
        vendors: Any = playground.environment()
        async with started(name, name, tmp_path, local.get(name) or vendors[name]) as process:
            await introduced(process)
            answer = await asked(process, "tools/call", name=tool, arguments=arguments)
    assert answer.get("isError") is not True, answer
    assert answer["structuredContent"][field] == expected


async def test_without_its_extra_a_server_says_which_to_install(tmp_path: Path) -> None:
    async with started("calendar", "jira", tmp_path, ENVIRONMENT["calendar"]) as process:
        assert process.stderr is not None
        said = await process.stderr.read()
        assert await process.wait() == 2
    assert said.decode() == (
        "motet-server-calendar: needs the package defusedxml; install it with: pip install 'motet[calendar]'\n"
    )
