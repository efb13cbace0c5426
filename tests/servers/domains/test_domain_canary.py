"""A credential turns up wherever a far end can put it: no answer, error, resource, log line or stream has it."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from domain_samples import ADDRESSES, READS, WRITES
from fastmcp.exceptions import FastMCPError
from mcp.shared.exceptions import MCPError

from motet_servers.calendar.__main__ import COMMAND
from motet_servers.calendar.server import build
from motet_servers.kit.settings import Values
from motet_servers.playground.http import HttpServer, Request, Response

SECRET = "canary-0123456789abcdef/secret"
BASIC = base64.b64encode(f"ada:{SECRET}".encode()).decode()
SPELLINGS = (SECRET, BASIC, BASIC[8:-8], quote(SECRET, safe=""), SECRET[:20], SECRET[-20:])
INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


def leaks(text: str) -> list[str]:
    """Where the credential is, with what stands around it."""
    return [text[max(0, text.index(found) - 80) :][:120] for found in SPELLINGS if found in text]


async def said_by(call: Any) -> str:
    """The words of a failure; of an answer, the answer."""
    try:
        return repr(await call)
    except (FastMCPError, MCPError) as error:
        return f"{error} {error!r} {getattr(error, 'error', None)!r} {error.__cause__!r}"


def echo(status: int) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        said = f"{'x' * 190} you sent {request.headers.get('authorization')} and that is {SECRET}"
        return Response(status, said.encode(), {"content-type": "text/plain", "x-echo": said})

    return answer


def leaked(request: Request) -> Response:
    """A calendar whose every word is the credential."""
    event = f"BEGIN:VEVENT\r\nUID:one\r\nSUMMARY:{SECRET}\r\nDTSTART:20261125\r\nEND:VEVENT"
    item = f"BEGIN:VCALENDAR\r\n{event}\r\nEND:VCALENDAR"
    found = (
        '<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response>'
        f"<d:href>/cal/{quote(SECRET, safe='')}/</d:href><d:propstat><d:prop>"
        "<d:resourcetype><c:calendar/></d:resourcetype>"
        f"<d:displayname>{SECRET}</d:displayname><d:getetag>{SECRET}</d:getetag>"
        f"<c:calendar-data>{item}</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>"
        "</d:response></d:multistatus>"
    )
    return Response(207, found.encode(), {"content-type": "application/xml"})


TROUBLE = {"401": echo(401), "403": echo(403), "500": echo(500), "207": echo(207), "leaked": leaked}


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_no_calendar_tool_or_resource_says_the_password_whatever_the_server_answers(
    trouble: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async def answers(request: Request) -> Response:
        return TROUBLE[trouble](request)

    vendor = HttpServer(answers)
    await vendor.start()
    caplog.set_level(logging.DEBUG)
    environment = {"CALDAV_URL": f"{vendor.url}/cal", "CALDAV_USERNAME": "ada", "CALDAV_PASSWORD": SECRET}
    environment["CALENDAR_EMAIL"] = "ada@example.org"
    server = build(Values(COMMAND.variables, environment), [])
    shown = [repr(server)]
    try:
        for (name, tool), arguments in {**READS, **WRITES}.items():
            if name == "calendar":
                shown.append(await said_by(server.call_tool(tool, arguments)))
                shown.append(await said_by(server.call_tool(tool, {**arguments, "calendar": SECRET, "x": SECRET})))
        shown += [await said_by(server.read_resource(address)) for address, _ in ADDRESSES["calendar"]]
    finally:
        await vendor.stop()
    # what the HTTP library logs is printed by the command's own handler only, which redacts: see below
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx2", "httpcore"))]
    everything = "\n".join([*shown, *logged, *capfd.readouterr()])
    assert leaks(everything) == []
    assert len(everything) > 2000


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_calendar_tool_takes_the_password_to_another_host(status: int) -> None:
    elsewhere: list[Request] = []

    async def hears(request: Request) -> Response:
        elsewhere.append(request)
        return Response(200, b"", {})

    async def answers(request: Request) -> Response:
        return Response(status, b"", {"location": f"{other.url}/cal/"})

    other, vendor = HttpServer(hears), HttpServer(answers)
    await other.start()
    await vendor.start()
    environment = {"CALDAV_URL": f"{vendor.url}/cal", "CALDAV_USERNAME": "ada", "CALDAV_PASSWORD": SECRET}
    environment["CALENDAR_EMAIL"] = "ada@example.org"
    server = build(Values(COMMAND.variables, environment), [])
    try:
        for (name, tool), arguments in {**READS, **WRITES}.items():
            if name == "calendar":
                with pytest.raises(FastMCPError, match=r"redirected a|another host"):
                    await server.call_tool(tool, arguments)
    finally:
        await vendor.stop()
        await other.stop()
    assert elsewhere == []


PROCESSES: dict[str, tuple[dict[str, str], str, dict[str, Any]]] = {
    "database": (
        {"DATABASE_URL": f"postgresql://ada:{quote(SECRET, safe='')}@127.0.0.1:1/x?sslmode=disable"},
        "query",
        {"sql": f"select '{SECRET}'"},
    ),
    "calendar": (
        {"CALDAV_URL": "http://127.0.0.1:1/", "CALDAV_USERNAME": "ada", "CALDAV_PASSWORD": SECRET},
        "list_calendars",
        {},
    ),
    "deploy": ({"DEPLOY_SSH_PASSPHRASE": SECRET, "DEPLOY_TARGETS": "targets.yaml"}, "check", {"env": "web"}),
}


@pytest.mark.parametrize("name", PROCESSES)
async def test_no_stream_of_the_process_has_the_credential_at_the_most_talkative_log_level(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("no key at all")
    (tmp_path / "known_hosts").write_text("")
    (tmp_path / "targets.yaml").write_text(
        "targets: {web: {path: /srv, ssh: {host: 127.0.0.1, port: 1, known_hosts: known_hosts, key: key}}}"
    )
    given, tool, arguments = PROCESSES[name]
    calls: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": INITIALIZE},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": tool, "arguments": arguments}},
        {"id": 3, "method": "tools/call", "params": {"name": tool, "arguments": {SECRET: SECRET}}},
        {"id": 4, "method": "resources/read", "params": {"uri": f"nowhere://{SECRET}"}},
    ]
    said = b""
    with (tmp_path / "log").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"motet_servers.{name}", "--log-level", "debug"),
            env={"PATH": os.environ["PATH"], **given},
            cwd=tmp_path,
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
    assert said.count(b"\n") == 4
    assert leaks((said + (tmp_path / "log").read_bytes()).decode()) == []
