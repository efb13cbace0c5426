"""`motet resume`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import exits, options, output
from motet.errors import MotetError

if TYPE_CHECKING:
    from motet.engine.durable import Durable
    from motet.engine.report import Report
    from motet.workflow.model import Workflow


@click.command(short_help="Go on with a run: interrupted, waiting, or partial.")
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Every run that was interrupted or is due.")
@click.option("--yes", is_flag=True, help="Say yes to every approval.")
@options.journal
@options.config
@options.json
@click.pass_context
def command(
    ctx: click.Context,
    *,
    run: str | None,
    every: bool,
    yes: bool,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Go on with a run where it stands. Of one that ended partial only the gaps are tried; what is done stays done."""
    from motet.cli import asking, driving, runs, session
    from motet.cli.commands.run import finish

    if (run is None) != every:
        raise click.UsageError("name one RUN, or say --all")
    settings = session.configured(config)
    if run is None:
        ctx.exit(_all(session.run(lambda: runs.resumed_all(settings, journal)), as_json=as_json))

    async def begin(durable: Durable, _workflow: Workflow) -> str:
        await durable.call_up(run, who=asking.who())
        return run

    async def work() -> tuple[Report, bool]:
        workflow = await runs.workflow_of(settings, journal, run)
        return await driving.driven(settings, journal, workflow, begin, yes=yes)

    report, paused = session.run(work)
    finish(ctx, report, paused=paused, as_json=as_json)


def _all(found: dict[str, Report | MotetError], *, as_json: bool) -> int:
    """Show what came of each; gives the exit code."""
    codes: list[int] = []
    told: dict[str, object] = {}
    rows: list[tuple[str, str, str]] = []
    for run, one in found.items():
        if isinstance(one, MotetError):
            codes.append(exits.of_error(one))
            told[run] = {"error": output.error_json(one)}
            rows.append((run, "error", one.message))
        else:
            codes.append(exits.of_status(one.status))
            told[run] = one.to_json()
            rows.append((run, one.status, one.headline()))
    if as_json:
        output.emit_json(told)
    else:
        output.table(("run", "status", "what came of it"), rows)
    return exits.worst(codes)
