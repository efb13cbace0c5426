from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from fastmcp import Client

from motet_servers.database.__main__ import COMMAND as DATABASE
from motet_servers.deploy.__main__ import COMMAND as DEPLOY
from motet_servers.filesystem.__main__ import COMMAND as FILESYSTEM
from motet_servers.kit.command import ServerCommand
from motet_servers.kit.errors import DomainError
from motet_servers.kit.server import BOUNDARY, ERROR_META, KEY_META, RETRY_META, Retry
from motet_servers.kit.settings import Values

PAGES = Path(__file__).parents[3] / "docs/servers"


def server(command: ServerCommand, tmp_path: Path) -> Any:
    """The server as its command line makes it."""
    from importlib import import_module

    (tmp_path / "queries.toml").write_text('[queries.one]\nsql = "select 1"\n')
    environ = {
        "FILESYSTEM_ROOTS": f"ROOT={tmp_path}",
        "DATABASE_URL": "sqlite:///x.db",
        "DATABASE_QUERIES": str(tmp_path / "queries.toml"),
        "DEPLOY_ROOT": str(tmp_path),
    }
    module, _, function = command.build.partition(":")
    return getattr(import_module(module), function)(Values(command.variables, environ), [])


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the table with that first heading."""
    lines = page.split(f"| {heading} |", 1)[1].splitlines()[2:]
    rows = lines[: lines.index("")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


@pytest.mark.parametrize("command", [FILESYSTEM, DATABASE, DEPLOY], ids=["filesystem", "database", "deploy"])
async def test_the_page_lists_exactly_the_tools_resources_and_variables_there_are(
    command: ServerCommand, tmp_path: Path
) -> None:
    page = (PAGES / f"{command.name.removeprefix('motet-server-')}.md").read_text("utf-8")
    async with Client(server(command, tmp_path)) as client:
        tools = {tool.name: (tool.meta or {})["motet/retry"] for tool in await client.list_tools()}
        resources = {str(resource.uri) for resource in await client.list_resources()}
        resources |= {template.uri_template for template in await client.list_resource_templates()}
    assert {name.strip("`"): retry for name, retry, _ in table(page, "tool")} == tools
    assert {uri.strip("`") for uri, _ in table(page, "resource")} == resources
    assert {variable.name for variable in command.variables} == set(
        re.findall(r"^\| `([A-Z_]{5,})`", page, re.MULTILINE)
    )


def test_the_page_of_all_servers_names_every_retry_class_and_every_kind_of_error() -> None:
    page = (PAGES / "index.md").read_text("utf-8")
    kinds = {each.kind for each in DomainError.__subclasses__() if each.__module__ == DomainError.__module__}
    assert {name.strip("`") for name, _ in table(page, "retry")} == set(get_args(Retry))
    assert {name.strip("`") for name, _ in table(page, "kind")} == kinds
    for name in (BOUNDARY, RETRY_META, KEY_META, ERROR_META):
        assert name in page
