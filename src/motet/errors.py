"""Everything that can go wrong, as one tree.

    MotetError
    ├── ConfigError                 what a person wrote in a configuration cannot be used
    ├── WorkflowError               a workflow does not load or does not check
    ├── RunError                    a run cannot be found, started or continued
    └── CallError                   one call to one server failed
        ├── UnknownAddress          no such server, tool, prompt or URI
        ├── Ambiguous               several servers claim the URI
        ├── InvalidArguments        the arguments do not fit the tool's input schema
        ├── PolicyRefused           our own policy (allow, deny, approve) says no
        ├── ToolChanged             the definition is not the one that was trusted
        ├── ServerUnavailable       the server cannot be reached; nothing was sent
        │   ├── CircuitOpen         it failed too often just now
        │   ├── QueueFull           too many calls already wait for it
        │   └── NeedsAuth           it wants credentials that nobody here can give
        ├── RateLimited             it said 429
        ├── DeadlineExceeded        no answer in time
        ├── ConnectionLost          the connection broke after something was written
        ├── ProtocolError           it answered with a JSON-RPC error
        ├── UnusableAnswer          it acted, and its answer is of no use
        │   ├── ResultTooLarge      longer than the cap
        │   └── OutputSchemaMismatch  not what its output schema promises
        ├── ToolError               the tool itself reports failure (`isError`)
        ├── CallCancelled           the caller gave up
        ├── Fenced                  the run it belongs to may be another process's by now; nothing was sent
        └── Unanswered              the server asked something and nobody answered

A `CallError` says whose fault it is (`server`, `kind`), whether the request had its chance to act (`sent`), whether
trying again can help (`transient`) and what it tells of the server's health (`health`, read by the circuit breaker).
The class attributes below are the table of outcomes; an instance overrides one only where the event itself differs.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Sent = Literal["no", "yes", "unknown"]
"""Did the request have its chance to act? `unknown`: it was written, and no answer came."""

Health = Literal["success", "failure", "neutral", "none"]
"""What an error says about the server: it works, it does not, it answered but said nothing, nothing was asked."""


class MotetError(Exception):
    """The root: whatever motet raises on purpose."""

    hint: str = ""
    """What to try, as a sentence or a command; empty when there is nothing better than the message."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(MotetError):
    """A configuration cannot be used; the message names file, line and key."""


class WorkflowError(MotetError):
    """A workflow does not load or does not check; `problems` holds every finding, rendered."""

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class RunError(MotetError):
    """A run cannot be found, started or continued."""


class CallError(MotetError):
    """One call to one server failed. `str()` is fit for a person; the attributes are for programs."""

    kind: ClassVar[str] = "call"
    """A stable word for programs and reports."""
    health: Health = "none"
    transient: bool = False
    """Can the same call succeed a moment later?"""
    sent: Sent = "no"

    def __init__(
        self,
        message: str,
        *,
        server: str,
        sent: Sent | None = None,
        transient: bool | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.server = server
        self.retry_after = retry_after
        """Seconds the server asked us to wait, or None."""
        if sent is not None:
            self.sent = sent
        if transient is not None:
            self.transient = transient

    def __str__(self) -> str:
        return f"{self.server}: {self.message}" if self.server else self.message


class UnknownAddress(CallError):
    """No such server, tool, prompt or URI; the message suggests the nearest name."""

    kind = "unknown_address"


class Ambiguous(CallError):
    """Several servers claim this URI; `candidates` names them."""

    kind = "ambiguous"

    def __init__(self, message: str, *, candidates: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, server="", hint=hint)
        self.candidates = candidates


class InvalidArguments(CallError):
    """The arguments do not fit the tool's input schema; nothing was sent."""

    kind = "invalid_arguments"


class PolicyRefused(CallError):
    """Our own policy refuses the call; nothing was sent."""

    kind = "policy"


class ToolChanged(CallError):
    """The definition differs from the one that was trusted; nothing was sent."""

    kind = "tool_changed"


class ServerUnavailable(CallError):
    """The server cannot be reached; nothing was sent.

    `reason` is one of: spawn, connect, handshake, exited, down, parked, disabled.
    """

    kind = "unavailable"
    transient = True
    health = "failure"

    def __init__(
        self,
        message: str,
        *,
        server: str,
        reason: str = "down",
        transient: bool | None = None,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, server=server, transient=transient, retry_after=retry_after, hint=hint)
        self.reason = reason


class CircuitOpen(ServerUnavailable):
    """The server failed too often just now; `retry_after` says when the next probe is due."""

    kind = "circuit_open"
    transient = False
    health = "none"


class QueueFull(ServerUnavailable):
    """Too many calls already wait for this server."""

    kind = "queue_full"
    transient = False
    health = "none"


class NeedsAuth(ServerUnavailable):
    """The server wants credentials that nobody here can give (HTTP 401 or 403, or a login that needs a person)."""

    kind = "needs_auth"
    transient = False
    health = "none"


class RateLimited(CallError):
    """The server said 429; `retry_after` is what it asked for. Nothing was done."""

    kind = "rate_limited"
    transient = True
    health = "neutral"


class DeadlineExceeded(CallError):
    """No answer in time. `sent` is `unknown` once the first byte was written, else `no`."""

    kind = "timeout"
    transient = True
    health = "failure"
    sent = "unknown"


class ConnectionLost(CallError):
    """The connection broke, or HTTP said 5xx, after something was written."""

    kind = "connection_lost"
    transient = True
    health = "failure"
    sent = "unknown"


class ProtocolError(CallError):
    """The server answered with a JSON-RPC error; `code` and `data` are its own."""

    kind = "protocol"
    health = "neutral"
    transient = True
    sent = "yes"

    REFUSED: ClassVar[frozenset[int]] = frozenset({-32700, -32600, -32601, -32602})
    """Codes that say the request was not understood: nothing was done, and asking again cannot help."""

    def __init__(
        self, message: str, *, server: str, code: int, data: object = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, server=server, retry_after=retry_after)
        self.code = code
        self.data = data
        if code in self.REFUSED:
            self.sent, self.transient, self.health = "no", False, "success"


class UnusableAnswer(CallError):
    """The server acted, and its answer cannot be read; the data is lost."""

    kind = "unusable_answer"
    sent = "yes"
    health = "success"


class ResultTooLarge(UnusableAnswer):
    """The answer is longer than the cap of this server (`limits.answer`, bytes)."""

    kind = "result_too_large"


class OutputSchemaMismatch(UnusableAnswer):
    """The answer is not what the tool's output schema promises."""

    kind = "output_schema_mismatch"


class ToolError(CallError):
    """The tool itself reports failure (`isError`): data about the tool, not ill health of the server."""

    kind = "tool_error"
    sent = "yes"
    health = "success"

    def __init__(
        self,
        message: str,
        *,
        server: str,
        tool: str,
        content: tuple[dict[str, object], ...] = (),
        data: object = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, server=server, retry_after=retry_after)
        self.tool = tool
        self.content = content
        """The content blocks of the answer, as they came."""
        self.data = data


class CallCancelled(CallError):
    """The caller gave up; `sent` is `unknown` once the first byte was written."""

    kind = "cancelled"


class Fenced(CallError):
    """The run that the call belongs to may be another process's by now, so nothing was sent."""

    kind = "fenced"


class Unanswered(CallError):
    """The server (or a policy) asked a question and nobody was there to answer it."""

    kind = "unanswered"
