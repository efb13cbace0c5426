"""Jira's REST API as our tools need it: which requests, in which order, and how a key makes a write happen once.

| write | what makes a repetition harmless |
|---|---|
| create | the key leaves a label `motet-…`, found again by JQL, and one for what was asked |
| comment | the key leaves an invisible `{anchor:motet-…}`, found again among the issue's comments |
| link to a page | `globalId` is made from the URL: Jira updates the link that has it |
| link to an issue | looked for first, in its direction |
| transition, assignee, fields, sprint | setting what is set already changes nothing |
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from motet_servers.jira import dialect, model
from motet_servers.jira.dialect import OUR_LABEL, DataCenter, read
from motet_servers.kit import idempotency, paging, progress
from motet_servers.kit.addresses import path
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound
from motet_servers.kit.http import Answer, ApiClient

_KEY = re.compile(r"[A-Z][A-Z0-9_]*-[1-9][0-9]{0,9}")
_PROJECT = re.compile(r"[A-Z][A-Z0-9_]{0,254}")
SAID_LABEL = OUR_LABEL + "said-"
"""The label beside a key's: what was asked for with it."""
LONGEST_TEXT = 32_767
"""Characters Jira takes as a description or comment."""
SEEN_COMMENTS = 5000
"""Newest comments looked through for a key's mark."""


