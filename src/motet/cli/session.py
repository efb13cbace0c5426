"""One command's stay with its servers: start what it needs, run its work, end everything, whatever interrupts it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from motet.calls import Ask, Call
from motet.cli.options import config_path
from motet.config.loading import load_config
from motet.config.model import Config, ServerConfig, StdioTransport
from motet.errors import CallError
from motet.events import Emit
from motet.host import policy
from motet.orchestrator.orchestrator import Orchestrator

T = TypeVar("T")


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `work` to its end. Ctrl-C and SIGTERM cancel it, so that it can clean up; KeyboardInterrupt follows."""

    async def whole() -> T:
        task = asyncio.current_task()
        if sys.platform != "win32" and task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _terminated, task)
        return await work()

    with asyncio.Runner() as runner:
        try:
            return runner.run(whole())
        except asyncio.CancelledError:  # by `interruptible`
            raise KeyboardInterrupt from None


def _terminated(task: asyncio.Task[Any]) -> None:
    """SIGTERM is Ctrl-C; a shell that starts us in the background has Ctrl-C ignored, and then it is a plain end."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        task.cancel()
    else:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def interruptible(first: Callable[[], object]) -> Generator[None]:
    """Inside, the first Ctrl-C (or SIGTERM) is `first()`; the second cancels the current task."""
    if sys.platform == "win32":
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    left: list[Callable[[], object]] = [first]

    def interrupted() -> None:
        (left.pop() if left else task.cancel)()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@asynccontextmanager
async def connected(
    config: Config,
    only: Iterable[str] | None = None,
    *,
    emit: Emit | None = None,
    ask: Ask | None = None,
    settle: bool = True,
) -> AsyncGenerator[Orchestrator]:
    """An orchestrator whose servers have settled: each is ready, or its state says why not.

    `only` names the servers that are needed; the others are not started. A name that is not configured brings in all,
    so that the error can suggest the right one. Without `settle` it begins as soon as the healthy ones are up; a silent
    one costs nothing then but what is asked of it.
    """
    async with Orchestrator(_needed(config, only), emit=emit, ask=ask) as motet:
        if settle:
            await motet.host.settled()
        yield motet


def _needed(config: Config, only: Iterable[str] | None) -> Config:
    names = set(config.servers) if only is None else set(only)
    if not names <= set(config.servers):
        return config
    return replace(config, servers={name: server for name, server in config.servers.items() if name in names})


def configured(given: str | None) -> Config:
    """The configuration that the command line names. Raises ConfigError.

    A bundled server that is not on the PATH is taken from where this very program is installed.
    """
    config = load_config(config_path(given))
    return replace(config, servers={name: _found(server) for name, server in config.servers.items()})


def _found(server: ServerConfig) -> ServerConfig:
    match server.transport:
        case StdioTransport(command=command) if command.startswith("motet-server-") and shutil.which(command) is None:
            beside = Path(sys.executable).with_name(command)
            if beside.is_file():
                return replace(server, transport=replace(server.transport, command=str(beside)))
        case _:
            pass
    return server


def prepared(motet: Orchestrator, server: str, tool: str, arguments: dict[str, Any], key: str | None) -> Call | None:
    """The call as it would be sent; None when it cannot be."""
    try:
        return motet.host.prepare(server, "tools/call", tool, arguments, key=key)
    except CallError:
        return None


def takes_key(motet: Orchestrator, server: str, tool: str) -> bool:
    """Has this listed tool an argument for an idempotency key?"""
    listed = motet.catalog.servers[server].tools.get(tool)
    return policy.key_argument(listed, tool, motet.config.servers[server].retry) is not None
