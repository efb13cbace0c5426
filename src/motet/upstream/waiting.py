"""Waiting for an answer, cheaply: a future that resumes its waiter at once, and one timer for many deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from contextvars import Context
from heapq import heapify, heappop, heappush
from itertools import count

import msgspec

from motet.calls import Call
from motet.upstream.link import Ident

_Callback = Callable[[asyncio.Future[msgspec.Raw]], object]


class Waiter(asyncio.Future[msgspec.Raw]):
    """The answer to one request.

    `arrive` resumes the task that awaits it within the very callback that read the answer, where asyncio would do so a
    turn of the loop (and a system call) later. Everything else is as with any future: `_resume`, the first callback, is
    kept apart only until it is known how this ends.
    """

    __slots__ = ("_context", "_resume", "call")

    def __init__(self, call: Call | None, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.call = call
        self._resume: _Callback | None = None
        self._context: Context | None = None

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
    """Many deadlines, one timer of the loop. To set one costs a push on a heap, to meet one costs nothing."""

    __slots__ = ("_armed", "_expire", "_heap", "_loop", "_number", "_timer", "_waiting")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, waiting: Container[Ident], expire: Callable[[Ident], None]
    ) -> None:
        """`waiting`: who still waits. `expire` is called, once, for who does so at its deadline."""
        self._loop = loop
        self._waiting = waiting
        self._expire = expire
        self._heap: list[tuple[float, int, Ident]] = []
        self._number = count()
        self._armed = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def set(self, ident: Ident, until: float) -> None:
        """It expires at loop time `until`."""
        heap = self._heap
        heappush(heap, (until, next(self._number), ident))
        if until < self._armed:
            self._arm(until)
        if not len(heap) & 0x3FF:  # now and then: forget those that were met
            heap[:] = [entry for entry in heap if entry[2] in self._waiting]
            heapify(heap)

    def clear(self) -> None:
        """Nobody waits any more."""
        self._heap.clear()
        self._arm(float("inf"))

    def _arm(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = until
        self._timer = None if until == float("inf") else self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        heap, now = self._heap, self._loop.time()
        while heap and (heap[0][0] <= now or heap[0][2] not in self._waiting):
            ident = heappop(heap)[2]
            if ident in self._waiting:
                self._expire(ident)
        self._arm(heap[0][0] if heap else float("inf"))
