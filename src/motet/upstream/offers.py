"""From what a server lists to its part of the catalog: entry by entry, giving way to others every few milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import perf_counter
from typing import TypeVar

from motet.catalog.boundary import configured_boundary, declared_boundary
from motet.catalog.catalog import ServerCatalog
from motet.catalog.listing import Clean, read_prompts, read_resources, read_templates, read_tools
from motet.catalog.model import Boundary, LeftOut, Prompt
from motet.catalog.tool import Tool
from motet.config.model import ServerConfig
from motet.upstream.connection import Connection, Listing
from motet.upstream.sanitise import clean

SLICE = 0.005
"""Seconds of reading before others get a turn."""

Entry = TypeVar("Entry")


async def read_listing(
    config: ServerConfig, connection: Connection, listing: Listing, *, known: ServerCatalog, now: float
) -> ServerCatalog:
    """The server's part of the catalog. Tools that are as in `known` are the very same objects, checked only once.

    `now`: seconds since the epoch. Never raises on account of what is listed: what cannot be used is `left_out`.
    """

    def text(said: object) -> str:
        return clean(said, secrets=config.secrets)

    left_out = [LeftOut(name, text(why)) for name, why in listing.troubles.items()]
    tools: dict[str, Tool] = {}
    read = read_tools(config.name, listing.tools, clean=text, limit=config.limits.tools, parse=config.parse)
    for tool in await _giving_way(read):
        if isinstance(tool, LeftOut):
            left_out.append(tool)
        else:
            before = known.tools.get(tool.name)
            tools[tool.name] = before if before is not None and before.digest == tool.digest else tool
    resources = await _giving_way(read_resources(listing.resources, clean=text))
    templates = await _giving_way(read_templates(listing.templates, clean=text))
    prompts = await _giving_way(read_prompts(listing.prompts, clean=text))
    left_out += [one for one in (*resources, *templates, *prompts) if isinstance(one, LeftOut)]
    return ServerCatalog(
        name=config.name,
        tools=tools,
        resources=tuple(one for one in resources if not isinstance(one, LeftOut)),
        templates=tuple(one for one in templates if not isinstance(one, LeftOut)),
        prompts={one.name: one for one in prompts if isinstance(one, Prompt)},
        boundary=_boundary(config, connection, text),
        left_out=tuple(left_out),
        as_of=now,
        known=True,
        instructions=connection.instructions,
        server_info=connection.server_info,
        version=connection.version,
    )


async def _giving_way(entries: Iterable[Entry]) -> list[Entry]:
    """All of them; what is measured is our own work, so on the real clock."""
    read: list[Entry] = []
    until = perf_counter() + SLICE
    for entry in entries:
        read.append(entry)
        if perf_counter() > until:
            await asyncio.sleep(0)
            until = perf_counter() + SLICE
    return read


def _boundary(config: ServerConfig, connection: Connection, text: Clean) -> Boundary | None:
    declared = declared_boundary(connection.capabilities, clean=text)
    ours = config.boundary
    if ours is None:
        return declared
    return configured_boundary(
        declared, domain=ours.domain, description=ours.description, schemes=ours.schemes, uris=ours.uris
    )
