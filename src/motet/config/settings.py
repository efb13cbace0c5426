"""The shape of a configuration file: pydantic at the door, unknown keys refused.

These models only check and read values; `loading` turns them into the frozen `model` the rest of the code uses.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from motet.config.values import duration, size

Duration = Annotated[float, BeforeValidator(duration)]
Size = Annotated[int, BeforeValidator(size)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class Strict(BaseModel):
    """No key that is not known, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeoutTable(Strict):
    """`timeout`: a duration for one attempt, or a table of bounds."""

    connect: Duration | None = None
    call: Duration | None = None
    total: Duration | None = None
    idle: Duration | None = None
    close: Duration | None = None
    tools: dict[str, Duration] = {}

    @model_validator(mode="before")
    @classmethod
    def one_duration(cls, value: Any) -> Any:
        """A plain duration is the one for calls."""
        return cast("Any", value) if isinstance(value, dict) else {"call": value}


class ToolRetry(Strict):
    """How often one tool's calls may be tried."""

    attempts: Count | None = None
    base: Duration | None = None
    cap: Duration | None = None


class RetryTable(ToolRetry):
    """`retry`: how often calls may be tried, and which may be repeated at all."""

    idempotent: list[str] = []
    read_only: list[str] = []
    keyed: dict[str, str] = {}
    on_tool_error: list[str] = []
    tools: dict[str, ToolRetry] = {}
    budget: Share | None = None
    budget_min: Annotated[int, Field(ge=0)] | None = None


class BreakerTable(Strict):
    """`breaker`: when a server is left alone for a while."""

    calls: Count | None = None
    failure_rate: Share | None = None
    window: Duration | None = None
    open_for: Duration | None = None
    probes: Count | None = None
    enabled: bool | None = None


class LimitsTable(Strict):
    """`limits`: caps on what a server may send."""

    answer: Size | None = None
    tools: Count | None = None
    pages: Count | None = None
    depth: Count | None = None
    queue: Annotated[int, Field(ge=0)] | None = None
    tool_concurrency: dict[str, Count] = {}


class BoundaryTable(Strict):
    """`boundary`: what a third-party server is for."""

    domain: str = ""
    description: str = ""
    schemes: list[str] = []
    uris: list[str] = []


class ToolsTable(Strict):
    """`tools`: which tools may be called."""

    allow: list[str] = ["*"]
    deny: list[str] = []
    approve: list[str] = []


class AuthTable(Strict):
    """`auth`: OAuth for a server behind a URL."""

    client_id: str | None = None
    client_secret: str | None = None
    scopes: list[str] = []
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    redirect_port: Annotated[int, Field(ge=0, le=65535)] = 0
    issuer: str | None = None
    client_metadata_url: str | None = None


class Shared(Strict):
    """What `[defaults]` and a server have in common."""

    timeout: TimeoutTable = TimeoutTable()
    retry: RetryTable = RetryTable()
    breaker: BreakerTable = BreakerTable()
    limits: LimitsTable = LimitsTable()
    concurrency: Count | None = None
    trusted: bool | None = None
    reap: Literal["auto", "bwrap", "group", "none"] | None = None
    lazy: bool | None = None
    idle_stop: Duration | None = None


class ServerTable(Shared):
    """`[servers.NAME]`."""

    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    type: Literal["stdio", "http", "streamable-http", "streamable_http", "sse"] | None = None
    auth: AuthTable | None = None
    required: bool = False
    enabled: bool = True
    boundary: BoundaryTable | None = None
    tools: ToolsTable = ToolsTable()
    secrets: dict[str, str] = {}
    era: Literal["auto", "modern", "legacy"] = "auto"
    parse: Literal["schema", "json"] = "schema"
    object: Any = None
    """A server object of this process (only in a mapping)."""


class File(Strict):
    """The whole of a `motet.toml`, or of a mapping."""

    include: list[str] = []
    defaults: Shared = Shared()
    servers: Any = {}
    """Each entry is checked on its own, as a `ServerTable`, once everything that overlays it is known."""
    secrets: dict[str, str] = {}
    state: str | None = None
    keep_runs: Duration | None = None
    parallel: Count | None = None
