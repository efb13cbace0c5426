"""What a server lists, read entry by entry: each validated alone, so a bad one costs itself and is named.

Entries arrive as plain JSON from a stranger. The functions here never raise on their account: a result is a usable
definition or a `LeftOut` with its reason. They work one entry at a time so that the caller can give way in between.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar, cast

from motet.calls import Json
from motet.catalog.model import Annotations, LeftOut, Prompt, Resource, ResourceTemplate
from motet.catalog.schema import BadSchema, Schema, bounded
from motet.catalog.tool import Tool, digest_of

Clean = Callable[[object], str]
"""Makes text of a server harmless: no escapes, controls or invisible characters."""
Entry = TypeVar("Entry")

_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
"""The specification's `[A-Za-z0-9_.-]{1,128}`, and the two separators that real servers use."""


def read_tools(
    server: str,
    entries: Iterable[Json],
    *,
    clean: Clean,
    limit: int = 2000,
    parse: Literal["schema", "json"] = "schema",
) -> Iterator[Tool | LeftOut]:
    """Each listed tool, usable or left out. After `limit` tools one `LeftOut` stands for the rest."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if index >= limit:
            yield LeftOut("…", f"more than {limit} tools; raise `limits.tools` of this server to have the rest")
            return
        tool = _tool(server, entry, index, clean, parse)
        if isinstance(tool, Tool) and tool.name in seen:
            tool = LeftOut(tool.name, "listed twice; the first one counts")
        seen.add(tool.name)
        yield tool


def _tool(server: str, entry: Json, index: int, clean: Clean, parse: Literal["schema", "json"]) -> Tool | LeftOut:
    name = _name(entry)
    if name is None:
        return _unusable(entry, index, clean, "name")
    told = cast("dict[str, Json]", entry)
    if not _NAME.fullmatch(name):
        return LeftOut(clean(name)[:128], "its name holds characters a tool name cannot have")
    schema, output = told.get("inputSchema"), told.get("outputSchema")
    if not isinstance(schema, dict):
        return LeftOut(name, "inputSchema is missing" if schema is None else "inputSchema is no JSON object")
    if output is not None and not isinstance(output, dict):
        return LeftOut(name, "outputSchema is no JSON object")
    schema, output = cast("Schema", schema), cast("Schema | None", output)
    if schema.get("type") != "object":
        return LeftOut(name, 'inputSchema does not say `"type": "object"`')
    meta: Json = told.get("_meta")
    try:
        bounded(told)
        tool = Tool(
            server=server,
            name=name,
            title=clean(told.get("title") or ""),
            description=clean(told.get("description") or ""),
            input_schema=schema,
            output_schema=output,
            annotations=_annotations(told.get("annotations"), clean),
            meta=cast("dict[str, Json]", meta) if isinstance(meta, dict) else {},
            digest=digest_of(told),
            parse=parse,
        )
        tool.compile()
    except BadSchema as why:
        return LeftOut(name, f"its schema cannot be used: {clean(str(why))}")
    except (ValueError, TypeError) as why:  # a text that is no Unicode, an integer past 64 bits
        return LeftOut(name, f"its definition cannot be read: {clean(str(why))}")
    return tool


def _annotations(told: Json, clean: Clean) -> Annotations:
    if not isinstance(told, dict):
        return Annotations()
    hints = cast("dict[str, Json]", told)

    def hint(word: str) -> bool | None:
        value = hints.get(word)
        return value if isinstance(value, bool) else None

    return Annotations(
        title=clean(hints["title"]) if isinstance(hints.get("title"), str) else None,
        read_only=hint("readOnlyHint"),
        destructive=hint("destructiveHint"),
        idempotent=hint("idempotentHint"),
        open_world=hint("openWorldHint"),
    )


def read_resources(entries: Iterable[Json], *, clean: Clean, limit: int = 10_000) -> Iterator[Resource | LeftOut]:
    """Each listed resource, usable or left out."""

    def build(uri: str, told: dict[str, Json]) -> Resource:
        return Resource(uri, *_about(told, clean))

    return _read(entries, "uri", build, clean, limit)


def read_templates(
    entries: Iterable[Json], *, clean: Clean, limit: int = 10_000
) -> Iterator[ResourceTemplate | LeftOut]:
    """Each listed resource template, usable or left out."""

    def build(uri: str, told: dict[str, Json]) -> ResourceTemplate:
        return ResourceTemplate(uri, *_about(told, clean))

    return _read(entries, "uriTemplate", build, clean, limit)


def read_prompts(entries: Iterable[Json], *, clean: Clean, limit: int = 10_000) -> Iterator[Prompt | LeftOut]:
    """Each listed prompt, usable or left out."""

    def build(name: str, told: dict[str, Json]) -> Prompt:
        wanted: dict[str, bool] = {}
        arguments: Json = told.get("arguments")
        for argument in cast("list[Json]", arguments) if isinstance(arguments, list) else []:
            label = _name(argument)
            if label is not None:
                wanted[clean(label)] = cast("dict[str, Json]", argument).get("required") is True
        return Prompt(name, clean(told.get("description") or ""), wanted)

    return _read(entries, "name", build, clean, limit)


def _read(
    entries: Iterable[Json], key: str, build: Callable[[str, dict[str, Json]], Entry], clean: Clean, limit: int
) -> Iterator[Entry | LeftOut]:
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        if index >= limit:
            yield LeftOut("…", f"more than {limit} entries")
            return
        value = _name(entry, key)
        if value is None or len(value) > 8192:
            yield _unusable(entry, index, clean, key)
        elif not value.isprintable() or clean(value)[: len(value)] != value[:2000]:
            yield LeftOut(clean(value)[:128], f"its {key} holds control or invisible characters")
        elif value not in seen:
            seen.add(value)
            yield build(value, cast("dict[str, Json]", entry))


def _about(told: dict[str, Json], clean: Clean) -> tuple[str, str, str]:
    return clean(told.get("name") or ""), clean(told.get("description") or ""), clean(told.get("mimeType") or "")


def _name(entry: Json, key: str = "name") -> str | None:
    value: Json = cast("dict[str, Json]", entry).get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, str) and value else None


def _unusable(entry: Json, index: int, clean: Clean, key: str) -> LeftOut:
    if not isinstance(entry, dict):
        return LeftOut(f"#{index}", "the entry is no JSON object")
    label = _name(cast("Json", entry))
    return LeftOut(clean(label)[:128] if label else f"#{index}", f"the entry has no usable `{key}`")
