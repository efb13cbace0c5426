"""The settings of an orchestrator and its servers, as the rest of the code sees them: frozen, complete, checked.

Durations are seconds, sizes are bytes. Defaults are DESIGN's: 30 s to connect and per call, 3 attempts with full
jitter from 0.2 to 8 s, a breaker that opens at half of at least 5 calls in 30 s, 8 calls in flight and 64 queued.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from motet.calls import Retry
from motet.resilience.breaker import BreakerSettings

MIB = 1 << 20
DEFAULT_PARALLEL = 64


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds in seconds."""

    connect: float = 30.0
    """Spawn, version negotiation and first listing together."""
    call: float = 30.0
    """One attempt of a call."""
    total: float | None = None
    """All attempts and back-offs of a call; None: `call` times the attempts plus the longest back-offs."""
    idle: float | None = None
    """Seconds without progress after which an attempt ends; progress extends it, never the attempt's own bound."""
    close: float = 5.0
    tools: Mapping[str, float] = field(default_factory=dict[str, float])
    """Per tool, in place of `call`."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """Which calls may be repeated, and how often."""

    policy: Retry = field(default_factory=Retry)
    idempotent: frozenset[str] = frozenset()
    """Tools that may be repeated though they write (`*` patterns allowed)."""
    read_only: frozenset[str] = frozenset()
    """Tools that only read (`*` patterns allowed)."""
    keyed: Mapping[str, str] = field(default_factory=dict[str, str])
    """Tool -> the argument that carries an idempotency key."""
    on_tool_error: frozenset[str] = frozenset()
    """Tools whose `isError` may be transient."""
    tools: Mapping[str, Retry] = field(default_factory=dict[str, Retry])
    """Per tool, in place of `policy`."""
    budget: float = 0.1
    """Retries allowed as a share of the last minute's calls …"""
    budget_min: int = 6
    """… but never fewer than this many a minute."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what a server may send, and on how much is asked of it at once."""

    answer: int = 16 * MIB
    tools: int = 2000
    pages: int = 100
    depth: int = 128
    concurrency: int = 8
    queue: int = 64
    tool_concurrency: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Policy:
    """Which tools of a server may be called (`*` patterns). Deny beats allow; approve asks a person first."""

    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundaryConfig:
    """The boundary of a third-party server, declared for it. Empty parts are taken from what it declares itself."""

    domain: str = ""
    description: str = ""
    schemes: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StdioTransport:
    """A child process that speaks MCP on stdin and stdout."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Everything it gets beside PATH, HOME, LANG and the like; never shown."""
    cwd: str | None = None


@dataclass(frozen=True, slots=True)
class HttpTransport:
    """A server behind a URL: streamable HTTP, or legacy SSE when asked for."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    kind: Literal["http", "sse"] = "http"
    auth: OAuth | None = None


@dataclass(frozen=True, slots=True)
class OAuth:
    """How to get a token: client credentials without a person, or an authorization code with one."""

    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    redirect_port: int = 0
    issuer: str | None = None
    """The authorization server that client id and secret belong to; None: the one that discovery names."""
    client_metadata_url: str | None = None
    """An `https` URL that describes this client, used as its id where the authorization server takes that."""


@dataclass(frozen=True, slots=True)
class InProcessTransport:
    """A FastMCP or `mcp` server object in this very process: for tests, no isolation."""

    server: Any


Transport = StdioTransport | HttpTransport | InProcessTransport


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One configured server."""

    name: str
    transport: Transport
    timeout: Timeouts = Timeouts()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    limits: Limits = Limits()
    policy: Policy = Policy()
    boundary: BoundaryConfig | None = None
    required: bool = False
    trusted: bool = False
    """Are its annotations believed, and its changed definitions accepted?"""
    enabled: bool = True
    lazy: bool = False
    """Start on the first call."""
    idle_stop: float | None = None
    """Stop after so many seconds without a call; the next call starts it again."""
    reap: Literal["auto", "bwrap", "group", "none"] = "auto"
    era: Literal["auto", "modern", "legacy"] = "auto"
    parse: Literal["schema", "json"] = "schema"
    """`json`: a schema `result: string` that holds a JSON object or array is parsed (presets for known servers)."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Exact values to be replaced wherever they show up."""
    source: str = ""
    """Where it was configured: `file:line`, or empty for a mapping."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration."""

    servers: Mapping[str, ServerConfig]
    files: tuple[str, ...] = ()
    """The files it came from, outermost first."""
    state: str | None = None
    """Directory for what is remembered between runs (definitions, eras, journal). None: nothing is."""
    keep_runs: float | None = None
    """Seconds after their end at which runs are forgotten, whenever another one begins. None: they are kept."""
    parallel: int = DEFAULT_PARALLEL
    """Calls in flight over all servers in one run."""
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Named secrets that a workflow's `secret` input may refer to."""
