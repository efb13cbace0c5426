"""The GitHub server's tools and resources."""

from __future__ import annotations

import base64
from ssl import SSLContext
from typing import Annotated, Literal

import httpx2
import msgspec
from fastmcp.resources.base import ResourceContent, ResourceResult
from pydantic import Field

from motet_servers.github import model
from motet_servers.github.api import LARGEST_FILE, LONGEST_BODY, GitHub, moment
from motet_servers.kit.arguments import Cursor, Encoding, Key, base64_length, decoded
from motet_servers.kit.errors import InvalidInput, TooLarge
from motet_servers.kit.http import Answer, ApiClient
from motet_servers.kit.server import JSON, DomainServer, as_json, closing
from motet_servers.kit.settings import SettingsError, Values

Repo = Annotated[str | None, Field(max_length=140, description="owner/name; left out: GITHUB_REPOSITORY.")]
Number = Annotated[int, Field(ge=1, le=2**31 - 1, description="The number in its URL.")]
Limit = Annotated[int, Field(ge=1, le=100, description="Most items on one page.")]
State = Literal["open", "closed", "all"]
ADDRESS = "github://{owner}/{repo}"
Title = Annotated[str, Field(min_length=1, max_length=256)]
Body = Annotated[str, Field(max_length=LONGEST_BODY, description="GitHub's Markdown.")]
Label = Annotated[str, Field(min_length=1, max_length=50)]
Labels = Annotated[list[Label], Field(max_length=100)]
People = Annotated[list[Annotated[str, Field(min_length=1, max_length=39)]], Field(max_length=10)]
Ref = Annotated[str, Field(min_length=1, max_length=255)]
Head = Annotated[str, Field(min_length=1, max_length=300)]
Sha = Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
FilePath = Annotated[str, Field(max_length=4096)]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$")]


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server for the environment's GitHub."""
    del arguments
    return github_server(
        values.url("GITHUB_API_URL"),
        values.token("GITHUB_TOKEN"),
        repository=values.get("GITHUB_REPOSITORY"),
        tls=values.authorities(),
    )


