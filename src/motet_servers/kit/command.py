"""The command line every bundled server has: stdio by default, `--http` for streamable HTTP at /mcp.

Exit codes: 0 served and ended · 2 usage, missing setting, refused declaration, port in use · 130 interrupted. One clear
line on stderr for each; stdout belongs to the protocol. `--help` and `--version` load no framework.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
import textwrap
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from motet_servers.kit.addresses import is_loopback
from motet_servers.kit.redaction import Redactor
from motet_servers.kit.settings import SettingsError, Values, Variable

if TYPE_CHECKING:
    from motet_servers.kit.server import DomainServer

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """A server's command line. `build` is `module:function`, called with the settings and the positional arguments."""

    name: str
    """The console script, such as `motet-server-github`."""
    summary: str
    build: str
    """`package.module:function`, where `function(values: Values, arguments: list[str]) -> DomainServer`."""
    variables: tuple[Variable, ...] = ()
    arguments: str = ""
    """Name of the positional arguments, such as `ROOT`; empty: none are taken."""
    arguments_help: str = ""
    notes: str = field(default="", repr=False)

    def main(self, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
        """Run the server until its client goes away; gives the exit code."""
        options = self._parser().parse_args(argv)
        values = Values(self.variables, os.environ if environ is None else environ)
        redactor = Redactor(values.secrets)
        try:
            listener = _listener(options.host, options.port) if options.http else None
            with _logging(options.log_level, redactor):
                with _collector_paused():
                    server = self._built(values, list(getattr(options, "arguments", [])))
                _quiet_framework()
                asyncio.run(_serve(server, listener))
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        except _usage_errors() as error:
            print(f"{self.name}: {redactor.text(str(error))}", file=sys.stderr)  # noqa: T201 - the command's own voice
            return EXIT_USAGE
        return 0

    def _built(self, values: Values, arguments: list[str]) -> DomainServer:
        module, _, function = self.build.partition(":")
        try:
            build: Callable[[Values, list[str]], DomainServer] = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            extra = self.name.removeprefix("motet-server-")
            raise SettingsError(
                f"needs the package {error.name}; install it with: pip install 'motet[{extra}]'"
            ) from error
        return build(values, arguments)

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(
            prog=self.name,
            description=self.summary,
            epilog=self._epilog(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if self.arguments:
            parser.add_argument("arguments", nargs="*", metavar=self.arguments, help=self.arguments_help)
        parser.add_argument("--http", action="store_true", help="serve streamable HTTP at /mcp instead of stdio")
        parser.add_argument("--host", default="127.0.0.1", help="with --http: address to listen on (%(default)s)")
        parser.add_argument("--port", type=_port, default=8000, help="with --http: port, 0 for any (%(default)s)")
        parser.add_argument(
            "--log-level", choices=LEVELS, default="warning", help="what to log on stderr (%(default)s)"
        )
        parser.add_argument("--version", action="version", version=f"%(prog)s {metadata.version('motet')}")
        return parser

    def _epilog(self) -> str:
        lines = ["environment variables read (no others):" if self.variables else "reads no environment variables"]
        for variable in self.variables:
            default = f" (default: {variable.default})" if variable.default else ""
            text = " ".join(filter(None, (f"{variable.help}{default}.", variable.where)))
            lines.append(f"  {variable.name}")
            lines += textwrap.wrap(text, 88, initial_indent="      ", subsequent_indent="      ")
        return "\n".join([*lines, *(["", self.notes] if self.notes else [])])


@contextmanager
def _collector_paused() -> Generator[None]:
    """What starting makes stays for good: looking through it for garbage took a seventh of the start."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class PortInUse(Exception):
    """The address cannot be listened on."""


def _usage_errors() -> tuple[type[Exception], ...]:
    """What ends in one line and code 2; the framework's own class only if the framework was loaded at all."""
    server = sys.modules.get("motet_servers.kit.server")
    boundary: tuple[type[Exception], ...] = () if server is None else (server.BoundaryError,)
    return (SettingsError, PortInUse, *boundary)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError("not a port")
    return port


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise PortInUse(f"cannot listen on {host}:{port}: {reason}. Choose another with --port (0: any).") from None


async def _serve(server: DomainServer, listener: socket.socket | None) -> None:
    await server.boundary()
    if listener is None:
        await server.run_stdio_async(show_banner=False)
        return
    host, port = listener.getsockname()[:2]
    print(announcement(server.name, host, port), file=sys.stderr, flush=True)  # noqa: T201 - scripts wait for this line
    await server.run_http_async(
        show_banner=False,
        host=host,
        port=port,
        path="/mcp",
        sockets=[listener],
        host_origin_protection="auto",
        uvicorn_config={"log_config": None, "access_log": False},
    )


def announcement(name: str, host: str, port: int) -> str:
    """Where it listens; before that a warning, when others than this machine can reach it."""
    shown = f"[{host}]" if ":" in host else host
    where = f"{name}: listening on http://{shown}:{port}/mcp"
    if is_loopback(host):
        return where
    return f"{name}: there is no login: whoever reaches this address acts with the server's credentials\n{where}"


@contextmanager
def _logging(level: str, redactor: Redactor) -> Generator[None]:
    """One handler on stderr for everything, while this lasts; the framework's own handlers go."""
    os.environ.setdefault("FASTMCP_LOG_ENABLED", "false")  # the framework configures handlers on import otherwise
    os.environ.setdefault("FASTMCP_ENV_FILE", os.devnull)  # and would read a .env file of the working directory
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(redactor))
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, list[logging.Handler]([handler])
    level_before = root.level
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level_before)


def _quiet_framework() -> None:
    """The framework's own handlers, if it was imported earlier, would print what ours redacts."""
    framework = logging.getLogger("fastmcp")
    framework.handlers.clear()
    framework.propagate = True
    framework.setLevel(logging.NOTSET)


class RedactingFormatter(logging.Formatter):
    """Log lines without secrets, and without a traceback for failures that were raised to be read."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        return self._redactor.text(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name logging calls
        errors = sys.modules.get("motet_servers.kit.errors")
        if errors is not None and isinstance(ei[1], errors.DomainError):
            return f"{type(ei[1]).__name__}: {ei[1]}"
        return super().formatException(ei)
