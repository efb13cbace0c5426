"""Three small servers in this very process, as a person would write them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from fastmcp import FastMCP

from motet import Orchestrator


def jira() -> FastMCP[Any]:
    server: FastMCP[Any] = FastMCP(name="jira")

    @server.tool
    def get_issue(key: str) -> dict[str, str]:
        if not key.startswith("PROJ-"):
            raise ValueError(f"no issue {key}")
        return {"key": key, "summary": "It breaks"}

    @server.resource("jira://project/{project}/sprint/current")
    def sprint(project: str) -> str:
        return f"sprint of {project}"

    return server


def github() -> FastMCP[Any]:
    server: FastMCP[Any] = FastMCP(name="github")

    @server.tool
    def create_issue(title: str, body: str = "") -> dict[str, str]:
        return {"title": title, "html_url": "http://localhost/1"}

    @server.resource("github://{owner}/{repo}/pull-requests")
    def pulls(owner: str, repo: str) -> str:
        return f"pulls of {owner}/{repo}"

    return server


@pytest.fixture
async def motet() -> AsyncGenerator[Orchestrator]:
    servers = {
        "jira": {"object": jira(), "boundary": {"schemes": ["jira"]}},
        "github": {"object": github(), "boundary": {"schemes": ["github"]}},
        "late": {"object": jira(), "enabled": False},
    }
    async with Orchestrator.from_config({"servers": servers}) as entered:
        yield entered
