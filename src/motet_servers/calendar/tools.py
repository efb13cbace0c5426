"""What callers can do: the tools' functions, with one store behind them.

They decide what to read and write; `items` and `drafts` know iCalendar, the store knows where it is kept.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field

from motet_servers.calendar import drafts, items
from motet_servers.calendar.arguments import (
    CalendarName,
    End,
    Etag,
    Limit,
    Mail,
    Mails,
    Minutes,
    Occurring,
    Query,
    Rule,
    Short,
    Start,
    Summary,
    Text,
    Time,
    Uid,
    Words,
    Zone,
)
from motet_servers.calendar.drafts import Draft
from motet_servers.calendar.items import Occurrence, Unreadable
from motet_servers.calendar.records import (
    Answered,
    Calendar,
    Calendars,
    Deadline,
    DeadlinePage,
    Deleted,
    Event,
    EventPage,
    EventStatus,
    FreeBusy,
    Written,
)
from motet_servers.calendar.shelf import Shelf
from motet_servers.calendar.store import Collection, Item, Store
from motet_servers.calendar.times import Moment, Window, in_zone, instant, iso, moment, window, zone_named
from motet_servers.kit import idempotency, paging
from motet_servers.kit.arguments import Cursor, Key
from motet_servers.kit.errors import Conflict, InvalidInput, TooLarge
from motet_servers.kit.progress import note
from motet_servers.kit.threads import Stop, in_thread

EVENTS_AHEAD = timedelta(days=30)
DEADLINES_BACK = timedelta(days=30)
DEADLINES_AHEAD = timedelta(days=90)
DOMAIN = "calendar"
MOST_LISTED = 20_000
"""Occurrences one call looks through."""
Record = TypeVar("Record", Event, Deadline)


@dataclass(frozen=True, slots=True)
class Habits:
    """What holds unless a call says otherwise."""

    zone: ZoneInfo
    default: str = ""
    """Id of the calendar for new items; "" when there is none unless only one exists."""
    mail: str = ""
    """The mail address the user is invited by, and organizes with."""


class CalendarTools:
    """The tools of one calendar server."""

    def __init__(self, store: Store, habits: Habits, *, clock: Callable[[], datetime]) -> None:
        """Work on this store; `clock` gives the moment, with a zone."""
        self._store = store
        self._habits = habits
        self._clock = clock
        self.shelf = Shelf(store, habits.default)
        self.on_write: Callable[[], None] = lambda: None
        """Called when something may have been written."""
        self._keys = idempotency.KeyLocks()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def list_calendars(self) -> Calendars:
        """List the calendars that can be seen, with what each can hold."""
        found = await self.shelf.refresh()
        default = self.shelf.default(found)
        return Calendars(
            [
                Calendar(one.id, one.name, one.description, one.color, list(one.components), one == default)
                for one in found
            ],
            len(found),
        )

    async def list_events(
        self,
        calendar: CalendarName = None,
        start: Start = None,
        end: End = None,
        query: Query = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> EventPage:
        """List events in order of their start; each occurrence of a recurring event is listed on its own."""
        span = self._window(start, end, ahead=EVENTS_AHEAD)
        found, unreadable = await self._occurrences(await self.shelf.chosen(calendar), "VEVENT", span)
        records = [items.event(one) for one in found]
        if query:
            records = [record for record in records if _mentions(record, query)]
        page, following = self._page(records, lambda record: record.start, limit, cursor)
        return EventPage(page, len(page), iso(span.start), iso(span.end), unreadable, following)

    async def get_event(self, uid: Uid, calendar: CalendarName = None, occurrence: Occurring = None) -> Event:
        """Get one event by its UID: the series, or one occurrence of it."""
        item = await self.shelf.item(uid, calendar)
        found = self._one(item, occurrence)
        if found.component.name != "VEVENT":
            raise InvalidInput(f"{uid} is a deadline, not an event; list_deadlines shows it.")
        return items.event(found)

    async def list_deadlines(
        self,
        calendar: CalendarName = None,
        start: Annotated[Time | None, Field(description="Due from when, ISO 8601. Left out: 30 days ago.")] = None,
        end: Annotated[Time | None, Field(description="Due until when, ISO 8601. Left out: 90 days ahead.")] = None,
        include_completed: Annotated[bool, Field(description="Also what is completed or cancelled.")] = False,  # noqa: FBT002 - callers name it, over JSON
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> DeadlinePage:
        """List what is due, soonest first: to-dos with a due time, and events in the category DEADLINE."""
        span = self._window(start, end, back=DEADLINES_BACK, ahead=DEADLINES_AHEAD)
        chosen = await self.shelf.chosen(calendar)
        todos, broken = await self._occurrences(chosen, "VTODO", span)
        events, broken_too = await self._occurrences(chosen, "VEVENT", span)
        records = [
            items.deadline(one, zone=self._habits.zone, now=self._clock())
            for one in [*todos, *events]
            if items.is_deadline(one.component)
        ]
        if not include_completed:
            records = [record for record in records if record.status in {"open", "in-process"}]
        page, following = self._page(records, lambda record: record.due, limit, cursor)
        return DeadlinePage(page, len(page), iso(span.start), iso(span.end), broken + broken_too, following)

    async def get_free_busy(
        self,
        start: Annotated[Time, Field(description="From when, ISO 8601.")],
        end: Annotated[Time, Field(description="Until when, ISO 8601; a bare date is included.")],
        calendars: Annotated[
            list[Annotated[str, Field(max_length=300)]] | None,
            Field(description="Ids or names. Left out: all.", max_length=50),
        ] = None,
        min_free_minutes: Annotated[int, Field(description="Leave out shorter gaps.", ge=0, le=10_080)] = 0,
        time_zone: Zone = None,
    ) -> FreeBusy:
        """Say when the calendars are busy and when there is time, without telling what for.

        Cancelled, declined and transparent events leave the time free.
        """
        span = self._window(start, end, zone=time_zone)
        chosen = (
            [one for name in calendars for one in await self.shelf.chosen(name)]
            if calendars
            else await self.shelf.chosen(None)
        )
        found, _ = await self._occurrences(chosen, "VEVENT", span)
        zone = self._habits.zone
        taken = [
            (instant(begins, zone), instant(ends, zone))
            for begins, ends in (
                items.span(one.component) for one in found if items.blocks_time(one.component, self._habits.mail)
            )
        ]
        busy, free = items.free_and_busy(taken, span, shortest=timedelta(minutes=min_free_minutes))
        return FreeBusy(iso(span.start), iso(span.end), busy, free, [one.id for one in chosen])

    # -- writing -----------------------------------------------------------------------------------------------------

    async def create_event(
        self,
        summary: Summary,
        start: Annotated[Time, Field(description="ISO 8601; a bare date makes a whole-day event.")],
        end: Annotated[Time | None, Field(description="Exclusive end. Left out: one hour, or one day.")] = None,
        calendar: CalendarName = None,
        description: Text = None,
        location: Short = None,
        time_zone: Zone = None,
        recurrence: Rule = None,
        attendees: Mails = None,
        categories: Words = None,
        status: EventStatus | None = None,
        busy: Annotated[bool | None, Field(description="Does it block time? Left out: yes.")] = None,
        url: Annotated[str | None, Field(description="A page about it.", max_length=2000)] = None,
        reminder_minutes: Minutes = None,
        idempotency_key: Key = None,
    ) -> Written:
        """Create an event. The calendar server sends invitations to attendees if it does scheduling."""
        draft = Draft(
            summary=summary,
            start=self._moment(start, "start", time_zone),
            end=self._moment(end, "end", time_zone),
            description=description or None,
            location=location or None,
            recurrence=recurrence or None,
            attendees=attendees or None,
            categories=categories or None,
            status=status,
            busy=busy,
            url=url or None,
            reminder_minutes=reminder_minutes,
        )
        return await self._create("VEVENT", "create_event", calendar, draft, idempotency_key)

    async def create_deadline(
        self,
        summary: Summary,
        due: Annotated[Time, Field(description="ISO 8601; a bare date means by the end of that day.")],
        calendar: CalendarName = None,
        description: Text = None,
        time_zone: Zone = None,
        recurrence: Rule = None,
        categories: Words = None,
        priority: Annotated[int | None, Field(description="1 highest to 9 lowest.", ge=0, le=9)] = None,
        url: Annotated[str | None, Field(description="A page about it.", max_length=2000)] = None,
        reminder_minutes: Minutes = None,
        idempotency_key: Key = None,
    ) -> Written:
        """Create a deadline: a to-do that is due at a time."""
        when = self._moment(due, "due", time_zone)
        draft = Draft(
            summary=summary,
            start=when if recurrence else None,
            end=when,
            description=description or None,
            recurrence=recurrence or None,
            categories=categories or None,
            status="NEEDS-ACTION",
            priority=priority,
            url=url or None,
            reminder_minutes=reminder_minutes,
        )
        return await self._create("VTODO", "create_deadline", calendar, draft, idempotency_key)

    async def update_event(
        self,
        uid: Uid,
        calendar: CalendarName = None,
        occurrence: Occurring = None,
        summary: Annotated[str | None, Field(max_length=1000)] = None,
        start: Annotated[Time | None, Field(description="Without end, the event keeps its length.")] = None,
        end: Annotated[Time | None, Field(description="Exclusive end.")] = None,
        description: Text = None,
        location: Short = None,
        time_zone: Zone = None,
        recurrence: Rule = None,
        attendees: Annotated[
            list[Mail] | None,
            Field(description="All who are invited now; those who stay keep their answer.", max_length=200),
        ] = None,
        categories: Words = None,
        status: EventStatus | None = None,
        busy: Annotated[bool | None, Field(description="Does it block time?")] = None,
        url: Annotated[str | None, Field(max_length=2000)] = None,
        reminder_minutes: Minutes = None,
        expected_etag: Etag = None,
    ) -> Written:
        """Change an event, a series, or one occurrence of a series. What is left out stays; "" or [] takes it away."""
        if occurrence and recurrence is not None:
            raise InvalidInput("one occurrence has no recurrence of its own; leave occurrence or recurrence out.")
        draft = Draft(
            summary=summary,
            start=self._moment(start, "start", time_zone),
            end=self._moment(end, "end", time_zone),
            description=description,
            location=location,
            recurrence=recurrence,
            attendees=attendees,
            categories=categories,
            status=status,
            busy=busy,
            url=url,
            reminder_minutes=reminder_minutes,
        )
        return await self._update("VEVENT", uid, calendar, occurrence, draft, expected_etag)

    async def update_deadline(
        self,
        uid: Uid,
        calendar: CalendarName = None,
        summary: Annotated[str | None, Field(max_length=1000)] = None,
        due: Annotated[Time | None, Field(description="New due time, ISO 8601.")] = None,
        description: Text = None,
        time_zone: Zone = None,
        status: Annotated[Literal["open", "in-process", "completed", "cancelled"] | None, Field()] = None,
        percent_complete: Annotated[int | None, Field(ge=0, le=100)] = None,
        categories: Words = None,
        priority: Annotated[int | None, Field(ge=0, le=9)] = None,
        url: Annotated[str | None, Field(max_length=2000)] = None,
        occurrence: Occurring = None,
        expected_etag: Etag = None,
    ) -> Written:
        """Change a deadline, for example complete it. What is left out stays; "" or [] takes it away."""
        draft = Draft(
            summary=summary,
            end=self._moment(due, "due", time_zone),
            description=description,
            status={"open": "NEEDS-ACTION"}.get(status, status) if status else None,
            percent_complete=100 if status == "completed" and percent_complete is None else percent_complete,
            categories=categories,
            priority=priority,
            url=url,
        )
        return await self._update("VTODO", uid, calendar, occurrence, draft, expected_etag)

    async def respond_to_event(
        self,
        uid: Uid,
        response: Annotated[Literal["accepted", "declined", "tentative"], Field(description="The answer.")],
        calendar: CalendarName = None,
        occurrence: Occurring = None,
        attendee: Annotated[
            Mail | None, Field(description="Who answers, by mail address. Left out: the server's user.")
        ] = None,
    ) -> Answered:
        """Answer an invitation. The calendar server tells the organizer if it does scheduling."""
        mail = drafts.checked_mail(attendee or self._habits.mail or "") if attendee or self._habits.mail else ""
        if not mail:
            raise InvalidInput("say who answers: argument attendee, or CALENDAR_EMAIL in the server's environment.")
        item = await self.shelf.item(uid, calendar)
        moment_of = self._occurrence(occurrence)
        text = drafts.answered(item, mail, response, occurrence=moment_of, zone=self._habits.zone, now=self._clock())
        stored = item if text is None else await self._replaced(item, text)
        found = self._one(stored, occurrence)
        return Answered(
            uid=uid,
            calendar=stored.collection.id,
            summary=items.text_of(found.component, "SUMMARY"),
            attendee=mail,
            response=response,
            occurrence=found.name,
            etag=stored.etag,
            changed=text is not None,
        )

    async def delete_event(
        self, uid: Uid, calendar: CalendarName = None, occurrence: Occurring = None, expected_etag: Etag = None
    ) -> Deleted:
        """Delete an event or a deadline, a whole series, or one occurrence of a series."""
        item = await self.shelf.find(uid, calendar)
        if item is None:
            where = (await self.shelf.chosen(calendar))[0].id if calendar else ""
            return Deleted(uid, where, occurrence or "", existed=False)
        _check_etag(item, expected_etag)
        if not occurrence:
            existed = await self._store.delete(item)
            self.on_write()
            return Deleted(uid, item.collection.id, "", existed=existed)
        when = moment(occurrence, self._habits.zone, "occurrence")
        text = drafts.without(item, when, zone=self._habits.zone, now=self._clock())
        if text is not None:
            await self._replaced(item, text)
        return Deleted(uid, item.collection.id, occurrence, existed=text is not None)

    async def ical(self, calendar: str, uid: str) -> str:
        """The item as it is stored, as iCalendar text."""
        return (await self.shelf.item(uid, calendar)).text

    # -- how -----------------------------------------------------------------------------------------------------------

    async def _create(self, kind: str, tool: str, calendar: str | None, draft: Draft, key: str | None) -> Written:
        key = idempotency.checked(key)
        collection = await self.shelf.target(calendar, kind)
        uid = f"motet-{idempotency.mark(DOMAIN, tool, key)}" if key else str(uuid.uuid4())
        fingerprint = idempotency.fingerprint([tool, collection.id, _wishes(draft)])
        noted = replace(draft, extra={drafts.REQUEST: fingerprint}) if key else draft
        text = drafts.new_item(kind, uid, noted, organizer=self._habits.mail, now=self._clock())
        if draft.recurrence and not drafts.repeats_at_all(text, self._habits.zone):
            raise InvalidInput(f"recurrence {draft.recurrence!r} never happens, or more than hourly.")
        async with self._keys.hold(key):
            stored = await self._store.create(collection, uid, text)
            if stored is not None:
                self.on_write()
                return self._written(stored, None, changed=True)
            found = await self._store.find(collection, uid)
        if found is None:
            raise Conflict(
                f"the calendar says that {uid} is taken, but does not show it; choose another idempotency_key."
            )
        if not drafts.is_same_request(found, fingerprint):
            raise Conflict("this idempotency_key was used for another request; nothing was written. Choose a new key.")
        return self._written(found, None, changed=False)

    async def _update(
        self, kind: str, uid: str, calendar: str | None, occurrence: str | None, draft: Draft, expected: str | None
    ) -> Written:
        item = await self.shelf.item(uid, calendar)
        if self._one(item, None).component.name != kind:
            raise InvalidInput(
                f"{uid} is {'a deadline' if kind == 'VEVENT' else 'an event'}; use the other update tool."
            )
        when = self._occurrence(occurrence)
        text = drafts.changed(item, draft, occurrence=when, zone=self._habits.zone, now=self._clock())
        if text is None:
            return self._written(item, occurrence, changed=False)
        _check_etag(item, expected)
        return self._written(await self._replaced(item, text), occurrence, changed=True)

    async def _replaced(self, item: Item, text: str) -> Item:
        stored = await self._store.replace(item, text)
        self.on_write()
        return stored

    def _written(self, item: Item, occurrence: str | None, *, changed: bool) -> Written:
        found = self._one(item, occurrence)
        component = found.component
        start, end = items.span(component)
        return Written(
            uid=items.text_of(component, "UID"),
            calendar=item.collection.id,
            summary=items.text_of(component, "SUMMARY"),
            start=iso(start) if component.name == "VEVENT" else "",
            end=iso(end),
            occurrence=found.name,
            etag=item.etag,
            version=items.number_of(component, "SEQUENCE"),
            changed=changed,
        )

    async def _occurrences(self, chosen: Sequence[Collection], kind: str, span: Window) -> tuple[list[Occurrence], int]:
        """All occurrences in the window, and how many items could not be read."""
        found: list[Occurrence] = []
        broken = 0
        for number, collection in enumerate(chosen):
            await note(number, len(chosen), collection.id)
            stored = await self._store.items(collection, kind, span)
            new, unread = await self._expanded(stored, kind, span)
            found += new
            broken += unread
            if len(found) > MOST_LISTED:
                raise TooLarge(f"over {MOST_LISTED:,} occurrences in this time; ask for less of it at a time.")
        return found, broken

    async def _expanded(self, stored: Sequence[Item], kind: str, span: Window) -> tuple[list[Occurrence], int]:
        zone = self._habits.zone
        return await in_thread(lambda stop: _expand(stored, kind, span, zone, stop))

    def _one(self, item: Item, occurrence: str | None) -> Occurrence:
        when = self._occurrence(occurrence)
        return items.master(item) if when is None else items.one_occurrence(item, when, self._habits.zone)

    def _occurrence(self, occurrence: str | None) -> Moment | None:
        return moment(occurrence, self._habits.zone, "occurrence") if occurrence else None

    def _window(
        self,
        start: str | None,
        end: str | None,
        *,
        back: timedelta = timedelta(),
        ahead: timedelta = EVENTS_AHEAD,
        zone: str | None = None,
    ) -> Window:
        chosen = zone_named(zone) if zone else self._habits.zone
        return window(start or None, end or None, zone=chosen, now=self._clock(), back=back, ahead=ahead)

    def _moment(self, text: str | None, argument: str, time_zone: str | None) -> Moment | None:
        if text is None:
            return None
        if not time_zone:
            return moment(text, self._habits.zone, argument)
        zone = zone_named(time_zone)
        return in_zone(moment(text, zone, argument), zone)

    def _page(
        self, records: Iterable[Record], when: Callable[[Record], str], limit: int, cursor: str | None
    ) -> tuple[list[Record], str | None]:
        """One page in order of time, then UID, and where the next begins: after a record, not after so many."""
        zone = self._habits.zone

        def place(at: str, uid: str, calendar: str) -> tuple[datetime, str, str]:
            return items.order(at, zone), uid, calendar

        ordered = sorted(
            ((place(when(record), record.uid, record.calendar), record) for record in records), key=lambda pair: pair[0]
        )
        if cursor:
            position = paging.decode(cursor)
            try:
                after = place(*(str(position.get(name, "")) for name in ("at", "uid", "calendar")))
            except ValueError:
                raise InvalidInput(
                    "cursor is not one this server gave; leave it out to start at the beginning."
                ) from None
            ordered = [pair for pair in ordered if pair[0] > after]
        page = [record for _, record in ordered[:limit]]
        if len(ordered) <= limit:
            return page, None
        last = page[-1]
        return page, paging.encode({"at": when(last), "uid": last.uid, "calendar": last.calendar})


def _expand(
    stored: Sequence[Item], kind: str, span: Window, zone: ZoneInfo, stop: Stop
) -> tuple[list[Occurrence], int]:
    found: list[Occurrence] = []
    broken = 0
    for item in stored:
        if stop() or len(found) > MOST_LISTED:
            break
        try:
            found += items.occurrences(item, kind, span, zone)
        except Unreadable:
            broken += 1
    return found, broken


def _mentions(record: Event, query: str) -> bool:
    people = " ".join(f"{person.name} {person.email}" for person in record.attendees)
    text = " ".join((record.summary, record.description, record.location, people))
    return query.lower() in text.lower()


def _check_etag(item: Item, expected: str | None) -> None:
    if expected is not None and expected != item.etag:
        raise Conflict("somebody changed this item since you read it; nothing was written. Read it again, then decide.")


def _wishes(draft: Draft) -> dict[str, object]:
    """The draft as plain JSON, for its fingerprint."""
    names = [name for name in draft.__slots__ if name != "extra"]
    values = {name: getattr(draft, name) for name in names}
    return {name: iso(value) if isinstance(value, date) else value for name, value in values.items()}
