"""The reader of a pipe, without a process: any chunking, any noise, any broken line, and what each costs."""

from __future__ import annotations

import asyncio

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet.calls import Call, Json
from motet.config.model import Limits, ServerConfig, StdioTransport
from motet.errors import CallError
from motet.upstream.answers import Reader
from motet.upstream.link import Ident
from motet.upstream.pipes import Outlet
from motet.upstream.stdio import StdioLink

CAP = 20_000


class Told:
    """A session that only remembers."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Json]] = []
        self.requests: list[tuple[Ident, str]] = []
        self.notices: list[str] = []
        self.late: list[str] = []

    def notified(self, method: str, params: Json) -> None:
        self.notes.append((method, params))

    def asked(self, ident: Ident, method: str, params: Json) -> None:
        self.requests.append((ident, method))

    def noticed(self, what: str, message: str) -> None:
        self.notices.append(what)

    def answered_late(self, call: Call, raw: msgspec.Raw | None, error: Exception | None) -> None:
        self.late.append(call.name)


class Wire(Outlet):
    """A stdin that takes everything."""

    def __init__(self) -> None:
        self.full = False
        self.written: list[bytes] = []

    def write(self, message: bytes) -> bool:
        self.written.append(message)
        return True


class Rig:
    """A link with nothing below it."""

    def __init__(self) -> None:
        config = ServerConfig("s", StdioTransport("none"), limits=Limits(answer=CAP))
        self.told = Told()
        self.link = StdioLink(config, self.told, Reader("s", secrets=(), depth=32))
        self.wire = Wire()
        self.link._out = self.wire

    def ask(self, ident: int, call: Call | None = None) -> asyncio.Future[msgspec.Raw]:
        return self.link.exchange(ident, b"{}\n", None, call, None)

    def feed(self, data: bytes) -> None:
        self.link._read(data)


def outcome(answer: asyncio.Future[msgspec.Raw]) -> Json:
    """The result, the kind of the error, or None while it waits."""
    if not answer.done():
        return None
    error = answer.exception()
    if error is not None:
        assert isinstance(error, CallError)
        return error.kind
    return orjson.loads(bytes(memoryview(answer.result())))


def answer_line(ident: int, value: Json) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": ident, "result": value}) + b"\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[a:b] for a, b in zip([0, *ends], ends, strict=False) if a < b]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
plain_noise = st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b" ").replace(b"{", b" "))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    results=st.lists(st.dictionaries(st.text(), values, max_size=4), min_size=1, max_size=5),
    noise=st.lists(plain_noise, max_size=6),
    places=st.lists(st.integers(0, 10_000), max_size=20),
)
async def test_any_chunking_and_any_noise_give_each_call_its_own_answer(
    results: list[Json], noise: list[bytes], places: list[int]
) -> None:
    rig = Rig()
    asked = [rig.ask(n) for n in range(len(results))]
    lines = [answer_line(n, result) for n, result in enumerate(results)]
    mixed = b"".join(
        part for n, line in enumerate(lines) for part in ([noise[n] + b"\n"] if n < len(noise) else []) + [line]
    )
    for piece in cut(mixed, places):
        rig.feed(piece)
    assert [outcome(answer) for answer in asked] == results


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=400), places=st.lists(st.integers(0, 400), max_size=8))
async def test_no_bytes_whatever_break_the_reader(data: bytes, places: list[int]) -> None:
    rig = Rig()
    for piece in cut(data, places):
        rig.feed(piece)
    rig.feed(b"\n")
    answer = rig.ask(7)
    rig.feed(answer_line(7, {"ok": True}))
    assert outcome(answer) == {"ok": True}


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (b'log line{"jsonrpc":"2.0","id":1,"result":{"a":1}}', {"a": 1}),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":1}} trailing words', {"a": 1}),
        (b'{"jsonrpc":"2.0","id":9,"result":{}}{"jsonrpc":"2.0","id":1,"result":{"a":1}}', {"a": 1}),
        (b'{"result":{"a":1},"id":1,"jsonrpc":"2.0"}', {"a": 1}),
        (b'{"jsonrpc":"2.0","id":"1","result":{"a":1}}', {"a": 1}),
        (b'  {"jsonrpc":"2.0","id":1,"result":{"a":1}}\r', {"a": 1}),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"result":{"a":1}}', {"a": 1}),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":"\\ud800"}}', {"a": "?"}),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}', "protocol"),
        (b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}', "protocol"),
        (b'{"jsonrpc":"2.0","id":1}', "unusable_answer"),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}', "unusable_answer"),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":tru}}', "unusable_answer"),
        (b'{"jsonrpc":"2.0","id":1,"result":' + b"[" * 3000 + b"]" * 3000 + b"}", "unusable_answer"),
        (b'{"result":{"a":tru},"id":1,"jsonrpc":"2.0"}', "unusable_answer"),
        (b"not for anybody", None),
        (b'{"jsonrpc":"2.0","id":5,"result":{}}', None),
        (b'{"level":"info","id":"1"', None),
    ],
    ids=str,
)
async def test_one_odd_line_costs_its_own_call_at_most(line: bytes, result: Json) -> None:
    rig = Rig()
    answer = rig.ask(1)
    rig.feed(line + b"\n")
    assert outcome(answer) == result
    healthy = rig.ask(2)
    rig.feed(answer_line(2, {"ok": True}))
    assert outcome(healthy) == {"ok": True}


async def test_a_line_over_the_cap_fails_its_call_at_once_and_no_other() -> None:
    rig = Rig()
    doomed, other = rig.ask(1), rig.ask(2)
    rig.feed(b'{"jsonrpc":"2.0","id":1,"result":{"content":"' + b"x" * (CAP + 10))
    assert (outcome(doomed), outcome(other)) == ("result_too_large", None)
    rig.feed(b"x" * 100 + b'"}}\n' + answer_line(2, {}))
    assert outcome(other) == {}


async def test_a_line_over_the_cap_with_its_id_at_the_end_is_told_at_the_end() -> None:
    rig = Rig()
    doomed, other = rig.ask(1), rig.ask(2)
    rig.feed(b'{"result":{"content":"' + b"x" * (CAP + 10))
    rig.feed(b'"},"id":1,"jsonrpc":"2.0"}\n')
    assert (outcome(doomed), outcome(other)) == ("result_too_large", None)


async def test_a_line_over_the_cap_in_one_chunk_is_told_too() -> None:
    rig = Rig()
    doomed = rig.ask(1)
    rig.feed(b'{"jsonrpc":"2.0",')
    rig.feed(b'"id":1,"result":{"content":"' + b"x" * (CAP + 10) + b'"}}\n')
    assert outcome(doomed) == "result_too_large"


async def test_an_endless_line_is_cut_off_and_the_next_one_is_read() -> None:
    rig = Rig()
    for _ in range(50):
        rig.feed(b"y" * CAP)
    assert rig.link._size <= 2 * CAP
    answer = rig.ask(1)
    rig.feed(b"\n" + answer_line(1, {"ok": 1}))
    assert outcome(answer) == {"ok": 1}


async def test_a_flood_without_end_closes_the_connection() -> None:
    rig = Rig()
    answer = rig.ask(1)
    rig.link._unasked = 2_000_000
    rig.link._unasked_since = asyncio.get_running_loop().time()
    rig.feed(b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}\n')
    assert outcome(answer) == "connection_lost"
    assert "floods" in await rig.link.closed


async def test_requests_and_notifications_reach_the_session() -> None:
    rig = Rig()
    rig.feed(b'{"jsonrpc":"2.0","id":"a","method":"ping"}\n')
    rig.feed(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n')
    assert rig.told.requests == [("a", "ping")]
    assert rig.told.notes == [("notifications/tools/list_changed", None)]


async def test_an_answer_after_the_call_was_given_up_is_late_and_told() -> None:
    rig = Rig()
    call = Call(server="s", name="t")
    answer = rig.ask(1, call)
    rig.link.expire(1)
    assert outcome(answer) == "timeout"
    assert b'"notifications/cancelled"' in rig.wire.written[-1]
    rig.feed(answer_line(1, {}))
    assert rig.told.late == ["t"]


async def test_stderr_is_kept_short_whatever_comes() -> None:
    rig = Rig()
    for n in range(2000):
        rig.link.pipe_data_received(2, b"line %d\n" % n)
    rig.link.pipe_data_received(2, b"z" * 10_000_000)
    assert sum(map(len, rig.link._stderr)) <= 2 * 64 * 1024
