"""What the engine costs per step, in memory, with 10 kB of data and servers that answer at once.

A chain (each step reads the one before), a fan of parallel steps, and a `foreach`. The call itself is a coroutine that
returns a ready answer, so what is measured is the engine alone: expressions, state, tasks, report.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Mapping
from typing import Any, cast

import orjson

from bench.rows import Row, show
from motet.calls import Call, Done, Json, Method, Outcome, ToolResult
from motet.engine.memory import run_workflow
from motet.workflow.loading import load_text
from motet.workflow.model import Workflow

ROUNDS = 7
DATA: dict[str, Json] = {"id": 7, "rows": [{"n": n, "text": "x" * 80} for n in range(95)]}


class Ready:
    """A dispatch whose every call is answered already."""

    def __init__(self) -> None:
        self.reply = ToolResult(orjson.dumps({"structuredContent": DATA, "content": []}))
        self.reply._data = DATA  # noqa: SLF001 - decoding is the wire's cost, measured there

    def prepare(
        self, server: str, method: Method, name: str, arguments: Mapping[str, Json], *, key: str | None = None, **_: Any
    ) -> Call:
        """A call."""
        return Call(server=server, method=method, name=name, arguments=cast("dict[str, Json]", arguments), key=key)

    def route(self, uri: str, server: str | None = None) -> str:
        """Any server."""
        return server or uri.split(":")[0]

    async def attempt(self, call: Call) -> Outcome:  # noqa: ARG002 - the protocol's
        """The ready answer."""
        return Done(self.reply)


def chain(size: int) -> Workflow:
    """Steps that each read the one before."""
    lines = ["motet: 1", "name: chain", "steps:", "  s0: {call: a.x}"]
    lines += [f'  s{at}: {{call: a.x, with: {{id: "${{{{ s{at - 1}.id }}}}"}}}}' for at in range(1, size)]
    return load_text("\n".join(lines) + "\n")


def fan(size: int) -> Workflow:
    """Steps that depend on nothing."""
    lines = ["motet: 1", "name: fan", "steps:", *(f"  s{at}: {{call: a.x, with: {{n: {at}}}}}" for at in range(size))]
    return load_text("\n".join(lines) + "\n")


EACH = """
motet: 1
name: each
inputs: {items: {type: array}}
steps:
  s: {call: a.x, foreach: "${{ inputs.items }}", with: {n: "${{ item }}"}}
"""


def _measure(workflow: Workflow, inputs: Mapping[str, Json], steps: int, *, parallel: int = 64) -> float:
    """Microseconds of CPU per step, median of rounds."""
    taken: list[float] = []
    for _ in range(ROUNDS):
        gc.collect()
        begin = time.process_time()
        report = asyncio.run(run_workflow(workflow, inputs, dispatch=Ready(), parallel=parallel))
        taken.append((time.process_time() - begin) / steps * 1e6)
        assert report.status == "complete", report.headline()
    return statistics.median(taken)


def rows() -> list[Row]:
    """Measure."""
    found: list[Row] = []
    for what, workflow, inputs, steps, parallel in (
        ("a chain of 1,000 steps", chain(1000), {}, 1000, 64),
        ("1,000 parallel steps, all at once", fan(1000), {}, 1000, 1000),
        ("1,000 parallel steps, 64 at once", fan(1000), {}, 1000, 64),
        ("foreach over 1,000 items", load_text(EACH), {"items": list(range(1000))}, 1000, 64),
        ("foreach over 10,000 items", load_text(EACH), {"items": list(range(10_000))}, 10_000, 64),
        ("a fan of 10,000 steps", fan(10_000), {}, 10_000, 64),
    ):
        cost = _measure(workflow, inputs, steps, parallel=parallel)
        found.append(Row(f"engine overhead per step, {what}, 10 kB each", f"{cost:.0f} µs", "≤ 100 µs", cost <= 100))
    return found


if __name__ == "__main__":
    show("Running workflows", rows())
