"""The three servers over a vendor made of a function, and arguments that fit every one of their tools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
from fastmcp.tools.base import Tool

from motet_servers.github.server import github_server
from motet_servers.jira.server import jira_server
from motet_servers.kit.server import DomainServer
from motet_servers.slack.server import slack_server

TOKEN = "canary-0123456789abcdef-token"
USER = "ada"
Reply = Callable[[httpx2.Request], httpx2.Response | Awaitable[httpx2.Response]]
Json = Any


class Vendor(httpx2.AsyncBaseTransport):
    """Answers by a function; remembers what was asked, and says when a request was given up."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.asked: list[httpx2.Request] = []
        self.reached = asyncio.Event()
        self.given_up: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        self.asked.append(request)
        self.reached.set()
        try:
            answer = self._reply(request)
            return answer if isinstance(answer, httpx2.Response) else await answer
        except asyncio.CancelledError:
            self.given_up.append(request)
            raise


def served(name: str, vendor: httpx2.AsyncBaseTransport) -> DomainServer:
    """The server of that name over the vendor."""
    match name:
        case "github":
            return github_server("https://github.test/api", TOKEN, repository="acme/app", transport=vendor)
        case "jira":
            return jira_server("https://jira.test", personal_token=TOKEN, transport=vendor)
        case "jira, by password":
            return jira_server("https://jira.test", basic=(USER, TOKEN), transport=vendor)
        case _:
            return slack_server("https://slack.test/api", TOKEN, transport=vendor)


NAMES = ("github", "jira", "slack")
SAMPLES: dict[str, Json] = {
    "number": 1,
    "repo": "acme/app",
    "title": "t",
    "body": "b",
    "head": "topic",
    "base": "main",
    "tag": "v1",
    "tag_name": "v1",
    "label": "bug",
    "labels": ["bug"],
    "path": "a.md",
    "content": "x",
    "message": "m",
    "key": "PROJ-1",
    "other": "PROJ-2",
    "keys": ["PROJ-1"],
    "project": "PROJ",
    "summary": "s",
    "status": "Done",
    "assignee": "ada",
    "url": "https://page.test/1",
    "board_id": 1,
    "sprint_id": 1,
    "jql": "x",
    "query": "x",
    "channel": "C0000001",
    "ts": "1788253200.000100",
    "thread_ts": "1788253200.000100",
    "text": "x",
    "name": "tada",
    "filename": "x.txt",
    "owner": "acme",  # the names in resources' addresses that no tool has
}
"""By the argument's name, the same in all three."""


def sample(tool: Tool) -> dict[str, Json]:
    """What the tool needs at least; of a change, something to change."""
    needed = list(tool.parameters.get("required", []))
    if tool.name == "update_issue":
        needed += [name for name in ("title", "summary") if name in tool.parameters["properties"]]
    return {name: SAMPLES[name] for name in needed}


async def addresses(server: DomainServer) -> list[str]:
    """An address for every resource and template."""
    fixed = [str(resource.uri) for resource in await server.list_resources()]
    templates = [template.uri_template for template in await server.list_resource_templates()]
    return fixed + [filled(template) for template in templates]


def filled(template: str) -> str:
    """A template's address, its query left out."""
    text = template.partition("{?")[0].replace("*}", "}")
    return text.format(**{**SAMPLES, "repo": "app"})


JIRA_ISSUE = {"id": "1", "key": "PROJ-1", "fields": {"summary": "s", "status": {"name": "Open", "id": "1"}}}
SLACK_MESSAGE = {"ts": "1788253200.000100", "text": "x"}


def plausible(request: httpx2.Request) -> httpx2.Response:
    """An answer that lets most tools go on: of Slack and Jira everything at once, of GitHub that it is not there."""
    match request.url.host:
        case "slack.test":
            channel = {"id": "C0000001", "name": "general"}
            said: Json = {
                "ok": True,
                "channel": "C0000001",
                "ts": "1788253200.000100",
                "channels": [channel],
                "messages": [SLACK_MESSAGE],
                "members": [{"id": "U1"}],
                "user_id": "U1",
                "user": "ada",
                "upload_url": "https://slack.test/api/upload/v1/F1",
                "file_id": "F1",
                "files": [],
                "permalink": "https://x",
            }
            if request.url.path.endswith(("conversations.info", "conversations.join")):
                said["channel"] = channel
            if request.url.path.endswith("lookupByEmail"):
                said["user"] = {"id": "U1"}
            return httpx2.Response(200, json=said)
        case "jira.test":
            if request.url.path.endswith(("/search", "/project", "/remotelink")) and "sprint" not in request.url.path:
                lists = "/api/2/search" not in request.url.path and request.method == "GET"
                return httpx2.Response(200, json=[] if lists else {"id": 1, "issues": [JIRA_ISSUE], "total": 1})
            values = [{"id": 1, "name": "n", "state": "active", "type": "scrum"}]
            transitions = [{"id": "1", "name": "Done", "to": {"name": "Done", "id": "2"}}]
            body = {**JIRA_ISSUE, "values": values, "transitions": transitions, "issues": [JIRA_ISSUE], "comments": []}
            return httpx2.Response(200, json=body)
        case _:
            return httpx2.Response(404, json={"message": "Not Found"})
