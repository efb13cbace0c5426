"""Every tool and resource of the calendar server against Radicale."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from fault_proxy import proxied
from mcp.client.subscriptions import ResourceUpdated, listen
from standins import Radicale

from motet_servers.calendar.__main__ import COMMAND
from motet_servers.calendar.server import build
from motet_servers.kit.errors import OutcomeUnknown, Unavailable
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import Values

pytestmark = pytest.mark.timeout(60)  # the first test of a worker starts the stand-in


class Calling:
    """The calendar server on one calendar of Radicale."""

    def __init__(self, server: DomainServer, calendar: str) -> None:
        self.server = server
        self.calendar = calendar

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.server.call_tool(tool, {"calendar": self.calendar, **arguments})
        assert result.structured_content is not None
        return result.structured_content

    async def read(self, uri: str) -> Any:
        result = await self.server.read_resource(uri)
        assert isinstance(result.contents[0].content, str)
        return json.loads(result.contents[0].content)


def calendar_server(environment: dict[str, str]) -> DomainServer:
    return build(Values(COMMAND.variables, environment), [])


@pytest.fixture
def call(radicale: Radicale) -> Calling:
    return Calling(calendar_server(radicale.environment()), radicale.calendar())


LUNCH = {"summary": "Lunch; with, signs\nand lines", "start": "2026-11-25T12:00", "time_zone": "Europe/Berlin"}


@pytest.mark.parametrize("place", ["/", "/ada/", "calendar itself"])
async def test_calendars_are_found_from_the_root_the_principal_and_the_calendar_itself(
    radicale: Radicale, place: str
) -> None:
    name = radicale.calendar()
    server = calendar_server(radicale.environment(f"/ada/{name}/" if place == "calendar itself" else place))
    found = (await server.call_tool("list_calendars", {})).structured_content
    assert found is not None
    assert name in [calendar["id"] for calendar in found["calendars"]]


async def test_an_event_is_created_read_changed_and_deleted(call: Calling, radicale: Radicale) -> None:
    made = await call("create_event", **LUNCH, location="Canteen", categories=["Food"], url="https://example.org/menu")
    event = await call("get_event", uid=made["uid"])
    assert event == {
        "uid": made["uid"],
        "calendar": call.calendar,
        "summary": LUNCH["summary"],
        "description": "",
        "location": "Canteen",
        "start": "2026-11-25T12:00:00+01:00",
        "end": "2026-11-25T13:00:00+01:00",
        "all_day": False,
        "time_zone": "Europe/Berlin",
        "status": "confirmed",
        "busy": True,
        "recurring": False,
        "recurrence": "",
        "occurrence": "",
        "organizer": "",
        "attendees": [],
        "categories": ["Food"],
        "url": "https://example.org/menu",
        "etag": made["etag"],
        "version": 0,
    }
    moved = await call("update_event", uid=made["uid"], start="2026-11-25T13:30:00+01:00", expected_etag=made["etag"])
    assert (moved["start"], moved["end"]) == ("2026-11-25T13:30:00+01:00", "2026-11-25T14:30:00+01:00")
    assert (moved["version"], moved["changed"]) == (1, True)
    assert (await call("delete_event", uid=made["uid"]))["existed"] is True
    assert (await call("delete_event", uid=made["uid"]))["existed"] is False
    assert radicale.items(call.calendar) == []


async def test_the_same_key_creates_one_event_and_another_request_under_it_is_refused(
    call: Calling, radicale: Radicale
) -> None:
    first = await call("create_event", **LUNCH, idempotency_key="lunch-1")
    second = await call("create_event", **LUNCH, idempotency_key="lunch-1")
    assert (first["changed"], second["changed"], first["uid"]) == (True, False, second["uid"])
    with pytest.raises(ToolError, match="was used for another request"):
        await call("create_event", summary="Dinner", start="2026-11-25T19:00", idempotency_key="lunch-1")
    assert len(radicale.items(call.calendar)) == 1


async def test_what_somebody_else_changed_meanwhile_is_not_overwritten(call: Calling, radicale: Radicale) -> None:
    made = await call("create_event", **LUNCH)
    [href] = radicale.items(call.calendar)
    text = radicale.ask("GET", href).text.replace("with\\, signs", "with others")
    assert radicale.ask("PUT", href, content=text.encode()).status_code in {201, 204}
    with pytest.raises(ToolError, match="changed this item since you read it"):
        await call("update_event", uid=made["uid"], location="Roof", expected_etag=made["etag"])
    assert "Roof" not in radicale.ask("GET", href).text


async def test_items_that_others_named_are_found_by_their_uid(call: Calling, radicale: Radicale) -> None:
    text = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nBEGIN:VEVENT\r\nUID:a/b c@elsewhere\r\nSUMMARY:Theirs\r\n"
        "DTSTAMP:20261101T000000Z\r\nDTSTART:20261126T100000Z\r\nDURATION:PT30M\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    assert radicale.ask("PUT", f"/ada/{call.calendar}/1234.ics", content=text.encode()).status_code == 201
    event = await call("get_event", uid="a/b c@elsewhere")
    assert (event["summary"], event["end"]) == ("Theirs", "2026-11-26T10:30:00Z")
    await call("update_event", uid="a/b c@elsewhere", location="Here")
    assert radicale.items(call.calendar) == [f"/ada/{call.calendar}/1234.ics"]


async def test_a_series_can_be_changed_and_cancelled_one_occurrence_at_a_time(call: Calling) -> None:
    made = await call("create_event", **LUNCH, recurrence="FREQ=DAILY;COUNT=4")
    days = {"start": "2026-11-25", "end": "2026-11-30"}
    listed = (await call("list_events", **days))["events"]
    assert [event["occurrence"] for event in listed] == [f"2026-11-{day}T12:00:00+01:00" for day in (25, 26, 27, 28)]
    second, third = listed[1]["occurrence"], listed[2]["occurrence"]
    await call(
        "update_event", uid=made["uid"], occurrence=second, summary="Long lunch", end="2026-11-26T15:00:00+01:00"
    )
    await call("delete_event", uid=made["uid"], occurrence=third)
    assert (await call("delete_event", uid=made["uid"], occurrence=third))["existed"] is False
    listed = (await call("list_events", **days))["events"]
    assert [(event["start"][8:13], event["end"][8:13], event["summary"][:10]) for event in listed] == [
        ("25T12", "25T13", "Lunch; wit"),
        ("26T12", "26T15", "Long lunch"),
        ("28T12", "28T13", "Lunch; wit"),
    ]


async def test_an_invitation_is_answered_once(call: Calling) -> None:
    made = await call("create_event", **LUNCH, attendees=["Grace@Example.org", "ada@example.org"])
    answered = await call("respond_to_event", uid=made["uid"], response="tentative")
    again = await call("respond_to_event", uid=made["uid"], response="tentative")
    assert (answered["attendee"], answered["changed"], again["changed"]) == ("ada@example.org", True, False)
    event = await call("get_event", uid=made["uid"])
    assert event["organizer"] == "ada@example.org"
    assert {person["email"]: person["response"] for person in event["attendees"]} == {
        "grace@example.org": "needs-action",
        "ada@example.org": "tentative",
    }
    with pytest.raises(ToolError, match="is not invited"):
        await call("respond_to_event", uid=made["uid"], response="accepted", attendee="eve@example.org")


async def test_busy_time_is_merged_and_declined_events_leave_it_free(call: Calling) -> None:
    await call("create_event", summary="A", start="2026-11-25T09:00:00Z", end="2026-11-25T10:00:00Z")
    await call("create_event", summary="B", start="2026-11-25T09:30:00Z", end="2026-11-25T11:00:00Z")
    await call("create_event", summary="C", start="2026-11-25T13:00:00Z", busy=False)
    no = await call("create_event", summary="D", start="2026-11-25T15:00:00Z", attendees=["ada@example.org"])
    await call("respond_to_event", uid=no["uid"], response="declined")
    result = await call.server.call_tool(
        "get_free_busy",
        {"start": "2026-11-25T08:00:00Z", "end": "2026-11-25T18:00:00Z", "calendars": [call.calendar]},
    )
    assert result.structured_content == {
        "start": "2026-11-25T08:00:00Z",
        "end": "2026-11-25T18:00:00Z",
        "busy": [{"start": "2026-11-25T09:00:00Z", "end": "2026-11-25T11:00:00Z"}],
        "free": [
            {"start": "2026-11-25T08:00:00Z", "end": "2026-11-25T09:00:00Z"},
            {"start": "2026-11-25T11:00:00Z", "end": "2026-11-25T18:00:00Z"},
        ],
        "calendars": [call.calendar],
    }


async def test_deadlines_are_created_completed_and_read_as_a_resource(call: Calling) -> None:
    soon = datetime.now(UTC).date().isoformat()
    made = await call("create_deadline", summary="Ship it", due=soon, priority=1, idempotency_key="ship")
    await call("create_event", summary="Freeze", start=soon, categories=["Deadline"])
    await call("create_event", summary="No deadline", start=soon)
    page = await call.read(f"calendar://{call.calendar}/deadlines")
    assert [(one["summary"], one["due"], one["kind"], one["status"]) for one in page["deadlines"]] == [
        *sorted(
            [("Ship it", soon, "todo", "open"), ("Freeze", soon, "event", "open")], key=lambda one: _uid(page, one[0])
        )
    ]
    done = await call("update_deadline", uid=made["uid"], status="completed")
    assert done["changed"] is True
    left = await call("list_deadlines")
    assert [one["summary"] for one in left["deadlines"]] == ["Freeze"]
    all_of_them = await call("list_deadlines", include_completed=True)
    assert {one["summary"]: one["percent_complete"] for one in all_of_them["deadlines"]} == {
        "Ship it": 100,
        "Freeze": 0,
    }


def _uid(page: dict[str, Any], summary: str) -> str:
    return next(one["uid"] for one in page["deadlines"] if one["summary"] == summary)


async def test_pages_hold_every_event_once(call: Calling) -> None:
    await call("create_event", **LUNCH, recurrence="FREQ=DAILY;COUNT=7")
    await call("create_event", **{**LUNCH, "summary": "Other"}, recurrence="FREQ=DAILY;COUNT=7")
    seen: list[tuple[str, str]] = []
    query = "start=2026-11-25&end=2026-12-05&limit=4"
    page = await call.read(f"calendar://{call.calendar}/events?{query}")
    while True:
        seen += [(event["start"], event["summary"]) for event in page["events"]]
        if page["next_cursor"] is None:
            break
        page = await call.read(f"calendar://{call.calendar}/events?{query}&cursor={page['next_cursor']}")
    assert len(seen) == len(set(seen)) == 14
    assert [start for start, _ in seen] == sorted(start for start, _ in seen)


async def test_resources_give_calendars_events_free_time_and_icalendar(call: Calling) -> None:
    made = await call("create_event", **LUNCH)
    name = call.calendar
    assert name in [one["id"] for one in (await call.read("calendar://calendars"))["calendars"]]
    assert (await call.read(f"calendar://{name}/events/{made['uid']}"))["uid"] == made["uid"]
    free = await call.read(f"calendar://{name}/free-busy?start=2026-11-25&end=2026-11-25")
    assert free["busy"] == [{"start": "2026-11-25T11:00:00Z", "end": "2026-11-25T12:00:00Z"}]
    content = (await call.server.read_resource(f"calendar://{name}/ical/{made['uid']}")).contents[0]
    assert content.mime_type == "text/calendar"
    assert "DTSTART;TZID=Europe/Berlin:20261125T120000" in str(content.content)


async def test_a_wrong_password_is_said_without_the_password(radicale: Radicale) -> None:
    server = calendar_server({**radicale.environment(), "CALDAV_PASSWORD": "wrong-and-secret"})
    with pytest.raises(ToolError) as failure:
        await server.call_tool("list_calendars", {})
    assert "refused the credential" in str(failure.value)
    assert "wrong-and-secret" not in str(failure.value)


async def test_unknown_calendars_and_events_are_named_with_what_there_is(call: Calling) -> None:
    with pytest.raises(ToolError, match=f"there is no calendar 'nope'; there are: .*{call.calendar}"):
        await call("list_events", calendar="nope")
    with pytest.raises(ToolError, match="there is no item with the UID 'nope'"):
        await call("get_event", uid="nope")


# What each tool says of itself, held against what it does to Radicale

SERVER = calendar_server({"CALDAV_URL": "https://x.test"})
WRITES: dict[str, dict[str, Any]] = {
    "create_event": {"summary": "new", "start": "2026-11-26T10:00"},
    "create_deadline": {"summary": "new", "due": "2026-11-26"},
    "update_event": {"uid": "one", "summary": "changed"},
    "update_deadline": {"uid": "due", "status": "completed", "summary": "done"},
    "respond_to_event": {"uid": "one", "response": "declined"},
    "delete_event": {"uid": "one"},
}
EVENT = (
    "BEGIN:VEVENT\r\nUID:one\r\nSUMMARY:before\r\nDTSTAMP:20261101T000000Z\r\nDTSTART:20261125T100000Z\r\n"
    "ORGANIZER:mailto:grace@example.org\r\nATTENDEE:mailto:ada@example.org\r\nEND:VEVENT\r\n"
)
TODO = "BEGIN:VTODO\r\nUID:due\r\nSUMMARY:due\r\nDTSTAMP:20261101T000000Z\r\nDUE:20261125T100000Z\r\nEND:VTODO\r\n"


def facts(radicale: Radicale, calendar: str) -> set[tuple[str, str]]:
    """The lines of every item, without the moment they were written."""
    found: set[tuple[str, str]] = set()
    for href in radicale.items(calendar):
        lines = radicale.ask("GET", href).text.splitlines()
        found |= {
            (href, line) for line in lines if not line.startswith(("DTSTAMP", "LAST-MODIFIED", "CREATED", "PRODID"))
        }
    return found


@pytest.fixture
def filled(radicale: Radicale) -> str:
    """A calendar with an event and a deadline."""
    name = radicale.calendar()
    for uid, component in (("one", EVENT), ("due", TODO)):
        text = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\n{component}END:VCALENDAR\r\n"
        assert radicale.ask("PUT", f"/ada/{name}/{uid}.ics", content=text.encode()).status_code == 201
    return name


@pytest.mark.parametrize("tool", list(WRITES))
async def test_a_calendar_tool_does_to_its_server_what_its_annotations_say(
    radicale: Radicale, filled: str, tool: str
) -> None:
    [said] = [each.annotations for each in await SERVER.list_tools() if each.name == tool]
    assert said is not None
    assert said.open_world_hint is True
    seen = [facts(radicale, filled)]
    for _ in "12":
        call = Calling(calendar_server(radicale.environment()), filled)  # each as the first call of a server
        await call(tool, **WRITES[tool])
        seen.append(facts(radicale, filled))
    before, once, twice = seen
    assert once != before
    assert (twice == once) is said.idempotent_hint
    assert bool(before - once) is said.destructive_hint


@pytest.mark.parametrize("tool", list(WRITES))
async def test_a_calendar_tool_can_be_repeated_after_its_answer_was_lost(
    radicale: Radicale, filled: str, tool: str
) -> None:
    key = {"idempotency_key": "k"} if tool.startswith("create") else {}
    url = urlsplit(radicale.environment()["CALDAV_URL"])
    assert url.hostname
    assert url.port
    async with proxied(url.hostname, url.port) as proxy:
        environment = {**radicale.environment(), "CALDAV_URL": f"{proxy.url}{url.path}"}
        call = Calling(calendar_server(environment), filled)
        before = facts(radicale, filled)
        proxy.arm("cut_after")
        with pytest.raises(OutcomeUnknown if key else Unavailable):
            await call(tool, **WRITES[tool], **key)
        done = facts(radicale, filled)
        assert done != before
        answer = await call(tool, **WRITES[tool], **key)
    assert facts(radicale, filled) == done
    assert answer["existed" if tool == "delete_event" else "changed"] is False


async def test_changes_by_others_are_told_to_who_subscribed(radicale: Radicale, filled: str) -> None:
    async with Client(calendar_server({**radicale.environment(), "CALDAV_POLL": "1"})) as client:
        wanted = [f"calendar://{filled}/events", f"calendar://{filled}/events/one"]
        async with listen(client.session, resource_subscriptions=wanted) as stream, asyncio.timeout(30):
            assert radicale.ask("DELETE", f"/ada/{filled}/due.ics").status_code < 300
            assert await anext(stream) == ResourceUpdated(uri=wanted[0])
            assert radicale.ask("DELETE", f"/ada/{filled}/one.ics").status_code < 300
            assert {await anext(stream) for _ in "12"} == {ResourceUpdated(uri=uri) for uri in wanted}
