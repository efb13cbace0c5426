"""The four stand-ins: tokens, refusals in each vendor's own shape, and the rules their clients build on."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2
import pytest

from motet_servers.playground.world import Credentials, Playground

KEYS = Credentials("ghp_test", "jira-test", "xoxb-test", "dav-test", "control-test")
TEAM = "/dav/calendars/team/"


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground(credentials=KEYS) as playground:
        yield playground


@pytest.fixture
async def client() -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient() as client:
        yield client


async def test_no_vendor_answers_without_its_own_token(playground: Playground, client: httpx2.AsyncClient) -> None:
    wrong = {"Authorization": "Bearer jira-test-not"}
    urls = (
        f"{playground.github.url}/user",
        f"{playground.jira.url}/rest/api/2/myself",
        f"{playground.calendar.url}{TEAM}",
        f"{playground.slack.url}/api/auth.test",
    )
    answers = [await client.get(url, headers=headers) for url in urls for headers in ({}, wrong)]
    assert [answer.status_code for answer in answers] == [401] * 6 + [200] * 2
    assert [answer.json()["error"] for answer in answers[-2:]] == ["not_authed", "invalid_auth"]


async def test_a_refusal_has_the_vendors_shape(playground: Playground, client: httpx2.AsyncClient) -> None:
    github = await client.post(
        f"{playground.github.url}/repos/acme/app/issues", json={}, headers={"Authorization": "token ghp_test"}
    )
    jira = await client.post(
        f"{playground.jira.url}/rest/api/2/issue", json={"fields": {}}, headers={"Authorization": "Bearer jira-test"}
    )
    slack = await client.post(
        f"{playground.slack.url}/api/chat.postMessage",
        data={"channel": "C0", "text": "x"},
        headers={"Authorization": "Bearer xoxb-test"},
    )
    assert (github.status_code, github.json()["message"], github.json()["errors"]) == (
        422,
        "Validation Failed",
        [{"resource": "Issue", "field": "title", "code": "missing_field"}],
    )
    assert (jira.status_code, sorted(jira.json()["errors"])) == (400, ["issuetype", "project", "summary"])
    assert (slack.status_code, slack.json()) == (200, {"ok": False, "error": "channel_not_found"})


async def test_lists_are_paged_as_github_pages_them(playground: Playground) -> None:
    headers = {"Authorization": "Bearer ghp_test"}
    async with httpx2.AsyncClient(base_url=playground.github.url, headers=headers) as client:
        first = await client.get("/repos/acme/app/pulls", params={"per_page": 1})
        link = first.headers["link"]
        second = await client.get(link[1 : link.index(">")])
    assert [len(page.json()) for page in (first, second)] == [1, 1]
    assert first.json()[0]["number"] != second.json()[0]["number"]
    assert "link" not in second.headers


EVENT = "\r\n".join(
    [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//x//EN",
        "BEGIN:VEVENT",
        "UID:one",
        "DTSTAMP:20260101T000000Z",
        "DTSTART:20260105T100000Z",
        "RRULE:FREQ=WEEKLY;COUNT=4",
        "SUMMARY:Weekly",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
)


async def test_preconditions_keep_one_writer_from_overwriting_another(playground: Playground) -> None:
    async with httpx2.AsyncClient(base_url=playground.calendar.url, auth=("motet", "dav-test")) as client:

        async def put(name: str, **headers: str) -> int:
            named = {key.replace("_", "-"): value for key, value in headers.items()}
            return (await client.put(f"{TEAM}{name}.ics", content=EVENT, headers=named)).status_code

        statuses = [await put("one", if_none_match="*"), await put("one", if_none_match="*"), await put("two")]
        etag = (await client.get(f"{TEAM}one.ics")).headers["etag"]
        statuses += [await put("one", if_match=etag), await put("one", if_match='"old"')]
        statuses.append((await client.delete(f"{TEAM}one.ics", headers={"if-match": '"old"'})).status_code)
        statuses.append((await client.delete(f"{TEAM}one.ics", headers={"if-match": etag})).status_code)
        statuses.append((await client.put(f"{TEAM}bad.ics", content="nonsense")).status_code)
    assert statuses == [201, 412, 403, 204, 412, 412, 204, 403]
    assert playground.effects["calendar"] == {"event.created": 1, "event.updated": 1, "event.deleted": 1}


@pytest.mark.parametrize(("start", "end", "found"), [("20260118", "20260121", 1), ("20260201", "20260301", 0)])
async def test_a_time_range_finds_recurrences(playground: Playground, start: str, end: str, found: int) -> None:
    query = (
        '<c:calendar-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><c:calendar-data/></d:prop>'
        '<c:filter><c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">'
        f'<c:time-range start="{start}T000000Z" end="{end}T000000Z"/></c:comp-filter></c:comp-filter></c:filter>'
        "</c:calendar-query>"
    )
    async with httpx2.AsyncClient(base_url=playground.calendar.url, auth=("motet", "dav-test")) as client:
        await client.put(f"{TEAM}one.ics", content=EVENT)
        answer = await client.request("REPORT", TEAM, content=query, headers={"depth": "1"})
    assert answer.status_code == 207
    assert answer.text.count("SUMMARY:Weekly") == found


async def test_the_state_shows_no_token(playground: Playground, client: httpx2.AsyncClient) -> None:
    state = (await client.get(f"{playground.control_url}/state")).text
    assert [key for key in ("ghp_test", "jira-test", "xoxb-test", "dav-test", "control-test") if key in state] == []
