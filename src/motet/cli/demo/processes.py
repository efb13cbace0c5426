"""Real trouble for real processes: kill a server, stop it, let it breathe now and then.

A server may stand in a namespace of its own, behind the process that made it; so whatever is done is done to the whole
family of a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

STOPPED: Final = 0.6
"""Seconds a slow server is stopped for, …"""
RUNNING: Final = 0.05
"""… and then runs."""


def family(pid: int) -> list[int]:
    """A process and all its descendants, itself first; only itself where the system does not tell."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def signal_family(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and its descendants; whoever is gone already is passed over."""
    for member in family(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, number)


@asynccontextmanager
async def hanging(pid: int) -> AsyncGenerator[None]:
    """Inside, the process is stopped: it takes what is written to it and answers nothing."""
    signal_family(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_family(pid, signal.SIGCONT)


@asynccontextmanager
async def slow(pid: int) -> AsyncGenerator[None]:
    """Inside, the process runs only now and then."""

    async def pulse() -> None:
        try:
            while True:
                signal_family(pid, signal.SIGSTOP)
                await asyncio.sleep(STOPPED)
                signal_family(pid, signal.SIGCONT)
                await asyncio.sleep(RUNNING)
        finally:
            signal_family(pid, signal.SIGCONT)

    task = asyncio.create_task(pulse())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
