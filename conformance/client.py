"""The client under test: motet's own connection layer, driven as the conformance suite asks.

The suite appends its server's URL to the command and names the scenario in the environment. Nothing here is specific
to a scenario but the arguments of its tools: every tool that is listed is called, every question is answered with the
defaults of its schema, every login page is opened by a robot that follows its redirect.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, cast

import aiohttp

from motet.calls import Answer, Call, InputRequired, Json, Question, Reply, Round
from motet.config.model import HttpTransport, OAuth, ServerConfig, Timeouts
from motet.errors import CallError
from motet.upstream.connection import Connection
from motet.upstream.opening import open_connection

PATIENCE = 100.0
ROUNDS = 8
KNOWN = {"add_numbers": {"a": 5, "b": 3}}


async def ask(question: Question) -> Answer:
    """Open the page, or fill in the form with its defaults."""
    if question.kind == "url" and question.url is not None:
        async with (
            aiohttp.ClientSession() as robot,
            robot.get(question.url, allow_redirects=False) as page,
        ):
            back = page.headers.get("location")
        if back is not None:
            async with aiohttp.ClientSession() as robot, robot.get(back):
                pass
        return Answer("accept")
    return Answer("accept", defaults(question.schema or {}))


def defaults(schema: Mapping[str, Json]) -> dict[str, Json]:
    """What a person would send who changes nothing: defaults, and something plain where one is required."""
    plain: dict[str, Json] = {"string": "text", "integer": 1, "number": 1, "boolean": True}
    given: dict[str, Json] = {}
    required = cast("list[str]", schema.get("required") or [])
    for name, field in cast("dict[str, dict[str, Json]]", schema.get("properties") or {}).items():
        if "default" in field:
            given[name] = field["default"]
        elif name in required:
            given[name] = field["enum"][0] if "enum" in field else plain.get(str(field.get("type")))
    return given


async def call(connection: Connection, request: Call) -> Reply | None:
    """One call with all its rounds."""
    for _ in range(ROUNDS):
        try:
            return await connection.send(request)
        except InputRequired as need:
            answers = {question.key: await answered(question) for question in need.asked.questions}
            request = Call(
                server=request.server,
                method=request.method,
                name=request.name,
                arguments=request.arguments,
                round=Round(answers, need.asked.state),
            )
        except CallError as error:
            sys.stderr.write(f"{request.method} {request.name}: {error.kind}: {error}\n")
            return None
    return None


async def answered(question: Question) -> Json:
    """The response to one question of a multi-round-trip request."""
    if question.kind == "sampling":
        said = {"type": "text", "text": "an answer"}
        return {"role": "assistant", "content": said, "model": "none", "stopReason": "endTurn"}
    if question.kind == "roots":
        return {"roots": []}
    return await ask(question)


def settings(scenario: str, url: str, context: Mapping[str, Any]) -> ServerConfig:
    """The configuration of the suite's server."""
    auth = None
    if scenario.startswith("auth/"):
        auth = OAuth(
            client_id=context.get("client_id"),
            client_secret=context.get("client_secret"),
            issuer=context.get("issuer"),
            grant="client_credentials" if "client-credentials" in scenario else "authorization_code",
            client_metadata_url="https://conformance-test.local/client-metadata.json",
        )
    return ServerConfig("suite", HttpTransport(url, auth=auth), timeout=Timeouts(connect=PATIENCE, call=PATIENCE))


async def main(url: str) -> None:
    """Connect, list, call everything, close."""
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    context = cast("dict[str, Any]", json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}"))
    deadline = asyncio.get_running_loop().time() + PATIENCE
    config = settings(scenario, url, context)
    connection = await open_connection(config, deadline=deadline, on_changed=lambda _: None, ask=ask)
    try:
        listing = await connection.list_all(deadline=deadline)
        calls = cast("list[dict[str, Any]]", context.get("toolCalls") or [])
        for tool in cast("tuple[dict[str, Any], ...]", listing.tools):
            name = str(tool["name"])
            given: list[dict[str, Json]] = [one["arguments"] for one in calls if one["name"] == name]
            for arguments in given or [KNOWN.get(name) or defaults(tool.get("inputSchema") or {})]:
                await call(connection, Call(server="suite", name=name, arguments=arguments))
        for resource in cast("tuple[dict[str, Any], ...]", listing.resources):
            await call(connection, Call(server="suite", method="resources/read", name=str(resource["uri"])))
        for prompt in cast("tuple[dict[str, Any], ...]", listing.prompts):
            listed = cast("list[dict[str, Any]]", prompt.get("arguments") or [])
            wanted = {str(argument["name"]): "x" for argument in listed}
            await call(
                connection, Call(server="suite", method="prompts/get", name=str(prompt["name"]), arguments=wanted)
            )
    finally:
        await connection.close(within=3)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1]))
