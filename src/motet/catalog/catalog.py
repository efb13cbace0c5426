"""The catalog: what all servers offer now, what is stale and why, and whose address is whose.

An immutable snapshot without any input or output. A server that is down keeps its last listing, marked stale with the
reason; a server that never listed is in it too, not `known`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Literal, cast

import msgspec

from motet.calls import Json
from motet.catalog.boundary import Drawn, Exposure, Finding, Pattern, lint, scheme_of
from motet.catalog.model import Annotations, Boundary, LeftOut, Prompt, Resource, ResourceTemplate
from motet.catalog.tool import Tool
from motet.errors import Ambiguous, ServerUnavailable, UnknownAddress


@dataclass(frozen=True, slots=True)
class ServerCatalog:
    """What one server offers."""

    name: str
    tools: Mapping[str, Tool] = field(default_factory=dict[str, Tool])
    resources: tuple[Resource, ...] = ()
    templates: tuple[ResourceTemplate, ...] = ()
    prompts: Mapping[str, Prompt] = field(default_factory=dict[str, Prompt])
    boundary: Boundary | None = None
    left_out: tuple[LeftOut, ...] = ()
    """Listed things that cannot be used, and lists that are incomplete."""
    stale: str | None = None
    """Why this is not the present truth (the server is down, or its list could not be fetched again); None: it is."""
    as_of: float = 0.0
    """When it was listed: seconds since the epoch; 0: never."""
    known: bool = False
    """Has it ever been listed?"""
    instructions: str = ""
    server_info: Mapping[str, Json] = field(default_factory=dict[str, Json])
    version: str = ""
    """The protocol revision in use."""

    def why_unknown(self) -> str:
        """One clause for errors about a server that never listed."""
        return self.stale or "it has not been listed yet"


@dataclass(frozen=True)
class Catalog:
    """All servers, by name."""

    servers: Mapping[str, ServerCatalog]

    def server(self, name: str) -> ServerCatalog:
        """One server's part. Raises `UnknownAddress`, with the nearest name."""
        found = self.servers.get(name)
        if found is None:
            raise UnknownAddress(
                f"there is no server `{name}`{_nearest(name, self.servers)}", server="", hint=_known(self.servers)
            )
        return found

    def tool(self, server: str, name: str) -> Tool:
        """One tool. Raises `UnknownAddress`, or `ServerUnavailable` when the server has never been listed."""
        part = self.server(server)
        tool = part.tools.get(name)
        if tool is None:
            raise self._missing(part, "tool", name, part.tools)
        return tool

    def prompt(self, server: str, name: str) -> Prompt:
        """One prompt. Raises like `tool`."""
        part = self.server(server)
        prompt = part.prompts.get(name)
        if prompt is None:
            raise self._missing(part, "prompt", name, part.prompts)
        return prompt

    def address(self, text: str) -> tuple[str, str]:
        """`SERVER.TOOL`, split at the first dot. Raises `UnknownAddress` when it has none or no such server exists."""
        server, dot, name = text.partition(".")
        if not dot or not name:
            raise UnknownAddress(f"`{text}` is no address", server="", hint="write SERVER.TOOL")
        return self.server(server).name, name

    def tools(self) -> Iterator[Tool]:
        """Every tool of every server, stale ones too."""
        for part in self.servers.values():
            yield from part.tools.values()

    def route(self, uri: str, server: str | None = None) -> str:
        """The server that serves `uri`; see `target`."""
        return self.target(uri, server)[0]

    def target(self, uri: str, server: str | None = None) -> tuple[str, str]:
        """Which server serves `uri`, and the address to send it: `ghe=github://acme/x` is (`ghe`, `github://acme/x`).

        The most specific declared boundary wins; only when none claims the address, listed resources and templates are
        looked at. Raises `Ambiguous` naming the candidates, or `UnknownAddress`.
        """
        head, equals, rest = uri.partition("=")
        if equals and ":" not in head and scheme_of(rest):
            server, uri = head, rest
        if server is not None:
            return self.server(server).name, uri
        if not scheme_of(uri) or not uri.isprintable():
            raise UnknownAddress(f"`{uri[:200]}` is no URI", server="", hint="write SCHEME://… or SERVER=SCHEME://…")
        for claims in self._claims:
            owners = _most_specific([*claims.get(scheme_of(uri), ()), *claims.get("", ())], uri)
            if len(owners) == 1:
                return owners[0], uri
            if owners:
                raise Ambiguous(
                    f"`{uri[:200]}` is claimed by {', '.join(owners)}",
                    candidates=owners,
                    hint=f"name one: {owners[0]}={uri[:100]}",
                )
        raise UnknownAddress(
            f"no server claims `{uri[:200]}`{self._near_scheme(uri)}", server="", hint=self._unlisted()
        )

    def lint(self, exposures: Mapping[str, Exposure] | None = None) -> tuple[Finding, ...]:
        """What is unsound about the boundaries (DESIGN §1)."""
        shown = exposures or {}
        return lint(
            Drawn(
                part.name,
                part.boundary,
                tuple(part.tools),
                (*(one.uri for one in part.resources), *(one.uri_template for one in part.templates)),
                shown.get(part.name, Exposure()),
                part.known,
            )
            for part in self.servers.values()
        )

    def with_server(self, part: ServerCatalog) -> Catalog:
        """The same catalog with this part in place of the server's former one."""
        return Catalog({**self.servers, part.name: part})

    def to_json(self) -> dict[str, Json]:
        """Plain JSON from which `from_json` makes the same catalog."""
        return {"motet": 1, "servers": {name: to_json(part) for name, part in self.servers.items()}}

    @staticmethod
    def from_json(told: Mapping[str, Json]) -> Catalog:
        """A remembered catalog, every part of it stale. Raises `ValueError` when it cannot be read."""
        servers = cast("dict[str, Json]", told.get("servers") or {})
        return Catalog({name: from_json(part) for name, part in servers.items()})

    @cached_property
    def _claims(self) -> tuple[_Claims, _Claims]:
        """First what boundaries claim, then what is merely listed."""
        declared: _Claims = {}
        listed: _Claims = {}
        for part in self.servers.values():
            boundary = part.boundary
            for uri in boundary.uris if boundary is not None else ():
                by = "" if boundary is None else boundary.declared_by
                declared.setdefault(scheme_of(uri), []).append((Pattern(uri), part.name, by))
            for uri in (*(one.uri for one in part.resources), *(one.uri_template for one in part.templates)):
                listed.setdefault(scheme_of(uri), []).append((Pattern(uri), part.name, "server"))
        return declared, listed

    def _missing(self, part: ServerCatalog, what: str, name: str, there: Mapping[str, object]) -> Exception:
        if not part.known:
            return ServerUnavailable(f"cannot say whether it has `{name}`: {part.why_unknown()}", server=part.name)
        left = next((one.reason for one in part.left_out if one.name == name), None)
        if left is not None:
            return UnknownAddress(f"{what} `{name}` was left out: {left}", server=part.name)
        return UnknownAddress(
            f"there is no {what} `{name}`{_nearest(name, there)}", server=part.name, hint=_known(there)
        )

    def _near_scheme(self, uri: str) -> str:
        return _nearest(scheme_of(uri), {scheme: None for claims in self._claims for scheme in claims})

    def _unlisted(self) -> str:
        unknown = [part.name for part in self.servers.values() if not part.known]
        if unknown:
            return f"not listed yet: {', '.join(unknown[:10])}; a `boundary` in the config makes its addresses known"
        return "declare one with `boundary` in the config, or name the server: SERVER=URI"


