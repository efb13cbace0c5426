from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from motet_servers.kit import addresses, arguments, idempotency, paging
from motet_servers.kit.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TooLarge,
    Unavailable,
)
from motet_servers.kit.http import ApiClient
from motet_servers.kit.redaction import Redactor
from motet_servers.kit.settings import SettingsError, Values, Variable

# -- settings ----------------------------------------------------------------------------------------------------------

VARIABLES = (
    Variable("X_TOKEN", "the token", secret=True, where="Get it."),
    Variable("X_URL", "the URL"),
    Variable("X_LIMIT", "a limit", default="10"),
)


def test_values_give_defaults_and_name_what_is_missing() -> None:
    values = Values(VARIABLES, {"X_LIMIT": "", "OTHER": "never seen"})
    assert values.number("X_LIMIT") == 10
    with pytest.raises(SettingsError, match=r"^X_TOKEN is not set: the token\. Get it\.$"):
        values.require("X_TOKEN")
    with pytest.raises(KeyError):
        values.get("OTHER")


def test_secrets_are_the_secret_variables_and_passwords_in_urls_and_never_shown() -> None:
    values = Values(VARIABLES, {"X_TOKEN": "abcd1234", "X_URL": "postgresql://me:p%40ss@h/db"})
    assert set(values.secrets) == {"abcd1234", "p%40ss", "p@ss"}
    assert repr(values) == "Values(set: X_TOKEN, X_URL)"


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://example.com", "plain http to example.com"),
        ("https://me:pw@example.com", "must not hold credentials"),
        ("https://169.254.169.254/latest", "link-local or metadata"),
        ("https://[::ffff:169.254.169.254]/", "link-local or metadata"),
        ("https://metadata.google.internal", "link-local or metadata"),
        ("https://METADATA.google.internal./", "link-local or metadata"),
        ("https://2852039166/", "link-local or metadata"),
        ("https://0xa9fea9fe/", "link-local or metadata"),
        ("https://0251.0376.0251.0376/", "link-local or metadata"),
        ("https://169.254.43518/", "link-local or metadata"),
        ("https://169.254.169.254./", "link-local or metadata"),
        ("https://[2002:a9fe:a9fe::1]/", "link-local or metadata"),
        ("https://[64:ff9b::a9fe:a9fe]/", "link-local or metadata"),
        ("https://[fe80::1%25eth0]/", "link-local or metadata"),
        ("https://[fd00:ec2::254]/", "link-local or metadata"),
        ("https://0/", "link-local or metadata"),
        ("https://0.0.0.0/", "link-local or metadata"),
        ("http://localhost.evil.test/", "plain http"),
        ("http://127.0.0.1.evil.test/", "plain http"),
        ("http://127.0.0.1@evil.test/", "must not hold credentials"),
        ("gopher://127.0.0.1/", "not an http"),
        ("file:///etc/passwd", "not an http"),
        ("https://example.com/?x=1", "query or a fragment"),
        ("https://example.com:port", "not a URL"),
    ],
)
def test_a_base_url_that_would_leak_or_mislead_is_refused(url: str, complaint: str) -> None:
    values = Values(VARIABLES, {"X_URL": url})
    with pytest.raises(SettingsError, match=complaint) as caught:
        values.url("X_URL")
    assert "pw" not in str(caught.value)


def test_loopback_may_be_plain_http_and_a_trailing_slash_goes() -> None:
    assert addresses.base_url("http://localhost:4000/api/") == "http://localhost:4000/api"
    assert addresses.base_url("http://jira.corp:8080", allow_http=True) == "http://jira.corp:8080"


def test_an_argument_stays_one_segment_of_a_path() -> None:
    assert addresses.path("repos", "a/../b", "x y", 3) == "/repos/a%2F..%2Fb/x%20y/3"
    for bad in ("..", ".", "", "a\nb"):
        with pytest.raises(ValueError, match="cannot be part of an address"):
            addresses.path("repos", bad)


# -- redaction, keys, cursors ------------------------------------------------------------------------------------------


def test_redaction_finds_plain_quoted_and_base64_spellings_but_leaves_short_values() -> None:
    redactor = Redactor(["s3cr/t pass", "abc"])
    text = "s3cr/t pass, s3cr%2Ft%20pass, czNjci90IHBhc3M=, abc"
    assert redactor.text(text) == "[redacted], [redacted], [redacted], abc"
    assert redactor.json({"s3cr/t pass": ["s3cr/t pass", 1]}) == {"[redacted]": ["[redacted]", 1]}
    assert "s3cr" not in repr(redactor)
    assert Redactor(['pa"ss\\wörd']).text(r'{"it": "pa\"ss\\wörd", "or": "pa\"ss\\w\u00f6rd"}') == (
        '{"it": "[redacted]", "or": "[redacted]"}'
    )


