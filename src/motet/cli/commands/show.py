"""`motet show`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from motet.cli import exits, options, output

if TYPE_CHECKING:
    from motet.engine.report import Report
    from motet.workflow.entries import Entry


@click.command(short_help="One run: its report, or everything it has done.")
@click.argument("run")
@click.option("--history", is_flag=True, help="Every entry of its journal, in order.")
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

    async def work() -> tuple[Report, list[Entry]]:
        async with runs.journal(settings, journal) as ledger:
            return await ledger.show(run), await ledger.history(run) if history else []

    report, entries = session.run(work)
    if as_json:
        output.emit_json({**report.to_json(), **({"history": [_json(entry) for entry in entries]} if history else {})})
    else:
        click.echo(output.clean(report.to_text(), limit=1 << 24))
        for entry in entries:
            click.echo(_line(_json(entry)))
    ctx.exit(exits.of_status(report.status))


def _line(told: dict[str, Any]) -> str:
    """One entry: when, what, whose, and the rest as JSON."""
    at = datetime.fromtimestamp(told.pop("at"), UTC).isoformat(sep=" ", timespec="milliseconds")[:23] + "Z"
    words = [at, told.pop("event"), told.pop("key", ""), json.dumps(told, ensure_ascii=False) if told else ""]
    return output.clean_line(" ".join(filter(None, words)), limit=500)


def _json(entry: Entry) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(entry)
