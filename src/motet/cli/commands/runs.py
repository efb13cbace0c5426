"""`motet runs`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from motet.cli import options, output

if TYPE_CHECKING:
    from motet.engine.journal import RunRow

STATUSES = ("running", "waiting", "complete", "partial", "failed", "cancelled")


@click.command(short_help="The latest runs, and how they stand.")
@click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Only runs of this status.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Most runs shown.")
@options.journal
@options.config
@options.json
def command(*, status: tuple[str, ...], limit: int, journal: str | None, config: str | None, as_json: bool) -> None:
    """List the runs in the journal, newest first."""
    from motet.cli import runs, session

    settings = session.configured(config)

    async def work() -> list[RunRow]:
        async with runs.journal(settings, journal) as ledger:
            return await ledger.list(status=status, limit=limit)

    rows = session.run(work)
    if as_json:
        output.emit_json([row.to_json() for row in rows])
    else:
        cells = [(row.id, row.status, row.workflow, time(row.created), time(row.updated)) for row in rows]
        output.table(("run", "status", "workflow", "begun", "last moved"), cells)


def time(at: float) -> str:
    """A point in time, for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
