"""A token turns up wherever a vendor or a mistake can put it: no answer, error, resource, log line or stream has it."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import orjson
import pytest
from fastmcp.exceptions import FastMCPError
from mcp.shared.exceptions import MCPError
from vendor_samples import NAMES, TOKEN, USER, Vendor, addresses, sample, served

from motet_servers.kit.errors import InternalError
from motet_servers.playground.http import HttpServer, Request, Response, json_response

BASIC = base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
SPELLINGS = (TOKEN, BASIC, BASIC[8:-8], base64.b64encode(TOKEN.encode()).decode(), quote(TOKEN, safe=""))


def echo(status: int) -> Callable[[httpx2.Request], httpx2.Response]:
    """A vendor that repeats the credential in whatever shape its errors have."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        said = f"{'x' * 480} you sent {request.headers['authorization']}"  # where the words are cut to length
        body = {"message": said, "errorMessages": [said], "error": said, "ok": False, "errors": {said: said}}
        return httpx2.Response(status, json=body, headers={"x-echo": said})

    return answer


def broken(request: httpx2.Request) -> httpx2.Response:
    """A mistake in our own code, with everything in its words."""
    raise RuntimeError(f"could not handle {request.headers['authorization']} and {TOKEN}")


def cut(request: httpx2.Request) -> httpx2.Response:
    """A failure of the connection, with everything in its words and in those of its cause."""
    try:
        broken(request)
    except RuntimeError as cause:
        raise httpx2.ReadError(f"with {request.headers['authorization']}", request=request) from cause
    raise AssertionError


def leaked(request: httpx2.Request) -> httpx2.Response:
    """An answer that is not what is expected, and is only the credential."""
    return httpx2.Response(200, content=orjson.dumps([request.headers["authorization"]] * 3))


VENDORS = {"401": echo(401), "422": echo(422), "500": echo(500), "200": echo(200), "broken": broken, "cut": cut}
VENDORS["leaked"] = leaked


def leaks(text: str) -> list[str]:
    """Where the token is, with what stands around it."""
    return [text[max(0, text.index(found) - 80) :][:120] for found in SPELLINGS if found in text]


async def said_by(call: Any) -> str:
    """The words of a failure and of all behind it; of an answer, the answer."""
    try:
        answer = await call
    except (FastMCPError, MCPError) as error:
        shown: list[str] = []
        link: BaseException | None = error
        while link is not None:
            shown += [str(link), repr(link), repr(getattr(link, "error", None))]
            link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        return "\n".join(shown)
    return repr(answer)


@pytest.mark.parametrize("trouble", VENDORS)
@pytest.mark.parametrize("name", [*NAMES, "jira, by password"])
async def test_no_tool_or_resource_says_the_token_whatever_happens(
    name: str, trouble: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    server = served(name, Vendor(VENDORS[trouble]))
    shown = [repr(server)]
    for tool in await server.list_tools():
        shown.append(await said_by(server.call_tool(tool.name, sample(tool))))
        with_token = {**sample(tool), "limit": TOKEN, "nonsense": TOKEN}
        shown.append(await said_by(server.call_tool(tool.name, with_token)))
    shown += [await said_by(server.read_resource(address)) for address in await addresses(server)]
    everything = "\n".join([*shown, caplog.text, *capfd.readouterr()])
    assert leaks(everything) == []
    assert len(everything) > 2000


@pytest.mark.parametrize("name", NAMES)
async def test_a_mistake_of_ours_is_told_as_one_and_its_traceback_stays_in_the_log(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = served(name, Vendor(broken))
    tool, *_ = await server.list_tools()
    with pytest.raises(InternalError, match=rf"^{tool.name} broke \(RuntimeError\), which is a mistake of this server"):
        await server.call_tool(tool.name, sample(tool))
    assert "RuntimeError: could not handle" in caplog.text
    assert "[redacted]" in caplog.text


@pytest.mark.parametrize("trouble", ["broken", "cut"])
async def test_a_log_that_cannot_be_written_does_not_spill_the_token_instead(
    trouble: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where a handler fails, logging prints the exception that is being handled, with all behind it."""
    with io.StringIO() as closed:
        handler = logging.StreamHandler(closed)
    loggers = [logging.getLogger(), logging.getLogger("fastmcp")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        server = served("github", Vendor(VENDORS[trouble]))
        for call in (server.call_tool("get_issue", {"number": 1}), server.read_resource("github://a/b/issues/1")):
            assert leaks(await said_by(call)) == []
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    printed = capfd.readouterr().err
    assert "--- Logging error ---" in printed
    assert leaks(printed) == []


def test_a_file_of_bytes_that_holds_the_token_is_given_without() -> None:
    from motet_servers.kit.redaction import Redactor

    redactor = Redactor([TOKEN])
    assert redactor.data(b"\xff" + TOKEN.encode() + b"\x00") == b"\xff[redacted]\x00"
    for before in ("", "a", "ab", "abc", f"{USER}:"):
        spelled = base64.b64encode(f"{before}{TOKEN}{before}".encode()).decode()
        start, placeholder, end = redactor.text(spelled).partition("[redacted]")
        assert placeholder
        assert len(start + end) <= len(spelled) - len(TOKEN)  # what is left tells of nothing but its neighbours


INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
PROCESSES: dict[str, tuple[dict[str, str], str, dict[str, Any]]] = {
    "github": ({"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": ""}, "get_issue", {"number": 1, "repo": "a/b"}),
    "jira": ({"JIRA_USERNAME": USER, "JIRA_API_TOKEN": TOKEN, "JIRA_URL": ""}, "get_issue", {"key": "PROJ-1"}),
    "slack": ({"SLACK_BOT_TOKEN": TOKEN, "SLACK_API_URL": ""}, "get_identity", {}),
}


@pytest.mark.parametrize("name", PROCESSES)
async def test_no_stream_of_the_process_has_the_token_at_the_most_talkative_log_level(
    name: str, tmp_path: Path
) -> None:
    async def echoes(request: Request) -> Response:
        said = f"bad {request.headers['authorization']}"
        return json_response({"message": said, "errorMessages": [said], "error": said}, 401)

    vendor = HttpServer(echoes)
    await vendor.start()
    given, tool, arguments = PROCESSES[name]
    env = {"PATH": os.environ["PATH"], **{key: value or vendor.url for key, value in given.items()}}
    calls = [
        {"id": 1, "method": "initialize", "params": INITIALIZE},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}},
        {"id": 3, "method": "tools/call", "params": {"name": TOKEN, "arguments": {TOKEN: TOKEN}}},
        {"id": 4, "method": "resources/read", "params": {"uri": f"{name}://{TOKEN}/{TOKEN}"}},
    ]
    log = tmp_path / "log"
    said = b""
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"motet_servers.{name}", "--log-level", "debug"),
            env=env,
            stdin=PIPE,
            stdout=PIPE,
            stderr=stderr,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(18):
                for message in calls:
                    process.stdin.write(orjson.dumps({"jsonrpc": "2.0", **message}) + b"\n")
                    await process.stdin.drain()
                    said += await process.stdout.readline() if "id" in message else b""
        finally:
            process.kill()
            await process.communicate()
            await vendor.stop()
    assert b"refused the credential" in said
    everything = (said + log.read_bytes()).decode()
    assert leaks(everything) == []
