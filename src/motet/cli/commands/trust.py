"""`motet trust`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from motet.cli import exits, options, output
from motet.errors import RunError

if TYPE_CHECKING:
    from motet.host.memory import Difference


@click.command(short_help="Show what changed in a server's tools, and accept it.")
@click.argument("server")
@click.option("--yes", is_flag=True, help="Accept without asking.")
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, server: str, yes: bool, config: str | None, as_json: bool) -> None:
    """Show what changed in the definitions of a server's tools since they were accepted, and accept it.

    A tool whose definition changed is refused until then, unless the server is marked `trusted` in the configuration.
    """
    from motet.cli import asking, session

    settings = session.configured(config)
    if settings.state is None:
        raise RunError("nothing is remembered: this configuration has no state folder")

    async def work() -> tuple[list[Difference], bool]:
        async with session.connected(settings, [server]) as motet:
            hosted = motet.host.server(server)
            if hosted.catalog.stale is not None:
                raise hosted.never_listed()
            found = hosted.differences()
            if not as_json:
                for one in found:
                    _show(server, one)
            if found and (yes or await _agreed(asking.line_of_terminal)):
                motet.host.trust(server)
                return found, True
            return found, False

    found, accepted = session.run(work)
    if as_json:
        shown = [{"tool": one.tool, "accepted": one.accepted, "present": one.present} for one in found]
        output.emit_json({"server": server, "differences": shown, "trusted": accepted})
    elif not found:
        click.echo(f"{server}: nothing has changed")
    else:
        click.echo(f"{server}: accepted" if accepted else f"{server}: not accepted; calls to what changed stay refused")
    ctx.exit(exits.REFUSED if found and not accepted else exits.COMPLETE)


async def _agreed(read: Any) -> bool:
    if not output.is_terminal(sys.stdin):
        output.say("try: the same on a terminal, or with --yes")
        return False
    text: str | None = await read("Accept these definitions? [y/n] ")
    return text is not None and text.strip().lower() in ("y", "yes")


def _show(server: str, difference: Difference) -> None:
    click.echo(f"{server}.{output.clean_line(difference.tool)}")
    if difference.present is None:
        click.echo("  is not offered any more")
        return
    for line in changes(difference.accepted, difference.present):
        click.echo(click.style(f"  {line}", fg={"+": "green", "-": "red"}.get(line[:1])))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """The lines that differ between two definitions, a few unchanged ones around them."""
    old, new = (output.json_text(definition).splitlines() for definition in (before, after))
    for line in difflib.unified_diff(old, new, lineterm="", n=2):
        if not line.startswith(("---", "+++", "@@")):
            yield output.clean(line)
