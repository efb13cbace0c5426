"""GitHub's REST API as our tools need it: which requests, in which order, and how a key makes a write happen once.

A key leaves a hidden mark at the end of what it makes (`<!-- motet:… -->`). Before a keyed write we look for the mark
among the newest of the kind (the newest 300 issues, all comments of the issue, all pull requests of that branch, the
release of that tag), so a repetition finds what the first attempt made, also when its answer was lost.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from motet_servers.github import model, wire
from motet_servers.kit import idempotency, paging, progress
from motet_servers.kit.addresses import path
from motet_servers.kit.errors import Conflict, InvalidInput, NotFound
from motet_servers.kit.http import Answer, ApiClient, next_link

T = TypeVar("T")
NEWEST = 300
"""Issues looked through for a key's mark."""
LONGEST_BODY = 65_536
"""Characters GitHub takes as a body."""
LARGEST_FILE = 8 << 20
"""Bytes of a file we write."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9_.-]+")


class GitHub:
    """One GitHub, one token."""

    def __init__(self, client: ApiClient, *, repository: str = "") -> None:
        """`repository` is used when a call names none."""
        self._client = client
        self._repository = repository
        self._locks = idempotency.KeyLocks()

    def repo(self, named: str | None) -> str:
        """`owner/name`; InvalidInput when it is neither given nor configured, or malformed."""
        repo = named or self._repository
        if not repo:
            raise InvalidInput("repo is missing: give owner/name, or set GITHUB_REPOSITORY.")
        if _REPOSITORY.fullmatch(repo) is None or repo.endswith(("/.", "/..")):
            raise InvalidInput(f"repo must be owner/name, not {repo!r}.")
        return repo

    # Issues

    async def issue(self, repo: str, number: int) -> model.Issue:
        return wire.issue(repo, wire.read(await self._get(_in(repo, "issues", number)), wire.IssueWire))

    async def issues(self, repo: str, filters: Mapping[str, Any], *, limit: int, cursor: str | None) -> model.IssuePage:
        found, after = await self._page(_in(repo, "issues"), filters, list[wire.IssueWire], limit=limit, cursor=cursor)
        return model.IssuePage([wire.issue(repo, each) for each in found if each.pull_request is None], after)

    # A query's own qualifiers (`repo:other/one`, `OR`) could lead out of the repository; what they bring is dropped.

    async def search_issues(self, repo: str, query: str, *, limit: int, cursor: str | None) -> model.IssuePage:
        found, after = await self._search("/search/issues", f"{query} repo:{repo}", limit, cursor)
        page = wire.read(found, wire.IssuesFoundWire)
        own = [each for each in page.items if each.repository_url.lower().endswith(f"/repos/{repo}".lower())]
        return model.IssuePage([wire.issue(repo, each) for each in own], after(page.total_count))

    async def create_issue(
        self, repo: str, title: str, body: str, *, labels: list[str], assignees: list[str], key: str | None
    ) -> model.Issue:
        mark = _mark("create_issue", key, repo, title, body, labels, assignees)
        async with self._locks.hold(mark and mark[0]):
            if mark is not None:
                newest = {"state": "all", "sort": "created", "direction": "desc"}
                async for old in self._all(_in(repo, "issues"), newest, wire.IssueWire, limit=NEWEST):
                    if _made_by(mark, old.body):
                        return wire.issue(repo, old)
            wanted = {"title": title, "body": _marked(body, mark), "labels": labels, "assignees": assignees}
            answer = await self._client.request("POST", _in(repo, "issues"), json=_given(wanted))
            return wire.issue(repo, wire.read(answer, wire.IssueWire), created=True)

    async def update_issue(self, repo: str, number: int, changes: Mapping[str, Any]) -> model.Issue:
        if not _given(changes):
            raise InvalidInput("nothing to change: give at least one of title, body, state, labels, assignees.")
        if changes.get("body") is not None:
            old = wire.read(await self._get(_in(repo, "issues", number)), wire.IssueWire)
            ended = wire.ENDING.read(old.body or "")
            kept = (ended.mark, ended.said) if ended.mark else None
            changes = {**changes, "body": _marked(changes["body"], kept)}
        answer = await self._client.request("PATCH", _in(repo, "issues", number), json=_given(changes), read_only=True)
        return wire.issue(repo, wire.read(answer, wire.IssueWire))

    # Comments

    async def comments(self, repo: str, number: int, *, limit: int, cursor: str | None) -> model.CommentPage:
        address = _in(repo, "issues", number, "comments")
        found, after = await self._page(address, {}, list[wire.CommentWire], limit=limit, cursor=cursor)
        return model.CommentPage([wire.comment(repo, number, each) for each in found], after)

    async def comment(self, repo: str, number: int, body: str, *, key: str | None) -> model.Comment:
        address = _in(repo, "issues", number, "comments")
        mark = _mark("add_issue_comment", key, repo, number, body)
        async with self._locks.hold(mark and mark[0]):
            if mark is not None:
                async for old in self._all(address, {}, wire.CommentWire, limit=5000):
                    if _made_by(mark, old.body):
                        return wire.comment(repo, number, old)
            answer = await self._client.request("POST", address, json={"body": _marked(body, mark)})
            return wire.comment(repo, number, wire.read(answer, wire.CommentWire), created=True)

    # Labels

    async def labels(self, repo: str, *, limit: int, cursor: str | None) -> model.LabelPage:
        found, after = await self._page(_in(repo, "labels"), {}, list[wire.LabelWire], limit=limit, cursor=cursor)
        return model.LabelPage([wire.label(each) for each in found], after)

    async def add_labels(self, repo: str, number: int, labels: list[str]) -> model.IssueLabels:
        answer = await self._client.request(
            "POST", _in(repo, "issues", number, "labels"), json={"labels": labels}, read_only=True
        )
        return model.IssueLabels(repo, number, [each.name for each in wire.read(answer, list[wire.LabelWire])])

    async def remove_label(self, repo: str, number: int, label: str) -> model.IssueLabels:
        address = _in(repo, "issues", number, "labels")
        try:
            gone = _in(repo, "issues", number, "labels", label)
            answer = await self._client.request("DELETE", gone, read_only=True)
        except NotFound:
            answer = await self._get(address)  # without the label already, or without the issue: this tells
        return model.IssueLabels(repo, number, [each.name for each in wire.read(answer, list[wire.LabelWire])])

    # Pull requests

    async def pull(self, repo: str, number: int) -> model.PullRequest:
        return wire.pull(repo, wire.read(await self._get(_in(repo, "pulls", number)), wire.PullWire))

    async def pulls(
        self, repo: str, filters: Mapping[str, Any], *, limit: int, cursor: str | None
    ) -> model.PullRequestPage:
        found, after = await self._page(_in(repo, "pulls"), filters, list[wire.PullWire], limit=limit, cursor=cursor)
        return model.PullRequestPage([wire.pull(repo, each) for each in found], after)

    async def pull_files(self, repo: str, number: int, *, limit: int, cursor: str | None) -> model.ChangedFilePage:
        address = _in(repo, "pulls", number, "files")
        found, after = await self._page(address, {}, list[wire.ChangedWire], limit=limit, cursor=cursor)
        return model.ChangedFilePage([wire.changed(each) for each in found], after)

    async def create_pull(
        self, repo: str, title: str, head: str, base: str, body: str, *, draft: bool, key: str | None
    ) -> model.PullRequest:
        mark = _mark("create_pull_request", key, repo, title, head, base, body, draft)
        async with self._locks.hold(mark and mark[0]):
            if mark is not None:
                owner = repo.partition("/")[0]
                same = {"state": "all", "base": base, "head": head if ":" in head else f"{owner}:{head}"}
                async for old in self._all(_in(repo, "pulls"), same, wire.PullWire, limit=NEWEST):
                    if _made_by(mark, old.body):
                        return wire.pull(repo, old)
            wanted = {"title": title, "head": head, "base": base, "body": _marked(body, mark), "draft": draft}
            answer = await self._client.request("POST", _in(repo, "pulls"), json=wanted)
            return wire.pull(repo, wire.read(answer, wire.PullWire), created=True)

    async def merge(self, repo: str, number: int, method: str, *, sha: str | None, message: str | None) -> model.Merge:
        before = await self.pull(repo, number)
        if before.merged:
            return model.Merge(repo, number, merged=True, sha=before.merge_commit_sha, already=True)
        wanted = _given({"merge_method": method, "sha": sha, "commit_message": message})
        answer = await self._client.request(
            "PUT", _in(repo, "pulls", number, "merge"), json=wanted, accept=(405,), read_only=True
        )
        if answer.status == 405:
            raise Conflict(
                f"pull request {number} cannot be merged now: it is {before.state}"
                f"{', a draft' if before.draft else ''}; look at its checks and conflicts.",
                status=405,
            )
        done = wire.read(answer, wire.MergeWire)
        return model.Merge(repo, number, merged=done.merged, sha=done.sha, already=False)

    # Releases

    async def latest_release(self, repo: str) -> model.Release:
        return wire.release(repo, wire.read(await self._get(_in(repo, "releases", "latest")), wire.ReleaseWire))

    async def release(self, repo: str, tag: str) -> model.Release:
        return wire.release(repo, wire.read(await self._get(_in(repo, "releases", "tags", tag)), wire.ReleaseWire))

    async def releases(self, repo: str, *, limit: int, cursor: str | None) -> model.ReleasePage:
        found, after = await self._page(_in(repo, "releases"), {}, list[wire.ReleaseWire], limit=limit, cursor=cursor)
        return model.ReleasePage([wire.release(repo, each) for each in found], after)

    async def create_release(self, repo: str, wanted: Mapping[str, Any], *, key: str | None) -> model.Release:
        mark = _mark("create_release", key, repo, dict(wanted))
        async with self._locks.hold(mark and mark[0]):
            if mark is not None:
                async for old in self._all(_in(repo, "releases"), {}, wire.ReleaseWire, limit=100):
                    if old.tag_name == wanted["tag_name"] and _made_by(mark, old.body):
                        return wire.release(repo, old)
            body = {**_given(wanted), "body": _marked(wanted["body"], mark)}
            answer = await self._client.request("POST", _in(repo, "releases"), json=body)
            return wire.release(repo, wire.read(answer, wire.ReleaseWire), created=True)

    # Files

    async def contents(self, repo: str, file: str, ref: str | None) -> model.Contents:
        answer = await self._get(_file(repo, file), {"ref": ref})
        return wire.contents(repo, file.strip("/"), wire.read_contents(answer))

    async def write_file(
        self, repo: str, file: str, content: bytes, message: str, *, branch: str | None, sha: str | None
    ) -> model.WrittenFile:
        old = await self._file_now(repo, file, branch)
        if old is not None and wire.file_bytes(old) == content:
            return model.WrittenFile(repo, old.path, old.sha, old.html_url or "", "", changed=False)
        if (old.sha if old is not None else None) != sha:
            state = "does not exist" if old is None else f"has sha {old.sha}"
            raise Conflict(f"{file} {state}; read it again and pass that sha (none for a new file).")
        wanted = {"message": message, "content": base64.b64encode(content).decode(), "branch": branch, "sha": sha}
        answer = await self._client.request("PUT", _file(repo, file), json=_given(wanted), read_only=True)
        done = wire.read(answer, wire.WrittenWire)
        entry = done.content or wire.EntryWire("file", file, "")
        return model.WrittenFile(repo, entry.path, entry.sha, entry.html_url or "", done.commit.sha, changed=True)

    async def _file_now(self, repo: str, file: str, branch: str | None) -> wire.EntryWire | None:
        try:
            found = wire.read_contents(await self._get(_file(repo, file), {"ref": branch}))
        except NotFound:
            return None
        if isinstance(found, list):
            raise InvalidInput(f"{file} is a directory.")
        return found

    async def search_code(self, repo: str, query: str, *, limit: int, cursor: str | None) -> model.CodeHits:
        answer, after = await self._search("/search/code", f"{query} repo:{repo}", limit, cursor)
        found = wire.read(answer, wire.HitsWire)
        own = [each for each in found.items if each.repository.full_name.lower() == repo.lower()]
        hits = [model.CodeHit(repo, each.path, each.sha, each.html_url) for each in own]
        return model.CodeHits(hits, found.total_count, found.incomplete_results, after(found.total_count))

    async def repository(self, repo: str) -> model.Repository:
        found = wire.read(await self._get(_in(repo)), wire.RepositoryWire)
        return model.Repository(
            repo=found.full_name,
            description=found.description or "",
            default_branch=found.default_branch,
            private=found.private,
            archived=found.archived,
            html_url=found.html_url,
            open_issues=found.open_issues_count,
        )

    # Requests

    async def _get(self, address: str, params: Mapping[str, Any] | None = None) -> Answer:
        return await self._client.request("GET", address, params=params)

    async def _page(
        self, address: str, params: Mapping[str, Any], kind: type[list[T]], *, limit: int, cursor: str | None
    ) -> tuple[list[T], str | None]:
        page, size = _position(cursor, limit)
        answer = await self._get(address, {**params, "per_page": size, "page": page})
        after = paging.encode({"page": page + 1, "size": size}) if next_link(answer) else None
        return wire.read(answer, kind), after

    async def _all(self, address: str, params: Mapping[str, Any], kind: type[T], *, limit: int) -> AsyncIterator[T]:
        seen, cursor, more = 0, None, True
        while seen < limit and more:
            found, cursor = await self._page(address, params, list[kind], limit=100, cursor=cursor)
            seen, more = seen + len(found), cursor is not None
            await progress.note(seen, message="looked through for this idempotency_key")
            for each in found:
                yield each

    async def _search(self, address: str, query: str, limit: int, cursor: str | None) -> tuple[Answer, _After]:
        page, size = _position(cursor, limit)
        answer = await self._get(address, {"q": query, "per_page": size, "page": page})
        return answer, _After(page, size)


def moment(text: str | None) -> str | None:
    """A day or time as GitHub takes it (RFC 3339, UTC); InvalidInput when it is none."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        raise InvalidInput(f"{text} is no day or time, such as 2026-11-22 or 2026-11-22T10:00:00Z.") from None


