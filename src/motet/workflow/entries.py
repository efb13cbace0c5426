"""What a run has done, as entries: the only thing a `RunState` moves by, and the only thing a journal holds.

    Began ─ Started ─ Finished ─ … ─ Ended          the plain life of a run
            Waiting ─ Answered | Woke               a person, a timer or a server is waited for
            Recovered                               a repeatable act is begun again after a crash
    Cancelled, Expired, Resumed                     somebody, or the clock, changes where the run is going

`key` names an act: `deploy`, `each[3]`, `outer/deploy`, `finally:tell`, and with a word in front `undo deploy`,
`reconcile deploy`, `fallback deploy`. `at` is wall-clock time in seconds since 1970, never smaller than in the entry
before.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from motet.calls import Json
from motet.errors import CallError, Sent

ActKind = Literal["call", "read", "prompt", "approval", "wait", "reconcile", "fallback", "undo"]
"""What an act does. Nested workflows and `set` steps are no acts: their steps are, and values need nobody."""

Verdict = Literal["approve", "reject", "done", "failed", "retry", "answer", "decline"]
"""What was said: to an approval, to an unknown outcome (`done`, `failed`, `retry`), to a server's question."""

WaitingFor = Literal["approval", "question", "timer", "server", "resolve"]

TEXT_CAP = 2048
"""Bytes of a raw error text that a record keeps (SEMANTICS §1)."""


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An error as records show it."""

    kind: str
    """`CallError.kind`, or `expression`, `rejected`, `expired`, `unanswered`, `interrupted`, `run`, `deadline`."""
    message: str
    server: str | None = None
    sent: Sent = "no"
    retry_after: float | None = None
    transient: bool = False

    def record(self) -> dict[str, Json]:
        """What `steps.X.error` is."""
        return {
            "kind": self.kind,
            "message": self.message,
            "server": self.server,
            "sent": self.sent,
            "retry_after": self.retry_after,
        }


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What came of one act."""

    status: Literal["done", "partial", "failed", "unknown", "skipped", "cancelled"]
    data: Json = None
    error: ErrorInfo | None = None
    reason: str | None = None
    attempts: int = 0
    took: float = 0.0
    missing: tuple[str, ...] = ()
    """Keys a `read` did not get."""
    items: tuple[dict[str, Json], ...] = ()
    """One record per address of a `read` list or map."""
    tried: tuple[ErrorInfo, ...] = ()
    """What came of the attempts before the last one, oldest first."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="event"):
    """What all have in common. The collector of cycles is left out: they hold JSON."""

    at: float


class Began(_Entry, frozen=True, kw_only=True, tag="began"):
    """The run exists."""

    run: str
    workflow: str
    inputs: dict[str, Json]
    generation: int = 0
    digest: str = ""
    version: int = 1
    """Of these entries' form."""
    nonce: str = ""
    """What makes this run's references to secrets unforgeable."""
    rerun_of: str | None = None


class Started(_Entry, frozen=True, kw_only=True, tag="started"):
    """An act is about to happen. Durable before the first byte of a call that may not be repeated."""

    key: str
    kind: ActKind
    repeatable: bool = False
    reads: bool = False
    """It changes nothing: cancelling it is free."""
    server: str | None = None
    name: str | None = None
    arguments: Json = None
    idempotency_key: str | None = None
    flows: tuple[tuple[str, str, str], ...] = ()
    """Which answers feed it: (server, step, argument)."""


class Finished(_Entry, frozen=True, kw_only=True, tag="finished"):
    """What came of an act."""

    key: str
    result: Result


class Waiting(_Entry, frozen=True, kw_only=True, tag="waiting"):
    """An act waits, and holds nothing while it does."""

    key: str
    reason: WaitingFor
    until: float | None = None
    """When the wait is over by itself."""
    again: float | None = None
    """When to try the server again."""
    shown: Json = None
    """What a person was shown: the message, and the arguments of the steps that need the answer."""
    digest: str | None = None
    """Hash of what was shown; an answer is bound to it."""
    round_state: str | None = None
    error: ErrorInfo | None = None
    attempts: int = 0


class Answered(_Entry, frozen=True, kw_only=True, tag="answered"):
    """Somebody said something to an act that waits, or whose outcome is unknown."""

    key: str
    verdict: Verdict
    who: str = ""
    data: Json = None
    note: str = ""
    message: str = ""
    """The inbox message it came by, so that it is not heard twice."""
    said: float | None = None
    """When it was said, where that was before it was heard: seconds since 1970."""


class Woke(_Entry, frozen=True, kw_only=True, tag="woke"):
    """A wait is over: its time has come (`over`), or the server is to be tried again."""

    key: str
    over: bool = True


class Recovered(_Entry, frozen=True, kw_only=True, tag="recovered"):
    """A repeatable act was in flight when its process ended; it is begun again."""

    key: str


class Cancelled(_Entry, frozen=True, kw_only=True, tag="cancelled"):
    """Somebody wants the run to end."""

    who: str = ""
    message: str = ""


class Expired(_Entry, frozen=True, kw_only=True, tag="expired"):
    """A workflow's own time is over. `key` is the path of the nested workflow, empty for the outermost."""

    key: str = ""


class Resumed(_Entry, frozen=True, kw_only=True, tag="resumed"):
    """A run that had ended goes on with its gaps."""

    who: str = ""
    message: str = ""


class Ended(_Entry, frozen=True, kw_only=True, tag="ended"):
    """The run has ended, for now: `Resumed` may follow."""

    status: str


Entry: TypeAlias = (
    Began | Started | Finished | Waiting | Answered | Woke | Recovered | Cancelled | Expired | Resumed | Ended
)

_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)
_ENCODER = msgspec.json.Encoder(order="sorted")


def encode(entry: Entry) -> bytes:
    """Canonical JSON: sorted keys, no spaces, defaults left out."""
    return _ENCODER.encode(entry)


def decode(raw: bytes | str) -> Entry:
    """The entry. Raises `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return _DECODER.decode(raw)


def clipped(text: str) -> str:
    """The text, at most `TEXT_CAP` bytes of it."""
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= TEXT_CAP else raw[:TEXT_CAP].decode("utf-8", "ignore") + "…"


def error_info(error: CallError) -> ErrorInfo:
    """The error of a call, as records show it."""
    return ErrorInfo(
        kind=error.kind,
        message=clipped(error.message),
        server=error.server or None,
        sent=error.sent,
        retry_after=error.retry_after,
        transient=error.transient,
    )


UNUSABLE = frozenset({"unusable_answer", "result_too_large", "output_schema_mismatch"})
"""Kinds that say: it acted, and the data is lost."""


def came_of(error: ErrorInfo, *, repeatable: bool, attempts: int = 0, took: float = 0.0) -> Result:
    """What a failed call means for its step (SEMANTICS §4, last line)."""
    acted = error.sent == "unknown" or (error.sent == "yes" and error.kind in UNUSABLE)
    status = "unknown" if acted and not repeatable else "failed"
    return Result(status=status, error=error, reason=error.message, attempts=attempts, took=took)
