"""What the tests of connections share: faulty servers as child processes, and proof that nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from motet.calls import Ask, Call, Reply, ToolResult
from motet.config.model import Limits, ServerConfig, StdioTransport, Timeouts
from motet.upstream.connection import Connection, ListKind
from motet.upstream.opening import open_connection

NASTY = Path(__file__).parent.parent / "nasty"
ERAS = ("modern", "legacy")


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


async def some_running(run: str, count: int) -> None:
    """Returns once so many processes carry the mark; fails after ten seconds."""
    for _ in range(1000):
        if len(processes_of(run)) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"only {len(processes_of(run))} came up")


@dataclass
class Bench:
    """Opens connections to nasty servers and remembers what they told."""

    tmp: Path
    run: str = field(default_factory=lambda: uuid4().hex)
    events: list[Any] = field(default_factory=list[Any])
    changes: list[ListKind] = field(default_factory=list[ListKind])
    opened: list[Connection] = field(default_factory=list[Connection])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

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
        path = next(NASTY.glob(f"{script}*.py"))
        given = {
            "NASTY_RUN": self.run,
            "NASTY_ERA": era,
            "NASTY_EFFECTS": str(self.effects),
            "NASTY_STATE": str(self.tmp / f"{script}.state"),
            **(env or {}),
        }
        transport = StdioTransport(sys.executable, (str(path),), given)
        given_timeout = more.pop("timeout", Timeouts(call=10.0))
        return ServerConfig("nasty", transport, timeout=given_timeout, **more)

    def script(self, name: str, text: str) -> Path:
        """A server written for one test."""
        path = self.tmp / name
        path.write_text(text)
        return path

    async def open(
        self, config: ServerConfig, *, within: float = 10.0, ask: Ask | None = None, **more: Any
    ) -> Connection:
        """An open connection, closed with the test."""
        connection = await open_connection(
            config,
            deadline=asyncio.get_running_loop().time() + within,
            on_changed=self._changed,
            emit=self.events.append,
            ask=ask,
            **more,
        )
        self.opened.append(connection)
        return connection

    async def nasty(
        self, script: str, *, era: str = "both", env: Mapping[str, str] | None = None, **more: Any
    ) -> Connection:
        """A connection to a nasty server."""
        return await self.open(self.config(script, era=era, env=env, **more))

    def _changed(self, kind: ListKind) -> None:
        self.changes.append(kind)
        self.changed.set()

    async def close(self) -> None:
        """Close what was opened, and look that no process is left."""
        for connection in self.opened:
            await connection.close(within=4.0)
        await none_left(self.run)


def soon(seconds: float) -> float:
    """Loop time so many seconds from now."""
    return asyncio.get_running_loop().time() + seconds


async def call(
    connection: Connection, tool: str, arguments: dict[str, Any] | None = None, *, within: float = 10.0, **more: Any
) -> Reply:
    """One attempt at a tool."""
    return await connection.send(
        Call(server="nasty", name=tool, arguments=arguments or {}, attempt_deadline=soon(within), **more)
    )


async def echo(connection: Connection, value: int = 1) -> object:
    """What the healthy tool answers."""
    reply = await call(connection, "echo", {"v": value})
    assert isinstance(reply, ToolResult)
    return reply.data


def capped(config: ServerConfig, **limits: Any) -> ServerConfig:
    """The same configuration with other limits."""
    return replace(config, limits=Limits(**limits))


def alive(pid: int) -> bool:
    """Is this process running?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]) != b"Z"
