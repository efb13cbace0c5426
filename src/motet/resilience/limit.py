"""The concurrency limit: so many calls of one server in flight, so many queued, first come first served.

`Room` is the decision, over tickets that mean nothing to it; `limited` (in `pipeline`) is the driver, whose tickets are
futures. A place goes straight from who leaves to who waits longest: no newcomer overtakes and no place is lost.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Ticket = TypeVar("Ticket")


class Room(Generic[Ticket]):
    """`places` at once and `queue` waiting."""

    __slots__ = ("_queue", "_waiting", "free")

    def __init__(self, places: int, queue: int) -> None:
        self.free = places
        self._queue = queue
        self._waiting: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self) -> bool:
        """Take a free place, if there is one and nobody waits for it."""
        if self.free > 0 and not self._waiting:
            self.free -= 1
            return True
        return False

    def line_up(self, ticket: Ticket, *, patient: bool = False) -> bool:
        """Wait for a place. False: the queue is full (never for the `patient`)."""
        if not patient and len(self._waiting) >= self._queue:
            return False
        self._waiting.append(ticket)
        return True

    def leave(self) -> Ticket | None:
        """Give a place back: to the ticket returned, which has it from now on, or to nobody."""
        if self._waiting:
            return self._waiting.popleft()
        self.free += 1
        return None

    def step_out(self, ticket: Ticket) -> bool:
        """Stop waiting. False: the ticket has been given its place already and must `leave`."""
        try:
            self._waiting.remove(ticket)
        except ValueError:
            return False
        return True
