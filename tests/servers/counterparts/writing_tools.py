"""Every tool of the github, jira and slack servers that writes, with something to do it to, and how to see what it did.

What is there is told as a set of facts, asked from the stand-in's own API past the server: a fact that is gone was
destroyed, and two sets that are the same mean one effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from standins import Emulate, Jira820

from motet_servers.github.server import github_server
from motet_servers.jira.server import jira_server
from motet_servers.kit.server import DomainServer
from motet_servers.slack.server import slack_server

REPO = "acme/web"
CHANNEL = "general"
SLACK_READS = {
    *("auth.test", "conversations.list", "conversations.info", "conversations.history", "conversations.replies"),
    *("users.list", "users.lookupByEmail", "chat.getPermalink"),
}
"""Slack's methods that only read; everything is a POST there."""
Facts = set[tuple[object, ...]]
Json = Any


def writes(vendor: str, method: str, target: str) -> bool:
    """Can this request change something at the vendor?"""
    if vendor == "slack":
        return target.partition("?")[0].rpartition("/")[2] not in SLACK_READS
    return method not in {"GET", "HEAD"}


@dataclass(frozen=True)
class Writing:
    """One tool, ready to be called."""

    vendor: str
    upstream: str
    serve: Callable[[str], DomainServer]
    arguments: dict[str, Any]
    facts: Callable[[], Facts]


Prepare = Callable[[pytest.FixtureRequest, str], Writing]


# GitHub


def github(request: pytest.FixtureRequest, arguments: dict[str, Any], branch: str = "") -> Writing:
    emulate: Emulate = request.getfixturevalue("emulate")

    def facts() -> Facts:
        found: Facts = set()
        for each in ask(emulate, "/issues?state=all&per_page=100"):
            number = each["number"]
            found |= {(number, "is"), (number, each["title"]), (number, each["body"]), (number, each["state"])}
            found |= {(number, "label", label["name"]) for label in each["labels"]}
            found |= {(number, note["id"], note["body"]) for note in ask(emulate, f"/issues/{number}/comments")}
        found |= {("pull", each["number"], each["state"]) for each in ask(emulate, "/pulls?state=all&per_page=100")}
        found |= {("release", each["id"], each["tag_name"], each["body"]) for each in ask(emulate, "/releases")}
        files: Json = ask(emulate, f"/contents/docs?ref={branch}") if branch else []
        return found | {("file", each["path"], each["sha"]) for each in files}

    def serve(url: str) -> DomainServer:
        return github_server(url, emulate.token, repository=REPO)

    return Writing("github", emulate.github_url, serve, arguments, facts)


def ask(emulate: Emulate, path: str, method: str = "GET", **options: Any) -> Json:
    answer = emulate.github(method, f"/repos/{REPO}{path}", **options)
    assert answer.status_code < 300, answer.text
    return answer.json()


def github_issue(request: pytest.FixtureRequest, name: str) -> int:
    wish = {"title": name, "body": "before", "labels": ["old"]}
    return ask(request.getfixturevalue("emulate"), "/issues", "POST", json=wish)["number"]


def github_branch(request: pytest.FixtureRequest, name: str) -> str:
    """A new branch with one file of its own."""
    emulate = request.getfixturevalue("emulate")
    sha = ask(emulate, "/git/ref/heads/main")["object"]["sha"]
    ask(emulate, "/git/refs", "POST", json={"ref": f"refs/heads/{name}", "sha": sha})
    ask(emulate, f"/contents/docs/{name}.md", "PUT", json={"message": "m", "content": "b25l", "branch": name})
    return name


def create_issue(request: pytest.FixtureRequest, name: str) -> Writing:
    return github(request, {"title": name, "body": "b", "labels": ["new"]})


def update_issue(request: pytest.FixtureRequest, name: str) -> Writing:
    number = github_issue(request, name)
    return github(request, {"number": number, "title": "after", "body": "after", "state": "closed", "labels": ["new"]})


def add_issue_comment(request: pytest.FixtureRequest, name: str) -> Writing:
    return github(request, {"number": github_issue(request, name), "body": name})


def add_labels(request: pytest.FixtureRequest, name: str) -> Writing:
    return github(request, {"number": github_issue(request, name), "labels": ["one", "two"]})


def remove_label(request: pytest.FixtureRequest, name: str) -> Writing:
    return github(request, {"number": github_issue(request, name), "label": "old"})


def create_pull_request(request: pytest.FixtureRequest, name: str) -> Writing:
    return github(request, {"title": name, "head": github_branch(request, name), "base": "main", "body": "b"})


