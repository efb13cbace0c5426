"""Progress notes for long work: sent when the request asked for them, nothing otherwise."""

from __future__ import annotations

from fastmcp.server.dependencies import get_context


async def note(done: float, total: float | None = None, message: str | None = None) -> None:
    """Tell the caller how far the work is; silent outside a request and when nobody asked."""
    try:
        context = get_context()
        request = context.request_context
    except RuntimeError:
        return
    if request is not None:
        await context.report_progress(done, total, message)
