"""Every tool of the github, jira and slack servers, called in the order of a small story.

A tour runs against a stand-in and says which tools it called; what a stand-in lacks is named by the test that leaves it
out, with what the stand-in answers instead.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import jsonschema_rs

from motet_servers.kit.server import DomainServer


@dataclass
class Caller:
    """Calls a server's tools, holds each answer against its schema, and remembers which were called."""

    server: DomainServer
    lacking: Collection[str] = ()
    """Tools whose endpoint the stand-in does not have, or answers without having done it."""
    called: set[str] = field(default_factory=set[str])
    read_uris: set[str] = field(default_factory=set[str])

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        self.called.add(tool)
        result = await self.server.call_tool(tool, arguments)
        declared = await self.server.get_tool(tool)
        assert declared is not None
        assert declared.output_schema is not None
        jsonschema_rs.validate(declared.output_schema, result.structured_content)
        assert result.structured_content is not None
        return result.structured_content

    async def read(self, uri: str) -> Any:
        """A resource's JSON, or its text."""
        self.read_uris.add(uri)
        [content] = (await self.server.read_resource(uri)).contents
        return json.loads(content.content) if content.mime_type == "application/json" else content.content

    async def read_pages(self, uri: str) -> list[Any]:
        """The entries of every page of a resource, in order."""
        found = await self.read(uri)
        items: list[Any] = found["items"]
        while found["next_cursor"] is not None:
            found = await self.read(f"{uri}?cursor={quote(found['next_cursor'], safe='')}")
            items += found["items"]
        return items

    async def missed(self) -> set[str]:
        """The tools that were not called and the resource templates that were not read."""
        tools = {tool.name for tool in await self.server.list_tools()} - self.called
        return tools | {
            template.uri_template
            for template in await self.server.list_resource_templates()
            if all(template.matches(uri) is None for uri in self.read_uris)
        }


