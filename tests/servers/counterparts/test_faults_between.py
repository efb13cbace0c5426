"""Trouble between a server and its API: after each kind, a repetition with the same key has exactly one effect.

The effects are counted by the stand-in's own API, past the proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from fault_proxy import KINDS, FaultProxy, Kind, proxied
from standins import Emulate, Jira820, Radicale

from motet_servers.calendar.__main__ import COMMAND
from motet_servers.calendar.server import build
from motet_servers.github.server import github_server
from motet_servers.jira.server import jira_server
from motet_servers.kit.errors import DomainError, OutcomeUnknown, RateLimited, Unavailable
from motet_servers.kit.server import RETRY_META, DomainServer
from motet_servers.kit.settings import Values
from motet_servers.slack.server import slack_server

pytestmark = pytest.mark.timeout(60)  # the first test of a worker starts the stand-ins
COMMITTED: set[Kind] = {"latency", "error_after", "cut_after"}
SAID: dict[Kind, type[DomainError]] = {
    "limited": RateLimited,
    "error_before": OutcomeUnknown,
    "error_after": OutcomeUnknown,
    "cut_before": OutcomeUnknown,
    "cut_after": OutcomeUnknown,
}


@dataclass(frozen=True)
class Write:
    """One way to write, and how to count what it left."""

    upstream: str
    serve: Callable[[str], DomainServer]
    tool: str
    arguments: dict[str, Any]
    count: Callable[[], int]
    strikes: Callable[[str, str], bool]
    """Which request (method, target) is the write itself."""
    keyed: bool = True
    """False: it needs no key, because doing it twice is doing it once."""

    async def call(self, server: DomainServer) -> dict[str, Any]:
        result = await server.call_tool(self.tool, self.arguments)
        assert result.structured_content is not None
        return result.structured_content


Prepare = Callable[[pytest.FixtureRequest, str], Write]


def posts(part: str) -> Callable[[str, str], bool]:
    return lambda method, target: method == "POST" and target.partition("?")[0].endswith(part)


def github(request: pytest.FixtureRequest) -> tuple[Emulate, Callable[[str], DomainServer]]:
    emulate: Emulate = request.getfixturevalue("emulate")
    return emulate, lambda url: github_server(url, emulate.token, repository="acme/app")


def github_issue(request: pytest.FixtureRequest, name: str) -> Write:
    emulate, serve = github(request)

    def count() -> int:
        found = emulate.github("GET", "/repos/acme/app/issues?state=all&per_page=100").json()
        return sum(issue["title"] == name for issue in found)

    wish = {"title": name, "body": "b", "idempotency_key": name}
    return Write(emulate.github_url, serve, "create_issue", wish, count, posts("/issues"))


def github_comment(request: pytest.FixtureRequest, name: str) -> Write:
    emulate, serve = github(request)
    number = emulate.github("POST", "/repos/acme/app/issues", json={"title": f"for {name}"}).json()["number"]

    def count() -> int:
        return len(emulate.github("GET", f"/repos/acme/app/issues/{number}/comments").json())

    wish = {"number": number, "body": name, "idempotency_key": name}
    return Write(emulate.github_url, serve, "add_issue_comment", wish, count, posts("/comments"))


def github_release(request: pytest.FixtureRequest, name: str) -> Write:
    emulate, serve = github(request)

    def count() -> int:
        found = emulate.github("GET", "/repos/acme/app/releases?per_page=100").json()
        return sum(release["tag_name"] == name for release in found)

    wish = {"tag_name": name, "body": "b", "idempotency_key": name}
    return Write(emulate.github_url, serve, "create_release", wish, count, posts("/releases"))


def github_pull_request(request: pytest.FixtureRequest, name: str) -> Write:
    emulate, serve = github(request)
    emulate.branch(name)

    def count() -> int:
        found = emulate.github("GET", "/repos/acme/app/pulls?state=all&per_page=100").json()
        return sum(pull["head"]["ref"] == name for pull in found)

    wish = {"title": "t", "head": name, "base": "main", "idempotency_key": name}
    return Write(emulate.github_url, serve, "create_pull_request", wish, count, posts("/pulls"))


def jira(request: pytest.FixtureRequest) -> tuple[Jira820, Callable[[str], DomainServer]]:
    return request.getfixturevalue("jira820"), lambda url: jira_server(url, personal_token="any")


def jira_issue(request: pytest.FixtureRequest, name: str) -> Write:
    jira820, serve = jira(request)

    def count() -> int:
        query = {"jql": "project = PROJ", "maxResults": 1000, "fields": "summary"}
        found = jira820.ask("GET", "/rest/api/2/search", params=query).json()["issues"]
        return sum(issue["fields"]["summary"] == name for issue in found)

    wish = {"project": "PROJ", "summary": name, "idempotency_key": name}
    return Write(jira820.url, serve, "create_issue", wish, count, posts("/issue"))


def jira_ticket(jira820: Jira820, summary: str) -> str:
    fields = {"project": {"key": "PROJ"}, "summary": summary, "issuetype": {"name": "Task"}}
    return str(jira820.ask("POST", "/rest/api/2/issue", json={"fields": fields}).json()["key"])


def jira_comment(request: pytest.FixtureRequest, name: str) -> Write:
    jira820, serve = jira(request)
    key = jira_ticket(jira820, f"for {name}")

    def count() -> int:
        return len(jira820.ask("GET", f"/rest/api/2/issue/{key}/comment").json()["comments"])

    return Write(
        jira820.url, serve, "add_comment", {"key": key, "body": "b", "idempotency_key": name}, count, posts("/comment")
    )


def jira_link(request: pytest.FixtureRequest, name: str) -> Write:
    jira820, serve = jira(request)
    key = jira_ticket(jira820, f"for {name}")

    def count() -> int:
        return len(jira820.ask("GET", f"/rest/api/2/issue/{key}/remotelink").json())

    wish = {"key": key, "url": f"https://example.org/{name}"}
    return Write(jira820.url, serve, "add_link", wish, count, posts("/remotelink"), keyed=False)


def slack_message(request: pytest.FixtureRequest, name: str) -> Write:
    emulate: Emulate = request.getfixturevalue("emulate")

    def count() -> int:
        channels = emulate.slack("POST", "conversations.list").json()["channels"]
        [where] = [channel["id"] for channel in channels if channel["name"] == "general"]
        history = emulate.slack("POST", "conversations.history", data={"channel": where, "limit": "200"}).json()
        return sum(message["text"] == name for message in history["messages"])

    wish = {"channel": "#general", "text": name, "idempotency_key": name}
    return Write(
        emulate.slack_url,
        lambda url: slack_server(url, emulate.slack_token),
        "send_message",
        wish,
        count,
        posts("/chat.postMessage"),
    )


def calendar(request: pytest.FixtureRequest, tool: str, wish: dict[str, Any]) -> Write:
    radicale: Radicale = request.getfixturevalue("radicale")
    name = radicale.calendar()

    def serve(url: str) -> DomainServer:
        return build(Values(COMMAND.variables, {**radicale.environment(), "CALDAV_URL": url}), [])

    def count() -> int:
        return len(radicale.items(name))

    wish = {"calendar": name, "idempotency_key": "once", **wish}
    return Write(radicale.url, serve, tool, wish, count, lambda method, _: method == "PUT")


def calendar_event(request: pytest.FixtureRequest, name: str) -> Write:
    return calendar(request, "create_event", {"summary": name, "start": "2026-11-25"})


def calendar_deadline(request: pytest.FixtureRequest, name: str) -> Write:
    return calendar(request, "create_deadline", {"summary": name, "due": "2026-11-25T10:00:00Z"})


KEYED: dict[tuple[str, str], Prepare] = {
    ("github", "create_issue"): github_issue,
    ("github", "add_issue_comment"): github_comment,
    ("github", "create_release"): github_release,
    ("github", "create_pull_request"): github_pull_request,
    ("jira", "create_issue"): jira_issue,
    ("jira", "add_comment"): jira_comment,
    ("slack", "send_message"): slack_message,
    ("calendar", "create_event"): calendar_event,
    ("calendar", "create_deadline"): calendar_deadline,
}
"""Every tool, by server and name, that takes a key and whose counterpart is behind HTTP."""
CASES = [(prepare, kind) for prepare in (*KEYED.values(), jira_link) for kind in KINDS]


async def test_every_keyed_tool_is_in_the_matrix() -> None:
    calendar_folder = build(Values(COMMAND.variables, {"CALENDAR_FOLDER": "."}), [])
    servers = {
        "github": github_server("https://x.test", "token"),
        "jira": jira_server("https://x.test", personal_token="token"),
        "slack": slack_server("https://x.test", "token"),
        "calendar": calendar_folder,
    }
    keyed = {
        (name, tool.name)
        for name, server in servers.items()
        for tool in await server.list_tools()
        if (tool.meta or {})[RETRY_META] == "keyed"
    }
    assert keyed == set(KEYED)


async def strike(write: Write, server: DomainServer, proxy: FaultProxy, kind: Kind) -> None:
    """The first attempt, which goes wrong."""
    proxy.arm(kind, when=write.strikes)
    if kind == "latency":
        attempt = asyncio.create_task(write.call(server))
        async with asyncio.timeout(15):
            await proxy.done.wait()
        attempt.cancel()
        await asyncio.wait([attempt], timeout=5)
        assert attempt.cancelled()
        return
    with pytest.raises(DomainError) as failure:
        await write.call(server)
    harmless = not write.keyed and SAID[kind] is OutcomeUnknown  # then "try again" is all there is to say
    assert type(failure.value) is (Unavailable if harmless else SAID[kind])
    assert failure.value.retry_after == (7 if kind == "limited" else None)


@pytest.mark.parametrize(("prepare", "kind"), CASES, ids=[f"{prepare.__name__}-{kind}" for prepare, kind in CASES])
async def test_a_repetition_with_the_same_key_has_exactly_one_effect(
    request: pytest.FixtureRequest, prepare: Prepare, kind: Kind, unique: Callable[[str], str]
) -> None:
    write = await asyncio.to_thread(prepare, request, unique(f"{prepare.__name__}-{kind}"))
    parts = urlsplit(write.upstream)
    assert parts.port is not None
    async with proxied("127.0.0.1", parts.port) as proxy:
        server = write.serve(proxy.url + parts.path)
        await strike(write, server, proxy, kind)
        assert await asyncio.to_thread(write.count) == (1 if kind in COMMITTED else 0)
        first = await write.call(server)
        assert await asyncio.to_thread(write.count) == 1
        again = await write.call(server)
        assert await asyncio.to_thread(write.count) == 1
        differs = {"created", "changed"}
        assert {k: v for k, v in again.items() if k not in differs} == {
            k: v for k, v in first.items() if k not in differs
        }
        assert [seen.fault for seen in proxy.seen if seen.fault] == [kind]
