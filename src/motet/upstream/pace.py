"""Whose turn it is to start a process. Starting one holds the event loop for milliseconds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

LONGEST_PAUSE = 0.05
"""Seconds between two starts, at most."""


class Pace:
    """One start at a time, and as long a pause after each; shared by all servers of a host.

    So five hundred starts, or a storm of restarts, leave half of the loop's time to everybody else. Who was never
    started comes before who is started again: a server that dies at once costs the others nothing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._busy = False
        self._first: deque[asyncio.Future[None]] = deque()
        self._again: deque[asyncio.Future[None]] = deque()

    async def turn(self, *, again: bool = False) -> None:
        """Returns when it is the caller's turn to start a process, which it does before it next waits."""
        loop = asyncio.get_running_loop()
        if self._busy:
            turn: asyncio.Future[None] = loop.create_future()
            line = self._again if again else self._first
            line.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in line:
                    line.remove(turn)
                elif not turn.cancelled():
                    self._next()  # it was handed to us as we left
                raise
        self._busy = True
        began = self._clock()
        loop.call_soon(self._started, began)

    def _started(self, began: float) -> None:
        asyncio.get_running_loop().call_later(min(self._clock() - began, LONGEST_PAUSE), self._next)

    def _next(self) -> None:
        self._busy = False
        while line := self._first or self._again:
            turn = line.popleft()
            if not turn.done():  # else its caller has given up, and will notice in a moment
                self._busy = True
                turn.set_result(None)
                return
