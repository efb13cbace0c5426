"""What a tool or resource of a bundled server raises; the caller sees the message, as `isError` or a read error.

    DomainError
    ├── InvalidInput      an argument is wrong; nothing was done
    ├── NotFound          the thing named does not exist (or may not be seen)
    ├── Conflict          the state is another than the caller assumed; read again, then decide
    ├── Refused           credentials, permissions or policy forbid it
    ├── TooLarge          a cap was exceeded; ask for less
    ├── RateLimited       try again after `retry_after` seconds
    ├── Unavailable       the far end did not do it and may later
    ├── OutcomeUnknown    a write was sent and its answer never came: it may have happened; look before repeating
    └── InternalError     this server broke in a way nobody foresaw; its log says how

Messages say what happened and what to do. They are redacted on their way out (see `guard`).
"""

from __future__ import annotations

import logging
from typing import ClassVar

from fastmcp.exceptions import ResourceError, ToolError


class DomainError(ToolError, ResourceError):
    """A failure the caller should read. `kind` is a stable word for it."""

    kind: ClassVar[str] = "error"

    def __init__(self, message: str, *, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(message, log_level=logging.WARNING)
        self.retry_after = retry_after
        """Seconds, when the far end said so."""
        self.status = status
        """The HTTP status behind it, if any."""


class InvalidInput(DomainError):
    """An argument is wrong; nothing was done."""

    kind = "invalid_input"


class NotFound(DomainError):
    """The thing named does not exist, or may not be seen."""

    kind = "not_found"


class Conflict(DomainError):
    """The state is another than the caller assumed."""

    kind = "conflict"


class Refused(DomainError):
    """Credentials, permissions or policy forbid it."""

    kind = "refused"


class TooLarge(DomainError):
    """A cap was exceeded."""

    kind = "too_large"


class RateLimited(DomainError):
    """Too many requests; `retry_after` says when to come back."""

    kind = "rate_limited"


class Unavailable(DomainError):
    """The far end did not do it and may later."""

    kind = "unavailable"


class OutcomeUnknown(DomainError):
    """A write was sent and its answer never came."""

    kind = "outcome_unknown"


class InternalError(DomainError):
    """Something broke in this server that nobody foresaw; its log says how."""

    kind = "internal"
