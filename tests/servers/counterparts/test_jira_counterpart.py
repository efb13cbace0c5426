"""Every tool of the jira server against jira820, a Jira Data Center stand-in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastmcp.exceptions import ToolError
from standins import Jira820
from tours import Caller, jira_tour

from motet_servers.jira.server import jira_server

pytestmark = pytest.mark.timeout(60)  # the first test of a worker starts the stand-in


async def test_every_tool_does_its_work_on_jira820(jira820: Jira820, unique: Callable[[str], str]) -> None:
    call = Caller(jira_server(jira820.url, personal_token="any"), lacking={"list_assignees"})
    await jira_tour(call, project="PROJ", assignee="admin", status="Done", key=unique("jira"))
    assert await call.missed() == {"list_assignees"}
    with pytest.raises(
        ToolError, match="Jira has nothing at /rest/api/2/user/assignable/search"
    ):  # jira820 has no /user/assignable/search
        await call("list_assignees", project="PROJ")
