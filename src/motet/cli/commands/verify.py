"""`motet verify`."""

from __future__ import annotations

import click

from motet.cli import exits, options, output


@click.command(short_help="Is the journal of a run whole?")
@click.argument("run")
@options.journal
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, run: str, journal: str | None, config: str | None, as_json: bool) -> None:
    """Check the chain of a run's entries, and that they give a state. The exit code is 1 when they do not."""
    from motet.cli import runs, session

    settings = session.configured(config)

    async def work() -> list[str]:
        async with runs.journal(settings, journal) as ledger:
            await ledger.ledger.row(run)
            return await ledger.verify(run)

    problems = session.run(work)
    if as_json:
        output.emit_json({"run": run, "whole": not problems, "problems": problems})
    elif not problems:
        click.echo(f"the journal of run {run} is whole")
    for problem in problems:
        output.say(f"error: {output.clean_line(problem)}")
    ctx.exit(exits.FAILED if problems else exits.COMPLETE)