def test_marks_are_stable_and_differ_by_domain_tool_and_key() -> None:
    mark = idempotency.mark("github", "create_issue", "k")
    assert mark == idempotency.mark("github", "create_issue", "k")
    assert len({mark, idempotency.mark("jira", "create_issue", "k"), idempotency.mark("github", "x", "k")}) == 3
    for bad in ("", "x" * 256, "a\nb", "ü"):
        with pytest.raises(InvalidInput):
            idempotency.checked(bad)


ENDING = idempotency.Ending("<!-- x:", ":", " -->")
MARK, SAID = "0123456789abcdef" * 2, "f" * 32


@pytest.mark.parametrize("text", ["", "a text", "with <!-- x:1 --> inside", "\n\nof lines\n and <!-- x:"])
def test_a_hidden_ending_is_found_again_and_never_shown(text: str) -> None:
    written = ENDING.write(text, MARK, SAID)
    assert ENDING.read(written) == ENDING.read(f"{written} \r\n") == idempotency.Ended(text, MARK, SAID)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        f"<!-- x:{MARK}:{SAID} --> and more",
        f"<!-- x:{MARK.upper()}:{SAID} -->",
        f"<!-- x:{MARK[1:]}:{SAID} -->",
        f"<!-- x:{MARK}-{SAID} -->",
        f"<!-- x:{MARK}:{SAID}",
    ],
)
def test_what_only_looks_like_an_ending_stays_in_the_text(text: str) -> None:
    assert ENDING.read(text) == idempotency.Ended(text)


def test_content_is_text_or_base64_and_has_a_bound() -> None:
    assert arguments.decoded("ü", "utf-8", most=2) == "ü".encode()
    assert arguments.decoded("/w==", "base64", most=1) == b"\xff"
    assert arguments.base64_length(4) == len("AAAAAA==")
    for content, encoding in (("abc", "utf-8"), ("AAAA", "base64")):
        with pytest.raises(TooLarge, match="over 2 bytes; nothing was sent"):
            arguments.decoded(content, encoding, most=2)  # pyright: ignore[reportArgumentType] - one of the two
    with pytest.raises(InvalidInput, match="not valid base64"):
        arguments.decoded("*", "base64", most=2)


async def test_one_key_is_held_by_one_at_a_time_and_forgotten_afterwards() -> None:
    locks = idempotency.KeyLocks()
    entered, leave, order = asyncio.Event(), asyncio.Event(), list[str]()

    async def first() -> None:
        async with locks.hold("k"):
            entered.set()
            await leave.wait()
            order.append("first")

    async def second() -> None:
        await entered.wait()
        async with locks.hold("other"):
            leave.set()
        async with locks.hold("k"):
            order.append("second")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first())
        tasks.create_task(second())
    assert order == ["first", "second"]
    assert locks.__dict__ == {"_locks": {}}


def test_cursors_come_back_as_given_and_strange_ones_are_refused() -> None:
    assert paging.decode(paging.encode({"after": "ü"})) == {"after": "ü"}
    assert paging.offset(None) == 0
    for bad in ("%%%", "bm90IGpzb24", paging.encode({"offset": -1}), paging.encode({"offset": True}), "x" * 5000):
        with pytest.raises(InvalidInput):
            paging.offset(bad)


# -- HTTP --------------------------------------------------------------------------------------------------------------


def client(answer: Any, **options: Any) -> ApiClient:
    """A client of `https://api.test` whose requests are answered by the function."""
    return ApiClient(
        "Vendor",
        "https://api.test/v1",
        headers={"Authorization": "Bearer t"},
        transport=httpx2.MockTransport(answer),
        **options,
    )


@pytest.mark.parametrize(
    ("method", "status", "headers", "error"),
    [
        ("GET", 401, {}, Refused),
        ("GET", 403, {}, Refused),
        ("GET", 403, {"x-ratelimit-remaining": "0"}, RateLimited),
        ("GET", 404, {}, NotFound),
        ("POST", 409, {}, Conflict),
        ("POST", 422, {}, InvalidInput),
        ("POST", 429, {"retry-after": "7"}, RateLimited),
        ("GET", 502, {}, Unavailable),
        ("POST", 502, {}, OutcomeUnknown),
        ("POST", 503, {"retry-after": "1"}, Unavailable),
    ],
)
async def test_a_status_becomes_the_error_that_says_what_to_do(
    method: str, status: int, headers: Any, error: Any
) -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers=headers, json={"message": "the vendor's words"})

    async with client(answer) as api:
        with pytest.raises(error, match="the vendor's words") as caught:
            await api.request(method, "/x")
    assert caught.value.status == status
    if "retry-after" in headers:
        assert caught.value.retry_after == float(headers["retry-after"])


