"""Exit codes: the one table, and which code an error or a status comes to.

    0    complete
    1    failed or cancelled
    2    usage, configuration or check errors
    3    partial: something was done or found, something is missing
    4    waiting for somebody, or one call whose outcome is unknown
    5    a server wants credentials
    6    refused by policy
    124  no answer in time
    130  interrupted

Of several failures the first in `PRECEDENCE` decides. A run's code is its status alone (0, 1, 3 or 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from motet.errors import (
    Ambiguous,
    CallError,
    ConfigError,
    DeadlineExceeded,
    InvalidArguments,
    MotetError,
    NeedsAuth,
    PolicyRefused,
    ToolChanged,
    Unanswered,
    UnknownAddress,
    WorkflowError,
)

COMPLETE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
PARTIAL: Final = 3
WAITING: Final = 4
NEEDS_AUTH: Final = 5
REFUSED: Final = 6
TIMEOUT: Final = 124
INTERRUPTED: Final = 130

PRECEDENCE: Final = (INTERRUPTED, USAGE, REFUSED, NEEDS_AUTH, TIMEOUT, FAILED, WAITING, PARTIAL, COMPLETE)

STATUS: Final[Mapping[str, int]] = {
    "complete": COMPLETE,
    "failed": FAILED,
    "cancelled": FAILED,
    "partial": PARTIAL,
    "waiting": WAITING,
    "running": WAITING,
}

_ERRORS: Final[tuple[tuple[tuple[type[MotetError], ...], int], ...]] = (
    ((ConfigError, WorkflowError, UnknownAddress, Ambiguous, InvalidArguments), USAGE),
    ((PolicyRefused, ToolChanged), REFUSED),
    ((NeedsAuth,), NEEDS_AUTH),
    ((DeadlineExceeded,), TIMEOUT),
    ((Unanswered,), WAITING),
)


def of_status(status: str) -> int:
    """The code of a run that ended, or stands, with this status."""
    return STATUS[status]


def of_error(error: MotetError) -> int:
    """The code of one error."""
    return next((code for kinds, code in _ERRORS if isinstance(error, kinds)), FAILED)


def of_call(error: CallError, *, repeatable: bool) -> int:
    """The code of one failed call: `WAITING` when it may have acted and must not be repeated to find out."""
    return WAITING if error.sent == "unknown" and not repeatable else of_error(error)


def of_reads(found: int, errors: Iterable[CallError]) -> int:
    """The code of reading several addresses: something found and something missing is partial."""
    codes = [of_error(error) for error in errors]
    return worst(codes) if not found or not codes else PARTIAL


def worst(codes: Iterable[int]) -> int:
    """The one code for several; complete when there are none."""
    return min(codes, key=PRECEDENCE.index, default=COMPLETE)