class Jira:
    """One Jira, one account."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._dialect = DataCenter(client.base)
        self._locks = idempotency.KeyLocks()

    # Issues

    async def issue(self, key: str) -> model.Issue:
        return self._dialect.issue(await self._wire(key))

    async def _wire(self, key: str, *, more: str = "") -> dialect.IssueWire:
        answer = await self._get(self._at(key), {"fields": self._dialect.shown + more})
        return read(answer, dialect.IssueWire)

    async def search(self, jql: str, *, limit: int, cursor: str | None) -> model.IssuePage:
        found = await self._search(jql, limit=limit, cursor=cursor)
        return model.IssuePage([self._dialect.issue(each) for each in found.issues], found.total, found.after)

    async def _search(self, jql: str, *, limit: int, cursor: str | None) -> dialect.Found:
        address, wanted = self._dialect.search(jql, limit=limit, cursor=cursor)
        return self._dialect.found(await self._get(address, wanted), cursor)

    async def open_issues(self, project: str, *, limit: int, cursor: str | None) -> model.IssuePage:
        jql = f'project = "{_project(project)}" AND statusCategory != Done ORDER BY updated DESC'
        return await self.search(jql, limit=limit, cursor=cursor)

    async def create(self, project: str, summary: str, fields: Mapping[str, Any], *, key: str | None) -> model.Issue:
        checked = idempotency.checked(key)
        mark = None if checked is None else OUR_LABEL + idempotency.mark("jira", "create_issue", checked)
        wanted = self._fields({**fields, "summary": summary, "project": _project(project)})
        async with self._locks.hold(mark):
            if mark is not None:
                said = SAID_LABEL + idempotency.fingerprint(wanted)
                if (old := await self._created(project, mark, said)) is not None:
                    return old
                wanted["labels"] = [*wanted.get("labels", []), mark, said]
            answer = await self._client.request("POST", f"{self._dialect.api}/issue", json={"fields": wanted})
        made = read(answer, dialect.CreatedWire)
        try:
            return self._dialect.issue(await self._wire(made.key), created=True)
        except DomainError:  # it is made: say so with what is known, for an error would invite a second
            fields_known = dialect.FieldsWire(summary=summary, description=fields.get("description"))
            return self._dialect.issue(dialect.IssueWire(made.id, made.key, fields_known), created=True)

    async def _created(self, project: str, mark: str, said: str) -> model.Issue | None:
        """The issue that the key's label is on; Conflict when it was asked for with other arguments."""
        jql = f'project = "{_project(project)}" AND labels = "{mark}"'
        found = (await self._search(jql, limit=1, cursor=None)).issues
        if not found:
            return None
        labels = found[0].fields.labels or []
        for left in labels:
            if left.startswith(SAID_LABEL):
                idempotency.same(left, said)
        return self._dialect.issue(found[0])

    async def update(self, key: str, fields: Mapping[str, Any]) -> model.Issue:
        if all(value is None for value in fields.values()):
            raise InvalidInput("nothing to change: give at least one field.")
        if fields.get("labels") is not None:
            before = await self._wire(key)
            ours = [label for label in before.fields.labels or [] if label.startswith(OUR_LABEL)]
            fields = {**fields, "labels": [*fields["labels"], *ours]}
        await self._client.request("PUT", self._at(key), json={"fields": self._fields(fields)}, read_only=True)
        return await self.issue(key)

    def _fields(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Our names for fields, as Jira's."""
        fields: dict[str, Any] = {}
        for name, value in given.items():
            match name:
                case _ if value is None:
                    continue
                case "description":
                    fields[name] = self._dialect.text(_short(value))
                case "type":
                    fields["issuetype"] = {"name": value}
                case "priority":
                    fields[name] = {"name": value}
                case "project" | "parent":
                    fields[name] = {"key": value}
                case "assignee":
                    fields[name] = self._dialect.person(value)
                case "due_date":
                    fields["duedate"] = value or None
                case _:
                    fields[name] = value
        return fields

    async def assign(self, key: str, name: str) -> model.Issue:
        await self._client.request("PUT", self._at(key, "assignee"), json=self._dialect.person(name), read_only=True)
        return await self.issue(key)

    # Comments

    async def comments(self, key: str, *, limit: int, cursor: str | None) -> model.CommentPage:
        start = paging.offset(cursor)
        answer = await self._get(self._at(key, "comment"), {"startAt": start, "maxResults": limit})
        page = read(answer, dialect.CommentsWire)
        items = [self._dialect.comment(_key(key), each) for each in page.comments]
        return model.CommentPage(items, page.total, paging.after(start, len(items), total=page.total))

    async def comment(self, key: str, body: str, *, idempotency_key: str | None) -> model.Comment:
        checked = idempotency.checked(idempotency_key)
        mark = None if checked is None else idempotency.mark("jira", "add_comment", checked)
        said = idempotency.fingerprint([_key(key), body])
        async with self._locks.hold(mark):
            if mark is not None and (old := await self._commented(key, mark, said)) is not None:
                return old
            text = _short(body if mark is None else dialect.ENDING.write(body, mark, said))
            answer = await self._client.request(
                "POST", self._at(key, "comment"), json={"body": self._dialect.text(text)}
            )
            return self._dialect.comment(_key(key), read(answer, dialect.CommentWire), created=True)

    async def _commented(self, key: str, mark: str, said: str) -> model.Comment | None:
        start = 0
        while start < SEEN_COMMENTS:
            newest = {"startAt": start, "maxResults": 100, "orderBy": "-created"}
            page = read(await self._get(self._at(key, "comment"), newest), dialect.CommentsWire)
            for each in page.comments:
                ended = dialect.ENDING.read(each.body)
                if ended.mark == mark:
                    idempotency.same(ended.said, said)
                    return self._dialect.comment(_key(key), each)
            start += len(page.comments)
            await progress.note(start, page.total, "comments looked through for this idempotency_key")
            if not page.comments or start >= page.total:
                break
        return None

    # Links

    async def links(self, key: str) -> model.Links:
        found = read(await self._get(self._at(key, "remotelink")), list[dialect.RemoteLinkWire])
        shown = [model.Link(_key(key), each.id, each.object.url, each.object.title, created=False) for each in found]
        return model.Links(_key(key), shown)

    async def link(self, key: str, url: str, title: str | None) -> model.Link:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput("url must be an absolute http(s) address.")
        wanted = {
            "globalId": f"motet:{hashlib.sha256(url.encode()).hexdigest()[:32]}",
            "object": {"url": url, "title": title or url},
        }
        answer = await self._client.request("POST", self._at(key, "remotelink"), json=wanted, read_only=True)
        made = read(answer, dialect.CreatedLinkWire)
        return model.Link(_key(key), made.id, url, title or url, created=answer.status == 201)

    async def link_issues(self, key: str, other: str, kind: str) -> model.IssueLink:
        before = await self._wire(key, more=",issuelinks")
        for each in before.fields.issuelinks or []:
            if _links(each, kind, _key(other)):
                return model.IssueLink(_key(key), _key(other), each.type.name, created=False)
        wanted = {"type": {"name": kind}, "inwardIssue": {"key": _key(key)}, "outwardIssue": {"key": _key(other)}}
        await self._client.request("POST", f"{self._dialect.api}/issueLink", json=wanted, read_only=True)
        return model.IssueLink(_key(key), _key(other), kind, created=True)

    # Transitions

    async def transitions(self, key: str) -> model.Transitions:
        now = await self.issue(key)
        found = await self._reachable(key)
        return model.Transitions(
            now.key, now.status, [model.Transition(each.id, each.name, each.to.name) for each in found]
        )

    async def _reachable(self, key: str) -> list[dialect.TransitionWire]:
        return read(await self._get(self._at(key, "transitions")), dialect.TransitionsWire).transitions

    async def transition(self, key: str, wanted: str) -> model.Moved:
        before = await self._wire(key)
        now = before.fields.status or dialect.StatusWire("")
        if wanted.lower() in (now.name.lower(), now.id):
            return model.Moved(before.key, now.name, now.name, already=True, url=self._dialect.browse(before.key))
        reachable = await self._reachable(key)
        chosen = choose(reachable, wanted)
        if chosen is None:
            names = ", ".join(sorted({each.to.name for each in reachable})) or "none"
            raise Conflict(
                f"{before.key} is {now.name!r} and cannot go to {wanted!r} from there; it can go to: {names}."
            )
        await self._client.request(
            "POST", self._at(key, "transitions"), json={"transition": {"id": chosen.id}}, read_only=True
        )
        after = await self.issue(key)
        return model.Moved(after.key, after.status, now.name, already=False, url=after.url)

    # Boards, sprints, people, projects

    async def boards(self, project: str | None, *, limit: int, cursor: str | None) -> model.BoardPage:
        start = paging.offset(cursor)
        named = None if project is None else _project(project)
        wanted = {"projectKeyOrId": named, "startAt": start, "maxResults": limit}
        page = read(await self._get(f"{self._dialect.agile}/board", wanted), dialect.BoardsWire)
        items = [dialect.board(each) for each in page.values]
        return model.BoardPage(items, paging.after(start, len(items), total=page.total, last=page.is_last))

    async def sprints(self, board: int, state: str | None, *, limit: int, cursor: str | None) -> model.SprintPage:
        start = paging.offset(cursor)
        wanted = {"state": state, "startAt": start, "maxResults": limit}
        page = read(await self._get(f"{self._dialect.agile}/board/{board}/sprint", wanted), dialect.SprintsWire)
        items = [dialect.sprint(each) for each in page.values]
        return model.SprintPage(items, paging.after(start, len(items), total=page.total, last=page.is_last))

    async def sprint_issues(self, sprint: int, *, limit: int, cursor: str | None) -> model.IssuePage:
        start = paging.offset(cursor)
        wanted = {"startAt": start, "maxResults": limit, "fields": self._dialect.shown}
        page = read(await self._get(f"{self._dialect.agile}/sprint/{sprint}/issue", wanted), dialect.IssuesWire)
        items = [self._dialect.issue(each) for each in page.issues]
        return model.IssuePage(items, page.total, paging.after(start, len(items), total=page.total))

    async def current_sprint(self, project: str, *, limit: int, cursor: str | None) -> model.CurrentSprint:
        boards = (await self.boards(project, limit=50, cursor=None)).items
        for seen, board in enumerate(boards, start=1):
            await progress.note(seen, len(boards), "boards looked through for an active sprint")
            if board.type not in ("scrum", "simple", ""):
                continue
            active = (await self.sprints(board.id, "active", limit=1, cursor=None)).items
            if active:
                page = await self.sprint_issues(active[0].id, limit=limit, cursor=cursor)
                return model.CurrentSprint(
                    project=_project(project),
                    id=active[0].id,
                    name=active[0].name,
                    goal=active[0].goal,
                    start_date=active[0].start_date,
                    end_date=active[0].end_date,
                    statuses=dict(Counter(issue.status for issue in page.items)),
                    issues=page.items,
                    total=page.total,
                    next_cursor=page.next_cursor,
                )
        raise NotFound(f"project {project} has no active sprint.")

    async def fill_sprint(self, sprint: int, keys: list[str]) -> model.SprintFilled:
        named = [_key(key) for key in keys]
        address = f"{self._dialect.agile}/sprint/{sprint}/issue"
        await self._client.request("POST", address, json={"issues": named}, read_only=True)
        return model.SprintFilled(sprint, named)

    async def users(self, text: str, *, limit: int, cursor: str | None) -> model.UserPage:
        return await self._people("/user/search", self._dialect.people_query(text), limit, cursor)

    async def assignees(self, project: str, text: str, *, limit: int, cursor: str | None) -> model.UserPage:
        wanted = {**self._dialect.people_query(text), "project": _project(project)}
        return await self._people("/user/assignable/search", wanted, limit, cursor)

    async def _people(self, address: str, wanted: Mapping[str, str], limit: int, cursor: str | None) -> model.UserPage:
        start = paging.offset(cursor)
        params = {**wanted, "startAt": start, "maxResults": limit}
        found = read(await self._get(self._dialect.api + address, params), list[dialect.UserWire])
        after = paging.encode({"offset": start + limit}) if len(found) == limit else None
        return model.UserPage([self._dialect.user(each) for each in found], after)

    async def projects(self, *, limit: int, cursor: str | None) -> model.ProjectPage:
        """Jira gives them all at once; they are passed on in pages."""
        start = paging.offset(cursor)
        found = read(await self._get(f"{self._dialect.api}/project"), list[dialect.Named])
        shown = [model.Project(each.key, each.id, each.name) for each in found[start : start + limit]]
        return model.ProjectPage(shown, paging.after(start, len(shown), total=len(found)))

    # Requests

    def _at(self, key: str, *rest: str) -> str:
        return self._dialect.api + path("issue", _key(key), *rest)

    async def _get(self, address: str, params: Mapping[str, Any] | None = None) -> Answer:
        return await self._client.request("GET", address, params=params)


def choose(reachable: list[dialect.TransitionWire], wanted: str) -> dialect.TransitionWire | None:
    """The transition that `wanted` names: by the status it leads to, by its own name, or by either's id."""
    text = wanted.lower()
    named = [(each.to.name.lower(), each.name.lower(), each.id, each.to.id) for each in reachable]
    for place in range(4):
        for each, names in zip(reachable, named, strict=True):
            if names[place] == text:
                return each
    return None


def _links(link: dialect.IssueLinkWire, kind: str, other: str) -> bool:
    """Is this the link of that kind to the other issue? One in the other direction is, if both have the same words."""
    if link.type.name.lower() != kind.lower():
        return False
    ends = [link.outward_issue, *([link.inward_issue] if link.type.inward == link.type.outward else [])]
    return any(end is not None and end.key == other for end in ends)


def _key(key: str) -> str:
    named = key.strip().upper()
    if _KEY.fullmatch(named) is None:
        raise InvalidInput(f"key must be an issue's key such as PROJ-42, not {key!r}.")
    return named


def _project(key: str) -> str:
    named = key.strip().upper()
    if _PROJECT.fullmatch(named) is None:
        raise InvalidInput(f"project must be a project's key such as PROJ, not {key!r}.")
    return named


def _short(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        raise InvalidInput(f"the text is over {LONGEST_TEXT:,} characters, which Jira does not take; shorten it.")
    return text
