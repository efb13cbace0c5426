"""`motet approve`."""

from __future__ import annotations

import click

from motet.cli import options


@click.command(short_help="Say yes to an approval that a run waits for.")
@click.argument("run")
@click.argument("step")
@click.option("--note", default="", metavar="TEXT", help="Why; kept with the run.")
@options.shown
@options.journal
@options.config
@options.json
def command(
    *, run: str, step: str, note: str, shown: str, journal: str | None, config: str | None, as_json: bool
) -> None:
    """Say yes to an approval, or to a call that asks for one. `motet resume RUN` goes on with the run.

    What is done then is what `motet show RUN` shows. If that changes before the run hears the yes, it does not count.
    """
    from motet.cli import asking, runs

    runs.say(
        config,
        journal,
        lambda ledger: ledger.approve(run, step, who=asking.who(), note=note, digest=shown),
        told=f"{step} of run {run}: approved",
        run=run,
        as_json=as_json,
    )
