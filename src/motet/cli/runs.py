"""Durable runs at the command line: where their journal is, who speaks, and what is said to them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

import click

from motet.cli import output, session
from motet.config.model import Config
from motet.engine.durable import Durable
from motet.engine.fleet.members import Members
from motet.engine.journal import RunRow
from motet.engine.report import Report
from motet.engine.store.opening import is_database, open_store
from motet.errors import ConfigError, MotetError
from motet.events import Emit, nobody
from motet.orchestrator.orchestrator import Orchestrator, journal_of
from motet.workflow.model import Workflow


def where(config: Config, given: str | None) -> str:
    """The journal: a file, or a PostgreSQL URL. Raises RunError when there is no place for one."""
    return journal_of(config, given)


@asynccontextmanager
async def journal(config: Config, given: str | None, *, emit: Emit = nobody) -> AsyncGenerator[Durable]:
    """All runs in the journal. Raises RunError when it cannot be opened."""
    async with Orchestrator(config, emit=emit).journal(given) as runs:
        yield runs


async def workflow_of(config: Config, given: str | None, run: str) -> Workflow:
    """The workflow a run was begun with, as it was then. Raises RunError when there is no such run."""
    async with journal(config, given) as runs:
        return runs.workflow(await runs.ledger.bundle(run))


async def resumed_all(config: Config, given: str | None) -> dict[str, Report | MotetError]:
    """Go on with every run that was interrupted or is due; one whose servers are not configured here is left alone."""
    async with session.connected(config, settle=False) as motet, journal(config, given) as runs:
        return await runs.resume_all(motet.host, may=lambda row: served(config, row.servers))


def served(config: Config, needs: Collection[str] | None) -> None:
    """Raises ConfigError when a run may need a server that is not configured: going on would only fail it."""
    absent = [name for name in sorted(needs or ()) if name not in config.servers]
    if absent:
        names = ", ".join(f"`{name}`" for name in absent)
        raise ConfigError(
            f"the run may need {names}, which is not configured here",
            hint="name the configuration it was begun with: --config FILE",
        )


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

    async def work() -> bool:
        async with journal(settings, given) as runs:
            await word(runs)
            row = await runs.ledger.row(run)
        return await offered(where(settings, given), row)

    taken = session.run(work)
    if as_json:
        output.emit_json({"run": run, "told": told, "worker": taken})
    else:
        click.echo(f"{told}; a worker goes on with it" if taken else f"{told}; go on with: motet resume {run}")


async def offered(place: str, row: RunRow) -> bool:
    """Offer the run to the workers of a database; False when none would take it."""
    if not is_database(place):
        return False
    from motet.engine.fleet.jobs import open_jobs

    async with open_store(place) as store:
        members = await Members(store).all()
    if not any(member.working and member.can_drive(row) for member in members):
        return False
    async with open_jobs(place) as jobs:
        await jobs.put([row])
    return True
