"""What tools and resources answer with: flat records, every field always there, texts empty rather than absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Response = Literal["needs-action", "accepted", "declined", "tentative", "delegated"]
EventStatus = Literal["confirmed", "tentative", "cancelled"]
DeadlineStatus = Literal["open", "in-process", "completed", "cancelled"]

WHEN = "ISO 8601; a bare date means the whole day"


@dataclass(frozen=True, slots=True)
class Calendar:
    """One calendar."""

    id: Annotated[str, Field(description="What the `calendar` argument takes.")]
    name: str
    description: str
    color: str
    components: Annotated[list[str], Field(description="What it can hold: VEVENT (events), VTODO (deadlines).")]
    default: Annotated[bool, Field(description="New items go here when no calendar is named.")]


@dataclass(frozen=True, slots=True)
class Calendars:
    """The calendars that can be seen."""

    calendars: list[Calendar]
    count: int


@dataclass(frozen=True, slots=True)
class Attendee:
    """One person invited."""

    email: str
    name: str
    response: str
    role: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event, or one occurrence of a recurring event."""

    uid: str
    calendar: str
    summary: str
    description: str
    location: str
    start: Annotated[str, Field(description=WHEN)]
    end: Annotated[str, Field(description=f"{WHEN}; exclusive: a one-day event ends on the next date.")]
    all_day: bool
    time_zone: Annotated[str, Field(description="IANA name; empty for whole days and floating times.")]
    status: EventStatus
    busy: Annotated[bool, Field(description="Does it block time in free/busy?")]
    recurring: bool
    recurrence: Annotated[str, Field(description="RRULE of the series, empty without one.")]
    occurrence: Annotated[str, Field(description="Names this occurrence to other tools; empty unless recurring.")]
    organizer: str
    attendees: list[Attendee]
    categories: list[str]
    url: str
    etag: Annotated[str, Field(description="Changes with every change; pass as expected_etag.")]
    version: Annotated[int, Field(description="iCalendar SEQUENCE: counts the organizer's changes.")]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events ordered by start."""

    events: list[Event]
    count: int
    start: str
    end: str
    unreadable: Annotated[int, Field(description="Items left out because they are not valid iCalendar.")]
    next_cursor: Annotated[str | None, Field(description="Pass as cursor for the next page; null at the end.")]


@dataclass(frozen=True, slots=True)
class Deadline:
    """Something due: a to-do with a due time, or an event in the category DEADLINE."""

    uid: str
    calendar: str
    summary: str
    description: str
    due: Annotated[str, Field(description=WHEN)]
    all_day: bool
    time_zone: str
    status: DeadlineStatus
    overdue: bool
    percent_complete: int
    priority: Annotated[int, Field(description="1 is highest, 9 lowest, 0 none (RFC 5545).")]
    occurrence: Annotated[str, Field(description="Names this occurrence to other tools; empty unless recurring.")]
    kind: Annotated[Literal["todo", "event"], Field(description="How the calendar keeps it.")]
    categories: list[str]
    url: str
    etag: str
    version: int


@dataclass(frozen=True, slots=True)
class DeadlinePage:
    """Deadlines ordered by due time."""

    deadlines: list[Deadline]
    count: int
    start: str
    end: str
    unreadable: Annotated[int, Field(description="Items left out because they are not valid iCalendar.")]
    next_cursor: Annotated[str | None, Field(description="Pass as cursor for the next page; null at the end.")]


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of time; `end` is exclusive."""

    start: str
    end: str


@dataclass(frozen=True, slots=True)
class FreeBusy:
    """When somebody is busy and when free."""

    start: str
    end: str
    busy: Annotated[list[Period], Field(description="Merged and in order.")]
    free: Annotated[list[Period], Field(description="The gaps between, at least as long as asked.")]
    calendars: list[str]


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left behind."""

    uid: str
    calendar: str
    summary: str
    start: Annotated[str, Field(description="Start of an event; empty for a deadline.")]
    end: Annotated[str, Field(description="End of an event, due time of a deadline.")]
    occurrence: str
    etag: str
    version: int
    changed: Annotated[
        bool, Field(description="False: it was like this already (a repeated call), nothing was written.")
    ]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer to an invitation."""

    uid: str
    calendar: str
    summary: str
    attendee: str
    response: Response
    occurrence: str
    etag: str
    changed: Annotated[bool, Field(description="False: this was the answer already.")]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What is gone."""

    uid: str
    calendar: str
    occurrence: str
    existed: Annotated[bool, Field(description="False: there was no such item (any more); nothing was done.")]
