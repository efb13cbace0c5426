"""What the tools answer: flat, stable fields. Text that Jira leaves out is empty, never missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue."""

    key: str
    id: str
    summary: str
    description: str
    """Jira's wiki markup."""
    status: str
    """Empty only right after a create that Jira confirmed without letting it be read."""
    status_category: str
    """`To Do`, `In Progress` or `Done`, whatever the status is called."""
    type: str
    priority: str
    project: str
    """The project's key."""
    assignee: str
    """User name; empty: nobody."""
    assignee_name: str
    reporter: str
    labels: list[str]
    parent: str
    due_date: str
    created_at: str
    updated_at: str
    url: str
    """For people."""
    created: bool
    """True only in the answer to the call that made it; False when an idempotency key found it again."""


@dataclass(frozen=True, slots=True)
class IssuePage:
    """One page of issues."""

    items: list[Issue]
    total: int
    next_cursor: str | None
    """For the next page; None on the last."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment."""

    key: str
    id: str
    body: str
    author: str
    created_at: str
    created: bool


@dataclass(frozen=True, slots=True)
class CommentPage:
    """One page of comments, oldest first."""

    items: list[Comment]
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """A link from an issue to a page elsewhere."""

    key: str
    id: int
    url: str
    title: str
    created: bool
    """False when the link was there already; its title is then brought up to date."""


@dataclass(frozen=True, slots=True)
class Links:
    """The pages an issue links to."""

    key: str
    items: list[Link]


@dataclass(frozen=True, slots=True)
class IssueLink:
    """A link between two issues."""

    key: str
    other: str
    type: str
    created: bool


@dataclass(frozen=True, slots=True)
class Transition:
    """A way out of an issue's status."""

    id: str
    name: str
    status: str
    """Where it leads."""


@dataclass(frozen=True, slots=True)
class Transitions:
    """The ways out of an issue's status."""

    key: str
    status: str
    """The one it has now."""
    items: list[Transition]


@dataclass(frozen=True, slots=True)
class Moved:
    """An issue after a transition."""

    key: str
    status: str
    previous: str
    already: bool
    """It had the status before this call."""
    url: str


@dataclass(frozen=True, slots=True)
class Board:
    """A board."""

    id: int
    name: str
    type: str
    """`scrum` or `kanban`."""
    project: str


@dataclass(frozen=True, slots=True)
class BoardPage:
    """One page of boards."""

    items: list[Board]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Sprint:
    """A sprint."""

    id: int
    name: str
    state: str
    """`active`, `future` or `closed`."""
    goal: str
    start_date: str
    end_date: str
    board_id: int


@dataclass(frozen=True, slots=True)
class SprintPage:
    """One page of sprints."""

    items: list[Sprint]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CurrentSprint:
    """A project's active sprint with its issues."""

    project: str
    id: int
    name: str
    goal: str
    start_date: str
    end_date: str
    statuses: dict[str, int]
    """How many of the issues shown have each status."""
    issues: list[Issue]
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SprintFilled:
    """The issues that are in a sprint now."""

    sprint_id: int
    keys: list[str]


@dataclass(frozen=True, slots=True)
class User:
    """A user."""

    name: str
    display_name: str
    email: str
    active: bool


@dataclass(frozen=True, slots=True)
class UserPage:
    """One page of users."""

    items: list[User]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Project:
    """A project."""

    key: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ProjectPage:
    """One page of the projects that may be seen."""

    items: list[Project]
    next_cursor: str | None
