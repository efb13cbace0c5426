"""The calendar server put together: settings to a store, functions to tools, addresses to resources."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

from fastmcp.resources.base import ResourceContent, ResourceResult
from pydantic import Field

from motet_servers.calendar.arguments import End, Limit, Query, Start, Time, Uid
from motet_servers.calendar.caldav import CalDavStore, explain
from motet_servers.calendar.drafts import MAIL
from motet_servers.calendar.folder import FolderStore
from motet_servers.calendar.store import Store
from motet_servers.calendar.times import zone_named
from motet_servers.calendar.tools import CalendarTools, Habits
from motet_servers.calendar.watching import Watch
from motet_servers.kit.arguments import Cursor
from motet_servers.kit.errors import InvalidInput
from motet_servers.kit.http import ApiClient
from motet_servers.kit.polling import Poller
from motet_servers.kit.server import JSON, DomainServer, as_json
from motet_servers.kit.settings import SettingsError, Values

URIS = (
    "calendar://calendars",
    "calendar://*/events",
    "calendar://*/events/*",
    "calendar://*/ical/*",
    "calendar://*/deadlines",
    "calendar://*/free-busy",
)
Place = Annotated[str, Field(min_length=1, max_length=300)]
FOLDER_LOOK = 1.0
"""Seconds between looks at a folder that somebody subscribed to."""


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server that the environment describes; SettingsError when it describes none, or two."""
    del arguments
    url, folder = values.get("CALDAV_URL"), values.get("CALENDAR_FOLDER")
    if bool(url) == bool(folder):
        raise SettingsError(
            "set one of CALDAV_URL (with CALDAV_USERNAME and CALDAV_PASSWORD) "
            "and CALENDAR_FOLDER (a folder of .ics files)."
        )
    store = _folder(Path(folder)) if folder else _caldav(values)
    every = FOLDER_LOOK if folder else float(values.number("CALDAV_POLL", minimum=1, maximum=86_400))
    return assemble(store, _habits(values), secrets=values.secrets, local=bool(folder), look_every=every)