async def github_tour(call: Caller, *, repo: str, head: str, base: str = "main") -> None:
    """Issues, comments, labels, files, a pull request to its merge, a release. `head` is a branch of `repo`."""
    assert (await call("get_repository", repo=repo))["default_branch"] == base
    first = await call("create_issue", title="It is slow", body="Four seconds.", repo=repo, idempotency_key=f"{head}-1")
    again = await call("create_issue", title="It is slow", body="Four seconds.", repo=repo, idempotency_key=f"{head}-1")
    number = first["number"]
    assert (again["number"], first["created"], again["created"]) == (number, True, False)
    issue = await call("get_issue", number=number, repo=repo)
    assert (issue["title"], issue["body"], issue["state"]) == ("It is slow", "Four seconds.", "open")
    assert number in [one["number"] for one in (await call("list_issues", repo=repo, limit=100))["items"]]
    noted = [
        await call("add_issue_comment", number=number, body="Me too", repo=repo, idempotency_key="c") for _ in "12"
    ]
    assert noted[0]["id"] == noted[1]["id"]
    assert [one["body"] for one in (await call("list_issue_comments", number=number, repo=repo))["items"]] == ["Me too"]
    assert (await call("add_labels", number=number, labels=["bug"], repo=repo))["labels"] == ["bug"]
    assert "bug" in [one["name"] for one in (await call("list_labels", repo=repo))["items"]]
    assert (await call("remove_label", number=number, label="bug", repo=repo))["labels"] == []
    assert (await call("remove_label", number=number, label="bug", repo=repo))["labels"] == []
    closed = await call("update_issue", number=number, state="closed", title="It was slow", repo=repo)
    assert (closed["state"], closed["title"]) == ("closed", "It was slow")

    path = f"docs/{head}.md"
    write = {"path": path, "content": "Faster.\n", "message": "Say so", "branch": head, "repo": repo}
    written = await call("create_or_update_file", **write)
    assert (written["changed"], (await call("create_or_update_file", **write))["changed"]) == (True, False)
    read = await call("get_file_contents", path=path, ref=head, repo=repo)
    assert (read["content"], read["sha"]) == ("Faster.\n", written["sha"])

    asked = {"title": "Make it fast", "head": head, "base": base, "repo": repo, "idempotency_key": head}
    pull = await call("create_pull_request", **asked)
    assert (await call("create_pull_request", **asked))["number"] == pull["number"]
    number = pull["number"]
    assert (await call("get_pull_request", number=number, repo=repo))["head"] == head
    assert number in [one["number"] for one in (await call("list_pull_requests", repo=repo, limit=100))["items"]]
    files = await call("list_pull_request_files", number=number, repo=repo)
    assert [one["filename"] for one in files["items"]] == ([] if "list_pull_request_files" in call.lacking else [path])
    merged = await call("merge_pull_request", number=number, repo=repo)
    again = await call("merge_pull_request", number=number, repo=repo)
    assert (merged["merged"], merged["already"], again["already"]) == (True, False, True)

    tag = f"v1.0.0-{head}"
    made = [await call("create_release", tag_name=tag, body="News", repo=repo, idempotency_key="r") for _ in "12"]
    assert (made[0]["id"], made[0]["created"], made[1]["created"]) == (made[1]["id"], True, False)
    assert (await call("get_release", tag=tag, repo=repo))["body"] == "News"
    assert (await call("get_latest_release", repo=repo))["tag_name"] == tag
    assert tag in [one["tag_name"] for one in (await call("list_releases", repo=repo))["items"]]
    found = await call("search_issues", query="slow", repo=repo)
    assert first["number"] in [one["number"] for one in found["items"]]
    await call("search_code", query="Faster", repo=repo)

    here = f"github://{repo}"
    assert (await call.read(f"{here}/issues/{first['number']}"))["title"] == "It was slow"
    assert (await call.read(f"{here}/pull-requests/{number}"))["merged"] is True
    assert number in [one["number"] for one in (await call.read(f"{here}/pull-requests?state=closed"))["items"]]
    assert first["number"] in [one["number"] for one in (await call.read(f"{here}/issues?state=closed"))["items"]]
    assert (await call.read(f"{here}/releases/latest"))["tag_name"] == tag
    assert tag in [one["tag_name"] for one in (await call.read(f"{here}/releases"))["items"]]
    assert "bug" in [one["name"] for one in (await call.read(f"{here}/labels"))["items"]]
    assert await call.read(f"{here}/files/{path}?ref={head}") == "Faster.\n"


