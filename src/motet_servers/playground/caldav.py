"""A CalDAV server (RFC 4791) of one principal: collections of `.ics` objects with ETags and preconditions.

Time-range queries expand recurrences, so the two calendar libraries are needed; they are imported on first use.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element, SubElement, tostring

from motet_servers.playground.http import Request, Response

DAV, CAL, APPLE = "DAV:", "urn:ietf:params:xml:ns:caldav", "http://calendarserver.org/ns/"
PRINCIPAL, HOME = "/dav/principals/team/", "/dav/calendars/"
_RESOURCE = {"content-type": "text/calendar; charset=utf-8"}


@dataclass(slots=True)
class Collection:
    """A calendar: its objects by file name."""

    name: str
    title: str
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])


@dataclass(frozen=True, slots=True)
class DavRefused(Exception):
    """A refusal: a status, and the name of the precondition that failed, if any."""

    status: int
    condition: str = ""


class CalDav:
    """The stand-in: a handler over collections."""

    def __init__(self, collections: list[Collection], *, username: str, password: str) -> None:
        self.url = "http://127.0.0.1"
        self.collections = {collection.name: collection for collection in collections}
        self._credential = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
        self._methods: dict[str, Callable[[Request], Response]] = {
            "OPTIONS": self._options,
            "PROPFIND": self._propfind,
            "REPORT": self._report,
            "GET": self._get,
            "PUT": self._put,
            "DELETE": self._delete,
            "MKCALENDAR": self._mkcalendar,
        }

    async def __call__(self, request: Request) -> Response:
        if request.headers.get("authorization") != self._credential:
            return Response(401, b"", {"www-authenticate": 'Basic realm="playground"'})
        method = self._methods.get(request.method, _not_allowed)
        try:
            if request.path == "/.well-known/caldav":
                return Response(301, b"", {"location": f"{self.url}/dav/"})
            return method(request)
        except DavRefused as refused:
            error = Element(f"{{{DAV}}}error")
            if refused.condition:
                SubElement(error, f"{{{CAL}}}{refused.condition}")
            return Response(refused.status, tostring(error), {"content-type": "application/xml"})

    def _options(self, request: Request) -> Response:
        del request
        return Response(200, b"", {"dav": "1, 3, calendar-access", "allow": ", ".join(self._methods)})

    # Objects

    def _place(self, path: str) -> tuple[Collection, str]:
        """The collection a path is in, and the object's file name, empty for the collection itself."""
        parts = [unquote(part) for part in path.removeprefix(HOME).split("/")]
        if not path.startswith(HOME) or parts[0] not in self.collections or len(parts) > 2:
            raise DavRefused(404)
        return self.collections[parts[0]], parts[1] if len(parts) == 2 else ""

    def _object(self, path: str) -> tuple[Collection, str, bytes]:
        collection, name = self._place(path)
        if name not in collection.objects:
            raise DavRefused(404)
        return collection, name, collection.objects[name]

    def _get(self, request: Request) -> Response:
        _, _, content = self._object(request.path)
        return Response(200, content, {**_RESOURCE, "etag": etag(content)})

    def _put(self, request: Request) -> Response:
        from icalendar import Calendar, Component

        collection, name = self._place(request.path)
        old = collection.objects.get(name)
        self._precondition(request, old)
        try:
            parsed = Calendar.from_ical(request.body)
        except ValueError as error:
            raise DavRefused(403, "valid-calendar-data") from error
        parts: list[Component] = parsed.walk()  # pyright: ignore[reportUnknownMemberType] - the library types it loosely
        uids = {str(part["UID"]) for part in parts if part.name in ("VEVENT", "VTODO") and "UID" in part}
        if not name or len(uids) != 1:
            raise DavRefused(403, "valid-calendar-object-resource")
        uid = f"UID:{uids.pop()}".encode()
        if any(
            other != name and uid in content.replace(b"\r\n ", b"") for other, content in collection.objects.items()
        ):
            raise DavRefused(403, "no-uid-conflict")
        collection.objects[name] = request.body
        effect = "event.created" if old is None else "event.updated"
        return Response(201 if old is None else 204, b"", {"etag": etag(request.body)}, effect)

    def _delete(self, request: Request) -> Response:
        collection, name, content = self._object(request.path)
        self._precondition(request, content)
        del collection.objects[name]
        return Response(204, effect="event.deleted")

    def _precondition(self, request: Request, old: bytes | None) -> None:
        if request.headers.get("if-none-match") == "*" and old is not None:
            raise DavRefused(412)
        wanted = request.headers.get("if-match")
        if wanted is not None and (old is None or wanted not in ("*", etag(old))):
            raise DavRefused(412)

    def _mkcalendar(self, request: Request) -> Response:
        name = unquote(request.path.removeprefix(HOME).strip("/"))
        if not request.path.startswith(HOME) or not name or "/" in name:
            raise DavRefused(403)
        if name in self.collections:
            raise DavRefused(405)
        self.collections[name] = Collection(name, name)
        return Response(201, effect="calendar.created")

    # Queries

    def _propfind(self, request: Request) -> Response:
        path = request.path if request.path.endswith("/") or request.path.endswith(".ics") else f"{request.path}/"
        deep = request.headers.get("depth", "0") != "0"
        answer = Element(f"{{{DAV}}}multistatus")
        if path in ("/", "/dav/", PRINCIPAL):
            self._describe(answer, path)
        elif path == HOME:
            self._describe(answer, HOME)
            for collection in self.collections.values() if deep else ():
                self._describe_collection(answer, collection)
        else:
            collection, name = self._place(path.rstrip("/") + ("" if path.endswith(".ics") else "/"))
            if name:
                self._describe_object(answer, collection, *self._object(path)[1:], data=False)
            else:
                self._describe_collection(answer, collection)
                for each, content in collection.objects.items() if deep else ():
                    self._describe_object(answer, collection, each, content, data=False)
        return _multistatus(answer)

    def _report(self, request: Request) -> Response:
        from defusedxml.ElementTree import fromstring

        collection, _ = self._place(request.path if request.path.endswith("/") else f"{request.path}/")
        query: Element = fromstring(request.body)
        answer = Element(f"{{{DAV}}}multistatus")
        if query.tag == f"{{{CAL}}}calendar-multiget":
            for href in query.iter(f"{{{DAV}}}href"):
                _, name, content = self._object((href.text or "").removeprefix(self.url))
                self._describe_object(answer, collection, name, content, data=True)
        elif query.tag == f"{{{CAL}}}calendar-query":
            for name, content in collection.objects.items():
                if _matches(query, content):
                    self._describe_object(answer, collection, name, content, data=True)
        else:
            raise DavRefused(403, "supported-report")
        return _multistatus(answer)

    def _describe(self, answer: Element, href: str, fill: Callable[[Element], None] | None = None) -> None:
        response = SubElement(answer, f"{{{DAV}}}response")
        SubElement(response, f"{{{DAV}}}href").text = href
        stat = SubElement(response, f"{{{DAV}}}propstat")
        prop = SubElement(stat, f"{{{DAV}}}prop")
        SubElement(SubElement(prop, f"{{{DAV}}}current-user-principal"), f"{{{DAV}}}href").text = PRINCIPAL
        SubElement(SubElement(prop, f"{{{CAL}}}calendar-home-set"), f"{{{DAV}}}href").text = HOME
        if not href.endswith(".ics"):
            kind = SubElement(prop, f"{{{DAV}}}resourcetype")
            SubElement(kind, f"{{{DAV}}}collection")
        if fill is not None:
            fill(prop)
        SubElement(stat, f"{{{DAV}}}status").text = "HTTP/1.1 200 OK"

    def _describe_collection(self, answer: Element, collection: Collection) -> None:
        def fill(prop: Element) -> None:
            for kind in prop.iter(f"{{{DAV}}}resourcetype"):
                SubElement(kind, f"{{{CAL}}}calendar")
            SubElement(prop, f"{{{DAV}}}displayname").text = collection.title
            supported = SubElement(prop, f"{{{CAL}}}supported-calendar-component-set")
            for name in ("VEVENT", "VTODO"):
                SubElement(supported, f"{{{CAL}}}comp", name=name)
            joined = "".join(etag(content) for content in collection.objects.values())
            SubElement(prop, f"{{{APPLE}}}getctag").text = etag(joined.encode())

        self._describe(answer, f"{HOME}{quote(collection.name)}/", fill)

    def _describe_object(
        self, answer: Element, collection: Collection, name: str, content: bytes, *, data: bool
    ) -> None:
        def fill(prop: Element) -> None:
            SubElement(prop, f"{{{DAV}}}getetag").text = etag(content)
            SubElement(prop, f"{{{DAV}}}getcontenttype").text = "text/calendar"
            if data:
                SubElement(prop, f"{{{CAL}}}calendar-data").text = content.decode("utf-8", "replace")

        self._describe(answer, f"{HOME}{quote(collection.name)}/{quote(name)}", fill)


