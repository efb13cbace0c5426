"""What a deployment needs from the machine it goes to, and nothing more: local and SSH targets offer the same."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from motet_servers.kit.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command."""

    code: int
    output: str
    """Standard output and error together, cut."""


@dataclass(frozen=True, slots=True)
class Service:
    """A started process, told apart from another one that later gets the same number."""

    pid: int
    identity: str
    """Start time and boot, as the host tells them."""
    port: int
    version: str


class Host(Protocol):
    """One machine's files, processes and ports, below one directory. Paths are relative to it."""

    def lock(self, wait: float) -> AbstractAsyncContextManager[None]:
        """Hold the target's lock; Unavailable when another deployment holds it for longer than `wait` seconds."""
        ...

    async def read(self, path: str) -> str | None:
        """A small text file; None when it is not there."""
        ...

    async def write(self, path: str, text: str) -> None:
        """Replace a small text file in one step."""
        ...

    async def append(self, path: str, line: str) -> None:
        """Append a line, durably."""
        ...

    async def names(self, path: str) -> list[str]:
        """The names in a directory; [] when it is not there."""
        ...

    async def has(self, path: str) -> bool:
        """Is there an entry?"""
        ...

    async def put(self, source: Path, path: str) -> None:
        """Copy a local tree there: whole, or not at all."""
        ...

    async def checksum_lines(self, path: str) -> str:
        """The lines of `artifacts.checksum_lines`, computed on the host from what is there."""
        ...

    async def remove(self, path: str) -> None:
        """Remove a tree; fine when it is not there."""
        ...

    async def link(self) -> str | None:
        """The release that `current` points to."""
        ...

    async def switch(self, release: str | None) -> None:
        """Point `current` at a release in one atomic step; None takes the link away."""
        ...

    async def run(self, argv: list[str], *, cwd: str, env: dict[str, str], within: float) -> Ran:
        """Run a command to its end, killed after `within` seconds."""
        ...

    async def start(self, argv: list[str], *, cwd: str, env: dict[str, str], log: str) -> tuple[int, str]:
        """Start a process that outlives us, in its own session; its pid and identity."""
        ...

    async def alive(self, service: Service) -> bool:
        """Is it still that process?"""
        ...

    async def stop(self, service: Service, *, grace: float) -> None:
        """End it and its session: SIGTERM, then SIGKILL after `grace` seconds. Fine when it is gone."""
        ...

    async def free_port(self) -> int:
        """A port nobody listens on."""
        ...

    async def connect(self, port: int) -> tuple[Reader, Writer]:
        """A TCP connection to a port on the host's loopback; OSError when nobody answers."""
        ...

    async def close(self) -> None:
        """Let go of connections; processes stay."""
        ...


class Reader(Protocol):
    """The reading end of a connection."""

    async def read(self, n: int = -1) -> bytes: ...


class Writer(Protocol):
    """The writing end of a connection."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


MOST_HEALTH_BYTES = 64 << 10


async def http_get(host: Host, port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET on the host's loopback (HTTP/1.0, so never chunked); Unavailable when none comes."""
    try:
        reader, writer = await host.connect(port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode("ascii"))
            data = b""
            while len(data) < MOST_HEALTH_BYTES and (chunk := await reader.read(8192)):
                data += chunk
        finally:
            writer.close()
    except (OSError, asyncio.IncompleteReadError) as error:
        raise Unavailable(f"nothing answers at port {port} ({type(error).__name__})") from error
    head, _, body = data.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Unavailable(f"port {port} does not answer in HTTP")
    return int(words[1]), body.decode("utf-8", "replace")
