"""What holds for the github, jira and slack servers alike: honest tools, no token anywhere, no way to other hosts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from fastmcp import Client
from mcp.shared.exceptions import MCPError

from motet_servers.github.__main__ import COMMAND as GITHUB
from motet_servers.github.server import build as build_github
from motet_servers.github.server import github_server
from motet_servers.jira.__main__ import COMMAND as JIRA
from motet_servers.jira.server import build as build_jira
from motet_servers.jira.server import jira_server
from motet_servers.kit.errors import DomainError, NotFound, RateLimited, Refused, TooLarge, Unavailable
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import SettingsError, Values
from motet_servers.playground.world import Playground
from motet_servers.slack.__main__ import COMMAND as SLACK
from motet_servers.slack.server import build as build_slack
from motet_servers.slack.server import slack_server

TOKEN = "secret-0123456789abcdef"
Answer = Callable[[httpx2.Request], httpx2.Response]


def github(answer: Answer) -> DomainServer:
    transport = httpx2.MockTransport(answer)
    return github_server("https://ghe.test/api/v3", TOKEN, repository="acme/app", transport=transport)


def jira(answer: Answer) -> DomainServer:
    return jira_server("https://jira.test/base", personal_token=TOKEN, transport=httpx2.MockTransport(answer))


def slack(answer: Answer) -> DomainServer:
    return slack_server("https://slack.test/api", TOKEN, transport=httpx2.MockTransport(answer))


SERVERS = [github, jira, slack]
READS: dict[Callable[[Answer], DomainServer], tuple[str, dict[str, Any], str]] = {
    github: ("get_issue", {"number": 1}, "github://acme/app/issues/1"),
    jira: ("get_issue", {"key": "PROJ-1"}, "jira://issue/PROJ-1"),
    slack: ("list_messages", {"channel": "C0000001"}, "slack://channel/C0000001/messages"),
}
WRITES: dict[Callable[[Answer], DomainServer], tuple[str, dict[str, Any]]] = {
    github: ("create_issue", {"title": "t"}),
    jira: ("add_comment", {"key": "PROJ-1", "body": "b"}),
    slack: ("send_message", {"channel": "C0000001", "text": "x"}),
}
serving = pytest.mark.parametrize("serve", SERVERS)


def never(request: httpx2.Request) -> httpx2.Response:
    raise AssertionError(f"nothing should be sent, but {request.method} {request.url} was")


async def failing(server: DomainServer, tool: str, arguments: dict[str, Any]) -> DomainError:
    with pytest.raises(DomainError) as failed:
        await server.call_tool(tool, arguments)
    return failed.value


@pytest.mark.proves("FR-ORCH-001")
@serving
async def test_tools_are_declared_in_full_without_reaching_the_vendor(serve: Callable[[Answer], DomainServer]) -> None:
    server = serve(never)
    await server.boundary()
    for tool in await server.list_tools():
        wire = tool.to_mcp_tool()
        hints = wire.annotations
        assert hints is not None
        given = (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)
        assert None not in given, tool.name
        assert wire.meta is not None
        retry = wire.meta["motet/retry"]
        assert retry in ("safe", "keyed", "verify_first", "never"), tool.name
        assert (retry == "keyed") is ("idempotency_key" in wire.input_schema["properties"]), tool.name
        assert wire.description, tool.name
        assert wire.output_schema is not None
        assert wire.output_schema["type"] == "object", tool.name
        assert wire.output_schema["required"], tool.name
        assert "x-fastmcp-wrap-result" not in wire.output_schema, tool.name


@serving
async def test_no_token_in_what_the_vendor_echoes(
    serve: Callable[[Answer], DomainServer], caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        said = f"bad credential {request.headers['authorization']}"
        return httpx2.Response(401, json={"message": said, "errorMessages": [said], "error": said})

    server = serve(answer)
    tool, arguments, uri = READS[serve]
    failed = await failing_text(server, tool, arguments)
    with pytest.raises(MCPError) as refused:
        await server.read_resource(uri)
    shown = [failed, str(refused.value), repr(server), caplog.text]
    assert [text for text in shown if TOKEN in text] == []
    assert "refused the credential" in failed


async def failing_text(server: DomainServer, tool: str, arguments: dict[str, Any]) -> str:
    try:
        await server.call_tool(tool, arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, its words are looked at
        return str(error)
    raise AssertionError("it did not fail")


async def test_no_token_in_data_that_holds_it() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        del request
        leaked = {"name": TOKEN, "color": "", "description": f"made with {TOKEN}"}
        return httpx2.Response(200, json=[leaked])

    server = github(answer)
    result = await server.call_tool("list_labels", {})
    resource = await server.read_resource("github://acme/app/labels")
    shown = [json.dumps(result.structured_content), str(result.content), str(resource.contents[0].content)]
    assert [text for text in shown if TOKEN in text] == []
    assert "[redacted]" in shown[0]


@serving
async def test_a_read_is_not_redirected_to_another_host(serve: Callable[[Answer], DomainServer]) -> None:
    hosts: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        hosts.append(request.url.host)
        return httpx2.Response(302, headers={"location": "http://169.254.169.254/latest/meta-data/"})

    tool, arguments, _ = READS[serve]
    assert isinstance(await failing(serve(answer), tool, arguments), Refused)
    assert len(set(hosts)) == 1
    assert "169.254.169.254" not in hosts


@serving
async def test_a_write_is_never_redirected(serve: Callable[[Answer], DomainServer]) -> None:
    requests: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request.method)
        if request.method == "GET":
            return httpx2.Response(200, json=[])
        return httpx2.Response(307, headers={"location": "/elsewhere"})

    tool, arguments = WRITES[serve]
    failed = await failing(serve(answer), tool, arguments)
    assert "nothing was repeated" in str(failed)
    assert requests == ["POST"]


@serving
async def test_an_answer_over_the_cap_is_refused_by_name(serve: Callable[[Answer], DomainServer]) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(200, content=b"[" + b" " * (17 << 20) + b"]")

    tool, arguments, _ = READS[serve]
    failed = await failing(serve(answer), tool, arguments)
    assert isinstance(failed, TooLarge)
    assert "over 16,777,216 bytes" in str(failed)


@serving
@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"[" * 200_000, b'{"number": "one"}', b"null", b"\xff\xfe"])
async def test_an_answer_that_is_something_else_is_unavailable(
    serve: Callable[[Answer], DomainServer], body: bytes
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(200, content=body)

    tool, arguments, _ = READS[serve]
    failed = await failing(serve(answer), tool, arguments)
    assert isinstance(failed, Unavailable)
    assert "not what its API documents" in str(failed)


@serving
async def test_a_limit_says_when_to_come_back(serve: Callable[[Answer], DomainServer]) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(429, headers={"retry-after": "12"})

    for tool, arguments in (READS[serve][:2], WRITES[serve]):
        failed = await failing(serve(answer), tool, arguments)
        assert isinstance(failed, RateLimited)
        assert (failed.retry_after, "12 s" in str(failed)) == (12.0, True)


async def test_githubs_other_limit_is_one_too() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        del request
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "4102444800"}
        return httpx2.Response(403, headers=headers, json={"message": "API rate limit exceeded"})

    failed = await failing(github(answer), "get_issue", {"number": 1})
    assert isinstance(failed, RateLimited)
    assert failed.retry_after is not None


async def test_enterprise_and_context_paths_are_kept() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url).partition("?")[0])
        return httpx2.Response(404, json={})

    for serve in SERVERS:
        tool, arguments, _ = READS[serve]
        with pytest.raises(NotFound):
            await serve(answer).call_tool(tool, arguments)
    assert asked == [
        "https://ghe.test/api/v3/repos/acme/app/issues/1",
        "https://jira.test/base/rest/api/2/issue/PROJ-1",
        "https://slack.test/api/conversations.history",
    ]


async def test_a_next_page_elsewhere_is_not_followed() -> None:
    hosts: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        hosts.append(request.url.host)
        return httpx2.Response(200, json=[], headers={"link": '<https://evil.test/?page=2>; rel="next"'})

    server = github(answer)
    first = await server.call_tool("list_labels", {})
    assert first.structured_content is not None
    await server.call_tool("list_labels", {"cursor": first.structured_content["next_cursor"]})
    assert hosts == ["ghe.test", "ghe.test"]


ENVIRONMENT = {
    "github": {"GITHUB_TOKEN": TOKEN},
    "jira": {"JIRA_PERSONAL_TOKEN": TOKEN},
    "slack": {"SLACK_BOT_TOKEN": TOKEN},
}
URLS = {"github": "GITHUB_API_URL", "jira": "JIRA_URL", "slack": "SLACK_API_URL"}


async def refusal(name: str, environment: dict[str, str]) -> tuple[int | None, str]:
    """How the server's own process refuses to start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"motet_servers.{name}",
        env={"PATH": os.environ["PATH"], **environment},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    async with asyncio.timeout(18):
        _, said = await process.communicate()
    return process.returncode, said.decode()


