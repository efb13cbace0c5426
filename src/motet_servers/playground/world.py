"""The playground's world: what is there at the start, and all four vendors put together over it."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from motet_servers.playground import caldav, github, github_shapes, jira, jira_shapes, slack
from motet_servers.playground.http import HttpServer, Refused, Request, Response, json_response, objects, strings
from motet_servers.playground.trouble import Troubled, trouble_from

PEOPLE = {"ada": "Ada Lovelace", "grace": "Grace Hopper", "guido": "Guido of Arezzo"}

SEED: Mapping[str, object] = {
    "people": PEOPLE,
    "repositories": [
        {
            "full_name": "acme/app",
            "description": "The app everybody deploys.",
            "labels": ["bug", "enhancement", "release"],
            "releases": {"v2.0.0": "2026-09-01T10:00:00Z", "v2.1.0": "2026-11-16T10:00:00Z"},
            "issues": {"Login page loads slowly": "It takes four seconds on a cold cache."},
            "pulls": {"Cache the session lookup": "session-cache", "Say which version answers": "version-header"},
            "files": {
                "README.md": "# app\n\nA little web service.\n",
                "src/app.py": "def health() -> str:\n    return 'ok'\n",
                "docs/deploy.md": "Deploy with care.\n",
            },
        }
    ],
    "projects": [
        {"key": "PROJ", "name": "Project", "sprint": "Sprint 7"},
        {"key": "JIRA", "name": "Customer requests"},
    ],
    "issues": [
        {
            "key": "PROJ-41",
            "summary": "Show the version in the footer",
            "status": "In Progress",
            "assignee": "grace",
            "in_sprint": True,
        },
        {
            "key": "PROJ-42",
            "summary": "Session lookup is too slow",
            "description": "Cache it, then release.",
            "status": "In Review",
            "type": "Bug",
            "priority": "High",
            "assignee": "ada",
            "in_sprint": True,
        },
        {"key": "PROJ-43", "summary": "Write the release notes", "in_sprint": True},
        {
            "key": "JIRA-1234",
            "summary": "Export reports as CSV",
            "description": "Customers ask for *CSV* beside PDF.",
            "type": "Story",
            "labels": ["customer"],
        },
    ],
    "channels": [
        {"name": "general", "topic": "Everything"},
        {"name": "releases", "topic": "What went out", "messages": {"1788253200.000100": "v2.0.0 is out"}},
    ],
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The tokens of this start; they exist nowhere else."""

    github: str
    jira: str
    slack: str
    calendar: str
    control: str

    @classmethod
    def fresh(cls) -> Credentials:
        def random() -> str:
            return secrets.token_hex(20)

        return cls(f"ghp_{random()}", random(), f"xoxb-{random()}", random(), random())


