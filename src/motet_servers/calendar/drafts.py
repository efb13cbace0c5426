"""Writing iCalendar text (RFC 5545): new items, changed items, answers to invitations, occurrences taken out.

Pure: text and wishes in, text out, `now` as an argument. A function gives None when the text already says what is
asked, so that a repeated call writes nothing. Texts are escaped by `icalendar`; what goes out unescaped (addresses,
URLs, rules) is checked here, so that no argument can smuggle in a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from motet_servers.calendar.items import (
    Occurrence,
    Unreadable,
    address,
    as_list,
    components,
    expanded,
    is_recurring,
    kind_of,
    moment_of,
    one_occurrence,
    parsed,
    span,
)
from motet_servers.calendar.records import Response
from motet_servers.calendar.store import Item
from motet_servers.calendar.times import Moment, Window, instant, iso, zone_name
from motet_servers.kit.errors import Conflict, InvalidInput

if TYPE_CHECKING:
    import icalendar

PRODID = "-//motet//calendar server//EN"
REQUEST = "X-MOTET-REQUEST"
"""Holds the fingerprint of the request that created the item: the same key with other arguments is refused."""
MAIL = re.compile(r"[^\s@:;,\"<>\\]+@[^\s@:;,\"<>\\]+")
ONE_LINE = re.compile(r"[^\x00-\x1f\x7f]*")
FREQUENCIES = {"HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
BOOKKEEPING = ("DTSTAMP", "LAST-MODIFIED", "SEQUENCE")


@dataclass(frozen=True, slots=True)
class Draft:
    """Wishes for an item. None leaves a property as it is; an empty text or list takes it away."""

    summary: str | None = None
    start: Moment | None = None
    end: Moment | None = None
    """Exclusive end of an event; when a to-do is due."""
    description: str | None = None
    location: str | None = None
    recurrence: str | None = None
    attendees: Sequence[str] | None = None
    categories: Sequence[str] | None = None
    status: str | None = None
    busy: bool | None = None
    url: str | None = None
    priority: int | None = None
    percent_complete: int | None = None
    reminder_minutes: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict[str, str])


def new_item(kind: str, uid: str, draft: Draft, *, organizer: str, now: datetime) -> str:
    """A calendar object with one VEVENT or VTODO; InvalidInput for wishes that contradict."""
    import icalendar

    component: icalendar.Component = icalendar.Event() if kind == "VEVENT" else icalendar.Todo()
    _add(component, "UID", uid)
    _add(component, "CREATED", now)
    _add(component, "SEQUENCE", 0)
    _apply(component, draft)
    if draft.attendees and organizer:
        _add(component, "ORGANIZER", icalendar.vCalAddress(f"mailto:{checked_mail(organizer)}"))
    for name, value in draft.extra.items():
        _add(component, name, value)
    _stamp(component, now)
    calendar = icalendar.Calendar()
    _add(calendar, "PRODID", PRODID)
    _add(calendar, "VERSION", "2.0")
    calendar.add_component(component)
    return _text(calendar)


def changed(item: Item, draft: Draft, *, occurrence: Moment | None, zone: ZoneInfo, now: datetime) -> str | None:
    """The item with the wishes applied to the series or to one occurrence; None when it is so already."""
    calendar = parsed(item.text)
    component = _target(calendar, item, occurrence, zone)
    before = _content(component)
    if draft.start is not None and occurrence is None:
        _refuse_to_tear(calendar, component, draft.start, zone)
    _apply(component, draft)
    if _content(component) == before:
        return None
    _next_version(component, now)
    return _text(calendar)


def answered(
    item: Item, attendee: str, response: Response, *, occurrence: Moment | None, zone: ZoneInfo, now: datetime
) -> str | None:
    """The item with this attendee's answer; None when it is so already; InvalidInput when they are not invited."""
    calendar = parsed(item.text)
    # no occurrence: the series, and the occurrences that differ from it
    asked = components(calendar) if occurrence is None else [_target(calendar, item, occurrence, zone)]
    before = calendar.to_ical()
    invitations = [(part, person) for part in asked for person in as_list(part.get("ATTENDEE"))]
    people = [(part, person) for part, person in invitations if address(person) == attendee]
    if not people:
        invited = ", ".join(dict.fromkeys(address(person) for _, person in invitations)) or "nobody"
        raise InvalidInput(f"{attendee} is not invited to this event (invited: {invited}).")
    for _, person in people:
        person.params["PARTSTAT"] = response.upper()
        person.params.pop("RSVP", None)
    if calendar.to_ical() == before:
        return None
    for part, _ in people:
        _stamp(part, now)
    return _text(calendar)


