"""`motet runs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from motet.cli import options, output

if TYPE_CHECKING:
    from motet.config.model import Config
    from motet.engine.journal import RunRow

STATUSES = ("running", "waiting", "complete", "partial", "failed", "cancelled")


@click.command(short_help="The latest runs, and how they stand.")
@click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Only runs of this status.")
@click.option("--stuck", is_flag=True, help="Only open runs that ought to go on and do not, with the reason.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Most runs shown.")
@options.journal
@options.config
@options.json
def command(
    *, status: tuple[str, ...], stuck: bool, limit: int, journal: str | None, config: str | None, as_json: bool
) -> None:
    """List the runs in the journal, newest first."""
    from motet.cli import runs, session

    settings = session.configured(config)
    if stuck:
        _show_stuck(session.run(lambda: _stuck(settings, journal, limit)), as_json=as_json)
        return

    async def work() -> list[RunRow]:
        async with runs.journal(settings, journal) as ledger:
            return await ledger.list(status=status, limit=limit)

    rows = session.run(work)
    if as_json:
        output.emit_json([row.to_json() for row in rows])
    else:
        cells = [(row.id, row.status, row.workflow, time(row.created), time(row.updated)) for row in rows]
        output.table(("run", "status", "workflow", "begun", "last moved"), cells)


async def _stuck(settings: Config, journal: str | None, limit: int) -> list[tuple[RunRow, str]]:
    from motet.cli import runs
    from motet.engine.fleet.members import Members, stuck

    async with runs.journal(settings, journal) as durable:
        rows = [*await durable.ledger.parked(), *await durable.ledger.due()]
        found = stuck(rows, await Members(durable.ledger.store).all(), durable.now())
    return sorted(found, key=lambda one: -one[0].created)[:limit]


def _show_stuck(found: list[tuple[RunRow, str]], *, as_json: bool) -> None:
    if as_json:
        output.emit_json([{**row.to_json(), "reason": why} for row, why in found])
    else:
        cells = [(row.id, row.status, row.workflow, time(row.updated), why) for row, why in found]
        output.table(("run", "status", "workflow", "last moved", "why it is stuck"), cells)


def time(at: float) -> str:
    """A point in time, for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
