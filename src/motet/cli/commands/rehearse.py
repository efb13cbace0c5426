"""`motet rehearse`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from motet.cli import arguments, exits, options, output

if TYPE_CHECKING:
    from motet.engine.rehearsal import Rehearsal, Row


@click.command(short_help="Run a workflow with each server failing in turn, on mocks.")
@click.argument("file", type=click.Path())
@click.option("-i", "--input", "given", metavar="KEY=TEXT", multiple=True, help="An input; default: a sample.")
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, file: str, given: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Run a workflow on mocks made from its tools' schemas, with each of its servers failing in turn.

    The servers are started to list their tools; nothing is sent to them. For each fault (down, hang, error, lost) the
    table shows how the run ends, what was done, what was undone, and what nobody would know. The exit code is that of
    the run without a fault.
    """
    from motet.cli import flows, session
    from motet.testing.rehearsal import rehearse
    from motet.workflow.loading import load
    from motet.workflow.touched import servers_of

    settings = session.configured(config)
    workflow = load(file)
    inputs = flows.typed(workflow, arguments.pairs(given, what="input"))

    async def work() -> Rehearsal:
        async with session.connected(settings, servers_of(workflow)) as motet:
            return await rehearse(motet, workflow, inputs)

    table = session.run(work)
    if as_json:
        output.emit_json(table.to_json())
    else:
        rows = [(row.server or "-", row.fault or "none", row.status, *_names(row)) for row in table.rows]
        output.table(("server", "fault", "status", "done", "undone", "unknown", "left"), rows)
    ctx.exit(exits.of_status(table.rows[0].status))


def _names(row: Row) -> tuple[str, ...]:
    return tuple(", ".join(names) or "-" for names in (row.done, row.undone, row.unknown, row.left))
