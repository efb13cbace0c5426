"""A target reached by SSH: the same operations, done with a POSIX shell and GNU's usual tools on the host.

Needed there: sh, coreutils (`mv -T`, `sha256sum`), find, sort, xargs, tar, `flock`, `setsid`; nothing of ours is
installed. Every value that goes into a command line is quoted; nothing is ever read as shell code. The host's key must
be in `known_hosts`. Health checks go through the connection to the host's own loopback (`direct-tcpip`).
"""

from __future__ import annotations

import asyncio
import secrets
import shlex
import tarfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import cast

import asyncssh

from motet_servers.deploy.host import Ran, Reader, Service, Writer
from motet_servers.deploy.targets import Ssh
from motet_servers.kit.errors import InvalidInput, Refused, TooLarge, Unavailable

CONNECT_WITHIN = 15.0
COMMAND_WITHIN = 120.0
OUTPUT_SHOWN = 4000
MOST_UPLOAD = 1 << 30
IDENTITY = (
    'read -r s < "/proc/$1/stat" && set -- ${s##*) } && [ "$1" != Z ] && '
    'shift 19 && echo "$1@$(cat /proc/sys/kernel/random/boot_id)"'
)
"""The same words as `local.identity`."""
LAUNCH = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'

WATCHED = (
    'exec 3<&0; timeout -k 5 "$@" 2>&1 </dev/null 3<&- & p=$!; '
    '{ cat <&3; kill -s TERM "$p"; } >/dev/null 2>&1 & w=$!; '
    'wait "$p"; c=$?; kill "$w" 2>/dev/null; exit "$c"'
)
"""Runs a command that ends early when our end of the session does: a cancelled hook must not go on alone."""


class _Shell:
    """One `sh` on the host, which runs script after script."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        self._mark = secrets.token_hex(16)

    async def run(self, script: str, values: tuple[str, ...], data: bytes) -> tuple[int, str]:
        """The script's exit code and what it said (its errors only when it failed). It runs in a subshell."""
        start = f"printf %s {shlex.quote(data.decode())} | (" if data else "("
        end = ")" if data else ") </dev/null"
        given = " ".join(map(shlex.quote, values))
        told = f"code=$?; printf '\\n%s %d\\n' {self._mark} $code; printf '\\n%s\\n' {self._mark} >&2"
        self._process.stdin.write(f"{start} set -- {given}\n{script}\n{end}\n{told}\n".encode())
        await self._process.stdin.drain()
        mark = f"\n{self._mark}".encode()
        output = (await self._process.stdout.readuntil(mark)).removesuffix(mark)
        code = int(await self._process.stdout.readline())
        errors = (await self._process.stderr.readuntil(mark)).removesuffix(mark)
        await self._process.stderr.readline()
        return code, (output if code == 0 else output + errors).decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """End it, with what it may be running."""
        self._process.close()


