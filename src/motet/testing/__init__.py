"""Faults for tests: put one in the place of a server, and the whole pipeline runs against it.

    with mock_server_down("jira-server"):
        result = await motet.servers["github-mcp-server"].call_tool("create_issue", {...})   # still works

A fault is a context variable read at the innermost point of a call: retries, breaker, limits and deadlines all act as
they would on the real thing, and only the calls of the `with` block's own tasks see it. Faults nest;
the inner one wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import orjson

from motet.calls import Call, Json, Reply, ResourceResult, Send, ToolResult
from motet.errors import CallError, ConnectionLost, DeadlineExceeded, ServerUnavailable, ToolError
from motet.upstream._faults import Fault, faults

__all__ = [
    "Fault",
    "mock_server",
    "mock_server_answers",
    "mock_server_down",
    "mock_server_error",
    "mock_server_hanging",
    "mock_server_loses_answers",
    "mock_server_raises",
    "mock_server_slow",
]


@contextmanager
def mock_server(server: str, fault: Fault) -> Generator[None]:
    """Inside, every attempt at a call to `server` is `fault(call, send)`; `send` is the real wire."""
    token = faults.set({**(faults.get() or {}), server: fault})
    try:
        yield
    finally:
        faults.reset(token)


@contextmanager
def mock_server_down(server: str) -> Generator[None]:
    """Inside, `server` cannot be reached: nothing is sent, and calls fail with `ServerUnavailable`."""

    async def fault(call: Call, _send: Send) -> Reply:
        raise ServerUnavailable("is down (mocked)", server=call.server)

    with mock_server(server, fault):
        yield


@contextmanager
def mock_server_hanging(server: str) -> Generator[None]:
    """Inside, `server` takes every request and never answers: each attempt ends at its deadline, `sent` unknown."""

    async def fault(call: Call, _send: Send) -> Reply:
        try:
            async with asyncio.timeout_at(call.attempt_deadline):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            pass
        raise DeadlineExceeded("no answer in time (mocked)", server=call.server)

    with mock_server(server, fault):
        yield


@contextmanager
def mock_server_slow(server: str, seconds: float) -> Generator[None]:
    """Inside, every request to `server` takes `seconds` longer."""

    async def fault(call: Call, send: Send) -> Reply:
        try:
            async with asyncio.timeout_at(call.attempt_deadline):
                await asyncio.sleep(seconds)
        except TimeoutError:
            raise DeadlineExceeded("no answer in time (mocked)", server=call.server) from None
        return await send(call)

    with mock_server(server, fault):
        yield


@contextmanager
def mock_server_loses_answers(server: str) -> Generator[None]:
    """Inside, `server` does what it is asked, and the answer is lost: `ConnectionLost`, `sent` unknown."""

    async def fault(call: Call, send: Send) -> Reply:
        await send(call)
        raise ConnectionLost("connection lost after the request was written (mocked)", server=call.server)

    with mock_server(server, fault):
        yield


@contextmanager
def mock_server_error(server: str, message: str = "mocked failure") -> Generator[None]:
    """Inside, every tool of `server` reports failure (`isError`); other requests go through."""

    async def fault(call: Call, send: Send) -> Reply:
        if call.method != "tools/call":
            return await send(call)
        raise ToolError(message, server=call.server, tool=call.name)

    with mock_server(server, fault):
        yield


@contextmanager
def mock_server_raises(server: str, error: CallError) -> Generator[None]:
    """Inside, every request to `server` ends in `error`."""

    async def fault(_call: Call, _send: Send) -> Reply:
        raise error

    with mock_server(server, fault):
        yield


@contextmanager
def mock_server_answers(server: str, answers: Mapping[str, Json]) -> Generator[None]:
    """Inside, tools and URIs named in `answers` give that JSON without reaching `server`; others go through."""

    async def fault(call: Call, send: Send) -> Reply:
        if call.name not in answers:
            return await send(call)
        data = answers[call.name]
        text = data if isinstance(data, str) else orjson.dumps(data).decode()
        if call.method == "resources/read":
            return ResourceResult(orjson.dumps({"contents": [{"uri": call.name, "text": text}]}))
        body: dict[str, Json] = {"content": [{"type": "text", "text": text}]}
        if call.definition is not None and call.definition.checks_output:
            body["structuredContent"] = data
        return ToolResult(orjson.dumps(body), call.definition)

    with mock_server(server, fault):
        yield