async def jira_tour(call: Caller, *, project: str, assignee: str, status: str, key: str) -> None:
    """Projects, boards, sprints, people, and two issues with everything that can be done to them."""
    assert project in [one["key"] for one in (await call("list_projects"))["items"]]
    wish = {"project": project, "summary": "Ship it", "description": "Soon.", "labels": ["now"], "idempotency_key": key}
    first, again = await call("create_issue", **wish), await call("create_issue", **wish)
    name = first["key"]
    assert (again["key"], first["created"], again["created"]) == (name, True, False)
    other = (await call("create_issue", project=project, summary="And this"))["key"]
    issue = await call("get_issue", key=name)
    assert (issue["summary"], issue["description"], issue["project"]) == ("Ship it", "Soon.", project)
    found = await call("search_issues", jql=f'project = {project} AND summary ~ "Ship it"')
    assert name in [one["key"] for one in found["items"]]
    assert (await call("update_issue", key=name, summary="Ship it today"))["summary"] == "Ship it today"
    assert (await call("assign_issue", key=name, assignee=assignee))["assignee"] == assignee
    assert assignee in [one["name"] for one in (await call("search_users", query=assignee))["items"]]
    if "list_assignees" not in call.lacking:
        assert assignee in [one["name"] for one in (await call("list_assignees", project=project))["items"]]
    noted = [await call("add_comment", key=name, body="On it", idempotency_key=f"{key}-c") for _ in "12"]
    assert noted[0]["id"] == noted[1]["id"]
    assert [one["body"] for one in (await call("list_comments", key=name))["items"]] == ["On it"]
    for _ in "12":
        await call("add_link", key=name, url="https://example.org/x", title="X")
    assert [one["url"] for one in (await call("list_links", key=name))["items"]] == ["https://example.org/x"]
    assert [(await call("link_issues", key=name, other=other))["created"] for _ in "12"] == [True, False]
    assert status in [one["status"] for one in (await call("list_transitions", key=name))["items"]]
    moved, still = [await call("transition_issue", key=name, status=status) for _ in "12"]
    assert (moved["status"], moved["already"], still["already"]) == (status, False, True)

    [board, *_] = (await call("list_boards", project=project))["items"]
    sprints = (await call("list_sprints", board_id=board["id"], state="active"))["items"]
    current = await call("get_current_sprint", project=project, limit=50)
    assert current["id"] in [one["id"] for one in sprints]
    assert (await call("add_to_sprint", sprint_id=current["id"], keys=[name]))["keys"] == [name]
    inside = await call("list_sprint_issues", sprint_id=current["id"], limit=100)
    assert inside["total"] >= 1

    assert project in [one["key"] for one in (await call.read("jira://projects"))["items"]]
    assert (await call.read(f"jira://issue/{name}"))["summary"] == "Ship it today"
    assert [one["body"] for one in (await call.read(f"jira://issue/{name}/comments"))["items"]] == ["On it"]
    assert other in [one["key"] for one in await call.read_pages(f"jira://project/{project}/issues")]
    assert (await call.read(f"jira://project/{project}/sprint/current"))["id"] == current["id"]
    assert board["id"] in [one["id"] for one in (await call.read(f"jira://project/{project}/boards"))["items"]]


async def slack_tour(call: Caller, *, channel: str, user: str, key: str) -> None:
    """Channels, a thread with reactions, changes, people and a file."""
    assert (await call("get_identity"))["team"]
    assert channel in [one["name"] for one in (await call("list_channels"))["items"]]
    await call("join_channel", channel=channel)
    where = (await call("get_channel", channel=f"#{channel}"))["id"]
    sent = [await call("send_message", channel=f"#{channel}", text=f"Out: {key}", idempotency_key=key) for _ in "12"]
    assert (sent[0]["ts"], sent[0]["created"], sent[1]["created"]) == (sent[1]["ts"], True, False)
    ts = sent[0]["ts"]
    assert [one["ts"] for one in (await call("list_messages", channel=where))["items"]].count(ts) == 1
    reply = await call("send_message", channel=where, text="Thanks", thread_ts=ts)
    assert reply["ts"] in [one["ts"] for one in (await call("list_replies", channel=where, thread_ts=ts))["items"]]
    changed = [(await call("add_reaction", channel=where, ts=ts, name="tada"))["changed"] for _ in "12"]
    changed += [(await call("remove_reaction", channel=where, ts=ts, name="tada"))["changed"] for _ in "12"]
    assert changed == [True, False, True, False]
    assert (await call("update_message", channel=where, ts=ts, text=f"Out now: {key}"))["text"] == f"Out now: {key}"
    assert (await call("get_permalink", channel=where, ts=ts))["permalink"].startswith("http")
    assert user in [one["name"] for one in (await call("search_users", query=user))["items"]]
    if "upload_file" not in call.lacking:
        file = await call("upload_file", channel=where, filename="notes.txt", content="News", comment="Notes")
        assert (file["name"], file["size"]) == ("notes.txt", 4)
    assert channel in [one["name"] for one in (await call.read("slack://channels"))["items"]]
    assert ts in [one["ts"] for one in (await call.read(f"slack://channel/{channel}/messages"))["items"]]
    assert reply["ts"] in [one["ts"] for one in (await call.read(f"slack://channel/{where}/thread/{ts}"))["items"]]
    assert user in [one["name"] for one in (await call.read("slack://users"))["items"]]
    gone = [(await call("delete_message", channel=where, ts=reply["ts"]))["deleted"] for _ in "12"]
    assert gone == [True, False]
