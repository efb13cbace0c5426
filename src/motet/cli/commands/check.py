"""`motet check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from motet.cli import exits, options, output
from motet.errors import WorkflowError

if TYPE_CHECKING:
    from motet.workflow.check import Checked


@click.command(short_help="Find every mistake in a workflow before it runs.")
@click.argument("file", type=click.Path())
@click.option("--graph", is_flag=True, help="Print the flow as Mermaid text: solid for data, dotted for decisions.")
@click.option("--offline", is_flag=True, help="Start no server; use what is remembered of them.")
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, file: str, graph: bool, offline: bool, config: str | None, as_json: bool) -> None:
    """Check a workflow against the tools that its servers offer, and print the plan.

    Every problem is shown at once, with its place. Errors stop it from running; warnings do not.
    """
    from motet.cli import flows, session
    from motet.orchestrator import checking

    settings = session.configured(config)
    text = _text(file)

    async def work() -> Checked:
        async with session.connected(settings, flows.named_in(text, file)) as motet:
            return checking.checked_text(text, file, settings, motet.catalog)

    if offline:
        checked = checking.checked_text(text, file, settings, checking.remembered(settings))
    else:
        checked = session.run(work)
    if as_json:
        output.emit_json({**checked.to_json(), "graph": None if checked.errors else checked.plan.mermaid()})
    elif graph and not checked.errors:
        click.echo(checked.plan.mermaid())
    elif not checked.errors:
        click.echo(checked.plan.render())
    if not as_json:
        for problem in checked.problems:
            output.say(f"\n{problem.render()}")
        errors, warnings = len(checked.errors), len(checked.warnings)
        output.say(f"\n{file}: {output.plural(errors, 'error')}, {output.plural(warnings, 'warning')}")
    ctx.exit(exits.USAGE if checked.errors else exits.COMPLETE)


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as why:
        reason = why.strerror if isinstance(why, OSError) else str(why)
        raise WorkflowError(f"cannot read the workflow `{file}`: {reason}") from None
