"""What differs between Jira's editions: paths, how text and people are written and read, how a search pages.

`DataCenter` is REST v2. Cloud's v3 (documents instead of text, account ids instead of names, a search with tokens for
pages) would be a second class here; the rest of the server speaks only through this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from motet_servers.jira import model
from motet_servers.kit import idempotency, paging
from motet_servers.kit.http import Answer, decoded

T = TypeVar("T")
OUR_LABEL = "motet-"
"""Labels that idempotency keys leave begin so; they are kept out of what is shown."""

ENDING = idempotency.Ending("{anchor:motet-", "-", "}")
"""The invisible end of a comment that an idempotency key made: an anchor of wiki markup."""


class UserWire(msgspec.Struct, rename="camel"):
    """A user."""

    name: str = ""
    display_name: str = ""
    email_address: str = ""
    active: bool = True


class Named(msgspec.Struct, rename="camel"):
    """Anything with a name."""

    name: str = ""
    id: str = ""
    key: str = ""


class Category(msgspec.Struct, rename="camel"):
    """What a status amounts to."""

    name: str = ""


class StatusWire(msgspec.Struct, rename="camel"):
    """A status with its category."""

    name: str
    id: str = ""
    status_category: Category | None = None


class OtherIssue(msgspec.Struct, rename="camel"):
    """The far end of a link."""

    key: str


class LinkType(msgspec.Struct, rename="camel"):
    """A kind of link, with the words for its two directions."""

    name: str = ""
    inward: str = ""
    outward: str = ""


class IssueLinkWire(msgspec.Struct, rename="camel"):
    """A link to another issue, seen from this one: what it points to is the outward issue."""

    type: LinkType
    inward_issue: OtherIssue | None = None
    outward_issue: OtherIssue | None = None


class FieldsWire(msgspec.Struct, rename="camel"):
    """An issue's fields."""

    summary: str = ""
    description: str | None = None
    status: StatusWire | None = None
    issuetype: Named | None = None
    priority: Named | None = None
    project: Named | None = None
    assignee: UserWire | None = None
    reporter: UserWire | None = None
    labels: list[str] | None = None
    parent: OtherIssue | None = None
    duedate: str | None = None
    created: str | None = None
    updated: str | None = None
    issuelinks: list[IssueLinkWire] | None = None


class IssueWire(msgspec.Struct, rename="camel"):
    """An issue."""

    id: str
    key: str
    fields: FieldsWire


class IssuesWire(msgspec.Struct, rename="camel"):
    """A page of issues."""

    issues: list[IssueWire]
    total: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    issues: list[IssueWire]
    total: int
    after: str | None
    """The next page's cursor, None on the last."""


class CreatedWire(msgspec.Struct, rename="camel"):
    """What a create answers."""

    id: str
    key: str


class CommentWire(msgspec.Struct, rename="camel"):
    """A comment."""

    id: str
    body: str = ""
    author: UserWire | None = None
    created: str = ""


class CommentsWire(msgspec.Struct, rename="camel"):
    """A page of comments."""

    comments: list[CommentWire]
    total: int = 0


class LinkTarget(msgspec.Struct, rename="camel"):
    """The page a remote link points to."""

    url: str = ""
    title: str = ""


class RemoteLinkWire(msgspec.Struct, rename="camel"):
    """A remote link."""

    id: int
    object: LinkTarget


class CreatedLinkWire(msgspec.Struct, rename="camel"):
    """What creating a remote link answers."""

    id: int


class TransitionWire(msgspec.Struct, rename="camel"):
    """A transition."""

    id: str
    name: str
    to: StatusWire


class TransitionsWire(msgspec.Struct, rename="camel"):
    """An issue's transitions."""

    transitions: list[TransitionWire]


class Location(msgspec.Struct, rename="camel"):
    """Where a board belongs."""

    project_key: str = ""


class BoardWire(msgspec.Struct, rename="camel"):
    """A board."""

    id: int
    name: str
    type: str = ""
    location: Location | None = None


class BoardsWire(msgspec.Struct, rename="camel"):
    """A page of boards."""

    values: list[BoardWire]
    is_last: bool | None = None
    total: int | None = None


class SprintWire(msgspec.Struct, rename="camel"):
    """A sprint."""

    id: int
    name: str
    state: str
    goal: str | None = None
    start_date: str | None = None
    end_date: str | None = None
    origin_board_id: int = 0