def without(item: Item, occurrence: Moment, *, zone: ZoneInfo, now: datetime) -> str | None:
    """The series without one occurrence; None when it is gone already."""
    calendar = parsed(item.text)
    wanted = instant(occurrence, zone)
    own = [component for component in components(calendar) if "RECURRENCE-ID" in component]
    taken = [component for component in own if instant(moment_of(component, "RECURRENCE-ID"), zone) == wanted]
    series = next((component for component in components(calendar) if "RECURRENCE-ID" not in component), None)
    if series is None:
        if not taken:
            return None
    else:
        excluded = [stamp.dt for value in as_list(series.get("EXDATE")) for stamp in value.dts]
        if any(instant(value, zone) == wanted for value in excluded):
            return None
        one_occurrence(item, occurrence, zone)  # raises when the series never had it
        _add(series, "EXDATE", [_as_start(occurrence, series, zone)])
        _next_version(series, now)
    calendar.subcomponents = [component for component in calendar.subcomponents if component not in taken]
    return _text(calendar)


def checked_mail(text: str) -> str:
    """The mail address, lower case, without `mailto:`; InvalidInput when it is none."""
    mail = text.strip()
    mail = mail[7:] if mail[:7].lower() == "mailto:" else mail
    if not MAIL.fullmatch(mail) or not mail.isprintable():
        raise InvalidInput(f"{text[:60]!r} is not a mail address; write ada@example.org.")
    return mail.lower()


def checked_rule(text: str) -> icalendar.vRecur:
    """The recurrence rule (RFC 5545 §3.3.10); InvalidInput when it is none or repeats by minutes or seconds."""
    import icalendar

    rule = text.strip().removeprefix("RRULE:")
    try:
        found = icalendar.vRecur.from_ical(rule if ONE_LINE.fullmatch(rule) else "")
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"recurrence {rule[:80]!r} is not an RRULE; write for example FREQ=WEEKLY;BYDAY=MO;COUNT=10."
        ) from error
    frequency = str(next(iter(as_list(found.get("FREQ"))), "")).upper()
    if frequency not in FREQUENCIES:
        raise InvalidInput(f"recurrence must say FREQ=, one of {', '.join(sorted(FREQUENCIES))}.")
    return found


def checked_url(text: str) -> str:
    """An http(s) URL; InvalidInput otherwise."""
    if not re.fullmatch(r"https?://[^\s\x00-\x1f\x7f]+", text):
        raise InvalidInput("url must be an http(s) URL.")
    return text


def _target(calendar: icalendar.Calendar, item: Item, occurrence: Moment | None, zone: ZoneInfo) -> icalendar.Component:
    """The component to change: the series, or the occurrence's own (which is made when it has none yet)."""
    if occurrence is None:
        return components(calendar)[0]
    found = one_occurrence(item, occurrence, zone)
    wanted = instant(occurrence, zone)
    for component in components(calendar):
        if "RECURRENCE-ID" in component and instant(moment_of(component, "RECURRENCE-ID"), zone) == wanted:
            return component
    return _own_component(calendar, found, occurrence, zone)


