"""HTTP servers and networks at their worst: each fault is one named error with the right `sent`, and costs one call."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from typing import Any

import pytest
from yarl import URL

from motet.calls import Call, Progress, ToolResult
from motet.config.model import HttpTransport, Limits, ServerConfig, Timeouts
from motet.errors import CallError, DeadlineExceeded, NeedsAuth, ServerUnavailable
from motet.upstream.http_door import _proxy_for
from upstream.bench import Bench, soon
from upstream.faulty_http import DONE, Answered, FaultyHttp, Handler, Request, done

both_eras = pytest.mark.parametrize("era", ["modern", "legacy"])


def config(server: FaultyHttp, **more: Any) -> ServerConfig:
    return ServerConfig("faulty", HttpTransport(server.url), timeout=Timeouts(call=5), **more)


def request(within: float = 5.0) -> Call:
    return Call(server="faulty", name="t", attempt_deadline=soon(within))


async def reset(r: Request) -> None:
    r.reset()


async def reset_in_the_answer(r: Request) -> None:
    r.head(200, {"content-type": "application/json", "content-length": "1000"})
    r.writer.write(b'{"jsonrpc"')
    await r.writer.drain()
    r.reset()


async def closed_without_a_word(r: Request) -> None:
    r.writer.close()


async def cut_stream(r: Request) -> None:
    r.head(200, {"content-type": "text/event-stream", "connection": "close"})
    r.writer.write(b": hello\n\n")
    await r.writer.drain()
    r.writer.close()


def status(code: int, body: bytes = b"<html>Bad Gateway \x1b[31m</html>", **headers: str) -> Handler:
    async def handler(r: Request) -> None:
        await r.answer(body, code, **{"content_type": "text/html", **headers})

    handler.__name__ = f"status_{code}"
    return handler


def error_body(code: int, rpc_code: int) -> Handler:
    async def handler(r: Request) -> None:
        said = {"jsonrpc": "2.0", "id": r.body["id"], "error": {"code": rpc_code, "message": "no"}}
        await r.answer(json.dumps(said).encode(), code)

    handler.__name__ = f"error_{code}_{-rpc_code}"
    return handler


async def html_page(r: Request) -> None:
    await r.answer(b"<html>please log in</html>", 200, content_type="text/html")


async def not_json(r: Request) -> None:
    await r.answer(b'{"jsonrpc": "2.0", "id": 1, "result": {"content"')


async def empty(r: Request) -> None:
    await r.answer(b"", 202)


async def too_large(r: Request) -> None:
    await r.answer(r.result({"content": [{"type": "text", "text": "x" * 200_000}]}))


async def large_event(r: Request) -> None:
    r.head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    chunk = b"data: " + b"x" * 60_000
    for _ in range(4):
        r.writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await r.writer.drain()
        chunk = b"x" * 60_000


BOMB = gzip.compress(b" " * 20_000_000, compresslevel=1)


async def gzip_bomb(r: Request) -> None:
    await r.answer(BOMB, content_encoding="gzip")


async def strange_encoding(r: Request) -> None:
    await r.answer(b"xyz", content_encoding="br")


async def redirect_loop(r: Request) -> None:
    await r.answer(b"", 307, location=r.path)


async def redirect_elsewhere(r: Request) -> None:
    await r.answer(b"", 307, location="http://127.0.0.2:1/mcp")


TABLE: list[tuple[Handler, str, str, bool, str]] = [
    # what the server does          kind               sent      transient health
    (reset, "connection_lost", "unknown", True, "failure"),
    (reset_in_the_answer, "connection_lost", "unknown", True, "failure"),
    (closed_without_a_word, "connection_lost", "unknown", True, "failure"),
    (cut_stream, "connection_lost", "unknown", True, "failure"),
    (status(500), "connection_lost", "unknown", True, "failure"),
    (status(502), "connection_lost", "unknown", True, "failure"),
    (status(503, retry_after="7"), "connection_lost", "unknown", True, "failure"),
    (status(504), "connection_lost", "unknown", True, "failure"),
    (status(401), "needs_auth", "no", False, "none"),
    (status(403), "needs_auth", "no", False, "none"),
    (status(429, retry_after="7"), "rate_limited", "no", True, "neutral"),
    (status(400), "protocol", "no", False, "success"),
    (status(405), "protocol", "no", False, "success"),
    (status(413), "protocol", "no", False, "success"),
    (error_body(400, -32602), "protocol", "no", False, "success"),
    (error_body(500, -32603), "protocol", "yes", True, "neutral"),
    (error_body(200, -32000), "protocol", "yes", True, "neutral"),
    (html_page, "unusable_answer", "yes", False, "success"),
    (not_json, "unusable_answer", "yes", False, "success"),
    (empty, "unusable_answer", "yes", False, "success"),
    (too_large, "result_too_large", "yes", False, "success"),
    (large_event, "result_too_large", "yes", False, "success"),
    (gzip_bomb, "result_too_large", "yes", False, "success"),
    (strange_encoding, "unusable_answer", "yes", False, "success"),
    (redirect_loop, "unavailable", "no", False, "failure"),
    (redirect_elsewhere, "unavailable", "no", False, "failure"),
]


@pytest.mark.parametrize("row", TABLE, ids=[getattr(row[0], "__name__", "") for row in TABLE])
@both_eras
async def test_every_fault_is_one_error_with_the_right_sent(
    bench: Bench, era: str, row: tuple[Handler, str, str, bool, str]
) -> None:
    handler, kind, sent, transient, health = row
    async with FaultyHttp(handler, era) as server:
        connection = await bench.open(config(server, limits=Limits(answer=100_000)))
        with pytest.raises(CallError) as caught:
            await connection.send(request())
        error = caught.value
        assert (error.kind, error.sent, error.transient, error.health) == (kind, sent, transient, health)
        assert "\x1b" not in str(error)
        server.on_call = done
        reply = await connection.send(request())
        assert isinstance(reply, ToolResult)
        assert reply.text == "done"


async def test_retry_after_is_kept(bench: Bench) -> None:
    async with FaultyHttp(status(429, retry_after="7")) as server:
        connection = await bench.open(config(server))
        with pytest.raises(CallError) as caught:
            await connection.send(request())
        assert caught.value.retry_after == 7.0


async def garbage(r: Request) -> None:
    r.writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    await r.writer.drain()
    r.writer.close()


async def short_body(r: Request) -> None:
    r.head(200, {"content-type": "application/json", "content-length": "5000", "connection": "close"})
    r.writer.write(r.result(DONE))
    await r.writer.drain()
    r.writer.close()


async def bad_chunks(r: Request) -> None:
    r.head(200, {"content-type": "application/json", "transfer-encoding": "chunked"})
    r.writer.write(b"zz\r\nnot a chunk\r\n")
    await r.writer.drain()


async def endless_header(r: Request) -> None:
    r.head(200, {"content-type": "application/json", "x": "y" * 200_000})
    await r.writer.drain()


async def truncated_gzip(r: Request) -> None:
    await r.answer(gzip.compress(r.result(DONE))[:-12], content_encoding="gzip")


async def batch(r: Request) -> None:
    await r.answer(b"[%b]" % r.result(DONE))


WIRE_FAULTS = [
    (garbage, "connection_lost", "unknown"),
    (short_body, "connection_lost", "unknown"),
    (bad_chunks, "connection_lost", "unknown"),
    (endless_header, "connection_lost", "unknown"),
    (truncated_gzip, "unusable_answer", "yes"),
    (batch, "unusable_answer", "yes"),
]


@pytest.mark.parametrize("row", WIRE_FAULTS, ids=[row[0].__name__ for row in WIRE_FAULTS])
async def test_broken_http_is_one_error_too(bench: Bench, row: tuple[Handler, str, str]) -> None:
    handler, kind, sent = row
    async with FaultyHttp(handler) as server:
        connection = await bench.open(config(server))
        with pytest.raises(CallError) as caught:
            await connection.send(request())
        assert (caught.value.kind, caught.value.sent) == (kind, sent)
        server.on_call = done
        await connection.send(request())


def test_proxies_come_from_the_environment_and_never_serve_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    asked = ["https://out.example/mcp", "https://inside.example/mcp", "https://127.0.0.1/mcp", "https://localhost/x"]
    assert [_proxy_for(URL(url)) for url in asked] == ["http://proxy.example:3128", None, None, None]


async def slow_body(r: Request) -> None:
    r.head(200, {"content-type": "application/json", "content-length": "1000"})
    while True:
        r.writer.write(b" ")
        await r.writer.drain()
        await asyncio.sleep(0.02)


async def half_open(r: Request) -> None:
    await r.reader.read()  # says nothing, for ever


@pytest.mark.parametrize("handler", [slow_body, half_open])
@both_eras
async def test_a_server_that_dawdles_ends_at_the_deadline(bench: Bench, era: str, handler: Handler) -> None:
    async with FaultyHttp(handler, era) as server:
        connection = await bench.open(config(server))
        with pytest.raises(DeadlineExceeded) as caught:
            await connection.send(request(0.3))
        assert caught.value.sent == "unknown"
        server.on_call = done
        await connection.send(request())


async def test_before_2026_a_call_that_is_given_up_is_cancelled_by_name(bench: Bench) -> None:
    came = asyncio.Event()

    async def watch(r: Request) -> None:
        if r.rpc == "notifications/cancelled":
            came.set()

    async with FaultyHttp(half_open, "legacy", before=watch) as server:
        connection = await bench.open(config(server))
        with pytest.raises(DeadlineExceeded):
            await connection.send(request(0.2))
        async with asyncio.timeout(5):
            await came.wait()


async def test_a_refused_connection_was_never_sent(bench: Bench) -> None:
    async with FaultyHttp(done) as server:
        connection = await bench.open(config(server))
    with pytest.raises(CallError) as caught:  # a kept connection may be closed under the first
        await connection.send(request())
    assert caught.value.kind in ("unavailable", "connection_lost")
    call = request()
    with pytest.raises(ServerUnavailable) as refused:
        await connection.send(call)
    assert (refused.value.reason, refused.value.sent, call.written) == ("connect", "no", False)


async def test_nobody_listening_is_unavailable(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/mcp"
    with pytest.raises(ServerUnavailable) as caught:
        await bench.open(ServerConfig("faulty", HttpTransport(url)))
    assert caught.value.reason == "connect"


async def test_a_peer_without_tls_is_unavailable(bench: Bench) -> None:
    async with FaultyHttp(done) as server:
        secure = server.url.replace("http://", "https://")
        with pytest.raises(ServerUnavailable) as caught:
            await bench.open(ServerConfig("faulty", HttpTransport(secure)), within=1.0)
        assert (caught.value.reason, caught.value.sent) == ("connect", "no")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://", "nonsense"])
async def test_an_impossible_url_is_named(bench: Bench, url: str) -> None:
    with pytest.raises(ServerUnavailable) as caught:
        await bench.open(ServerConfig("faulty", HttpTransport(url)))
    assert caught.value.reason == "connect"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(401, "needs_auth"), (403, "needs_auth"), (429, "unavailable"), (500, "unavailable"), (503, "unavailable")],
)
async def test_a_refusal_at_the_door_is_no_verdict_about_the_era(bench: Bench, code: int, kind: str) -> None:
    async def refuse(r: Request) -> None:
        await r.answer(b"<html>", code, retry_after="3")
        raise Answered

    async with FaultyHttp(done, before=refuse) as server:
        with pytest.raises(ServerUnavailable) as caught:
            await bench.open(config(server))
        assert caught.value.kind == kind
        assert [r.rpc for r in server.seen] == ["server/discover"]
        if code == 429:
            assert caught.value.retry_after == 3.0


async def test_a_plain_4xx_at_the_door_means_the_other_era(bench: Bench) -> None:
    async with FaultyHttp(done, "legacy") as server:
        connection = await bench.open(config(server))
        assert connection.version == "2025-11-25"
        assert server.seen[0].rpc == "server/discover"


async def test_a_lost_session_closes_the_connection_and_nothing_was_done(bench: Bench) -> None:
    async with FaultyHttp(status(404), "legacy") as server:
        connection = await bench.open(config(server))
        with pytest.raises(ServerUnavailable) as caught:
            await connection.send(request())
        assert caught.value.sent == "no"
        assert "session" in await connection.wait_closed()


async def test_the_session_id_is_sent_back_and_ended(bench: Bench) -> None:
    async with FaultyHttp(done, "legacy") as server:
        connection = await bench.open(config(server))
        await connection.send(request())
        assert server.calls()[0].headers["mcp-session-id"] == "session-1"
        assert server.calls()[0].headers["mcp-protocol-version"] == "2025-11-25"
        await connection.close(within=2)
        assert server.seen[-1].method == "DELETE"
        assert server.seen[-1].headers["mcp-session-id"] == "session-1"
        order = [r.rpc for r in server.seen if r.rpc]
        assert order == ["server/discover", "initialize", "notifications/initialized", "tools/call"]


async def test_modern_requests_mirror_method_and_name(bench: Bench) -> None:
    async with FaultyHttp(done) as server:
        connection = await bench.open(config(server))
        await connection.send(Call(server="faulty", name="tööl", attempt_deadline=soon(5)))
        headers = server.calls()[0].headers
        assert headers["mcp-method"] == "tools/call"
        assert headers["mcp-name"].startswith("=?base64?")
        assert headers["mcp-protocol-version"] == "2026-07-28"
        assert "mcp-session-id" not in headers


async def test_a_neighbouring_call_survives_a_reset(bench: Bench) -> None:
    together = asyncio.Barrier(2)

    async def one_dies(r: Request) -> None:
        await together.wait()
        if r.body["params"]["arguments"].get("dies"):
            r.reset()
        else:
            await done(r)

    async with FaultyHttp(one_dies) as server:
        connection = await bench.open(config(server))
        doomed = Call(server="faulty", name="t", arguments={"dies": 1}, attempt_deadline=soon(5))

        async def outcome(call: Call) -> str:
            try:
                await connection.send(call)
            except CallError as error:
                return error.kind
            return "done"

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(outcome(call)) for call in (doomed, request())]
        assert [task.result() for task in tasks] == ["connection_lost", "done"]


async def test_an_answer_may_come_on_a_stream_after_progress(bench: Bench) -> None:
    told: list[Progress] = []

    async def stream(r: Request) -> None:
        token = r.body["params"]["_meta"]["progressToken"]
        r.head(200, {"content-type": "text/event-stream", "connection": "close"})
        for n in range(3):
            params = {"progressToken": token, "progress": n, "total": 3, "message": "m\x1b[31m"}
            note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            r.writer.write(b"event: message\r\ndata: %b\r\n\r\n" % json.dumps(note).encode())
        r.writer.write(b"data: %b\n\n" % r.result(DONE))
        await r.writer.drain()
        r.writer.close()

    async with FaultyHttp(stream) as server:
        connection = await bench.open(config(server))
        call = request()
        call.on_progress = told.append
        await connection.send(call)
        assert told == [Progress(float(n), 3.0, "m") for n in range(3)]


async def test_before_2026_a_cut_stream_with_event_ids_is_taken_up_again(bench: Bench) -> None:
    held: list[Request] = []

    async def cut(r: Request) -> None:
        held.append(r)
        r.head(200, {"content-type": "text/event-stream", "connection": "close"})
        r.writer.write(b"id: e1\nretry: 10\ndata:\n\n")
        await r.writer.drain()
        r.writer.close()

    async def resume(r: Request) -> None:
        if r.method == "GET" and r.headers.get("last-event-id") == "e1":
            r.head(200, {"content-type": "text/event-stream", "connection": "close"})
            r.writer.write(b"id: e2\ndata: %b\n\n" % held[0].result(DONE))
            await r.writer.drain()
            r.writer.close()
            raise Answered

    async with FaultyHttp(cut, "legacy", before=resume) as server:
        connection = await bench.open(config(server))
        reply = await connection.send(request())
        assert isinstance(reply, ToolResult)
        assert reply.text == "done"
        assert len(server.calls()) == 1


async def test_headers_of_the_configuration_never_follow_a_redirect_elsewhere(bench: Bench) -> None:
    async with FaultyHttp(done) as other:

        async def away(r: Request) -> None:
            await r.answer(b"", 307, location=other.url.replace("127.0.0.1", "localhost"))
            raise Answered

        async with FaultyHttp(done, before=away) as server:
            transport = HttpTransport(server.url, {"authorization": "Bearer hunter2"})
            with pytest.raises(ServerUnavailable):
                await bench.open(ServerConfig("faulty", transport))
        assert other.seen == []


async def test_needs_auth_tells_no_secret(bench: Bench) -> None:
    async with FaultyHttp(status(401)) as server:
        transport = HttpTransport(server.url + "?key=hunter2", {"x-key": "hunter2"})
        connection = await bench.open(ServerConfig("faulty", transport, secrets=("hunter2",)))
        with pytest.raises(NeedsAuth) as caught:
            await connection.send(request())
        assert "hunter2" not in str(caught.value) + repr(connection.details) + repr(caught.value)


@pytest.mark.parametrize("cut", [False, True])
async def test_a_subscription_tells_changes_and_is_taken_up_again(
    bench: Bench, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet.upstream.subscriptions.LISTEN_PAUSE", 0.01)
    opened: list[Request] = []

    async def listen(r: Request) -> None:
        if r.rpc != "subscriptions/listen":
            return
        opened.append(r)
        assert r.body["params"]["notifications"] == {"toolsListChanged": True}
        r.head(200, {"content-type": "text/event-stream"})
        stamp = {"_meta": {"io.modelcontextprotocol/subscriptionId": r.body["id"]}}
        for method in ("notifications/subscriptions/acknowledged", "notifications/tools/list_changed"):
            note = {"jsonrpc": "2.0", "method": method, "params": stamp}
            if not cut:
                r.writer.write(b"data: %b\n\n" % json.dumps(note).encode())
        await r.writer.drain()
        if cut and len(opened) == 1:
            r.reset()
        await r.reader.read()
        raise Answered

    async with FaultyHttp(done, capabilities={"tools": {"listChanged": True}}, before=listen) as server:
        connection = await bench.open(config(server))
        async with asyncio.timeout(5):
            await bench.changed.wait()
        assert bench.changes == ["tools"]
        assert (await connection.send(request())).body["content"] == DONE["content"]
        await connection.close(within=2)


async def test_single_resources_are_watched_on_a_stream_of_their_own(bench: Bench) -> None:
    asked: asyncio.Queue[list[str]] = asyncio.Queue()
    told: asyncio.Queue[str] = asyncio.Queue()

    async def listen(r: Request) -> None:
        if r.rpc != "subscriptions/listen":
            return
        uris = r.body["params"]["notifications"]["resourceSubscriptions"]
        asked.put_nowait(uris)
        r.head(200, {"content-type": "text/event-stream"})
        for uri in uris:
            note = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}
            r.writer.write(b"data: %b\n\n" % json.dumps(note).encode())
        await r.writer.drain()
        assert await r.reader.read() == b""  # closing the response is how it is given up
        asked.put_nowait([])
        raise Answered

    async with FaultyHttp(done, capabilities={"resources": {"subscribe": True}}, before=listen) as server:
        connection = await bench.open(config(server))
        async with asyncio.timeout(5):
            connection.watch(frozenset({"x://1"}), told.put_nowait)
            assert (await asked.get(), await told.get()) == (["x://1"], "x://1")
            connection.watch(frozenset({"x://1", "x://2"}), told.put_nowait)
            assert sorted([await asked.get(), await asked.get()]) == [[], ["x://1", "x://2"]]
            assert [await told.get(), await told.get()] == ["x://1", "x://2"]
            connection.watch(frozenset(), told.put_nowait)
            assert await asked.get() == []
        await connection.close(within=2)
