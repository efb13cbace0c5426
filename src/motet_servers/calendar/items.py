"""Reading iCalendar text (RFC 5545): which occurrences touch a window, and what each says.

Pure: the window and the zone for floating times come in, records come out. Recurrence, overrides and exceptions are
`recurring_ical_events`' work; here is what our callers see of it. The two libraries are loaded on first use, here and
in `drafts` and `folder`: listing the tools needs neither, and they are a fifth of a server's start.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

from motet_servers.calendar.records import Attendee, Deadline, DeadlineStatus, Event, EventStatus, Period
from motet_servers.calendar.store import Item
from motet_servers.calendar.times import Moment, Window, instant, iso, zone_name
from motet_servers.kit.errors import DomainError, NotFound

if TYPE_CHECKING:
    import icalendar

MOST_OCCURRENCES = 10_000
"""Of one item in one window."""
MARGIN = timedelta(days=2)
DATES = re.compile(r"^(?:DTSTART|DTEND|DUE)(?:;[^:\r\n]*)?:(\d{8})", re.MULTILINE | re.IGNORECASE)
OPEN_ENDED = re.compile(r"^(?:RRULE|RDATE|DURATION)[;:]", re.MULTILINE | re.IGNORECASE)
DEADLINE_CATEGORIES = {"deadline", "deadlines"}


class Unreadable(DomainError):
    """The text is not valid iCalendar."""

    kind = "unreadable"

    def __init__(self, why: str) -> None:
        super().__init__(f"the calendar holds something that is not iCalendar ({why[:200]}); mend or delete it there.")


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence of an item: its component, the original start that names it ("" unless recurring)."""

    item: Item
    component: icalendar.Component
    name: str
    recurrence: str
    """RRULE of its series."""


def parsed(text: str) -> icalendar.Calendar:
    """The calendar object; Unreadable when the text is not one."""
    import icalendar

    try:
        found = icalendar.Calendar.from_ical(text)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    if found.name != "VCALENDAR":  # whatever the library says it gives: it parses any single component
        raise Unreadable("not a VCALENDAR")
    return found


def may_touch(text: str, window: Window) -> bool:
    """A cheap look before parsing: False only when no date in the text is near the window and nothing repeats."""
    unfolded = text.replace("\r\n ", "").replace("\n ", "")
    if OPEN_ENDED.search(unfolded):
        return True
    days = DATES.findall(unfolded)
    if not days:
        return True
    first, last = (window.start - MARGIN).strftime("%Y%m%d"), (window.end + MARGIN).strftime("%Y%m%d")
    return min(days) <= last and max(days) >= first


def components(calendar: icalendar.Calendar) -> list[icalendar.Component]:
    """The events and to-dos: the master first, then changed occurrences."""
    found = [component for component in calendar.subcomponents if component.name in {"VEVENT", "VTODO"}]
    return sorted(found, key=lambda component: "RECURRENCE-ID" in component)


def occurrences(item: Item, kind: str, window: Window, zone: ZoneInfo) -> list[Occurrence]:
    """The occurrences of an item's events or to-dos (VEVENT, VTODO) that overlap the window; Unreadable if broken."""
    calendar = parsed(item.text)
    found: list[Occurrence] = []
    if kind == "VTODO" and not any(is_deadline(component) for component in components(calendar)):
        return found
    recurrence = rule(calendar)
    repeats = is_recurring(calendar)
    for component in expanded(calendar, kind, window):
        name = iso(moment_of(component, "RECURRENCE-ID")) if repeats and "RECURRENCE-ID" in component else ""
        start, end = span(component)
        if window.holds(instant(start, zone), instant(end, zone)):
            found.append(Occurrence(item, component, name, recurrence))
    return found


def expanded(calendar: icalendar.Calendar, kind: str, window: Window) -> Iterator[icalendar.Component]:
    """The occurrences near the window as components of their own, at most `MOST_OCCURRENCES`; Unreadable if broken."""
    import recurring_ical_events  # pyright: ignore[reportMissingTypeStubs] - ships none; a tenth of the start's time

    zone = cast("ZoneInfo", window.start.tzinfo)
    try:
        if _too_frequent(calendar):
            raise Unreadable("a rule that repeats more than hourly")
        # the library is typed only in part: what it gives are icalendar components
        query = cast("Any", recurring_ical_events).of(calendar, components=[kind])
        found: list[icalendar.Component] = query.between(window.start, window.end)
        for component in islice(found, MOST_OCCURRENCES):
            if instant(moment_of(component, "DTSTART" if "DTSTART" in component else "DUE"), zone) < window.end:
                yield component
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Unreadable(str(error)) from error


