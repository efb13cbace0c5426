"""Boundaries: what a server is for, which addresses are its own, and what is wrong with how they are drawn.

A boundary is declared, by the server itself under `capabilities.experimental["motet/boundary"]` or by the configuration
for a third-party server; it is never guessed. `lint` finds what DESIGN §1 calls unsound: a "god server", a foreign
scheme, one credential, database or writable root shown to two servers, and a declaration that differs from what is
listed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal, cast

import re2  # pyright: ignore[reportMissingTypeStubs] - it has none; used in one place

from motet.calls import Json
from motet.catalog.model import Boundary

DECLARED = "motet/boundary"
"""The key under `capabilities.experimental`."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,63}")
_WILD = re.compile(r"\*\*|\*|\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which addresses something claims: `github://acme/**`. `*` stays within one segment, `**` does not."""

    text: str

    def matches(self, uri: str) -> bool:
        """Does it claim this address? Schemes are compared without case."""
        return bool(_matcher(_folded(self.text))(_folded(uri)))

    @property
    def specific(self) -> tuple[bool, int, int]:
        """How specific it is; larger wins: no wildcard, then the longer fixed start, then more fixed characters."""
        first = _WILD.search(self.text)
        fixed = len(_WILD.sub("", self.text))
        return (first is None, first.start() if first else len(self.text), fixed)

    @property
    def scheme(self) -> str:
        """`github`."""
        return scheme_of(self.text)


@lru_cache(maxsize=4096)
def _matcher(text: str) -> Callable[[str], object]:
    """Linear in the address, whatever the pattern. `{name}` of RFC 6570 stays within a segment, `{+name}` does not."""
    first = _WILD.search(text)
    if first is None:
        return lambda uri: uri == text
    if first.group() == "**" and first.end() == len(text):  # nearly every boundary
        fixed = text[: first.start()]
        return lambda uri: uri.startswith(fixed)
    parts: list[str] = []
    end = 0
    for wild in _WILD.finditer(text):
        parts.append(_literal(text[end : wild.start()]))
        word = wild.group()
        parts.append(r"[^/]*" if word == "*" or (word[0] == "{" and word[1:2] not in "+#/?&;.") else r"(?s:.*)")
        end = wild.end()
    parts.append(_literal(text[end:]))
    compiled = re2.compile("".join(parts))  # pyright: ignore[reportUnknownMemberType] - untyped
    return cast("Callable[[str], object]", compiled.fullmatch)  # pyright: ignore[reportUnknownMemberType] - untyped


def _literal(text: str) -> str:
    return "".join(char if char.isalnum() or char in "/_-" else f"\\x{{{ord(char):x}}}" for char in text)


def scheme_of(uri: str) -> str:
    """The scheme, in lower case; empty when there is none."""
    head, colon, _ = uri.partition(":")
    return head.lower() if colon and _SCHEME.fullmatch(head) else ""


def _folded(uri: str) -> str:
    head, colon, rest = uri.partition(":")
    return f"{head.lower()}{colon}{rest}"


def declared_boundary(
    capabilities: Mapping[str, Json], *, clean: Callable[[object], str], allowed: int = 200
) -> Boundary | None:
    """The boundary a server declares in its capabilities, or None. Parts of a wrong shape are left out."""
    experimental = capabilities.get("experimental")
    told: Json = cast("dict[str, Json]", experimental).get(DECLARED) if isinstance(experimental, dict) else None
    if not isinstance(told, dict):
        return None
    told = cast("dict[str, Json]", told)
    uris = tuple(uri for uri in _texts(told.get("uris"), allowed) if scheme_of(uri) and uri.isprintable())
    features = told.get("capabilities")
    return Boundary(
        domain=clean(told.get("domain", "")),
        description=clean(told.get("description", "")),
        uris=uris,
        capabilities=cast("dict[str, Json]", features) if isinstance(features, dict) else {},
        tools=tuple(name for name in _texts(told.get("tools"), 10 * allowed) if name.isprintable()),
        name=clean(told.get("name", "")),
        version=clean(told.get("version", "")),
    )


def configured_boundary(
    declared: Boundary | None,
    *,
    domain: str = "",
    description: str = "",
    schemes: Iterable[str] = (),
    uris: Iterable[str] = (),
) -> Boundary:
    """The boundary as the configuration has it; parts it leaves empty come from what the server declares."""
    base = declared if declared is not None else Boundary(domain="")
    own = (*uris, *(f"{scheme}://**" for scheme in schemes))
    return Boundary(
        domain=domain or base.domain,
        description=description or base.description,
        uris=own or base.uris,
        capabilities=base.capabilities,
        tools=base.tools,
        name=base.name,
        version=base.version,
        declared_by="config",
    )


def _texts(value: Json, limit: int) -> list[str]:
    if not isinstance(value, list):
        return []
    return [one for one in cast("list[Json]", value)[:limit] if isinstance(one, str) and 0 < len(one) <= 500]


# ---- the lint ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a server is given, as far as its configuration shows; values only as digests, never in the clear."""

    credentials: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name of the variable or header -> digest of its value."""
    databases: Mapping[str, str] = field(default_factory=dict[str, str])
    """How it is shown (without its password) -> what it is, normalised."""
    roots: tuple[str, ...] = ()
    """Absolute directories it may write to, without a trailing slash."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One unsound boundary."""

    kind: Literal[
        "god_server", "foreign_scheme", "shared_credential", "shared_database", "shared_root", "mismatch", "undeclared"
    ]
    servers: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the lint looks at, of one server."""

    name: str
    boundary: Boundary | None
    tools: tuple[str, ...]
    uris: tuple[str, ...]
    """Listed resources and templates."""
    exposure: Exposure = Exposure()
    known: bool = True


_VENDORS = frozenset(
    {"github", "gitlab", "bitbucket", "jira", "confluence", "slack", "teams", "discord", "calendar", "gmail", "email"}
    | {"notion", "linear", "trello", "asana", "salesforce", "zendesk", "stripe", "postgres", "mysql", "sqlite"}
    | {"mongodb", "redis", "kubernetes", "k8s", "docker", "aws", "gcp", "azure", "deploy", "sentry", "datadog"}
    | {"filesystem", "database", "db", "files"}
)
_WORD = re.compile(r"[A-Za-z][a-z0-9]*|[A-Z]+")


def lint(servers: Iterable[Drawn]) -> tuple[Finding, ...]:
    """Every unsound boundary among these servers, by server; empty when all are sound."""
    drawn = tuple(servers)
    found = [finding for server in drawn for finding in (*_god(server), *_mismatch(server), *_foreign(server, drawn))]
    found += _shared(drawn, "shared_credential", lambda one: one.exposure.credentials, "the same credential")
    found += _shared(drawn, "shared_database", lambda one: one.exposure.databases, "the same database")
    found += _roots(drawn)
    return tuple(found)


def _god(server: Drawn) -> Iterable[Finding]:
    schemes = sorted({Pattern(uri).scheme for uri in server.boundary.uris} if server.boundary else set())
    if len(schemes) > 1:
        yield Finding("god_server", (server.name,), f"claims {len(schemes)} domains: {', '.join(schemes)}; one each")
        return
    words = {found.group().lower() for tool in server.tools if (found := _WORD.match(tool))}
    vendors = sorted(words & _VENDORS)
    if len(vendors) > 1:
        message = f"its tools serve {len(vendors)} domains ({', '.join(vendors)}); one server each isolates them"
        yield Finding("god_server", (server.name,), message)


def _mismatch(server: Drawn) -> Iterable[Finding]:
    boundary = server.boundary
    if boundary is None or not server.known:
        if server.known:
            yield Finding(
                "undeclared", (server.name,), "declares no boundary; write one under `boundary` in its config"
            )
        return
    if boundary.tools:
        missing = sorted(set(boundary.tools) - set(server.tools))
        extra = sorted(set(server.tools) - set(boundary.tools))
        if missing:
            yield Finding("mismatch", (server.name,), f"declares tools it does not list: {_some(missing)}")
        if extra:
            yield Finding("mismatch", (server.name,), f"lists tools it does not declare: {_some(extra)}")


def _foreign(server: Drawn, drawn: tuple[Drawn, ...]) -> Iterable[Finding]:
    own = {Pattern(uri).scheme for uri in server.boundary.uris} if server.boundary else set[str]()
    for scheme in sorted({scheme_of(uri) for uri in server.uris} - own - {""}):
        owners = tuple(
            other.name
            for other in drawn
            if other is not server
            and other.boundary
            and any(Pattern(uri).scheme == scheme for uri in other.boundary.uris)
        )
        if owners:
            message = f"lists {scheme}:// addresses, which belong to {', '.join(owners)}"
            yield Finding("foreign_scheme", (server.name, *owners), message)
        elif own:
            message = f"lists {scheme}:// addresses outside its boundary"
            yield Finding("foreign_scheme", (server.name,), message)


def _shared(
    drawn: tuple[Drawn, ...],
    kind: Literal["shared_credential", "shared_database"],
    shown: Callable[[Drawn], Mapping[str, str]],
    what: str,
) -> Iterable[Finding]:
    holders: dict[str, dict[str, str]] = defaultdict(dict)
    for server in drawn:
        for label, value in shown(server).items():
            holders[value].setdefault(server.name, label)
    for held in holders.values():
        if len(held) > 1:
            labels = ", ".join(f"{server} ({label})" for server, label in held.items())
            yield Finding(kind, tuple(held), f"{what} is shown to {labels}; give each its own")


def _roots(drawn: tuple[Drawn, ...]) -> Iterable[Finding]:
    roots = sorted({(root + "/", server.name) for server in drawn for root in server.exposure.roots})
    for (outer, first), (inner, second) in pairwise(roots):
        if first != second and inner.startswith(outer):
            yield Finding(
                "shared_root", (first, second), f"the directory {inner[:-1]} is writable for {first} and {second}"
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
