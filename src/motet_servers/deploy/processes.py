"""A target's processes: started, remembered, asked for their health, ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio

from motet_servers.deploy.host import Host, Service, http_get
from motet_servers.deploy.targets import Target
from motet_servers.kit.errors import DomainError, InvalidInput, Unavailable

PROBE = 2.0
"""Seconds one health request may take."""
BETWEEN = 0.05
START_WITHIN = 60.0
LOG_SHOWN = 800


@dataclass(frozen=True, slots=True)
class Health:
    """What a health check found."""

    ok: bool
    reason: str | None = None
    status: int | None = None
    body: str | None = None
    final: bool = False
    """Will a process of its own not answer otherwise, however long it is waited for?"""


class Failed(DomainError):
    """A step after the switch failed; everything is taken back."""

    kind = "failed"

    def __init__(self, message: str, health: Health | None = None) -> None:
        super().__init__(message)
        self.health = health or Health(ok=False, reason=message)


class Processes:
    """The processes of one target."""

    def __init__(self, target: Target, host: Host) -> None:
        self.target = target
        self.host = host

    async def start(self, version: str, *, keep: Sequence[Service]) -> Service | None:
        """Start a release and remember it beside `keep`; None when the target starts nothing."""
        if not self.target.service:
            return None
        argv = await self._command(version)
        port = self.target.port or await self.host.free_port()
        env = self.environment(version) | {"PORT": str(port), "HOST": "127.0.0.1"}
        with anyio.fail_after(START_WITHIN, shield=True):  # a started process must not be lost to a cancelled call
            pid, identity = await self.host.start(argv, cwd=f"releases/{version}", env=env, log=f"logs/{version}.log")
            service = Service(pid, identity, port, version)
            await self.remember([*keep, service])
        return service

    async def _command(self, version: str) -> list[str]:
        if self.target.start is not None:
            return list(self.target.start)
        if await self.host.has(f"releases/{version}/app.py"):
            return [self.target.python, "app.py"]
        if await self.host.has(f"releases/{version}/run"):
            return ["./run"]
        raise InvalidInput(
            f"release {version} has neither app.py nor run; say how to start it with `start` in the targets file, "
            "or set `service: false` if something else serves it."
        )

    def environment(self, version: str) -> dict[str, str]:
        """What a release and its hooks are given."""
        return self.target.environment | {"RELEASE_VERSION": version, "ENVIRONMENT": self.target.name}

    async def remember(self, services: Sequence[Service]) -> None:
        """Write down which processes there are."""
        await self.host.write("services.json", json.dumps([asdict(service) for service in services]))

    async def stop_all(self, services: Sequence[Service], but: Service | None = None) -> None:
        """End these processes; `but` is what remains."""
        for service in services:
            await self.host.stop(service, grace=self.target.grace)
        if services or but is not None:
            await self.remember([] if but is None else [but])

    async def alive(self, version: str | None, services: Sequence[Service]) -> Service | None:
        """That version's process, if it runs."""
        for service in reversed(services):
            if service.version == version and await self.host.alive(service):
                return service
        return None

    async def running(self, version: str | None, services: Sequence[Service]) -> bool:
        """Does that version's process run, or need none to?"""
        return not self.target.service or await self.alive(version, services) is not None

    async def healthy(self, version: str, service: Service | None) -> Health:
        """Wait until it answers well; Failed when it ends or the time is over."""
        port = self.port(service)
        if port is None:
            return Health(ok=True)
        last = Health(ok=False, reason="it never answered")
        try:
            async with asyncio.timeout(self.target.health.timeout):
                while not last.ok:
                    if service is not None and not await self.host.alive(service):
                        last = Health(ok=False, reason="its process ended")
                        break
                    last = await self.probe(version, port)
                    if last.final and service is not None:
                        break
                    if not last.ok:
                        await asyncio.sleep(BETWEEN)
        except TimeoutError:
            waited = f"not healthy within {self.target.health.timeout:g} s: {last.reason}"
            last = replace(last, reason=waited)
        if last.ok:
            return last
        reason = f"{version}: {last.reason}. {await self._log_tail(version)}".strip()
        raise Failed(reason, replace(last, reason=reason))

    async def probe(self, version: str, port: int | None) -> Health:
        """One health request."""
        if port is None:
            return Health(ok=True)
        expected = self.target.health
        try:
            async with asyncio.timeout(PROBE):
                status, body = await http_get(self.host, port, expected.path)
        except TimeoutError:
            return Health(ok=False, reason=f"{expected.path} did not answer within {PROBE:g} s")
        except Unavailable as error:
            return Health(ok=False, reason=str(error))
        shown = body[:LOG_SHOWN]
        if status != expected.status:
            return Health(ok=False, reason=f"{expected.path} answered {status}", status=status, body=shown)
        answers_as = _version_in(body)
        if answers_as is not None and answers_as.lstrip("v") != version.lstrip("v"):
            return Health(ok=False, reason=f"it answers as version {answers_as}", status=status, body=shown, final=True)
        return Health(ok=True, status=status, body=shown)

    async def _log_tail(self, version: str) -> str:
        log = await self.host.read(f"logs/{version}.log") if self.target.service else None
        return f"Its log ends: {log.strip()[-LOG_SHOWN:]}" if log and log.strip() else ""

    def port(self, service: Service | None) -> int | None:
        """The port to ask; None when there is nothing to ask."""
        return service.port if service is not None else self.target.health_url_port

    def url(self, service: Service | None) -> str | None:
        """Where it answers, on the target's loopback."""
        port = self.port(service)
        return None if port is None else f"http://127.0.0.1:{port}"


def _version_in(body: str) -> str | None:
    """The version a JSON health answer names, if it does."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    version = answer.get("version") if isinstance(answer, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON from outside
    return version if isinstance(version, str) else None
