"""A server's process: what it is given, how it is wrapped, and how nothing of it is left.

Three ways to hold on to everything a server starts, best first (`details["reap"]` says which is in force):

    namespace       bwrap: a pid namespace of its own; when its first process goes, the kernel ends all the rest,
                    also after `kill -9` of this process and with grandchildren in sessions of their own
    group+death     own session and process group, and the kernel's parent-death signal for the server itself
    group           own session and process group; ended by us
    none            the server's own process only

`auto` tries a namespace once per process and remembers what works here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from motet.config.model import ServerConfig, StdioTransport
from motet.errors import ServerUnavailable
from motet.upstream.sanitise import clean_line

Mode = Literal["namespace", "group+death", "group", "none"]

INHERITED = (
    "PATH", "HOME", "LANG", "LANGUAGE", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "USER",
    "APPDATA", "COMSPEC", "LOCALAPPDATA", "PATHEXT", "PROGRAMDATA", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP",
    "USERPROFILE",
)  # fmt: skip
"""All that a server gets of our environment, with `LC_*`."""

_BWRAP = ("--dev-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "--die-with-parent", "--new-session", "--")
_APART = ("/bin/sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh")
_TOGETHER = ("/bin/sh", "-c", 'exec "$@" <&3 >&4 3<&- 4>&-', "sh")
"""bwrap keeps its own stdin and stdout open, and no other descriptor, as long as the namespace lives. So it gets the
server's ends of our pipes under other numbers: a server that closes its output, or its input, is then seen to."""
_POLL = 0.01


@dataclass(frozen=True, slots=True)
class Wrap:
    """What goes before the command, and what that buys."""

    prefix: tuple[str, ...]
    mode: Mode


_namespace_works: bool | None = None


def environment(declared: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a server: what was declared for it, and the few names of `INHERITED`."""
    kept = {name: value for name, value in ours.items() if name in INHERITED or name.startswith("LC_")}
    return {**kept, **declared}


async def wrap_for(config: ServerConfig) -> Wrap:
    """How this server's process is held, by its `reap` setting and by what works on this machine.

    Raises:
        ServerUnavailable: `reap = "bwrap"` was asked for and does not work here.

    """
    if config.reap == "none":
        return Wrap((), "none")
    if config.reap in ("auto", "bwrap"):
        bwrap = shutil.which("bwrap")
        if bwrap is not None and await _namespaces_work(bwrap):
            return Wrap((*_APART, bwrap, *_BWRAP, *_TOGETHER), "namespace")
        if config.reap == "bwrap":
            raise ServerUnavailable(
                'reap = "bwrap" was asked for, but bwrap is missing or may not make a pid namespace here',
                server=config.name,
                reason="spawn",
                transient=False,
                hint='install bubblewrap, or set reap = "auto"',
            )
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    if setpriv is not None:
        return Wrap((setpriv, "--pdeathsig", "KILL", "--"), "group+death")
    return Wrap((), "group")


async def _namespaces_work(bwrap: str) -> bool:
    global _namespace_works
    if _namespace_works is None:  # in a thread: a start that is given up meanwhile must not leave the probe behind
        _namespace_works = await asyncio.to_thread(_probe, bwrap)
    return _namespace_works


def _probe(bwrap: str) -> bool:
    """May it make a namespace here? Blocks for five seconds at most."""
    nothing = subprocess.DEVNULL
    try:
        done = subprocess.run(
            (bwrap, *_BWRAP, "true"), stdin=nothing, stdout=nothing, stderr=nothing, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def command(config: ServerConfig, transport: StdioTransport, env: Mapping[str, str]) -> str:
    """The program to start, found on the server's own PATH.

    Raises:
        ServerUnavailable: (reason `spawn`) there is none, or the working directory does not exist.

    """
    if transport.cwd is not None and not Path(transport.cwd).is_dir():
        raise ServerUnavailable(
            f"the working directory {clean_line(transport.cwd)} does not exist", server=config.name, reason="spawn"
        )
    if os.sep in transport.command:
        path = Path(transport.cwd or ".") / transport.command
        found = str(path.absolute()) if os.access(path, os.X_OK) and path.is_file() else None
    else:
        found = shutil.which(transport.command, path=env.get("PATH"))
    if found is None:
        raise ServerUnavailable(
            f"cannot start: {clean_line(transport.command)} is not a program on its PATH",
            server=config.name,
            reason="spawn",
            hint="install it, or give the full path as `command`",
        )
    return found


_SEEN_FOR = 0.01
"""Seconds a look at /proc serves everybody: all servers are closed at the same moment."""
_seen: tuple[float, dict[int, list[int]], dict[int, int]] = (float("-inf"), {}, {})


def _processes() -> tuple[dict[int, list[int]], dict[int, int]]:
    """Parent -> its children, and pid -> start time in clock ticks, of every process there is."""
    global _seen  # a look at all processes is dear, and the same for everybody
    if monotonic() - _seen[0] < _SEEN_FOR:
        return _seen[1:]
    children: dict[int, list[int]] = {}
    started: dict[int, int] = {}
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - a tenth of the cost of Path
    except OSError:
        names = []
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - as above
                fields = file.read(1024).rpartition(b")")[2].split()
        except OSError:
            continue
        if len(fields) > 19:
            children.setdefault(int(fields[1]), []).append(int(name))
            started[int(name)] = int(fields[19])
    _seen = (monotonic(), children, started)
    return children, started


def descendants(root: int) -> dict[int, int]:
    """Every process below `root`: pid -> start time in clock ticks. Empty where there is no /proc."""
    children, started = _processes()
    found: dict[int, int] = {}
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            found[child] = started[child]
            todo.append(child)
    return found


def _running(pid: int, started: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def _signal(pid: int, number: signal.Signals, *, group: bool) -> bool:
    """Send it; False when nobody is there to get it."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _group_lives(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def _until(done: Callable[[], bool], seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not done():
        if loop.time() >= end:
            return False
        await asyncio.sleep(_POLL)
    return True


async def stop(pid: int, mode: Mode, *, hang_up: Callable[[], None], exited: Callable[[], bool], within: float) -> None:
    """End a server and all it started: `hang_up` closes its stdin, then SIGTERM, then SIGKILL, to everything it is.

    Half of `within` (seconds) is for leaving politely, a quarter for SIGTERM, the rest for the kernel.
    """
    family = descendants(pid)

    def gone() -> bool:
        group = mode != "none" and _group_lives(pid)
        return exited() and not group and not any(_running(child, began) for child, began in family.items())

    hang_up()
    if mode == "none":
        family = {}
    if await _until(exited, within * 0.5) and await _until(gone, min(0.05, within * 0.1)):
        return
    family |= {} if mode == "none" else descendants(pid)
    if mode != "namespace":
        _signal(pid, signal.SIGTERM, group=mode != "none")
    for child, began in family.items():
        if _running(child, began):
            _signal(child, signal.SIGTERM, group=False)
    if await _until(gone, within * 0.25):
        return
    kill(pid, mode, family | ({} if mode == "none" else descendants(pid)))
    await _until(gone, max(within * 0.25, 1.0))  # nobody can refuse it, but a busy machine takes a moment


def kill(pid: int, mode: Mode, family: Mapping[int, int]) -> None:
    """SIGKILL to a server and its `family`, at once; the first process of a namespace takes the rest along."""
    for child, began in family.items():
        if _running(child, began):
            _signal(child, signal.SIGKILL, group=False)
    with suppress(ProcessLookupError):
        if mode == "none":
            os.kill(pid, signal.SIGKILL)
        else:
            os.killpg(pid, signal.SIGKILL)