def _not_allowed(request: Request) -> Response:
    del request
    raise DavRefused(405)


def etag(content: bytes) -> str:
    """The strong ETag of an object."""
    return f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def _multistatus(answer: Element) -> Response:
    return Response(207, tostring(answer, xml_declaration=True), {"content-type": "application/xml; charset=utf-8"})


def _matches(query: Element, content: bytes) -> bool:
    """Does the object pass the query's filter: component name, UID, and time range with recurrences expanded?"""
    wanted = [each for each in query.iter(f"{{{CAL}}}comp-filter") if each.get("name") != "VCALENDAR"]
    if not wanted:
        return True
    return any(_passes(each, content) for each in wanted)


def _passes(wanted: Element, content: bytes) -> bool:
    name = wanted.get("name", "")
    if f"BEGIN:{name}".encode() not in content:
        return False
    for prop in wanted.iter(f"{{{CAL}}}prop-filter"):
        match = prop.find(f"{{{CAL}}}text-match")
        text = f"{prop.get('name')}:{match.text}" if match is not None else ""
        if text.encode() not in content.replace(b"\r\n ", b""):
            return False
    span = wanted.find(f"{{{CAL}}}time-range")
    return span is None or _within(name, content, _moment(span.get("start"), -1), _moment(span.get("end"), 1))


