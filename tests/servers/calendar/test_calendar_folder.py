"""The calendar server on a folder of `.ics` files: both layouts, other writers, links that lead out, bad files."""

from __future__ import annotations

import asyncio
import fcntl
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastmcp.exceptions import ToolError

from motet_servers.calendar import folder
from motet_servers.calendar.__main__ import COMMAND
from motet_servers.calendar.folder import FolderStore
from motet_servers.calendar.server import assemble, build
from motet_servers.calendar.times import zone_named
from motet_servers.calendar.tools import Habits
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import SettingsError, Values

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOTH = pytest.mark.parametrize("layout", ["one file", "a file per item"])


def served(root: Path) -> DomainServer:
    return assemble(FolderStore(root), Habits(zone_named("UTC"), "team"), local=True, clock=lambda: NOW)


@pytest.fixture
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if "layout" in request.fixturenames and request.getfixturevalue("layout") == "a file per item":
        (tmp_path / "team").mkdir()
    else:
        (tmp_path / "team.ics").write_bytes(b"")
    return tmp_path


async def call(server: DomainServer, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await server.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


def stored(root: Path) -> str:
    return "".join(file.read_text() for file in sorted(root.rglob("*.ics")))


def _edit(root: Path, old: str, new: str) -> None:
    [file] = root.rglob("*.ics")
    file.write_text(file.read_text().replace(old, new))


@BOTH
async def test_events_are_kept_changed_and_deleted_in_files(root: Path, layout: str) -> None:
    server = served(root)
    other = await call(server, "create_event", summary="Stays", start="2026-11-23", time_zone="Europe/Berlin")
    made = await call(
        server,
        "create_event",
        summary="Lunch",
        start="2026-11-25T12:00",
        time_zone="Europe/Berlin",
        recurrence="FREQ=DAILY",
    )
    await call(server, "update_event", uid=made["uid"], occurrence="2026-11-26T12:00:00+01:00", summary="Late lunch")
    listed = await call(served(root), "list_events", end="2026-11-27")
    assert [(event["summary"], event["start"]) for event in listed["events"]] == [
        ("Stays", "2026-11-23"),
        ("Lunch", "2026-11-25T12:00:00+01:00"),
        ("Late lunch", "2026-11-26T12:00:00+01:00"),
        ("Lunch", "2026-11-27T12:00:00+01:00"),
    ]
    assert stored(root).count("BEGIN:VTIMEZONE") == 1
    await call(server, "delete_event", uid=made["uid"])
    assert (await call(server, "get_event", uid=other["uid"]))["summary"] == "Stays"
    assert stored(root).count("BEGIN:VEVENT") == 1


@BOTH
async def test_the_same_key_creates_once_also_after_a_restart(root: Path, layout: str) -> None:
    wish = {"summary": "Ship", "due": "2026-11-30", "idempotency_key": "ship"}
    first = await call(served(root), "create_deadline", **wish)
    second = await call(served(root), "create_deadline", **wish)
    assert (first["uid"], first["changed"], second["changed"]) == (second["uid"], True, False)
    assert stored(root).count("BEGIN:VTODO") == 1


async def test_two_calls_at_once_with_one_key_create_one_event(root: Path) -> None:
    wish = {"summary": "Lunch", "start": "2026-11-25T12:00", "idempotency_key": "lunch"}
    server, other = served(root), served(root)
    async with asyncio.TaskGroup() as together:
        calls = [together.create_task(call(one, "create_event", **wish)) for one in (server, server, other, other)]
    assert sorted(task.result()["changed"] for task in calls) == [False, False, False, True]
    assert stored(root).count("BEGIN:VEVENT") == 1


@BOTH
async def test_a_change_that_somebody_else_made_is_noticed(root: Path, layout: str) -> None:
    server = served(root)
    made = await call(server, "create_event", summary="Lunch", start="2026-11-25T12:00")
    _edit(root, "SUMMARY:Lunch", "SUMMARY:Dinner")
    with pytest.raises(ToolError, match="changed this item since you read it"):
        await call(server, "delete_event", uid=made["uid"], expected_etag=made["etag"])
    assert "SUMMARY:Dinner" in stored(root)


async def test_deadlines_are_a_resource(root: Path) -> None:
    server = served(root)
    await call(server, "create_deadline", summary="Late", due="2026-11-20")
    await call(server, "create_deadline", summary="Soon", due="2026-11-30T10:00", time_zone="Europe/Berlin")
    result = await server.read_resource("calendar://team/deadlines")
    content = result.contents[0]
    assert content.mime_type == "application/json"
    assert [(one["summary"], one["due"], one["overdue"]) for one in json.loads(str(content.content))["deadlines"]] == [
        ("Late", "2026-11-20", True),
        ("Soon", "2026-11-30T10:00:00+01:00", False),
    ]


async def test_a_broken_file_is_counted_and_the_others_are_listed(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    server = served(tmp_path)
    await call(server, "create_event", summary="Whole", start="2026-11-25")
    (tmp_path / "team" / "broken.ics").write_text("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:2026\nEND:VEVENT\n")
    page = await call(server, "list_events")
    assert ([event["summary"] for event in page["events"]], page["unreadable"]) == (["Whole"], 1)


async def test_a_broken_calendar_file_is_never_overwritten(root: Path) -> None:
    (root / "team.ics").write_text("this was a calendar once")
    with pytest.raises(ToolError, match="not valid iCalendar"):
        await call(served(root), "create_event", summary="x", start="2026-11-25")
    assert stored(root) == "this was a calendar once"


async def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "calendars", tmp_path / "secrets"
    (inside / "team").mkdir(parents=True)
    outside.mkdir()
    await call(served(_with_calendar(outside)), "create_event", summary="Secret", start="2026-11-25", calendar="team")
    (inside / "linked").symlink_to(outside)
    (inside / "linked.ics").symlink_to(outside / "team.ics")
    (inside / "team" / "x.ics").symlink_to(outside / "team.ics")
    server = served(inside)
    assert [one["id"] for one in (await call(server, "list_calendars"))["calendars"]] == ["team"]
    assert (await call(server, "list_events"))["events"] == []


def _with_calendar(root: Path) -> Path:
    (root / "team.ics").write_bytes(b"")
    return root


@pytest.mark.parametrize("name", ["..", "../secrets", "/etc", "team/../..", ".", "team.ics/../x"])
async def test_calendar_names_are_looked_up_and_never_joined_to_a_path(root: Path, name: str) -> None:
    with pytest.raises(ToolError, match="there is no calendar"):
        await call(served(root), "list_events", calendar=name)


@pytest.mark.parametrize("uid", ["../../escape", "/etc/passwd", ".", "..", "a" * 400, "x\u2028y"])
async def test_uids_never_lead_out_of_the_folder(tmp_path: Path, uid: str) -> None:
    (tmp_path / "calendars" / "team").mkdir(parents=True)
    store = FolderStore(tmp_path / "calendars")
    [team] = await store.collections()
    made = await store.create(
        team, uid, f"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    assert made is not None
    assert _folders(tmp_path) == [tmp_path / "calendars" / "team"]


def _folders(root: Path) -> list[Path]:
    return [file.parent for file in root.rglob("*.ics")]


async def test_another_process_that_is_writing_is_waited_for_but_not_for_ever(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "PATIENCE", 0.01)
    with (root / folder.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolError, match="another process has been writing"):
            await call(served(root), "create_event", summary="x", start="2026-11-25")
    assert (await call(served(root), "create_event", summary="x", start="2026-11-25"))["changed"] is True


async def test_a_file_over_the_cap_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LARGEST", 10)
    (root / "team.ics").write_text("BEGIN:VCALENDAR\nEND:VCALENDAR\n")
    with pytest.raises(ToolError, match="over 10 bytes"):
        await call(served(root), "list_events")


async def test_ten_thousand_events_are_listed_page_by_page(root: Path) -> None:
    days = "".join(
        f"BEGIN:VEVENT\r\nUID:{number}\r\nDTSTART:2026{number // 28 % 12 + 1:02}{number % 28 + 1:02}T100000Z\r\n"
        f"SUMMARY:Event {number}\r\nEND:VEVENT\r\n"
        for number in range(10_000)
    )
    (root / "team.ics").write_text(f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{days}END:VCALENDAR\r\n")
    page = await call(served(root), "list_events", start="2026-11-01", end="2026-11-05", limit=50)
    assert (page["count"], page["next_cursor"] is None) == (50, False)


async def test_a_cursor_that_is_not_ours_is_refused(root: Path) -> None:
    for cursor in ("nonsense", "e30"):
        with pytest.raises(ToolError, match="cursor is not one this server gave"):
            await call(served(root), "list_events", cursor=cursor)


async def test_every_tool_says_how_it_may_be_repeated(root: Path) -> None:
    tools = await served(root).list_tools()
    said = {tool.name: (tool.meta or {}).get("motet/retry") for tool in tools}
    assert said == {
        "list_calendars": "safe",
        "list_events": "safe",
        "get_event": "safe",
        "list_deadlines": "safe",
        "get_free_busy": "safe",
        "create_event": "keyed",
        "create_deadline": "keyed",
        "update_event": "safe",
        "update_deadline": "safe",
        "respond_to_event": "safe",
        "delete_event": "safe",
    }
    hints = {
        tool.name: (
            tool.annotations.read_only_hint,
            tool.annotations.destructive_hint,
            tool.annotations.idempotent_hint,
            tool.annotations.open_world_hint,
        )
        for tool in tools
        if tool.annotations is not None
    }
    reads = dict.fromkeys(list(said)[:5], (True, False, True, False))
    creates = dict.fromkeys(list(said)[5:7], (False, False, False, False))
    changes = dict.fromkeys(list(said)[7:], (False, True, True, False))
    assert hints == {**reads, **creates, **changes}
    assert all(tool.output_schema and tool.output_schema["type"] == "object" for tool in tools)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "set one of CALDAV_URL"),
        ({"CALDAV_URL": "https://x.example", "CALENDAR_FOLDER": "/tmp"}, "set one of CALDAV_URL"),
        ({"CALENDAR_FOLDER": "/no/such/folder"}, "CALENDAR_FOLDER is not a folder"),
        ({"CALDAV_URL": "http://cal.example.org/"}, "unencrypted; use https"),
        ({"CALDAV_URL": "https://169.254.169.254/"}, "link-local"),
        ({"CALDAV_URL": "https://cal.example.org/", "CALDAV_USERNAME": "ada"}, "CALDAV_PASSWORD is not set"),
        ({"CALDAV_URL": "https://cal.example.org/", "CALENDAR_TIMEZONE": "Mars"}, "CALENDAR_TIMEZONE: 'Mars'"),
        ({"CALDAV_URL": "https://cal.example.org/", "CALENDAR_EMAIL": "ada"}, "CALENDAR_EMAIL must be"),
        ({"CALDAV_URL": "https://cal.example.org/", "CALDAV_TIMEOUT": "0"}, "CALDAV_TIMEOUT must be"),
    ],
)
def test_settings_that_cannot_work_say_which_and_why(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        build(Values(COMMAND.variables, environment), [])


async def test_the_boundary_is_declared_and_kept(root: Path) -> None:
    boundary = await served(root).boundary()
    assert (boundary["domain"], boundary["capabilities"]) == ("calendar", {"tools": {}, "resources": {}})