BUILDS = {"github": (GITHUB, build_github), "jira": (JIRA, build_jira), "slack": (SLACK, build_slack)}


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "url",
    ["http://vendor.test/api", "http://169.254.169.254/", f"https://bot:{TOKEN}@vendor.test", "file:///etc/passwd"],
)
def test_an_unsafe_base_url_refuses_to_start(name: str, url: str) -> None:
    command, build = BUILDS[name]
    with pytest.raises(SettingsError) as refused:
        build(Values(command.variables, {**ENVIRONMENT[name], URLS[name]: url}), [])
    assert str(refused.value).startswith(f"{URLS[name]}: ")
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "missing"), [("github", "GITHUB_TOKEN"), ("jira", "JIRA_URL"), ("slack", "SLACK_BOT_TOKEN")]
)
async def test_a_missing_credential_is_named(name: str, missing: str) -> None:
    code, said = await refusal(name, {})
    assert (code, said.count("\n")) == (2, 1)
    assert f"{missing} is not set" in said


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("token", ["ghp_…", "Bearer abc", "abc\ndef"])
def test_a_token_that_was_not_copied_whole_is_told_at_the_start(name: str, token: str) -> None:
    command, build = BUILDS[name]
    [variable] = ENVIRONMENT[name]
    with pytest.raises(SettingsError) as refused:
        build(Values(command.variables, {variable: token, URLS[name]: "https://vendor.test"}), [])
    assert str(refused.value) == (
        f"{variable} holds characters that no token has (spaces, line ends, …): copy it again."
    )