def _own_component(
    calendar: icalendar.Calendar, found: Occurrence, occurrence: Moment, zone: ZoneInfo
) -> icalendar.Component:
    own = found.component
    for name in ("RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"):
        own.pop(name, None)
    _add(own, "RECURRENCE-ID", _as_start(occurrence, components(calendar)[0], zone))
    calendar.add_component(own)
    return own


def _as_start(value: Moment, series: icalendar.Component, zone: ZoneInfo) -> Moment:
    """The occurrence's name in the form of the series' own start, as RFC 5545 §3.8.4.4 asks."""
    start = moment_of(series, "DTSTART" if "DTSTART" in series else "DUE")
    if not isinstance(start, datetime):
        return value.date() if isinstance(value, datetime) else value
    moment = instant(value, zone)
    return moment.astimezone(zone).replace(tzinfo=None) if start.tzinfo is None else moment.astimezone(start.tzinfo)


def _refuse_to_tear(calendar: icalendar.Calendar, series: icalendar.Component, start: Moment, zone: ZoneInfo) -> None:
    """Moving a series leaves changed and cancelled occurrences behind, which are named by their old start."""
    exceptions = "EXDATE" in series or len(components(calendar)) > 1
    if exceptions and is_recurring(calendar) and instant(start, zone) != instant(span(series)[0], zone):
        raise Conflict(
            "this series has changed or cancelled occurrences, which moving it would tear off; nothing was done. "
            "Move single occurrences (argument occurrence), or delete the series and create it anew."
        )


def _apply(component: icalendar.Component, draft: Draft) -> None:
    if draft.summary is not None and not draft.summary.strip():
        raise InvalidInput("summary must not be empty.")
    if draft.start is not None or draft.end is not None:
        _apply_times(component, draft.start, draft.end)
    for name, value in _properties(draft).items():
        _set(component, name, value)
    if draft.attendees is not None:
        _apply_attendees(component, draft.attendees)
    if draft.reminder_minutes is not None:
        _apply_reminder(component, draft.reminder_minutes)


def _properties(draft: Draft) -> dict[str, Any]:
    """The plain properties wished for; None takes one away."""
    wished: dict[str, Any] = {
        "SUMMARY": draft.summary,
        "DESCRIPTION": draft.description,
        "LOCATION": draft.location,
        "RRULE": draft.recurrence and checked_rule(draft.recurrence),
        "CATEGORIES": None if draft.categories is None else list(draft.categories),
        "STATUS": draft.status and draft.status.upper(),
        "TRANSP": {True: "OPAQUE", False: "TRANSPARENT", None: None}[draft.busy],
        "URL": draft.url and checked_url(draft.url),
        "PRIORITY": draft.priority,
    }
    found = {name: value or None for name, value in wished.items() if value is not None}
    if draft.percent_complete is not None:
        found["PERCENT-COMPLETE"] = draft.percent_complete
    return found


def _apply_times(component: icalendar.Component, start: Moment | None, end: Moment | None) -> None:
    """New times; an event moved by its start alone keeps its length."""
    if component.name == "VTODO":
        component.pop("DURATION", None)
        _set_time(component, "DUE", end)
        return
    if start is None:
        start, _ = span(component)
    elif end is None and "DTSTART" in component:
        old_start, old_end = span(component)
        if isinstance(old_start, datetime) != isinstance(start, datetime):
            raise InvalidInput("give end as well when a whole-day event becomes a timed one, or the other way round.")
        end = start + _length(old_start, old_end)
    if end is None:
        end = start + (timedelta(hours=1) if isinstance(start, datetime) else timedelta(days=1))
    if isinstance(start, datetime) != isinstance(end, datetime):
        raise InvalidInput("start and end must both be dates or both be times.")
    if _length(start, end) <= timedelta():
        raise InvalidInput("end must be after start.")
    component.pop("DURATION", None)
    _set_time(component, "DTSTART", start)
    _set_time(component, "DTEND", end)


