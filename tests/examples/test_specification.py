"""The two test examples of the specification ("Testing Multi-Server Compositions"), as they are written there.

Servers stand under the names `github-mcp-server` and `jira-server`; `motet.servers[…]` takes the place of the module's
server objects, and arguments that of `{...}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from motet import CallError, Orchestrator
from motet.testing import mock_server_down

pytestmark = pytest.mark.timeout(60)  # five servers are built for each test

Configured = Callable[[Mapping[str, str]], dict[str, Any]]
NAMES = {"github-mcp-server": "github", "jira-server": "jira"}


@pytest.mark.proves("FR-ORCH-001", "CP-04")
async def test_cross_server_workflow(configured: Configured):
    """Test that servers work independently in a composition."""
    async with Orchestrator.from_config(configured(NAMES)) as motet:
        # Each server operates independently
        github_result = await motet.servers["github-mcp-server"].call_tool("get_latest_release", {"repo": "acme/app"})
        jira_result = await motet.servers["jira-server"].call_tool("get_issue", {"key": "PROJ-42"})

        # Both succeed independently
        assert github_result is not None
        assert jira_result is not None
        assert (github_result.data["tag_name"], jira_result.data["key"]) == ("v2.1.0", "PROJ-42")


@pytest.mark.proves("FR-ORCH-004")
async def test_failure_isolation(configured: Configured):
    """Test that one server's failure doesn't affect others."""
    async with Orchestrator.from_config(configured(NAMES)) as motet:
        # Simulate Jira down
        with mock_server_down("jira-server"):
            # GitHub should still work
            github_result = await motet.servers["github-mcp-server"].call_tool(
                "create_issue", {"title": "It breaks", "body": "When Jira is down."}
            )
            assert github_result is not None
            assert github_result.data["number"] == 4
            with pytest.raises(CallError, match="down"):
                await motet.servers["jira-server"].call_tool("get_issue", {"key": "PROJ-42"})

        # and Jira works again afterwards
        assert (await motet.servers["jira-server"].call_tool("get_issue", {"key": "PROJ-42"})).data["key"] == "PROJ-42"
