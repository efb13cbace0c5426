"""`motet tools`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from motet.cli import exits, options, output

if TYPE_CHECKING:
    from motet.catalog.catalog import ServerCatalog
    from motet.catalog.tool import Tool


@click.command(short_help="The tools of one server, or of all.")
@click.argument("server", metavar="[SERVER[.TOOL]]", required=False)
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, server: str | None, config: str | None, as_json: bool) -> None:
    """List the tools of one server, or of all; SERVER.TOOL shows one tool with its arguments."""
    from motet.cli import session

    name, _, tool = (server or "").partition(".")

    async def work() -> list[ServerCatalog]:
        async with session.connected(session.configured(config), [name] if name else None) as motet:
            return [motet.catalog.server(name)] if name else list(motet.catalog.servers.values())

    parts = session.run(work)
    if tool:
        from motet.catalog.catalog import Catalog

        one = Catalog({part.name: part for part in parts}).tool(name, tool)
        output.emit_json(_json(one)) if as_json else _show(one)
        return
    if as_json:
        output.emit_json([_json(one) for part in parts for one in part.tools.values()])
    else:
        rows = [
            (one.address, "stale" if part.stale else "", ", ".join(_arguments(one)), _first_line(one.description))
            for part in parts
            for one in part.tools.values()
        ]
        output.table(("tool", "state", "arguments (* needed)", "what it does"), rows)
    ctx.exit(_explain(parts))


def _explain(parts: Iterable[ServerCatalog]) -> int:
    """Say on stderr what the list lacks; gives the exit code."""
    codes: list[int] = []
    for part in parts:
        codes.append(exits.COMPLETE if part.known and part.stale is None else exits.FAILED)
        if part.stale is not None or not part.known:
            output.say(f"{part.name}: {output.clean_line(part.why_unknown())}")
        for left in part.left_out:
            output.say(f"{part.name}: {output.clean_line(left.name)} left out: {output.clean_line(left.reason)}")
    return exits.worst(codes) if len(set(codes)) < 2 else exits.PARTIAL


def _arguments(tool: Tool) -> list[str]:
    needed = _needed(tool)
    return [f"{name}*" if name in needed else name for name in _properties(tool)]


def _properties(tool: Tool) -> dict[str, dict[str, Any]]:
    properties: dict[str, Any] = tool.input_schema.get("properties", {})
    return {name: about if isinstance(about, dict) else {} for name, about in properties.items()}


def _needed(tool: Tool) -> list[str]:
    return tool.input_schema.get("required", [])


def _first_line(text: str) -> str:
    return output.clean_line(text.strip().partition("\n")[0], limit=100)


def _json(tool: Tool) -> dict[str, Any]:
    hints = tool.annotations
    return {
        "server": tool.server,
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "annotations": {
            "read_only": hints.read_only,
            "destructive": hints.destructive,
            "idempotent": hints.idempotent,
            "open_world": hints.open_world,
        },
        "digest": tool.digest,
    }


def _show(tool: Tool) -> None:
    click.echo(tool.address)
    click.echo(output.clean(tool.description))
    needed = _needed(tool)
    rows = [
        (name, _type(about), "yes" if name in needed else "", about.get("description", ""))
        for name, about in _properties(tool).items()
    ]
    output.table(("argument", "type", "needed", "what it is"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = schema.get("type")
    if kind is None and isinstance(schema.get("anyOf"), list):
        return " | ".join(_type(part) for part in schema["anyOf"])
    return "any" if kind is None else str(kind) if isinstance(kind, str) else " | ".join(map(str, kind))
