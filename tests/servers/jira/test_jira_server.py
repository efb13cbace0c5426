"""The Jira server on the playground: what its tools answer, and that a repetition changes nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from motet_servers.jira.__main__ import COMMAND
from motet_servers.jira.api import choose
from motet_servers.jira.dialect import StatusWire, TransitionWire
from motet_servers.jira.server import build, jira_server
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound, OutcomeUnknown, RateLimited
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import SettingsError, Values
from motet_servers.playground.world import Credentials, Playground

TOKEN = "jira-" + "t" * 36
KEYS = Credentials("g", TOKEN, "s", "c", "control")

KINDS = ["error_before", "error_after", "cut_before", "cut_after", "rate_limited"]


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground(credentials=KEYS) as playground:
        yield playground


@pytest.fixture
def jira(playground: Playground) -> DomainServer:
    return jira_server(playground.jira.url, personal_token=TOKEN)


async def call(server: DomainServer, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await server.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


async def read(server: DomainServer, uri: str) -> str:
    return str((await server.read_resource(uri)).contents[0].content)


@pytest.mark.proves("FR-ORCH-003")
async def test_an_issue_is_flat(jira: DomainServer, playground: Playground) -> None:
    found = await call(jira, "get_issue", key="jira-1234")
    stamps = {name: found[name] for name in ("created_at", "updated_at")}
    assert found == {
        "key": "JIRA-1234",
        "id": "10004",
        "summary": "Export reports as CSV",
        "description": "Customers ask for *CSV* beside PDF.",
        "status": "To Do",
        "status_category": "To Do",
        "type": "Story",
        "priority": "Medium",
        "project": "JIRA",
        "assignee": "",
        "assignee_name": "",
        "reporter": "ada",
        "labels": ["customer"],
        "parent": "",
        "due_date": "",
        "url": f"{playground.jira.url}/browse/JIRA-1234",
        "created": False,
        **stamps,
    }


@pytest.mark.parametrize(
    ("tool", "arguments", "effect"),
    [
        ("create_issue", {"project": "PROJ", "summary": "s", "labels": ["a"]}, "issue.created"),
        ("add_comment", {"key": "PROJ-42", "body": "b"}, "comment.created"),
    ],
)
async def test_after_trouble_a_repetition_with_the_same_key_has_one_effect(
    jira: DomainServer, playground: Playground, tool: str, arguments: dict[str, Any], effect: str
) -> None:
    path = "/comment" if tool == "add_comment" else "/api/2/issue"
    for done, kind in enumerate(KINDS, start=1):
        await playground.set_trouble("jira", {"kind": kind, "times": 1, "method": "POST", "path": path})
        with pytest.raises(RateLimited if kind == "rate_limited" else OutcomeUnknown):
            await call(jira, tool, **arguments, idempotency_key=kind)
        second = await call(jira, tool, **arguments, idempotency_key=kind)
        third = await call(jira, tool, **arguments, idempotency_key=kind)
        assert second["created"] is (not kind.endswith("_after"))
        assert third == {**second, "created": False}
        assert playground.effects["jira"] == {effect: done}, kind


@pytest.mark.parametrize(
    ("tool", "arguments", "effect"),
    [
        ("transition_issue", {"key": "PROJ-42", "status": "deployed"}, "issue.transitioned"),
        ("add_link", {"key": "PROJ-42", "url": "https://x.test/1", "title": "One"}, "link.created"),
        ("link_issues", {"key": "PROJ-42", "other": "JIRA-1234"}, "issues.linked"),
    ],
)
async def test_what_needs_no_key_has_one_effect_too(
    jira: DomainServer, playground: Playground, tool: str, arguments: dict[str, Any], effect: str
) -> None:
    await playground.set_trouble("jira", {"kind": "cut_after", "times": 1})
    with pytest.raises(DomainError, match="did not answer"):
        await call(jira, tool, **arguments)
    await call(jira, tool, **arguments)
    assert playground.effects["jira"][effect] == 1


async def test_a_created_issue_that_cannot_be_read_back_is_still_reported(
    jira: DomainServer, playground: Playground
) -> None:
    await playground.set_trouble("jira", {"kind": "cut_before", "times": 1, "method": "GET"})
    made = await call(jira, "create_issue", project="PROJ", summary="s", description="d")
    assert (made["key"], made["summary"], made["created"]) == ("PROJ-44", "s", True)
    assert playground.effects["jira"] == {"issue.created": 1}


async def test_the_label_of_a_key_is_never_shown_and_survives_new_labels(jira: DomainServer) -> None:
    wish = {"project": "PROJ", "summary": "s", "labels": ["a"], "idempotency_key": "one"}
    made = await call(jira, "create_issue", **wish)
    changed = await call(jira, "update_issue", key=made["key"], labels=["b"])
    again = await call(jira, "create_issue", **wish)
    assert (made["labels"], changed["labels"], again["key"], again["labels"]) == (["a"], ["b"], made["key"], ["b"])


async def test_a_create_key_used_for_something_else_is_refused(jira: DomainServer, playground: Playground) -> None:
    wish = {"project": "PROJ", "summary": "s", "labels": ["a"], "idempotency_key": "one"}
    made = await call(jira, "create_issue", **wish)
    with pytest.raises(Conflict, match="used before with other arguments"):
        await call(jira, "create_issue", **(wish | {"summary": "other"}))
    await call(jira, "update_issue", key=made["key"], summary="edited", labels=[])
    assert (await call(jira, "create_issue", **wish))["key"] == made["key"]
    assert playground.effects["jira"]["issue.created"] == 1


async def test_projects_come_in_pages(jira: DomainServer) -> None:
    first = await call(jira, "list_projects", limit=1)
    rest = await call(jira, "list_projects", limit=1, cursor=first["next_cursor"])
    assert [[one["key"] for one in page["items"]] for page in (first, rest)] == [["PROJ"], ["JIRA"]]
    assert rest["next_cursor"] is None


async def test_a_comment_key_used_for_another_text_is_refused(jira: DomainServer, playground: Playground) -> None:
    await call(jira, "add_comment", key="PROJ-42", body="one", idempotency_key="k")
    with pytest.raises(Conflict, match="used before with other arguments"):
        await call(jira, "add_comment", key="PROJ-42", body="two", idempotency_key="k")
    shown = await call(jira, "list_comments", key="PROJ-42")
    assert [comment["body"] for comment in shown["items"]] == ["one"]


@pytest.mark.parametrize("status", ["deployed", "DEPLOYED", "Move to deployed", "14", "10004"])
async def test_a_status_is_named_by_status_or_transition_name_or_id(jira: DomainServer, status: str) -> None:
    moved = await call(jira, "transition_issue", key="PROJ-42", status=status)
    assert (moved["status"], moved["previous"], moved["already"]) == ("deployed", "In Review", False)
    assert (await call(jira, "transition_issue", key="PROJ-42", status="deployed"))["already"] is True


async def test_a_status_out_of_reach_names_those_in_reach(jira: DomainServer) -> None:
    with pytest.raises(Conflict, match="it can go to: Done, In Progress, To Do, deployed"):
        await call(jira, "transition_issue", key="PROJ-42", status="Mars")


def test_the_status_it_leads_to_wins_over_a_transitions_own_name() -> None:
    misleading = TransitionWire("1", "Done", StatusWire("To Do", "9"))
    right = TransitionWire("2", "Close", StatusWire("Done", "1"))
    assert choose([misleading, right], "done") is right
    assert choose([misleading, right], "close") is right
    assert choose([misleading, right], "1") is misleading
    assert choose([misleading, right], "9") is misleading
    assert choose([misleading, right], "nowhere") is None


async def test_the_same_page_is_linked_once_with_its_newest_title(jira: DomainServer) -> None:
    first = await call(jira, "add_link", key="JIRA-1234", url="https://x.test/1")
    second = await call(jira, "add_link", key="JIRA-1234", url="https://x.test/1", title="One")
    links = await call(jira, "list_links", key="JIRA-1234")
    assert (first["title"], first["created"], second["created"]) == ("https://x.test/1", True, False)
    assert [(link["id"], link["title"]) for link in links["items"]] == [(first["id"], "One")]


async def test_a_link_in_the_other_direction_is_another_link(jira: DomainServer, playground: Playground) -> None:
    both = [("PROJ-42", "JIRA-1234"), ("JIRA-1234", "PROJ-42")]
    for kind, made in (("Blocks", [True, True, False, False]), ("Relates", [True, False, False, False])):
        calls = [await call(jira, "link_issues", key=one, other=other, type=kind) for one, other in both * 2]
        assert [each["created"] for each in calls] == made
    assert playground.effects["jira"] == {"issues.linked": 3}


async def test_only_web_pages_are_linked(jira: DomainServer, playground: Playground) -> None:
    for url in ["javascript:alert(1)", "file:///etc/passwd", "x.test/1", "https://"]:
        with pytest.raises(InvalidInput, match="absolute http"):
            await call(jira, "add_link", key="JIRA-1234", url=url)
        assert playground.requests("jira") == 0


async def test_the_current_sprint_comes_with_its_issues(jira: DomainServer) -> None:
    found = await call(jira, "get_current_sprint", project="PROJ", limit=2)
    assert (found["name"], found["total"], found["statuses"]) == ("Sprint 7", 3, {"In Progress": 1, "In Review": 1})
    rest = await call(jira, "get_current_sprint", project="PROJ", limit=2, cursor=found["next_cursor"])
    assert ([issue["key"] for issue in rest["issues"]], rest["next_cursor"]) == (["PROJ-43"], None)
    with pytest.raises(NotFound, match="JIRA has no active sprint"):
        await call(jira, "get_current_sprint", project="JIRA")


async def test_search_pages_by_offset(jira: DomainServer) -> None:
    keys: list[str] = []
    totals: list[int] = []
    cursor = None
    while cursor != "end":
        page = await call(jira, "search_issues", jql="project = PROJ ORDER BY key", limit=2, cursor=cursor)
        keys += [issue["key"] for issue in page["items"]]
        totals.append(page["total"])
        cursor = page["next_cursor"] or "end"
    assert (keys, totals) == (["PROJ-41", "PROJ-42", "PROJ-43"], [3, 3])


async def test_a_query_jira_refuses_comes_back_with_its_words(jira: DomainServer) -> None:
    with pytest.raises(InvalidInput, match="Field 'planet' does not exist"):
        await call(jira, "search_issues", jql="planet = Mars")


async def test_fields_are_set_and_taken_away(jira: DomainServer) -> None:
    await call(jira, "update_issue", key="PROJ-42", summary="New", due_date="2026-12-24", priority="Low")
    await call(jira, "assign_issue", key="PROJ-42", assignee="guido")
    set_ = await call(jira, "get_issue", key="PROJ-42")
    await call(jira, "update_issue", key="PROJ-42", due_date="")
    gone = await call(jira, "assign_issue", key="PROJ-42", assignee="")
    shown = ("summary", "due_date", "priority", "assignee", "assignee_name")
    assert [set_[name] for name in shown] == ["New", "2026-12-24", "Low", "guido", "Guido of Arezzo"]
    assert [gone[name] for name in shown] == ["New", "", "Low", "", ""]
    with pytest.raises(InvalidInput, match="nothing to change"):
        await call(jira, "update_issue", key="PROJ-42")
    with pytest.raises(InvalidInput, match="User 'nobody' does not exist"):
        await call(jira, "assign_issue", key="PROJ-42", assignee="nobody")


async def test_boards_sprints_and_people(jira: DomainServer) -> None:
    board = (await call(jira, "list_boards", project="PROJ"))["items"][0]
    sprint = (await call(jira, "list_sprints", board_id=board["id"], state="active"))["items"][0]
    await call(jira, "add_to_sprint", sprint_id=sprint["id"], keys=["jira-1234"])
    inside = await call(jira, "list_sprint_issues", sprint_id=sprint["id"])
    assert [issue["key"] for issue in inside["items"]] == ["PROJ-41", "PROJ-42", "PROJ-43", "JIRA-1234"]
    assert [user["name"] for user in (await call(jira, "search_users", query="hop"))["items"]] == ["grace"]
    assert len((await call(jira, "list_assignees", project="PROJ"))["items"]) == 3
    assert [project["key"] for project in (await call(jira, "list_projects"))["items"]] == ["PROJ", "JIRA"]


async def test_resources_hold_what_the_tools_answer(jira: DomainServer) -> None:
    await call(jira, "add_comment", key="PROJ-42", body="Looks good", idempotency_key="k")
    assert '"name":"Sprint 7"' in await read(jira, "jira://project/PROJ/sprint/current")
    assert '"key":"PROJ-42"' in await read(jira, "jira://issue/PROJ-42")
    assert '"body":"Looks good"' in await read(jira, "jira://issue/PROJ-42/comments")
    assert '"total":3' in await read(jira, "jira://project/PROJ/issues")
    assert '"type":"scrum"' in await read(jira, "jira://project/PROJ/boards")
    assert '"key":"JIRA"' in await read(jira, "jira://projects")


async def test_a_key_that_is_none_never_leaves(jira: DomainServer, playground: Playground) -> None:
    for key in ["PROJ", "PROJ-", "PROJ-0", "PROJ-1/../PROJ-2", "1-1", "PROJ-1?x", "PROJ 1", "PROJ-1\n2"]:
        with pytest.raises(InvalidInput, match="key must be an issue's key"):
            await call(jira, "get_issue", key=key)
        assert playground.requests("jira") == 0


async def test_a_project_cannot_smuggle_a_query(jira: DomainServer, playground: Playground) -> None:
    with pytest.raises(InvalidInput, match="project must be a project's key"):
        await call(jira, "create_issue", project='PROJ" OR "1"="1', summary="s", idempotency_key="k")
    assert playground.requests("jira") == 0


def values(**environment: str) -> Values:
    return Values(COMMAND.variables, {"JIRA_URL": "https://jira.example.com", **environment})


async def test_either_credential_will_do_and_neither_is_refused(playground: Playground) -> None:
    basic = jira_server(playground.jira.url, basic=("ada", TOKEN))
    assert (await call(basic, "get_issue", key="PROJ-42"))["key"] == "PROJ-42"
    assert isinstance(build(values(JIRA_PERSONAL_TOKEN="x"), []), DomainServer)
    for given in ({}, {"JIRA_USERNAME": "ada"}, {"JIRA_API_TOKEN": "x"}):
        with pytest.raises(SettingsError, match="set JIRA_PERSONAL_TOKEN, or JIRA_USERNAME and JIRA_API_TOKEN"):
            build(values(**given), [])


async def test_a_text_too_long_for_jira_is_not_sent(jira: DomainServer, playground: Playground) -> None:
    with pytest.raises(InvalidInput, match="body: String should have at most 32767 characters"):
        await call(jira, "add_comment", key="PROJ-42", body="x" * 32_768)
    with pytest.raises(InvalidInput, match="over 32,767 characters"):
        await call(jira, "add_comment", key="PROJ-42", body="x" * 32_767, idempotency_key="its mark is too much")
    assert playground.effects["jira"] == {}
