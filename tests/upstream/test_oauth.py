"""Logging in, against a tiny authorization server: refresh before login, one login for many, tokens kept closely."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from motet.calls import Answer, Ask, Call, Question
from motet.config.model import HttpTransport, OAuth, ServerConfig
from motet.errors import NeedsAuth
from motet.upstream import oauth
from motet.upstream.opening import open_connection
from upstream.authority import authority
from upstream.bench import Bench, soon
from upstream.faulty_http import Answered, FaultyHttp, Request, done


class Robot:
    """Somebody who logs in at once."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    async def __call__(self, question: Question) -> Answer:
        self.asked.append(question)
        assert question.url is not None
        async with aiohttp.ClientSession() as browser:
            async with browser.get(question.url, allow_redirects=False) as page:
                back = page.headers["location"]
            async with browser.get(back) as landed:
                assert landed.status == 200
        return Answer("accept")


def config(server: FaultyHttp, auth: OAuth | None = None) -> ServerConfig:
    return ServerConfig("guarded", HttpTransport(server.url, auth=auth or OAuth()))


def request() -> Call:
    return Call(server="guarded", name="t", attempt_deadline=soon(10))


@pytest.fixture(autouse=True)
def quiet_sdk() -> None:
    logging.getLogger("mcp").setLevel(logging.CRITICAL)


async def test_a_person_logs_in_once_and_calls_go_on(bench: Bench) -> None:
    robot = Robot()
    async with authority() as (rules, server):
        connection = await bench.open(config(server), ask=robot)
        for _ in range(3):
            await connection.send(request())
        assert rules.granted == ["authorization_code"]
        assert [(q.server, q.kind) for q in robot.asked] == [("guarded", "url")]
        await connection.close(within=2)


