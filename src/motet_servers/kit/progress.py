"""Progress notes for long work: sent when the request asked for them, nothing otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count

from fastmcp.server.dependencies import get_context

TELL_EVERY = 1.0
"""Seconds between notes of work that cannot say how far it is, or says it too often."""


async def note(done: float, total: float | None = None, message: str | None = None) -> None:
    """Tell the caller how far the work is; silent outside a request and when nobody asked."""
    try:
        context = get_context()
        request = context.request_context
    except RuntimeError:
        return
    if request is not None:
        await context.report_progress(done, total, message)


@asynccontextmanager
async def ticking(what: str) -> AsyncGenerator[None]:
    """Tell the caller every second that something is still being waited for, in seconds."""
    ticker = asyncio.create_task(_tick(what))
    try:
        yield
    finally:
        ticker.cancel()


async def _tick(what: str) -> None:
    for number in count(1):
        await asyncio.sleep(TELL_EVERY)
        await note(number * TELL_EVERY, None, what)
