"""Server-sent events, read as they come (WHATWG HTML §9.2.6). A plain parser: bytes in, events out, no waiting."""

from __future__ import annotations

from dataclasses import dataclass


class EventTooLong(Exception):
    """One event is longer than the cap."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `retry` is in seconds."""

    data: bytes
    kind: str = "message"
    ident: str | None = None
    retry: float | None = None


class Parser:
    """Feed it chunks of any size. Linear in the bytes that come; holds at most `cap` bytes of one event."""

    __slots__ = ("_cap", "_data", "_first", "_ident", "_kind", "_rest", "_retry", "_size")

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._kind = b""
        self._ident: str | None = None
        self._retry: float | None = None
        self._size = 0
        self._first = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes.

        Raises:
            EventTooLong: an event exceeds the cap.

        """
        self._size += len(chunk)
        self._rest.append(chunk)
        if b"\n" not in chunk and b"\r" not in chunk:
            self._check()
            return []
        text = b"".join(self._rest)
        if self._first and len(text) >= 3:
            self._first = False
            text = text.removeprefix(b"\xef\xbb\xbf")
        held = b""
        if text.endswith(b"\r"):  # perhaps the first half of a line break
            text, held = text[:-1], b"\r"
        lines = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = [lines.pop() + held]
        found: list[Event] = []
        for line in lines:
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                found.append(event)
        self._size = len(self._rest[0]) + sum(map(len, self._data)) + len(self._data)
        self._check()
        return found

    def _check(self) -> None:
        if self._size > self._cap:
            raise EventTooLong

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._kind = value
        elif name == b"id" and b"\0" not in value:
            self._ident = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value) / 1000

    def _dispatch(self) -> Event | None:
        data, kind, ident, retry = self._data, self._kind, self._ident, self._retry
        self._data, self._kind, self._ident, self._retry = [], b"", None, None
        if not data and ident is None and retry is None:
            return None
        if sum(map(len, data)) > self._cap:
            raise EventTooLong
        return Event(b"\n".join(data), kind.decode("utf-8", "replace") or "message", ident, retry)