@pytest.mark.proves("FR-ORCH-005")
async def test_a_servers_token_opens_no_other_vendor() -> None:
    async with Playground() as playground:
        server = jira_server(playground.jira.url, personal_token=playground.credentials.github)
        assert isinstance(await failing(server, "get_issue", {"key": "PROJ-42"}), Refused)


KEYED: list[tuple[str, str, dict[str, Any], dict[str, int]]] = [
    ("github", "create_issue", {"title": "t"}, {"issue.created": 1}),
    ("jira", "create_issue", {"project": "PROJ", "summary": "s"}, {"issue.created": 1}),
    ("slack", "send_message", {"channel": "releases", "text": "x"}, {"message.posted": 1}),
]


def served(playground: Playground, name: str) -> DomainServer:
    """The named server over the playground."""
    environment: dict[str, Any] = playground.environment()
    command, build = BUILDS[name]
    return build(Values(command.variables, environment[name]), [])


@pytest.mark.parametrize("name", URLS)
async def test_a_server_object_can_be_served_again(name: str) -> None:
    tool, arguments = {
        "github": ("get_issue", {"number": 1}),
        "jira": ("get_issue", {"key": "PROJ-42"}),
        "slack": ("get_channel", {"channel": "releases"}),
    }[name]
    async with Playground() as playground:
        server = served(playground, name)
        answers: list[Any] = []
        for _ in "12":
            async with Client(server) as client:
                answers.append((await client.call_tool(tool, arguments)).structured_content)
    assert answers[0] == answers[1] is not None


@pytest.mark.parametrize(("name", "tool", "arguments", "effects"), KEYED)
async def test_two_calls_at_once_with_one_key_write_once(
    name: str, tool: str, arguments: dict[str, Any], effects: dict[str, int]
) -> None:
    async with Playground() as playground, asyncio.timeout(15):
        server = served(playground, name)
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(server.call_tool(tool, {**arguments, "idempotency_key": "k"})) for _ in "12"]
        shown = [task.result().structured_content for task in both]
        assert playground.effects[name] == effects
    assert sorted(found["created"] for found in shown if found is not None) == [False, True]


@pytest.mark.parametrize(("name", "tool", "arguments", "effects"), KEYED)
async def test_a_cancelled_call_frees_its_key(
    name: str, tool: str, arguments: dict[str, Any], effects: dict[str, int]
) -> None:
    async with Playground() as playground, asyncio.timeout(15):
        server = served(playground, name)
        await playground.set_trouble(name, {"kind": "slow", "seconds": 3600, "times": 1})
        held = asyncio.Event()

        async def hold(seconds: float) -> None:
            held.set()
            await asyncio.sleep(seconds)

        playground._vendors[name]._sleep = hold
        first = asyncio.create_task(server.call_tool(tool, {**arguments, "idempotency_key": "k"}))
        await held.wait()
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        await server.call_tool(tool, {**arguments, "idempotency_key": "k"})
        assert playground.effects[name] == effects