class _After:
    """The cursor after a page of a search that tells its total."""

    def __init__(self, page: int, size: int) -> None:
        self._page, self._size = page, size

    def __call__(self, total: int) -> str | None:
        more = self._page * self._size < min(total, 1000)  # GitHub gives the first 1,000 of a search
        return paging.encode({"page": self._page + 1, "size": self._size}) if more else None


def _in(repo: str, *rest: str | int) -> str:
    owner, _, name = repo.partition("/")
    try:
        return path("repos", owner, name, *rest)
    except ValueError as error:
        raise InvalidInput(f"{error}.") from None


def _file(repo: str, file: str) -> str:
    parts = [part for part in file.strip("/").split("/") if part] if file.strip("/") else []
    return _in(repo, "contents", *parts)


def _position(cursor: str | None, limit: int) -> tuple[int, int]:
    position = paging.decode(cursor)
    page, size = position.get("page", 1), position.get("size", limit)
    if not (isinstance(page, int) and isinstance(size, int) and page > 0 and 0 < size <= 100):
        raise InvalidInput("cursor is not one this server gave; leave it out to start at the beginning.")
    return page, size


def _given(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


Mark = tuple[str, str]
"""A key's mark and its arguments' fingerprint."""


def _mark(
    tool: Literal["create_issue", "add_issue_comment", "create_pull_request", "create_release"],
    key: str | None,
    *arguments: Any,
) -> Mark | None:
    checked = idempotency.checked(key)
    return None if checked is None else (idempotency.mark("github", tool, checked), idempotency.fingerprint(arguments))


def _marked(body: str, mark: Mark | None) -> str:
    text = body if mark is None else wire.ENDING.write(body, *mark)
    if len(text) > LONGEST_BODY:
        raise InvalidInput(f"body is over {LONGEST_BODY:,} characters, which GitHub does not take; shorten it.")
    return text


def _made_by(mark: Mark, body: str | None) -> bool:
    ended = wire.ENDING.read(body or "")
    if ended.mark != mark[0]:
        return False
    idempotency.same(ended.said, mark[1])
    return True
