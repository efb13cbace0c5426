"""What the addresses somebody subscribed to look like now, for the kit's `Poller`.

A calendar has one state that changes with any of its items (RFC 6578's sync token, or the older ctag; for a folder, its
files' times). Only when it is another are the single items somebody asked for looked at again, by their etags.
"""

from __future__ import annotations

from urllib.parse import unquote

from motet_servers.calendar.shelf import Shelf
from motet_servers.calendar.store import Collection, Store
from motet_servers.kit.errors import NotFound

ITEMS = ("events", "ical")


class Watch:
    """Remembers the calendars' states from look to look."""

    def __init__(self, store: Store, shelf: Shelf) -> None:
        self._store = store
        self._shelf = shelf
        self._states: dict[str, str] = {}
        self._etags: dict[str, str] = {}

    async def look(self, wanted: frozenset[str]) -> dict[str, str]:
        """What each address looks like: something that is another when its resource is."""
        seen: dict[str, str] = {}
        states: dict[str, str] = {}
        for uri in sorted(wanted):
            name, _, rest = uri.removeprefix("calendar://").partition("?")[0].partition("/")
            name = unquote(name)
            if not rest:
                seen[uri] = str(await self._shelf.refresh()) if name == "calendars" else ""
                continue
            try:
                [collection] = await self._shelf.chosen(name)
            except NotFound:
                seen[uri] = ""
                continue
            if name not in states:
                states[name] = await self._store.state(collection)
            kind, _, uid = rest.partition("/")
            seen[uri] = states[name]
            if uid and kind in ITEMS:
                seen[uri] = await self._etag(uri, collection, unquote(uid), same=states[name] == self._states.get(name))
        self._states = states
        self._etags = {uri: etag for uri, etag in self._etags.items() if uri in wanted}
        return seen

    async def _etag(self, uri: str, collection: Collection, uid: str, *, same: bool) -> str:
        if not same or uri not in self._etags:
            item = await self._store.find(collection, uid)
            self._etags[uri] = "" if item is None else f"{item.etag}"
        return self._etags[uri]
