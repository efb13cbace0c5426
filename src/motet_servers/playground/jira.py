"""Jira Data Center's REST v2 and Agile 1.0, as much as the jira server uses; state in memory."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from motet_servers.playground.http import (
    Refused,
    Request,
    Response,
    Router,
    json_response,
    mapping,
    number,
    objects,
    strings,
    text,
    texts,
)
from motet_servers.playground.jql import Fields, parse

STATUSES = {
    "To Do": "new",
    "In Progress": "indeterminate",
    "In Review": "indeterminate",
    "deployed": "done",
    "Done": "done",
}
"""Status → category; from each, all others can be reached."""
TYPES = ("Task", "Bug", "Story", "Epic", "Sub-task")
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


class Jira:
    """The stand-in: a handler over projects, issues and users."""

    def __init__(
        self,
        projects: list[Project],
        issues: list[Issue],
        users: Mapping[str, str],
        *,
        token: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.url = "http://127.0.0.1"
        self.projects = {project.key: project for project in projects}
        self.issues = {issue.key: issue for issue in issues}
        self._users = dict(users)
        self._token = token
        self._now = now
        self._ids = 20000
        self._router = Router()
        for method, template, function in self._table():
            self._router.add(method, template, function)

    def _table(self) -> list[tuple[str, str, Callable[..., Response]]]:
        api, agile = "/rest/api/2", "/rest/agile/1.0"
        return [
            ("GET", f"{api}/serverInfo", self._server_info),
            ("GET", f"{api}/myself", self._myself),
            ("GET", f"{api}/project", self._projects),
            ("GET", f"{api}/project/{{key}}", self._project),
            ("GET", f"{api}/search", self._search),
            ("POST", f"{api}/search", self._search),
            ("POST", f"{api}/issue", self._create),
            ("GET", f"{api}/issue/{{key}}", self._issue),
            ("PUT", f"{api}/issue/{{key}}", self._update),
            ("PUT", f"{api}/issue/{{key}}/assignee", self._assign),
            ("GET", f"{api}/issue/{{key}}/comment", self._comments),
            ("POST", f"{api}/issue/{{key}}/comment", self._comment),
            ("GET", f"{api}/issue/{{key}}/transitions", self._transitions),
            ("POST", f"{api}/issue/{{key}}/transitions", self._transition),
            ("GET", f"{api}/issue/{{key}}/remotelink", self._remote_links),
            ("POST", f"{api}/issue/{{key}}/remotelink", self._link_remote),
            ("GET", f"{api}/issueLinkType", self._link_types),
            ("POST", f"{api}/issueLink", self._link_issues),
            ("GET", f"{api}/user/search", self._user_search),
            ("GET", f"{api}/user/assignable/search", self._user_search),
            ("GET", f"{agile}/board", self._boards),
            ("GET", f"{agile}/board/{{id}}/sprint", self._sprints),
            ("GET", f"{agile}/board/{{id}}/issue", self._board_issues),
            ("GET", f"{agile}/sprint/{{id}}", self._sprint),
            ("GET", f"{agile}/sprint/{{id}}/issue", self._sprint_issues),
            ("POST", f"{agile}/sprint/{{id}}/issue", self._move_to_sprint),
        ]

    async def __call__(self, request: Request) -> Response:
        try:
            self._admit(request.headers.get("authorization", ""))
            return self._router.answer(request)
        except Refused as refused:
            return json_response({"errorMessages": [refused.message], "errors": refused.details}, refused.status)

    def _admit(self, authorization: str) -> None:
        given = authorization.removeprefix("Bearer ")
        if authorization.startswith("Basic "):
            given = base64.b64decode(authorization[6:]).decode("utf-8", "replace").partition(":")[2]
        if given != self._token:
            raise Refused(401, "You are not authenticated. Authentication required to perform this operation.")

    # Finding

    def _of(self, key: str) -> Issue:
        for issue in self.issues.values():
            if key.upper() == issue.key or key == str(issue.id):
                return issue
        raise Refused(404, "Issue Does Not Exist")

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def _user_named(self, name: str | None) -> str | None:
        if name is not None and name not in self._users:
            raise Refused(400, "", assignee=f"User '{name}' does not exist.")
        return name

    # Whole answers

    def _server_info(self, request: Request) -> Response:
        del request
        return json_response(
            {
                "baseUrl": self.url,
                "version": "9.12.0",
                "versionNumbers": [9, 12, 0],
                "deploymentType": "Server",
                "buildNumber": 912000,
                "serverTitle": "Playground",
            }
        )

    def _myself(self, request: Request) -> Response:
        del request
        return json_response(self._show_user("ada"))

    def _projects(self, request: Request) -> Response:
        del request
        return json_response([self._show_project(project) for project in self.projects.values()])

    def _project(self, request: Request, key: str) -> Response:
        del request
        return json_response(
            {**self._show_project(self._project_of(key)), "description": "", "issueTypes": self._types()}
        )

    def _project_of(self, key: str) -> Project:
        if (project := self.projects.get(key.upper())) is None:
            raise Refused(404, f"No project could be found with key '{key}'.")
        return project

    def _search(self, request: Request) -> Response:
        wanted = request.query if request.method == "GET" else request.json()
        found = self._query(text(wanted, "jql"))
        start, most = number(wanted, "startAt", 0), min(number(wanted, "maxResults", 50), 1000)
        shown = [self._show_issue(issue) for issue in found[start : start + most]]
        return json_response({"expand": "", "startAt": start, "maxResults": most, "total": len(found), "issues": shown})

    def _query(self, jql: str) -> list[Issue]:
        query = parse(jql)
        found = [issue for issue in self.issues.values() if query.matches(self._fields(issue))]
        for name, descends in reversed(query.order):
            found.sort(key=lambda issue: list(self._fields(issue).get(name, [])), reverse=descends)
        return found

    def _fields(self, issue: Issue) -> Fields:
        sprint = self._sprint_named(issue.sprint)
        in_sprint = [] if sprint is None else [str(sprint.id), sprint.name]
        if sprint is not None and sprint.state == "active":
            in_sprint.append("opensprints()")
        project = self.projects[issue.key.partition("-")[0]]
        return {
            "key": [issue.key],
            "issuekey": [issue.key],
            "id": [str(issue.id)],
            "project": [project.key, project.name, str(project.id)],
            "summary": [issue.summary],
            "description": [issue.description] if issue.description else [],
            "text": [issue.summary, issue.description or "", *(comment.body for comment in issue.comments)],
            "status": [issue.status],
            "statuscategory": [_category_name(issue.status)],
            "issuetype": [issue.type],
            "type": [issue.type],
            "priority": [issue.priority],
            "labels": issue.labels,
            "assignee": [issue.assignee] if issue.assignee else [],
            "reporter": [issue.reporter],
            "sprint": in_sprint,
            "created": [issue.created],
            "updated": [issue.updated],
            "due": [issue.due] if issue.due else [],
            "duedate": [issue.due] if issue.due else [],
            "parent": [issue.parent] if issue.parent else [],
        }

    def _create(self, request: Request) -> Response:
        fields = mapping(request.json(), "fields")
        named = mapping(fields, "project")
        project = next(
            (
                each
                for each in self.projects.values()
                if text(named, "key") == each.key or text(named, "id") == str(each.id)
            ),
            None,
        )
        problems = {
            "project": "project is required" if project is None else "",
            "summary": "" if text(fields, "summary").strip() else "You must specify a summary of the issue.",
            "issuetype": "" if self._type_in(fields) else "issue type is required",
        }
        if project is None or any(problems.values()):
            raise Refused(400, "", **{name: problem for name, problem in problems.items() if problem})
        highest = max(
            (int(key.rpartition("-")[2]) for key in self.issues if key.startswith(f"{project.key}-")), default=0
        )
        issue = Issue(self._id(), f"{project.key}-{highest + 1}", "", None, self._stamp(), self._stamp())
        self._set(issue, fields)
        self.issues[issue.key] = issue
        answer = {"id": str(issue.id), "key": issue.key, "self": f"{self.url}/rest/api/2/issue/{issue.id}"}
        return json_response(answer, 201, effect="issue.created")

    def _type_in(self, fields: Mapping[str, object]) -> str:
        found = mapping(fields, "issuetype")
        by_id = {str(at): name for at, name in enumerate(TYPES, start=10001)}
        name = text(found, "name") or by_id.get(text(found, "id"), "")
        return name if name in TYPES else ""

    def _set(self, issue: Issue, fields: Mapping[str, object]) -> None:
        issue.summary = text(fields, "summary", issue.summary)
        if "description" in fields:
            issue.description = text(fields, "description") or None
        if "issuetype" in fields:
            issue.type = self._type_in(fields) or issue.type
        if "labels" in fields:
            issue.labels = texts(fields, "labels")
            if any(" " in label for label in issue.labels):
                raise Refused(400, "", labels="The label contains spaces which is invalid.")
        if "priority" in fields:
            issue.priority = text(mapping(fields, "priority"), "name", issue.priority)
        if "assignee" in fields:
            issue.assignee = self._user_named(text(mapping(fields, "assignee"), "name") or None)
        if "duedate" in fields:
            issue.due = text(fields, "duedate") or None
        if "parent" in fields:
            issue.parent = text(mapping(fields, "parent"), "key") or None
        issue.updated = self._stamp()

    def _issue(self, request: Request, key: str) -> Response:
        del request
        return json_response(self._show_issue(self._of(key)))

    def _update(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        body = request.json()
        self._set(issue, mapping(body, "fields"))
        for change in objects(mapping(body, "update"), "labels"):
            label, gone = text(change, "add"), text(change, "remove")
            issue.labels = [each for each in issue.labels if each not in (label, gone)] + ([label] if label else [])
        return Response(204, effect="issue.updated")

    def _assign(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        issue.assignee = self._user_named(text(request.json(), "name") or None)
        issue.updated = self._stamp()
        return Response(204, effect="issue.assigned")

    def _comments(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        start, most = number(request.query, "startAt", 0), number(request.query, "maxResults", 1000)
        newest_first = request.query.get("orderBy", "created").startswith("-")
        ordered = list(reversed(issue.comments)) if newest_first else issue.comments
        shown = [self._show_comment(issue, comment) for comment in ordered[start : start + most]]
        return json_response({"startAt": start, "maxResults": most, "total": len(issue.comments), "comments": shown})

    def _comment(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        if not (body := text(request.json(), "body")).strip():
            raise Refused(400, "", comment="Comment body can not be empty!")
        comment = Comment(self._id(), "ada", body, self._stamp())
        issue.comments.append(comment)
        return json_response(self._show_comment(issue, comment), 201, effect="comment.created")

    def _transitions(self, request: Request, key: str) -> Response:
        del request
        issue = self._of(key)
        shown = [
            {"id": str(at), "name": f"Move to {status}", "hasScreen": False, "to": self._show_status(status)}
            for at, status in enumerate(STATUSES, start=11)
            if status != issue.status
        ]
        return json_response({"expand": "transitions", "transitions": shown})

    def _transition(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        body = request.json()
        wanted = text(mapping(body, "transition"), "id")
        reachable = {str(at): status for at, status in enumerate(STATUSES, start=11) if status != issue.status}
        if wanted not in reachable:
            raise Refused(400, "It seems that you have tried to perform a workflow operation that is not valid.")
        issue.status = reachable[wanted]
        issue.updated = self._stamp()
        return Response(204, effect="issue.transitioned")

    def _remote_links(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        wanted = request.query.get("globalId")
        shown = [self._show_link(issue, link) for link in issue.links if wanted in (None, link.global_id)]
        if wanted is not None:
            if not shown:
                raise Refused(404, "No remote issue link with this global id.")
            return json_response(shown[0])
        return json_response(shown)

    def _link_remote(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        body = request.json()
        shown = mapping(body, "object")
        if not (text(shown, "url") and text(shown, "title")):
            raise Refused(400, "", url="'url' and 'title' are required.")
        global_id = text(body, "globalId") or None
        old = next((link for link in issue.links if global_id is not None and link.global_id == global_id), None)
        link = old or RemoteLink(self._id(), global_id, "", "")
        link.url, link.title = text(shown, "url"), text(shown, "title")
        if old is None:
            issue.links.append(link)
        answer = {"id": link.id, "self": f"{self.url}/rest/api/2/issue/{issue.key}/remotelink/{link.id}"}
        return json_response(answer, 200 if old else 201, effect="link.updated" if old else "link.created")

    def _link_types(self, request: Request) -> Response:
        del request
        named = {"Blocks": ("is blocked by", "blocks"), "Relates": ("relates to", "relates to")}
        shown = [
            {"id": str(at), "name": name, "inward": inward, "outward": outward}
            for at, (name, (inward, outward)) in enumerate(named.items(), start=10000)
        ]
        return json_response({"issueLinkTypes": shown})

    def _link_issues(self, request: Request) -> Response:
        body = request.json()
        inward = self._of(text(mapping(body, "inwardIssue"), "key"))
        outward = self._of(text(mapping(body, "outwardIssue"), "key"))
        kind = text(mapping(body, "type"), "name")
        if kind not in ("Blocks", "Relates"):
            raise Refused(404, f"No issue link type with name '{kind}' found.")
        if any(link[1:] == (kind, outward.key) for link in inward.related):
            return Response(201)
        inward.related.append((self._id(), kind, outward.key))
        return Response(201, effect="issues.linked")

    def _user_search(self, request: Request) -> Response:
        wanted = request.query.get("username", "").lower()
        start, most = number(request.query, "startAt", 0), number(request.query, "maxResults", 50)
        found = [name for name, full in self._users.items() if wanted in name.lower() or wanted in full.lower()]
        return json_response([self._show_user(name) for name in found[start : start + most]])

    def _boards(self, request: Request) -> Response:
        wanted = request.query.get("projectKeyOrId")
        shown: list[dict[str, object]] = [
            {
                "id": project.id,
                "self": f"{self.url}/rest/agile/1.0/board/{project.id}",
                "name": f"{project.key} board",
                "type": "scrum",
                "location": {"projectKey": project.key, "projectId": project.id, "name": project.name},
            }
            for project in self.projects.values()
            if wanted in (None, project.key, str(project.id))
        ]
        return self._values(request, shown)

    def _values(self, request: Request, shown: list[dict[str, object]]) -> Response:
        start, most = number(request.query, "startAt", 0), number(request.query, "maxResults", 50)
        page = shown[start : start + most]
        last = start + most >= len(shown)
        return json_response(
            {"maxResults": most, "startAt": start, "total": len(shown), "isLast": last, "values": page}
        )

    def _board_of(self, id: str) -> Project:  # noqa: A002 - the path's own word
        for project in self.projects.values():
            if str(project.id) == id:
                return project
        raise Refused(404, "Board does not exist or you do not have permission to see it.")

    def _sprints(self, request: Request, id: str) -> Response:  # noqa: A002 - the path's own word
        project = self._board_of(id)
        states = {state for state in request.query.get("state", "").split(",") if state}
        shown = [self._show_sprint(project, each) for each in project.sprints if not states or each.state in states]
        return self._values(request, shown)

    def _board_issues(self, request: Request, id: str) -> Response:  # noqa: A002 - the path's own word
        project = self._board_of(id)
        return self._issue_page(
            request, [issue for issue in self.issues.values() if issue.key.startswith(f"{project.key}-")]
        )

    def _sprint_named(self, id: int | None) -> Sprint | None:  # noqa: A002 - Jira's word
        every = (sprint for project in self.projects.values() for sprint in project.sprints)
        return next((sprint for sprint in every if sprint.id == id), None)

    def _sprint_of(self, id: str) -> Sprint:  # noqa: A002 - the path's own word
        sprint = self._sprint_named(int(id)) if id.isdigit() else None
        if sprint is None:
            raise Refused(404, "Sprint does not exist.")
        return sprint

    def _sprint(self, request: Request, id: str) -> Response:  # noqa: A002 - the path's own word
        del request
        sprint = self._sprint_of(id)
        project = next(project for project in self.projects.values() if sprint in project.sprints)
        return json_response(self._show_sprint(project, sprint))

    def _sprint_issues(self, request: Request, id: str) -> Response:  # noqa: A002 - the path's own word
        sprint = self._sprint_of(id)
        return self._issue_page(request, [issue for issue in self.issues.values() if issue.sprint == sprint.id])

    def _issue_page(self, request: Request, found: list[Issue]) -> Response:
        start, most = number(request.query, "startAt", 0), number(request.query, "maxResults", 50)
        shown = [self._show_issue(issue) for issue in found[start : start + most]]
        return json_response({"expand": "", "startAt": start, "maxResults": most, "total": len(found), "issues": shown})

    def _move_to_sprint(self, request: Request, id: str) -> Response:  # noqa: A002 - the path's own word
        sprint = self._sprint_of(id)
        for issue in [self._of(key) for key in texts(request.json(), "issues")]:
            issue.sprint = sprint.id
        return Response(204, effect="sprint.filled")

    # Jira's shapes

    def _show_user(self, name: str) -> dict[str, object]:
        return {
            "self": f"{self.url}/rest/api/2/user?username={name}",
            "key": name,
            "name": name,
            "emailAddress": f"{name}@example.test",
            "displayName": self._users.get(name, name),
            "active": True,
            "timeZone": "Etc/UTC",
        }

    def _show_project(self, project: Project) -> dict[str, object]:
        own = f"{self.url}/rest/api/2/project/{project.id}"
        return {
            "self": own,
            "id": str(project.id),
            "key": project.key,
            "name": project.name,
            "projectTypeKey": "software",
        }

    def _types(self) -> list[dict[str, object]]:
        return [self._show_type(name) for name in TYPES]

    def _show_type(self, name: str) -> dict[str, object]:
        number_of = str(10001 + TYPES.index(name))
        return {
            "self": f"{self.url}/rest/api/2/issuetype/{number_of}",
            "id": number_of,
            "name": name,
            "description": "",
            "subtask": name == "Sub-task",
        }

    def _show_status(self, name: str) -> dict[str, object]:
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
                "name": _category_name(name),
                "colorName": "blue-gray",
            },
        }

    def _show_comment(self, issue: Issue, comment: Comment) -> dict[str, object]:
        return {
            "self": f"{self.url}/rest/api/2/issue/{issue.id}/comment/{comment.id}",
            "id": str(comment.id),
            "author": self._show_user(comment.author),
            "updateAuthor": self._show_user(comment.author),
            "body": comment.body,
            "created": comment.created,
            "updated": comment.created,
        }

    def _show_link(self, issue: Issue, link: RemoteLink) -> dict[str, object]:
        shown: dict[str, object] = {
            "id": link.id,
            "self": f"{self.url}/rest/api/2/issue/{issue.key}/remotelink/{link.id}",
            "object": {"url": link.url, "title": link.title},
        }
        return shown if link.global_id is None else {**shown, "globalId": link.global_id}

    def _show_related(self, issue: Issue) -> list[dict[str, object]]:
        shown: list[dict[str, object]] = []
        for near in self.issues.values():
            for id, kind, far in near.related:  # noqa: A001 - Jira's word
                if issue.key in (near.key, far):
                    side, other = ("outwardIssue", far) if issue is near else ("inwardIssue", near.key)
                    of = self.issues[other]
                    fields = {"summary": of.summary, "status": self._show_status(of.status)}
                    kind_shown = {"id": "10000", "name": kind, "inward": kind.lower(), "outward": kind.lower()}
                    end = {"id": str(of.id), "key": other, "fields": fields}
                    shown.append({"id": str(id), "type": kind_shown, side: end})
        return shown

    def _show_sprint(self, project: Project, sprint: Sprint) -> dict[str, object]:
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

    def _show_issue(self, issue: Issue) -> dict[str, object]:
        project = self.projects[issue.key.partition("-")[0]]
        priority = str(1 + PRIORITIES.index(issue.priority)) if issue.priority in PRIORITIES else "3"
        comments = [self._show_comment(issue, comment) for comment in issue.comments]
        fields: dict[str, object] = {
            "summary": issue.summary,
            "description": issue.description,
            "status": self._show_status(issue.status),
            "issuetype": self._show_type(issue.type),
            "project": self._show_project(project),
            "priority": {"self": f"{self.url}/rest/api/2/priority/{priority}", "id": priority, "name": issue.priority},
            "assignee": self._show_user(issue.assignee) if issue.assignee else None,
            "reporter": self._show_user(issue.reporter),
            "creator": self._show_user(issue.reporter),
            "labels": issue.labels,
            "duedate": issue.due,
            "created": issue.created,
            "updated": issue.updated,
            "resolution": None,
            "issuelinks": self._show_related(issue),
            "comment": {"comments": comments, "maxResults": len(comments), "total": len(comments), "startAt": 0},
        }
        if issue.parent:
            fields["parent"] = {"key": issue.parent}
        own = f"{self.url}/rest/api/2/issue/{issue.id}"
        return {"expand": "", "id": str(issue.id), "self": own, "key": issue.key, "fields": fields}


_CATEGORY_IDS = {"new": 2, "indeterminate": 4, "done": 3}


def _category_name(status: str) -> str:
    return {"new": "To Do", "indeterminate": "In Progress", "done": "Done"}[STATUSES[status]]


def project_from(found: Mapping[str, object], id: int, today: datetime) -> Project:  # noqa: A002 - Jira's word
    """A project as a seed file writes it: `key`, `name`, and the name of its active `sprint`."""
    project = Project(id, text(found, "key"), text(found, "name"))
    day = today.strftime("%Y-%m-%d")
    if name := text(found, "sprint"):
        project.sprints = [Sprint(id * 10 + 1, name, "active", f"{day}T00:00:00.000Z", f"{day}T23:59:59.000Z", "")]
    return project


def issue_from(found: Mapping[str, object], id: int, projects: Mapping[str, Project], stamp: str) -> Issue:  # noqa: A002 - Jira's word
    """An issue as a seed file writes it: `key`, `summary`, `description`, `status`, `in_sprint`, …

    Raises Refused: 422, its project or status is unknown.
    """
    key, status = text(found, "key"), text(found, "status", "To Do")
    project = projects.get(key.partition("-")[0])
    if project is None or status not in STATUSES:
        raise Refused(
            422, f"issue {key}: its project is not in the seed, or its status is not one of {', '.join(STATUSES)}"
        )
    issue = Issue(id, key, text(found, "summary"), text(found, "description") or None, stamp, stamp, status=status)
    issue.type = text(found, "type", issue.type)
    issue.priority = text(found, "priority", issue.priority)
    issue.assignee = text(found, "assignee") or None
    issue.labels = texts(found, "labels")
    issue.due = text(found, "due") or None
    if found.get("in_sprint") is True and project.sprints:
        issue.sprint = project.sprints[0].id
    issue.links = [RemoteLink(id * 10, None, url, title) for title, url in strings(found, "links").items()]
    return issue