def github_server(
    url: str,
    token: str,
    *,
    repository: str = "",
    tls: SSLContext | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> DomainServer:
    """A server for the GitHub at `url`; SettingsError when `repository` is not owner/name."""
    client = ApiClient(
        "GitHub",
        url,
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
        explain=_words,
        secrets=[token],
        tls=tls,
        transport=transport,
    )
    github = GitHub(client, repository=repository)
    if repository:
        try:
            github.repo(repository)
        except InvalidInput:
            raise SettingsError(f"GITHUB_REPOSITORY must be owner/name, not {repository!r}.") from None

    server = DomainServer(
        "github-mcp-server",
        version="1.0.0",
        description="GitHub integration: repositories, issues, pull requests, releases, files and code search.",
        capabilities={"tools": {}, "resources": {}},
        domain="github",
        uris=["github://**"],
        secrets=[token],
        lifespan=closing(client),
    )
    _issue_tools(server, github)
    _issue_writing_tools(server, github)
    _comment_tools(server, github)
    _label_tools(server, github)
    _pull_tools(server, github)
    _release_tools(server, github)
    _file_tools(server, github)
    _resources(server, github)
    _content_resources(server, github)
    return server


class _Problem(msgspec.Struct):
    field: str = ""
    code: str = ""
    message: str = ""


class _Complaint(msgspec.Struct):
    message: str = ""
    errors: list[_Problem | str] = []


def _words(answer: Answer) -> str:
    """GitHub's message, and what it says about each field."""
    try:
        complaint = msgspec.json.decode(answer.content, type=_Complaint)
    except (msgspec.DecodeError, RecursionError):
        return ""
    problems = [
        each if isinstance(each, str) else each.message or f"{each.field} {each.code}".strip()
        for each in complaint.errors
    ]
    return f"{complaint.message} ({'; '.join(problems)})" if problems else complaint.message


def _issue_tools(server: DomainServer, github: GitHub) -> None:
    @server.tool(retry="safe", title="Get an issue")
    async def get_issue(number: Number, repo: Repo = None) -> model.Issue:
        """An issue by its number."""
        return await github.issue(github.repo(repo), number)

    @server.tool(retry="safe", title="List issues")
    async def list_issues(
        repo: Repo = None,
        state: State = "open",
        labels: Annotated[
            list[Annotated[Label, Field(pattern="^[^,]+$")]] | None,
            Field(max_length=20, description="Only issues with all of these (GitHub takes none with a comma here)."),
        ] = None,
        since: Annotated[
            Moment | None, Field(description="Only those updated since this ISO 8601 day or time (UTC unless it says).")
        ] = None,
        limit: Limit = 30,
        cursor: Cursor = None,
    ) -> model.IssuePage:
        """Issues of a repository, newest first. Pull requests are left out, so a page can be shorter than `limit`."""
        filters = {"state": state, "labels": ",".join(labels) if labels else None, "since": moment(since)}
        return await github.issues(github.repo(repo), filters, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="Search issues")
    async def search_issues(
        query: Annotated[str, Field(min_length=1, max_length=256, description="GitHub's issue search syntax.")],
        repo: Repo = None,
        limit: Limit = 30,
        cursor: Cursor = None,
    ) -> model.IssuePage:
        """Issues and pull requests of a repository that match a search, best first."""
        return await github.search_issues(github.repo(repo), query, limit=limit, cursor=cursor)


def _issue_writing_tools(server: DomainServer, github: GitHub) -> None:
    @server.tool(retry="keyed", title="Create an issue", destructive=False)
    async def create_issue(
        title: Title,
        body: Body = "",
        repo: Repo = None,
        labels: Labels | None = None,
        assignees: People | None = None,
        idempotency_key: Key = None,
    ) -> model.Issue:
        """Open an issue. With a key, a repetition gives the issue that the first call made."""
        return await github.create_issue(
            github.repo(repo), title, body, labels=labels or [], assignees=assignees or [], key=idempotency_key
        )

    @server.tool(retry="safe", title="Update an issue", read_only=False, idempotent=True)
    async def update_issue(
        number: Number,
        repo: Repo = None,
        title: Title | None = None,
        body: Body | None = None,
        state: Literal["open", "closed"] | None = None,
        state_reason: Literal["completed", "not_planned", "reopened"] | None = None,
        labels: Annotated[Labels | None, Field(description="All labels it shall have.")] = None,
        assignees: Annotated[People | None, Field(description="All people it shall be assigned to.")] = None,
    ) -> model.Issue:
        """Change an issue, also close or reopen it. What is left out stays."""
        changes = {
            "title": title,
            "body": body,
            "state": state,
            "state_reason": state_reason,
            "labels": labels,
            "assignees": assignees,
        }
        return await github.update_issue(github.repo(repo), number, changes)


def _comment_tools(server: DomainServer, github: GitHub) -> None:
    @server.tool(retry="safe", title="List comments")
    async def list_issue_comments(
        number: Number, repo: Repo = None, limit: Limit = 30, cursor: Cursor = None
    ) -> model.CommentPage:
        """Comments of an issue or pull request, oldest first."""
        return await github.comments(github.repo(repo), number, limit=limit, cursor=cursor)

    @server.tool(retry="keyed", title="Comment on an issue", destructive=False)
    async def add_issue_comment(
        number: Number,
        body: Annotated[Body, Field(min_length=1)],
        repo: Repo = None,
        idempotency_key: Key = None,
    ) -> model.Comment:
        """Comment on an issue or pull request. With a key, a repetition gives the comment that the first call made."""
        return await github.comment(github.repo(repo), number, body, key=idempotency_key)


def _label_tools(server: DomainServer, github: GitHub) -> None:
    @server.tool(retry="safe", title="List labels")
    async def list_labels(repo: Repo = None, limit: Limit = 100, cursor: Cursor = None) -> model.LabelPage:
        """Labels of a repository."""
        return await github.labels(github.repo(repo), limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="Add labels", read_only=False, destructive=False, idempotent=True)
    async def add_labels(
        number: Number, labels: Annotated[Labels, Field(min_length=1)], repo: Repo = None
    ) -> model.IssueLabels:
        """Add labels to an issue or pull request; those it has stay. Unknown ones are made."""
        return await github.add_labels(github.repo(repo), number, labels)

    @server.tool(retry="safe", title="Remove a label", read_only=False, idempotent=True)
    async def remove_label(number: Number, label: Label, repo: Repo = None) -> model.IssueLabels:
        """Take a label off an issue or pull request; fine if it has none such."""
        return await github.remove_label(github.repo(repo), number, label)


def _pull_tools(server: DomainServer, github: GitHub) -> None:
    @server.tool(retry="safe", title="Get a pull request")
    async def get_pull_request(number: Number, repo: Repo = None) -> model.PullRequest:
        """A pull request by its number."""
        return await github.pull(github.repo(repo), number)

    @server.tool(retry="safe", title="List pull requests")
    async def list_pull_requests(
        repo: Repo = None,
        state: State = "open",
        base: Annotated[Ref | None, Field(description="Only those into this branch.")] = None,
        head: Annotated[Head | None, Field(description="Only this one's, as owner:branch.")] = None,
        limit: Limit = 30,
        cursor: Cursor = None,
    ) -> model.PullRequestPage:
        """Pull requests of a repository, newest first."""
        filters = {"state": state, "base": base, "head": head}
        return await github.pulls(github.repo(repo), filters, limit=limit, cursor=cursor)

    @server.tool(retry="safe", title="List changed files")
    async def list_pull_request_files(
        number: Number, repo: Repo = None, limit: Limit = 30, cursor: Cursor = None
    ) -> model.ChangedFilePage:
        """The files a pull request changes, with their patches."""
        return await github.pull_files(github.repo(repo), number, limit=limit, cursor=cursor)

    @server.tool(retry="keyed", title="Create a pull request", destructive=False)
    async def create_pull_request(
        title: Title,
        head: Annotated[Head, Field(description="Branch to merge, or owner:branch of a fork.")],
        base: Annotated[Ref, Field(description="Branch to merge into.")] = "main",
        body: Body = "",
        draft: bool = False,  # noqa: FBT001, FBT002 - tools are called by name
        repo: Repo = None,
        idempotency_key: Key = None,
    ) -> model.PullRequest:
        """Open a pull request. With a key, a repetition gives the one that the first call made."""
        return await github.create_pull(github.repo(repo), title, head, base, body, draft=draft, key=idempotency_key)

    @server.tool(retry="safe", title="Merge a pull request", read_only=False, destructive=True, idempotent=True)
    async def merge_pull_request(
        number: Number,
        repo: Repo = None,
        merge_method: Literal["merge", "squash", "rebase"] = "merge",
        sha: Annotated[Sha | None, Field(description="Merge only if its head is still this commit.")] = None,
        commit_message: Body | None = None,
    ) -> model.Merge:
        """Merge a pull request; one that is merged already is reported as such."""
        return await github.merge(github.repo(repo), number, merge_method, sha=sha, message=commit_message)


def _release_tools(server: DomainServer, github: GitHub) -> None:
    @server.tool(retry="safe", title="Get the latest release")
    async def get_latest_release(repo: Repo = None) -> model.Release:
        """The newest release that is neither draft nor pre-release."""
        return await github.latest_release(github.repo(repo))

    @server.tool(retry="safe", title="Get a release")
    async def get_release(tag: Ref, repo: Repo = None) -> model.Release:
        """A release by its tag."""
        return await github.release(github.repo(repo), tag)

    @server.tool(retry="safe", title="List releases")
    async def list_releases(repo: Repo = None, limit: Limit = 30, cursor: Cursor = None) -> model.ReleasePage:
        """Releases of a repository, newest first."""
        return await github.releases(github.repo(repo), limit=limit, cursor=cursor)

    @server.tool(retry="keyed", title="Create a release", destructive=False)
    async def create_release(
        tag_name: Ref,
        name: Title | None = None,
        body: Body = "",
        target_commitish: Annotated[Ref | None, Field(description="Branch or commit for a tag to be made.")] = None,
        draft: bool = False,  # noqa: FBT001, FBT002 - tools are called by name
        prerelease: bool = False,  # noqa: FBT001, FBT002 - tools are called by name
        repo: Repo = None,
        idempotency_key: Key = None,
    ) -> model.Release:
        """Publish a release. With a key, a repetition gives the one that the first call made."""
        wanted = {
            "tag_name": tag_name,
            "name": name,
            "body": body,
            "target_commitish": target_commitish,
            "draft": draft,
            "prerelease": prerelease,
        }
        return await github.create_release(github.repo(repo), wanted, key=idempotency_key)


def _file_tools(server: DomainServer, github: GitHub) -> None:
    @server.tool(retry="safe", title="Get a repository")
    async def get_repository(repo: Repo = None) -> model.Repository:
        """A repository's description, default branch and state."""
        return await github.repository(github.repo(repo))

    @server.tool(retry="safe", title="Get a file or directory")
    async def get_file_contents(
        path: Annotated[FilePath, Field(description="Path in the repository; empty for its root.")] = "",
        ref: Annotated[Ref | None, Field(description="Branch, tag or commit; left out: the default branch.")] = None,
        repo: Repo = None,
    ) -> model.Contents:
        """A file's content, or a directory's entries."""
        return await github.contents(github.repo(repo), path, ref)

    @server.tool(retry="safe", title="Write a file", read_only=False, destructive=True, idempotent=True)
    async def create_or_update_file(
        path: Annotated[FilePath, Field(min_length=1)],
        content: Annotated[str, Field(max_length=base64_length(LARGEST_FILE))],
        message: Annotated[Body, Field(min_length=1, description="The commit's message.")],
        branch: Ref | None = None,
        sha: Annotated[
            Sha | None, Field(description="What it has now, from get_file_contents; none: new file.")
        ] = None,
        encoding: Encoding = "utf-8",
        repo: Repo = None,
    ) -> model.WrittenFile:
        """Commit one file. If it has this content already, nothing is committed; with another `sha` it is refused."""
        raw = decoded(content, encoding, most=LARGEST_FILE)
        return await github.write_file(github.repo(repo), path, raw, message, branch=branch, sha=sha)

    @server.tool(retry="safe", title="Search code")
    async def search_code(
        query: Annotated[str, Field(min_length=1, max_length=256, description="GitHub's code search syntax.")],
        repo: Repo = None,
        limit: Limit = 30,
        cursor: Cursor = None,
    ) -> model.CodeHits:
        """Files of a repository whose content matches."""
        return await github.search_code(github.repo(repo), query, limit=limit, cursor=cursor)


def _resources(server: DomainServer, github: GitHub) -> None:
    base = ADDRESS

    @server.resource(f"{base}/pull-requests{{?state,cursor}}", name="pull requests", mime_type=JSON)
    async def pull_requests(owner: str, repo: str, state: State = "open", cursor: str | None = None) -> ResourceResult:
        """Pull requests, newest first; open ones unless `state` says closed or all."""
        return as_json(await github.pulls(github.repo(f"{owner}/{repo}"), {"state": state}, limit=50, cursor=cursor))

    @server.resource(f"{base}/pull-requests/{{number}}", name="pull request", mime_type=JSON)
    async def pull_request(owner: str, repo: str, number: int) -> ResourceResult:
        """One pull request."""
        return as_json(await github.pull(github.repo(f"{owner}/{repo}"), number))

    @server.resource(f"{base}/issues{{?state,cursor}}", name="issues", mime_type=JSON)
    async def issues(owner: str, repo: str, state: State = "open", cursor: str | None = None) -> ResourceResult:
        """Issues, newest first; open ones unless `state` says closed or all."""
        return as_json(await github.issues(github.repo(f"{owner}/{repo}"), {"state": state}, limit=50, cursor=cursor))

    @server.resource(f"{base}/issues/{{number}}", name="issue", mime_type=JSON)
    async def issue(owner: str, repo: str, number: int) -> ResourceResult:
        """One issue."""
        return as_json(await github.issue(github.repo(f"{owner}/{repo}"), number))


def _content_resources(server: DomainServer, github: GitHub) -> None:
    base = ADDRESS

    @server.resource(f"{base}/releases{{?cursor}}", name="releases", mime_type=JSON)
    async def releases(owner: str, repo: str, cursor: str | None = None) -> ResourceResult:
        """Releases, newest first."""
        return as_json(await github.releases(github.repo(f"{owner}/{repo}"), limit=50, cursor=cursor))

    @server.resource(f"{base}/releases/latest", name="latest release", mime_type=JSON)
    async def latest_release(owner: str, repo: str) -> ResourceResult:
        """The newest release that is neither draft nor pre-release."""
        return as_json(await github.latest_release(github.repo(f"{owner}/{repo}")))

    @server.resource(f"{base}/labels{{?cursor}}", name="labels", mime_type=JSON)
    async def labels(owner: str, repo: str, cursor: str | None = None) -> ResourceResult:
        """Labels of a repository."""
        return as_json(await github.labels(github.repo(f"{owner}/{repo}"), limit=100, cursor=cursor))

    @server.resource(f"{base}/files/{{path*}}{{?ref}}", name="file", mime_type="text/plain")
    async def file(owner: str, repo: str, path: str, ref: str | None = None) -> ResourceResult:
        """A file's content; a directory's entries as JSON."""
        found = await github.contents(github.repo(f"{owner}/{repo}"), path, ref)
        if found.type != "file":
            return as_json(found)
        if found.encoding == "none":
            raise TooLarge(f"{path} has {found.size:,} bytes, more than GitHub sends here; get it with git.")
        if found.encoding == "utf-8":
            return ResourceResult([ResourceContent(found.content, mime_type="text/plain")])
        return ResourceResult([ResourceContent(base64.b64decode(found.content), mime_type="application/octet-stream")])
