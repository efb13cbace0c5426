"""The GitHub server on the playground: what its tools answer, and that a key makes a write happen once."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from motet_servers.github.api import moment
from motet_servers.github.server import github_server
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound, OutcomeUnknown, RateLimited
from motet_servers.kit.server import DomainServer
from motet_servers.kit.settings import SettingsError
from motet_servers.playground.github_shapes import repository_from
from motet_servers.playground.world import Credentials, Playground

TOKEN = "ghp_" + "t" * 36
KEYS = Credentials(TOKEN, "j", "s", "c", "control")

KINDS = ["error_before", "error_after", "cut_before", "cut_after", "rate_limited"]


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground(credentials=KEYS) as playground:
        yield playground


@pytest.fixture
def github(playground: Playground) -> DomainServer:
    return github_server(playground.github.url, TOKEN, repository="acme/app")


async def call(server: DomainServer, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await server.call_tool(tool, arguments)
    assert result.structured_content is not None
    return result.structured_content


async def read(server: DomainServer, uri: str) -> str | bytes:
    return (await server.read_resource(uri)).contents[0].content


@pytest.mark.proves("FR-ORCH-003")
async def test_the_latest_release_names_its_tag_both_ways(github: DomainServer, playground: Playground) -> None:
    assert await call(github, "get_latest_release", repo="acme/app") == {
        "repo": "acme/app",
        "id": 2,
        "tag_name": "v2.1.0",
        "tag": "v2.1.0",
        "name": "Release v2.1.0",
        "body": "What is new in v2.1.0.",
        "html_url": f"{playground.github.url}/acme/app/releases/tag/v2.1.0",
        "draft": False,
        "prerelease": False,
        "author": "motet-bot",
        "created_at": "2026-11-16T10:00:00Z",
        "published_at": "2026-11-16T10:00:00Z",
        "created": False,
    }


async def test_an_issue_is_made_from_title_and_body_alone(github: DomainServer, playground: Playground) -> None:
    made = await call(github, "create_issue", title="Export as CSV", body="Please.")
    assert (made["number"], made["title"], made["body"], made["created"]) == (4, "Export as CSV", "Please.", True)
    assert made["html_url"] == f"{playground.github.url}/acme/app/issues/4"
    assert await call(github, "get_issue", number=4) == {**made, "created": False}


WRITES: list[tuple[str, dict[str, Any], str]] = [
    ("create_issue", {"title": "t", "body": "b", "labels": ["bug"]}, "issue.created"),
    ("add_issue_comment", {"number": 1, "body": "b"}, "comment.created"),
    ("create_pull_request", {"title": "t", "head": "topic"}, "pull.created"),
    ("create_release", {"tag_name": "v3"}, "release.created"),
]


@pytest.mark.parametrize(("tool", "arguments", "effect"), WRITES)
async def test_after_trouble_a_repetition_with_the_same_key_has_one_effect(
    github: DomainServer, playground: Playground, tool: str, arguments: dict[str, Any], effect: str
) -> None:
    for done, kind in enumerate(KINDS, start=1):
        await playground.set_trouble("github", {"kind": kind, "times": 1, "method": "POST"})
        own = {name: f"{kind}-1" for name in ("head", "tag_name") if name in arguments}
        wish = {**arguments, **own, "idempotency_key": kind}
        said = RateLimited if kind == "rate_limited" else OutcomeUnknown
        with pytest.raises(said):
            await call(github, tool, **wish)
        second = await call(github, tool, **wish)
        third = await call(github, tool, **wish)
        assert second["created"] is (not kind.endswith("_after"))
        assert third == {**second, "created": False}
        assert playground.effects["github"] == {effect: done}, kind


@pytest.mark.parametrize(("tool", "arguments", "effect"), WRITES)
async def test_a_key_used_for_something_else_is_refused(
    github: DomainServer, playground: Playground, tool: str, arguments: dict[str, Any], effect: str
) -> None:
    await call(github, tool, **arguments, idempotency_key="one")
    with pytest.raises(Conflict, match="used before with other arguments"):
        await call(github, tool, **(arguments | {"body": "other"}), idempotency_key="one")
    assert playground.effects["github"] == {effect: 1}


async def test_without_a_key_every_call_writes(github: DomainServer, playground: Playground) -> None:
    for _ in "12":
        await call(github, "create_issue", title="t")
    assert playground.effects["github"] == {"issue.created": 2}


async def test_the_mark_of_a_key_is_never_shown_and_survives_an_edit(github: DomainServer) -> None:
    made = await call(github, "create_issue", title="t", body="b", idempotency_key="one")
    edited = await call(github, "update_issue", number=made["number"], body="new")
    again = await call(github, "create_issue", title="t", body="b", idempotency_key="one")
    assert (made["body"], edited["body"], again["number"], again["body"]) == ("b", "new", made["number"], "new")


async def test_pages_lead_to_each_other_and_end(github: DomainServer) -> None:
    for number in range(5):
        await call(github, "create_issue", title=f"Issue {number}")
    titles: list[str] = []
    cursor = None
    while cursor != "end":
        page = await call(github, "list_issues", limit=2, cursor=cursor)
        titles += [issue["title"] for issue in page["items"]]
        cursor = page["next_cursor"] or "end"
    assert titles == [f"Issue {number}" for number in (4, 3, 2, 1, 0)] + ["Login page loads slowly"]


async def test_a_cursor_of_another_making_is_refused(github: DomainServer) -> None:
    for cursor in ("nonsense", base64.urlsafe_b64encode(b'{"page": -1}').decode()):
        with pytest.raises(InvalidInput, match="cursor is not one this server gave"):
            await call(github, "list_issues", cursor=cursor)


async def test_filters_reach_github(github: DomainServer) -> None:
    await call(github, "add_labels", number=1, labels=["bug", "urgent"])
    await call(github, "update_issue", number=1, state="closed", state_reason="not_planned")
    for filters, numbers in (({"state": "all", "labels": ["bug", "urgent"]}, [1]), ({"state": "open"}, [])):
        found = await call(github, "list_issues", **filters)
        assert [issue["number"] for issue in found["items"]] == numbers


@pytest.mark.parametrize(
    ("since", "sent"),
    [
        ("2026-11-02", "2026-11-02T00:00:00Z"),
        ("2026-11-02T10:30", "2026-11-02T10:30:00Z"),
        ("2026-11-02T10:30:15Z", "2026-11-02T10:30:15Z"),
        ("2026-11-02T01:30+02:00", "2026-11-01T23:30:00Z"),
    ],
)
async def test_a_day_or_time_is_sent_as_github_takes_it(github: DomainServer, since: str, sent: str) -> None:
    assert moment(since) == sent
    await call(github, "list_issues", since=since)


async def test_a_day_that_is_none_is_not_sent(github: DomainServer, playground: Playground) -> None:
    for since in ("2026-13-01", "2026-11-31T10:00", "0001-01-01T00:00+23:59"):
        with pytest.raises(InvalidInput, match="is no day or time, such as"):
            await call(github, "list_issues", since=since)
    assert playground.requests("github") == 0


async def test_a_search_stays_in_its_repository(github: DomainServer, playground: Playground) -> None:
    secret = {"full_name": "acme/secret", "issues": {"Login secret": "x"}, "files": {"login.txt": "login"}}
    playground.github.repositories["acme/secret"] = repository_from(secret)
    for query in ("login", "login repo:acme/secret"):
        issues = await call(github, "search_issues", query=query)
        code = await call(github, "search_code", query=query)
        assert [hit for hit in issues["items"] + code["items"] if "ecret" in str(hit)] == []


async def test_merging_twice_merges_once(github: DomainServer, playground: Playground) -> None:
    await playground.set_trouble("github", {"kind": "cut_after", "times": 1})
    with pytest.raises(DomainError, match="did not answer"):
        await call(github, "merge_pull_request", number=2)
    again = await call(github, "merge_pull_request", number=2)
    assert (again["merged"], again["already"]) == (True, True)
    assert playground.effects["github"] == {"pull.merged": 1}


async def test_a_pull_request_that_moved_on_is_not_merged(github: DomainServer, playground: Playground) -> None:
    with pytest.raises(Conflict, match="Head branch was modified"):
        await call(github, "merge_pull_request", number=2, sha="0" * 40)
    await call(github, "update_issue", number=3, state="closed")
    with pytest.raises(Conflict, match="it is closed"):
        await call(github, "merge_pull_request", number=3)
    assert "pull.merged" not in playground.effects["github"]


async def test_a_file_is_written_once_and_never_over_another_version(
    github: DomainServer, playground: Playground
) -> None:
    old = await call(github, "get_file_contents", path="src/app.py")
    with pytest.raises(Conflict, match="read it again and pass that sha"):
        await call(github, "create_or_update_file", path="src/app.py", content="x = 1\n", message="m")
    await playground.set_trouble("github", {"kind": "cut_after", "times": 1})
    write = {"path": "src/app.py", "content": "x = 1\n", "message": "m", "sha": old["sha"]}
    with pytest.raises(DomainError, match="did not answer"):
        await call(github, "create_or_update_file", **write)
    again = await call(github, "create_or_update_file", **write)
    now = await call(github, "get_file_contents", path="src/app.py")
    assert (again["changed"], now["content"], again["sha"]) == (False, "x = 1\n", now["sha"])
    assert playground.effects["github"] == {"file.written": 1}


async def test_bytes_that_are_no_text_come_and_go_as_base64(github: DomainServer) -> None:
    raw = base64.b64encode(bytes(range(256))).decode()
    write = {"path": "logo.bin", "content": raw, "encoding": "base64", "message": "m"}
    await call(github, "create_or_update_file", **write)
    found = await call(github, "get_file_contents", path="logo.bin")
    assert (found["content"], found["encoding"], found["size"]) == (raw, "base64", 256)
    assert await read(github, "github://acme/app/files/logo.bin") == bytes(range(256))
    with pytest.raises(InvalidInput, match="not valid base64"):
        await call(github, "create_or_update_file", **(write | {"content": "*"}))


async def test_resources_hold_what_the_tools_answer(github: DomainServer) -> None:
    assert '"title":"Cache the session lookup"' in str(await read(github, "github://acme/app/pull-requests"))
    assert '"title":"Cache the session lookup"' in str(await read(github, "github://acme/app/pull-requests/2"))
    assert '"items":[]' in str(await read(github, "github://acme/app/pull-requests?state=closed"))
    assert '"title":"Login page loads slowly"' in str(await read(github, "github://acme/app/issues"))
    assert '"title":"Login page loads slowly"' in str(await read(github, "github://acme/app/issues/1"))
    assert '"tag":"v2.1.0"' in str(await read(github, "github://acme/app/releases/latest"))
    assert '"tag":"v2.0.0"' in str(await read(github, "github://acme/app/releases"))
    assert '"name":"enhancement"' in str(await read(github, "github://acme/app/labels"))
    assert await read(github, "github://acme/app/files/README.md") == "# app\n\nA little web service.\n"
    assert '"path":"src/app.py"' in str(await read(github, "github://acme/app/files/src"))


async def test_a_repository_that_is_none_never_leaves(github: DomainServer, playground: Playground) -> None:
    for repo in ["app", "a/b/c", "../app", "acme/..", "acme/app?x=1", "acme/app#x", "-x/app", "a b/c"]:
        with pytest.raises(InvalidInput, match="repo must be owner/name"):
            await call(github, "get_issue", number=1, repo=repo)
        assert playground.requests("github") == 0


async def test_a_path_cannot_leave_the_repository(github: DomainServer, playground: Playground) -> None:
    for path in ["../../../user", "src/../../..", "./src", "a\nb"]:
        with pytest.raises(InvalidInput, match="cannot be part of an address"):
            await call(github, "get_file_contents", path=path)
        assert playground.requests("github") == 0


async def test_odd_names_stay_one_segment(github: DomainServer) -> None:
    await call(github, "add_labels", number=1, labels=["a/b?c=#d"])
    assert (await call(github, "remove_label", number=1, label="a/b?c=#d"))["labels"] == []
    with pytest.raises(NotFound):
        await call(github, "get_release", tag="../../releases/latest")


async def test_a_default_repository_must_be_one() -> None:
    with pytest.raises(SettingsError, match="GITHUB_REPOSITORY must be owner/name"):
        github_server("https://api.github.com", TOKEN, repository="app")
    with pytest.raises(InvalidInput, match="set GITHUB_REPOSITORY"):
        await call(github_server("https://api.github.com", TOKEN), "get_latest_release")


async def test_a_body_too_long_for_github_is_not_sent(github: DomainServer, playground: Playground) -> None:
    with pytest.raises(InvalidInput, match="body: String should have at most 65536 characters"):
        await call(github, "create_issue", title="t", body="x" * 65_537)
    with pytest.raises(InvalidInput, match="over 65,536 characters"):
        await call(github, "create_issue", title="t", body="x" * 65_536, idempotency_key="its mark is too much")
    assert playground.effects["github"] == {}


async def test_github_says_which_field_is_wrong(github: DomainServer) -> None:
    await call(github, "create_release", tag_name="v3")
    with pytest.raises(InvalidInput, match=r"Validation Failed \(tag_name already_exists\)"):
        await call(github, "create_release", tag_name="v3")
