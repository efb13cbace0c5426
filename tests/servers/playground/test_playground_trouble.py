"""Trouble by order: what the client sees, and what was done all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import httpx2
import pytest

from motet_servers.playground.http import Request, Response
from motet_servers.playground.trouble import Trouble, Troubled
from motet_servers.playground.world import Playground


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground() as playground:
        yield playground


@pytest.fixture
async def client(playground: Playground) -> AsyncGenerator[httpx2.AsyncClient]:
    token = playground.environment()["github"]
    assert isinstance(token, dict)
    headers = {"Authorization": f"Bearer {token['GITHUB_TOKEN']}"}
    async with httpx2.AsyncClient(base_url=playground.github.url, headers=headers) as client:
        yield client


async def attempt(client: httpx2.AsyncClient, method: str = "POST") -> int | str:
    """The answer's status, or the name of what happened instead."""
    try:
        return (await client.request(method, "/repos/acme/app/issues", json={"title": "x"})).status_code
    except httpx2.TransportError as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("order", "seen", "done"),
    [
        ({"kind": "none"}, 201, {"issue.created": 1}),
        ({"kind": "rate_limited"}, 429, {}),
        ({"kind": "error_before"}, 503, {}),
        ({"kind": "error_before", "status": 500}, 500, {}),
        ({"kind": "error_after"}, 503, {"issue.created": 1}),
        ({"kind": "cut_before"}, "RemoteProtocolError", {}),
        ({"kind": "cut_after"}, "RemoteProtocolError", {"issue.created": 1}),
        ({"kind": "down"}, "ConnectError", {}),
        ({"kind": "cut_before", "method": "GET"}, 201, {"issue.created": 1}),
        ({"kind": "cut_before", "path": "/pulls"}, 201, {"issue.created": 1}),
    ],
)
async def test_each_kind_shows_and_does_what_it_says(
    playground: Playground,
    client: httpx2.AsyncClient,
    order: dict[str, object],
    seen: int | str,
    done: dict[str, int],
) -> None:
    await playground.set_trouble("github", order)
    assert await attempt(client) == seen
    assert playground.effects["github"] == done


async def test_trouble_after_the_write_waits_for_a_write_and_then_ends(
    playground: Playground, client: httpx2.AsyncClient
) -> None:
    await playground.set_trouble("github", {"kind": "cut_after", "times": 1})
    seen = [await attempt(client, method) for method in ("GET", "POST", "POST")]
    assert seen == [200, "RemoteProtocolError", 201]
    assert playground.effects["github"] == {"issue.created": 2}


async def test_a_limited_client_is_told_when_to_come_back(playground: Playground, client: httpx2.AsyncClient) -> None:
    await playground.set_trouble("github", {"kind": "rate_limited", "seconds": 7})
    assert (await client.get("/user")).headers["retry-after"] == "7"


async def test_what_went_down_comes_back_at_the_same_place(playground: Playground, client: httpx2.AsyncClient) -> None:
    await playground.set_trouble("github", {"kind": "down"})
    assert await attempt(client) == "ConnectError"
    await playground.set_trouble("github", {})
    assert await attempt(client) == 201


async def test_one_vendor_down_leaves_the_others_up(playground: Playground) -> None:
    await playground.set_trouble("jira", {"kind": "down"})
    async with httpx2.AsyncClient() as client:
        others = [
            (await client.get(url)).status_code
            for url in (f"{playground.github.url}/user", f"{playground.calendar.url}/dav/")
        ]
    assert others == [401, 401]


async def test_a_slow_request_holds_only_itself() -> None:
    slept: list[float] = []
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        waiting.set()
        await go_on.wait()

    async def inner(request: Request) -> Response:
        return Response(200, request.path.encode(), effect="done")

    troubled = Troubled(inner, sleep=sleep)
    troubled.trouble = Trouble("slow", seconds=30, path="/slow")

    def asks(path: str) -> Request:
        return Request("POST", path, {}, {}, b"", path)

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(troubled(asks("/slow")))
        await waiting.wait()
        quick = await troubled(asks("/quick"))
        assert (quick, slow.done()) == (Response(200, b"/quick", effect="done"), False)
        go_on.set()
    assert slow.result() == Response(200, b"/slow", effect="done")
    assert (slept, troubled.effects) == ([30], {"done": 2})
