"""What links have in common whose answers all come over one shared channel: who waits for what, and until when.

exchange ──► waiting ──answer──► settled
                ├──deadline, idle──► DeadlineExceeded; cancelled at the server; a late answer still finds its call
                ├──caller gone─────► the same, without an error
                └──channel lost────► ConnectionLost (written) or ServerUnavailable (not written)
"""

from __future__ import annotations

import asyncio
from math import inf

import msgspec
import orjson

from motet.calls import Call
from motet.config.model import ServerConfig
from motet.errors import CallError, ConnectionLost, DeadlineExceeded, ServerUnavailable
from motet.upstream.answers import Reader
from motet.upstream.link import Envelope, Ident, Peer, loads
from motet.upstream.sanitise import clean_line
from motet.upstream.waiting import Deadlines, Waiter

LATE_KEPT = 256
FLOOD_ALLOWED = 2_000_000
"""Messages nobody asked for that a server may send at once …"""
FLOOD_REFILL = 5_000
"""… and per second in the long run. A server that sends more is cut off."""
_LOGS_IN_A_FLOOD = 1000


class Channel:
    """The table of waiting exchanges. A subclass writes, reads, and calls `_message` and `_end`."""

    def __init__(self, config: ServerConfig, peer: Peer, reader: Reader) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._name = config.name
        self._peer = peer
        self._reader = reader
        self._cap = config.limits.answer
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.received = 0
        self._gone: str | None = None
        self._waiting: dict[Ident, Waiter] = {}
        self._deadlines = Deadlines(self._loop, self._waiting, self.expire)
        self._late: dict[Ident, Call] = {}
        self._unasked = 0
        self._unasked_since = self._loop.time()

    # -- for the subclass to say --------------------------------------------------------------------------------------

    def post(self, message: bytes) -> None:
        """Send something that has no answer."""
        raise NotImplementedError

    async def deliver(self, message: bytes) -> None:
        """Send something that has no answer, before anything that is sent later."""
        self.post(message)

    def _take_back(self, ident: Ident) -> bool:  # noqa: ARG002 - for subclasses that can
        """Withdraw a request; True when not a byte of it has been written."""
        return False

    def _obituary(self, reason: str) -> str:
        return reason

    # -- waiting ------------------------------------------------------------------------------------------------------

    def _expect(self, ident: Ident, until: float | None, call: Call | None) -> Waiter:
        """Begin an exchange.

        Raises:
            ServerUnavailable: the channel is gone; nothing was sent.

        """
        if self._gone is not None:
            raise ServerUnavailable(self._gone, server=self._name, reason="exited")
        self._waiting[ident] = answer = Waiter(loop=self._loop)
        answer.call = call
        if until is not None:
            answer.until = until
            if until < self._deadlines.next:
                self._deadlines.look_at(until)
        return answer

    def _settle(self, ident: Ident | None, error: CallError) -> None:
        waiter = self._waiting.pop(ident, None) if ident is not None else None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def expire(self, ident: Ident, why: str = "no answer in time") -> None:
        """End an exchange: its time is over."""
        waiter = self._waiting.get(ident)
        if waiter is None:
            return
        if self._take_back(ident):
            unread = "no answer in time: it does not read its input, and nothing was sent"
            self._settle(ident, DeadlineExceeded(unread, server=self._name, sent="no"))
        else:
            self._settle(ident, DeadlineExceeded(why, server=self._name))
            self._cancel_there(ident, waiter.call, "timeout")

    def abandon(self, ident: Ident, why: str) -> None:
        """The caller gave up: forget the exchange and tell the server."""
        waiter = self._waiting.pop(ident, None)
        if waiter is not None and not self._take_back(ident):
            self._cancel_there(ident, waiter.call, why)

    def _cancel_there(self, ident: Ident, call: Call | None, why: str) -> None:
        """Tell the server; only calls are cancelled (the specification forbids it for a handshake)."""
        if call is None:
            return
        while len(self._late) >= LATE_KEPT:
            del self._late[next(iter(self._late))]
        self._late[ident] = call
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": ident, "reason": why}}
        self.post(orjson.dumps(note) + b"\n")

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _message(self, message: Envelope) -> None:
        if message.method is msgspec.UNSET:
            waiter = self._waiting.pop(message.id, None) if message.id is not None else None
            if waiter is None:
                self._unexpected(message)
                return
            if waiter.done():
                return
            if message.result is not msgspec.UNSET:
                waiter.arrive(message.result)
            else:
                waiter.set_exception(self._error_of(message))
            return
        self._count_unasked(1)
        if message.id is not None:
            self._peer.asked(message.id, message.method, loads(message.params))
        elif message.method != "notifications/message" or self._unasked < _LOGS_IN_A_FLOOD:
            self._peer.notified(message.method, loads(message.params))

    def _error_of(self, message: Envelope) -> CallError:
        return self._reader.protocol_error(None if message.error is msgspec.UNSET else message.error)

    def _unexpected(self, message: Envelope) -> None:
        """An answer whose id nobody waits for."""
        ident = message.id
        if isinstance(ident, str) and ident.isdecimal() and len(ident) < 18 and int(ident) in self._waiting:
            message.id = int(ident)
            self._message(message)
            return
        if ident is None and message.error is not msgspec.UNSET and len(self._waiting) == 1:
            message.id = next(iter(self._waiting))  # it could not read the id of the one request there is
            self._message(message)
            return
        self._count_unasked(1)
        call = self._late.pop(ident, None) if ident is not None else None
        if call is None:
            what = f"an answer to nothing that was asked (id {clean_line(ident, limit=40)})"
            self._peer.noticed("unexpected answer", what)
        elif message.result is not msgspec.UNSET:
            self._peer.answered_late(call, message.result, None)
        else:
            self._peer.answered_late(call, None, self._error_of(message))

    def _count_unasked(self, messages: int) -> None:
        self._unasked += messages
        if self._unasked > FLOOD_ALLOWED:
            now = self._loop.time()
            self._unasked -= min(self._unasked, int((now - self._unasked_since) * FLOOD_REFILL))
            self._unasked_since = now
            if self._unasked > FLOOD_ALLOWED:
                self._end("it floods us with messages nobody asked for")

    # -- the end ------------------------------------------------------------------------------------------------------

    def fail(self, reason: str) -> None:
        """Declare the channel lost: every exchange ends and `closed` is done."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self._gone is not None:
            return
        self._gone = self._obituary(reason)
        for ident in list(self._waiting):
            if self._take_back(ident):
                self._settle(ident, ServerUnavailable(self._gone, server=self._name, reason="exited"))
            else:
                self._settle(ident, ConnectionLost(self._gone, server=self._name))
        self._deadlines.look_at(inf)
        if not self.closed.done():
            self.closed.set_result(self._gone)
