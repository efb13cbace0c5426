"""GitHub's REST API, as much of it as the github server uses; state in memory, answers in GitHub's full shape."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from motet_servers.playground.github_shapes import Comment, Issue, Pull, Release, Repository, Shapes, blob_sha, sha_of
from motet_servers.playground.http import (
    Refused,
    Request,
    Response,
    Router,
    json_response,
    number,
    text,
    texts,
)

_FAR_FUTURE = 4102444800


class GitHub:
    """The stand-in: a handler over repositories."""

    def __init__(
        self, repositories: list[Repository], *, token: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._shapes = Shapes()
        self.repositories = {repository.full_name.lower(): repository for repository in repositories}
        self._token = token
        self._now = now
        self._ids = 1000
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
        repo = "/repos/{owner}/{repo}"
        return [
            ("GET", "/user", self._me),
            ("GET", "/rate_limit", self._rate_limit),
            ("GET", repo, self._repository),
            ("GET", f"{repo}/issues", self._issues),
            ("POST", f"{repo}/issues", self._create_issue),
            ("GET", f"{repo}/issues/{{ident}}", self._issue),
            ("PATCH", f"{repo}/issues/{{ident}}", self._update_issue),
            ("GET", f"{repo}/issues/{{ident}}/comments", self._comments),
            ("POST", f"{repo}/issues/{{ident}}/comments", self._comment),
            ("GET", f"{repo}/issues/{{ident}}/labels", self._issue_labels),
            ("POST", f"{repo}/issues/{{ident}}/labels", self._add_labels),
            ("DELETE", f"{repo}/issues/{{ident}}/labels/{{name}}", self._remove_label),
            ("GET", f"{repo}/labels", self._labels),
            ("POST", f"{repo}/labels", self._create_label),
            ("GET", f"{repo}/pulls", self._pulls),
            ("POST", f"{repo}/pulls", self._create_pull),
            ("GET", f"{repo}/pulls/{{ident}}", self._pull),
            ("GET", f"{repo}/pulls/{{ident}}/files", self._pull_files),
            ("PUT", f"{repo}/pulls/{{ident}}/merge", self._merge),
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
        return json_response(self._shapes.user("motet-bot"))

    def _rate_limit(self, request: Request) -> Response:
        del request
        rate = {"limit": 5000, "remaining": 4999, "reset": _FAR_FUTURE, "used": 1}
        return json_response({"resources": {"core": rate, "search": rate}, "rate": rate})

    def _repository(self, request: Request, owner: str, repo: str) -> Response:
        del request
        return json_response(self._shapes.repository(self._of(owner, repo)))

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
        return self._page(request, [self._shapes.issue(repository, issue) for issue in found])

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
        return json_response(self._shapes.issue(repository, issue), 201, effect="issue.created")

    def _new_issue(self, repository: Repository, title: str, body: str) -> Issue:
        stamp = self._stamp()
        issue = Issue(max(repository.issues, default=0) + 1, title, body, "motet-bot", stamp, stamp)
        repository.issues[issue.number] = issue
        return issue

    def _issue(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        del request
        return json_response(self._shapes.issue(*self._find(owner, repo, ident)))

    def _update_issue(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        repository, issue = self._find(owner, repo, ident)
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
        return json_response(self._shapes.issue(repository, issue), effect="issue.updated")

    def _comments(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        repository, issue = self._find(owner, repo, ident)
        since = request.query.get("since", "")
        shown = [comment for comment in issue.comments if comment.updated_at >= since]
        return self._page(request, [self._shapes.comment(repository, issue, comment) for comment in shown])

    def _comment(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        repository, issue = self._find(owner, repo, ident)
        if not (body := text(request.json(), "body")).strip():
            raise Refused(
                422, "Validation Failed", errors=[{"resource": "IssueComment", "field": "body", "code": "missing"}]
            )
        comment = Comment(self._id(), body, "motet-bot", self._stamp(), self._stamp())
        issue.comments.append(comment)
        issue.updated_at = comment.created_at
        return json_response(self._shapes.comment(repository, issue, comment), 201, effect="comment.created")

    def _issue_labels(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        repository, issue = self._find(owner, repo, ident)
        return self._page(request, [self._shapes.label(repository, name) for name in issue.labels])

    def _add_labels(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        repository, issue = self._find(owner, repo, ident)
        new = [
            name
            for name in self._ensure_labels(repository, texts(request.json(), "labels"))
            if name not in issue.labels
        ]
        issue.labels += new
        return json_response(
            [self._shapes.label(repository, name) for name in issue.labels], effect="issue.labelled" if new else ""
        )

    def _remove_label(self, request: Request, owner: str, repo: str, ident: str, name: str) -> Response:
        del request
        repository, issue = self._find(owner, repo, ident)
        if name not in issue.labels:
            raise Refused(404, "Label does not exist")
        issue.labels.remove(name)
        return json_response(
            [self._shapes.label(repository, label) for label in issue.labels], effect="issue.unlabelled"
        )

    def _labels(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        return self._page(request, [self._shapes.label(repository, name) for name in repository.labels])

    def _create_label(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        body = request.json()
        name = text(body, "name")
        if name in repository.labels:
            raise Refused(
                422, "Validation Failed", errors=[{"resource": "Label", "field": "name", "code": "already_exists"}]
            )
        repository.labels[name] = text(body, "color", "ededed")
        return json_response(self._shapes.label(repository, name), 201, effect="label.created")

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
        return self._page(request, [self._shapes.pull(repository, issue) for issue in found])

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
        return json_response(self._shapes.whole_pull(repository, issue), 201, effect="pull.created")

    def _pull(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        del request
        return json_response(self._shapes.whole_pull(*self._find(owner, repo, ident, pull=True)))

    def _pull_files(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        repository, issue = self._find(owner, repo, ident, pull=True)
        names = issue.pull.files if issue.pull is not None else []
        return self._page(request, [self._shapes.changed(repository, name) for name in names])

    def _merge(self, request: Request, owner: str, repo: str, ident: str) -> Response:
        repository, issue = self._find(owner, repo, ident, pull=True)
        body = request.json()
        if issue.pull is None or issue.state != "open" or issue.pull.draft:
            raise Refused(405, "Pull Request is not mergeable")
        if (sha := text(body, "sha")) and sha != sha_of(f"{repository.full_name}:{issue.pull.head}"):
            raise Refused(409, "Head branch was modified. Review and try the merge again.")
        issue.pull.merge_sha = sha_of(f"{repository.full_name}:merge:{issue.number}")
        issue.state, issue.closed_at, issue.pull.merged_at = "closed", self._stamp(), self._stamp()
        repository.commits += 1
        return json_response(
            {"sha": issue.pull.merge_sha, "merged": True, "message": "Pull Request successfully merged"},
            effect="pull.merged",
        )

    def _releases(self, request: Request, owner: str, repo: str) -> Response:
        repository = self._of(owner, repo)
        newest = sorted(repository.releases, key=lambda release: release.published_at, reverse=True)
        return self._page(request, [self._shapes.release(repository, release) for release in newest])

    def _latest_release(self, request: Request, owner: str, repo: str) -> Response:
        del request
        repository = self._of(owner, repo)
        out = [release for release in repository.releases if not release.draft and not release.prerelease]
        if not out:
            raise Refused(404, "Not Found")
        return json_response(self._shapes.release(repository, max(out, key=lambda release: release.published_at)))

    def _release_by_tag(self, request: Request, owner: str, repo: str, tag: str) -> Response:
        del request
        repository = self._of(owner, repo)
        for release in repository.releases:
            if release.tag == tag:
                return json_response(self._shapes.release(repository, release))
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
        return json_response(self._shapes.release(repository, release), 201, effect="release.created")

    def _contents(self, request: Request, owner: str, repo: str, path: str = "") -> Response:
        del request
        repository = self._of(owner, repo)
        path = path.strip("/")
        if path in repository.files:
            return json_response(self._shapes.file(repository, path, whole=True))
        prefix = f"{path}/" if path else ""
        inside = {name.removeprefix(prefix).split("/")[0] for name in repository.files if name.startswith(prefix)}
        if not inside:
            raise Refused(404, "Not Found")
        return json_response([self._shapes.file(repository, prefix + name, whole=False) for name in sorted(inside)])

    def _put_contents(self, request: Request, owner: str, repo: str, path: str) -> Response:
        repository = self._of(owner, repo)
        body = request.json()
        try:
            content = base64.b64decode(text(body, "content"), validate=False)
        except ValueError as error:
            raise Refused(422, "content is not valid Base64") from error
        old = repository.files.get(path)
        if old is not None and text(body, "sha") != blob_sha(old):
            status = 409 if body.get("sha") else 422
            raise Refused(
                status, f"{path} does not match" if status == 409 else 'Invalid request.\n\n"sha" wasn\'t supplied.'
            )
        repository.files[path] = content
        repository.commits += 1
        answer = {
            "content": self._shapes.file(repository, path, whole=False),
            "commit": self._shapes.commit(repository, text(body, "message"), self._stamp()),
        }
        return json_response(answer, 200 if old is not None else 201, effect="file.written")

    def _search_code(self, request: Request) -> Response:
        words, narrowed = _terms(request.query.get("q", ""))
        found: list[object] = []
        for repository in self._narrowed(narrowed):
            for path, content in repository.files.items():
                if all(word.lower() in content.decode("utf-8", "replace").lower() for word in words):
                    found.append(self._shapes.hit(repository, path))
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
                    found.append({**self._shapes.issue(repository, issue), "score": 1.0})
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


def _terms(query: str) -> tuple[list[str], dict[str, str]]:
    words: list[str] = []
    narrowed: dict[str, str] = {}
    for part in query.split():
        name, colon, value = part.partition(":")
        if colon and name in ("repo", "org", "user", "is", "state", "type", "path", "language"):
            narrowed.setdefault(name, value)
        else:
            words.append(part.strip('"'))
    return words, narrowed
