"""What a place with calendars offers. Items are iCalendar texts; an etag says which state of an item was read.

Writes are conditional, as in RFC 4791 §5.3.2: `create` only when the UID is new, `replace` and `delete` only when the
item is still as it was read. So nobody's change is overwritten unseen, and a repeated create finds the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from motet_servers.calendar.times import Window


@dataclass(frozen=True, slots=True)
class Collection:
    """One calendar and where it is."""

    id: str
    place: str
    """What the store finds it by; never shown."""
    name: str = ""
    description: str = ""
    color: str = ""
    components: tuple[str, ...] = ("VEVENT", "VTODO")


@dataclass(frozen=True, slots=True)
class Item:
    """One stored item: all components of one UID."""

    collection: Collection
    place: str
    etag: str
    text: str


class Store(Protocol):
    """A place with calendars. Every method raises the kit's errors."""

    async def collections(self) -> Sequence[Collection]:
        """All calendars, asked anew."""
        ...

    async def state(self, collection: Collection) -> str:
        """Something that is another when any item of the calendar is, or when it is gone."""
        ...

    async def items(self, collection: Collection, component: str, window: Window) -> Sequence[Item]:
        """At least the items with such a component (VEVENT, VTODO) that may touch the window."""
        ...

    async def find(self, collection: Collection, uid: str) -> Item | None:
        """The item with this UID."""
        ...

    async def create(self, collection: Collection, uid: str, text: str) -> Item | None:
        """The new item; None when the UID is already taken (nothing is written then)."""
        ...

    async def replace(self, item: Item, text: str) -> Item:
        """The item with its new text; Conflict when it has changed since it was read."""
        ...

    async def delete(self, item: Item) -> bool:
        """Was it there to delete? Conflict when it has changed since it was read."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...