class SprintsWire(msgspec.Struct, rename="camel"):
    """A page of sprints."""

    values: list[SprintWire]
    is_last: bool | None = None
    total: int | None = None


class Complaint(msgspec.Struct, rename="camel"):
    """How Jira refuses."""

    error_messages: list[str] = []
    errors: dict[str, Any] = {}


def read(answer: Answer, kind: type[T]) -> T:
    """The answer as `kind`; Unavailable when it is something else."""
    return decoded(answer, kind, service="Jira", setting="JIRA_URL")


def words(answer: Answer) -> str:
    """Jira's own words for a refusal."""
    try:
        complaint = msgspec.json.decode(answer.content, type=Complaint)
    except (msgspec.DecodeError, RecursionError):
        return ""
    said = complaint.error_messages + [f"{field}: {text}" for field, text in complaint.errors.items()]
    return "; ".join(text.rstrip(".") for text in said if text)


class DataCenter:
    """Jira Data Center and Server: REST v2, Agile 1.0."""

    api = "/rest/api/2"
    agile = "/rest/agile/1.0"
    shown = (
        "summary,description,status,issuetype,priority,project,assignee,reporter,labels,parent,duedate,created,updated"
    )
    """The fields asked for."""

    def __init__(self, base: str) -> None:
        """`base` is what links for people start with."""
        self._base = base

    def text(self, text: str) -> object:
        """Text as Jira takes it: here, wiki markup as it is."""
        return text

    def person(self, name: str) -> object:
        """A user as a field's value; empty: nobody."""
        return {"name": name or None}

    def people_query(self, text: str) -> dict[str, str]:
        """Parameters that search users."""
        return {"username": text} if text else {}

    def browse(self, key: str) -> str:
        """The issue's page."""
        return f"{self._base}/browse/{key}"

    def search(self, jql: str, *, limit: int, cursor: str | None) -> tuple[str, dict[str, Any]]:
        """Where to ask for a page of a search, and with which parameters."""
        start = paging.offset(cursor)
        return f"{self.api}/search", {"jql": jql, "startAt": start, "maxResults": limit, "fields": self.shown}

    def found(self, answer: Answer, cursor: str | None) -> Found:
        """What the page that `cursor` led to holds."""
        page = read(answer, IssuesWire)
        after = paging.after(paging.offset(cursor), len(page.issues), total=page.total)
        return Found(page.issues, page.total, after)

    def comment(self, key: str, wire: CommentWire, *, created: bool = False) -> model.Comment:
        """A comment on the issue."""
        author = wire.author.name if wire.author is not None else ""
        return model.Comment(key, wire.id, ENDING.read(wire.body).text, author, wire.created, created)

    def issue(self, wire: IssueWire, *, created: bool = False) -> model.Issue:
        """An issue."""
        fields = wire.fields
        assignee, reporter = fields.assignee or UserWire(), fields.reporter or UserWire()
        status = fields.status or StatusWire("")
        return model.Issue(
            key=wire.key,
            id=wire.id,
            summary=fields.summary,
            description=fields.description or "",
            status=status.name,
            status_category=status.status_category.name if status.status_category is not None else "",
            type=fields.issuetype.name if fields.issuetype is not None else "",
            priority=fields.priority.name if fields.priority is not None else "",
            project=fields.project.key if fields.project is not None else wire.key.rpartition("-")[0],
            assignee=assignee.name,
            assignee_name=assignee.display_name,
            reporter=reporter.name,
            labels=[label for label in fields.labels or [] if not label.startswith(OUR_LABEL)],
            parent=fields.parent.key if fields.parent is not None else "",
            due_date=fields.duedate or "",
            created_at=fields.created or "",
            updated_at=fields.updated or "",
            url=self.browse(wire.key),
            created=created,
        )

    def user(self, wire: UserWire) -> model.User:
        """A user."""
        return model.User(wire.name, wire.display_name, wire.email_address, wire.active)


def sprint(wire: SprintWire) -> model.Sprint:
    """A sprint."""
    return model.Sprint(
        id=wire.id,
        name=wire.name,
        state=wire.state,
        goal=wire.goal or "",
        start_date=wire.start_date or "",
        end_date=wire.end_date or "",
        board_id=wire.origin_board_id,
    )


def board(wire: BoardWire) -> model.Board:
    """A board."""
    return model.Board(wire.id, wire.name, wire.type, wire.location.project_key if wire.location is not None else "")
