"""Which calendar and which item a caller means: names looked up among what the store has, never taken as places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from motet_servers.calendar.store import Collection, Item, Store
from motet_servers.kit.errors import InvalidInput, NotFound


class Shelf:
    """The calendars of a store, as last seen; asked for anew when a name is not among them."""

    def __init__(self, store: Store, default: str) -> None:
        """`default` is the calendar for new items; "" when none is set."""
        self._store = store
        self._default = default
        self._known: dict[str, Collection] = {}

    async def refresh(self) -> list[Collection]:
        """All calendars, asked anew."""
        found = list(await self._store.collections())
        self._known = {one.id: one for one in found}
        return found

    async def chosen(self, name: str | None) -> list[Collection]:
        """The calendar of this id or display name, or all; NotFound when there is no such calendar."""
        if not name:
            return list(self._known.values()) or await self.refresh()
        found = _named(self._known.values(), name) or _named(await self.refresh(), name)
        if found is None:
            raise NotFound(f"there is no calendar {name!r}; there are: {', '.join(self._known) or 'none'}.")
        return [found]

    async def target(self, name: str | None, kind: str) -> Collection:
        """The calendar to write to; InvalidInput when none is named or the default, or it takes no such items."""
        known = await self.chosen(name)
        found = known[0] if name else self.default(known)
        if found is None:
            raise InvalidInput(f"say which calendar: {', '.join(one.id for one in known) or 'there is none'}.")
        if kind not in found.components:
            raise InvalidInput(f"the calendar {found.id} holds only {', '.join(found.components)}; choose another.")
        return found

    def default(self, known: Sequence[Collection]) -> Collection | None:
        """Where new items go: the configured calendar, else the only one."""
        if self._default:
            return _named(known, self._default)
        return known[0] if len(known) == 1 else None

    async def find(self, uid: str, calendar: str | None) -> Item | None:
        """The item with this UID, in one calendar or the first that has it."""
        if not uid.isprintable():
            raise InvalidInput("uid must be printable text.")
        for collection in await self.chosen(calendar):
            item = await self._store.find(collection, uid)
            if item is not None:
                return item
        return None

    async def item(self, uid: str, calendar: str | None) -> Item:
        """As `find`; NotFound when there is none."""
        item = await self.find(uid, calendar)
        if item is None:
            where = f"in the calendar {calendar}" if calendar else "in any calendar"
            raise NotFound(f"there is no item with the UID {uid!r} {where}; list_events and list_deadlines show UIDs.")
        return item


def _named(known: Iterable[Collection], name: str) -> Collection | None:
    """By id, else by display name, whatever its case."""
    all_known = list(known)
    return next(
        (one for one in all_known if one.id == name),
        next((one for one in all_known if name.lower() in {one.id.lower(), one.name.lower()}), None),
    )
