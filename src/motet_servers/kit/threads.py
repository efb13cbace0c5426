"""Blocking work in a thread that ends with its call, and says meanwhile how far it is.

A thread cannot be ended from outside. So the work is handed a `Stop`, which it asks after every small step: that counts
the step, for the progress notes, and says whether the call is over. What has to be cleaned up, the work cleans up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from motet_servers.kit import progress

T = TypeVar("T")
Stop = Callable[[], bool]


class _Steps:
    def __init__(self) -> None:
        self.done = 0
        self.over = False

    def __call__(self) -> bool:
        self.done += 1
        return self.over


def never() -> bool:
    """The `Stop` of work that nobody cancels."""
    return False


async def in_thread(work: Callable[[Stop], T], counted: str | None = None) -> T:
    """Run the work in a thread; cancelling the call makes its next `stop()` true.

    `counted` names the steps in the progress notes; without it there are none.
    """
    steps = _Steps()
    task = asyncio.ensure_future(asyncio.to_thread(work, steps))
    try:
        while not task.done():
            await asyncio.wait([task], timeout=progress.TELL_EVERY)
            if not task.done() and counted is not None:
                await progress.note(steps.done, None, counted)
    finally:
        steps.over = True
        task.cancel()
    return task.result()
