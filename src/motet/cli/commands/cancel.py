"""`motet cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import exits, options, output

if TYPE_CHECKING:
    from motet.engine.durable import Durable
    from motet.engine.report import Report
    from motet.workflow.model import Workflow


@click.command(short_help="End a run, and take back what it did.")
@click.argument("run")
@options.journal
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, run: str, journal: str | None, config: str | None, as_json: bool) -> None:
    """End a run in good order: what it did is taken back where its workflow says how.

    When another process drives the run, that one ends it; otherwise it is done here.
    """
    from motet.cli import asking, driving, runs, session
    from motet.cli.commands.run import finish
    from motet.engine.journal import LostRun

    settings = session.configured(config)

    async def begin(ledger: Durable, _workflow: Workflow) -> str:
        await ledger.cancel(run, who=asking.who())
        return run

    async def work() -> tuple[Report, bool] | None:
        workflow = await runs.workflow_of(settings, journal, run)
        try:
            return await driving.driven(settings, journal, workflow, begin)
        except LostRun:
            return None

    done = session.run(work)
    if done is None:
        output.emit_json({"run": run, "cancelling": True}) if as_json else click.echo(f"run {run} is being cancelled")
        ctx.exit(exits.COMPLETE)
    if done[0].status == "cancelled":
        output.emit_json(done[0].to_json()) if as_json else click.echo(output.clean(done[0].to_text(), limit=1 << 24))
        ctx.exit(exits.COMPLETE)
    finish(ctx, done[0], paused=done[1], as_json=as_json)