def merge_pull_request(request: pytest.FixtureRequest, name: str) -> Writing:
    wish = {"title": name, "head": github_branch(request, name), "base": "main"}
    made = ask(request.getfixturevalue("emulate"), "/pulls", "POST", json=wish)
    return github(request, {"number": made["number"]})


def create_release(request: pytest.FixtureRequest, name: str) -> Writing:
    return github(request, {"tag_name": name, "body": "b"})


def create_or_update_file(request: pytest.FixtureRequest, name: str) -> Writing:
    branch = github_branch(request, name)
    path = f"docs/{name}.md"
    sha = ask(request.getfixturevalue("emulate"), f"/contents/{path}?ref={branch}")["sha"]
    wish = {"path": path, "content": "two", "message": "m", "branch": branch, "sha": sha}
    return github(request, wish, branch)


# Jira


def jira(request: pytest.FixtureRequest, arguments: dict[str, Any]) -> Writing:
    jira820: Jira820 = request.getfixturevalue("jira820")

    def facts() -> Facts:
        found: Facts = set()
        wanted = {"jql": "project = PROJ", "maxResults": 1000, "fields": "*all"}
        for each in told(jira820, "GET", "/rest/api/2/search", params=wanted)["issues"]:
            key, fields = each["key"], each["fields"]
            found |= {(key, "summary", fields["summary"]), (key, "status", fields["status"]["name"])}
            assignee: Json = fields.get("assignee") or {}
            labels: Json = fields.get("labels") or []
            found |= {(key, "text", fields.get("description")), (key, "who", assignee.get("name"))}
            found |= {(key, "label", label) for label in labels}
            found |= {(key, link["type"]["name"], str(link.get("outwardIssue"))) for link in fields["issuelinks"]}
        for key in {arguments.get("key"), *arguments.get("keys", [])} - {None}:
            comments = told(jira820, "GET", f"/rest/api/2/issue/{key}/comment")["comments"]
            links = told(jira820, "GET", f"/rest/api/2/issue/{key}/remotelink")
            found |= {(key, "comment", each["id"], each["body"]) for each in comments}
            found |= {(key, "link", each["id"], each["object"]["url"], each["object"]["title"]) for each in links}
        for sprint in sprints(jira820):
            inside = told(jira820, "GET", f"/rest/agile/1.0/sprint/{sprint}/issue", params={"maxResults": 1000})
            found |= {("sprint", sprint, each["key"]) for each in inside["issues"]}
        return found

    return Writing("jira", jira820.url, lambda url: jira_server(url, personal_token="any"), arguments, facts)


def told(jira820: Jira820, method: str, path: str, **options: Any) -> Json:
    answer = jira820.ask(method, path, **options)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def sprints(jira820: Jira820) -> list[int]:
    boards = told(jira820, "GET", "/rest/agile/1.0/board")["values"]
    [board] = [each["id"] for each in boards if each["type"] == "scrum"][:1]
    return [each["id"] for each in told(jira820, "GET", f"/rest/agile/1.0/board/{board}/sprint")["values"]]


def jira_issue(request: pytest.FixtureRequest, name: str) -> str:
    fields = {
        "project": {"key": "PROJ"},
        "summary": name,
        "issuetype": {"name": "Task"},
        "labels": ["old"],
        "description": "before",
    }
    return told(request.getfixturevalue("jira820"), "POST", "/rest/api/2/issue", json={"fields": fields})["key"]


def jira_create_issue(request: pytest.FixtureRequest, name: str) -> Writing:
    return jira(request, {"project": "PROJ", "summary": name, "labels": ["new"]})


def jira_update_issue(request: pytest.FixtureRequest, name: str) -> Writing:
    return jira(request, {"key": jira_issue(request, name), "summary": "after", "description": "after"})


def assign_issue(request: pytest.FixtureRequest, name: str) -> Writing:
    return jira(request, {"key": jira_issue(request, name), "assignee": "admin"})


def add_comment(request: pytest.FixtureRequest, name: str) -> Writing:
    return jira(request, {"key": jira_issue(request, name), "body": name})


def transition_issue(request: pytest.FixtureRequest, name: str) -> Writing:
    return jira(request, {"key": jira_issue(request, name), "status": "Done"})


def add_link(request: pytest.FixtureRequest, name: str) -> Writing:
    """To a page that is linked already, with another title."""
    prepared = jira(request, {"key": jira_issue(request, name), "url": "https://example.org/x", "title": "after"})
    key, url = prepared.arguments["key"], prepared.arguments["url"]
    asyncio.run(prepared.serve(prepared.upstream).call_tool("add_link", {"key": key, "url": url, "title": "before"}))
    return prepared


