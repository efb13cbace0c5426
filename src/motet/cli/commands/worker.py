"""`motet worker`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from motet.cli import options, output

if TYPE_CHECKING:
    from motet.monitor.logs import Format


@click.command(short_help="Drive the runs of a database, beside other workers.")
@click.option("--room", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Runs driven at once.")
@click.option("--grace", type=options.SECONDS, default="30s", show_default=True, help="For calls in flight at the end.")
@click.option("--heartbeat", type=options.SECONDS, default="5s", show_default=True, help="Between two signs of life.")
@click.option("--stall", type=options.SECONDS, default="15s", show_default=True, help="Silence that counts as death.")
@click.option("--http", metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics there.")
@click.option("--log", "form", type=click.Choice(["json", "text"]), help="Default: text on a terminal, else json.")
@options.database
@options.config
def command(
    *,
    room: int,
    grace: float,
    heartbeat: float,
    stall: float,
    http: str | None,
    form: Format | None,
    journal: str | None,
    config: str | None,
) -> None:
    """Take runs from a PostgreSQL database and drive them with the servers of the configuration.

    Start as many as you want, on as many machines as you want. SIGTERM or Ctrl-C: it takes no more, lets the calls in
    flight end, and leaves the rest to the others.

    \b
    motet worker --database postgresql://motet@db/motet --config motet.toml
    """
    from motet.cli import fleet, session
    from motet.engine.fleet.worker import Settings

    if heartbeat * 2 > stall:
        raise click.UsageError("--stall must be at least twice --heartbeat, or healthy workers count as dead")
    settings = session.configured(config)
    how = Settings(room=room, heartbeat=heartbeat, stall=stall, grace=grace)
    lines = form or ("text" if output.is_terminal(sys.stderr) else "json")
    session.run(lambda: fleet.work(settings, journal, how, http=http, form=lines))
