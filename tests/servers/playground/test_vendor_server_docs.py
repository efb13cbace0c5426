"""The pages of the github, jira and slack servers name every tool with its retry class, resource and variable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from motet_servers.github.__main__ import COMMAND as GITHUB
from motet_servers.github.server import github_server
from motet_servers.jira.__main__ import COMMAND as JIRA
from motet_servers.jira.server import jira_server
from motet_servers.kit.server import RETRY_META, DomainServer
from motet_servers.slack.__main__ import COMMAND as SLACK
from motet_servers.slack.server import slack_server

COMMANDS = {"github": GITHUB, "jira": JIRA, "slack": SLACK}
PAGES = Path(__file__).parents[3] / "docs" / "servers"
SERVERS = {
    "github": lambda: github_server("https://x.test", "token"),
    "jira": lambda: jira_server("https://x.test", personal_token="token"),
    "slack": lambda: slack_server("https://x.test", "token"),
}


@pytest.mark.parametrize("name", SERVERS)
async def test_the_page_lists_what_the_server_offers(name: str) -> None:
    server: DomainServer = SERVERS[name]()
    page = (PAGES / f"{name}.md").read_text()
    tools = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE))
    resources = set(re.findall(rf"^\| `({name}://\S+)` \|", page, re.MULTILINE))
    assert tools == {tool.name: (tool.meta or {})[RETRY_META] for tool in await server.list_tools()}
    assert resources == {str(resource.uri) for resource in await server.list_resources()} | {
        template.uri_template for template in await server.list_resource_templates()
    }
    variables = page.split("| variable |")[1].partition("\n\n")[0]
    assert set(re.findall(r"`([A-Z_]{5,})` *[|,]", variables)) == {each.name for each in COMMANDS[name].variables}
