"""`motet run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import arguments, exits, options, output

if TYPE_CHECKING:
    from motet.engine.memory import Dry, Run
    from motet.engine.report import Report


@click.command(short_help="Run a workflow.")
@click.argument("file", type=click.Path())
@click.option("-i", "--input", "given", metavar="KEY=TEXT", multiple=True, help="An input; KEY:=JSON for lists.")
@click.option("--dry-run", is_flag=True, help="Resolve and check everything, send nothing; show what would be sent.")
@click.option("--reads", is_flag=True, help="With --dry-run: do perform what only reads.")
@click.option("--yes", is_flag=True, help="Say yes to every approval.")
@options.config
@options.json
@click.pass_context
def command(
    ctx: click.Context,
    *,
    file: str,
    given: tuple[str, ...],
    dry_run: bool,
    reads: bool,
    yes: bool,
    config: str | None,
    as_json: bool,
) -> None:
    """Run a workflow and print its report.

    The workflow is checked first; nothing runs while there is a mistake in it. Ctrl-C cancels the run and takes back
    what it did, where the workflow says how; a second Ctrl-C abandons it.

    \b
    motet run chain.yaml -i repo=acme/app -i ticket=PROJ-42
    """
    from motet.cli import asking, board, flows, session
    from motet.workflow.loading import load

    if reads and not dry_run:
        raise click.UsageError("--reads belongs to --dry-run")
    dry: Dry = ("reads" if reads else "plan") if dry_run else ""
    settings = session.configured(config)
    workflow = load(file)
    inputs = flows.typed(workflow, arguments.pairs(given, what="input"))

    async def work() -> Report:
        with board.shown(board.Board.of(workflow)) as view:
            ask = asking.asker(yes=yes, paused=view.paused)
            needed = flows.servers_of(workflow)
            async with session.connected(settings, needed, emit=view.tell, ask=ask) as motet:
                run = motet.begin(workflow, inputs, dry=dry)
                with session.interruptible(lambda: _stop(run)):
                    report = await run.drive()
                view.settle(report)
                return report

    report = session.run(work)
    if as_json:
        output.emit_json(report.to_json())
    else:
        click.echo(output.clean(report.to_text(), limit=1 << 24))
    as_planned = report.dry and report.status == "partial"  # nothing was sent, so nothing is there
    ctx.exit(exits.COMPLETE if as_planned else exits.of_status(report.status))


def _stop(run: Run) -> None:
    output.say("stopping: what was done is taken back where the workflow says how (Ctrl-C again abandons the run)")
    run.cancel("Ctrl-C")