def _length(start: Moment, end: Moment) -> timedelta:
    """From start to end: between two moments on the clock of UTC, between two dates in days."""
    if isinstance(start, datetime) and isinstance(end, datetime):
        return (end.astimezone(UTC) if end.tzinfo else end) - (start.astimezone(UTC) if start.tzinfo else start)
    return date(end.year, end.month, end.day) - date(start.year, start.month, start.day)


def _set_time(component: icalendar.Component, name: str, value: Moment | None) -> None:
    if value is None:
        return
    old = moment_of(component, name) if name in component else None
    if isinstance(value, datetime) and zone_name(value) in {"", "UTC"}:  # no zone was named: the event keeps its own
        value = value.astimezone(old.tzinfo if isinstance(old, datetime) and old.tzinfo else UTC)
    if old is None or not _same(old, value):
        _set(component, name, value)


def _same(one: Moment, other: Moment) -> bool:
    """The same moment, written with the same zone."""
    return type(one) is type(other) and iso(one) == iso(other) and zone_name(one) == zone_name(other)


def _apply_attendees(component: icalendar.Component, wanted: Sequence[str]) -> None:
    """The people invited; whoever was invited before keeps their answer."""
    import icalendar

    before = {address(person): person for person in as_list(component.get("ATTENDEE"))}
    component.pop("ATTENDEE", None)
    for mail in dict.fromkeys(checked_mail(text) for text in wanted):
        person: Any = before.get(mail)
        if person is None:
            person = icalendar.vCalAddress(f"mailto:{mail}")
            person.params["PARTSTAT"] = "NEEDS-ACTION"
            person.params["ROLE"] = "REQ-PARTICIPANT"
            person.params["RSVP"] = "TRUE"
        component.add("ATTENDEE", person, encode=False)  # pyright: ignore[reportUnknownMemberType] - as in `_add`


def _apply_reminder(component: icalendar.Component, minutes: int) -> None:
    import icalendar

    component.subcomponents = [part for part in component.subcomponents if part.name != "VALARM"]
    if minutes:
        alarm = icalendar.Alarm()
        _add(alarm, "ACTION", "DISPLAY")
        _add(alarm, "DESCRIPTION", str(component.get("SUMMARY", "Reminder")))
        _add(alarm, "TRIGGER", -timedelta(minutes=minutes))
        component.add_component(alarm)


def _add(component: icalendar.Component, name: str, value: Any) -> None:
    component.add(name, value)  # pyright: ignore[reportUnknownMemberType] - the library leaves the value untyped


def _set(component: icalendar.Component, name: str, value: Any) -> None:
    component.pop(name, None)
    if value is not None:
        _add(component, name, value)


def _next_version(component: icalendar.Component, now: datetime) -> None:
    sequence = component.get("SEQUENCE")
    _set(component, "SEQUENCE", int(sequence) + 1 if sequence is not None else 1)
    _stamp(component, now)


def _stamp(component: icalendar.Component, now: datetime) -> None:
    _set(component, "DTSTAMP", now)
    _set(component, "LAST-MODIFIED", now)


def _content(component: icalendar.Component) -> bytes:
    copy = component.copy(recursive=True)
    for name in BOOKKEEPING:
        copy.pop(name, None)
    return copy.to_ical()


def _text(calendar: icalendar.Calendar) -> str:
    calendar.add_missing_timezones()
    return calendar.to_ical().decode()


def is_same_request(item: Item, fingerprint: str) -> bool:
    """Was the item created by the same request? True also when the calendar dropped the note that tells."""
    return all(str(component.get(REQUEST, fingerprint)) == fingerprint for component in components(parsed(item.text)))


def repeats_at_all(text: str, zone: ZoneInfo) -> bool:
    """Has a new item's rule an occurrence in its first two years, and not more than one an hour?"""
    calendar = parsed(text)
    component = components(calendar)[0]
    start = instant(span(component)[0], zone).astimezone(zone)
    try:
        return any(True for _ in expanded(calendar, kind_of(component), Window(start, start + timedelta(days=731))))
    except Unreadable:
        return False
