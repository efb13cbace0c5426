"""What the playground's GitHub holds, and how GitHub shows it: each answer in the full shape of its document."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from motet_servers.playground.http import strings, text, texts


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


class Shapes:
    """Answers in GitHub's full shape; every address in them starts with `url`."""

    def __init__(self) -> None:
        self.url = "http://127.0.0.1"

    def user(self, login: str) -> dict[str, object]:
        """A person or bot."""
        api, web = f"{self.url}/users/{login}", f"{self.url}/{login}"
        return {
            "login": login,
            "id": number_for(login),
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

    def repository(self, repository: Repository) -> dict[str, object]:
        """A repository in full."""
        stamp = "2026-01-01T00:00:00Z"
        open_issues = sum(issue.state == "open" for issue in repository.issues.values())
        return {
            **self.minimal_repository(repository),
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

    def minimal_repository(self, repository: Repository) -> dict[str, object]:
        """A repository as search shows it."""
        api = f"{self.url}/repos/{repository.full_name}"
        plain = (
            "archive assignees blobs branches collaborators comments commits compare contents contributors"
            " deployments downloads events forks git_commits git_refs git_tags hooks issue_comment"
            " issue_events issues keys labels languages merges milestones notifications pulls releases"
            " stargazers statuses subscribers subscription tags teams trees"
        )
        return {
            "id": number_for(repository.full_name),
            "node_id": f"R_{number_for(repository.full_name)}",
            "name": repository.name,
            "full_name": repository.full_name,
            "owner": self.user(repository.owner),
            "private": True,
            "html_url": f"{self.url}/{repository.full_name}",
            "description": repository.description,
            "fork": False,
            "url": api,
            **{f"{name}_url": f"{api}/{name}" for name in plain.split()},
        }

    def issue(self, repository: Repository, issue: Issue) -> dict[str, object]:
        """An issue, or the issue half of a pull request."""
        api = f"{self.url}/repos/{repository.full_name}/issues/{issue.number}"
        web = f"{self.url}/{repository.full_name}/{'pull' if issue.pull else 'issues'}/{issue.number}"
        shown: dict[str, object] = {
            "id": number_for(api),
            "node_id": f"I_{number_for(api)}",
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
            "user": self.user(issue.user),
            "labels": [self.label(repository, name) for name in issue.labels],
            "assignee": self.user(issue.assignees[0]) if issue.assignees else None,
            "assignees": [self.user(login) for login in issue.assignees],
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

    def comment(self, repository: Repository, issue: Issue, comment: Comment) -> dict[str, object]:
        """A comment."""
        api = f"{self.url}/repos/{repository.full_name}/issues"
        return {
            "id": comment.id,
            "node_id": f"IC_{comment.id}",
            "url": f"{api}/comments/{comment.id}",
            "html_url": f"{self.url}/{repository.full_name}/issues/{issue.number}#issuecomment-{comment.id}",
            "issue_url": f"{api}/{issue.number}",
            "body": comment.body,
            "user": self.user(comment.user),
            "created_at": comment.created_at,
            "updated_at": comment.updated_at,
            "author_association": "CONTRIBUTOR",
        }

    def label(self, repository: Repository, name: str) -> dict[str, object]:
        """A label."""
        url = f"{self.url}/repos/{repository.full_name}/labels/{name}"
        return {
            "id": number_for(url),
            "node_id": f"LA_{number_for(url)}",
            "url": url,
            "name": name,
            "color": repository.labels.get(name, "ededed"),
            "default": False,
            "description": None,
        }

    def pull(self, repository: Repository, issue: Issue) -> dict[str, object]:
        """A pull request as lists show it."""
        pull = issue.pull or Pull("", "")
        api = f"{self.url}/repos/{repository.full_name}/pulls/{issue.number}"
        issue_api = f"{self.url}/repos/{repository.full_name}/issues/{issue.number}"
        web = f"{self.url}/{repository.full_name}/pull/{issue.number}"
        head_sha = sha_of(f"{repository.full_name}:{pull.head}")
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
        whole = self.issue(repository, issue)
        kept = "number state title body user labels assignee assignees milestone locked active_lock_reason created_at"
        kept += " updated_at closed_at author_association"
        return {
            **{name: whole[name] for name in kept.split()},
            "id": number_for(api),
            "node_id": f"PR_{number_for(api)}",
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
            "head": self.branch(repository, pull.head),
            "base": self.branch(repository, pull.base),
            "_links": {name: {"href": href} for name, href in links.items()},
        }

    def whole_pull(self, repository: Repository, issue: Issue) -> dict[str, object]:
        """A pull request alone."""
        pull = issue.pull or Pull("", "")
        return {
            **self.pull(repository, issue),
            "merged": pull.merged_at is not None,
            "mergeable": None if pull.merged_at else not pull.draft,
            "mergeable_state": "draft" if pull.draft else "clean",
            "merged_by": self.user("motet-bot") if pull.merged_at else None,
            "comments": len(issue.comments),
            "review_comments": 0,
            "maintainer_can_modify": False,
            "commits": 1,
            "additions": 3,
            "deletions": 1,
            "changed_files": len(pull.files),
        }

    def branch(self, repository: Repository, name: str) -> dict[str, object]:
        """One end of a pull request."""
        return {
            "label": f"{repository.owner}:{name}",
            "ref": name,
            "sha": sha_of(f"{repository.full_name}:{name}"),
            "user": self.user(repository.owner),
            "repo": self.repository(repository),
        }

    def changed(self, repository: Repository, path: str) -> dict[str, object]:
        """A file a pull request changes."""
        api = f"{self.url}/repos/{repository.full_name}"
        return {
            "sha": sha_of(path),
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

    def release(self, repository: Repository, release: Release) -> dict[str, object]:
        """A release."""
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
            "author": self.user("motet-bot"),
            "assets": [],
        }

    def file(self, repository: Repository, path: str, *, whole: bool) -> dict[str, object]:
        """A file or directory; `whole` with its content."""
        content = repository.files.get(path)
        api = f"{self.url}/repos/{repository.full_name}/contents/{path}"
        web = f"{self.url}/{repository.full_name}/blob/main/{path}"
        git = f"{self.url}/repos/{repository.full_name}/git/blobs/{sha_of(path)}"
        shown: dict[str, object] = {
            "type": "file" if content is not None else "dir",
            "size": len(content or b""),
            "name": path.rpartition("/")[2],
            "path": path,
            "sha": blob_sha(content) if content is not None else sha_of(path),
            "url": api,
            "git_url": git,
            "html_url": web,
            "download_url": f"{self.url}/{repository.full_name}/raw/main/{path}" if content is not None else None,
            "_links": {"self": api, "git": git, "html": web},
        }
        if whole and content is not None:
            shown |= {"encoding": "base64", "content": base64.encodebytes(content).decode()}
        return shown

    def commit(self, repository: Repository, message: str, stamp: str) -> dict[str, object]:
        """The commit that a write made."""
        sha = sha_of(f"{repository.full_name}:{repository.commits}")
        person = {"name": "motet-bot", "email": "bot@example.test", "date": stamp}
        return {
            "sha": sha,
            "node_id": f"C_{sha}",
            "url": f"{self.url}/repos/{repository.full_name}/git/commits/{sha}",
            "html_url": f"{self.url}/{repository.full_name}/commit/{sha}",
            "author": person,
            "committer": person,
            "message": message,
            "tree": {"sha": sha_of(f"tree:{sha}"), "url": f"{self.url}/repos/{repository.full_name}/git/trees/{sha}"},
            "parents": [],
            "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None},
        }

    def hit(self, repository: Repository, path: str) -> dict[str, object]:
        """A file found."""
        shown = self.file(repository, path, whole=False)
        kept = {name: shown[name] for name in ("name", "path", "sha", "url", "git_url", "html_url")}
        return {**kept, "repository": self.minimal_repository(repository), "score": 1.0}


def sha_of(of: str) -> str:
    """A stable commit or object id for a text."""
    return hashlib.sha1(of.encode(), usedforsecurity=False).hexdigest()


def blob_sha(content: bytes) -> str:
    """The id git gives this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def number_for(of: str) -> int:
    """A stable number for a text."""
    return int(sha_of(of)[:7], 16)


def repository_from(found: Mapping[str, object]) -> Repository:
    """A repository as a seed file writes it: `full_name`, `issues`, `pulls`, `releases`, `labels`, `files`.

    Raises Refused: 422, a field is not of its type.
    """
    owner, _, name = text(found, "full_name").partition("/")
    repository = Repository(owner, name, text(found, "description"))
    repository.labels = dict.fromkeys(texts(found, "labels"), "ededed")
    repository.files = {path: content.encode() for path, content in strings(found, "files").items()}
    stamp = "2026-11-02T09:00:00Z"
    for ident, (tag, published) in enumerate(strings(found, "releases").items(), start=1):
        repository.releases.append(Release(ident, tag, f"Release {tag}", f"What is new in {tag}.", published))
    for title, body in strings(found, "issues").items():
        n = len(repository.issues) + 1
        repository.issues[n] = Issue(n, title, body, "ada", stamp, stamp)
    for title, branch in strings(found, "pulls").items():
        n = len(repository.issues) + 1
        pull = Pull(branch, "main", files=list(repository.files)[:2])
        repository.issues[n] = Issue(n, title, f"See {title}.", "grace", stamp, stamp, pull=pull)
    return repository
