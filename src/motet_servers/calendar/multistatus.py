"""WebDAV's XML (RFC 4918, RFC 4791): the requests we send, and the multistatus answers taken apart.

Answers are read with defusedxml: no entities, no DTD tricks. Only what succeeded (status 2xx per property) counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import defusedxml.ElementTree as SafeTree
from defusedxml.common import DefusedXmlException

from motet_servers.calendar.times import Window
from motet_servers.kit.errors import Unavailable

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DAV = "{DAV:}"
CALDAV = "{urn:ietf:params:xml:ns:caldav}"
NAMESPACES = (
    'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:a="http://apple.com/ns/ical/" '
    'xmlns:s="http://calendarserver.org/ns/"'
)
HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
ABOUT = "".join(
    f"<{name}/>"
    for name in (
        "d:resourcetype",
        "d:displayname",
        "d:current-user-principal",
        "c:calendar-home-set",
        "c:calendar-description",
        "c:supported-calendar-component-set",
        "a:calendar-color",
    )
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a multistatus says about one resource."""

    href: str
    etag: str = ""
    data: str = ""
    """Its iCalendar text."""
    is_calendar: bool = False
    name: str = ""
    description: str = ""
    color: str = ""
    components: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    """Where the user's calendars are."""
    principal: str = ""
    state: str = ""
    """Its sync token or ctag."""
    missing: bool = field(default=False, repr=False)


def about_query() -> bytes:
    """PROPFIND: what a resource is, and where the calendars are."""
    return f"{HEAD}<d:propfind {NAMESPACES}><d:prop>{ABOUT}</d:prop></d:propfind>".encode()


def state_query() -> bytes:
    """PROPFIND: which state a calendar is in (RFC 6578 §4; CalendarServer's ctag), and the etags of what is in it."""
    return (
        f"{HEAD}<d:propfind {NAMESPACES}><d:prop><d:sync-token/><s:getctag/><d:getetag/></d:prop></d:propfind>".encode()
    )


def window_query(component: str, window: Window) -> bytes:
    """REPORT calendar-query: items with such a component that touch the window (RFC 4791 §7.8)."""
    start, end = (moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ") for moment in (window.start, window.end))
    return _query(
        f'<c:comp-filter name="{escape(component)}"><c:time-range start="{start}" end="{end}"/></c:comp-filter>'
    )


def uid_query(component: str, uid: str) -> bytes:
    """REPORT calendar-query: items whose UID holds this text (RFC 4791 §7.8.6)."""
    return _query(
        f'<c:comp-filter name="{escape(component)}"><c:prop-filter name="UID">'
        f'<c:text-match collation="i;octet">{escape(uid)}</c:text-match></c:prop-filter></c:comp-filter>'
    )


def _query(inner: str) -> bytes:
    return (
        f"{HEAD}<c:calendar-query {NAMESPACES}><d:prop><d:getetag/><c:calendar-data/></d:prop>"
        f'<c:filter><c:comp-filter name="VCALENDAR">{inner}</c:comp-filter></c:filter></c:calendar-query>'
    ).encode()


def read(content: bytes) -> list[Found]:
    """What a multistatus answer says; Unavailable when it is none."""
    root = _root(content)
    if root is None or root.tag != f"{DAV}multistatus":
        raise Unavailable("the calendar's answer is not WebDAV; does CALDAV_URL point to a CalDAV server?")
    return [_found(response) for response in root.iterfind(f"{DAV}response")]


def error_words(content: bytes) -> str:
    """The precondition that failed, in WebDAV's own words (RFC 4918 §16), or ""."""
    root = _root(content)
    if root is None or root.tag != f"{DAV}error":
        return ""
    return ", ".join(child.tag.rpartition("}")[2] for child in root)


def _root(content: bytes) -> Element | None:
    try:
        return SafeTree.fromstring(content, forbid_dtd=True)
    except (SafeTree.ParseError, DefusedXmlException, ValueError, LookupError):
        return None


def _found(response: Element) -> Found:
    properties = [
        prop
        for propstat in response.iterfind(f"{DAV}propstat")
        if " 2" in propstat.findtext(f"{DAV}status", " 200")
        for prop in propstat.iterfind(f"{DAV}prop/*")
    ]
    by_name = {prop.tag: prop for prop in properties}
    kinds = by_name.get(f"{DAV}resourcetype")
    supported = by_name.get(f"{CALDAV}supported-calendar-component-set")
    return Found(
        href=(response.findtext(f"{DAV}href") or "").strip(),
        etag=_text(by_name.get(f"{DAV}getetag")),
        data=_text(by_name.get(f"{CALDAV}calendar-data")),
        is_calendar=kinds is not None and kinds.find(f"{CALDAV}calendar") is not None,
        name=_text(by_name.get(f"{DAV}displayname")),
        description=_text(by_name.get(f"{CALDAV}calendar-description")),
        color=_text(by_name.get("{http://apple.com/ns/ical/}calendar-color")),
        components=tuple(part.get("name", "") for part in supported) if supported is not None else (),
        homes=_hrefs(by_name.get(f"{CALDAV}calendar-home-set")),
        principal=next(iter(_hrefs(by_name.get(f"{DAV}current-user-principal"))), ""),
        state=_text(by_name.get(f"{DAV}sync-token")) or _text(by_name.get("{http://calendarserver.org/ns/}getctag")),
        missing=" 404" in response.findtext(f"{DAV}status", ""),
    )


def _text(element: Element | None) -> str:
    return "" if element is None else (element.text or "").strip()


def _hrefs(element: Element | None) -> tuple[str, ...]:
    if element is None:
        return ()
    found: Sequence[Element] = element.findall(f"{DAV}href")
    return tuple(text for href in found if (text := _text(href)))
