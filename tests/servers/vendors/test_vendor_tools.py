"""What holds for every single tool and resource of the github, jira and slack servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from fastmcp import Client
from fastmcp.exceptions import NotFoundError
from mcp.shared.exceptions import MCPError
from vendor_samples import NAMES, SAMPLES, Vendor, addresses, plausible, sample, served

from motet_servers.kit.errors import DomainError, InvalidInput
from motet_servers.kit.server import LONGEST_ADDRESS

Json = Any
SCALARS = {"string", "integer", "number", "boolean", "null"}


# Arguments and answers


def strings(schema: Json, place: str) -> Iterator[str]:
    """Places of a schema where something without a bound would get in."""
    for each in schema.get("anyOf", [schema]):
        bounded_pattern = not set("*+") & set(each.get("pattern", "*").replace("[+-]", ""))
        match each.get("type"):
            case "string" if not ({"maxLength", "enum", "const"} & set(each) or bounded_pattern):
                yield place
            case "integer" | "number" if not {"minimum", "maximum"} <= set(each):
                yield place
            case "array":
                if "maxItems" not in each:
                    yield f"{place}[]"
                yield from strings(each["items"], f"{place}[]")
            case "object":
                yield f"{place} is an object"
            case _:
                pass


@pytest.mark.parametrize("name", NAMES)
async def test_every_argument_has_a_type_and_a_bound(name: str) -> None:
    unbounded: list[str] = []
    for tool in await served(name, Vendor(plausible)).list_tools():
        assert tool.parameters["additionalProperties"] is False, tool.name
        for argument, schema in tool.parameters["properties"].items():
            assert "type" in schema or "anyOf" in schema or "enum" in schema, (tool.name, argument)
            unbounded += strings(schema, f"{tool.name}.{argument}")
    assert unbounded == []


@pytest.mark.parametrize("name", NAMES)
async def test_what_is_oversized_is_refused_before_anything_is_sent(name: str) -> None:
    vendor = Vendor(plausible)
    server = served(name, vendor)
    for tool in await server.list_tools():
        for argument, schema in tool.parameters["properties"].items():
            longest = max(each.get("maxLength", 100) for each in schema.get("anyOf", [schema]))
            for wrong in ("x" * (longest + 1), 10**30, ["x"] * 1000):
                with pytest.raises(InvalidInput, match=f"the arguments of {tool.name} do not fit: {argument}"):
                    await server.call_tool(tool.name, {**sample(tool), argument: wrong})
    with pytest.raises(MCPError, match="the address is over 16,384 characters"):
        await server.read_resource(f"{name}://{'x' * LONGEST_ADDRESS}")
    assert vendor.asked == []


def deep(schema: Json, place: str, definitions: Json, level: int = 0) -> Iterator[str]:
    """Places of an answer's schema that are deeper than a list of records of plain values."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for each in schema.get("anyOf", [schema]):
        kind = each.get("type")
        if kind == "object" and "properties" in each:
            if level > 2:
                yield place
            if set(each.get("required", [])) != set(each["properties"]):
                yield f"{place} has fields that may be missing"
            for name, inner in each["properties"].items():
                yield from deep(inner, f"{place}.{name}", definitions, level + 1)
        elif kind == "object":
            if each.get("additionalProperties", {}).get("type") not in SCALARS:
                yield f"{place} is of no known shape"
        elif kind == "array":
            yield from deep(each["items"], f"{place}[]", definitions, level)
        elif kind not in SCALARS:
            yield f"{place} has no type"


@pytest.mark.parametrize("name", NAMES)
async def test_every_answer_is_flat_and_all_its_fields_are_always_there(name: str) -> None:
    for tool in await served(name, Vendor(plausible)).list_tools():
        assert tool.output_schema is not None, tool.name
        assert list(deep(tool.output_schema, tool.name, tool.output_schema.get("$defs", {}))) == []


async def test_the_fields_that_the_specification_passes_on_are_there() -> None:
    fields = {
        (name, tool.name): set((tool.output_schema or {})["properties"])
        for name in NAMES
        for tool in await served(name, Vendor(plausible)).list_tools()
    }
    assert {"summary", "description"} <= fields["jira", "get_issue"]
    assert {"html_url", "number", "title"} <= fields["github", "create_issue"]
    assert {"tag", "tag_name", "html_url"} <= fields["github", "get_latest_release"]
    for made in ("create_pull_request", "create_release", "add_issue_comment", "get_repository"):
        assert "html_url" in fields["github", made]


# What arguments can do to a request

