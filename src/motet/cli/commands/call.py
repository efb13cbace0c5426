"""`motet call`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from motet.cli import arguments, exits, options, output

if TYPE_CHECKING:
    from motet.calls import Outcome, Progress


@click.command(short_help="Call one tool: SERVER.TOOL key=text key:=json.")
@click.argument("tool", metavar="SERVER.TOOL")
@click.argument("given", metavar="[KEY=TEXT | KEY:=JSON]...", nargs=-1)
@click.option("--timeout", type=options.SECONDS, help="How long one attempt may take.")
@click.option("--key", metavar="TEXT", help="Idempotency key, for a tool that takes one: makes it safe to repeat.")
@click.option("--yes", is_flag=True, help="Say yes where the configuration wants a person's approval.")
@options.config
@options.json
@click.pass_context
def command(
    ctx: click.Context,
    *,
    tool: str,
    given: tuple[str, ...],
    timeout: float | None,
    key: str | None,
    yes: bool,
    config: str | None,
    as_json: bool,
) -> None:
    """Call one tool and print its data.

    \b
    motet call jira.get_issue key=PROJ-42
    motet call github.create_issue title="It breaks" labels:='["bug"]'
    """
    from motet.calls import Asked, Done, Failed, looked_at
    from motet.cli import asking, session
    from motet.errors import InvalidArguments

    server, name = arguments.address(tool)
    wanted = arguments.pairs(given)

    async def work() -> tuple[Outcome, bool]:
        ask = asking.asker(yes=yes)
        async with session.connected(session.configured(config), [server], ask=ask, settle=False) as motet:
            call = session.prepared(motet, server, name, wanted, key)
            if call is not None and key is not None and not session.takes_key(motet, server, name):
                hint = f"leave --key out, or name the argument that takes it: `retry.keyed` of [servers.{server}]"
                return Failed(InvalidArguments(f"`{name}` takes no idempotency key", server=server, hint=hint)), False
            told = _progressed if output.is_terminal(sys.stderr) else None
            outcome = looked_at(await motet.attempt(server, name, wanted, timeout=timeout, key=key, on_progress=told))
            call = call or session.prepared(motet, server, name, wanted, key)
            return outcome, call is not None and call.repeatable

    outcome, repeatable = session.run(work)
    if as_json:
        output.emit_json({"server": server, "tool": name, **_outcome_json(outcome)})
    match outcome:
        case Done():
            if not as_json:
                show_data(outcome.data)
        case Failed(error):
            if error.kind == "invalid_arguments" and not error.hint:
                error.hint = f"`motet tools {server}` shows its arguments; numbers, booleans and lists: key:=json"
            output.complain(error)
            ctx.exit(exits.of_call(error, repeatable=repeatable))
        case Asked(questions):
            for question in questions:
                output.say(f"{output.clean_line(question.server)} asks: {output.clean(question.message)}")
            output.say("try: the same on a terminal, where you can answer (or --yes for approvals)")
            ctx.exit(exits.WAITING)


def _progressed(progress: Progress) -> None:
    of = "" if progress.total is None else f" of {progress.total:g}"
    output.say(f"{progress.progress:g}{of}" + (f": {output.clean_line(progress.message)}" if progress.message else ""))


def show_data(data: Any) -> None:
    """An answer's data for people: text as text, anything else as JSON."""
    click.echo(output.clean(data, limit=1 << 30) if isinstance(data, str) else output.json_text(data))


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    from motet.calls import Done, Failed

    counted = {"attempts": outcome.attempts, "took": round(outcome.took, 6)}
    match outcome:
        case Done():
            return {"ok": True, "data": outcome.data, **counted}
        case Failed(error):
            return {"ok": False, "error": output.error_json(error), **counted}
        case _:
            asked = [
                {"kind": question.kind, "message": question.message, "schema": question.schema, "url": question.url}
                for question in outcome.questions
            ]
            return {"ok": False, "asked": asked, **counted}