def _moment(written: str | None, side: int) -> datetime:
    if written is None:
        return datetime(2000, 1, 1, tzinfo=UTC) if side < 0 else datetime(2100, 1, 1, tzinfo=UTC)
    return datetime.strptime(written, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _within(name: str, content: bytes, start: datetime, end: datetime) -> bool:
    import recurring_ical_events  # pyright: ignore[reportMissingTypeStubs] - it ships none
    from icalendar import Calendar

    calendar = Calendar.from_ical(content)
    found = recurring_ical_events.of(calendar, components=[name]).between(start, end)
    return bool(found)


def ics_from(lines: Iterator[str] | list[str]) -> bytes:
    """An iCalendar object of one component, from its own lines."""
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//motet//playground//EN"]
    return "\r\n".join([*head, *lines, "END:VCALENDAR", ""]).encode()


def seeded(today: datetime) -> list[Collection]:
    """The team's calendar: two deadlines in the coming days and a stand-up every weekday."""
    stamp = f"DTSTAMP:{today:%Y%m%d}T000000Z"
    team = Collection("team", "Team")

    def put(uid: str, kind: str, *lines: str) -> None:
        team.objects[f"{uid}.ics"] = ics_from([f"BEGIN:{kind}", f"UID:{uid}", stamp, *lines, f"END:{kind}"])

    freeze, launch = today + timedelta(days=2), today + timedelta(days=9)
    put(
        "code-freeze",
        "VEVENT",
        "SUMMARY:Code freeze for v2.1",
        f"DTSTART;VALUE=DATE:{freeze:%Y%m%d}",
        f"DTEND;VALUE=DATE:{freeze + timedelta(days=1):%Y%m%d}",
        "CATEGORIES:DEADLINE",
    )
    put("launch", "VTODO", "SUMMARY:Launch review material due", f"DUE:{launch:%Y%m%d}T150000Z", "STATUS:NEEDS-ACTION")
    put(
        "standup",
        "VEVENT",
        "SUMMARY:Stand-up",
        f"DTSTART:{today:%Y%m%d}T090000Z",
        f"DTEND:{today:%Y%m%d}T091500Z",
        "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
    )
    return [team]
