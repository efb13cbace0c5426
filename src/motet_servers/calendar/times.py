"""Time as callers write it and as calendars keep it: ISO 8601, IANA zones, all-day dates, windows.

A moment with a zone is a `datetime` that knows it; an all-day value is a `date`. iCalendar's floating times and all-day
dates have no zone of their own: to be compared they are read in the calendar's zone (RFC 5545 §3.3.4, §3.3.5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from motet_servers.kit.errors import InvalidInput

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
LONGEST_WINDOW = timedelta(days=732)
"""Two years: no series of daily events balloons past 732 occurrences."""

Moment = date | datetime


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` (inclusive) to `end` (exclusive), both with a zone."""

    start: datetime
    end: datetime

    def holds(self, start: datetime, end: datetime) -> bool:
        """Does something from `start` to `end` overlap it? A thing without length counts where it is."""
        if start == end:
            return self.start <= start < self.end
        return start < self.end and end > self.start


def zone_named(name: str) -> ZoneInfo:
    """The IANA time zone; InvalidInput when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(f"{name!r} is not a time zone; use an IANA name such as Europe/Berlin or UTC.") from None


def moment(text: str, zone: ZoneInfo, argument: str) -> Moment:
    """A date for `2026-11-24`, else a moment with a zone: `2026-11-24T10:00` is in `zone`, an offset is respected."""
    text = text.strip()
    try:
        if DAY.fullmatch(text):
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{argument}: {text[:40]!r} is not a time; write 2026-11-24 for a whole day or 2026-11-24T10:00:00+01:00."
        ) from None
    return found.replace(tzinfo=zone) if found.tzinfo is None else found


def in_zone(value: Moment, zone: ZoneInfo) -> Moment:
    """The moment as wall time of `zone`; a date stays a date."""
    return value.astimezone(zone) if isinstance(value, datetime) else value


def instant(value: Moment, zone: ZoneInfo) -> datetime:
    """The UTC moment at which it is; a date is its midnight, a floating time is wall time, both in `zone`."""
    if not isinstance(value, datetime):
        value = datetime.combine(value, time(), zone)
    elif value.tzinfo is None:
        value = value.replace(tzinfo=zone)
    return value.astimezone(UTC)


def iso(value: Moment) -> str:
    """ISO 8601, UTC as `Z`, whole seconds."""
    if not isinstance(value, datetime):
        return value.isoformat()
    text = value.isoformat(timespec="seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def zone_name(value: Moment) -> str:
    """The IANA name of a moment's zone; "UTC"; "" for a date, a floating time or a bare offset."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        return ""
    if value.tzinfo is UTC:
        return "UTC"
    return getattr(value.tzinfo, "key", "")


def window(
    start: str | None, end: str | None, *, zone: ZoneInfo, now: datetime, back: timedelta, ahead: timedelta
) -> Window:
    """The asked window; left out, from `now - back` to `ahead` after the start. An end that is a date is inclusive."""
    begins = instant(moment(start, zone, "start"), zone) if start else now - back
    if end:
        last = moment(end, zone, "end")
        ends = instant(last if isinstance(last, datetime) else last + timedelta(days=1), zone)
    else:
        ends = begins + ahead + (timedelta() if start else back)
    if ends <= begins:
        raise InvalidInput("end must be after start.")
    if ends - begins > LONGEST_WINDOW:
        raise InvalidInput(f"from start to end may be at most {LONGEST_WINDOW.days} days; ask for less at a time.")
    return Window(begins.astimezone(zone), ends.astimezone(zone))