class SshHost:
    """Files and processes below a directory of a remote machine; one connection, made when first needed."""

    def __init__(self, ssh: Ssh, root: str, *, passphrase: str = "") -> None:
        self._ssh = ssh
        self._root = root
        self._passphrase = passphrase
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()
        self._shell: _Shell | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def lock(self, wait: float) -> AsyncGenerator[None]:
        await self._sh('mkdir -p "$1"', self._root)
        connection = await self._connected()
        command = _command(
            'flock -w "$2" "$1" sh -c "echo held; cat >/dev/null" || echo busy', self._at("lock"), f"{wait:g}"
        )
        async with connection.create_process(command) as holder:
            try:
                async with asyncio.timeout(wait + CONNECT_WITHIN):
                    answer = await holder.stdout.readline()
            except TimeoutError:
                answer = ""
            if answer.strip() != "held":
                raise Unavailable(f"another deployment to {self._ssh.host} is under way; try again when it has ended.")
            try:
                yield
            finally:
                holder.stdin.write_eof()

    async def read(self, path: str) -> str | None:
        code, output = await self._try('[ -f "$1" ] || exit 44; cat "$1"', self._at(path))
        if code == 44:
            return None
        return _good(code, output)

    async def write(self, path: str, text: str) -> None:
        target = self._at(path)
        script = 'mkdir -p "$3" && cat > "$2" && sync "$2" && mv -fT "$2" "$1"'
        await self._sh(script, target, f"{target}.{_nonce()}", str(PurePosixPath(target).parent), data=text.encode())

    async def append(self, path: str, line: str) -> None:
        await self._sh('cat >> "$1" && sync "$1"', self._at(path), data=line.encode() + b"\n")

    async def names(self, path: str) -> list[str]:
        output = await self._sh('[ ! -d "$1" ] || ls -A "$1"', self._at(path))
        return sorted(output.splitlines())

    async def has(self, path: str) -> bool:
        code, _ = await self._try('[ -e "$1" ]', self._at(path))
        return code == 0

    async def put(self, source: Path, path: str) -> None:
        target = self._at(path)
        data = await asyncio.to_thread(_packed, source)
        await self._alone(
            'mkdir -p "$2" && tar -xf - -C "$2" && mv -T "$2" "$1" || { rm -rf "$2"; exit 1; }',
            target,
            str(PurePosixPath(target).with_name(f".{PurePosixPath(target).name}-{_nonce()}")),
            data=data,
        )

    async def checksum_lines(self, path: str) -> str:
        return await self._alone(
            'cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum', self._at(path)
        )

    async def remove(self, path: str) -> None:
        await self._alone('rm -rf -- "$1"', self._at(path))

    async def link(self) -> str | None:
        code, output = await self._try('readlink "$1"', self._at("current"))
        return output.strip().rpartition("/")[2] or None if code == 0 else None

    async def switch(self, release: str | None) -> None:
        if release is None:
            await self._sh('rm -f "$1"', self._at("current"))
            return
        temporary = self._at(f".current-{_nonce()}")
        await self._sh('ln -sfn "$3" "$2" && mv -fT "$2" "$1"', self._at("current"), temporary, f"releases/{release}")

    async def run(self, argv: list[str], *, cwd: str, env: dict[str, str], within: float) -> Ran:
        command = _command(f'cd "$1" && shift && {WATCHED}', self._at(cwd), f"{within:g}", "env", *_pairs(env), *argv)
        connection = await self._connected()
        try:
            async with (
                asyncio.timeout(within + COMMAND_WITHIN),
                connection.create_process(command, encoding=None) as process,
            ):
                output = cast("bytes", await process.stdout.read())
                await process.wait()
                code = -1 if process.exit_status is None else process.exit_status
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise self._lost(error) from error
        if code == 124:
            return Ran(-1, f"did not end within {within:g} s")
        return Ran(code, output.decode("utf-8", "replace")[-OUTPUT_SHOWN:])

    async def start(self, argv: list[str], *, cwd: str, env: dict[str, str], log: str) -> tuple[int, str]:
        directory = str(PurePosixPath(self._at(log)).parent)
        script = f'mkdir -p "$1" && shift && cd "$1" && shift && {{ {LAUNCH}; }}'
        output = await self._sh(script, directory, self._at(cwd), self._at(log), "env", *_pairs(env), *argv)
        pid = int(output)
        return pid, await self._identity(pid)

    async def alive(self, service: Service) -> bool:
        return bool(service.identity) and await self._identity(service.pid) == service.identity

    async def stop(self, service: Service, *, grace: float) -> None:
        if not await self.alive(service):
            return
        waiting = (
            'kill -s TERM -- "-$1" 2>/dev/null; n=$2; '
            'while [ "$n" -gt 0 ] && kill -0 -- "-$1" 2>/dev/null; do sleep 0.05; n=$((n-1)); done; '
            'kill -s KILL -- "-$1" 2>/dev/null; true'
        )
        await self._alone(waiting, str(service.pid), str(int(grace / 0.05)), within=grace + COMMAND_WITHIN)

    async def free_port(self) -> int:
        """A port of the dynamic range that refuses a connection now."""
        for _ in range(20):
            port = 49152 + secrets.randbelow(16384)
            try:
                _, writer = await self.connect(port)
            except OSError:
                return port
            writer.close()
        raise Unavailable(f"found no free port on {self._ssh.host}.")

    async def connect(self, port: int) -> tuple[Reader, Writer]:
        connection = await self._connected()
        try:
            return cast("tuple[Reader, Writer]", await _forwarded(connection, port))
        except asyncssh.ChannelOpenError as error:
            raise ConnectionRefusedError(error.reason) from None

    async def close(self) -> None:
        self._shell = None
        if self._connection is not None:
            self._connection.close()
            await self._connection.wait_closed()
            self._connection = None

    async def _identity(self, pid: int) -> str:
        code, output = await self._try(f"{IDENTITY} 2>/dev/null", str(pid))
        return output.strip() if code == 0 else ""

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    async def _sh(self, script: str, *values: str, data: bytes = b"") -> str:
        """Run a script with the values as `$1`, `$2`, …; its output; an error when it fails."""
        return _good(*await self._try(script, *values, data=data))

    async def _try(self, script: str, *values: str, data: bytes = b"") -> tuple[int, str]:
        async with self._turn:
            try:
                async with asyncio.timeout(COMMAND_WITHIN):
                    shell = self._shell = self._shell or await self._opened()
                    return await shell.run(script, values, data)
            except BaseException as error:  # it may be in the middle of something: nothing more is told to it
                if self._shell is not None:
                    self._shell.close()
                    self._shell = None
                if isinstance(error, (asyncssh.Error, OSError, EOFError, TimeoutError)):
                    raise self._lost(error) from error
                raise

    async def _opened(self) -> _Shell:
        connection = await self._connected()
        return _Shell(await connection.create_process("exec sh", encoding=None))

    async def _alone(self, script: str, *values: str, data: bytes = b"", within: float = COMMAND_WITHIN) -> str:
        """As `_sh`, in a session of its own: what may take long, or takes bytes."""
        return _good(*await self._ran(_command(script, *values), data, within))

    def _lost(self, error: BaseException) -> Unavailable:
        return Unavailable(f"{self._ssh.host}: the connection was lost ({type(error).__name__}).")

    async def _ran(self, command: str, data: bytes, within: float) -> tuple[int, str]:
        connection = await self._connected()
        try:
            async with asyncio.timeout(within):
                done = await connection.run(command, input=data, encoding=None)
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise self._lost(error) from error
        output, errors = cast("bytes", done.stdout or b""), cast("bytes", done.stderr or b"")
        code = done.exit_status if done.exit_status is not None else -1
        return code, (output if code == 0 else output + errors).decode("utf-8", "surrogateescape")

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> asyncssh.SSHClientConnection:
        ssh = self._ssh
        if not ssh.known_hosts.is_file():
            raise Refused(f"there is no {ssh.known_hosts.name}: hosts are reached only with their known keys.")
        try:
            return await asyncssh.connect(
                ssh.host,
                ssh.port,
                username=ssh.user or (),
                known_hosts=str(ssh.known_hosts),
                client_keys=() if ssh.key is None else [str(ssh.key)],
                passphrase=self._passphrase or None,
                connect_timeout=CONNECT_WITHIN,
                keepalive_interval=15,
            )
        except asyncssh.HostKeyNotVerifiable:
            raise Refused(f"the key of {ssh.host} is not the one in {ssh.known_hosts.name}; not connected.") from None
        except (asyncssh.PermissionDenied, asyncssh.KeyImportError) as error:
            raise Refused(
                f"{ssh.host} refused the login, or the key cannot be used ({type(error).__name__})."
            ) from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            raise Unavailable(f"{ssh.host} cannot be reached ({type(error).__name__}).") from error


async def _forwarded(connection: asyncssh.SSHClientConnection, port: int) -> object:
    return await connection.open_connection("127.0.0.1", port, encoding=None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - its streams are generic over text and bytes


def _command(script: str, *values: str) -> str:
    """A command line that runs the script with the values as its arguments, each quoted."""
    return " ".join(["sh", "-c", shlex.quote(script), "sh", *map(shlex.quote, values)])


def _pairs(env: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in env.items()]


def _good(code: int, output: str) -> str:
    if code != 0:
        raise InvalidInput(f"a step on the host failed with {code}: {output.strip()[-OUTPUT_SHOWN:]}")
    return output


def _nonce() -> str:
    return secrets.token_hex(4)


def _packed(source: Path) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(source, arcname=".")
        if buffer.tell() > MOST_UPLOAD:
            raise TooLarge(f"the release is over {MOST_UPLOAD:,} bytes; too large to send over SSH.")
    return buffer.getvalue()
