"""Jira Data Center's REST v2 and Agile 1.0, as much as the jira server uses; state in memory."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
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
    text,
    texts,
)
from motet_servers.playground.jira_shapes import (
    LINK_WORDS,
    STATUSES,
    TYPES,
    Comment,
    Issue,
    Project,
    RemoteLink,
    Shapes,
    Sprint,
    category_name,
)
from motet_servers.playground.jql import Fields, parse


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
        self.projects = {project.key: project for project in projects}
        self.issues = {issue.key: issue for issue in issues}
        self._users = dict(users)
        self._token = token
        self._now = now
        self._ids = 20000
        self._shapes = Shapes(self.projects, self.issues, self._users)
        self._router = Router()
        for method, template, function in self._table():
            self._router.add(method, template, function)

    @property
    def url(self) -> str:
        """Where it is served; every address in its answers starts so."""
        return self._shapes.url

    @url.setter
    def url(self, url: str) -> None:
        self._shapes.url = url

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
            ("GET", f"{agile}/board/{{ident}}/sprint", self._sprints),
            ("GET", f"{agile}/board/{{ident}}/issue", self._board_issues),
            ("GET", f"{agile}/sprint/{{ident}}", self._sprint),
            ("GET", f"{agile}/sprint/{{ident}}/issue", self._sprint_issues),
            ("POST", f"{agile}/sprint/{{ident}}/issue", self._move_to_sprint),
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
        return json_response(self._shapes.user("ada"))

    def _projects(self, request: Request) -> Response:
        del request
        return json_response([self._shapes.project(project) for project in self.projects.values()])

    def _project(self, request: Request, key: str) -> Response:
        del request
        return json_response(
            {**self._shapes.project(self._project_of(key)), "description": "", "issueTypes": self._shapes.types()}
        )

    def _project_of(self, key: str) -> Project:
        if (project := self.projects.get(key.upper())) is None:
            raise Refused(404, f"No project could be found with key '{key}'.")
        return project

    def _search(self, request: Request) -> Response:
        wanted = request.query if request.method == "GET" else request.json()
        found = self._query(text(wanted, "jql"))
        start, most = number(wanted, "startAt", 0), min(number(wanted, "maxResults", 50), 1000)
        shown = [self._shapes.issue(issue) for issue in found[start : start + most]]
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
            "statuscategory": [category_name(issue.status)],
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
        return json_response(self._shapes.issue(self._of(key)))

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
        shown = [self._shapes.comment(issue, comment) for comment in ordered[start : start + most]]
        return json_response({"startAt": start, "maxResults": most, "total": len(issue.comments), "comments": shown})

    def _comment(self, request: Request, key: str) -> Response:
        issue = self._of(key)
        if not (body := text(request.json(), "body")).strip():
            raise Refused(400, "", comment="Comment body can not be empty!")
        comment = Comment(self._id(), "ada", body, self._stamp())
        issue.comments.append(comment)
        return json_response(self._shapes.comment(issue, comment), 201, effect="comment.created")

    def _transitions(self, request: Request, key: str) -> Response:
        del request
        issue = self._of(key)
        shown = [
            {"id": str(at), "name": f"Move to {status}", "hasScreen": False, "to": self._shapes.status(status)}
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
        shown = [self._shapes.link(issue, link) for link in issue.links if wanted in (None, link.global_id)]
        if wanted is not None:
            if not shown:
                raise Refused(404, "No remote issue link with this global ident.")
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
        shown = [
            {"id": str(at), "name": name, "inward": inward, "outward": outward}
            for at, (name, (inward, outward)) in enumerate(LINK_WORDS.items(), start=10000)
        ]
        return json_response({"issueLinkTypes": shown})

    def _link_issues(self, request: Request) -> Response:
        body = request.json()
        inward = self._of(text(mapping(body, "inwardIssue"), "key"))
        outward = self._of(text(mapping(body, "outwardIssue"), "key"))
        kind = text(mapping(body, "type"), "name")
        if kind not in LINK_WORDS:
            raise Refused(404, f"No issue link type with name '{kind}' found.")
        if any(link[1:] == (kind, outward.key) for link in inward.related):
            return Response(201)
        inward.related.append((self._id(), kind, outward.key))
        return Response(201, effect="issues.linked")

    def _user_search(self, request: Request) -> Response:
        wanted = request.query.get("username", "").lower()
        start, most = number(request.query, "startAt", 0), number(request.query, "maxResults", 50)
        found = [name for name, full in self._users.items() if wanted in name.lower() or wanted in full.lower()]
        return json_response([self._shapes.user(name) for name in found[start : start + most]])

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

    def _board_of(self, ident: str) -> Project:
        for project in self.projects.values():
            if str(project.id) == ident:
                return project
        raise Refused(404, "Board does not exist or you do not have permission to see it.")

    def _sprints(self, request: Request, ident: str) -> Response:
        project = self._board_of(ident)
        states = {state for state in request.query.get("state", "").split(",") if state}
        shown = [self._shapes.sprint(project, each) for each in project.sprints if not states or each.state in states]
        return self._values(request, shown)

    def _board_issues(self, request: Request, ident: str) -> Response:
        project = self._board_of(ident)
        return self._issue_page(
            request, [issue for issue in self.issues.values() if issue.key.startswith(f"{project.key}-")]
        )

    def _sprint_named(self, ident: int | None) -> Sprint | None:
        every = (sprint for project in self.projects.values() for sprint in project.sprints)
        return next((sprint for sprint in every if sprint.id == ident), None)

    def _sprint_of(self, ident: str) -> Sprint:
        sprint = self._sprint_named(int(ident)) if ident.isdigit() else None
        if sprint is None:
            raise Refused(404, "Sprint does not exist.")
        return sprint

    def _sprint(self, request: Request, ident: str) -> Response:
        del request
        sprint = self._sprint_of(ident)
        project = next(project for project in self.projects.values() if sprint in project.sprints)
        return json_response(self._shapes.sprint(project, sprint))

    def _sprint_issues(self, request: Request, ident: str) -> Response:
        sprint = self._sprint_of(ident)
        return self._issue_page(request, [issue for issue in self.issues.values() if issue.sprint == sprint.id])

    def _issue_page(self, request: Request, found: list[Issue]) -> Response:
        start, most = number(request.query, "startAt", 0), number(request.query, "maxResults", 50)
        shown = [self._shapes.issue(issue) for issue in found[start : start + most]]
        return json_response({"expand": "", "startAt": start, "maxResults": most, "total": len(found), "issues": shown})

    def _move_to_sprint(self, request: Request, ident: str) -> Response:
        sprint = self._sprint_of(ident)
        for issue in [self._of(key) for key in texts(request.json(), "issues")]:
            issue.sprint = sprint.id
        return Response(204, effect="sprint.filled")
