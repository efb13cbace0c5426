"""Who drives a run: tokens, fresh for every claim, that say which process of which machine made them."""

from __future__ import annotations

import os
import socket
import uuid
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

_HELD: set[str] = set()
"""The tokens of this process that are in use: a claim whose release could not be written is nobody's."""


@cache
def this_machine() -> str:
    """The name of this host, with what tells two containers of one name apart: the boot and the process namespace."""
    parts = [socket.gethostname()]
    for read in (lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8], _pid_namespace):
        with suppress(OSError):
            parts.append(read())
    return "~".join(parts)


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def new_token() -> str:
    """An owner's name: this host, this process, this claim."""
    token = f"{_this_process(os.getpid())}/{uuid.uuid4().hex}"
    _HELD.add(token)
    return token


@lru_cache(1)
def _this_process(pid: int) -> str:
    return f"{this_machine()}/{pid}/{_started(pid)}"


def forget(token: str) -> None:
    """Say that this process drives nothing under that token any more, whatever the table says."""
    _HELD.discard(token)


def alive(owner: str) -> bool:
    """May the process that claimed it still live? Only a process of this host can be known to be gone."""
    host, pid, started, _ = owner.rsplit("/", 3)
    if host != this_machine():
        return True
    if int(pid) == os.getpid():
        return owner in _HELD
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return started in ("", _started(int(pid)))


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def who(owner: str) -> str:
    """The owner, for people."""
    host, pid, *_ = owner.rsplit("/", 3)
    return f"process {pid} on {host.partition('~')[0]}"
