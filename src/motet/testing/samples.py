"""A value that fits a JSON Schema: what a mocked tool answers when nobody said what it should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from motet.calls import Json

FORMATS: Final[Mapping[str, str]] = {
    "uri": "https://example.org/sample",
    "url": "https://example.org/sample",
    "email": "someone@example.org",
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
}
DEPTH: Final = 12
_EMPTY: Final[Mapping[str, Any]] = {}


def sample(schema: Mapping[str, Any] | None, *, name: str = "sample") -> Json:
    """The plainest value that fits `schema`: every property filled, every list with one item. None: text.

    `name` becomes the text where nothing says more. Patterns and remote references are beyond it.
    """
    return _sample(schema if schema is not None else {"type": "string"}, schema or {}, name, DEPTH)


def _sample(schema: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int) -> Json:
    schema = _resolved(schema, root)
    if (given := _given(schema)) is not None:
        return given
    match _kind(schema):
        case "object":
            properties: Mapping[str, Any] = schema.get("properties", _EMPTY) if depth else _EMPTY
            return {key: _sample(about, root, key, depth - 1) for key, about in properties.items()}
        case "array":
            items: Mapping[str, Any] = schema.get("items", _EMPTY)
            return [_sample(items, root, name, depth - 1)] * max(1, schema.get("minItems", 1)) if depth else []
        case "integer":
            return int(max(1, schema.get("minimum", 1)))
        case "number":
            return float(max(1, schema.get("minimum", 1)))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return FORMATS.get(schema.get("format", ""), name).ljust(schema.get("minLength", 0), "x")


def _given(schema: Mapping[str, Any]) -> Json:
    """A value the schema itself names, if there is one."""
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    chosen: Json = schema.get("enum") or schema.get("examples")
    return chosen[0] if chosen else None


def _kind(schema: Mapping[str, Any]) -> str:
    kind: Json = schema.get("type")
    if isinstance(kind, list):
        return next((one for one in cast("list[str]", kind) if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind local references and alternatives: the first that is not null."""
    for _ in range(DEPTH):
        if isinstance(pointer := schema.get("$ref"), str) and pointer.startswith("#/"):
            target: Any = root
            for part in pointer[2:].split("/"):
                key = part.replace("~1", "/").replace("~0", "~")
                target = cast("Mapping[str, Any]", target).get(key, {}) if isinstance(target, Mapping) else {}
            schema = cast("Mapping[str, Any]", target)
        elif options := schema.get("anyOf") or schema.get("oneOf"):
            rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
            choice = next((one for one in options if one.get("type") != "null"), options[0])
            schema = {**rest, **choice}
        elif parts := schema.get("allOf"):
            rest = {key: value for key, value in schema.items() if key != "allOf"}
            schema = {**rest, **{key: value for part in parts for key, value in _resolved(part, root).items()}}
        else:
            break
    return schema
