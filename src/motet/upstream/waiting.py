"""Waiting for an answer, cheaply: a future that resumes its waiter at once, and one timer for many deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from math import inf

import msgspec

from motet.calls import Call
from motet.upstream.link import Ident


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """`loop.time`; where that is asyncio's own, the clock behind it, at half the cost (a call asks six times)."""
    return time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time


_Callback = Callable[[asyncio.Future[msgspec.Raw]], object]


class Waiter(asyncio.Future[msgspec.Raw]):
    """The answer to one request.

    `arrive` resumes the task that awaits it within the very callback that read the answer, where asyncio would do so a
    turn of the loop (and a system call) later. Everything else is as with any future: `_resume`, the first callback, is
    kept apart only until it is known how this ends.
    """

    call: Call | None = None
    until: float = inf
    """Its deadline, in loop time."""
    _resume: _Callback | None = None
    _context: Context | None = None

    def arrive(self, result: msgspec.Raw) -> None:
        """`set_result`, and run who waits for it now: unless a task is running, which nothing may interrupt."""
        resume, context = self._resume, self._context
        if resume is None or context is None or asyncio.current_task(self.get_loop()) is not None:
            self.set_result(result)
            return
        self._resume = None
        _set_result(self, result)
        context.run(resume, self)

    def add_done_callback(self, fn: _Callback, /, *, context: Context | None = None) -> None:
        if self._resume is None and not self.done():
            self._resume, self._context = fn, context
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: _Callback, /) -> int:
        self._as_usual()
        return super().remove_done_callback(fn)

    def set_result(self, result: msgspec.Raw, /) -> None:
        self._as_usual()
        super().set_result(result)

    def set_exception(self, exception: type | BaseException, /) -> None:
        self._as_usual()
        super().set_exception(exception)

    def cancel(self, msg: object | None = None) -> bool:
        self._as_usual()
        return super().cancel(msg)

    def _as_usual(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            super().add_done_callback(resume, context=self._context)


_set_result = asyncio.Future[msgspec.Raw].set_result


class Deadlines:
    """The deadlines of many waiters, and one timer of the loop for all of them.

    The timer stands at the earliest deadline there was when it was set: by then its waiter has mostly had its answer,
    and a look at the few who wait finds the next one. So a deadline that is met costs one comparison.
    """

    __slots__ = ("_expire", "_loop", "_timer", "_waiting", "next")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, waiting: Mapping[Ident, Waiter], expire: Callable[[Ident], None]
    ) -> None:
        """`expire` is called for who still waits at its deadline, and takes it out of `waiting`."""
        self._loop = loop
        self._waiting = waiting
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self.next = inf
        """When the timer rings (loop time). An earlier deadline wants `look_at`."""

    def look_at(self, until: float) -> None:
        """Ring at loop time `until`, and no other."""
        if self._timer is not None:
            self._timer.cancel()
        self.next = until
        self._timer = None if until == inf else self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        now = self._loop.time()
        for ident in [ident for ident, waiter in self._waiting.items() if waiter.until <= now]:
            if ident in self._waiting:
                self._expire(ident)
        self.look_at(min((waiter.until for waiter in self._waiting.values()), default=inf))
