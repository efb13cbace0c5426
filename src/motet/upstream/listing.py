"""Fetching what a server lists: every page, within bounds, each entry alone, never long at a time.

A page is scanned into raw entries first (one entry that cannot be read costs itself), and entries are decoded in
slices, so that a list of megabytes does not hold the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import orjson

from motet.calls import Json
from motet.config.model import Limits
from motet.errors import CallError, ProtocolError
from motet.upstream.answers import Reader, repaired
from motet.upstream.connection import Listing
from motet.upstream.mirror import HeaderMap
from motet.upstream.sanitise import clean_line

Fetch = Callable[[str, dict[str, Json]], Awaitable[msgspec.Raw]]

SLICE = 256 * 1024
"""Bytes decoded before others get a turn."""


class _Page(msgspec.Struct, rename="camel", gc=False):
    tools: list[msgspec.Raw] | None = None
    resources: list[msgspec.Raw] | None = None
    resource_templates: list[msgspec.Raw] | None = None
    prompts: list[msgspec.Raw] | None = None
    next_cursor: str | None = None


_read_page = msgspec.json.Decoder(_Page).decode


@dataclass(slots=True)
class _Gathered:
    entries: list[Json] = field(default_factory=list[Any])
    trouble: str = ""
    error: CallError | None = None


async def collect(
    fetch: Fetch, reader: Reader, capabilities: Mapping[str, Json], limits: Limits, *, mirrored: bool
) -> tuple[Listing, dict[str, HeaderMap]]:
    """Every list the server says it has, and which tool arguments are `mirrored` into headers (2026-07-28).

    Raises:
        CallError: the first page of `tools/list` could not be had.

    """
    wanted: list[tuple[str, str, str]] = []
    if "tools" in capabilities:
        wanted.append(("tools", "tools/list", "tools"))
    if "resources" in capabilities:
        wanted.append(("resources", "resources/list", "resources"))
        wanted.append(("templates", "resources/templates/list", "resource_templates"))
    if "prompts" in capabilities:
        wanted.append(("prompts", "prompts/list", "prompts"))
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(_one(fetch, reader, limits, method, key)) for name, method, key in wanted}
    found = {name: task.result() for name, task in tasks.items()}
    tools = found.get("tools") or _Gathered()
    if tools.error is not None and not tools.entries:
        raise tools.error
    maps: dict[str, HeaderMap] = {}
    if mirrored:
        tools.entries, maps, left_out = _mirrored(tools.entries)
        tools.trouble = "; ".join(part for part in (tools.trouble, left_out) if part)
    parts = {name: tuple(gathered.entries) for name, gathered in found.items()}
    troubles = {name: gathered.trouble for name, gathered in found.items() if gathered.trouble}
    return Listing(**parts, troubles=troubles), maps


async def _one(fetch: Fetch, reader: Reader, limits: Limits, method: str, key: str) -> _Gathered:
    """One list, page by page; never raises CallError, says what is missing instead."""
    got = _Gathered()
    cursor: str | None = None
    seen: set[str] = set()
    size = 0
    for _ in range(limits.pages):
        try:
            raw = await fetch(method, {} if cursor is None else {"cursor": cursor})
            page = _page(raw, reader, method)
        except CallError as error:
            _unfinished(got, error, method, first=cursor is None)
            return got
        entries = cast("list[msgspec.Raw] | None", getattr(page, key))
        if entries is None:
            got.error = reader.unusable(f"{method} answered without a list")
            got.trouble = got.error.message
            return got
        size += memoryview(raw).nbytes
        room = limits.tools - len(got.entries)
        await _decode(entries[:room], got)
        if len(entries) > room or (len(entries) == room and page.next_cursor):
            got.trouble = f"cut off at {limits.tools} entries (limits.tools)"
            return got
        if size > limits.answer:
            got.trouble = f"cut off at {limits.answer} bytes (limits.answer)"
            return got
        cursor = page.next_cursor
        if not cursor:
            return got
        if cursor in seen:
            got.trouble = f"{method} repeats the cursor {clean_line(cursor, limit=60)}: stopped there"
            return got
        seen.add(cursor)
    got.trouble = f"cut off after {limits.pages} pages (limits.pages)"
    return got


def _page(raw: msgspec.Raw, reader: Reader, method: str) -> _Page:
    try:
        return _read_page(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as first:
        better = repaired(bytes(memoryview(raw))) if memoryview(raw).nbytes < SLICE else None
        if better is not None:
            try:
                return _read_page(better)
            except (msgspec.MsgspecError, RecursionError):
                pass
        raise reader.unusable(f"{method} cannot be read: {first}") from None


def _unfinished(got: _Gathered, error: CallError, method: str, *, first: bool) -> None:
    if isinstance(error, ProtocolError) and error.code == -32601 and first and method != "tools/list":
        return  # declared, but not there: an empty list
    got.error = error
    got.trouble = error.message


async def _decode(entries: list[msgspec.Raw], got: _Gathered) -> None:
    done = 0
    for entry in entries:
        view = memoryview(entry)
        done += view.nbytes
        if done > SLICE:
            done = 0
            await asyncio.sleep(0)
        try:
            got.entries.append(orjson.loads(view))
        except orjson.JSONDecodeError:
            better = repaired(bytes(view))
            got.entries.append(None if better is None else orjson.loads(better))


def _marked(schema: Json) -> bool:
    """Does it speak of headers? One that is nested too deep to be looked through is left for the catalog to refuse."""
    try:
        return b'"x-mcp-header"' in orjson.dumps(schema)
    except TypeError:
        return False


def _mirrored(tools: list[Json]) -> tuple[list[Json], dict[str, HeaderMap], str]:
    """The tools whose `x-mcp-header` marks are valid (others must be dropped), their header maps, what was dropped."""
    kept: list[Json] = []
    maps: dict[str, HeaderMap] = {}
    dropped: list[str] = []
    for tool in tools:
        fields = cast("dict[str, Json]", tool) if isinstance(tool, dict) else {}
        schema = fields.get("inputSchema")
        if not isinstance(schema, dict) or not _marked(schema):
            kept.append(tool)
            continue
        from mcp.shared.inbound import find_invalid_x_mcp_header, x_mcp_header_map

        if (why := find_invalid_x_mcp_header(schema)) is not None:
            dropped.append(f"{clean_line(fields.get('name'), limit=64)} left out: {clean_line(why)}")
            continue
        kept.append(tool)
        maps[str(fields.get("name"))] = x_mcp_header_map(schema)
    return kept, maps, "; ".join(dropped)
