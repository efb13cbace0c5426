"""`motet run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import arguments, exits, options, output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motet.calls import Json
    from motet.config.model import Config
    from motet.engine.durable import Durable
    from motet.engine.functions import FunctionRun
    from motet.engine.memory import Dry, Run
    from motet.engine.report import Report
    from motet.workflow.model import Workflow


@click.command(short_help="Run a workflow.")
@click.argument("file", type=click.Path())
@click.option("-i", "--input", "given", metavar="KEY=TEXT", multiple=True, help="An input; KEY:=JSON for lists.")
@click.option("--id", "run_id", metavar="TEXT", help="The run's id; the same id again goes on with that run.")
@click.option("--key", metavar="TEXT", help="Idempotency key: a run that has it already is gone on with.")
@click.option("--memory", is_flag=True, help="Keep no journal: the run ends with this process.")
@click.option("--dry-run", is_flag=True, help="Resolve and check everything, send nothing; show what would be sent.")
@click.option("--reads", is_flag=True, help="With --dry-run: do perform what only reads.")
@click.option("--detach", is_flag=True, help="Leave it to the workers of the database; print its id and go.")
@click.option("--priority", type=int, default=0, help="With workers: of two runs the higher goes first.")
@click.option("--yes", is_flag=True, help="Say yes to every approval.")
@options.journal
@options.config
@options.json
@click.pass_context
def command(
    ctx: click.Context,
    *,
    file: str,
    given: tuple[str, ...],
    run_id: str | None,
    key: str | None,
    memory: bool,
    dry_run: bool,
    reads: bool,
    detach: bool,
    priority: int,
    yes: bool,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Run a workflow and print its report.

    The workflow is checked first; nothing runs while there is a mistake in it. The run is kept in a journal: it
    survives this process, and `motet resume` goes on with it. Ctrl-C pauses it. With --memory Ctrl-C cancels the run
    and takes back what it did, where the workflow says how; a second Ctrl-C abandons it.

    Where --database names a PostgreSQL database whose workers are alive, one of those drives the run, and this command
    watches it; Ctrl-C then only ends the watching.

    \b
    motet run chain.yaml -i repo=acme/app -i ticket=PROJ-42
    """
    from motet.cli import driving, flows, session
    from motet.workflow.loading import load

    if reads and not dry_run:
        raise click.UsageError("--reads belongs to --dry-run")
    if detach and (memory or dry_run or yes):
        raise click.UsageError("--detach leaves the run to workers: it goes with neither --memory, --dry-run nor --yes")
    if memory and (run_id or key):
        raise click.UsageError("--id and --key belong to a run with a journal")
    settings = session.configured(config)
    workflow = load(file)
    inputs = flows.typed(workflow, arguments.pairs(given, what="input"))
    paused = False
    if memory or dry_run:
        dry: Dry = ("reads" if reads else "plan") if dry_run else ""
        report = session.run(lambda: _in_memory(settings, workflow, inputs, dry=dry, yes=yes))
    else:

        async def begin(durable: Durable, checked: Workflow) -> str:
            run = await durable.start(checked, inputs, run=run_id, key=key, priority=priority)
            if (run_id or key) and (other := await _differs(durable, run, checked, inputs)):
                output.say(f"run {run} is there already and goes on as it was begun; {other} not what you give now")
            return run

        if detach:
            _left(session.run(lambda: driving.left(settings, journal, workflow, begin)), as_json=as_json)
            return
        report, paused = session.run(lambda: driving.driven(settings, journal, workflow, begin, check=True, yes=yes))
    finish(ctx, report, paused=paused, as_json=as_json)


async def _differs(durable: Durable, run: str, workflow: Workflow, inputs: Mapping[str, Json]) -> str:
    """What of the run is not as it would be if it were begun now: its workflow is, its inputs are; or nothing."""
    began = (await durable.state(run)).began
    if began.digest != workflow.digest:
        return "its workflow is"
    secret = {name for name, declared in workflow.inputs.items() if declared.secret}
    were, are = ({k: v for k, v in given.items() if k not in secret} for given in (began.inputs, inputs))
    return "its inputs are" if were != are else ""


def finish(ctx: click.Context, report: Report, *, paused: bool, as_json: bool) -> None:
    """Print the report and leave with its code."""
    if as_json:
        output.emit_json(report.to_json())
    else:
        click.echo(output.clean(report.to_text(), limit=1 << 24))
    if paused:
        ctx.exit(exits.INTERRUPTED)
    as_planned = report.dry and report.status == "partial"  # nothing was sent, so nothing is there
    ctx.exit(exits.COMPLETE if as_planned else exits.of_status(report.status))


def _left(found: tuple[str, str], *, as_json: bool) -> None:
    """Say which run was left to workers, and why none of them takes it, if none does."""
    run, why = found
    if why:
        output.say(f"run {run} waits: {why}; start one with: motet worker")
    if as_json:
        output.emit_json({"run": run, "waits": why})
    else:
        click.echo(run)


async def _in_memory(
    settings: Config, workflow: Workflow, inputs: Mapping[str, Json], *, dry: Dry, yes: bool
) -> Report:
    from motet.cli import asking, board, session
    from motet.workflow.touched import servers_of

    with board.shown(board.Board.of(workflow)) as view:
        ask = asking.asker(yes=yes, paused=view.paused)
        needed = servers_of(workflow)
        async with session.connected(settings, needed, emit=view.tell, ask=ask, settle=False) as motet:
            run = motet.begin(workflow, inputs, dry=dry)
            with session.interruptible(lambda: _stop(run)):
                report = await run.drive()
            view.settle(report)
            return report


def _stop(run: Run | FunctionRun) -> None:
    output.say("stopping: what was done is taken back where the workflow says how (Ctrl-C again abandons the run)")
    run.cancel("Ctrl-C")
