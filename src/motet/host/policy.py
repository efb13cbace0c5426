"""What may be called, what must be approved, what may be sent twice: pure decisions over the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import cast

from motet.calls import Json
from motet.catalog.tool import Tool
from motet.config.model import Policy, RetrySettings, ServerConfig

KEY_ARGUMENT = "idempotency_key"
"""A tool that takes an argument of this name declares that it honours it."""


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Is `name` one of these (`*` patterns)? Case counts."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def refusal(policy: Policy, tool: str) -> str | None:
    """Why this tool may not be called, or None. Deny beats allow."""
    if matches(tool, policy.deny):
        return f"`{tool}` is denied by `tools.deny`"
    if not matches(tool, policy.allow):
        return f"`{tool}` is not in `tools.allow`"
    return None


def key_argument(tool: Tool | None, name: str, settings: RetrySettings) -> str | None:
    """The argument that carries this tool's idempotency key: as configured, else as the tool declares."""
    for pattern, argument in settings.keyed.items():
        if fnmatchcase(name, pattern):
            return argument
    properties: Json = {} if tool is None else tool.input_schema.get("properties")
    if isinstance(properties, dict) and KEY_ARGUMENT in cast("dict[str, Json]", properties):
        return KEY_ARGUMENT
    return None


def read_only(config: ServerConfig, tool: Tool | None, name: str) -> bool:
    """Does this tool change nothing? By our configuration, or by the hint of a trusted server."""
    hinted = config.trusted and tool is not None and bool(tool.annotations.read_only)
    return hinted or matches(name, config.retry.read_only)


def idempotent(config: ServerConfig, tool: Tool | None, name: str) -> bool:
    """Is doing it twice doing it once, whatever the arguments? Decided as above."""
    hinted = config.trusted and tool is not None and bool(tool.annotations.idempotent)
    return hinted or matches(name, config.retry.idempotent)


def keyed(argument: str, arguments: Mapping[str, Json]) -> bool:
    """Do these arguments carry an idempotency key?"""
    value: Json = arguments.get(argument)
    return isinstance(value, str | int) and value != "" and not isinstance(value, bool)
