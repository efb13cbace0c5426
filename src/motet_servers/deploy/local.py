"""A target on this machine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from motet_servers.deploy import artifacts
from motet_servers.deploy.host import Ran, Reader, Service, Writer
from motet_servers.kit.errors import InvalidInput, Refused, Unavailable
from motet_servers.kit.threads import in_thread

OUTPUT_SHOWN = 4000
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "TMPDIR")
"""All that a release or hook gets of our own environment: never the deployer's credentials."""
POLL = 0.02
KILLED_WITHIN = 5.0
LAUNCH = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'
"""Starts a process in a session of its own, not as our child: it must outlive us, and init must reap it."""


class LocalHost:
    """Files and processes below a directory of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @asynccontextmanager
    async def lock(self, wait: float) -> AsyncGenerator[None]:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Refused(f"the target's directory {self._root.name} cannot be written: {error.strerror}.") from None
        try:
            await _locked(fd, wait, self._root.name)
            yield
        finally:
            os.close(fd)

    async def read(self, path: str) -> str | None:
        try:
            return (self._root / path).read_text("utf-8")
        except FileNotFoundError:
            return None

    async def write(self, path: str, text: str) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}-{secrets.token_hex(4)}")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)

    async def append(self, path: str, line: str) -> None:
        target = self._root / path
        with target.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    async def names(self, path: str) -> list[str]:
        directory = self._root / path
        return sorted(entry.name for entry in directory.iterdir()) if directory.is_dir() else []

    async def has(self, path: str) -> bool:
        return (self._root / path).exists()

    async def put(self, source: Path, path: str) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        await in_thread(lambda stop: artifacts.copy(source, target, stop))

    async def checksum_lines(self, path: str) -> str:
        return await in_thread(lambda stop: artifacts.checksum_lines(self._root / path, stop))

    async def remove(self, path: str) -> None:
        target = self._root / path
        if target.is_dir() and not target.is_symlink():
            await asyncio.to_thread(shutil.rmtree, target)
        else:
            target.unlink(missing_ok=True)

    async def link(self) -> str | None:
        try:
            return (self._root / "current").readlink().name
        except FileNotFoundError:
            return None

    async def switch(self, release: str | None) -> None:
        current = self._root / "current"
        if release is None:
            current.unlink(missing_ok=True)
            return
        temporary = self._root / f".current-{secrets.token_hex(4)}"
        temporary.symlink_to(Path("releases") / release)
        temporary.rename(current)

    async def run(self, argv: list[str], *, cwd: str, env: dict[str, str], within: float) -> Ran:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=self._root / cwd,
                env=environment(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise InvalidInput(f"cannot run {argv[0]}: {error.strerror}.") from None
        try:
            async with asyncio.timeout(within):
                output, _ = await process.communicate()
        except TimeoutError:
            return Ran(-1, f"did not end within {within:g} s")
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return Ran(process.returncode or 0, output.decode("utf-8", "replace")[-OUTPUT_SHOWN:])

    async def start(self, argv: list[str], *, cwd: str, env: dict[str, str], log: str) -> tuple[int, str]:
        path = self._root / log
        path.parent.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", LAUNCH, "launch", str(path), *argv),
            cwd=self._root / cwd,
            env=environment(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        pid = int(output)
        return pid, identity(pid)

    async def alive(self, service: Service) -> bool:
        return bool(service.identity) and identity(service.pid) == service.identity

    async def stop(self, service: Service, *, grace: float) -> None:
        if not await self.alive(service):
            return
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, KILLED_WITHIN)):
            with suppress(ProcessLookupError):
                os.killpg(service.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._gone(service)
                break
        with suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)

    async def _gone(self, service: Service) -> None:
        while await self.alive(service):  # noqa: ASYNC110 - it is not our child: nothing would tell us
            await asyncio.sleep(POLL)

    async def free_port(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return listener.getsockname()[1]

    async def connect(self, port: int) -> tuple[Reader, Writer]:
        return await asyncio.open_connection("127.0.0.1", port)

    async def close(self) -> None:
        """Nothing is held."""


async def _locked(fd: int, wait: float, name: str) -> None:
    try:
        async with asyncio.timeout(wait):
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await asyncio.sleep(POLL)
                else:
                    return
    except TimeoutError:
        raise Unavailable(f"another deployment to {name} is under way; try again when it has ended.") from None


def environment(extra: dict[str, str]) -> dict[str, str]:
    """What a release or a hook gets."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | extra


def identity(pid: int) -> str:
    """When the process was started, and in which boot; "" when there is none, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    if fields[0] in {"Z", "X"}:
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{fields[19]}@{boot}"
