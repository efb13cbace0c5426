"""What each tool of the github, jira and slack servers says of itself, held against what it does to its counterpart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from fault_proxy import FaultProxy, proxied
from mcp_types import ToolAnnotations
from standins import Emulate, Jira820
from tours import Caller, github_tour, jira_tour, slack_tour
from writing_tools import WRITING, Facts, Writing, writes

from motet_servers.github.server import github_server
from motet_servers.jira.server import jira_server
from motet_servers.kit.errors import Conflict, InvalidInput, OutcomeUnknown, Unavailable
from motet_servers.kit.server import KEY_META, RETRY_META, DomainServer
from motet_servers.slack.server import slack_server

pytestmark = pytest.mark.timeout(60)  # the first test of a worker starts the stand-ins

SERVERS = {
    "github": github_server("https://x.test", "token"),
    "jira": jira_server("https://x.test", personal_token="token"),
    "slack": slack_server("https://x.test", "token"),
}
REFUSED_TWICE = {("github", "create_release")}
"""Without a key a second call has no second effect, for there can be one release of a tag."""
unique_name = Callable[[str], str]


async def hints(vendor: str, tool: str) -> tuple[ToolAnnotations, str, bool]:
    """A tool's annotations, its retry class, and whether it takes a key."""
    [found] = [each for each in await SERVERS[vendor].list_tools() if each.name == tool]
    assert found.annotations is not None
    assert found.meta is not None
    return found.annotations, found.meta[RETRY_META], KEY_META in found.meta


