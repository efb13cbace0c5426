"""Releases of a tiny web service, targets that never outlive their test, and an SSH server nobody here wrote."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from fastmcp import Client

from motet_servers.deploy.server import deploy_server
from motet_servers.deploy.targets import Target, defaults, load

SERVICE = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ok", "version": os.environ["SAYS"], "env": os.environ["ENVIRONMENT"]}).encode()
        self.send_response(int(os.environ["STATUS"]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

print("listening", flush=True)
HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Answer).serve_forever()
"""


def make_release(
    root: Path, version: str, *, says: str | None = None, status: int = 200, app: str | None = None
) -> Path:
    """An artifact directory with the service, which answers as `says`."""
    directory = root / "artifacts" / version
    directory.mkdir(parents=True)
    head = f'import os\nos.environ["SAYS"] = {says or version!r}\nos.environ["STATUS"] = "{status}"\n'
    (directory / "app.py").write_text(app if app is not None else head + SERVICE)
    return directory


@pytest.fixture
def release(root: Path) -> Callable[..., Path]:
    """Makes a further release."""
    return partial(make_release, root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A DEPLOY_ROOT with two good releases."""
    make_release(tmp_path, "v2.0.0")
    make_release(tmp_path, "v2.1.0")
    return tmp_path


class Kit:
    """A client of a deploy server; `call` gives the data and whether it was an error."""

    def __init__(self, client: Client[Any], targets: dict[str, Target]) -> None:
        self.client = client
        self.targets = targets

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert not result.is_error, result.content
        return dict(result.structured_content or {})

    async def failing(self, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """A call that must be an error: its text and data."""
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert result.is_error, result.structured_content
        text = "\n".join(getattr(block, "text", "") for block in result.content)
        return text, dict(result.structured_content or {})

    async def read(self, uri: str) -> Any:
        """A resource's JSON."""
        (content,) = await self.client.read_resource(uri)
        return json.loads(getattr(content, "text", ""))


Open = Callable[..., Awaitable[Kit]]


@pytest.fixture
async def opened() -> AsyncGenerator[Open]:
    """Opens deploy servers; afterwards every process they started is gone."""
    kits: list[tuple[Kit, Any]] = []

    async def open_targets(targets: dict[str, Target]) -> Kit:
        client: Any = Client(deploy_server(targets))
        await client.__aenter__()
        kit = Kit(client, targets)
        kits.append((kit, client))
        return kit

    yield open_targets
    for kit, client in kits:
        for env in kit.targets:
            with suppress(Exception):
                await client.call_tool("stop", {"env": env}, raise_on_error=False)
        await client.__aexit__(None, None, None)


@pytest.fixture
async def kit(root: Path, opened: Open) -> Kit:
    """A server over `staging` and `production` below the root."""
    return await opened(defaults(root, ["staging", "production"]))


@pytest.fixture
def targets_file(root: Path) -> Callable[[str], dict[str, Target]]:
    """The targets of a file with that content."""

    def write(text: str) -> dict[str, Target]:
        file = root / "targets.yaml"
        file.write_text(text)
        return load(file)

    return write


class Gate(asyncssh.SSHServer):
    """Lets one key in, and forwards to loopback only."""

    def begin_auth(self, username: str) -> bool:
        return True

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return dest_host == "127.0.0.1"


async def run_in_shell(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Runs the command as sshd would: by the shell, streams passed on, its exit code handed back."""
    child = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", process.command or "true"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    assert child.stdin
    assert child.stdout
    assert child.stderr

    async def feed(source: Any, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncssh.Error):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def tell(source: asyncio.StreamReader, sink: Any) -> None:
        while data := await source.read(1 << 16):
            with suppress(OSError, asyncssh.Error):
                sink.write(data)

    async with asyncio.TaskGroup() as tasks:
        feeding = tasks.create_task(feed(process.stdin, child.stdin))
        await asyncio.gather(tell(child.stdout, process.stdout), tell(child.stderr, process.stderr))  # noqa: TID251 - both only end together
        code = await child.wait()
        feeding.cancel()
    process.exit(code)


SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
"""Debian's own server, where it is installed."""


@pytest.fixture(params=["asyncssh", *(["sshd"] if SSHD else [])])
async def ssh(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[dict[str, Any]]:
    """An SSH server on a free port, with its key in a known_hosts file and one client key allowed."""
    new_key: Any = getattr(asyncssh, "generate_private_key")  # noqa: B009 - its keywords are untyped
    host_key, client_key = new_key("ssh-ed25519"), new_key("ssh-ed25519")
    for name, key in (("id", client_key), ("host_key", host_key)):
        (tmp_path / name).write_bytes(key.export_private_key())
        (tmp_path / name).chmod(0o600)
    (tmp_path / "id.pub").write_bytes(client_key.export_public_key())
    serving = debian(tmp_path) if request.param == "sshd" else own(tmp_path)
    async with serving as port:
        (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}")
        yield {"port": port, "python": sys.executable, "user": getpass.getuser()}


@asynccontextmanager
async def debian(folder: Path) -> AsyncGenerator[int]:
    """Debian's sshd as this user, by a configuration that reads nothing of the system's; gives its port."""
    assert SSHD
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host_key",
        "AuthorizedKeysFile": folder / "id.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "AllowTcpForwarding": "local",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    separated()
    process = await asyncio.create_subprocess_exec(
        *(SSHD, "-D", "-e", "-f", str(folder / "sshd_config")), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    try:
        async with asyncio.timeout(10):
            while b"listening on" not in (line := await process.stderr.readline()).lower():
                assert line, "sshd ended before it listened"
        drained = asyncio.create_task(process.stderr.read())
        yield port
        drained.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def separated() -> None:
    """Where sshd gives up root's rights; its service makes the folder otherwise."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


@asynccontextmanager
async def own(folder: Path) -> AsyncGenerator[int]:
    """asyncssh's own server; gives its port."""
    running: set[asyncio.Task[Any]] = set()

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        task = asyncio.current_task()
        assert task
        running.add(task)
        try:
            await run_in_shell(process)
        finally:
            running.discard(task)

    server = await asyncssh.create_server(
        Gate,
        "127.0.0.1",
        0,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "id.pub"),
        process_factory=serve,
        encoding=None,
    )
    yield server.get_port()
    server.close()
    await server.wait_closed()
    if running:
        await asyncio.wait(running, timeout=5)
