"""`motet prune`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from motet.cli import options, output


@click.command(short_help="Forget runs that ended long ago.")
@click.option("--older-than", default="30d", show_default=True, metavar="TIME", help="Such as 12h or 30d.")
@options.journal
@options.config
@options.json
def command(*, older_than: str, journal: str | None, config: str | None, as_json: bool) -> None:
    """Forget runs that ended longer ago than that; runs that are not over stay."""
    from motet.cli import runs, session
    from motet.config.values import duration

    try:
        age = duration(older_than)
    except ValueError as why:
        raise click.BadParameter(str(why)) from None
    settings = session.configured(config)

    async def work() -> int:
        async with runs.journal(settings, journal) as ledger:
            return await ledger.prune(datetime.now(UTC).timestamp() - age)

    count = session.run(work)
    output.emit_json({"forgotten": count}) if as_json else click.echo(f"{output.plural(count, 'run')} forgotten")