EVIL = (
    *("a\r\nX-Evil: 1", "a\nb", "../../admin", "..", ".", "a/../../b", "x?evil=1", "x#y", "x&evil=1", "%2e%2e%2fadmin"),
    *('x" OR "1"="1', "a;b", "\x00", "http://169.254.169.254/", "\\..\\..", "//evil.test/x", "@evil.test", ":80/x"),
)
Shape = tuple[str, str, int, frozenset[str], frozenset[str], frozenset[str]]


def shape(request: httpx2.Request) -> Shape:
    """What of a request no argument's value may change: host, method, depth, and the names of everything in it."""
    raw, _, query = request.url.raw_path.decode().partition("?")
    kind = request.headers.get("content-type", "")
    form = parse_qsl(request.content.decode(), keep_blank_values=True) if "form" in kind else []
    return (
        request.url.netloc.decode(),
        request.method,
        raw.count("/"),
        frozenset(name for name, _ in parse_qsl(query, keep_blank_values=True)),
        frozenset(name for name, _ in form),
        frozenset(request.headers),
    )


def texts(tool: Any) -> list[str]:
    """The tool's arguments that are free text, or a list of it."""
    found: list[str] = []
    for argument, schema in tool.parameters["properties"].items():
        for each in schema.get("anyOf", [schema]):
            inner = each.get("items", each)
            if inner.get("type") == "string" and "enum" not in inner:
                found.append(argument)
    return found


BENIGN = {
    "ref": "main",
    "branch": "main",
    "sha": "a" * 40,
    "parent": "PROJ-3",
    "since": "2026-11-23",
    "cursor": "eyJwYWdlIjoxfQ",
    "assignees": ["ada"],
    "due_date": "2026-12-24",
    "oldest": "1788253200",
    "latest": "1788253200",
    "type": "Task",
    "priority": "Low",
}


@pytest.mark.parametrize("name", NAMES)
async def test_no_argument_escapes_its_place_in_a_request(name: str, caplog: pytest.LogCaptureFixture) -> None:
    vendor = Vendor(plausible)
    server = served(name, vendor)

    async def shapes(tool: str, arguments: dict[str, Json]) -> set[Shape]:
        vendor.asked.clear()
        with contextlib.suppress(DomainError):
            await server.call_tool(tool, arguments)
        return {shape(request) for request in vendor.asked}

    tried = 0
    caplog.set_level(logging.ERROR)
    for tool in await server.list_tools():
        plain = await shapes(tool.name, sample(tool))
        for argument in texts(tool):
            value = {**SAMPLES, **BENIGN}.get(argument, "x")
            fine = plain | await shapes(tool.name, {**sample(tool), argument: value})
            if argument == "channel":
                fine |= await shapes("list_channels", {})  # how a name becomes an id
            many = isinstance(value, list)
            for evil in EVIL:
                tried += 1
                sent = await shapes(tool.name, {**sample(tool), argument: [evil] if many else evil})
                if (name, argument) == ("github", "path"):  # a path has as many segments as it has, below the contents
                    below = "/api/repos/acme/app/contents"
                    assert all(each.url.raw_path.decode().startswith(below) for each in vendor.asked), (tool.name, evil)
                    assert not any(".." in each.url.raw_path.decode().split("/") for each in vendor.asked)
                    sent = {(one[0], one[1], 0, *one[3:]) for one in sent}
                    assert sent <= {(one[0], one[1], 0, *one[3:]) for one in fine}, (tool.name, argument, evil)
                else:
                    assert sent <= fine, (tool.name, argument, evil)
    assert tried > 200
    assert caplog.text == ""  # a mistake of ours would be told there


async def test_a_project_or_key_never_reaches_a_query_of_ours() -> None:
    vendor = Vendor(plausible)
    server = served("jira", vendor)
    for evil in ('PROJ" OR project != "PROJ', "PROJ) OR (1=1", 'PROJ"', "PROJ\nORDER BY x"):
        for tool, arguments in (
            ("create_issue", {"project": evil, "summary": "s", "idempotency_key": "k"}),
            ("get_current_sprint", {"project": evil}),
            ("list_boards", {"project": evil}),
            ("list_assignees", {"project": evil}),
        ):
            with pytest.raises(InvalidInput, match="project must be a project's key"):
                await server.call_tool(tool, arguments)
    # a key is hashed before it becomes part of a query
    await server.call_tool("create_issue", {"project": "PROJ", "summary": "s", "idempotency_key": 'x" OR "1"="1'})
    [asked] = [dict(each.url.params)["jql"] for each in vendor.asked if "jql" in each.url.params]
    assert asked.startswith('project = "PROJ" AND labels = "motet-')
    assert "OR" not in asked.partition("labels")[2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["http://169.254.169.254/latest/meta-data/", "//evil.test/x", "https://evil.test/"])
