"""What the tests of the host share: a host over nasty servers, with a healthy neighbour that is called all along."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from motet.calls import Asked, Call, Done, Failed, Outcome
from motet.config.model import Config, ServerConfig, StdioTransport, Timeouts
from motet.errors import CallError
from motet.events import CallSettled, ServerChanged
from motet.host.host import Host

NASTY = Path(__file__).parent.parent / "nasty"
ERAS = ("modern", "legacy")
QUICK = Timeouts(connect=8.0, call=8.0, close=0.5)


@dataclass
class Bench:
    """Nasty servers as configurations, what they really did, and what observers were told."""

    tmp: Path
    run: str = field(default_factory=lambda: uuid4().hex)
    events: list[Any] = field(default_factory=list[Any])

    @property
    def effects(self) -> Path:
        """Where the servers write down every real side effect."""
        return self.tmp / "effects"

    def effect_count(self) -> int:
        """How many real side effects there were."""
        return len(self.effects.read_text().splitlines()) if self.effects.exists() else 0

    def config(
        self, script: str, *, era: str = "both", env: Mapping[str, str] | None = None, **more: Any
    ) -> ServerConfig:
        """The configuration of one nasty server, named by the start of its file name."""
        given = {
            "NASTY_RUN": self.run,
            "NASTY_ERA": era,
            "NASTY_EFFECTS": str(self.effects),
            "NASTY_STATE": str(self.tmp / f"{script}.state"),
            **(env or {}),
        }
        transport = StdioTransport(sys.executable, (str(next(NASTY.glob(f"{script}*.py"))),), given)
        settings: dict[str, Any] = {"name": "nasty", "transport": transport, "timeout": QUICK, **more}
        return ServerConfig(**settings)


def processes_of(run: str) -> list[int]:
    """Every living process that carries this mark in its environment."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes()
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if f"NASTY_RUN={run}".encode() in environ and state not in (b"Z", b"X"):
            found.append(int(entry.name))
    return found


async def none_left(run: str) -> None:
    """Returns once no process carries the mark; fails after two seconds."""
    for _ in range(200):
        if not processes_of(run):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"left behind: {processes_of(run)}")


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own; at most fifteen seconds."""
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


@dataclass
class Stage:
    """One host in a test."""

    host: Host
    bench: Bench
    neighbour_calls: int = 0
    neighbour_troubles: list[Outcome] = field(default_factory=list[Outcome])

    async def call(
        self, tool: str, arguments: Mapping[str, Any] | None = None, *, server: str = "nasty", **more: Any
    ) -> Outcome:
        """What came of one tool call, from the first lookup on."""
        try:
            call = self.host.prepare(server, "tools/call", tool, arguments, **more)
        except CallError as error:
            return Failed(error)
        return await self.host.attempt(call)

    async def state(self, *states: str, server: str = "nasty") -> str:
        """Wait until the server is in one of these states."""
        await until(lambda: self.host.servers[server].state in states)
        return self.host.servers[server].state

    def states(self, server: str = "nasty") -> list[str]:
        """Every state the server has been in, in order."""
        return [one.state for one in self.bench.events if isinstance(one, ServerChanged) and one.server == server]

    def settled(self, server: str = "nasty") -> list[str]:
        """How the calls to it ended."""
        return [one.kind for one in self.bench.events if isinstance(one, CallSettled) and one.server == server]


@asynccontextmanager
async def on_stage(
    tmp_path: Path, *configs: ServerConfig, bench: Bench | None = None, **options: Any
) -> AsyncGenerator[Stage]:
    """A host with these servers beside a good one that is called all along; afterwards no process of them is left.

    Fails when any call of the neighbour fails.
    """
    bench = bench if bench is not None else Bench(tmp_path)
    good = bench.config("s00", name="good", timeout=QUICK)
    state = options.pop("state", None)
    config = Config({one.name: one for one in (good, *configs)}, state=state)
    async with Host(config, emit=bench.events.append, **options) as host:
        stage = Stage(host, bench)
        beside = asyncio.create_task(_neighbour(stage))
        try:
            yield stage
            await until(lambda: stage.neighbour_calls > 0)
        finally:
            beside.cancel()
            await asyncio.wait([beside])
    await none_left(bench.run)
    assert stage.neighbour_calls > 0
    assert stage.neighbour_troubles == []


async def _neighbour(stage: Stage) -> None:
    while True:
        outcome = await stage.call("echo", {"n": stage.neighbour_calls}, server="good")
        if not isinstance(outcome, Done) or outcome.data != {"n": stage.neighbour_calls}:
            stage.neighbour_troubles.append(outcome)
        stage.neighbour_calls += 1
        await asyncio.sleep(0.01)


def error_of(outcome: Outcome) -> CallError:
    """The error of a failed outcome."""
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def brief(outcome: Outcome) -> tuple[str, str]:
    """(kind, sent) of a failure; `done` or `asked` otherwise."""
    match outcome:
        case Failed(error):
            return error.kind, error.sent
        case Asked():
            return "asked", ""
        case _:
            return "done", "yes"


def plain(call: Call) -> tuple[str, str]:
    """Whose call it is, and of what."""
    return call.server, call.name
