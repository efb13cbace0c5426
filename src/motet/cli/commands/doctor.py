"""`motet doctor`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from motet.cli import exits, options, output
from motet.errors import ConfigError

if TYPE_CHECKING:
    from motet.config.model import Config, ServerConfig


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    status: str
    """ok, warning or error."""
    found: str
    remedy: str = ""


@click.command(short_help="Find out what is missing on this machine.")
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, config: str | None, as_json: bool) -> None:
    """Look at Python, process isolation, state folder, configuration, and every server's command. Starts nothing."""
    findings = list(_findings(config))
    if as_json:
        output.emit_json([asdict(finding) for finding in findings])
    else:
        rows = [(finding.what, finding.status, finding.found, finding.remedy) for finding in findings]
        output.table(("what", "status", "found", "what to do"), rows)
    ctx.exit(exits.USAGE if any(finding.status == "error" for finding in findings) else exits.COMPLETE)


def _findings(given: str | None) -> Iterator[Finding]:
    yield Finding("python", "ok", sys.version.split()[0])
    yield _isolation()
    yield _bundled()
    from motet.cli import session

    try:
        path = options.config_path(given)
        config = session.configured(given)
    except ConfigError as error:
        yield Finding("configuration", "error", error.message, error.hint)
        return
    yield Finding("configuration", "ok", f"{path}: {output.plural(len(config.servers), 'server')}")
    yield _state(config)
    for server in config.servers.values():
        yield _server(server)


def _isolation() -> Finding:
    """Does `bwrap` give a process namespace here?"""
    if sys.platform != "linux":
        return Finding("reap", "ok", "by process group (namespaces are a Linux thing)")
    remedy = "install bubblewrap, and nothing a server started outlives motet, not even after kill -9"
    if (bwrap := shutil.which("bwrap")) is None:
        return Finding("reap", "warning", "by process group: bwrap is not installed", remedy)
    probe = [bwrap, "--bind", "/", "/", "--unshare-pid", "--die-with-parent", "true"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, timeout=5, check=False)
    except subprocess.TimeoutExpired:
        return Finding("reap", "warning", "by process group: bwrap does not answer")
    if done.returncode:
        why = output.clean_line(done.stderr, limit=120) or f"exit code {done.returncode}"
        return Finding("reap", "warning", f"by process group: {why}", "allow unprivileged user namespaces")
    return Finding("reap", "ok", "by process namespace (bwrap)")


def _bundled() -> Finding:
    from importlib.util import find_spec

    missing = [name for name in ("fastmcp", "httpx2", "sqlalchemy", "icalendar") if find_spec(name) is None]
    if missing:
        return Finding("bundled servers", "warning", f"no {', '.join(missing)}", "pip install 'motet[servers]'")
    return Finding("bundled servers", "ok", "installed")


def _state(config: Config) -> Finding:
    if config.state is None:
        return Finding("state", "ok", "nothing is remembered on disk")
    folder = Path(config.state)
    existing = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding("state", "error", f"{folder} cannot be written", "set `state` or $MOTET_STATE_DIR")
    return Finding("state", "ok", str(folder))


def _server(server: ServerConfig) -> Finding:
    from motet.config.model import HttpTransport, StdioTransport

    what = f"server {server.name}"
    match server.transport:
        case StdioTransport(command=command, env=env, cwd=cwd):
            where = shutil.which(command, path=env.get("PATH", os.environ.get("PATH")))
            if where is None:
                hint = "pip install 'motet[servers]'" if command.startswith("motet-server-") else "install it"
                return Finding(what, "error", f"{command}: not found", f"{hint}, or correct {server.source}")
            if cwd is not None and not Path(cwd).is_dir():
                return Finding(what, "error", f"cwd {cwd}: no such folder", f"correct {server.source}")
            return Finding(what, "ok", where)
        case HttpTransport(url=url):
            return Finding(what, "ok", f"{url} (not contacted)")
        case _:
            return Finding(what, "ok", "in this process")
