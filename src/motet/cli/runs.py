"""Durable runs at the command line: where their journal is, who speaks, and driving one with the servers it needs."""

from __future__ import annotations

import getpass
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import click

from motet.calls import Ask
from motet.cli import asking, board, output, session
from motet.config.model import Config
from motet.engine.clock import DatabaseClock
from motet.engine.durable import Durable
from motet.engine.fleet.members import STALL
from motet.engine.journal import LEASE
from motet.engine.ports import wall_clock
from motet.engine.report import Report
from motet.engine.store import is_database, open_store
from motet.errors import RunError
from motet.events import Emit, ServerChanged, nobody
from motet.orchestrator.orchestrator import Orchestrator
from motet.workflow.model import Workflow
from motet.workflow.touched import servers_of

JOURNAL: Final = "runs.sqlite"
"""The journal's file in the state folder."""


def where(config: Config, given: str | None) -> str:
    """The journal: a file, or a PostgreSQL URL. Raises RunError when there is no place for one."""
    if given:
        return given
    if config.state is None:
        raise RunError("there is no place for a journal: this configuration has no state folder", hint="set `state`")
    return str(Path(config.state) / JOURNAL)


@asynccontextmanager
async def journal(config: Config, given: str | None, *, emit: Emit = nobody) -> AsyncGenerator[Durable]:
    """All runs in the journal. Raises RunError when it cannot be opened."""
    place = where(config, given)
    shared = is_database(place)
    if not shared:
        Path(place).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    redact = Orchestrator(config).redactor.json
    async with open_store(place) as store:
        clock = DatabaseClock(store)
        if shared:
            await clock.sync()
        yield Durable(
            store,
            now=clock.now if shared else wall_clock,
            emit=emit,
            secrets=config.secrets,
            redact=redact,
            parallel=config.parallel,
            lease=STALL if shared else LEASE,
        )


Begin = Callable[[Durable, Orchestrator], Awaitable[str]]
"""Gives the id of the run to drive."""
Go = Callable[[Durable, Orchestrator, str, "Ask | None"], Awaitable[Report]]
"""Drives it."""


async def driven(
    config: Config, given: str | None, workflow: Workflow, begin: Begin, go: Go, *, yes: bool = False
) -> tuple[Report, bool]:
    """Begin or find a run, and drive it with its servers; gives the report, and whether Ctrl-C paused it."""
    paused: list[str] = []
    journals: list[Durable] = []

    def told(event: object) -> None:
        view.tell(event)
        if isinstance(event, ServerChanged) and event.state == "ready":
            for runs in journals:
                runs.server_back(event.server)  # steps that were deferred for it need not wait for their timer

    with board.shown(board.Board.of(workflow)) as view:
        ask = asking.asker(yes=yes, paused=view.paused)
        async with (
            session.connected(config, servers_of(workflow), emit=told, ask=ask, settle=False) as motet,
            journal(config, given, emit=view.tell) as runs,
        ):
            journals.append(runs)
            run = await begin(runs, motet)
            with session.interruptible(lambda: _pause(runs, run, paused)):
                report = await go(runs, motet, run, ask)
        if not paused:
            view.settle(report)
    return report, bool(paused)


def _pause(runs: Durable, run: str, paused: list[str]) -> None:
    runs.pause(run)
    paused.append(run)
    output.say(f"pausing: what is in flight ends; go on with: motet resume {run} (Ctrl-C again leaves it as it is)")


async def drive(runs: Durable, motet: Orchestrator, run: str, ask: Ask | None) -> Report:
    """Drive a run that was begun."""
    return await runs.drive(run, motet.host, ask=ask)


async def resume(runs: Durable, motet: Orchestrator, run: str, ask: Ask | None) -> Report:
    """Go on with a run, or with the gaps of one that ended partial."""
    return await runs.resume(run, motet.host, ask=ask, who=who())


async def workflow_of(config: Config, given: str | None, run: str) -> Workflow:
    """The workflow a run was begun with, as it was then. Raises RunError when there is no such run."""
    async with journal(config, given) as runs:
        return runs.workflow(await runs.ledger.bundle(run))


def who() -> str:
    """Who speaks: the name of the user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


async def resumed_all(config: Config, given: str | None) -> dict[str, Report | RunError]:
    """Go on with every run that was interrupted or is due."""
    async with session.connected(config, settle=False) as motet, journal(config, given) as runs:
        return await runs.resume_all(motet.host)


def say(
    config: str | None,
    given: str | None,
    word: Callable[[Durable], Awaitable[None]],
    *,
    told: str,
    run: str,
    as_json: bool,
) -> None:
    """Say something to a run, and tell that it was said."""
    settings = session.configured(config)

    async def work() -> None:
        async with journal(settings, given) as runs:
            await word(runs)

    session.run(work)
    if as_json:
        output.emit_json({"run": run, "told": told})
    else:
        click.echo(f"{told}; go on with: motet resume {run}")