async def test_no_tool_follows_the_vendor_to_another_host(name: str, target: str) -> None:
    def away(_: httpx2.Request) -> httpx2.Response:
        links = f'<{target}>; rel="next"'
        return httpx2.Response(302, headers={"location": target, "link": links}, json={"upload_url": target})

    vendor = Vendor(away)
    server = served(name, vendor)
    for tool in await server.list_tools():
        with pytest.raises(DomainError, match=r"another host|redirected a"):
            await server.call_tool(tool.name, sample(tool))
    for address in await addresses(server):
        with pytest.raises(MCPError):
            await server.read_resource(address)
    assert {request.url.host for request in vendor.asked} == {f"{name}.test"}


# Cancelling


async def hang(_: httpx2.Request) -> httpx2.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("name", NAMES)
async def test_a_cancelled_call_gives_up_its_request_whichever_tool_it_is(name: str) -> None:
    vendor = Vendor(hang)
    server = served(name, vendor)
    tools = await server.list_tools()
    for tool in tools:
        vendor.reached.clear()
        call = asyncio.create_task(server.call_tool(tool.name, sample(tool)))
        async with asyncio.timeout(5):
            await vendor.reached.wait()
        call.cancel()
        await asyncio.wait([call], timeout=5)
        assert call.cancelled(), tool.name
    assert len(vendor.given_up) == len(vendor.asked) == len(tools)