def assemble(
    store: Store,
    habits: Habits,
    *,
    secrets: tuple[str, ...] = (),
    local: bool = False,
    look_every: float = 1.0,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> DomainServer:
    """A calendar server on this store, which is closed with it.

    `look_every` is in seconds: how often to look whether what somebody subscribed to has changed.
    """

    @asynccontextmanager
    async def lifespan(_: DomainServer) -> AsyncGenerator[None]:
        try:
            async with poller:
                yield
        finally:
            await store.aclose()

    server = DomainServer(
        "calendar-mcp-server",
        version=metadata.version("motet"),
        description="Calendars: events, free and busy time, invitations and deadlines.",
        capabilities={"tools": {}, "resources": {}},
        domain="calendar",
        uris=URIS,
        open_world=not local,
        secrets=secrets,
        lifespan=lifespan,
        instructions=(
            "Calendars of one user or team. Times are ISO 8601; a bare date is a whole day. list_events expands "
            "recurring events: pass `occurrence` to change one of a series. Give an idempotency_key when creating, so "
            "that a repeated call creates nothing twice."
        ),
    )
    tools = CalendarTools(store, habits, clock=clock)
    poller = Poller(server.resource_updates(), Watch(store, tools.shelf).look, every=look_every)
    tools.on_write = poller.nudge
    _register_tools(server, tools)
    _register_resources(server, tools)
    return server


def _register_tools(server: DomainServer, tools: CalendarTools) -> None:
    for read in (tools.list_calendars, tools.list_events, tools.get_event, tools.list_deadlines, tools.get_free_busy):
        server.tool(retry="safe")(read)
    for create in (tools.create_event, tools.create_deadline):
        server.tool(retry="keyed", destructive=False, idempotent=False)(create)
    # changes say how things shall be, not how much to change: said twice, they are so once
    for change in (tools.update_event, tools.update_deadline, tools.respond_to_event, tools.delete_event):
        server.tool(retry="safe", read_only=False, destructive=True, idempotent=True)(change)


def _register_resources(server: DomainServer, tools: CalendarTools) -> None:
    @server.resource("calendar://calendars", name="calendars", mime_type=JSON)
    async def calendars() -> ResourceResult:
        """All calendars."""
        return as_json(await tools.list_calendars())

    @server.resource("calendar://{calendar}/events{?start,end,query,limit,cursor}", name="events", mime_type=JSON)
    async def events(
        calendar: Place,
        start: Start = None,
        end: End = None,
        query: Query = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> ResourceResult:
        """A calendar's events in order, from now for 30 days unless start and end say otherwise."""
        return as_json(await tools.list_events(calendar, start, end, query, limit, cursor))

    @server.resource(
        "calendar://{calendar}/deadlines{?start,end,include_completed,limit,cursor}", name="deadlines", mime_type=JSON
    )
    async def deadlines(
        calendar: Place,
        start: Start = None,
        end: End = None,
        include_completed: bool = False,  # noqa: FBT001, FBT002 - named in the address
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> ResourceResult:
        """What is due in a calendar, soonest first: from 30 days ago (if still open) to 90 days ahead."""
        return as_json(await tools.list_deadlines(calendar, start, end, include_completed, limit, cursor))

    @server.resource("calendar://{calendar}/free-busy{?start,end}", name="free-busy", mime_type=JSON)
    async def free_busy(calendar: Place, start: Time = "", end: Time = "") -> ResourceResult:
        """When a calendar is busy and when there is time."""
        if not (start and end):
            raise InvalidInput("say from when until when: calendar://team/free-busy?start=2026-11-24&end=2026-11-28")
        return as_json(await tools.get_free_busy(start, end, [calendar]))

    @server.resource("calendar://{calendar}/events/{uid}", name="event", mime_type=JSON)
    async def event(calendar: Place, uid: Uid) -> ResourceResult:
        """One event, or one series."""
        return as_json(await tools.get_event(uid, calendar))

    @server.resource("calendar://{calendar}/ical/{uid}", name="ical", mime_type="text/calendar")
    async def ical(calendar: Place, uid: Uid) -> ResourceResult:
        """One item as iCalendar text, with all its occurrences' changes."""
        return ResourceResult([ResourceContent(await tools.ical(calendar, uid), mime_type="text/calendar")])


def _habits(values: Values) -> Habits:
    try:
        zone = zone_named(values.get("CALENDAR_TIMEZONE"))
    except InvalidInput as error:
        raise SettingsError(f"CALENDAR_TIMEZONE: {error}") from None
    mail = (values.get("CALENDAR_EMAIL") or values.get("CALDAV_USERNAME")).lower()
    if not MAIL.fullmatch(mail):
        if values.get("CALENDAR_EMAIL"):
            raise SettingsError("CALENDAR_EMAIL must be a mail address such as ada@example.org.")
        mail = ""
    return Habits(zone, values.get("CALENDAR_DEFAULT"), mail)


def _folder(place: Path) -> FolderStore:
    if not place.is_dir():
        raise SettingsError(
            "CALENDAR_FOLDER is not a folder; it holds one .ics file, or one folder of them, per calendar."
        )
    return FolderStore(place)


def _caldav(values: Values) -> CalDavStore:
    allow_http = values.flag("CALDAV_ALLOW_HTTP")
    username, password = values.get("CALDAV_USERNAME"), values.get("CALDAV_PASSWORD")
    if username and not password:
        values.require("CALDAV_PASSWORD")
    client = ApiClient(
        "the calendar server",
        values.url("CALDAV_URL", allow_http=allow_http),
        auth=(username, password) if username else None,
        allow_http=allow_http,
        explain=explain,
        secrets=values.secrets,
        timeout=float(values.number("CALDAV_TIMEOUT", minimum=1, maximum=600)),
    )
    return CalDavStore(client)
