"""`motet rerun`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import options

if TYPE_CHECKING:
    from motet.engine.durable import Durable
    from motet.engine.report import Report
    from motet.workflow.model import Workflow


@click.command(short_help="Run the workflow of an earlier run again.")
@click.argument("run")
@click.option("--from", "start", metavar="STEP", help="Keep what does not depend on this step, and begin there.")
@click.option("--yes", is_flag=True, help="Say yes to every approval.")
@options.journal
@options.config
@options.json
@click.pass_context
def command(
    ctx: click.Context,
    *,
    run: str,
    start: str | None,
    yes: bool,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Run the workflow of an earlier run again, as a new run with the same inputs and new idempotency keys."""
    from motet.cli import driving, runs, session
    from motet.cli.commands.run import finish

    settings = session.configured(config)

    async def begin(ledger: Durable, _workflow: Workflow) -> str:
        return await ledger.rerun(run, start=start)

    async def work() -> tuple[Report, bool]:
        workflow = await runs.workflow_of(settings, journal, run)
        return await driving.driven(settings, journal, workflow, begin, yes=yes)

    report, paused = session.run(work)
    finish(ctx, report, paused=paused, as_json=as_json)