_Claims = dict[str, list[tuple[Pattern, str, str]]]
"""Scheme -> (pattern, server, who declared it); under "" what names no scheme."""


def _most_specific(claims: list[tuple[Pattern, str, str]], uri: str) -> tuple[str, ...]:
    fitting = [(pattern.specific, by == "config", name) for pattern, name, by in claims if pattern.matches(uri)]
    if not fitting:
        return ()
    best = max(fitting)[:2]
    return tuple(sorted({name for specific, by, name in fitting if (specific, by) == best}))


def _nearest(name: str, there: Mapping[str, object]) -> str:
    near = get_close_matches(name, [*there], n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else ""


def _known(there: Mapping[str, object]) -> str:
    names = sorted(there)
    return f"there are: {', '.join(names[:20])}{', …' if len(names) > 20 else ''}" if names else "there are none"


# ---- remembered ------------------------------------------------------------------------------------------------------


class _RememberedTool(msgspec.Struct, omit_defaults=True):
    name: str
    input: dict[str, Json]
    title: str = ""
    description: str = ""
    output: dict[str, Json] | None = None
    annotations: Annotations | None = None
    meta: dict[str, Json] = {}
    digest: str = ""
    parse: Literal["schema", "json"] = "schema"


class _Remembered(msgspec.Struct, omit_defaults=True):
    name: str
    tools: list[_RememberedTool] = []
    resources: list[Resource] = []
    templates: list[ResourceTemplate] = []
    prompts: list[Prompt] = []
    boundary: Boundary | None = None
    left_out: list[LeftOut] = []
    as_of: float = 0.0
    instructions: str = ""
    server_info: dict[str, Json] = {}
    version: str = ""


def to_json(part: ServerCatalog) -> Json:
    """One server's part as plain JSON."""
    return msgspec.to_builtins(
        _Remembered(
            name=part.name,
            tools=[
                _RememberedTool(
                    name=tool.name,
                    input=dict(tool.input_schema),
                    title=tool.title,
                    description=tool.description,
                    output=None if tool.output_schema is None else dict(tool.output_schema),
                    annotations=tool.annotations,
                    meta=dict(tool.meta),
                    digest=tool.digest,
                    parse=tool.parse,
                )
                for tool in part.tools.values()
            ],
            resources=list(part.resources),
            templates=list(part.templates),
            prompts=list(part.prompts.values()),
            boundary=part.boundary,
            left_out=list(part.left_out),
            as_of=part.as_of,
            instructions=part.instructions,
            server_info=dict(part.server_info),
            version=part.version,
        )
    )


def from_json(told: Json) -> ServerCatalog:
    """One remembered part: known, and stale. Raises `ValueError` when it cannot be read."""
    try:
        kept = msgspec.convert(told, _Remembered)
    except msgspec.ValidationError as why:
        raise ValueError(f"not a remembered catalog: {why}") from None
    tools = {
        tool.name: Tool(
            server=kept.name,
            name=tool.name,
            title=tool.title,
            description=tool.description,
            input_schema=tool.input,
            output_schema=tool.output,
            annotations=tool.annotations or Annotations(),
            meta=tool.meta,
            digest=tool.digest,
            parse=tool.parse,
        )
        for tool in kept.tools
    }
    return ServerCatalog(
        name=kept.name,
        tools=tools,
        resources=tuple(kept.resources),
        templates=tuple(kept.templates),
        prompts={prompt.name: prompt for prompt in kept.prompts},
        boundary=kept.boundary,
        left_out=tuple(kept.left_out),
        stale="remembered from an earlier run",
        as_of=kept.as_of,
        known=True,
        instructions=kept.instructions,
        server_info=kept.server_info,
        version=kept.version,
    )


def stale(part: ServerCatalog, reason: str) -> ServerCatalog:
    """The same part, no longer the present truth."""
    return replace(part, stale=reason)
