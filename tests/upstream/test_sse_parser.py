"""Server-sent events, in any chunking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.upstream.sse import Event, EventTooLong, Parser

STREAM = (
    b"\xef\xbb\xbf: comment\n\ndata: one\n\n"
    b"event: endpoint\r\ndata: /x\r\n\r\n"
    b"id: 7\rretry: 1500\rdata: a\rdata:b\r\r"
    b"id: 8\ndata\n\nunknown: x\n\ndata: unfinished"
)
EVENTS = [
    Event(b"one"),
    Event(b"/x", "endpoint"),
    Event(b"a\nb", "message", "7", 1.5),
    Event(b"", "message", "8", None),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_any_chunking_gives_the_same_events(places: list[int]) -> None:
    parser = Parser(1000)
    ends = sorted({*places, len(STREAM)})
    found: list[Event] = []
    for begin, end in zip([0, *ends], ends, strict=False):
        found += parser.feed(STREAM[begin:end])
    assert found == EVENTS


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 50, b"data: x\n" * 20])
def test_an_event_over_the_cap_is_refused(chunk: bytes) -> None:
    parser = Parser(100)

    def feed_on() -> None:
        for _ in range(5):
            parser.feed(chunk)

    with pytest.raises(EventTooLong):
        feed_on()


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    Parser(10_000).feed(data)