@asynccontextmanager
async def between(url: str) -> AsyncGenerator[tuple[FaultProxy, str]]:
    """A proxy in front of that address, and the address to use instead."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxied("127.0.0.1", parts.port) as proxy:
        yield proxy, proxy.url.replace("127.0.0.1", parts.hostname) + parts.path


async def test_the_table_of_writing_tools_is_complete() -> None:
    written = {
        (vendor, tool.name)
        for vendor, server in SERVERS.items()
        for tool in await server.list_tools()
        if tool.annotations is not None and not tool.annotations.read_only_hint
    }
    assert written == set(WRITING)


async def test_every_tool_reaches_into_the_open_world_and_is_one_of_the_four_classes() -> None:
    for server in SERVERS.values():
        for tool in await server.list_tools():
            assert tool.annotations is not None
            assert tool.annotations.open_world_hint is True, tool.name
            assert tool.meta is not None
            retry = tool.meta[RETRY_META]
            said = tool.annotations
            harmless = bool(said.read_only_hint or said.idempotent_hint)
            assert retry in {"safe", "keyed", "verify_first", "never"}, tool.name
            assert (retry == "safe") is harmless, tool.name
            assert (retry == "keyed") is (KEY_META in tool.meta), tool.name


@dataclass
class Watching(Caller):
    """Calls every tool through the proxy as the first one of a server, and remembers which of them wrote."""

    make: Callable[[], DomainServer] = field(kw_only=True)
    proxy: FaultProxy | None = None
    vendor: str = ""
    wrote: dict[str, bool] | None = None

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        assert self.proxy is not None
        before = len(self.proxy.seen)
        self.server = self.make()
        answer = await super().__call__(tool, **arguments)
        sent = any(writes(self.vendor, each.method, each.target) for each in self.proxy.seen[before:])
        self.wrote = {**(self.wrote or {}), tool: (self.wrote or {}).get(tool, False) or sent}
        return answer


def watching(
    make: Callable[[], DomainServer], proxy: FaultProxy, vendor: str, lacking: Collection[str] = ()
) -> Watching:
    """Each call by a new server."""
    return Watching(make(), lacking, make=make, proxy=proxy, vendor=vendor)


async def read_only_as_seen(call: Watching) -> None:
    said: dict[str, bool | None] = {
        tool.name: tool.annotations.read_only_hint for tool in await call.server.list_tools() if tool.annotations
    }
    assert call.wrote is not None
    assert {tool: not wrote for tool, wrote in call.wrote.items()} == {tool: said[tool] for tool in call.called}


async def test_githubs_read_only_tools_write_nothing_and_the_others_do(emulate: Emulate, unique: unique_name) -> None:
    branch = emulate.branch(unique("hints"))
    async with between(emulate.github_url) as (proxy, url):
        lacking = {"list_pull_request_files"}
        call = watching(lambda: github_server(url, emulate.token), proxy, "github", lacking)
        await github_tour(call, repo="acme/app", head=branch)
    await read_only_as_seen(call)
    assert await call.missed() == set()


async def test_jiras_read_only_tools_write_nothing_and_the_others_do(jira820: Jira820, unique: unique_name) -> None:
    async with between(jira820.url) as (proxy, url):
        lacking = {"list_assignees"}  # not in jira820; on the playground it is held to the vendor's document
        call = watching(lambda: jira_server(url, personal_token="any"), proxy, "jira", lacking)
        await jira_tour(call, project="PROJ", assignee="admin", status="Done", key=unique("hints"))
    await read_only_as_seen(call)
    assert await call.missed() == {"list_assignees"}


async def test_slacks_read_only_tools_write_nothing_and_the_others_do(emulate: Emulate, unique: unique_name) -> None:
    async with between(emulate.slack_url) as (proxy, url):
        call = watching(lambda: slack_server(url, emulate.slack_token), proxy, "slack")
        await slack_tour(call, channel="releases", user="grace", key=unique("hints"))
    await read_only_as_seen(call)
    assert await call.missed() == set()


rows = pytest.mark.parametrize(("vendor", "tool"), list(WRITING), ids=["-".join(row) for row in WRITING])


async def prepared(request: pytest.FixtureRequest, vendor: str, tool: str, name: str) -> Writing:
    return await asyncio.to_thread(WRITING[vendor, tool], request, name)


async def facts(writing: Writing) -> Facts:
    return await asyncio.to_thread(writing.facts)


@rows
async def test_a_tool_destroys_something_if_and_only_if_it_says_so(
    request: pytest.FixtureRequest, unique: unique_name, vendor: str, tool: str
) -> None:
    said, _, _ = await hints(vendor, tool)
    writing = await prepared(request, vendor, tool, unique(tool.replace("_", "-")))
    before = await facts(writing)
    await writing.serve(writing.upstream).call_tool(tool, writing.arguments)
    after = await facts(writing)
    assert after != before
    assert bool(before - after) is said.destructive_hint


@rows
async def test_twice_is_once_if_the_tool_says_so_or_has_a_key(
    request: pytest.FixtureRequest, unique: unique_name, vendor: str, tool: str
) -> None:
    said, retry, has_key = await hints(vendor, tool)
    name = unique(tool.replace("_", "-"))
    writing = await prepared(request, vendor, tool, name)
    key = {"idempotency_key": name} if has_key else {}
    seen: list[Facts] = []
    for _ in "12":
        await writing.serve(writing.upstream).call_tool(tool, {**writing.arguments, **key})
        seen.append(await facts(writing))
    once = seen[0] == seen[1]
    assert once is bool(said.idempotent_hint or has_key)
    assert once is (retry in {"safe", "keyed"})


@rows
async def test_without_a_key_a_keyed_tool_has_a_second_effect_unless_the_vendor_refuses(
    request: pytest.FixtureRequest, unique: unique_name, vendor: str, tool: str
) -> None:
    _, retry, _ = await hints(vendor, tool)
    writing = await prepared(request, vendor, tool, unique(tool.replace("_", "-")))
    server = writing.serve(writing.upstream)
    await server.call_tool(tool, writing.arguments)
    first = await facts(writing)
    if (vendor, tool) in REFUSED_TWICE:
        with pytest.raises((InvalidInput, Conflict)):
            await server.call_tool(tool, writing.arguments)
    else:
        await server.call_tool(tool, writing.arguments)
    changed = await facts(writing) != first
    assert changed is (retry in {"keyed", "verify_first"} and (vendor, tool) not in REFUSED_TWICE)


@rows
async def test_what_is_safe_or_keyed_can_be_repeated_after_its_answer_was_lost(
    request: pytest.FixtureRequest, unique: unique_name, vendor: str, tool: str
) -> None:
    _, retry, has_key = await hints(vendor, tool)
    name = unique(tool.replace("_", "-"))
    writing = await prepared(request, vendor, tool, name)
    arguments = {**writing.arguments, **({"idempotency_key": name} if has_key else {})}
    async with between(writing.upstream) as (proxy, url):
        server = writing.serve(url)
        last = {"upload_file": "files.completeUploadExternal"}.get(tool, "")
        proxy.arm("cut_after", when=lambda method, target: writes(vendor, method, target) and last in target)
        with pytest.raises(Unavailable if retry == "safe" else OutcomeUnknown):
            await server.call_tool(tool, arguments)
        done = await facts(writing)
        await server.call_tool(tool, arguments)
    assert (await facts(writing) == done) is (retry != "verify_first")
