"""Subscriptions of the calendar server: what is told, and what is not looked at."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastmcp import Client
from fastmcp.exceptions import ToolError
from mcp.client.subscriptions import ResourceUpdated, listen

from motet_servers.calendar.caldav import CalDavStore
from motet_servers.calendar.folder import FolderStore
from motet_servers.calendar.server import assemble
from motet_servers.calendar.store import Collection
from motet_servers.calendar.times import zone_named
from motet_servers.calendar.tools import Habits
from motet_servers.kit.errors import DomainError
from motet_servers.kit.http import ApiClient

WITHIN = 15
ITEM = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\nSUMMARY:x\r\n"
    "DTSTAMP:20261101T000000Z\r\nDTSTART:20261126T100000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def served(root: Path, look_every: float = 0.02) -> Any:
    return assemble(FolderStore(root), Habits(zone_named("UTC"), "team"), local=True, look_every=look_every)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "team").mkdir()
    for uid in ("one", "two"):
        (tmp_path / f"team/{uid}.ics").write_text(ITEM.format(uid=uid), newline="")
    return tmp_path


async def test_a_calendar_and_an_item_are_told_and_other_items_are_not(root: Path) -> None:
    async with Client(served(root)) as client:
        capabilities: Any = client.session.server_capabilities
        assert capabilities.resources.subscribe is True
        wanted = ["calendar://team/deadlines", "calendar://team/events/one"]
        async with listen(client.session, resource_subscriptions=wanted) as stream, asyncio.timeout(WITHIN):
            (root / "team/two.ics").unlink()
            assert await anext(stream) == ResourceUpdated(uri=wanted[0])
            (root / "team/one.ics").write_text(ITEM.format(uid="one").replace("SUMMARY:x", "SUMMARY:y"), newline="")
            assert {await anext(stream) for _ in "12"} == {ResourceUpdated(uri=uri) for uri in wanted}


async def test_what_this_server_writes_itself_is_told_without_waiting_for_the_next_look(root: Path) -> None:
    async with Client(served(root, look_every=3600)) as client:
        wanted = ["calendar://team/ical/one"]
        async with listen(client.session, resource_subscriptions=wanted) as stream, asyncio.timeout(WITHIN):
            await client.call_tool("update_event", {"uid": "two", "summary": "unheard"})
            await client.call_tool("update_event", {"uid": "one", "summary": "heard"})
            assert await anext(stream) == ResourceUpdated(uri=wanted[0])


async def test_calendars_that_come_and_go_are_told(root: Path) -> None:
    async with Client(served(root)) as client:
        wanted = ["calendar://calendars", "calendar://new/events"]
        async with listen(client.session, resource_subscriptions=wanted) as stream, asyncio.timeout(WITHIN):
            (root / "new.ics").touch()
            assert {await anext(stream) for _ in "12"} == {ResourceUpdated(uri=uri) for uri in wanted}


def answer(properties: str, status: int = 207) -> httpx2.Response:
    text = (
        '<d:multistatus xmlns:d="DAV:" xmlns:s="http://calendarserver.org/ns/"><d:response><d:href>/cal/team/</d:href>'
        f"<d:propstat><d:prop>{properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        "</d:multistatus>"
    )
    return httpx2.Response(status, content=text.encode())


@pytest.mark.parametrize(
    ("properties", "asked"),
    [
        ("<d:sync-token>{}</d:sync-token>", ["0"]),
        ("<s:getctag>{}</s:getctag>", ["0"]),
        ("<d:getetag>{}</d:getetag>", ["0", "1"]),
    ],
    ids=["sync-token", "ctag", "etags"],
)
async def test_a_calendars_state_is_asked_for_as_cheaply_as_the_server_allows(
    properties: str, asked: list[str]
) -> None:
    depths: list[str] = []
    value = "1"

    def handler(request: httpx2.Request) -> httpx2.Response:
        depths.append(request.headers["depth"])
        return answer(properties.format(value))

    client = ApiClient("it", "https://cal.example.org/cal/", transport=httpx2.MockTransport(handler))
    store, team = CalDavStore(client), Collection("team", "/cal/team/")
    first = await store.state(team)
    assert depths == asked
    assert await store.state(team) == first
    value = "2"
    assert await store.state(team) != first


# The folder's own doors


async def test_a_pipe_in_the_place_of_a_calendar_is_refused_at_once(root: Path) -> None:
    os.mkfifo(root / "pipe.ics")
    server = served(root)
    with pytest.raises(ToolError, match=r"pipe\.ics is not a file"):
        await server.call_tool("list_events", {"calendar": "pipe"})


async def test_a_calendar_file_that_is_not_utf_8_is_read_but_never_damaged(root: Path) -> None:
    broken = ITEM.format(uid="latin").replace("SUMMARY:x", "SUMMARY:M\xfcller").encode("latin-1")
    (root / "old.ics").write_bytes(broken)
    server = served(root)
    found = await server.call_tool("list_events", {"calendar": "old", "start": "2026-11-25", "end": "2026-11-27"})
    assert [event["uid"] for event in found.structured_content["events"]] == ["latin"]
    with pytest.raises(ToolError, match="is not UTF-8, and would be damaged; nothing was written"):
        await server.call_tool("create_event", {"calendar": "old", "summary": "x", "start": "2026-11-26"})
    assert (root / "old.ics").read_bytes() == broken


async def test_a_lock_that_is_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / ".motet-calendar.lock").symlink_to("victim.txt")
    (root / "victim.txt").write_text("theirs")
    with pytest.raises(ToolError, match="cannot be written"):
        await served(root).call_tool("create_event", {"summary": "x", "start": "2026-11-26"})
    assert (root / "victim.txt").read_text() == "theirs"


def test_a_folder_swapped_for_a_link_all_the_while_never_leads_out(tmp_path: Path) -> None:
    """One thread swaps the calendar's folder for a link out of the root and back; another reads and writes."""
    root, outside = tmp_path / "calendars", tmp_path / "secrets"
    for folder in (root / "team", outside):
        folder.mkdir(parents=True)
    (outside / "secret.ics").write_text(ITEM.format(uid="secret"), newline="")
    store = FolderStore(root)
    team = Collection("team", str(root / "team"))
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (root / "team").rename(root / ".kept")
            (root / "team").symlink_to(outside)
            (root / "team").unlink()
            (root / ".kept").rename(root / "team")

    async def act() -> set[str]:
        seen: set[str] = set()
        for number in range(150):
            try:
                seen.add(getattr(await store.find(team, "secret"), "text", ""))
                await store.create(team, f"mine-{number}", ITEM.format(uid=f"mine-{number}"))
            except DomainError:
                continue
        return seen

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = asyncio.run(act())
    finally:
        stop.set()
        swapper.join()
    assert seen <= {""}
    assert [file.name for file in outside.iterdir()] == ["secret.ics"]


async def test_a_window_with_too_many_occurrences_is_refused_before_it_balloons(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motet_servers.calendar.tools.MOST_LISTED", 50)
    server = served(root)
    await server.call_tool("create_event", {"summary": "x", "start": "2026-11-26", "recurrence": "FREQ=DAILY"})
    with pytest.raises(ToolError, match="over 50 occurrences in this time; ask for less"):
        await server.call_tool("list_events", {"start": "2026-11-26", "end": "2027-11-26"})
