"""The catalog's data: servers, their boundaries, and the definitions they list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from motet.calls import Json


@dataclass(frozen=True, slots=True)
class Boundary:
    """What a server says it is for, or what the configuration says for it."""

    domain: str
    description: str = ""
    uris: tuple[str, ...] = ()
    """Patterns of the addresses it serves, such as `github://acme/**`."""
    capabilities: Mapping[str, Json] = field(default_factory=dict[str, Json])
    tools: tuple[str, ...] = ()
    """Tools it declares; empty: not declared."""
    name: str = ""
    version: str = ""
    declared_by: str = "server"
    """`server` or `config`."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """A tool's hints (None: not given). Believed only of servers marked trusted."""

    title: str | None = None
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """One listed resource."""

    uri: str
    name: str = ""
    description: str = ""
    mime_type: str = ""


@dataclass(frozen=True, slots=True)
class ResourceTemplate:
    """One listed URI template (RFC 6570)."""

    uri_template: str
    name: str = ""
    description: str = ""
    mime_type: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One listed prompt; `arguments` maps each name to whether it is required."""

    name: str
    description: str = ""
    arguments: Mapping[str, bool] = field(default_factory=dict[str, bool])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A listed thing that could not be used, and why. It costs itself, nothing else."""

    name: str
    reason: str
