"""Servers in this process, servers on the SDK's own transports, and our links under the SDK's own eyes: they agree."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from fastmcp import Context, FastMCP
from mcp import Client, StdioServerParameters, stdio_client
from mcp.server.mcpserver import Context as SdkContext
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from motet.calls import Answer, Call, InputRequired, Progress, Question, Round, ToolResult
from motet.config.model import HttpTransport, InProcessTransport, Limits, ServerConfig, Timeouts
from motet.errors import CallError, ProtocolError, ResultTooLarge, ServerUnavailable, ToolError
from upstream.bench import NASTY, Bench, soon

eras = pytest.mark.parametrize("era", ["modern", "legacy"])


def fast_server() -> FastMCP:
    server = FastMCP("fast", version="1.2")

    @server.tool
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool
    def fails() -> str:
        raise ValueError("on purpose")

    @server.tool
    def large() -> str:
        return "x" * 100_000

    @server.tool
    async def steps(ctx: Context) -> str:
        for n in range(3):
            await ctx.report_progress(n, 3, f"step {n}")
        return "stepped"

    @server.resource("memo://one")
    def one() -> str:
        return "first"

    @server.resource("memo://{name}")
    def any_memo(name: str) -> str:
        return name

    @server.prompt
    def greet(who: str) -> str:
        return f"hello {who}"

    return server


def sdk_server() -> MCPServer:
    server = MCPServer("sdk")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    return server


def request(name: str, method: Any = "tools/call", **more: Any) -> Call:
    return Call(server="here", name=name, method=method, attempt_deadline=soon(10), **more)


def here(server: object, **more: Any) -> ServerConfig:
    return ServerConfig("here", InProcessTransport(server), **more)


@asynccontextmanager
async def served(app: Any) -> AsyncGenerator[int]:
    """The app behind uvicorn, in this loop, on a free port."""
    door = socket.socket()
    door.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve([door]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield door.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def exercise(bench: Bench, config: ServerConfig) -> None:
    """Everything a healthy FastMCP server offers, over whatever link."""
    connection = await bench.open(config)
    listing = await connection.list_all(deadline=soon(10))
    assert [tool["name"] for tool in listing.tools] == ["add", "fails", "large", "steps"]
    assert [resource["uri"] for resource in listing.resources] == ["memo://one"]
    assert [template["uriTemplate"] for template in listing.templates] == ["memo://{name}"]
    assert [prompt["name"] for prompt in listing.prompts] == ["greet"]
    assert listing.troubles == {}
    assert connection.server_info["name"] == "fast"
    added = await connection.send(request("add", arguments={"a": 2, "b": 3}))
    assert isinstance(added, ToolResult)
    assert added.body["structuredContent"] == {"result": 5}
    with pytest.raises(ToolError, match="on purpose") as caught:
        await connection.send(request("fails"))
    assert caught.value.sent == "yes"
    told: list[Progress] = []
    await connection.send(request("steps", on_progress=told.append))
    assert [step.progress for step in told] == [0, 1, 2]
    read = await connection.send(request("memo://two", "resources/read"))
    assert read.body["contents"][0]["text"] == "two"
    greeted = await connection.send(request("greet", "prompts/get", arguments={"who": "you"}))
    assert greeted.body["messages"][0]["content"]["text"] == "hello you"
    with pytest.raises(ProtocolError) as missing:
        await connection.send(request("gone://x", "resources/read"))
    assert missing.value.sent == "no"


@eras
async def test_a_fastmcp_object_works_in_process(bench: Bench, era: Any) -> None:
    await exercise(bench, here(fast_server(), era=era))


@eras
async def test_a_fastmcp_server_works_over_http(bench: Bench, era: Any) -> None:
    async with served(fast_server().http_app()) as port:
        await exercise(bench, ServerConfig("here", HttpTransport(f"http://127.0.0.1:{port}/mcp"), era=era))
        for connection in bench.opened:
            await connection.close(within=2)


async def test_a_fastmcp_server_works_over_legacy_sse(bench: Bench) -> None:
    async with served(fast_server().http_app(transport="sse")) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}/sse", kind="sse")
        await exercise(bench, ServerConfig("here", transport))
        connection = bench.opened[0]
        assert connection.details["transport"] == "sse"
        await connection.close(within=2)
        assert await connection.wait_closed() == "closed"


@eras
async def test_an_sdk_object_works_in_process(bench: Bench, era: Any) -> None:
    connection = await bench.open(here(sdk_server(), era=era))
    reply = await connection.send(request("add", arguments={"a": 1, "b": 1}))
    assert reply.body["structuredContent"] == {"result": 2}


async def test_what_is_no_server_is_refused(bench: Bench) -> None:
    with pytest.raises(ServerUnavailable, match="int is no MCP server"):
        await bench.open(here(7))


async def test_a_large_answer_in_process_is_capped_too(bench: Bench) -> None:
    connection = await bench.open(here(fast_server(), limits=Limits(answer=50_000)))
    with pytest.raises(ResultTooLarge):
        await connection.send(request("large"))
    assert (await connection.send(request("add", arguments={"a": 1, "b": 1}))).body["structuredContent"] == {
        "result": 2
    }


class Name(BaseModel):
    name: str


async def test_a_question_of_the_initialize_era_is_answered_in_place(bench: Bench) -> None:
    server = MCPServer("asks")

    @server.tool()
    async def hello(ctx: SdkContext[Any, Any]) -> str:
        answer = await ctx.elicit("Who are you?", Name)
        return f"hello {answer.data.name}" if answer.action == "accept" else "nobody"

    asked: list[Question] = []

    async def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer("accept", {"name": "Ada"})

    connection = await bench.open(here(server, era="legacy"), ask=ask)
    reply = await connection.send(request("hello"))
    assert isinstance(reply, ToolResult)
    assert reply.text == "hello Ada"
    assert [(q.kind, q.message) for q in asked] == [("elicitation", "Who are you?")]


async def test_our_client_and_the_sdks_read_the_same(bench: Bench) -> None:
    script = str(next(NASTY.glob("s00*.py")))
    connection = await bench.nasty("s00")
    listing = await connection.list_all(deadline=soon(5))
    ours = await connection.send(request("echo", arguments={"v": 1}))
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=[script]))) as client:
        theirs = await client.list_tools()
        answer = await client.call_tool("echo", {"v": 1})
    assert [tool["name"] for tool in listing.tools] == [tool.name for tool in theirs.tools]
    assert [tool["inputSchema"] for tool in listing.tools] == [tool.input_schema for tool in theirs.tools]
    assert ours.body["content"] == [block.model_dump(by_alias=True, exclude_none=True) for block in answer.content]


async def test_a_question_round_keeps_every_answer(bench: Bench) -> None:
    connection = await bench.nasty("s34", era="modern")
    with pytest.raises(InputRequired) as caught:
        await connection.send(request("echo"))
    again = Round({"q": {"action": "decline"}}, caught.value.asked.state)
    with pytest.raises(InputRequired):
        await connection.send(request("echo", round=again))


async def test_a_closed_connection_refuses_and_nothing_was_sent(bench: Bench) -> None:
    connection = await bench.open(here(fast_server(), timeout=Timeouts(call=5)))
    await connection.close(within=2)
    with pytest.raises(CallError) as caught:
        await connection.send(request("add", arguments={"a": 1, "b": 1}))
    assert caught.value.sent == "no"
