"""What observers are told: one stream, from which live view, logs, metrics and traces are made.

An `Emit` is a plain function that must not block and must not raise. Nothing here is read back by the code that emits
it: decisions never depend on an observer. Texts from servers are sanitised before they get here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from motet.errors import Sent

State = Literal["connecting", "ready", "degraded", "needs_auth", "down", "parked", "disabled", "idle"]
"""What a server is, shown everywhere by these words (`idle`: configured lazy, not started)."""


class CallStarted(msgspec.Struct, frozen=True, gc=False):
    """A call was let in."""

    at: float
    server: str
    method: str
    name: str


class AttemptFailed(msgspec.Struct, frozen=True, gc=False):
    """One attempt failed; `again_in` is the back-off in seconds when it will be tried again, else None."""

    at: float
    server: str
    name: str
    attempt: int
    kind: str
    message: str
    sent: Sent
    again_in: float | None


class CallSettled(msgspec.Struct, frozen=True, gc=False):
    """A call has its outcome. `kind` is `done`, `asked`, or the error's kind."""

    at: float
    server: str
    method: str
    name: str
    kind: str
    took: float
    attempts: int
    sent: Sent = "yes"


class ServerChanged(msgspec.Struct, frozen=True, gc=False):
    """A server has another state."""

    at: float
    server: str
    state: State
    reason: str = ""


class CatalogChanged(msgspec.Struct, frozen=True, gc=False):
    """A server's part of the catalog is another one now."""

    at: float
    server: str
    tools: int
    stale: bool = False


class Noticed(msgspec.Struct, frozen=True, gc=False):
    """Something worth a line: noise on stdout, a tool left out, a late answer, a log message of a server."""

    at: float
    server: str
    what: str
    message: str
    count: int = 1


class RunChanged(msgspec.Struct, frozen=True, gc=False):
    """A run has another status."""

    at: float
    run: str
    workflow: str
    status: str


class StepChanged(msgspec.Struct, frozen=True, gc=False):
    """A step of a run has another state. `item` is the index in a `foreach`."""

    at: float
    run: str
    step: str
    status: str
    item: int | None = None
    phase: Literal["step", "undo", "finally"] = "step"
    server: str | None = None
    message: str = ""
    attempts: int = 0
    took: float = 0.0


class StepProgress(msgspec.Struct, frozen=True, gc=False):
    """A call of a step says how far it is."""

    at: float
    run: str
    step: str
    progress: float
    total: float | None
    message: str


class DataFlowed(msgspec.Struct, frozen=True, gc=False):
    """The orchestrator moved data: an answer of `source` (server.step) fed an argument of `target` (server.step)."""

    at: float
    run: str
    source_server: str
    source_step: str
    target_server: str
    target_step: str
    argument: str


class LegBegan(msgspec.Struct, frozen=True, gc=False):
    """A worker took up a run. `takeover`: its last owner was lost."""

    at: float
    run: str
    workflow: str
    takeover: bool = False


class LegEnded(msgspec.Struct, frozen=True, gc=False):
    """A worker let go of a run.

    `how` is the run's status, `busy` (somebody else drives it), `held` (by a limit), `lost` or `failed`.
    """

    at: float
    run: str
    workflow: str
    how: str
    took: float
    """Seconds."""


Event: TypeAlias = (
    CallStarted
    | AttemptFailed
    | CallSettled
    | ServerChanged
    | CatalogChanged
    | Noticed
    | RunChanged
    | StepChanged
    | StepProgress
    | DataFlowed
    | LegBegan
    | LegEnded
)

Emit = Callable[[Any], None]
"""Takes one `Event`. (`Any` keeps the union out of every signature that only passes it on.)"""


def nobody(event: Any) -> None:
    """The observer that is not there."""
