"""Hosts with addresses of their own, in network namespaces of this machine, and one that has the way to the database.

Each host has a name, processes and one link of its own; the links meet in a bridge of the host `database`, where
whatever is said to port 5432 is handed to PostgreSQL's socket (the network is another one there, the files are not).
Nothing of it is in the machine's own network, and all of it is gone with the block.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

RELAY = """
import asyncio, sys
async def carry(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
async def serve(reader, writer):
    other = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(carry(reader, other[1]), carry(other[0], writer), return_exceptions=True)
async def main():
    server = await asyncio.start_server(serve, "10.77.0.1", 5432)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class NotAllowed(Exception):
    """This machine lets us make no hosts; the message says what was refused."""


async def said(*words: str) -> str:
    """What a command says. Raises `NotAllowed` when it fails."""
    child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        out, err = await child.communicate()
    if child.returncode:
        raise NotAllowed(f"{' '.join(words)}: {err.decode().strip() or child.returncode}")
    return out.decode()


@dataclass(frozen=True, slots=True)
class Host:
    """One host."""

    name: str
    space: str
    """Its network namespace."""
    bridge: str
    """The namespace its link leads to."""

    @property
    def through(self) -> list[str]:
        """The command that starts a program on it, with a name and processes of its own."""
        own = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        named = ["sh", "-c", f'hostname {self.name} && exec "$@"', "sh"]
        return ["ip", "netns", "exec", self.space, *own, *named]

    async def link(self, state: str) -> None:
        """Set its link `down`, as when a cable is pulled, or `up`."""
        await said("ip", "-n", self.bridge, "link", "set", self.name, state)


@dataclass(frozen=True, slots=True)
class Network:
    """Hosts, and how they name the database."""

    hosts: Sequence[Host]

    def url(self, direct: str) -> str:
        """The URL of a database, from a host."""
        return f"{direct.partition('?')[0].replace('@/', '@10.77.0.1/')}"


@asynccontextmanager
async def network(socket: Path, count: int) -> AsyncGenerator[Network]:
    """So many hosts `host1`, `host2`, … that reach the PostgreSQL of that socket. Raises `NotAllowed`."""
    if shutil.which("ip") is None:
        raise NotAllowed("there is no `ip` here: it is in the package iproute2")
    if os.geteuid() != 0:
        raise NotAllowed("only root makes network namespaces")
    mark = f"motet{os.getpid()}"
    async with AsyncExitStack() as stack:
        spaces = [f"{mark}-{number}" for number in range(count + 1)]
        for space in spaces:
            await said("ip", "netns", "add", space)
            stack.push_async_callback(said, "ip", "netns", "delete", space)
        hosts = [Host(f"host{number}", space, spaces[0]) for number, space in enumerate(spaces) if number]
        await said("ip", "-n", spaces[0], "link", "add", "bridge", "type", "bridge")
        await said("ip", "-n", spaces[0], "address", "add", "10.77.0.1/24", "dev", "bridge")
        await said("ip", "-n", spaces[0], "link", "set", "bridge", "up")
        for number, host in enumerate(hosts, start=1):
            pair = ["link", "add", host.name, "type", "veth", "peer", "name", "eth0", "netns", host.space]
            await said("ip", "-n", host.bridge, *pair)
            await said("ip", "-n", host.bridge, "link", "set", host.name, "master", "bridge", "up")
            await said("ip", "-n", host.space, "address", "add", f"10.77.0.{10 + number}/24", "dev", "eth0")
            await said("ip", "-n", host.space, "link", "set", "eth0", "up")
            await said(*host.through, "true")
        await stack.enter_async_context(_relay(spaces[0], socket))
        yield Network(hosts)


@asynccontextmanager
async def _relay(space: str, socket: Path) -> AsyncGenerator[None]:
    words = ["ip", "netns", "exec", space, sys.executable, "-c", RELAY, str(socket)]
    child = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None
        async with asyncio.timeout(20):
            await child.stdout.readline()
        yield
    finally:
        child.kill()
        await child.wait()
