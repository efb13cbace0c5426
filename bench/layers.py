"""What all layers together cost per call over the bare send: deadline, retry, limit, breaker, attempt timeout.

Run it as `python -m bench.layers`. Alternates both in one process and gives medians, so that the ratio holds on a noisy
machine. Nothing is awaited inside: what is measured is the layers' own work.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time

from bench.rows import Row, show
from motet.calls import Call, Reply, Send
from motet.resilience.pipeline import Pipeline, Settings

CALLS = 20_000
ROUNDS = 15


async def measured(send: Send) -> float:
    """CPU seconds per call."""
    reply_to = [Call(server="s", name="t") for _ in range(CALLS)]
    began = time.process_time()
    for call in reply_to:
        await send(call)
    return (time.process_time() - began) / CALLS


async def cost() -> float:
    """Microseconds per call."""
    reply = Reply(b"{}")

    async def bare(_call: Call) -> Reply:
        return reply

    loop = asyncio.get_running_loop()
    layered = Pipeline(bare, Settings(), clock=loop.time, chance=random.random).send
    pairs = [(await measured(bare), await measured(layered)) for _ in range(ROUNDS)]
    return statistics.median(whole - alone for alone, whole in pairs) * 1e6


def rows() -> list[Row]:
    """Measure."""
    each = asyncio.run(cost())
    return [Row("all layers together, over the bare send", f"{each:.1f} µs per call", "≤ 6 µs", each <= 6)]


if __name__ == "__main__":
    show("The layers around a call", rows())
