"""`motet show`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from motet.cli import exits, options, output

if TYPE_CHECKING:
    from motet.calls import Json
    from motet.engine.report import Report


@click.command(short_help="One run: its report, or everything it has done.")
@click.argument("run")
@click.option(
    "--history", is_flag=True, help="Everything that happened to it, in order, and what was said to it in vain."
)
@click.option("--follow", is_flag=True, help="Watch it, whoever drives it, until it ends or only waits.")
@options.journal
@options.config
@options.json
@click.pass_context
def command(
    ctx: click.Context,
    *,
    run: str,
    history: bool,
    follow: bool,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Show how a run stands; the exit code is that of its status."""
    from motet.cli import driving, runs, session

    settings = session.configured(config)
    if follow:
        session.run(lambda: driving.watched(settings, journal, run))

    async def work() -> tuple[Report, list[dict[str, Json]]]:
        async with runs.journal(settings, journal) as ledger:
            return await ledger.show(run), await ledger.records(run) if history else []

    report, records = session.run(work)
    if as_json:
        output.emit_json({**report.to_json(), **({"history": records} if history else {})})
    else:
        click.echo(output.clean(report.to_text(), limit=1 << 24))
        for record in records:
            click.echo(_line(record))
    ctx.exit(exits.of_status(report.status))


def _line(record: dict[str, Json]) -> str:
    """One thing that happened, as a line: when, what, to which step, and all that is known of it as JSON."""
    told = dict(record)
    at = datetime.fromtimestamp(float(told.pop("at")), UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    event, key = str(told.pop("event")), str(told.pop("key", ""))
    rest = json.dumps(told, ensure_ascii=False, separators=(", ", ": ")) if told else ""
    return output.clean_line(" ".join(part for part in (f"{at}Z", event, key, rest) if part), limit=1000)
