"""The demo's stage: one temporary folder, the playground's process, and a configuration for seven servers.

Each server gets its own variables and nobody else's. Leaving the stage ends what was started and removes the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

from motet.cli.demo.processes import signal_family
from motet.errors import ConfigError

SERVERS: Final = ("filesystem", "github", "database", "jira", "calendar", "deploy", "slack")
RELEASES: Final = ("v2.0.0", "v2.1.0")
"""What can be deployed: the first runs when the curtain opens, the second is GitHub's latest release."""
ENVIRONMENT: Final = "staging"
START: Final = 15.0
"""Seconds the playground may take to start."""
STOP: Final = 3.0

SETTINGS: Final[Mapping[str, Any]] = {
    "timeout": {"connect": "30s", "call": "3s", "total": "5s"},
    "retry": {"attempts": 2},
    "breaker": {"calls": 3, "failure_rate": 0.5, "open_for": "15s"},
    "trusted": True,
}
"""Short, so that nobody waits long for a server that the demo has broken; trusted, for the servers are our own."""
OWN_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "deploy": {"timeout": {"tools": {"deploy": "10s", "rollback": "10s"}, "total": "15s"}},
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the show needs to know."""

    folder: Path
    config: Mapping[str, Any]
    control: str
    """The playground's control address."""

    def block(self, server: str) -> None:
        """Make sure that the server cannot be started again."""
        (self.folder / "start" / server).unlink()


@asynccontextmanager
async def stage(examples: Path) -> AsyncGenerator[Stage]:
    """Set it up, and clear it away whatever happens. Raises ConfigError when the bundled servers are not installed."""
    if find_spec("motet_servers") is None or find_spec("fastmcp") is None:
        raise ConfigError("the bundled servers are not installed", hint="pip install 'motet[servers]'")
    folder = _furnished(examples)
    try:
        async with _playground() as told:
            yield Stage(folder, _config(folder, told), cast("str", told["control"]))
    finally:
        await asyncio.to_thread(_clear, folder)


@asynccontextmanager
async def _playground() -> AsyncGenerator[dict[str, Any]]:
    """The playground's process; it ends when its stdin does, so it cannot outlive us."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "motet_servers.playground", "--port", "0",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(START):
            line = await process.stdout.readline()
            if not line:
                why = (await process.stderr.read()).decode(errors="replace").strip()
                raise ConfigError(
                    f"the playground does not start: {why.splitlines()[-1] if why else 'no reason given'}"
                )
        yield json.loads(line)
    except TimeoutError:
        raise ConfigError(f"the playground did not start within {START:g} s") from None
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


def _furnished(examples: Path) -> Path:
    """A new folder, for our eyes only, with the servers' start scripts, two releases, and a place for files."""
    folder = Path(tempfile.mkdtemp(prefix="motet-demo-")).resolve()
    (folder / "files").mkdir()
    (folder / "files" / "README.txt").write_text("Files that the filesystem server may touch.\n")
    (folder / "app.sqlite").touch()  # the database server never creates one
    (folder / "start").mkdir()
    for server in SERVERS:
        script = folder / "start" / server
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m motet_servers.{server} "$@"\n')
        script.chmod(0o755)
    for version in RELEASES:
        release = folder / "deploy" / "artifacts" / version
        release.mkdir(parents=True)
        shutil.copy(examples / "web-service" / "app.py", release / "app.py")
        (release / "VERSION").write_text(f"{version}\n")
    return folder


def _config(folder: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        "database": {"DATABASE_URL": f"sqlite:///{folder / 'app.sqlite'}"},
        "deploy": {"DEPLOY_ROOT": str(folder / "deploy")},
    }
    servers: dict[str, Any] = {}
    for server in SERVERS:
        servers[server] = {
            "command": str(folder / "start" / server),
            "args": [str(folder / "files")] if server == "filesystem" else [],
            "env": told.get(server) or own.get(server, {}),
            "cwd": str(folder),
            **OWN_SETTINGS.get(server, {}),
        }
    return {"defaults": dict(SETTINGS), "servers": servers}


def _clear(folder: Path) -> None:
    """End whatever still runs in the folder (a deployed service may outlive its deployer), then remove it."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(folder):
                signal_family(int(link.parent.name), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)
