"""What the playground's Jira holds, and how Jira shows it: the full shape of each answer, as its document has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from motet_servers.playground.http import Refused, strings, text, texts

STATUSES = {
    "To Do": "new",
    "In Progress": "indeterminate",
    "In Review": "indeterminate",
    "deployed": "done",
    "Done": "done",
}
"""Status → category; from each, all others can be reached."""
TYPES = ("Task", "Bug", "Story", "Epic", "Sub-task")
LINK_WORDS = {"Blocks": ("is blocked by", "blocks"), "Relates": ("relates to", "relates to")}
"""Each kind of link, with its words seen from the far end and from the near one."""
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")


@dataclass(slots=True)
class Comment:
    """A comment on an issue."""

    id: int
    author: str
    body: str
    created: str


@dataclass(slots=True)
class RemoteLink:
    """A link from an issue to a page elsewhere; `global_id` is what makes it the same link again."""

    id: int
    global_id: str | None
    url: str
    title: str


@dataclass(slots=True)
class Issue:
    """An issue."""

    id: int
    key: str
    summary: str
    description: str | None
    created: str
    updated: str
    status: str = "To Do"
    type: str = "Task"
    priority: str = "Medium"
    reporter: str = "ada"
    assignee: str | None = None
    labels: list[str] = field(default_factory=list[str])
    due: str | None = None
    sprint: int | None = None
    parent: str | None = None
    comments: list[Comment] = field(default_factory=list[Comment])
    links: list[RemoteLink] = field(default_factory=list[RemoteLink])
    related: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    """Issue links outward: id, type, other key."""


@dataclass(slots=True)
class Sprint:
    """A sprint of the project's one board."""

    id: int
    name: str
    state: str
    start: str
    end: str
    goal: str


@dataclass(slots=True)
class Project:
    """A project with one board."""

    id: int
    key: str
    name: str
    sprints: list[Sprint] = field(default_factory=list[Sprint])


