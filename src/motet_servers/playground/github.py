"""GitHub's REST API, as much of it as the github server uses; state in memory, answers in GitHub's full shape."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from motet_servers.playground.http import (
    Refused,
    Request,
    Response,
    Router,
    json_response,
    number,
    strings,
    text,
    texts,
)

_FAR_FUTURE = 4102444800


@dataclass(slots=True)
class Issue:
    """An issue, or the issue half of a pull request."""

    number: int
    title: str
    body: str | None
    user: str
    created_at: str
    updated_at: str
    state: str = "open"
    state_reason: str | None = None
    closed_at: str | None = None
    labels: list[str] = field(default_factory=list[str])
    assignees: list[str] = field(default_factory=list[str])
    comments: list[Comment] = field(default_factory=list["Comment"])
    pull: Pull | None = None


@dataclass(slots=True)
class Pull:
    """What a pull request has beyond its issue."""

    head: str
    base: str
    draft: bool = False
    merged_at: str | None = None
    merge_sha: str | None = None
    files: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Comment:
    """A comment on an issue or pull request."""

    id: int
    body: str
    user: str
    created_at: str
    updated_at: str


@dataclass(slots=True)
class Release:
    """A release."""

    id: int
    tag: str
    name: str
    body: str
    published_at: str
    draft: bool = False
    prerelease: bool = False


@dataclass(slots=True)
class Repository:
    """One repository, its files of the default branch included."""

    owner: str
    name: str
    description: str = ""
    issues: dict[int, Issue] = field(default_factory=dict[int, Issue])
    releases: list[Release] = field(default_factory=list[Release])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    commits: int = 1

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


class GitHub:
    """The stand-in: a handler over repositories."""

    def __init__(
        self, repositories: list[Repository], *, token: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.url = "http://127.0.0.1"
        self.repositories = {repository.full_name.lower(): repository for repository in repositories}
        self._token = token
        self._now = now
        self._ids = 1000
        self._router = Router()
        for method, template, function in self._table():
            self._router.add(method, template, function)

    def _table(self) -> list[tuple[str, str, Callable[..., Response]]]:
        repo = "/repos/{owner}/{repo}"
        return [
            ("GET", "/user", self._me),
            ("GET", "/rate_limit", self._rate_limit),
            ("GET", repo, self._repository),
            ("GET", f"{repo}/issues", self._issues),
            ("POST", f"{repo}/issues", self._create_issue),
            ("GET", f"{repo}/issues/{{id}}", self._issue),
            ("PATCH", f"{repo}/issues/{{id}}", self._update_issue),
            ("GET", f"{repo}/issues/{{id}}/comments", self._comments),
            ("POST", f"{repo}/issues/{{id}}/comments", self._comment),
            ("GET", f"{repo}/issues/{{id}}/labels", self._issue_labels),
            ("POST", f"{repo}/issues/{{id}}/labels", self._add_labels),
            ("DELETE", f"{repo}/issues/{{id}}/labels/{{name}}", self._remove_label),
            ("GET", f"{repo}/labels", self._labels),
            ("POST", f"{repo}/labels", self._create_label),
            ("GET", f"{repo}/pulls", self._pulls),
            ("POST", f"{repo}/pulls", self._create_pull),
            ("GET", f"{repo}/pulls/{{id}}", self._pull),
            ("GET", f"{repo}/pulls/{{id}}/files", self._pull_files),
            ("PUT", f"{repo}/pulls/{{id}}/merge", self._merge),
            ("GET", f"{repo}/releases", self._releases),
            ("POST", f"{repo}/releases", self._create_release),
            ("GET", f"{repo}/releases/latest", self._latest_release),
            ("GET", f"{repo}/releases/tags/{{tag*}}", self._release_by_tag),
            ("GET", f"{repo}/contents/{{path*}}", self._contents),
            ("GET", f"{repo}/contents", self._contents),
            ("PUT", f"{repo}/contents/{{path*}}", self._put_contents),
            ("GET", "/search/code", self._search_code),
            ("GET", "/search/issues", self._search_issues),
        ]

    async def __call__(self, request: Request) -> Response:
        try:
            self._admit(request.headers.get("authorization", ""))
            answer = self._router.answer(request)
        except Refused as refused:
            answer = json_response(
                {"message": refused.message, "documentation_url": "https://docs.github.com/rest", **refused.details},
                refused.status,
            )
        limits = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-reset": str(_FAR_FUTURE)}
        return Response(answer.status, answer.body, {**limits, **answer.headers}, answer.effect)

    def _admit(self, authorization: str) -> None:
        if authorization.removeprefix("Bearer ").removeprefix("token ") != self._token:
            raise Refused(401, "Bad credentials")

    # Finding

    def _of(self, owner: str, repo: str) -> Repository:
        found = self.repositories.get(f"{owner}/{repo}".lower())
        if found is None:
            raise Refused(404, "Not Found")
        return found

    def _find(self, owner: str, repo: str, number_text: str, *, pull: bool = False) -> tuple[Repository, Issue]:
        repository = self._of(owner, repo)
        issue = repository.issues.get(int(number_text)) if number_text.isdigit() else None
        if issue is None or (pull and issue.pull is None):
            raise Refused(404, "Not Found")
        return repository, issue

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def _page(self, request: Request, items: list[object]) -> Response:
        size = max(1, min(number(request.query, "per_page", 30), 100))
        page = max(1, number(request.query, "page", 1))
        shown = items[(page - 1) * size : page * size]
        headers: dict[str, str] = {}
        if page * size < len(items):
            query = urlencode({**request.query, "per_page": size, "page": page + 1})
            headers["link"] = f'<{self.url}{request.path}?{query}>; rel="next"'
        return json_response(shown, headers=headers)

    # Whole answers

    def _me(self, request: Request) -> Response:
        del request
        return json_response(self._user("motet-bot"))

    def _rate_limit(self, request: Request) -> Response:
        del request
        rate = {"limit": 5000, "remaining": 4999, "reset": _FAR_FUTURE, "used": 1}
        return json_response({"resources": {"core": rate, "search": rate}, "rate": rate})

    def _repository(self, request: Request, owner: str, repo: str) -> Response:
        del request
        return json_response(self._show_repository(self._of(owner, repo)))

    def _issues(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        state = request.query.get("state", "open")
        since = request.query.get("since", "")
        wanted = {name.strip() for name in request.query.get("labels", "").split(",") if name.strip()}
        creator = request.query.get("creator")
        found = [
            issue
            for issue in sorted(repository.issues.values(), key=lambda issue: issue.number, reverse=True)
            if state in ("all", issue.state)
            and issue.updated_at >= since
            and wanted <= set(issue.labels)
            and creator in (None, issue.user)
        ]
        return self._page(request, [self._show_issue(repository, issue) for issue in found])

    def _create_issue(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        body = request.json()
        if not text(body, "title").strip():
            raise Refused(
                422, "Validation Failed", errors=[{"resource": "Issue", "field": "title", "code": "missing_field"}]
            )
        issue = self._new_issue(repository, text(body, "title"), text(body, "body"))
        issue.labels = self._ensure_labels(repository, texts(body, "labels"))
        issue.assignees = texts(body, "assignees")
        return json_response(self._show_issue(repository, issue), 201, effect="issue.created")

    def _new_issue(self, repository: Repository, title: str, body: str) -> Issue:
        stamp = self._stamp()
        issue = Issue(max(repository.issues, default=0) + 1, title, body, "motet-bot", stamp, stamp)
        repository.issues[issue.number] = issue
        return issue

    def _issue(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        del request
        return json_response(self._show_issue(*self._find(owner, repo, id)))

    def _update_issue(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        repository, issue = self._find(owner, repo, id)
        body = request.json()
        issue.title = text(body, "title", issue.title)
        if "body" in body:
            issue.body = text(body, "body")
        if "labels" in body:
            issue.labels = self._ensure_labels(repository, texts(body, "labels"))
        if "assignees" in body:
            issue.assignees = texts(body, "assignees")
        if (state := text(body, "state", issue.state)) != issue.state:
            issue.state, issue.closed_at = state, self._stamp() if state == "closed" else None
            issue.state_reason = text(body, "state_reason", "completed") if state == "closed" else "reopened"
        issue.updated_at = self._stamp()
        return json_response(self._show_issue(repository, issue), effect="issue.updated")

    def _comments(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        repository, issue = self._find(owner, repo, id)
        since = request.query.get("since", "")
        shown = [comment for comment in issue.comments if comment.updated_at >= since]
        return self._page(request, [self._show_comment(repository, issue, comment) for comment in shown])

    def _comment(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        repository, issue = self._find(owner, repo, id)
        if not (body := text(request.json(), "body")).strip():
            raise Refused(
                422, "Validation Failed", errors=[{"resource": "IssueComment", "field": "body", "code": "missing"}]
            )
        comment = Comment(self._id(), body, "motet-bot", self._stamp(), self._stamp())
        issue.comments.append(comment)
        issue.updated_at = comment.created_at
        return json_response(self._show_comment(repository, issue, comment), 201, effect="comment.created")

    def _issue_labels(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        repository, issue = self._find(owner, repo, id)
        return self._page(request, [self._show_label(repository, name) for name in issue.labels])

    def _add_labels(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        repository, issue = self._find(owner, repo, id)
        new = [
            name
            for name in self._ensure_labels(repository, texts(request.json(), "labels"))
            if name not in issue.labels
        ]
        issue.labels += new
        return json_response(
            [self._show_label(repository, name) for name in issue.labels], effect="issue.labelled" if new else ""
        )

    def _remove_label(self, request: Request, owner: str, repo: str, id: str, name: str) -> Response:  # noqa: A002 - the path's own word
        del request
        repository, issue = self._find(owner, repo, id)
        if name not in issue.labels:
            raise Refused(404, "Label does not exist")
        issue.labels.remove(name)
        return json_response([self._show_label(repository, label) for label in issue.labels], effect="issue.unlabelled")

    def _labels(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        return self._page(request, [self._show_label(repository, name) for name in repository.labels])

    def _create_label(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        body = request.json()
        name = text(body, "name")
        if name in repository.labels:
            raise Refused(
                422, "Validation Failed", errors=[{"resource": "Label", "field": "name", "code": "already_exists"}]
            )
        repository.labels[name] = text(body, "color", "ededed")
        return json_response(self._show_label(repository, name), 201, effect="label.created")

    def _pulls(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        state, base, head = request.query.get("state", "open"), request.query.get("base"), request.query.get("head")
        found = [
            issue
            for issue in sorted(repository.issues.values(), key=lambda issue: issue.number, reverse=True)
            if issue.pull is not None
            and state in ("all", issue.state)
            and base in (None, issue.pull.base)
            and head in (None, f"{repository.owner}:{issue.pull.head}")
        ]
        return self._page(request, [self._show_pull(repository, issue) for issue in found])

    def _create_pull(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        body = request.json()
        head, base = text(body, "head"), text(body, "base")
        if not (text(body, "title") and head and base):
            raise Refused(
                422, "Validation Failed", errors=[{"resource": "PullRequest", "field": "head", "code": "missing_field"}]
            )
        for issue in repository.issues.values():
            if issue.pull is not None and (issue.state, issue.pull.head, issue.pull.base) == ("open", head, base):
                message = f"A pull request already exists for {repository.owner}:{head}."
                raise Refused(
                    422, "Validation Failed", errors=[{"resource": "PullRequest", "code": "custom", "message": message}]
                )
        issue = self._new_issue(repository, text(body, "title"), text(body, "body"))
        issue.pull = Pull(head, base, draft=body.get("draft") is True)
        return json_response(self._show_whole_pull(repository, issue), 201, effect="pull.created")

    def _pull(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        del request
        return json_response(self._show_whole_pull(*self._find(owner, repo, id, pull=True)))

    def _pull_files(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        repository, issue = self._find(owner, repo, id, pull=True)
        names = issue.pull.files if issue.pull is not None else []
        return self._page(request, [self._show_changed(repository, name) for name in names])

    def _merge(self, request: Request, owner: str, repo: str, id: str) -> Response:  # noqa: A002 - the path's own word
        repository, issue = self._find(owner, repo, id, pull=True)
        body = request.json()
        if issue.pull is None or issue.state != "open" or issue.pull.draft:
            raise Refused(405, "Pull Request is not mergeable")
        if (sha := text(body, "sha")) and sha != _sha(f"{repository.full_name}:{issue.pull.head}"):
            raise Refused(409, "Head branch was modified. Review and try the merge again.")
        issue.pull.merge_sha = _sha(f"{repository.full_name}:merge:{issue.number}")
        issue.state, issue.closed_at, issue.pull.merged_at = "closed", self._stamp(), self._stamp()
        repository.commits += 1
        return json_response(
            {"sha": issue.pull.merge_sha, "merged": True, "message": "Pull Request successfully merged"},
            effect="pull.merged",
        )

    def _releases(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        newest = sorted(repository.releases, key=lambda release: release.published_at, reverse=True)
        return self._page(request, [self._show_release(repository, release) for release in newest])

    def _latest_release(self, request: Request, owner: str, repo: str) -> Response:
        del request
        repository = self._of(owner, repo)
        out = [release for release in repository.releases if not release.draft and not release.prerelease]
        if not out:
            raise Refused(404, "Not Found")
        return json_response(self._show_release(repository, max(out, key=lambda release: release.published_at)))

    def _release_by_tag(self, request: Request, owner: str, repo: str, tag: str) -> Response:
        del request
        repository = self._of(owner, repo)
        for release in repository.releases:
            if release.tag == tag:
                return json_response(self._show_release(repository, release))
        raise Refused(404, "Not Found")

    def _create_release(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        body = request.json()
        tag = text(body, "tag_name")
        if any(release.tag == tag for release in repository.releases):
            raise Refused(
                422,
                "Validation Failed",
                errors=[{"resource": "Release", "field": "tag_name", "code": "already_exists"}],
            )
        release = Release(
            self._id(),
            tag,
            text(body, "name", tag),
            text(body, "body"),
            self._stamp(),
            draft=body.get("draft") is True,
            prerelease=body.get("prerelease") is True,
        )
        repository.releases.append(release)
        return json_response(self._show_release(repository, release), 201, effect="release.created")

    def _contents(self, request: Request, owner: str, repo: str, path: str = "") -> Response:
        del request
        repository = self._of(owner, repo)
        path = path.strip("/")
        if path in repository.files:
            return json_response(self._show_file(repository, path, whole=True))
        prefix = f"{path}/" if path else ""
        inside = {name.removeprefix(prefix).split("/")[0] for name in repository.files if name.startswith(prefix)}
        if not inside:
            raise Refused(404, "Not Found")
        return json_response([self._show_file(repository, prefix + name, whole=False) for name in sorted(inside)])

    def _put_contents(self, request: Request, owner: str, repo: str, path: str) -> Response:
        repository = self._of(owner, repo)
        body = request.json()
        try:
            content = base64.b64decode(text(body, "content"), validate=False)
        except ValueError as error:
            raise Refused(422, "content is not valid Base64") from error
        old = repository.files.get(path)
        if old is not None and text(body, "sha") != _blob_sha(old):
            status = 409 if body.get("sha") else 422
            raise Refused(
                status, f"{path} does not match" if status == 409 else 'Invalid request.\n\n"sha" wasn\'t supplied.'
            )
        repository.files[path] = content
        repository.commits += 1
        answer = {
            "content": self._show_file(repository, path, whole=False),
            "commit": self._show_commit(repository, text(body, "message")),
        }
        return json_response(answer, 200 if old is not None else 201, effect="file.written")

    def _search_code(self, request: Request) -> Response:
        words, narrowed = _terms(request.query.get("q", ""))
        found: list[object] = []
        for repository in self._narrowed(narrowed):
            for path, content in repository.files.items():
                if all(word.lower() in content.decode("utf-8", "replace").lower() for word in words):
                    found.append(self._show_hit(repository, path))
        return json_response(self._search_page(request, found))

    def _search_issues(self, request: Request) -> Response:
        words, narrowed = _terms(request.query.get("q", ""))
        found: list[object] = []
        for repository in self._narrowed(narrowed):
            for issue in repository.issues.values():
                kind = "pr" if issue.pull is not None else "issue"
                matches_kind = narrowed.get("is", kind) in (kind, issue.state) and narrowed.get("type", kind) == kind
                matches_state = narrowed.get("state", issue.state) == issue.state
                texts_of = f"{issue.title} {issue.body or ''}".lower()
                if matches_kind and matches_state and all(word.lower() in texts_of for word in words):
                    found.append({**self._show_issue(repository, issue), "score": 1.0})
        return json_response({**self._search_page(request, found), "search_type": "lexical"})

    def _narrowed(self, narrowed: Mapping[str, str]) -> list[Repository]:
        wanted = narrowed.get("repo", "").lower()
        owner = narrowed.get("org", narrowed.get("user", "")).lower()
        return [
            repository
            for name, repository in self.repositories.items()
            if wanted in ("", name) and owner in ("", repository.owner.lower())
        ]

    def _search_page(self, request: Request, found: list[object]) -> dict[str, object]:
        size, page = number(request.query, "per_page", 30), number(request.query, "page", 1)
        shown = found[(page - 1) * size : page * size]
        return {"total_count": len(found), "incomplete_results": False, "items": shown}

    def _ensure_labels(self, repository: Repository, names: list[str]) -> list[str]:
        for name in names:
            repository.labels.setdefault(name, "ededed")
        return list(dict.fromkeys(names))

    # GitHub's shapes

    def _user(self, login: str) -> dict[str, object]:
        api, web = f"{self.url}/users/{login}", f"{self.url}/{login}"
        return {
            "login": login,
            "id": _number_for(login),
            "node_id": f"U_{login}",
            "avatar_url": f"{web}.png",
            "gravatar_id": "",
            "url": api,
            "html_url": web,
            "followers_url": f"{api}/followers",
            "following_url": f"{api}/following{{/other_user}}",
            "gists_url": f"{api}/gists{{/gist_id}}",
            "starred_url": f"{api}/starred{{/owner}}{{/repo}}",
            "subscriptions_url": f"{api}/subscriptions",
            "organizations_url": f"{api}/orgs",
            "repos_url": f"{api}/repos",
            "events_url": f"{api}/events{{/privacy}}",
            "received_events_url": f"{api}/received_events",
            "type": "Bot" if login.endswith("-bot") else "User",
            "site_admin": False,
        }

    def _show_repository(self, repository: Repository) -> dict[str, object]:
        stamp = "2026-01-01T00:00:00Z"
        open_issues = sum(issue.state == "open" for issue in repository.issues.values())
        return {
            **self._minimal_repository(repository),
            "git_url": f"git://127.0.0.1/{repository.full_name}.git",
            "ssh_url": f"git@127.0.0.1:{repository.full_name}.git",
            "clone_url": f"{self.url}/{repository.full_name}.git",
            "svn_url": f"{self.url}/{repository.full_name}",
            "mirror_url": None,
            "homepage": None,
            "language": "Python",
            "forks_count": 0,
            "stargazers_count": 0,
            "watchers_count": 0,
            "size": 1,
            "default_branch": "main",
            "open_issues_count": open_issues,
            "is_template": False,
            "topics": [],
            "has_issues": True,
            "has_projects": False,
            "has_wiki": False,
            "has_pages": False,
            "has_downloads": False,
            "has_discussions": False,
            "archived": False,
            "disabled": False,
            "visibility": "private",
            "pushed_at": stamp,
            "created_at": stamp,
            "updated_at": stamp,
            "license": None,
            "forks": 0,
            "open_issues": open_issues,
            "watchers": 0,
            "network_count": 0,
            "subscribers_count": 0,
        }

    def _minimal_repository(self, repository: Repository) -> dict[str, object]:
        api = f"{self.url}/repos/{repository.full_name}"
        plain = (
            "archive assignees blobs branches collaborators comments commits compare contents contributors"
            " deployments downloads events forks git_commits git_refs git_tags hooks issue_comment"
            " issue_events issues keys labels languages merges milestones notifications pulls releases"
            " stargazers statuses subscribers subscription tags teams trees"
        )
        return {
            "id": _number_for(repository.full_name),
            "node_id": f"R_{_number_for(repository.full_name)}",
            "name": repository.name,
            "full_name": repository.full_name,
            "owner": self._user(repository.owner),
            "private": True,
            "html_url": f"{self.url}/{repository.full_name}",
            "description": repository.description,
            "fork": False,
            "url": api,
            **{f"{name}_url": f"{api}/{name}" for name in plain.split()},
        }

    def _show_issue(self, repository: Repository, issue: Issue) -> dict[str, object]:
        api = f"{self.url}/repos/{repository.full_name}/issues/{issue.number}"
        web = f"{self.url}/{repository.full_name}/{'pull' if issue.pull else 'issues'}/{issue.number}"
        shown: dict[str, object] = {
            "id": _number_for(api),
            "node_id": f"I_{_number_for(api)}",
            "url": api,
            "repository_url": f"{self.url}/repos/{repository.full_name}",
            "labels_url": f"{api}/labels{{/name}}",
            "comments_url": f"{api}/comments",
            "events_url": f"{api}/events",
            "html_url": web,
            "number": issue.number,
            "state": issue.state,
            "state_reason": issue.state_reason,
            "title": issue.title,
            "body": issue.body,
            "user": self._user(issue.user),
            "labels": [self._show_label(repository, name) for name in issue.labels],
            "assignee": self._user(issue.assignees[0]) if issue.assignees else None,
            "assignees": [self._user(login) for login in issue.assignees],
            "milestone": None,
            "locked": False,
            "active_lock_reason": None,
            "comments": len(issue.comments),
            "closed_at": issue.closed_at,
            "created_at": issue.created_at,
            "updated_at": issue.updated_at,
            "author_association": "CONTRIBUTOR",
        }
        if issue.pull is not None:
            pull = f"{self.url}/repos/{repository.full_name}/pulls/{issue.number}"
            shown["pull_request"] = {
                "url": pull,
                "html_url": web,
                "diff_url": f"{web}.diff",
                "patch_url": f"{web}.patch",
                "merged_at": issue.pull.merged_at,
            }
        return shown

    def _show_comment(self, repository: Repository, issue: Issue, comment: Comment) -> dict[str, object]:
        api = f"{self.url}/repos/{repository.full_name}/issues"
        return {
            "id": comment.id,
            "node_id": f"IC_{comment.id}",
            "url": f"{api}/comments/{comment.id}",
            "html_url": f"{self.url}/{repository.full_name}/issues/{issue.number}#issuecomment-{comment.id}",
            "issue_url": f"{api}/{issue.number}",
            "body": comment.body,
            "user": self._user(comment.user),
            "created_at": comment.created_at,
            "updated_at": comment.updated_at,
            "author_association": "CONTRIBUTOR",
        }

    def _show_label(self, repository: Repository, name: str) -> dict[str, object]:
        url = f"{self.url}/repos/{repository.full_name}/labels/{name}"
        return {
            "id": _number_for(url),
            "node_id": f"LA_{_number_for(url)}",
            "url": url,
            "name": name,
            "color": repository.labels.get(name, "ededed"),
            "default": False,
            "description": None,
        }

    def _show_pull(self, repository: Repository, issue: Issue) -> dict[str, object]:
        pull = issue.pull or Pull("", "")
        api = f"{self.url}/repos/{repository.full_name}/pulls/{issue.number}"
        issue_api = f"{self.url}/repos/{repository.full_name}/issues/{issue.number}"
        web = f"{self.url}/{repository.full_name}/pull/{issue.number}"
        head_sha = _sha(f"{repository.full_name}:{pull.head}")
        links = {
            "self": api,
            "html": web,
            "issue": issue_api,
            "comments": f"{issue_api}/comments",
            "review_comments": f"{api}/comments",
            "review_comment": f"{self.url}/repos/{repository.full_name}/pulls/comments{{/number}}",
            "commits": f"{api}/commits",
            "statuses": f"{self.url}/repos/{repository.full_name}/statuses/{head_sha}",
        }
        whole = self._show_issue(repository, issue)
        kept = "number state title body user labels assignee assignees milestone locked active_lock_reason created_at"
        kept += " updated_at closed_at author_association"
        return {
            **{name: whole[name] for name in kept.split()},
            "id": _number_for(api),
            "node_id": f"PR_{_number_for(api)}",
            "url": api,
            "html_url": web,
            "diff_url": f"{web}.diff",
            "patch_url": f"{web}.patch",
            "issue_url": issue_api,
            "commits_url": f"{api}/commits",
            "review_comments_url": f"{api}/comments",
            "review_comment_url": links["review_comment"],
            "comments_url": links["comments"],
            "statuses_url": links["statuses"],
            "merged_at": pull.merged_at,
            "merge_commit_sha": pull.merge_sha,
            "requested_reviewers": [],
            "requested_teams": [],
            "draft": pull.draft,
            "auto_merge": None,
            "head": self._show_branch(repository, pull.head),
            "base": self._show_branch(repository, pull.base),
            "_links": {name: {"href": href} for name, href in links.items()},
        }

    def _show_whole_pull(self, repository: Repository, issue: Issue) -> dict[str, object]:
        pull = issue.pull or Pull("", "")
        return {
            **self._show_pull(repository, issue),
            "merged": pull.merged_at is not None,
            "mergeable": None if pull.merged_at else not pull.draft,
            "mergeable_state": "draft" if pull.draft else "clean",
            "merged_by": self._user("motet-bot") if pull.merged_at else None,
            "comments": len(issue.comments),
            "review_comments": 0,
            "maintainer_can_modify": False,
            "commits": 1,
            "additions": 3,
            "deletions": 1,
            "changed_files": len(pull.files),
        }

    def _show_branch(self, repository: Repository, name: str) -> dict[str, object]:
        return {
            "label": f"{repository.owner}:{name}",
            "ref": name,
            "sha": _sha(f"{repository.full_name}:{name}"),
            "user": self._user(repository.owner),
            "repo": self._show_repository(repository),
        }

    def _show_changed(self, repository: Repository, path: str) -> dict[str, object]:
        api = f"{self.url}/repos/{repository.full_name}"
        return {
            "sha": _sha(path),
            "filename": path,
            "status": "modified",
            "additions": 3,
            "deletions": 1,
            "changes": 4,
            "blob_url": f"{self.url}/{repository.full_name}/blob/main/{path}",
            "raw_url": f"{self.url}/{repository.full_name}/raw/main/{path}",
            "contents_url": f"{api}/contents/{path}",
            "patch": "@@ -1 +1,3 @@",
        }

    def _show_release(self, repository: Repository, release: Release) -> dict[str, object]:
        api = f"{self.url}/repos/{repository.full_name}/releases/{release.id}"
        return {
            "url": api,
            "html_url": f"{self.url}/{repository.full_name}/releases/tag/{release.tag}",
            "assets_url": f"{api}/assets",
            "upload_url": f"{api}/assets{{?name,label}}",
            "tarball_url": f"{self.url}/repos/{repository.full_name}/tarball/{release.tag}",
            "zipball_url": f"{self.url}/repos/{repository.full_name}/zipball/{release.tag}",
            "id": release.id,
            "node_id": f"RE_{release.id}",
            "tag_name": release.tag,
            "target_commitish": "main",
            "name": release.name,
            "body": release.body,
            "draft": release.draft,
            "prerelease": release.prerelease,
            "created_at": release.published_at,
            "published_at": None if release.draft else release.published_at,
            "author": self._user("motet-bot"),
            "assets": [],
        }

    def _show_file(self, repository: Repository, path: str, *, whole: bool) -> dict[str, object]:
        content = repository.files.get(path)
        api = f"{self.url}/repos/{repository.full_name}/contents/{path}"
        web = f"{self.url}/{repository.full_name}/blob/main/{path}"
        git = f"{self.url}/repos/{repository.full_name}/git/blobs/{_sha(path)}"
        shown: dict[str, object] = {
            "type": "file" if content is not None else "dir",
            "size": len(content or b""),
            "name": path.rpartition("/")[2],
            "path": path,
            "sha": _blob_sha(content) if content is not None else _sha(path),
            "url": api,
            "git_url": git,
            "html_url": web,
            "download_url": f"{self.url}/{repository.full_name}/raw/main/{path}" if content is not None else None,
            "_links": {"self": api, "git": git, "html": web},
        }
        if whole and content is not None:
            shown |= {"encoding": "base64", "content": base64.encodebytes(content).decode()}
        return shown

    def _show_commit(self, repository: Repository, message: str) -> dict[str, object]:
        sha = _sha(f"{repository.full_name}:{repository.commits}")
        person = {"name": "motet-bot", "email": "bot@example.test", "date": self._stamp()}
        return {
            "sha": sha,
            "node_id": f"C_{sha}",
            "url": f"{self.url}/repos/{repository.full_name}/git/commits/{sha}",
            "html_url": f"{self.url}/{repository.full_name}/commit/{sha}",
            "author": person,
            "committer": person,
            "message": message,
            "tree": {"sha": _sha(f"tree:{sha}"), "url": f"{self.url}/repos/{repository.full_name}/git/trees/{sha}"},
            "parents": [],
            "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None},
        }

    def _show_hit(self, repository: Repository, path: str) -> dict[str, object]:
        shown = self._show_file(repository, path, whole=False)
        kept = {name: shown[name] for name in ("name", "path", "sha", "url", "git_url", "html_url")}
        return {**kept, "repository": self._minimal_repository(repository), "score": 1.0}


def _sha(of: str) -> str:
    return hashlib.sha1(of.encode(), usedforsecurity=False).hexdigest()


def _blob_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _number_for(of: str) -> int:
    return int(_sha(of)[:7], 16)


def _terms(query: str) -> tuple[list[str], dict[str, str]]:
    words: list[str] = []
    narrowed: dict[str, str] = {}
    for part in query.split():
        name, colon, value = part.partition(":")
        if colon and name in ("repo", "org", "user", "is", "state", "type", "path", "language"):
            narrowed[name] = value
        else:
            words.append(part.strip('"'))
    return words, narrowed


def repository_from(found: Mapping[str, object]) -> Repository:
    """A repository as a seed file writes it: `full_name`, `issues`, `pulls`, `releases`, `labels`, `files`.

    Raises Refused: 422, a field is not of its type.
    """
    owner, _, name = text(found, "full_name").partition("/")
    repository = Repository(owner, name, text(found, "description"))
    repository.labels = dict.fromkeys(texts(found, "labels"), "ededed")
    repository.files = {path: content.encode() for path, content in strings(found, "files").items()}
    stamp = "2026-11-02T09:00:00Z"
    for id, (tag, published) in enumerate(strings(found, "releases").items(), start=1):  # noqa: A001 - GitHub's word
        repository.releases.append(Release(id, tag, f"Release {tag}", f"What is new in {tag}.", published))
    for title, body in strings(found, "issues").items():
        n = len(repository.issues) + 1
        repository.issues[n] = Issue(n, title, body, "ada", stamp, stamp)
    for title, branch in strings(found, "pulls").items():
        n = len(repository.issues) + 1
        pull = Pull(branch, "main", files=list(repository.files)[:2])
        repository.issues[n] = Issue(n, title, f"See {title}.", "grace", stamp, stamp, pull=pull)
    return repository