def link_issues(request: pytest.FixtureRequest, name: str) -> Writing:
    return jira(request, {"key": jira_issue(request, name), "other": jira_issue(request, name), "type": "Blocks"})


def add_to_sprint(request: pytest.FixtureRequest, name: str) -> Writing:
    """From one sprint into another."""
    jira820 = request.getfixturevalue("jira820")
    key = jira_issue(request, name)
    first, second, *_ = sprints(jira820)[::-1]
    told(jira820, "POST", f"/rest/agile/1.0/sprint/{first}/issue", json={"issues": [key]})
    return jira(request, {"sprint_id": second, "keys": [key]})


# Slack


def slack(request: pytest.FixtureRequest, arguments: dict[str, Any]) -> Writing:
    emulate: Emulate = request.getfixturevalue("emulate")

    def facts() -> Facts:
        found: Facts = set()
        channels = said(emulate, "conversations.list")["channels"]
        found |= {("member", channel["id"]) for channel in channels if channel["is_member"]}
        for each in said(emulate, "conversations.history", channel=where(emulate), limit="200")["messages"]:
            ts = each["ts"]
            found |= {(ts, "is"), (ts, each["text"])}
            found |= {(ts, reaction["name"], reaction["count"]) for reaction in each.get("reactions", [])}
        return found

    return Writing("slack", emulate.slack_url, lambda url: slack_server(url, emulate.slack_token), arguments, facts)


def said(emulate: Emulate, method: str, **form: str) -> Json:
    answer = emulate.slack("POST", method, data=form).json()
    assert answer["ok"], answer
    return answer


def where(emulate: Emulate) -> str:
    [found] = [each["id"] for each in said(emulate, "conversations.list")["channels"] if each["name"] == CHANNEL]
    return found


def message(request: pytest.FixtureRequest, name: str, reaction: str = "") -> dict[str, Any]:
    """A message of ours; what names it."""
    emulate = request.getfixturevalue("emulate")
    channel = where(emulate)
    ts = said(emulate, "chat.postMessage", channel=channel, text=name)["ts"]
    if reaction:
        said(emulate, "reactions.add", channel=channel, timestamp=ts, name=reaction)
    return {"channel": CHANNEL, "ts": ts}


def send_message(request: pytest.FixtureRequest, name: str) -> Writing:
    return slack(request, {"channel": CHANNEL, "text": name})


def update_message(request: pytest.FixtureRequest, name: str) -> Writing:
    return slack(request, {**message(request, name), "text": f"{name}, changed"})


def delete_message(request: pytest.FixtureRequest, name: str) -> Writing:
    return slack(request, message(request, name))


def add_reaction(request: pytest.FixtureRequest, name: str) -> Writing:
    return slack(request, {**message(request, name), "name": "tada"})


def remove_reaction(request: pytest.FixtureRequest, name: str) -> Writing:
    return slack(request, {**message(request, name, reaction="tada"), "name": "tada"})


def join_channel(request: pytest.FixtureRequest, _: str) -> Writing:
    emulate = request.getfixturevalue("emulate")
    [channel] = [each for each in said(emulate, "conversations.list")["channels"] if each["name"] == "releases"]
    if channel["is_member"]:
        said(emulate, "conversations.leave", channel=channel["id"])
    return slack(request, {"channel": "#releases"})


def upload_file(request: pytest.FixtureRequest, name: str) -> Writing:
    return slack(request, {"channel": CHANNEL, "filename": f"{name}.txt", "content": "x", "comment": name})


WRITING: dict[tuple[str, str], Prepare] = {
    **{
        ("github", prepare.__name__): prepare
        for prepare in (
            *(create_issue, update_issue, add_issue_comment, add_labels, remove_label, create_pull_request),
            *(merge_pull_request, create_release, create_or_update_file),
        )
    },
    **{
        ("jira", prepare.__name__.removeprefix("jira_")): prepare
        for prepare in (
            *(jira_create_issue, jira_update_issue, assign_issue, add_comment, transition_issue, add_link),
            *(link_issues, add_to_sprint),
        )
    },
    **{
        ("slack", prepare.__name__): prepare
        for prepare in (
            *(send_message, update_message, delete_message, add_reaction, remove_reaction, join_channel),
            upload_file,
        )
    },
}
"""By server and tool."""