def _too_frequent(calendar: icalendar.Calendar) -> bool:
    """Would a rule keep the machine busy? More than one occurrence an hour is no appointment."""
    for component in components(calendar):
        for found in as_list(component.get("RRULE")):
            frequency = str(next(iter(as_list(found.get("FREQ"))), "")).upper()
            times = math.prod(max(1, len(as_list(found.get(part)))) for part in ("BYHOUR", "BYMINUTE", "BYSECOND"))
            if frequency in {"SECONDLY", "MINUTELY"} or times > 24:
                return True
    return False


def one_occurrence(item: Item, name: Moment, zone: ZoneInfo) -> Occurrence:
    """The occurrence with this original start; NotFound when the series has none."""
    calendar = parsed(item.text)
    wanted = instant(name, zone)
    kind = kind_of(components(calendar)[0])
    candidates: Iterable[icalendar.Component] = [
        component
        for component in components(calendar)
        if "RECURRENCE-ID" in component and "RANGE" not in component.get("RECURRENCE-ID").params
    ]
    for component in candidates:
        if instant(moment_of(component, "RECURRENCE-ID"), zone) == wanted:
            return Occurrence(item, component, iso(moment_of(component, "RECURRENCE-ID")), rule(calendar))
    near = Window((wanted - timedelta(seconds=1)).astimezone(zone), (wanted + timedelta(days=1)).astimezone(zone))
    for component in expanded(calendar, kind, near) if is_recurring(calendar) else ():
        if instant(moment_of(component, "RECURRENCE-ID"), zone) == wanted:
            return Occurrence(item, component, iso(moment_of(component, "RECURRENCE-ID")), rule(calendar))
    raise NotFound(
        f"{text_of(components(calendar)[0], 'SUMMARY') or 'This item'} has no occurrence at {iso(name)}; "
        "take `occurrence` from list_events or list_deadlines."
    )


def master(item: Item) -> Occurrence:
    """The item itself: the series, not one occurrence; Unreadable when it holds no event and no to-do."""
    calendar = parsed(item.text)
    found = components(calendar)
    if not found:
        raise Unreadable("no event and no to-do in it")
    return Occurrence(item, found[0], "", rule(calendar))


def rule(calendar: icalendar.Calendar) -> str:
    """RRULE of the series, as text."""
    for component in components(calendar):
        for value in as_list(component.get("RRULE"))[:1]:
            return value.to_ical().decode()
    return ""


def kind_of(component: icalendar.Component) -> str:
    """VEVENT or VTODO."""
    return component.name or ""


def is_recurring(calendar: icalendar.Calendar) -> bool:
    """Does the item repeat, by rule or by dates?"""
    return any(name in component for component in components(calendar) for name in ("RRULE", "RDATE", "RECURRENCE-ID"))


def span(component: icalendar.Component) -> tuple[Moment, Moment]:
    """Start and end of an event; the due time twice for a to-do (its start is not what it is about)."""
    if component.name == "VTODO":
        due = due_of(component)
        return due, due
    start = moment_of(component, "DTSTART")
    if "DTEND" in component:
        return start, moment_of(component, "DTEND")
    if "DURATION" in component:
        return start, start + length_of(component)
    return start, start if isinstance(start, datetime) else start + timedelta(days=1)


def due_of(component: icalendar.Component) -> Moment:
    """When a to-do is due; Unreadable when it never is."""
    if "DUE" in component:
        return moment_of(component, "DUE")
    return moment_of(component, "DTSTART") + length_of(component)


def moment_of(component: icalendar.Component, name: str) -> Moment:
    """The property as a date or a moment; Unreadable when it is none."""
    value = getattr(component.get(name), "dt", None)
    if not isinstance(value, date):
        raise Unreadable(f"{name} is not a time")
    return value


def length_of(component: icalendar.Component) -> timedelta:
    """DURATION; Unreadable when it is none."""
    value = getattr(component.get("DURATION"), "dt", None)
    if not isinstance(value, timedelta):
        raise Unreadable("DURATION is not a length of time")
    return value


def event(found: Occurrence) -> Event:
    """The record of an event."""
    component = found.component
    start, end = span(component)
    return Event(
        uid=text_of(component, "UID"),
        calendar=found.item.collection.id,
        summary=text_of(component, "SUMMARY"),
        description=text_of(component, "DESCRIPTION"),
        location=text_of(component, "LOCATION"),
        start=iso(start),
        end=iso(end),
        all_day=not isinstance(start, datetime),
        time_zone=zone_name(start),
        status=_event_status(component),
        busy=blocks_time(component),
        recurring=bool(found.recurrence or found.name),
        recurrence=found.recurrence,
        occurrence=found.name,
        organizer=address(component.get("ORGANIZER")),
        attendees=attendees(component),
        categories=categories(component),
        url=text_of(component, "URL"),
        etag=found.item.etag,
        version=number_of(component, "SEQUENCE"),
    )


