"""What a session does beyond one plain call: rounds, lists, headers, metadata, logs, and the seam for faults."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any

import pytest

from motet.calls import Call, Json, Reply, Send, ToolResult
from motet.config.model import HttpTransport, ServerConfig, StdioTransport, Timeouts
from motet.errors import CallError, ConnectionLost
from motet.events import Noticed
from motet.upstream import _faults
from motet.upstream.connection import Connection
from motet.upstream.mirror import call_headers, encode_header
from upstream.bench import Bench, call, echo, soon
from upstream.faulty_http import DONE, Answered, FaultyHttp, Request, done

_SERVER = """
import json, sys
COMPLETE = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
CAPABILITIES = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
def send(**m): print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
def text(t): return {"content": [{"type": "text", "text": t}], **COMPLETE}
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m:
        continue
    p, method = m.get("params", {}), m["method"]
    if method == "server/discover":
        send(id=m["id"], result={"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES, **COMPLETE})
    elif method == "tools/list":
        good = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
        bad = {"type": "object", "properties": {"x": {"type": "number", "x-mcp-header": "X"}}}
        tools = [{"name": "good", "inputSchema": good}, {"name": "bad", "inputSchema": bad}, 7]
        send(id=m["id"], result={"tools": tools, **COMPLETE})
    elif method == "resources/list":
        send(id=m["id"], error={"code": -32603, "message": "broken \\x1b[31mtoday"})
    elif method == "prompts/list":
        send(id=m["id"], error={"code": -32601, "message": "none"})
    elif method == "completion/complete":
        values = [p["argument"]["value"] + "x"]
        send(id=m["id"], result={"completion": {"values": values}, **COMPLETE})
    elif method != "tools/call":
        send(id=m["id"], result={"resourceTemplates": [], **COMPLETE})
    elif p["name"] == "meta":
        send(id=m["id"], result=text(json.dumps(p["_meta"])))
    elif p["name"] == "log":
        data = "a \\x1b[31mred\\x1b[0m secret hunter2"
        send(method="notifications/message", params={"level": "warning", "data": data})
        send(id=m["id"], result=text("logged"))
    elif p["name"] == "patient":
        rounds = len(p.get("requestState", ""))
        asks = {"resultType": "input_required", "requestState": "s" * (rounds + 1)}
        send(id=m["id"], result=text(f"after {rounds}") if rounds == 3 else asks)
    else:
        send(id=m["id"], result={"resultType": "input_required", "requestState": "s"})
"""


@pytest.fixture
async def config(bench: Bench) -> ServerConfig:
    transport = StdioTransport(sys.executable, (str(bench.script("server.py", _SERVER)),), {"NASTY_RUN": bench.run})
    return replace(bench.config("s00"), transport=transport, secrets=("hunter2",))


async def test_rounds_that_only_carry_state_are_gone_through(bench: Bench, config: ServerConfig) -> None:
    reply = await call(await bench.open(config), "patient")
    assert isinstance(reply, ToolResult)
    assert reply.text == "after 3"


async def test_rounds_without_end_stop_at_the_deadline(bench: Bench, config: ServerConfig) -> None:
    with pytest.raises(CallError) as caught:
        await call(await bench.open(config), "endless", within=0.4)
    assert caught.value.kind == "timeout"


async def test_a_list_that_fails_is_named_and_the_others_come(bench: Bench, config: ServerConfig) -> None:
    listing = await (await bench.open(config)).list_all(deadline=soon(10))
    assert [tool if isinstance(tool, int) else tool["name"] for tool in listing.tools] == ["good", 7]
    assert set(listing.troubles) == {"tools", "resources"}
    assert listing.troubles["tools"].startswith("bad left out: ")
    assert listing.troubles["resources"] == "broken today (code -32603)"
    assert (listing.resources, listing.templates, listing.prompts) == ((), (), ())


async def test_metadata_of_the_call_goes_along(bench: Bench, config: ServerConfig) -> None:
    import json

    reply = await call(await bench.open(config), "meta", meta={"traceparent": "00-a-b-01"})
    assert isinstance(reply, ToolResult)
    meta = json.loads(reply.text)
    assert meta["traceparent"] == "00-a-b-01"
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


async def test_completion_is_passed_on(bench: Bench, config: ServerConfig) -> None:
    asked: dict[str, Json] = {"ref": {"type": "ref/prompt", "name": "p"}, "argument": {"name": "a", "value": "v"}}
    request = Call(server="nasty", method="completion/complete", name="p", arguments=asked, attempt_deadline=soon(5))
    reply = await (await bench.open(config)).send(request)
    assert reply.body["completion"] == {"values": ["vx"]}


async def test_log_messages_are_told_clean(bench: Bench, config: ServerConfig) -> None:
    await call(await bench.open(config), "log")
    [told] = [event for event in bench.events if isinstance(event, Noticed) and event.what == "log"]
    assert told.message == "warning: a red secret [hidden]"


async def test_a_fault_takes_the_place_of_the_wire_and_may_use_it(bench: Bench) -> None:
    connection = await bench.nasty("s00", timeout=Timeouts(call=5))

    async def down(request: Call, wire: Send) -> Reply:
        raise ConnectionLost("pulled the plug", server=request.server)

    async def honest(request: Call, wire: Send) -> Reply:
        return await wire(request)

    token = _faults.faults.set({"nasty": down})
    with pytest.raises(ConnectionLost, match="pulled the plug"):
        await echo(connection)
    _faults.faults.set({"nasty": honest})
    assert await echo(connection) == {"v": 1}
    _faults.faults.set({"another": down})
    assert await echo(connection) == {"v": 1}
    _faults.faults.reset(token)
    assert await echo(connection) == {"v": 1}


async def test_arguments_that_a_tool_wants_mirrored_are_headers(bench: Bench) -> None:
    schema = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}

    async def lists(r: Request) -> None:
        if r.rpc == "tools/list":
            await r.answer(r.result({"tools": [{"name": "t", "inputSchema": schema}], "resultType": "complete"}))
            raise Answered

    async with FaultyHttp(done, before=lists) as server:
        connection = await bench.open(ServerConfig("nasty", HttpTransport(server.url)))
        await connection.list_all(deadline=soon(5))
        reply = await call(connection, "t", {"region": "eu"})
        assert reply.body["content"] == DONE["content"]
        assert server.calls()[0].headers["mcp-param-region"] == "eu"


@pytest.mark.parametrize(
    ("value", "header"),
    [
        ("plain", "plain"),
        ("", ""),
        ("two words", "two words"),
        (" padded", "=?base64?IHBhZGRlZA==?="),
        ("a\r\nb: c", "=?base64?YQ0KYjogYw==?="),
        ("ü", "=?base64?w7w=?="),
        ("=?base64?eA==?=", "=?base64?PT9iYXNlNjQ/ZUE9PT89?="),
    ],
)
def test_header_values_survive_the_way(value: str, header: str) -> None:
    assert encode_header(value) == header


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ({"a": {"b": True}}, {"mcp-param-x": "true"}),
        ({"a": {"b": 7}}, {"mcp-param-x": "7"}),
        ({"a": {"b": None}}, {}),
        ({"a": {"b": [1]}}, {}),
        ({"a": 7}, {}),
        ({}, {}),
    ],
)
def test_nested_arguments_are_mirrored(arguments: dict[str, Any], extra: dict[str, str]) -> None:
    headers = call_headers("tools/call", "t", arguments, {("a", "b"): "x"})
    assert headers == {"mcp-method": "tools/call", "mcp-name": "t", **extra}


_SUBSCRIBES = """
import json, os, sys
def send(**m): print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
MODERN = os.environ["ERA"] == "modern"
for line in sys.stdin:
    m = json.loads(line)
    method, p = m["method"], m.get("params", {})
    uris = []
    if method == "server/discover" and MODERN:
        found = {"supportedVersions": ["2026-07-28"], "capabilities": {"resources": {"subscribe": True}}}
        send(id=m["id"], result={**found, "resultType": "complete"})
        continue
    if method == "initialize" and not MODERN:
        send(id=m["id"], result={"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s"}})
        continue
    if method == "subscriptions/listen":
        uris = p["notifications"]["resourceSubscriptions"]
    elif method == "notifications/cancelled":
        uris = ["cancelled " + str(p["requestId"])]
    elif "id" in m and p.get("uri") == "x://no":
        send(id=m["id"], error={"code": -32602, "message": "nobody knows it"})
    elif "id" in m and method.startswith("resources/"):
        send(id=m["id"], result={})
        uris = [method + " " + p["uri"]]
    elif "id" in m:
        send(id=m["id"], error={"code": -32601, "message": "none"})
    for uri in uris:
        send(method="notifications/resources/updated", params={"uri": uri})
"""


@pytest.mark.parametrize(
    ("era", "heard"),
    [
        ("modern", ["x://1", "x://no", "x://2", "cancelled listen-1"]),
        ("legacy", ["resources/subscribe x://1", "resources/unsubscribe x://1", "resources/subscribe x://2"]),
    ],
)
async def test_watched_resources_are_subscribed_to_as_the_era_has_it(bench: Bench, era: str, heard: list[str]) -> None:
    env = {"NASTY_RUN": bench.run, "ERA": era}
    transport = StdioTransport(sys.executable, (str(bench.script("subscribes.py", _SUBSCRIBES)),), env)
    connection = await bench.open(replace(bench.config("s00"), transport=transport))
    told: asyncio.Queue[str] = asyncio.Queue()
    for uris in ({"x://1", "x://no"}, {"x://2"}):
        connection.watch(frozenset(uris), told.put_nowait)
        await call_off(connection)
    async with asyncio.timeout(5):
        assert sorted([await told.get() for _ in heard]) == sorted(heard)
    refused = [event.message for event in bench.events if isinstance(event, Noticed) and event.what == "subscription"]
    assert refused == ([] if era == "modern" else ["x://no: nobody knows it (code -32602)"])


async def call_off(connection: Connection) -> None:
    """A request that is refused comes back only after everything before it was read."""
    with pytest.raises(CallError):
        await call(connection, "sync")