async def test_a_person_logs_in_to_a_legacy_event_stream(bench: Bench) -> None:
    streams: list[asyncio.StreamWriter] = []
    results: dict[str, dict[str, Any]] = {
        "initialize": {"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "old"}},
        "tools/call": {"content": []},
    }

    async with authority() as (rules, server):

        async def guarded(r: Request) -> None:
            await rules.before(r)  # answers by itself whom it does not let in
            if r.method == "GET":
                r.head(200, {"content-type": "text/event-stream"})
                r.writer.write(b"event: endpoint\ndata: /mcp\n\n")
                streams.append(r.writer)
                await asyncio.Event().wait()
            if "id" in r.body:
                streams[-1].write(b"event: message\ndata: " + r.result(results.get(r.rpc, {})) + b"\n\n")
            await r.answer(status=202)
            raise Answered

        server.before = guarded
        over_sse = ServerConfig("guarded", HttpTransport(server.url, kind="sse", auth=OAuth()), era="legacy")
        connection = await bench.open(over_sse, ask=Robot())
        await connection.send(request())
        assert rules.granted == ["authorization_code"]
        await connection.close(within=2)


async def test_nobody_there_to_log_in_is_needs_auth(bench: Bench) -> None:
    async def nobody(question: Question) -> Answer | None:
        return None

    async with authority() as (_, server):
        asks: list[Ask | None] = [None, nobody]
        for ask in asks:
            with pytest.raises(NeedsAuth):
                await bench.open(config(server), ask=ask)


async def test_a_person_who_takes_too_long_is_needs_auth(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ponders(question: Question) -> Answer | None:
        return Answer("accept")  # and never opens the page

    monkeypatch.setattr(oauth, "LOGIN_PATIENCE", 0.5)
    async with authority() as (_, server):
        with pytest.raises(NeedsAuth, match="in time"):
            await bench.open(config(server), ask=ponders)


async def test_a_persons_time_is_not_the_connections(bench: Bench) -> None:
    robot = Robot()

    async def fetches_the_phone_first(question: Question) -> Answer:
        loop = asyncio.get_running_loop()
        while loop.time() <= deadline:  # noqa: ASYNC110 - it is the clock that is waited for
            await asyncio.sleep(0.01)
        return await robot(question)

    async with authority() as (rules, server):
        deadline = soon(0.5)
        connection = await bench.open(config(server), within=0.5, ask=fetches_the_phone_first)
        await connection.send(request())
        assert rules.granted == ["authorization_code"]
        await connection.close(within=2)


async def test_an_authorization_server_that_talks_nonsense_is_needs_auth(bench: Bench) -> None:
    async with authority() as (rules, server):

        async def nonsense(r: Request) -> None:
            if r.path == "/token":
                await r.answer(b'{"access_token": 7}')
                raise Answered
            await rules.before(r)

        server.before = nonsense
        with pytest.raises(NeedsAuth):
            await bench.open(config(server), ask=Robot())


async def test_client_credentials_need_nobody(bench: Bench) -> None:
    auth = OAuth(client_id="me", client_secret="hunter2", grant="client_credentials")
    async with authority() as (rules, server):
        connection = await bench.open(config(server, auth))
        await connection.send(request())
        assert rules.granted == ["client_credentials"]
        assert "hunter2" not in repr(auth) + repr(connection.details)
        await connection.close(within=2)


async def test_client_credentials_without_a_secret_are_refused(bench: Bench) -> None:
    async with authority() as (_, server):
        with pytest.raises(NeedsAuth, match="client_secret"):
            await bench.open(config(server, OAuth(client_id="me", grant="client_credentials")))


async def test_a_revoked_token_is_refreshed_before_anybody_is_asked(bench: Bench) -> None:
    robot = Robot()
    async with authority() as (rules, server):
        connection = await bench.open(config(server), ask=robot)
        rules.good = set()
        await connection.send(request())
        assert rules.granted == ["authorization_code", "refresh_token"]
        assert len(robot.asked) == 1
        await connection.close(within=2)


async def test_a_refresh_that_fails_asks_again(bench: Bench) -> None:
    robot = Robot()
    async with authority(refresh_works=False) as (rules, server):
        connection = await bench.open(config(server), ask=robot)
        rules.good = set()
        await connection.send(request())
        assert rules.granted == ["authorization_code", "refresh_token", "authorization_code"]
        assert len(robot.asked) == 2
        await connection.close(within=2)


async def test_many_calls_that_meet_a_401_log_in_once(bench: Bench) -> None:
    robot = Robot()
    async with authority() as (rules, server):
        connection = await bench.open(config(server), ask=robot)
        rules.good = set()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(connection.send(request()))
        assert rules.granted == ["authorization_code", "refresh_token"]
        await connection.close(within=2)


async def test_calls_run_side_by_side(bench: Bench) -> None:
    """The SDK's own provider would let them in one by one."""
    together = asyncio.Barrier(4)

    async def meet(r: Request) -> None:
        async with asyncio.timeout(5):
            await together.wait()
        await done(r)

    async with authority() as (_, server):
        connection = await bench.open(config(server), ask=Robot())
        server.on_call = meet
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(connection.send(request()))
        await connection.close(within=2)


async def test_tokens_are_kept_in_a_file_only_we_can_read(bench: Bench, tmp_path: Path) -> None:
    robot = Robot()
    memory = tmp_path / "memory"
    async with authority() as (rules, server):
        first = await bench.open(config(server), ask=robot, memory=memory)
        await first.close(within=2)
        [kept] = list(memory.iterdir())
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        second = await bench.open(config(server), memory=memory)
        await second.send(request())
        assert rules.granted == ["authorization_code"]
        assert len(robot.asked) == 1
        await second.close(within=2)


async def test_a_stranger_at_the_door_does_not_log_in() -> None:
    """Somebody else's answer to the loopback port has another state: it is refused."""

    async def ask(question: Question) -> Answer:
        assert question.url is not None
        back = parse_qs(urlsplit(question.url).query)["redirect_uri"][0]
        async with aiohttp.ClientSession() as stranger, stranger.get(f"{back}?code=evil&state=wrong") as page:
            assert page.status == 200
        return Answer("accept")

    async with authority() as (rules, server):
        with pytest.raises(NeedsAuth, match="State"):
            await open_connection(config(server), deadline=soon(10), on_changed=lambda _: None, ask=ask)
        assert rules.granted == []
