"""Calendars on a CalDAV server (RFC 4791): found from any starting URL, read by time range, written with ETags.

The starting URL may be a calendar, the home of several, the user's principal, or the server's root. Each item is one
resource, named by its UID; items that others named are found by their UID.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import unquote, urljoin, urlsplit

from motet_servers.calendar.items import Unreadable, components, parsed, text_of
from motet_servers.calendar.multistatus import (
    Found,
    about_query,
    error_words,
    read,
    state_query,
    uid_query,
    window_query,
)
from motet_servers.calendar.store import Collection, Item
from motet_servers.calendar.times import Window
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound
from motet_servers.kit.http import Answer, ApiClient

XML = {"Content-Type": "application/xml; charset=utf-8"}
ICALENDAR = {"Content-Type": "text/calendar; charset=utf-8"}
KINDS = ("VEVENT", "VTODO")
PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.@-]{0,199}")


def explain(answer: Answer) -> str:
    """What a WebDAV error says, for `ApiClient`."""
    return error_words(answer.content) or (
        answer.text[:200] if "text/plain" in answer.headers.get("content-type", "") else ""
    )


class CalDavStore:
    """The calendars one set of credentials sees."""

    def __init__(self, client: ApiClient) -> None:
        """Work through this client, whose base is the starting URL; it is closed with the store."""
        self._client = client

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def collections(self) -> Sequence[Collection]:
        """All calendars, looked for from the starting URL."""
        start = await self._about("", depth=0)
        here = next(iter(start), Found(""))
        if here.is_calendar:
            return _named([here])
        homes = here.homes or await self._homes(here.principal) or (here.href or "/",)
        found = [entry for home in homes for entry in await self._about(self._absolute(home), depth=1)]
        calendars = [entry for entry in found if entry.is_calendar]
        if not calendars and here.href not in homes:
            calendars = [entry for entry in await self._about("", depth=1) if entry.is_calendar]
        return _named(calendars)

    async def state(self, collection: Collection) -> str:
        """The calendar's sync token or ctag; of a server that has neither, the etags of its items."""
        for depth in (0, 1):
            answer = await self._client.request(
                "PROPFIND",
                self._absolute(collection.place),
                content=state_query(),
                headers={**XML, "Depth": str(depth)},
                accept=(404, 410),
            )
            if answer.status >= 400:
                return ""
            found = read(answer.content)
            if state := next((entry.state for entry in found if entry.state), ""):
                return state
        return hashlib.sha256("\n".join(f"{entry.href} {entry.etag}" for entry in found).encode()).hexdigest()

    async def items(self, collection: Collection, component: str, window: Window) -> Sequence[Item]:
        """The items the server says touch the window."""
        if component not in collection.components:
            return []
        return [
            Item(collection, entry.href, entry.etag, entry.data)
            for entry in await self._report(collection, window_query(component, window))
        ]

    async def find(self, collection: Collection, uid: str) -> Item | None:
        """The item with this UID: where we would have put it, or wherever the server finds it."""
        own = await self._at(collection, self._place(collection, uid))
        if own is not None and _has_uid(own.text, uid):
            return own
        for component in KINDS:
            if component not in collection.components:
                continue
            for entry in await self._report(collection, uid_query(component, uid)):
                if _has_uid(entry.data, uid):
                    return Item(collection, entry.href, entry.etag, entry.data)
        return None

    async def create(self, collection: Collection, uid: str, text: str) -> Item | None:
        """The new item, written only if there is none yet (`If-None-Match: *`, RFC 4791 §5.3.2)."""
        place = self._place(collection, uid)
        answer = await self._client.request(
            "PUT",
            self._absolute(place),
            content=text.encode(),
            headers={**ICALENDAR, "If-None-Match": "*"},
            accept=(403, 409, 412),
        )
        if 200 <= answer.status < 300:
            return await self._written(collection, place, text, answer)
        if answer.status == 412 or "no-uid-conflict" in error_words(answer.content):
            return None
        said = f": {words}" if (words := explain(answer)) else ""
        raise InvalidInput(
            f"the calendar {collection.id} refused the item ({answer.status}){said}.", status=answer.status
        )

    async def replace(self, item: Item, text: str) -> Item:
        """The item with its new text (`If-Match`). A lost answer is harmless: to say it again reads the item first."""
        try:
            answer = await self._client.request(
                "PUT",
                self._absolute(item.place),
                content=text.encode(),
                headers={**ICALENDAR, "If-Match": item.etag or "*"},
                read_only=True,
            )
        except (Conflict, NotFound) as error:
            raise _changed_meanwhile(error) from error
        return await self._written(item.collection, item.place, text, answer)

    async def delete(self, item: Item) -> bool:
        """Was it there to delete?"""
        try:
            answer = await self._client.request(
                "DELETE",
                self._absolute(item.place),
                headers={"If-Match": item.etag or "*"},
                accept=(404, 410),
                read_only=True,
            )
        except Conflict as error:
            raise _changed_meanwhile(error) from error
        return answer.status < 300

    async def _homes(self, principal: str) -> tuple[str, ...]:
        if not principal:
            return ()
        return tuple(home for entry in await self._about(self._absolute(principal), depth=0) for home in entry.homes)

    async def _about(self, place: str, *, depth: int) -> list[Found]:
        answer = await self._client.request(
            "PROPFIND", place, content=about_query(), headers={**XML, "Depth": str(depth)}
        )
        return read(answer.content)

    async def _report(self, collection: Collection, query: bytes) -> list[Found]:
        answer = await self._client.request(
            "REPORT", self._absolute(collection.place), content=query, headers={**XML, "Depth": "1"}
        )
        return [entry for entry in read(answer.content) if entry.data]

    async def _at(self, collection: Collection, place: str) -> Item | None:
        answer = await self._client.request("GET", self._absolute(place), accept=(404, 410))
        if answer.status >= 400:
            return None
        return Item(collection, place, answer.headers.get("etag", ""), answer.text)

    async def _written(self, collection: Collection, place: str, text: str, answer: Answer) -> Item:
        """What is stored now: a server that changed the text gives no ETag (RFC 4791 §5.3.4), so it is read again."""
        if etag := answer.headers.get("etag", ""):
            return Item(collection, place, etag, text)
        return await self._at(collection, place) or Item(collection, place, "", text)

    def _absolute(self, place: str) -> str:
        """The absolute URL of an href; the client refuses another origin."""
        return urljoin(self._client.base + "/", place)

    def _place(self, collection: Collection, uid: str) -> str:
        """Where an item with this UID goes: named after it if every server takes such a name, else after its hash."""
        name = uid if PLAIN.fullmatch(uid) else hashlib.sha256(uid.encode()).hexdigest()
        return f"{collection.place.rstrip('/')}/{name}.ics"


def _named(found: Sequence[Found]) -> list[Collection]:
    """Calendars with an id each: the last part of their path, longer where two would be the same."""
    named: dict[str, Collection] = {}
    for entry in found:
        parts = [unquote(part) for part in urlsplit(entry.href).path.split("/") if part]
        name = parts[-1] if parts else "calendar"
        if name in named and len(parts) > 1:
            name = f"{parts[-2]}-{name}"
        named[name] = Collection(
            id=name,
            place=entry.href,
            name=entry.name or name,
            description=entry.description,
            color=entry.color,
            components=entry.components or KINDS,
        )
    return list(named.values())


def _has_uid(text: str, uid: str) -> bool:
    try:
        return any(text_of(component, "UID") == uid for component in components(parsed(text)))
    except Unreadable:
        return False


def _changed_meanwhile(error: DomainError) -> Conflict:
    return Conflict(
        "somebody else changed or deleted this item meanwhile; nothing was written. Read it again, then decide.",
        status=error.status,
    )
