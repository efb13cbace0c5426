"""What differs between Jira's editions: paths, how text and people are written and read.

`DataCenter` is REST v2. Cloud's v3 (documents instead of text, account ids instead of names, another search) would be a
second class here; the rest of the server speaks only through this one.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from motet_servers.jira import model
from motet_servers.kit.errors import Unavailable
from motet_servers.kit.http import Answer

T = TypeVar("T")
OUR_LABEL = "motet-"
"""Labels that idempotency keys leave begin so; they are kept out of what is shown."""


class UserWire(msgspec.Struct):
    """A user."""

    name: str = ""
    displayName: str = ""  # noqa: N815 - Jira's field
    emailAddress: str = ""  # noqa: N815 - Jira's field
    active: bool = True


class Named(msgspec.Struct):
    """Anything with a name."""

    name: str = ""
    id: str = ""
    key: str = ""


class Category(msgspec.Struct):
    """What a status amounts to."""

    name: str = ""


class StatusWire(msgspec.Struct):
    """A status with its category."""

    name: str
    id: str = ""
    statusCategory: Category | None = None  # noqa: N815 - Jira's field


class OtherIssue(msgspec.Struct):
    """The far end of a link."""

    key: str


class IssueLinkWire(msgspec.Struct):
    """A link to another issue, seen from this one."""

    type: Named
    inwardIssue: OtherIssue | None = None  # noqa: N815 - Jira's field
    outwardIssue: OtherIssue | None = None  # noqa: N815 - Jira's field


class FieldsWire(msgspec.Struct):
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


class IssueWire(msgspec.Struct):
    """An issue."""

    id: str
    key: str
    fields: FieldsWire


class IssuesWire(msgspec.Struct):
    """A page of issues."""

    issues: list[IssueWire]
    total: int = 0


class CreatedWire(msgspec.Struct):
    """What a create answers."""

    id: str
    key: str


class CommentWire(msgspec.Struct):
    """A comment."""

    id: str
    body: str = ""
    author: UserWire | None = None
    created: str = ""


class CommentsWire(msgspec.Struct):
    """A page of comments."""

    comments: list[CommentWire]
    total: int = 0


class LinkTarget(msgspec.Struct):
    """The page a remote link points to."""

    url: str = ""
    title: str = ""


class RemoteLinkWire(msgspec.Struct):
    """A remote link."""

    id: int
    object: LinkTarget


class CreatedLinkWire(msgspec.Struct):
    """What creating a remote link answers."""

    id: int


class TransitionWire(msgspec.Struct):
    """A transition."""

    id: str
    name: str
    to: StatusWire


class TransitionsWire(msgspec.Struct):
    """An issue's transitions."""

    transitions: list[TransitionWire]


class Location(msgspec.Struct):
    """Where a board belongs."""

    projectKey: str = ""  # noqa: N815 - Jira's field


class BoardWire(msgspec.Struct):
    """A board."""

    id: int
    name: str
    type: str = ""
    location: Location | None = None


class BoardsWire(msgspec.Struct):
    """A page of boards."""

    values: list[BoardWire]
    isLast: bool | None = None  # noqa: N815 - Jira's field
    total: int | None = None


class SprintWire(msgspec.Struct):
    """A sprint."""

    id: int
    name: str
    state: str
    goal: str | None = None
    startDate: str | None = None  # noqa: N815 - Jira's field
    endDate: str | None = None  # noqa: N815 - Jira's field
    originBoardId: int = 0  # noqa: N815 - Jira's field


class SprintsWire(msgspec.Struct):
    """A page of sprints."""

    values: list[SprintWire]
    isLast: bool | None = None  # noqa: N815 - Jira's field
    total: int | None = None


class Complaint(msgspec.Struct):
    """How Jira refuses."""

    errorMessages: list[str] = []  # noqa: N815 - Jira's field
    errors: dict[str, Any] = {}


def read(answer: Answer, kind: type[T]) -> T:
    """The answer as `kind`; Unavailable when it is something else."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unavailable(
            f"Jira's answer is not what its API documents ({error}); is JIRA_URL right?", status=answer.status
        ) from None


def words(answer: Answer) -> str:
    """Jira's own words for a refusal."""
    try:
        complaint = msgspec.json.decode(answer.content, type=Complaint)
    except (msgspec.DecodeError, RecursionError):
        return ""
    said = complaint.errorMessages + [f"{field}: {text}" for field, text in complaint.errors.items()]
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
            status_category=status.statusCategory.name if status.statusCategory is not None else "",
            type=fields.issuetype.name if fields.issuetype is not None else "",
            priority=fields.priority.name if fields.priority is not None else "",
            project=fields.project.key if fields.project is not None else wire.key.rpartition("-")[0],
            assignee=assignee.name,
            assignee_name=assignee.displayName,
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
        return model.User(wire.name, wire.displayName, wire.emailAddress, wire.active)


def sprint(wire: SprintWire) -> model.Sprint:
    """A sprint."""
    return model.Sprint(
        id=wire.id,
        name=wire.name,
        state=wire.state,
        goal=wire.goal or "",
        start_date=wire.startDate or "",
        end_date=wire.endDate or "",
        board_id=wire.originBoardId,
    )


def board(wire: BoardWire) -> model.Board:
    """A board."""
    return model.Board(wire.id, wire.name, wire.type, wire.location.projectKey if wire.location is not None else "")
