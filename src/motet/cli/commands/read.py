"""`motet read`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from motet.cli import exits, options, output

if TYPE_CHECKING:
    from motet.orchestrator.reading import Reading


@click.command(short_help="Read resources, from any servers, together.")
@click.argument("uris", metavar="URI...", nargs=-1, required=True)
@click.option("--context", "max_bytes", type=int, metavar="BYTES", help="As one text for a language model, so long.")
@click.option("--follow", is_flag=True, help="Go on, and print each again whenever its server says that it changed.")
@options.config
@options.json
@click.pass_context
def command(
    ctx: click.Context,
    *,
    uris: tuple[str, ...],
    max_bytes: int | None,
    follow: bool,
    config: str | None,
    as_json: bool,
) -> None:
    """Read resources at once, each from the server its URI belongs to.

    A URI may name its server: SERVER=URI. What cannot be had is named; the rest is printed all the same.

    \b
    motet read github://acme/app/pull-requests jira://project/PROJ/sprint/current
    """
    from motet.cli import session

    async def work() -> Reading:
        async with session.connected(session.configured(config), settle=False) as motet:
            return (await motet.read_resources(uris)).looked_at()

    def show(reading: Reading) -> None:
        if as_json:
            output.emit_json(reading_json(reading))
        elif max_bytes is not None:
            click.echo(output.clean(reading.as_context(max_bytes), limit=max_bytes))
        else:
            _show(reading, labelled=len(uris) > 1)
        for error in reading.missing.values():
            output.complain(error)

    async def following() -> Reading:
        async with session.connected(session.configured(config), settle=False) as motet, motet.watch(uris) as changes:
            reading = (await motet.read_resources(uris)).looked_at()
            for error in changes.missing.values():
                output.complain(error)
            while changes.uris:  # else there is nothing to wait for
                show(reading)
                uri = await anext(changes)
                reading = (await motet.read_resources([(changes.uris[uri], uri)])).looked_at()
            return reading

    reading = session.run(following if follow else work)
    show(reading)
    ctx.exit(exits.of_reads(len(reading.found), reading.missing.values()))


def _show(reading: Reading, *, labelled: bool) -> None:
    for uri, result in reading.found.items():
        if labelled:
            click.echo(click.style(f"== {output.clean_line(uri)}", bold=True))
        text = result.text
        binary = [part for part in result.contents if "blob" in part]
        if text or not binary:
            click.echo(output.clean(text, limit=1 << 30))
        for part in binary:
            kind = output.clean_line(part.get("mimeType", "unknown type"))
            output.say(f"{output.clean_line(uri)}: binary ({kind}); --json gives it as base64")


def reading_json(reading: Reading) -> dict[str, Any]:
    """What was read, for programs."""
    return {
        "found": {
            uri: {"server": reading.servers.get(uri), "contents": result.contents}
            for uri, result in reading.found.items()
        },
        "missing": {uri: output.error_json(error) for uri, error in reading.missing.items()},
    }
