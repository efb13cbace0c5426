"""Deployments to one target, in the order that keeps it serving.

    lock → remembered answer? → install and verify → before hook → switch → start → check → after hook → stop the old
                                                                   └── any failure: stop the new, switch back, start the
                                                                       old again where it had to be stopped

The switch is one rename of the `current` link. With a port of its own for every release (`port: 0`), the old process
serves until the new one is healthy; with a fixed port it has to go first and comes back on failure. A cancelled call is
taken back the same way.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import anyio

from motet_servers.deploy import artifacts, journal
from motet_servers.deploy.host import Host, Service
from motet_servers.deploy.journal import Journal
from motet_servers.deploy.model import (
    Check,
    Deployment,
    Event,
    History,
    Plan,
    Pruned,
    Releases,
    Status,
    Stopped,
    TargetInfo,
)
from motet_servers.deploy.processes import LOG_SHOWN, Failed, Health, Processes
from motet_servers.deploy.targets import Target
from motet_servers.kit import idempotency
from motet_servers.kit.errors import Conflict, DomainError, NotFound, Refused
from motet_servers.kit.progress import note
from motet_servers.kit.threads import Stop, in_thread

LOCK_WAIT = 30.0
TAKE_BACK = 60.0
Operation = Literal["deploy", "rollback", "promote"]


@dataclass(frozen=True, slots=True)
class Here:
    """How a target is at the beginning of an operation."""

    journal: Journal
    current: str | None
    """What is current; of an interrupted operation that is taken up again, what was when it began."""
    history: tuple[str, ...]
    services: tuple[Service, ...]
    resumed: bool = False
    """Is an interrupted operation taken up again?"""


class Deployer:
    """Everything that can be done to one target."""

    def __init__(self, target: Target, host: Host) -> None:
        self.target = target
        self.host = host
        self.processes = Processes(target, host)

    # -- changing ----------------------------------------------------------------------------------------------------

    async def deploy(
        self, version: str, *, checksum: str | None, key: str | None, operation: Operation = "deploy"
    ) -> Deployment:
        """Make the version current and healthy, or leave everything as it was."""
        artifact = artifacts.find(self.target.artifacts, version)
        async with self._operation(operation, version, key=key, arguments=[version, checksum]) as (here, begin):
            if begin.answer is not None:
                return begin.answer
            if (
                not here.resumed
                and here.current == version
                and await self.processes.running(here.current, here.services)
            ):
                return await self._unchanged(here, begin)
            await note(1, 5, f"installing {version}")
            await begin.write()
            try:
                digest = await self._install(version, artifact, checksum)
                await note(2, 5, "running the before hook")
                await self._hook("before", version)
            except DomainError as error:
                return await self._finish(
                    here, begin, "failed", here.current, Health(ok=False, reason=str(error)), taken_back=False
                )
            status: Status = "restarted" if here.current == version else "deployed"
            return await self._change(here, begin, version, status=status, checksum=digest, back=False)

    async def rollback(self, to: str | None, *, key: str | None) -> Deployment:
        """Go back to `to`, or to the previous version; with none, withdraw."""
        if to is not None:
            artifacts.checked_version(to)
        async with self._operation("rollback", to, key=key, arguments=[to]) as (here, begin):
            if begin.answer is not None:
                return begin.answer
            destination = to if to is not None else (here.history[-1] if here.history else None)
            if (
                not here.resumed
                and here.current == destination
                and (destination is None or await self.processes.running(here.current, here.services))
            ):
                return await self._unchanged(here, begin)
            if destination is None:
                await begin.write()
                return await self._withdraw(here, begin)
            if not await self.host.has(f"releases/{destination}"):
                installed = ", ".join(await self._installed()) or "none"
                raise NotFound(f"release {destination} is not on {self.target.name}; there: {installed}. Deploy it.")
            await begin.write()
            return await self._change(here, begin, destination, status="rolled_back", checksum=None, back=True)

    async def stop(self) -> Stopped:
        """End the running process; the release stays current and `deploy` of it starts it again."""
        async with self.host.lock(LOCK_WAIT):
            here = await self._here()
            running = [service for service in here.services if await self.host.alive(service)]
            await self.processes.stop_all(here.services)
            return Stopped(self.target.name, here.current, _last(here.history), stopped=bool(running))

    async def prune(self, keep: int | None) -> Pruned:
        """Remove old releases: never the current one, the previous one, or the newest `keep`."""
        async with self.host.lock(LOCK_WAIT):
            here = await self._here()
            installed = sorted(await self._installed(), key=artifacts.version_order)
            kept = {*installed[-(keep or self.target.keep) :], here.current, _last(here.history)}
            removed = [version for version in installed if version not in kept]
            for number, version in enumerate(removed):
                await note(number, len(removed), f"removing {version}")
                await self.host.remove(f"releases/{version}")
                await self.host.remove(_record(version))
            for leftover in await self.host.names("releases"):
                if leftover.startswith("."):
                    await self.host.remove(f"releases/{leftover}")
            remaining = [version for version in installed if version not in removed]
            return Pruned(self.target.name, here.current, _last(here.history), removed, remaining)

    # -- looking -----------------------------------------------------------------------------------------------------

    async def check(self) -> Check:
        """One look at the target: is what is current running and well?"""
        here = await self._here()
        service = await self.processes.alive(here.current, here.services)
        if here.current is None:
            health = Health(ok=False, reason="nothing is deployed")
        elif self.target.service and service is None:
            health = Health(ok=False, reason=f"{here.current} is current but its process is not running")
        else:
            health = await self.processes.probe(here.current, self.processes.port(service))
        return Check(
            env=self.target.name,
            healthy=health.ok,
            version=here.current,
            previous=_last(here.history),
            running=service is not None,
            url=self.processes.url(service),
            health_status=health.status,
            health_body=health.body,
            reason=health.reason,
        )

    async def plan(self, version: str) -> Plan:
        """What `deploy` would do."""
        here = await self._here()
        problems: list[str] = []
        digest: str | None = None
        try:
            artifact = artifacts.find(self.target.artifacts, version)
            digest = await in_thread(lambda stop: _measured(artifact, version, stop), "files looked at")
        except DomainError as error:
            problems.append(str(error))
        installed = await self.host.has(f"releases/{version}")
        if installed and digest is not None:
            there = await self._recorded(version)
            if there != digest:
                problems.append(f"release {version} is on the target with other content (checksum {there})")
        return Plan(
            env=self.target.name,
            version=version,
            current=here.current,
            previous=_last(here.history),
            checksum=digest,
            installed=installed,
            steps=self._steps(here, version, installed=installed),
            problems=problems,
            ready=not problems,
        )

    def _steps(self, here: Here, version: str, *, installed: bool) -> list[str]:
        target = self.target
        if here.current == version:
            return [f"nothing to switch: {version} is current; start it if it is not running, and check"]
        fixed = bool(target.port) and here.current is not None
        steps = [
            None if installed else f"copy {version} to releases/{version} and verify its checksum",
            f"run {target.hooks.before[0]} (before)" if target.hooks.before else None,
            f"stop {here.current}, which holds port {target.port}" if target.service and fixed else None,
            f"switch current from {here.current or 'nothing'} to {version}",
            "start it" if target.service else None,
            f"wait up to {target.health.timeout:g} s for {target.health.status} from {target.health.path}",
            f"run {target.hooks.after[0]} (after)" if target.hooks.after else None,
            f"stop {here.current}" if target.service and here.current and not fixed else None,
        ]
        return [step for step in steps if step]

    async def releases(self) -> Releases:
        """What can be deployed, and what is on the target."""
        here = await self._here()
        there = await asyncio.to_thread(artifacts.available, self.target.artifacts)
        installed = sorted(await self._installed(), key=artifacts.version_order)
        return Releases(self.target.name, here.current, _last(here.history), there, installed, _last(tuple(there)))

    async def history(self, *, offset: int, limit: int) -> tuple[History, bool]:
        """A page of past operations, newest first, and whether there are more."""
        here = await self._here()
        events: list[Event] = here.journal.events()
        page = events[offset : offset + limit]
        more = len(events) > offset + limit
        return History(self.target.name, here.current, _last(here.history), page, None), more

    async def info(self) -> TargetInfo:
        """The target in a list of targets; one that cannot be reached says why and costs only itself."""
        ssh = self.target.ssh
        current: str | None = None
        previous: str | None = None
        reason: str | None = None
        try:
            here = await self._here()
            current, previous = here.current, _last(here.history)
        except DomainError as error:
            reason = str(error)
        return TargetInfo(
            env=self.target.name,
            kind="local" if ssh is None else "ssh",
            host="localhost" if ssh is None else ssh.host,
            version=current,
            previous=previous,
            promote_from=self.target.promote_from,
            reason=reason,
        )

    async def signature(self) -> str:
        """Something that differs when an operation has begun or ended, or what is current is another."""
        here = await self._here()
        finished = [*here.journal.finished][-1:]
        services = [service.identity for service in here.services]
        return json.dumps([here.current, here.journal.open, finished, services, await self.host.names("releases")])

    # -- steps -------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _operation(
        self, operation: Operation, requested: str | None, *, key: str | None, arguments: list[Any]
    ) -> AsyncGenerator[tuple[Here, Begun]]:
        env = self.target.name
        operation_id = secrets.token_hex(16) if key is None else idempotency.mark(f"deploy/{env}", operation, key)
        fingerprint = idempotency.fingerprint([operation, *arguments])
        async with self.host.lock(LOCK_WAIT):
            here = await self._here()
            remembered = here.journal.answer(operation_id, fingerprint)
            died = here.journal.interrupted(operation_id)
            if died is not None:
                began: str | None = died["current"]
                here = replace(here, current=began, history=here.journal.history(began), resumed=True)
            answer = None if remembered is None else replace(Deployment(**remembered), repeated=True)
            line = journal.started(
                operation_id, operation, requested, fingerprint=fingerprint, current=here.current, at=_now()
            )
            yield here, Begun(operation_id, requested, line, self.host, answer)

    async def _here(self) -> Here:
        current = await self.host.link()
        told = journal.replay(await self.host.read("journal.jsonl") or "")
        services = tuple(Service(**item) for item in json.loads(await self.host.read("services.json") or "[]"))
        return Here(told, current, told.history(current), services)

    async def _install(self, version: str, artifact: Path, expected: str | None) -> str:
        path = f"releases/{version}"
        staged = await in_thread(lambda stop: artifacts.stage(artifact, stop))
        digest = staged.checksum
        try:
            for source, wanted in (("checksum", expected), ("its .sha256 file", artifacts.promised(artifact, version))):
                if wanted is not None and wanted.lower() != digest:
                    raise Refused(f"release {version} has checksum {digest}, not the one in {source} ({wanted}).")
            if not await self.host.has(path):
                await self.host.remove(_record(version))
                await self.host.put(staged.tree, path)
        finally:
            with anyio.move_on_after(TAKE_BACK, shield=True):
                await asyncio.to_thread(staged.close)
        there = await self._recorded(version)
        if there != digest:
            raise Conflict(
                f"releases/{version} on {self.target.name} has other content (checksum {there}) than the artifact "
                f"({digest}). Releases never change: give the new content a new version."
            )
        await self.host.write(_record(version), digest)
        return digest

    async def _recorded(self, version: str) -> str:
        """The checksum a release had when it was put there (hooks and caches may add files later)."""
        known = await self.host.read(_record(version))
        return known or artifacts.checksum(await self.host.checksum_lines(f"releases/{version}"))

    async def _hook(self, name: Literal["before", "after"], version: str) -> None:
        argv = self.target.hooks.before if name == "before" else self.target.hooks.after
        if argv is None:
            return
        cwd = f"releases/{version}"
        ran = await self.host.run(
            argv, cwd=cwd, env=self.processes.environment(version), within=self.target.hooks.timeout
        )
        if ran.code != 0:
            raise Failed(f"the {name} hook {argv[0]} failed with {ran.code}: {ran.output.strip()[-LOG_SHOWN:]}")

    async def _change(
        self, here: Here, begin: Begun, to: str, *, status: Status, checksum: str | None, back: bool
    ) -> Deployment:
        old = await self.processes.alive(here.current, here.services)
        new: Service | None = None
        try:
            if self.target.port:
                for service in here.services:
                    await self.host.stop(service, grace=self.target.grace)
            await note(3, 5, f"switching to {to}")
            await self.host.switch(to)
            new = await self.processes.start(to, keep=() if self.target.port else here.services)
            await note(4, 5, "checking its health")
            health = await self.processes.healthy(to, new)
            await self._hook("after", to)
        except DomainError as error:
            await self._take_back(here, old, new)
            found = error.health if isinstance(error, Failed) else Health(ok=False, reason=str(error))
            return await self._finish(here, begin, "failed", here.current, found, taken_back=True)
        except BaseException:
            with anyio.move_on_after(TAKE_BACK, shield=True):  # a cancelled scope would cancel the taking back, too
                await self._take_back(here, old, new)
            raise
        await self.processes.stop_all(here.services, but=new)
        stack = journal.stack_after(here.history, current=here.current, to=to, back=back)
        await note(5, 5, "done")
        return await self._finish(
            here, begin, status, to, health, taken_back=False, stack=stack, service=new, checksum=checksum
        )

    async def _take_back(self, here: Here, old: Service | None, new: Service | None) -> None:
        if new is not None:
            await self.host.stop(new, grace=self.target.grace)
        await self.host.switch(here.current)
        remaining: list[Service] = []
        for service in here.services:  # also what an interrupted operation left running
            if service.version != here.current:
                await self.host.stop(service, grace=self.target.grace)
            elif await self.host.alive(service):
                remaining.append(service)
        if here.current is not None and (old is not None or here.resumed) and not remaining:
            again = await self.processes.start(here.current, keep=())
            with suppress(Failed):
                await self.processes.healthy(here.current, again)
        else:
            await self.processes.remember(remaining)

    async def _withdraw(self, here: Here, begin: Begun) -> Deployment:
        await self.host.switch(None)
        await self.processes.stop_all(here.services)
        health = Health(ok=True)
        return await self._finish(here, begin, "withdrawn", None, health, taken_back=False, stack=())

    async def _unchanged(self, here: Here, begin: Begun) -> Deployment:
        await begin.write()
        service = await self.processes.alive(here.current, here.services)
        health = Health(ok=True)
        if here.current is not None:
            health = await self.processes.probe(here.current, self.processes.port(service))
        return await self._finish(
            here, begin, "unchanged", here.current, health, taken_back=False, stack=here.history, service=service
        )

    async def _finish(
        self,
        here: Here,
        begin: Begun,
        status: Status,
        current: str | None,
        health: Health,
        *,
        taken_back: bool,
        stack: tuple[str, ...] | None = None,
        service: Service | None = None,
        checksum: str | None = None,
    ) -> Deployment:
        answer = Deployment(
            id=begin.id,
            env=self.target.name,
            requested=begin.requested,
            version=current,
            previous=here.current,
            status=status,
            healthy=health.ok,
            url=self.processes.url(service),
            health_status=health.status,
            health_body=health.body,
            checksum=checksum,
            reason=health.reason,
            switched_back=taken_back,
            repeated=False,
            at=_now(),
        )
        kept = here.history if stack is None else stack
        await self.host.append(
            "journal.jsonl", journal.finished(begin.id, asdict(answer), current=current, stack=kept, at=answer.at)
        )
        return answer

    async def _installed(self) -> list[str]:
        return [name for name in await self.host.names("releases") if artifacts.VERSION.fullmatch(name)]


@dataclass(frozen=True, slots=True)
class Begun:
    """An operation that may write its first line, or has its answer already."""

    id: str
    requested: str | None
    line: str
    host: Host
    answer: Deployment | None

    async def write(self) -> None:
        """Journal that it begins; from here on it leaves a trace."""
        await self.host.append("journal.jsonl", self.line)


def _record(version: str) -> str:
    return f"checksums/{version}"


def _measured(artifact: Path, version: str, stop: Stop) -> str:
    staged = artifacts.stage(artifact, stop)
    staged.close()
    wanted = artifacts.promised(artifact, version)
    if wanted is not None and wanted != staged.checksum:
        raise Refused(f"release {version} has checksum {staged.checksum}, not the one in its .sha256 file ({wanted}).")
    return staged.checksum


def _last(history: tuple[str, ...]) -> str | None:
    return history[-1] if history else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
