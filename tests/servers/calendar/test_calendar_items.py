"""Reading and writing iCalendar text: recurrence, zones, busy time, and arguments that try to smuggle something in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from motet_servers.calendar import drafts, items
from motet_servers.calendar.drafts import Draft
from motet_servers.calendar.records import Period
from motet_servers.calendar.store import Collection, Item
from motet_servers.calendar.times import Window, iso, moment, window
from motet_servers.kit.errors import Conflict, InvalidInput, NotFound

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TEAM = Collection("team", "team")


def item(*lines: str, kind: str = "VEVENT") -> Item:
    text = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//EN", f"BEGIN:{kind}", "UID:u", "DTSTAMP:20261101T000000Z"]
    return Item(TEAM, "u.ics", '"1"', "\r\n".join([*text, *lines, f"END:{kind}", "END:VCALENDAR", ""]))


def span(start: str, end: str) -> Window:
    return window(start, end, zone=BERLIN, now=NOW, back=timedelta(), ahead=timedelta())


def starts(found: Item, start: str, end: str) -> list[str]:
    return [items.event(one).start for one in items.occurrences(found, "VEVENT", span(start, end), BERLIN)]


def changed(found: Item, draft: Draft, occurrence: date | None = None) -> str | None:
    return drafts.changed(found, draft, occurrence=occurrence, zone=BERLIN, now=NOW)


WEEKLY = item(
    "SUMMARY:Weekly",
    "DTSTART;TZID=Europe/Berlin:20261019T090000",
    "DTEND;TZID=Europe/Berlin:20261019T100000",
    "RRULE:FREQ=WEEKLY",
)


def test_a_weekly_event_stays_at_its_wall_time_over_the_change_to_winter_time() -> None:
    assert starts(WEEKLY, "2026-10-19", "2026-10-27") == ["2026-10-19T09:00:00+02:00", "2026-10-26T09:00:00+01:00"]


def test_whole_days_and_floating_times_are_read_in_the_calendars_zone() -> None:
    day = item("SUMMARY:Day", "DTSTART;VALUE=DATE:20261124")
    floating = item("SUMMARY:Float", "DTSTART:20261124T003000", "DURATION:PT1H")
    assert starts(day, "2026-11-23T23:30:00Z", "2026-11-23T23:45:00Z") == ["2026-11-24"]
    assert starts(day, "2026-11-24T23:00:00Z", "2026-11-25T22:00:00Z") == []
    assert starts(floating, "2026-11-23T23:00:00Z", "2026-11-24T00:00:00Z") == ["2026-11-24T00:30:00"]


def test_an_event_that_ends_when_the_window_begins_is_not_in_it() -> None:
    event = item("SUMMARY:E", "DTSTART:20261124T100000Z", "DTEND:20261124T110000Z")
    assert starts(event, "2026-11-24T11:00:00Z", "2026-11-24T12:00:00Z") == []
    assert starts(event, "2026-11-24T10:59:59Z", "2026-11-24T12:00:00Z") == ["2026-11-24T10:00:00Z"]


@pytest.mark.parametrize(
    "rule", ["FREQ=SECONDLY", "FREQ=MINUTELY;COUNT=3", "FREQ=DAILY;BYHOUR=1,2,3,4,5;BYMINUTE=0,10,20,30,40,50"]
)
def test_rules_that_would_keep_the_machine_busy_are_not_followed(rule: str) -> None:
    busy = item("SUMMARY:S", "DTSTART:20261124T100000Z", "DURATION:PT1S", f"RRULE:{rule}")
    with pytest.raises(items.Unreadable, match="more than hourly"):
        starts(busy, "2026-11-24", "2026-11-25")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "BEGIN:VCALENDAR\r\n",
        "BEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\n",
        item("DTSTART:nonsense").text,
        item("SUMMARY:no start").text,
        item("DTSTART:20261124T100000Z", "RRULE:FREQ=SOMETIMES").text,
    ],
)
def test_what_is_not_icalendar_is_unreadable_and_nothing_worse(text: str) -> None:
    with pytest.raises(items.Unreadable):
        items.occurrences(Item(TEAM, "x", "", text), "VEVENT", span("2026-11-01", "2026-12-01"), BERLIN)


def test_the_cheap_look_leaves_out_only_what_cannot_be_in_the_window() -> None:
    november = span("2026-11-01", "2026-11-30")
    far = item("DTSTART;TZID=Europe/Berlin:20200101T100000", "DTEND:20200101T110000")
    long = item("DTSTART;VALUE=DATE:20260101", "DTEND;VALUE=DATE:20270101")
    assert [items.may_touch(one.text, november) for one in (far, long, WEEKLY)] == [False, True, True]
    folded = far.text.replace("DTSTART;TZID=Europe/Berlin:20200101", "DTSTART;TZID=Europe/Ber\r\n lin:20261101")
    assert items.may_touch(folded, november) is True


def test_busy_time_is_merged_cut_to_the_window_and_short_gaps_are_left_out() -> None:
    def at(hour: int, minute: int = 0) -> datetime:
        return datetime(2026, 11, 24, hour, minute, tzinfo=UTC)

    taken = [(at(9), at(10)), (at(9, 30), at(11)), (at(11), at(12)), (at(12, 20), at(13)), (at(1), at(8, 30))]
    busy, free = items.free_and_busy(taken, Window(at(8), at(14)), shortest=timedelta(minutes=30))
    assert busy == [
        Period("2026-11-24T08:00:00Z", "2026-11-24T08:30:00Z"),
        Period("2026-11-24T09:00:00Z", "2026-11-24T12:00:00Z"),
        Period("2026-11-24T12:20:00Z", "2026-11-24T13:00:00Z"),
    ]
    assert free == [
        Period("2026-11-24T08:30:00Z", "2026-11-24T09:00:00Z"),
        Period("2026-11-24T13:00:00Z", "2026-11-24T14:00:00Z"),
    ]


def test_a_due_day_is_overdue_only_when_it_is_over() -> None:
    due = item("SUMMARY:D", "DUE;VALUE=DATE:20261122", kind="VTODO")
    [found] = items.occurrences(due, "VTODO", span("2026-11-20", "2026-11-30"), BERLIN)
    assert items.deadline(found, zone=BERLIN, now=NOW).overdue is False
    assert items.deadline(found, zone=BERLIN, now=NOW + timedelta(days=1)).overdue is True


def test_saying_the_same_twice_changes_nothing() -> None:
    draft = Draft(summary="New", start=moment("2026-10-20T09:00", BERLIN, "start"), categories=["a", "b"], busy=False)
    text = changed(WEEKLY, draft)
    assert text is not None
    assert changed(Item(TEAM, "u.ics", "", text), draft) is None
    assert "SEQUENCE:1\r\n" in text


def test_a_moved_event_keeps_its_length_and_its_zone() -> None:
    text = changed(WEEKLY, Draft(start=moment("2026-10-19T08:00:00Z", BERLIN, "start")))
    assert text is not None
    event = items.event(items.master(Item(TEAM, "u.ics", "", text)))
    assert (event.start, event.end, event.time_zone) == (
        "2026-10-19T10:00:00+02:00",
        "2026-10-19T11:00:00+02:00",
        "Europe/Berlin",
    )


def test_moving_a_series_with_exceptions_is_refused_because_it_would_tear_them_off() -> None:
    second = moment("2026-10-26T09:00", BERLIN, "occurrence")
    text = drafts.without(WEEKLY, second, zone=BERLIN, now=NOW)
    assert text is not None
    torn = Item(TEAM, "u.ics", "", text)
    assert starts(torn, "2026-10-19", "2026-11-03") == ["2026-10-19T09:00:00+02:00", "2026-11-02T09:00:00+01:00"]
    with pytest.raises(Conflict, match="tear off"):
        changed(torn, Draft(start=moment("2026-10-20T09:00", BERLIN, "start")))
    assert changed(torn, Draft(summary="Renamed")) is not None


def test_an_occurrence_that_the_series_never_had_is_not_found() -> None:
    with pytest.raises(NotFound, match="no occurrence at 2026-10-20"):
        drafts.without(WEEKLY, moment("2026-10-20T09:00", BERLIN, "occurrence"), zone=BERLIN, now=NOW)


def test_an_answer_to_a_whole_series_reaches_its_changed_occurrences_too() -> None:
    invited = Item(TEAM, "u.ics", "", changed(WEEKLY, Draft(attendees=["ada@example.org"])) or "")
    second = moment("2026-10-26T09:00", BERLIN, "occurrence")
    moved = Item(TEAM, "u.ics", "", changed(invited, Draft(summary="Late"), second) or "")
    text = drafts.answered(moved, "ada@example.org", "accepted", occurrence=None, zone=BERLIN, now=NOW)
    assert text is not None
    assert text.count("PARTSTAT=ACCEPTED") == 2
    assert (
        drafts.answered(
            Item(TEAM, "u.ics", "", text), "ada@example.org", "accepted", occurrence=None, zone=BERLIN, now=NOW
        )
        is None
    )


INJECTION = "x\r\nATTENDEE:mailto:eve@example.org\r\nBEGIN:VALARM"


def test_texts_cannot_smuggle_in_lines() -> None:
    draft = Draft(summary=INJECTION, start=date(2026, 11, 24), location=INJECTION, categories=[INJECTION])
    text = drafts.new_item("VEVENT", "uid", draft, organizer="", now=NOW)
    [component] = items.components(items.parsed(text))
    assert (items.attendees(component), component.subcomponents) == ([], [])
    assert items.text_of(component, "LOCATION").replace("\r\n", "\n") == INJECTION.replace("\r\n", "\n")


@pytest.mark.parametrize(
    "draft",
    [
        Draft(attendees=["eve@example.org\r\nX-EVIL:1"]),
        Draft(attendees=["not a mail address"]),
        Draft(url="https://example.org/\r\nX-EVIL:1"),
        Draft(url="javascript:alert(1)"),
        Draft(recurrence="FREQ=DAILY\r\nX-EVIL:1"),
        Draft(recurrence="FREQ=SECONDLY"),
        Draft(recurrence="every day"),
        Draft(summary=" "),
        Draft(end=moment("2026-10-19T08:00:00+02:00", BERLIN, "end")),
        Draft(end=date(2026, 10, 30)),
    ],
)
def test_unfit_wishes_are_refused_with_what_to_write(draft: Draft) -> None:
    with pytest.raises(InvalidInput):
        changed(WEEKLY, draft)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-24", "2026-11-24"),
        ("2026-11-24T10:00", "2026-11-24T10:00:00+01:00"),
        ("2026-07-24T10:00", "2026-07-24T10:00:00+02:00"),
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
    ],
)
def test_times_without_offset_are_in_the_given_zone(text: str, said: str) -> None:
    assert iso(moment(text, BERLIN, "start")) == said


@pytest.mark.parametrize("text", ["", "tomorrow", "24.11.2026", "2026-13-01", "10:00", "2026-11-24T25:00"])
def test_other_spellings_of_time_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a time"):
        moment(text, BERLIN, "start")


def test_windows_are_bounded_and_run_forward() -> None:
    with pytest.raises(InvalidInput, match="at most 732 days"):
        span("2026-01-01", "2029-01-01")
    with pytest.raises(InvalidInput, match="end must be after start"):
        span("2026-11-24", "2026-11-22")