def deadline(found: Occurrence, *, zone: ZoneInfo, now: datetime) -> Deadline:
    """The record of something due."""
    component = found.component
    start, end = span(component)
    due = end if isinstance(end, datetime) else start
    status = _deadline_status(component)
    closes = due if isinstance(due, datetime) else due + timedelta(days=1)
    return Deadline(
        uid=text_of(component, "UID"),
        calendar=found.item.collection.id,
        summary=text_of(component, "SUMMARY"),
        description=text_of(component, "DESCRIPTION"),
        due=iso(due),
        all_day=not isinstance(due, datetime),
        time_zone=zone_name(due),
        status=status,
        overdue=status in {"open", "in-process"} and instant(closes, zone) < now,
        percent_complete=number_of(component, "PERCENT-COMPLETE"),
        priority=number_of(component, "PRIORITY"),
        occurrence=found.name,
        kind="todo" if component.name == "VTODO" else "event",
        categories=categories(component),
        url=text_of(component, "URL"),
        etag=found.item.etag,
        version=number_of(component, "SEQUENCE"),
    )


def is_deadline(component: icalendar.Component) -> bool:
    """A to-do that is due some time, or an event in the category DEADLINE."""
    if component.name == "VTODO":
        return "DUE" in component or ("DURATION" in component and "DTSTART" in component)
    return any(category.lower() in DEADLINE_CATEGORIES for category in categories(component))


def blocks_time(component: icalendar.Component, attendee: str = "") -> bool:
    """Does the event make its attendee busy (RFC 5545 §3.8.2.7)? Cancelled and declined events do not."""
    declined = any(person.email == attendee and person.response == "declined" for person in attendees(component))
    transparent = text_of(component, "TRANSP").upper() == "TRANSPARENT"
    return not (transparent or declined or text_of(component, "STATUS").upper() == "CANCELLED")


def free_and_busy(
    taken: Iterable[tuple[datetime, datetime]], window: Window, *, shortest: timedelta
) -> tuple[list[Period], list[Period]]:
    """Busy stretches merged and cut to the window, and the gaps between them that are long enough."""
    merged: list[list[datetime]] = []
    for start, end in sorted((max(start, window.start), min(end, window.end)) for start, end in taken):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(end, merged[-1][1])
        else:
            merged.append([start, end])
    edges = [window.start, *(edge for period in merged for edge in period), window.end]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    zone = window.start.tzinfo
    busy = [Period(iso(start.astimezone(zone)), iso(end.astimezone(zone))) for start, end in merged]
    free = [
        Period(iso(start.astimezone(zone)), iso(end.astimezone(zone)))
        for start, end in gaps
        if end > start and end - start >= shortest
    ]
    return busy, free


def attendees(component: icalendar.Component) -> list[Attendee]:
    """Who is invited."""
    return [
        Attendee(
            email=address(person),
            name=str(person.params.get("CN", "")),
            response=str(person.params.get("PARTSTAT", "NEEDS-ACTION")).lower(),
            role=str(person.params.get("ROLE", "REQ-PARTICIPANT")).lower(),
        )
        for person in as_list(component.get("ATTENDEE"))
        if hasattr(person, "params")
    ]


def address(value: object) -> str:
    """The mail address of a calendar user, lower case; another kind of address as it is."""
    text = "" if value is None else str(value)
    return text[7:].lower() if text[:7].lower() == "mailto:" else text


def categories(component: icalendar.Component) -> list[str]:
    """All categories."""
    found: list[str] = []
    for value in as_list(component.get("CATEGORIES")):
        found += [str(category) for category in getattr(value, "cats", [value])]
    return found


def as_list(value: Any) -> list[Any]:
    """A property that may be there several times, as a list."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def text_of(component: icalendar.Component, name: str) -> str:
    """The property as text, "" without it."""
    values = as_list(component.get(name))
    return str(values[0]) if values else ""


def number_of(component: icalendar.Component, name: str) -> int:
    """The property as a whole number, 0 without it or when it is none."""
    text = text_of(component, name)
    return int(text) if text.isdecimal() else 0


def _event_status(component: icalendar.Component) -> EventStatus:
    match text_of(component, "STATUS").upper():
        case "TENTATIVE":
            return "tentative"
        case "CANCELLED":
            return "cancelled"
        case _:
            return "confirmed"


def _deadline_status(component: icalendar.Component) -> DeadlineStatus:
    match text_of(component, "STATUS").upper():
        case "COMPLETED":
            return "completed"
        case "CANCELLED":
            return "cancelled"
        case "IN-PROCESS":
            return "in-process"
        case _:
            return "completed" if "COMPLETED" in component else "open"


def order(moment: str, zone: ZoneInfo) -> datetime:
    """What a record's time sorts by."""
    value = date.fromisoformat(moment) if len(moment) == 10 else datetime.fromisoformat(moment)
    return instant(value, zone).astimezone(UTC)