async def test_a_limit_that_only_the_vendors_words_tell_of_is_one() -> None:
    said = {"message": "You have exceeded a secondary rate limit. Please wait."}
    async with client(lambda _: httpx2.Response(403, json=said)) as api:  # pyright: ignore[reportUnknownLambdaType]
        with pytest.raises(RateLimited, match="secondary rate limit"):
            await api.request("POST", "/x")


async def test_a_lost_answer_to_a_write_is_an_unknown_outcome_and_to_a_read_is_not() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("cut", request=request)

    async with client(answer) as api:
        with pytest.raises(OutcomeUnknown, match="may have happened"):
            await api.request("POST", "/x", json={})
        with pytest.raises(Unavailable):
            await api.request("GET", "/x")


@pytest.mark.parametrize(
    ("cause", "why"),
    [
        (socket.gaierror(-2, "Name or service not known"), "there is no host of that name"),
        (ConnectionRefusedError(), "nothing listens there"),
        (TimeoutError(), "it did not answer in time"),
        (OSError("all attempts failed with t0k3n"), "ConnectError"),
    ],
)
async def test_a_connection_that_was_never_made_sent_nothing_and_says_why(cause: OSError, why: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request) from cause

    async with client(answer) as api:
        with pytest.raises(Unavailable) as failed:
            await api.request("POST", "/x", json={})
    assert str(failed.value) == f"Vendor cannot be reached at https://api.test/v1: {why}. Nothing was sent."


async def test_redirects_stay_within_the_origin_and_writes_are_never_redirected() -> None:
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(str(request.url))
        targets = {"/v1/moved": "/v1/here", "/v1/away": "https://evil.test/x", "/v1/loop": "/v1/loop"}
        target = targets.get(request.url.path)
        return httpx2.Response(302, headers={"location": target}) if target else httpx2.Response(200, json={"ok": 1})

    async with client(answer) as api:
        assert (await api.request("GET", "/moved")).content == b'{"ok":1}'
        with pytest.raises(Refused, match="another host"):
            await api.request("GET", "/away")
        with pytest.raises(Refused, match="redirected too often"):
            await api.request("GET", "/loop")
        with pytest.raises(Refused, match="nothing was repeated"):
            await api.request("POST", "/moved", json={})
        with pytest.raises(Refused, match="another host"):
            await api.request("GET", "https://evil.test/x")
    assert all(url.startswith("https://api.test/") for url in seen)


async def test_an_answer_over_the_cap_is_refused_while_it_is_read() -> None:
    async with client(lambda _: httpx2.Response(200, content=b"x" * 2000), max_bytes=1000) as api:  # pyright: ignore[reportUnknownLambdaType]
        with pytest.raises(TooLarge, match="over 1,000 bytes"):
            await api.request("GET", "/big")


@pytest.mark.parametrize("layers", [1, 2, 3])
async def test_an_answer_that_unpacks_to_far_more_is_refused_while_it_is_unpacked(layers: int) -> None:
    bomb = bytes(64 << 20)
    for _ in range(layers):
        bomb = gzip.compress(bomb)
    packed = {"content-encoding": ", ".join(["gzip"] * layers)}
    tracemalloc.start()
    try:
        async with client(lambda _: httpx2.Response(200, headers=packed, stream=httpx2.ByteStream(bomb))) as api:  # pyright: ignore[reportUnknownLambdaType]
            with pytest.raises(TooLarge, match="over 16,777,216 bytes"):
                await api.request("GET", "/big")
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


class Dripping(httpx2.AsyncByteStream):
    """An answer that goes on, and never ends."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0)


async def test_an_answer_that_never_ends_is_given_up() -> None:
    async with client(lambda _: httpx2.Response(200, stream=Dripping()), total=0.02) as api:  # pyright: ignore[reportUnknownLambdaType]
        with pytest.raises(Unavailable, match=r"did not answer \(TimeoutError\); try again"):
            await api.request("GET", "/x")
        with pytest.raises(OutcomeUnknown, match="may have happened"):
            await api.request("POST", "/x", json={})


def test_retry_after_is_read_as_seconds_date_or_reset() -> None:
    from motet_servers.kit.http import retry_after

    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert retry_after({"retry-after": "3"}, now) == 3
    assert retry_after({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, now) == 30
    assert retry_after({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(now.timestamp()) + 9)}, now) == 9
    for nonsense in ("soon", "²", "9" * 400, "Sun, 99 Nov 2026 12:00:30 GMT"):
        assert retry_after({"retry-after": nonsense}, now) is None
