"""The fault seam: what `motet.testing` puts in the place of a server, read at the innermost point of a call.

A context variable, so that a test's fault reaches the calls of that test's tasks and no others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar

from motet.calls import Call, Reply, Send

Fault = Callable[[Call, Send], Awaitable[Reply]]
"""Called in place of the wire, with the wire at hand."""

faults: ContextVar[Mapping[str, Fault] | None] = ContextVar("motet_faults", default=None)
"""Server name -> what happens instead."""
