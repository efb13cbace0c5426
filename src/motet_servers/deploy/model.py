"""What the tools answer: flat, stable fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["deployed", "unchanged", "restarted", "rolled_back", "withdrawn", "failed"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a deployment or rollback did."""

    id: str
    """The same for every call with the same idempotency key."""
    env: str
    requested: str | None
    """The version asked for; null when a withdrawal was."""
    version: str | None
    """What is current now; null: nothing."""
    previous: str | None
    """What was current before this call; give it as `to` to undo."""
    status: Status
    healthy: bool
    url: str | None
    """Where the started service answers, on the target's loopback."""
    health_status: int | None
    health_body: str | None
    checksum: str | None
    reason: str | None
    """Why it failed, and what the log says."""
    switched_back: bool
    """Was the former version put back because the new one failed?"""
    repeated: bool
    """Is this the remembered answer of an earlier call with the same key?"""
    at: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Check:
    """How a target is."""

    env: str
    healthy: bool
    version: str | None
    previous: str | None
    """What a rollback without `to` would go to; null: it would withdraw."""
    running: bool
    url: str | None
    health_status: int | None
    health_body: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What `deploy` would do, without doing any of it."""

    env: str
    version: str
    current: str | None
    previous: str | None
    checksum: str | None
    installed: bool
    """Is the release on the target already?"""
    steps: list[str]
    problems: list[str]
    """What would make it fail; empty: it can go ahead."""
    ready: bool


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """One target."""

    env: str
    kind: Literal["local", "ssh"]
    host: str
    version: str | None
    previous: str | None
    promote_from: str | None
    reason: str | None
    """Why it could not be looked at."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets there are."""

    targets: list[TargetInfo]


@dataclass(frozen=True, slots=True)
class Releases:
    """The versions that can be deployed, and those on the target."""

    env: str
    version: str | None
    previous: str | None
    available: list[str]
    installed: list[str]
    latest: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """One past operation."""

    id: str
    operation: str
    requested: str | None
    version: str | None
    previous: str | None
    status: str
    """`interrupted`: it began and its end was never recorded."""
    reason: str | None
    at: str


@dataclass(frozen=True, slots=True)
class History:
    """Past operations, newest first."""

    env: str
    version: str | None
    previous: str | None
    events: list[Event]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed from a target."""

    env: str
    version: str | None
    previous: str | None
    removed: list[str]
    kept: list[str]


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of a target's process."""

    env: str
    version: str | None
    previous: str | None
    stopped: bool
    """False: nothing was running."""