class Shapes:
    """Answers in Jira's full shape; every address in them starts with `url`."""

    def __init__(self, projects: Mapping[str, Project], issues: Mapping[str, Issue], users: Mapping[str, str]) -> None:
        self.url = "http://127.0.0.1"
        self.projects = projects
        self.issues = issues
        self._users = users

    def user(self, name: str) -> dict[str, object]:
        """A user."""
        return {
            "self": f"{self.url}/rest/api/2/user?username={name}",
            "key": name,
            "name": name,
            "emailAddress": f"{name}@example.test",
            "displayName": self._users.get(name, name),
            "active": True,
            "timeZone": "Etc/UTC",
        }

    def project(self, project: Project) -> dict[str, object]:
        """A project."""
        own = f"{self.url}/rest/api/2/project/{project.id}"
        return {
            "self": own,
            "id": str(project.id),
            "key": project.key,
            "name": project.name,
            "projectTypeKey": "software",
        }

    def types(self) -> list[dict[str, object]]:
        """Every issue type."""
        return [self.issue_type(name) for name in TYPES]

    def issue_type(self, name: str) -> dict[str, object]:
        """An issue type."""
        number_of = str(10001 + TYPES.index(name))
        return {
            "self": f"{self.url}/rest/api/2/issuetype/{number_of}",
            "id": number_of,
            "name": name,
            "description": "",
            "subtask": name == "Sub-task",
        }

    def status(self, name: str) -> dict[str, object]:
        """A status with its category."""
        number_of = str(10001 + list(STATUSES).index(name))
        category = STATUSES[name]
        return {
            "self": f"{self.url}/rest/api/2/status/{number_of}",
            "id": number_of,
            "name": name,
            "description": "",
            "statusCategory": {
                "self": f"{self.url}/rest/api/2/statuscategory/{_CATEGORY_IDS[category]}",
                "id": _CATEGORY_IDS[category],
                "key": category,
                "name": category_name(name),
                "colorName": "blue-gray",
            },
        }

    def comment(self, issue: Issue, comment: Comment) -> dict[str, object]:
        """A comment."""
        return {
            "self": f"{self.url}/rest/api/2/issue/{issue.id}/comment/{comment.id}",
            "id": str(comment.id),
            "author": self.user(comment.author),
            "updateAuthor": self.user(comment.author),
            "body": comment.body,
            "created": comment.created,
            "updated": comment.created,
        }

    def link(self, issue: Issue, link: RemoteLink) -> dict[str, object]:
        """A remote link."""
        shown: dict[str, object] = {
            "id": link.id,
            "self": f"{self.url}/rest/api/2/issue/{issue.key}/remotelink/{link.id}",
            "object": {"url": link.url, "title": link.title},
        }
        return shown if link.global_id is None else {**shown, "globalId": link.global_id}

    def related(self, issue: Issue) -> list[dict[str, object]]:
        """The links to other issues, seen from this one."""
        shown: list[dict[str, object]] = []
        for near in self.issues.values():
            for ident, kind, far in near.related:
                if issue.key in (near.key, far):
                    side, other = ("outwardIssue", far) if issue is near else ("inwardIssue", near.key)
                    of = self.issues[other]
                    fields = {"summary": of.summary, "status": self.status(of.status)}
                    inward, outward = LINK_WORDS[kind]
                    kind_shown = {"id": "10000", "name": kind, "inward": inward, "outward": outward}
                    end = {"id": str(of.id), "key": other, "fields": fields}
                    shown.append({"id": str(ident), "type": kind_shown, side: end})
        return shown

    def sprint(self, project: Project, sprint: Sprint) -> dict[str, object]:
        """A sprint."""
        return {
            "id": sprint.id,
            "self": f"{self.url}/rest/agile/1.0/sprint/{sprint.id}",
            "state": sprint.state,
            "name": sprint.name,
            "startDate": sprint.start,
            "endDate": sprint.end,
            "originBoardId": project.id,
            "goal": sprint.goal,
        }

    def issue(self, issue: Issue) -> dict[str, object]:
        """An issue with all its fields."""
        project = self.projects[issue.key.partition("-")[0]]
        priority = str(1 + PRIORITIES.index(issue.priority)) if issue.priority in PRIORITIES else "3"
        comments = [self.comment(issue, comment) for comment in issue.comments]
        fields: dict[str, object] = {
            "summary": issue.summary,
            "description": issue.description,
            "status": self.status(issue.status),
            "issuetype": self.issue_type(issue.type),
            "project": self.project(project),
            "priority": {"self": f"{self.url}/rest/api/2/priority/{priority}", "id": priority, "name": issue.priority},
            "assignee": self.user(issue.assignee) if issue.assignee else None,
            "reporter": self.user(issue.reporter),
            "creator": self.user(issue.reporter),
            "labels": issue.labels,
            "duedate": issue.due,
            "created": issue.created,
            "updated": issue.updated,
            "resolution": None,
            "issuelinks": self.related(issue),
            "comment": {"comments": comments, "maxResults": len(comments), "total": len(comments), "startAt": 0},
        }
        if issue.parent:
            fields["parent"] = {"key": issue.parent}
        own = f"{self.url}/rest/api/2/issue/{issue.id}"
        return {"expand": "", "id": str(issue.id), "self": own, "key": issue.key, "fields": fields}


_CATEGORY_IDS = {"new": 2, "indeterminate": 4, "done": 3}


def category_name(status: str) -> str:
    """To Do, In Progress or Done."""
    return {"new": "To Do", "indeterminate": "In Progress", "done": "Done"}[STATUSES[status]]


def project_from(found: Mapping[str, object], ident: int, today: datetime) -> Project:
    """A project as a seed file writes it: `key`, `name`, and the name of its active `sprint`."""
    project = Project(ident, text(found, "key"), text(found, "name"))
    day = today.strftime("%Y-%m-%d")
    if name := text(found, "sprint"):
        project.sprints = [Sprint(ident * 10 + 1, name, "active", f"{day}T00:00:00.000Z", f"{day}T23:59:59.000Z", "")]
    return project


def issue_from(found: Mapping[str, object], ident: int, projects: Mapping[str, Project], stamp: str) -> Issue:
    """An issue as a seed file writes it: `key`, `summary`, `description`, `status`, `in_sprint`, …

    Raises Refused: 422, its project or status is unknown.
    """
    key, status = text(found, "key"), text(found, "status", "To Do")
    project = projects.get(key.partition("-")[0])
    if project is None or status not in STATUSES:
        raise Refused(
            422, f"issue {key}: its project is not in the seed, or its status is not one of {', '.join(STATUSES)}"
        )
    issue = Issue(ident, key, text(found, "summary"), text(found, "description") or None, stamp, stamp, status=status)
    issue.type = text(found, "type", issue.type)
    issue.priority = text(found, "priority", issue.priority)
    issue.assignee = text(found, "assignee") or None
    issue.labels = texts(found, "labels")
    issue.due = text(found, "due") or None
    if found.get("in_sprint") is True and project.sprints:
        issue.sprint = project.sprints[0].id
    issue.links = [RemoteLink(ident * 10, None, url, title) for title, url in strings(found, "links").items()]
    return issue
