"""What a CalDAV server may try, or get wrong: other hosts, XML tricks, floods, missing ETags, lost answers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from fastmcp.exceptions import ToolError

from motet_servers.calendar.caldav import CalDavStore, explain
from motet_servers.calendar.multistatus import read, uid_query
from motet_servers.calendar.server import assemble
from motet_servers.calendar.times import zone_named
from motet_servers.calendar.tools import Habits
from motet_servers.kit.errors import Unavailable
from motet_servers.kit.http import ApiClient
from motet_servers.kit.server import DomainServer

PASSWORD = "a-secret-password"
Handler = Callable[[httpx2.Request], httpx2.Response]
ITEM = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//EN\r\nBEGIN:VEVENT\r\nUID:u\r\nSUMMARY:Theirs\r\n"
    "DTSTAMP:20261101T000000Z\r\nDTSTART:20261126T100000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def multistatus(*responses: str) -> httpx2.Response:
    content = (
        '<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">'
        + "".join(responses)
        + "</d:multistatus>"
    )
    return httpx2.Response(207, content=content.encode(), headers={"content-type": "application/xml"})


def response(href: str, properties: str, status: str = "HTTP/1.1 200 OK") -> str:
    return (
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{properties}</d:prop>"
        f"<d:status>{status}</d:status></d:propstat></d:response>"
    )


CALENDAR = response("/cal/team/", "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>")


def served(handler: Handler, *, max_bytes: int = 1 << 20) -> DomainServer:
    client = ApiClient(
        "the calendar server",
        "https://cal.example.org/cal/",
        auth=("ada", PASSWORD),
        explain=explain,
        max_bytes=max_bytes,
        transport=httpx2.MockTransport(handler),
    )
    habits = Habits(zone_named("UTC"), "", "ada@example.org")
    return assemble(CalDavStore(client), habits, secrets=(PASSWORD,), clock=lambda: datetime(2026, 11, 22, tzinfo=UTC))


async def call(server: DomainServer, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await server.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(301, headers={"location": "https://evil.example/"}),
        multistatus(
            response("/cal/", "<c:calendar-home-set><d:href>https://evil.example/home/</d:href></c:calendar-home-set>")
        ),
        multistatus(
            response(
                "/cal/", "<d:current-user-principal><d:href>//evil.example/me/</d:href></d:current-user-principal>"
            )
        ),
    ],
)
async def test_credentials_never_go_to_another_host(answer: httpx2.Response) -> None:
    asked: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        return answer

    with pytest.raises(ToolError, match=r"pointed to another host|redirected"):
        await call(served(handler), "list_calendars")
    assert set(asked) == {"cal.example.org"}


async def test_an_item_on_another_host_is_not_written_to() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PROPFIND":
            return multistatus(CALENDAR)
        if request.method == "GET":
            return httpx2.Response(404)
        data = f"<d:getetag>1</d:getetag><c:calendar-data>{ITEM}</c:calendar-data>"
        return multistatus(response("https://evil.example/u.ics", data))

    with pytest.raises(ToolError, match="pointed to another host"):
        await call(served(handler), "update_event", uid="u", summary="Mine")


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><d:multistatus xmlns:d="DAV:">&b;</d:multistatus>'
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><d:multistatus xmlns:d="DAV:">&f;</d:multistatus>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, "<html/>", "", "<d:multistatus", "\x00", "<a" + ">" * 10])
def test_what_is_not_plain_webdav_is_refused(text: str) -> None:
    with pytest.raises(Unavailable, match="not WebDAV"):
        read(text.encode())


async def test_a_flood_is_cut_off() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        return multistatus(*[CALENDAR] * 1000)

    with pytest.raises(ToolError, match="over 10,000 bytes"):
        await call(served(handler, max_bytes=10_000), "list_calendars")


def test_uids_are_escaped_in_queries() -> None:
    query = uid_query("VEVENT", '</c:text-match><evil a="').decode()
    assert "<evil" not in query
    assert "&lt;/c:text-match&gt;&lt;evil" in query


def test_properties_that_were_not_found_do_not_count() -> None:
    [found] = read(multistatus(response("/x/", "<d:displayname>No</d:displayname>", "HTTP/1.1 404 Not Found")).content)
    assert (found.href, found.name) == ("/x/", "")


async def test_two_calendars_of_one_name_get_ids_of_their_own() -> None:
    other = CALENDAR.replace("/cal/team/", "/shared/team/")

    def handler(request: httpx2.Request) -> httpx2.Response:
        home = "<c:calendar-home-set><d:href>/cal/</d:href></c:calendar-home-set>"
        return multistatus(response("/cal/", home)) if request.headers["depth"] == "0" else multistatus(CALENDAR, other)

    found = await call(served(handler), "list_calendars")
    assert [one["id"] for one in found["calendars"]] == ["team", "shared-team"]


async def test_a_server_that_gives_no_etag_is_asked_for_it() -> None:
    methods: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        methods.append(request.method)
        match request.method:
            case "PROPFIND":
                return multistatus(CALENDAR)
            case "PUT":
                return httpx2.Response(201)
            case _:
                return httpx2.Response(200, content=ITEM.encode(), headers={"etag": '"7"'})

    made = await call(served(handler), "create_event", summary="Mine", start="2026-11-26")
    assert (made["etag"], made["summary"], methods) == ('"7"', "Theirs", ["PROPFIND", "PUT", "GET"])


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (507, "", "it may have happened"),
        (
            403,
            '<d:error xmlns:d="DAV:"><d:quota-not-exceeded/></d:error>',
            "refused the item \\(403\\): quota-not-exceeded",
        ),
        (415, "", "refused the request with 415"),
        (401, f"wrong password {PASSWORD}", "refused the credential"),
    ],
)
async def test_a_refused_write_says_why_and_never_the_password(status: int, body: str, said: str) -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PROPFIND":
            return multistatus(CALENDAR)
        return httpx2.Response(status, content=body.encode(), headers={"content-type": "text/plain"})

    with pytest.raises(ToolError, match=said) as failure:
        await call(served(handler), "create_event", summary="Mine", start="2026-11-26")
    assert PASSWORD not in str(failure.value)


async def test_a_change_between_reading_and_writing_is_a_conflict() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        match request.method:
            case "PROPFIND":
                return multistatus(CALENDAR)
            case "GET":
                return httpx2.Response(200, content=ITEM.encode(), headers={"etag": '"1"'})
            case _:
                assert request.headers["if-match"] == '"1"'
                return httpx2.Response(412)

    for tool, arguments in (("update_event", {"summary": "Mine"}), ("delete_event", {})):
        with pytest.raises(ToolError, match="somebody else changed or deleted this item meanwhile"):
            await call(served(handler), tool, uid="u", **arguments)


async def test_secrets_in_events_do_not_leave_the_server() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PROPFIND":
            return multistatus(CALENDAR)
        return httpx2.Response(200, content=ITEM.replace("Theirs", f"It is {PASSWORD}").encode())

    assert (await call(served(handler), "get_event", uid="u"))["summary"] == "It is [redacted]"
