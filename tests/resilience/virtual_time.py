"""An event loop whose clock jumps to the next timer: an hour of back-off takes no time, and runs repeat exactly."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while anything can run, then jumps."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        inner = cast("Any", self)  # the base class's own queue and timers: undocumented, and the one place that matters
        scheduled: list[Any] = inner._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
            inner._timer_cancelled_count -= 1
        if not inner._ready and not inner._stopping:
            if not scheduled:
                raise AssertionError("nothing can ever happen: a wait without a bound")
            self._now = max(self._now, float(scheduled[0]._when))
        cast("Any", super())._run_once()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
