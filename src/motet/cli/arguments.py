"""Arguments as people type them: `key=text` and `key:=json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click


def pairs(texts: Iterable[str], *, what: str = "argument") -> dict[str, Any]:
    """`["key=PROJ-42", "limit:=5"]` as `{"key": "PROJ-42", "limit": 5}`. Raises click.BadParameter naming the piece."""
    found: dict[str, Any] = {}
    for text in texts:
        key, value = _pair(text, what)
        if key in found:
            raise click.BadParameter(f"{what} {key!r} is given twice")
        found[key] = value
    return found


def _pair(text: str, what: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.rstrip(":"):
        raise click.BadParameter(f"{text!r} is no {what}: write key=text, or key:=json for numbers, booleans and lists")
    if not key.endswith(":"):
        return key, value
    try:
        return key[:-1], json.loads(value)
    except (json.JSONDecodeError, RecursionError) as why:
        raise click.BadParameter(
            f"{key[:-1]}:={value} is not valid JSON ({why}); for plain text write key=text"
        ) from None


def address(text: str) -> tuple[str, str]:
    """`SERVER.TOOL` split at the first dot. Raises click.BadParameter."""
    server, dot, tool = text.partition(".")
    if not (server and dot and tool):
        raise click.BadParameter(f"{text!r} is no tool: write SERVER.TOOL (motet tools lists them)")
    return server, tool
