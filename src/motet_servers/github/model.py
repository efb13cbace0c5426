"""What the tools answer: flat, stable fields. Text that GitHub leaves out is empty, never missing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue."""

    repo: str
    """`owner/name`."""
    number: int
    title: str
    body: str
    state: str
    """`open` or `closed`."""
    html_url: str
    author: str
    labels: list[str]
    assignees: list[str]
    comments: int
    created_at: str
    updated_at: str
    closed_at: str
    created: bool
    """True only in the answer to the call that made it; False when an idempotency key found it again."""


@dataclass(frozen=True, slots=True)
class IssuePage:
    """One page of issues."""

    items: list[Issue]
    next_cursor: str | None
    """For the next page; None on the last."""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on an issue or pull request."""

    repo: str
    issue_number: int
    id: int
    body: str
    author: str
    html_url: str
    created_at: str
    created: bool


@dataclass(frozen=True, slots=True)
class CommentPage:
    """One page of comments, oldest first."""

    items: list[Comment]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request."""

    repo: str
    number: int
    title: str
    body: str
    state: str
    html_url: str
    author: str
    draft: bool
    merged: bool
    head: str
    """Branch to merge."""
    head_sha: str
    base: str
    """Branch to merge into."""
    labels: list[str]
    created_at: str
    updated_at: str
    merged_at: str
    merge_commit_sha: str
    created: bool


@dataclass(frozen=True, slots=True)
class PullRequestPage:
    """One page of pull requests, newest first."""

    items: list[PullRequest]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file a pull request changes."""

    filename: str
    status: str
    additions: int
    deletions: int
    patch: str


@dataclass(frozen=True, slots=True)
class ChangedFilePage:
    """One page of changed files."""

    items: list[ChangedFile]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged pull request."""

    repo: str
    number: int
    merged: bool
    sha: str
    """The merge commit."""
    already: bool
    """It was merged before this call."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release."""

    repo: str
    id: int
    tag_name: str
    tag: str
    """The same as `tag_name`."""
    name: str
    body: str
    html_url: str
    draft: bool
    prerelease: bool
    author: str
    created_at: str
    published_at: str
    created: bool


@dataclass(frozen=True, slots=True)
class ReleasePage:
    """One page of releases, newest first."""

    items: list[Release]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file or directory in a repository."""

    path: str
    type: str
    """`file`, `dir`, `symlink` or `submodule`."""
    size: int
    sha: str


@dataclass(frozen=True, slots=True)
class Contents:
    """A file's content, or a directory's entries."""

    repo: str
    path: str
    type: str
    """`file` or `dir`."""
    sha: str
    """For a file: what `create_or_update_file` takes as `sha`."""
    size: int
    html_url: str
    content: str
    """A file's text; base64 when `encoding` says so; empty for a directory."""
    encoding: str
    """`utf-8`, `base64`, or `none` when GitHub left the content out (files over 1 MB)."""
    entries: list[FileEntry]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file as it is after writing."""

    repo: str
    path: str
    sha: str
    html_url: str
    commit_sha: str
    """Empty when the file already had this content and nothing was committed."""
    changed: bool


@dataclass(frozen=True, slots=True)
class CodeHit:
    """A file that matches a code search."""

    repo: str
    path: str
    sha: str
    html_url: str


@dataclass(frozen=True, slots=True)
class CodeHits:
    """One page of a code search."""

    items: list[CodeHit]
    total: int
    incomplete: bool
    """GitHub gave up before it had looked everywhere."""
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a repository."""

    name: str
    color: str
    description: str


@dataclass(frozen=True, slots=True)
class LabelPage:
    """One page of labels."""

    items: list[Label]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class IssueLabels:
    """The labels an issue has now."""

    repo: str
    issue_number: int
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository."""

    repo: str
    description: str
    default_branch: str
    private: bool
    archived: bool
    html_url: str
    open_issues: int
    """Open issues and pull requests together."""