@pytest.mark.parametrize("name", NAMES)
async def test_a_client_that_cancels_ends_the_request_at_the_vendor(name: str) -> None:
    """Over real connections: the vendor sees its own end close."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        while await reader.read(65536):
            pass
        gone.set()
        writer.close()

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    tool, arguments = {
        "github": ("create_issue", {"title": "t", "repo": "acme/app", "idempotency_key": "k"}),
        "jira": ("search_issues", {"jql": "x"}),
        "slack": ("send_message", {"channel": "C0000001", "text": "x"}),
    }[name]
    async with listener, asyncio.timeout(15), Client(at(name, url)) as client:
        call = asyncio.create_task(client.call_tool(tool, arguments))
        await asked.wait()
        call.cancel()
        await asyncio.wait([call])
        await gone.wait()
    assert call.cancelled()


def at(name: str, url: str) -> Any:
    """The server of that name, for an address of this machine."""
    from motet_servers.github.server import github_server
    from motet_servers.jira.server import jira_server
    from motet_servers.slack.server import slack_server

    match name:
        case "github":
            return github_server(url, "token")
        case "jira":
            return jira_server(url, personal_token="token")
        case _:
            return slack_server(url, "token")


# Progress


def paged(request: httpx2.Request) -> httpx2.Response:
    """A vendor with three pages of everything."""
    if request.url.host == "github.test":
        page = int(request.url.params.get("page", "1"))
        link = {"link": f'<https://github.test/api/x?page={page + 1}>; rel="next"'} if page < 3 else {}
        stamps = {"created_at": "2026-11-23T00:00:00Z", "updated_at": "2026-11-23T00:00:00Z"}
        issue = {"number": page, "title": "t", "state": "open", "html_url": "https://x", **stamps}
        return httpx2.Response(200, headers=link, json=[issue] if request.method == "GET" else issue)
    if request.url.host == "jira.test":
        start = int(request.url.params.get("startAt", "0"))
        values = [{"id": number, "name": "n", "state": "closed", "type": "scrum"} for number in range(3)]
        listed = {
            "comments": [{"id": str(start)}],
            "total": 3,
            "values": [] if "sprint" in request.url.path else values,
        }
        return httpx2.Response(200, json=listed if request.method == "GET" else {"id": "9"})
    form = dict(parse_qsl(request.content.decode()))
    page = int(form.get("cursor", "1"))
    body = json.loads(plausible(request).content) | {"response_metadata": {"next_cursor": str(page + 1) * (page < 3)}}
    return httpx2.Response(200, json=body)


LONG: list[tuple[str, str, dict[str, Json], list[float]]] = [
    ("github", "create_issue", {"title": "t", "idempotency_key": "k"}, [1, 2, 3]),
    ("jira", "add_comment", {"key": "PROJ-1", "body": "b", "idempotency_key": "k"}, [1, 2, 3]),
    ("jira", "get_current_sprint", {"project": "PROJ"}, [1, 2, 3]),
    ("slack", "send_message", {"channel": "C0000001", "text": "x", "idempotency_key": "k"}, [1, 2, 3]),
    ("slack", "search_users", {"query": "x"}, [1, 2, 3]),
    ("slack", "get_channel", {"channel": "#nowhere"}, [1, 2, 3]),
    ("slack", "upload_file", {"channel": "C0000001", "filename": "x", "content": "four"}, [0, 4]),
]


@pytest.mark.parametrize(
    ("name", "tool", "arguments", "heard"), LONG, ids=[f"{name}-{tool}" for name, tool, *_ in LONG]
)
async def test_long_work_says_how_far_it_is(
    name: str, tool: str, arguments: dict[str, Json], heard: list[float]
) -> None:
    told: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert message
        assert total is None or progress <= total
        told.append(progress)

    async with Client(served(name, Vendor(paged))) as client:
        await client.call_tool(tool, arguments, progress_handler=hear, raise_on_error=False)
    assert told == heard


# Texts that strangers wrote

STAMPS = {"created_at": "2026-11-23T00:00:00Z", "updated_at": "2026-11-23T00:00:00Z"}


@pytest.mark.parametrize("filler", ["\n", " ", "<!-- motet:", "{anchor:motet-"])
async def test_a_page_of_texts_made_to_be_slow_is_read_in_time(filler: str) -> None:
    """The test's own limit of time is the measure: what is quadratic in a text takes minutes for a hundred of them."""
    body = (filler * 65_536)[:65_536]
    issue = {"title": "t", "state": "open", "html_url": "https://x", **STAMPS, "body": body}
    notes = [{"id": str(number), "body": body[:32_767]} for number in range(100)]

    def slow(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "github.test":
            return httpx2.Response(200, json=[{**issue, "number": number} for number in range(1, 101)])
        return httpx2.Response(200, json={"comments": notes, "total": 100})

    shown = await served("github", Vendor(slow)).call_tool("list_issues", {"limit": 100})
    noted = await served("jira", Vendor(slow)).call_tool("list_comments", {"key": "PROJ-1"})
    for found, text in ((shown, body), (noted, body[:32_767])):
        assert found.structured_content is not None
        assert [each["body"] for each in found.structured_content["items"]] == [text] * 100


# Resources


@pytest.mark.parametrize(
    ("name", "address", "complaint"),
    [
        (
            "github",
            "github://acme/app/issues/first",
            "the address of issue does not fit: number: Input should be a valid",
        ),
        (
            "github",
            "github://acme/app/issues?state=bogus",
            "the address of issues does not fit: state: Input should be",
        ),
        ("github", "github://acme/app/issues?cursor=bogus", "cursor is not one this server gave"),
        ("jira", "jira://issue/nothing", "key must be an issue's key such as PROJ-42"),
        ("slack", "slack://channel/general/thread/yesterday", "ts must be a message's ts such as"),
    ],
)
async def test_an_address_that_does_not_fit_says_what_is_wrong(name: str, address: str, complaint: str) -> None:
    with pytest.raises(MCPError, match=complaint) as refused:
        await served(name, Vendor(plausible)).read_resource(address)
    assert refused.value.error.code == -32602


@pytest.mark.parametrize("spelled", ["src/app.py", "src%2Fapp.py"])
async def test_a_file_is_addressed_with_slashes_or_as_rfc_6570_expands_it(spelled: str) -> None:
    vendor = Vendor(plausible)
    with pytest.raises(MCPError, match=r"GitHub has nothing at /api/repos/acme/app/contents/src/app\.py, or"):
        await served("github", vendor).read_resource(f"github://acme/app/files/{spelled}?ref=topic%2Fone")
    assert [str(each.url) for each in vendor.asked] == [
        "https://github.test/api/repos/acme/app/contents/src/app.py?ref=topic%2Fone"
    ]


async def test_a_file_that_github_leaves_out_is_not_given_as_an_empty_one() -> None:
    entry = {"type": "file", "path": "big.bin", "sha": "a" * 40, "size": 5_000_000, "content": "", "encoding": "none"}
    server = served("github", Vendor(lambda _: httpx2.Response(200, json=entry)))
    with pytest.raises(MCPError, match=r"big\.bin has 5,000,000 bytes, more than GitHub sends here; get it with git"):
        await server.read_resource("github://acme/app/files/big.bin")
    link = httpx2.Response(200, json={**entry, "type": "symlink", "target": "x"})
    found = await served("github", Vendor(lambda _: link)).read_resource("github://acme/app/files/link")
    assert found.contents[0].mime_type == "application/json"


async def test_a_file_address_cannot_climb() -> None:
    vendor = Vendor(plausible)
    server = served("github", vendor)
    for path in ("../../secret", "%2e%2e/%2e%2e/secret", "a%00b", "%2Fetc%2Fpasswd", "a/..%2f..%2fb"):
        with pytest.raises((MCPError, NotFoundError), match=r"Unknown resource|cannot be part"):
            await server.read_resource(f"github://acme/app/files/{path}")
    assert vendor.asked == []