class Playground:
    """All vendors on their ports, and the control server beside them.

    Use it as a context manager; `environment()` says where everything is.
    """

    def __init__(
        self, seed: Mapping[str, object] = SEED, *, port: int = 0, credentials: Credentials | None = None
    ) -> None:
        """Builds the world.

        `seed`: what is there at the start; the parts left out are empty.
        `port`: first of five consecutive ports; 0 lets the system choose each.
        `credentials`: fixed ones, for tests.

        Raises Refused: the seed is malformed; the message says where.
        """
        self._seed = seed
        self.credentials = credentials or Credentials.fresh()
        self._build()
        ports = range(port, port + 5) if port else [0] * 5
        self._control = HttpServer(self._answer_control, port=ports[0])
        self._servers = {
            name: HttpServer(self._handler(name), port=each)
            for name, each in zip(self._vendors, ports[1:], strict=True)
        }

    def _handler(self, name: str) -> Troubled:
        return self._vendors[name]

    def _build(self) -> None:
        seed, keys = self._seed, self.credentials
        now = datetime.now(UTC)
        people = strings(seed, "people")
        projects = [
            jira_shapes.project_from(each, at, now) for at, each in enumerate(objects(seed, "projects"), start=1)
        ]
        by_key = {project.key: project for project in projects}
        issues = [
            jira_shapes.issue_from(each, at, by_key, now.strftime("%Y-%m-%dT%H:%M:%S.000+0000"))
            for at, each in enumerate(objects(seed, "issues"), start=10001)
        ]
        author = f"U0{next(iter(people), 'ada').upper()}"
        channels = [slack.channel_from(each, at, author) for at, each in enumerate(objects(seed, "channels"), start=1)]
        self.github = github.GitHub(
            [github_shapes.repository_from(each) for each in objects(seed, "repositories")], token=keys.github
        )
        self.jira = jira.Jira(projects, issues, people, token=keys.jira)
        self.slack = slack.Slack(channels, people, token=keys.slack)
        self.calendar = caldav.CalDav(caldav.seeded(now), username="motet", password=keys.calendar)
        self._vendors = {
            "github": Troubled(self.github),
            "jira": Troubled(self.jira),
            "slack": Troubled(self.slack),
            "calendar": Troubled(self.calendar),
        }

    async def __aenter__(self) -> Playground:
        try:
            await self._control.start()
            for server in self._servers.values():
                await server.start()
        except OSError:
            await self._stop()
            raise
        self.github.url = self._servers["github"].url
        self.jira.url = self._servers["jira"].url
        self.slack.url = self._servers["slack"].url
        self.calendar.url = self._servers["calendar"].url
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for server in (self._control, *self._servers.values()):
            await server.stop()

    @property
    def control_url(self) -> str:
        """Where trouble is ordered; the path is the secret."""
        return f"{self._control.url}/{self.credentials.control}"

    def environment(self) -> dict[str, object]:
        """Per server the variables it needs, and the control URL."""
        keys = self.credentials
        return {
            "github": {
                "GITHUB_API_URL": self.github.url,
                "GITHUB_TOKEN": keys.github,
                "GITHUB_REPOSITORY": next(iter(self.github.repositories), ""),
            },
            "jira": {"JIRA_URL": self.jira.url, "JIRA_PERSONAL_TOKEN": keys.jira},
            "slack": {"SLACK_API_URL": f"{self.slack.url}/api", "SLACK_BOT_TOKEN": keys.slack},
            "calendar": {
                "CALDAV_URL": f"{self.calendar.url}/dav/",
                "CALDAV_USERNAME": "motet",
                "CALDAV_PASSWORD": keys.calendar,
            },
            "control": self.control_url,
        }

    # Control: GET /state, GET /effects, PUT /trouble/VENDOR, DELETE /trouble

    async def _answer_control(self, request: Request) -> Response:
        start = f"/{self.credentials.control}"
        if not request.path.startswith(f"{start}/"):
            return json_response({"error": "not found"}, 404)
        match request.method, request.path.removeprefix(start).strip("/").split("/"):
            case "GET", ["state"]:
                return json_response(self.state())
            case "GET", ["effects"]:
                return json_response({name: dict(each.effects) for name, each in self._vendors.items()})
            case "PUT", ["trouble", vendor] if vendor in self._vendors:
                try:
                    await self.set_trouble(vendor, request.json())
                except Refused as refused:
                    return json_response({"error": refused.message}, refused.status)
            case "DELETE", ["trouble"]:
                for vendor in self._vendors:
                    await self.set_trouble(vendor, {})
            case _:
                return json_response({"error": "not found"}, 404)
        return Response(204)

    async def set_trouble(self, vendor: str, wanted: Mapping[str, object]) -> None:
        """Orders trouble for a vendor; an empty order lifts it.

        Raises KeyError: no such vendor.
        Refused: the order is malformed.
        OSError: it was down, and its port has been taken meanwhile.
        """
        trouble = trouble_from(wanted)
        self._vendors[vendor].trouble = trouble
        if trouble.kind == "down":
            await self._servers[vendor].stop()
        else:
            await self._servers[vendor].start()

    @property
    def effects(self) -> dict[str, dict[str, int]]:
        """Per vendor, what was done for good and how often."""
        return {name: dict(each.effects) for name, each in self._vendors.items()}

    def requests(self, vendor: str) -> int:
        """How many requests reached the vendor."""
        return self._vendors[vendor].requests

    def state(self) -> dict[str, object]:
        """Everything there is, for tests to look at; no tokens."""
        return {
            "github": {name: _plain(each) for name, each in self.github.repositories.items()},
            "jira": {name: _plain(each) for name, each in self.jira.issues.items()},
            "slack": {each.name: _plain(each) for each in self.slack.channels.values()},
            "calendar": {
                name: {file: content.decode("utf-8", "replace") for file, content in each.objects.items()}
                for name, each in self.calendar.collections.items()
            },
        }


def _plain(found: object) -> object:
    """Dataclasses, bytes and containers as JSON."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return {each.name: _plain(getattr(found, each.name)) for each in dataclasses.fields(found)}
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace")
    if isinstance(found, dict):
        return {str(key): _plain(value) for key, value in cast("dict[object, object]", found).items()}
    if isinstance(found, list | tuple):
        return [_plain(each) for each in cast("list[object]", found)]
    return found
