"""GitHub's answers as far as we read them, and how each becomes what our tools answer (REST, version 2022-11-28)."""

from __future__ import annotations

import base64
from typing import Literal, TypeVar

import msgspec

from motet_servers.github import model
from motet_servers.kit import idempotency
from motet_servers.kit.http import Answer, decoded

T = TypeVar("T")
ENDING = idempotency.Ending("<!-- motet:", ":", " -->")
"""The hidden end of a body that an idempotency key made."""


class User(msgspec.Struct):
    """The author of something."""

    login: str


class LabelWire(msgspec.Struct):
    """A label."""

    name: str = ""
    color: str | None = None
    description: str | None = None


class IssueWire(msgspec.Struct):
    """An issue; pull requests are issues with `pull_request`."""

    number: int
    title: str
    state: str
    html_url: str
    created_at: str
    updated_at: str
    body: str | None = None
    user: User | None = None
    labels: list[LabelWire | str] = []
    assignees: list[User] | None = None
    comments: int = 0
    closed_at: str | None = None
    pull_request: object | None = None
    repository_url: str = ""


class CommentWire(msgspec.Struct):
    """A comment."""

    id: int
    html_url: str
    created_at: str
    body: str | None = None
    user: User | None = None


class BranchWire(msgspec.Struct):
    """One end of a pull request."""

    ref: str
    sha: str


class PullWire(msgspec.Struct):
    """A pull request; `merged` only when asked for alone."""

    number: int
    title: str
    state: str
    html_url: str
    created_at: str
    updated_at: str
    head: BranchWire
    base: BranchWire
    body: str | None = None
    user: User | None = None
    draft: bool | None = None
    labels: list[LabelWire] = []
    merged: bool | None = None
    merged_at: str | None = None
    merge_commit_sha: str | None = None


class ChangedWire(msgspec.Struct):
    """A changed file."""

    filename: str
    status: str
    additions: int = 0
    deletions: int = 0
    patch: str = ""


class MergeWire(msgspec.Struct):
    """The answer to a merge."""

    sha: str
    merged: bool


class ReleaseWire(msgspec.Struct):
    """A release."""

    id: int
    tag_name: str
    html_url: str
    created_at: str
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    author: User | None = None
    published_at: str | None = None


class EntryWire(msgspec.Struct):
    """A file or directory; the content only when asked for alone."""

    type: str
    path: str
    sha: str
    size: int = 0
    html_url: str | None = None
    content: str = ""
    encoding: str = ""


class CommitWire(msgspec.Struct):
    """A commit."""

    sha: str


class WrittenWire(msgspec.Struct):
    """The answer to writing a file."""

    content: EntryWire | None
    commit: CommitWire


class NamedRepository(msgspec.Struct):
    """A repository as search names it."""

    full_name: str


class HitWire(msgspec.Struct):
    """A file found."""

    path: str
    sha: str
    html_url: str
    repository: NamedRepository


class HitsWire(msgspec.Struct):
    """A page of files found."""

    total_count: int
    items: list[HitWire]
    incomplete_results: bool = False


class IssuesFoundWire(msgspec.Struct):
    """A page of issues found."""

    total_count: int
    items: list[IssueWire]


class RepositoryWire(msgspec.Struct):
    """A repository."""

    full_name: str
    html_url: str
    default_branch: str
    private: bool = False
    archived: bool = False
    description: str | None = None
    open_issues_count: int = 0


def read(answer: Answer, kind: type[T]) -> T:
    """The answer as `kind`; Unavailable when it is something else."""
    return decoded(answer, kind, service="GitHub", setting="GITHUB_API_URL")


def read_contents(answer: Answer) -> EntryWire | list[EntryWire]:
    """A file's answer, or a directory's; Unavailable when it is something else."""
    return read(answer, list[EntryWire]) if answer.content.lstrip().startswith(b"[") else read(answer, EntryWire)


def issue(repo: str, wire: IssueWire, *, created: bool = False) -> model.Issue:
    """An issue."""
    return model.Issue(
        repo=repo,
        number=wire.number,
        title=wire.title,
        body=ENDING.read(wire.body or "").text,
        state=wire.state,
        html_url=wire.html_url,
        author=_login(wire.user),
        labels=_names(wire.labels),
        assignees=[user.login for user in wire.assignees or []],
        comments=wire.comments,
        created_at=wire.created_at,
        updated_at=wire.updated_at,
        closed_at=wire.closed_at or "",
        created=created,
    )


def comment(repo: str, number: int, wire: CommentWire, *, created: bool = False) -> model.Comment:
    """A comment."""
    body = ENDING.read(wire.body or "").text
    return model.Comment(repo, number, wire.id, body, _login(wire.user), wire.html_url, wire.created_at, created)


def pull(repo: str, wire: PullWire, *, created: bool = False) -> model.PullRequest:
    """A pull request."""
    merged = wire.merged if wire.merged is not None else wire.merged_at is not None
    return model.PullRequest(
        repo=repo,
        number=wire.number,
        title=wire.title,
        body=ENDING.read(wire.body or "").text,
        state=wire.state,
        html_url=wire.html_url,
        author=_login(wire.user),
        draft=wire.draft is True,
        merged=merged,
        head=wire.head.ref,
        head_sha=wire.head.sha,
        base=wire.base.ref,
        labels=[label.name for label in wire.labels],
        created_at=wire.created_at,
        updated_at=wire.updated_at,
        merged_at=wire.merged_at or "",
        merge_commit_sha=(wire.merge_commit_sha or "") if merged else "",
        created=created,
    )


def release(repo: str, wire: ReleaseWire, *, created: bool = False) -> model.Release:
    """A release."""
    return model.Release(
        repo=repo,
        id=wire.id,
        tag_name=wire.tag_name,
        tag=wire.tag_name,
        name=wire.name or wire.tag_name,
        body=ENDING.read(wire.body or "").text,
        html_url=wire.html_url,
        draft=wire.draft,
        prerelease=wire.prerelease,
        author=_login(wire.author),
        created_at=wire.created_at,
        published_at=wire.published_at or "",
        created=created,
    )


def changed(wire: ChangedWire) -> model.ChangedFile:
    """A changed file."""
    return model.ChangedFile(wire.filename, wire.status, wire.additions, wire.deletions, wire.patch)


def label(wire: LabelWire) -> model.Label:
    """A label."""
    return model.Label(wire.name, wire.color or "", wire.description or "")


def contents(repo: str, path: str, wire: EntryWire | list[EntryWire]) -> model.Contents:
    """A file or a directory."""
    if isinstance(wire, list):
        entries = [model.FileEntry(entry.path, entry.type, entry.size, entry.sha) for entry in wire]
        return model.Contents(repo, path, "dir", "", 0, "", "", "none", entries)
    text, encoding = _decoded(wire)
    return model.Contents(repo, wire.path, wire.type, wire.sha, wire.size, wire.html_url or "", text, encoding, [])


def file_bytes(wire: EntryWire) -> bytes | None:
    """A file's bytes; None when GitHub left them out."""
    if wire.type != "file" or wire.encoding != "base64":
        return None
    return base64.b64decode(wire.content)


def _decoded(wire: EntryWire) -> tuple[str, Literal["utf-8", "base64", "none"]]:
    content = file_bytes(wire)
    if content is None:
        return "", "none"
    try:
        return content.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(content).decode(), "base64"


def _login(user: User | None) -> str:
    return "" if user is None else user.login


def _names(labels: list[LabelWire | str]) -> list[str]:
    return [found if isinstance(found, str) else found.name for found in labels]
