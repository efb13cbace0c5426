"""The deploy server's tools and resources."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from fastmcp.resources.base import ResourceResult
from fastmcp.tools.base import ToolResult
from pydantic import Field

from motet_servers.deploy import artifacts, model, targets
from motet_servers.deploy.deployer import Deployer
from motet_servers.deploy.local import LocalHost
from motet_servers.deploy.targets import Target
from motet_servers.kit import idempotency, paging
from motet_servers.kit.arguments import Cursor, Key
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound, Refused
from motet_servers.kit.polling import Poller
from motet_servers.kit.server import JSON, DomainServer, as_json
from motet_servers.kit.settings import SettingsError, Values

Env = Annotated[str, Field(max_length=63, description="The target, such as `staging`; see `list_targets`.")]
Version = Annotated[
    str, Field(min_length=1, max_length=100, description="A release, such as `v2.1.0`; see `list_releases`.")
]
LOOK_EVERY = 10.0
"""Seconds between looks at targets that somebody subscribed to."""
Lookup = Callable[[str], Deployer]
Checksum = Annotated[str, Field(description="SHA-256 the release must have (see `plan`).", pattern="^[0-9a-fA-F]{64}$")]


def build(values: Values, arguments: list[str]) -> DomainServer:
    """The server for the configured targets."""
    if arguments:
        raise SettingsError("takes no arguments.")
    file = values.get("DEPLOY_TARGETS")
    if file:
        return deploy_server(targets.load(Path(file)), passphrase=values.get("DEPLOY_SSH_PASSPHRASE"))
    root = Path(values.require("DEPLOY_ROOT")).expanduser()
    if not root.is_dir():
        raise SettingsError(f"DEPLOY_ROOT: {root} is not a directory.")
    found = root / "targets.yaml"
    if found.is_file():
        return deploy_server(targets.load(found), passphrase=values.get("DEPLOY_SSH_PASSPHRASE"))
    names = [name.strip() for name in values.get("DEPLOY_ENVIRONMENTS").split(",") if name.strip()]
    return deploy_server(targets.defaults(root, names))


def deploy_server(configured: Mapping[str, Target], *, passphrase: str = "") -> DomainServer:
    """A server over these targets."""
    deployers = {name: _deployer(target, passphrase) for name, target in configured.items()}

    @asynccontextmanager
    async def serving(_: DomainServer) -> AsyncGenerator[None]:
        try:
            async with poller:
                yield
        finally:
            for each in deployers.values():
                await each.host.close()

    server = DomainServer(
        "deploy-mcp-server",
        version="1.0.0",
        description="Deployments: put releases on targets, start and check them, roll back, keep history.",
        capabilities={"tools": {}, "resources": {}},
        domain="deploy",
        uris=["deploy://**"],
        secrets=[passphrase] if passphrase else [],
        lifespan=serving,
    )

    def deployer(env: str) -> Deployer:
        if env not in deployers:
            raise NotFound(f"there is no target {env!r}; the targets are: {', '.join(sorted(deployers))}.")
        return deployers[env]

    async def look(wanted: frozenset[str]) -> dict[str, str]:
        return await _signatures(deployers, wanted)

    poller = Poller(server.resource_updates(), look, every=LOOK_EVERY)
    _looking_tools(server, deployers, deployer)
    _changing_tools(server, deployer, poller.nudge)
    _resources(server, deployers, deployer)
    return server


def _deployer(target: Target, passphrase: str) -> Deployer:
    if target.ssh is None:
        return Deployer(target, LocalHost(Path(target.path)))
    from motet_servers.deploy.ssh import SshHost

    return Deployer(target, SshHost(target.ssh, target.path, passphrase=passphrase))


def told(answer: Any, *, failed: bool) -> Any:
    """The answer; as an error with its data when it is one."""
    if not failed:
        return answer
    data = asdict(answer)
    text = data.get("reason") or "failed"
    return ToolResult(content=f"{text}\n{json.dumps(data)}", structured_content=data, is_error=True)


def _looking_tools(server: DomainServer, deployers: Mapping[str, Deployer], deployer: Lookup) -> None:
    @server.tool(retry="safe", title="List targets")
    async def list_targets() -> model.Targets:
        """The targets, and what is deployed where."""
        return await _targets(deployers)

    @server.tool(retry="safe", title="List releases")
    async def list_releases(env: Env) -> model.Releases:
        """The versions that can be deployed to a target, oldest first, and those already on it."""
        return await deployer(env).releases()

    @server.tool(retry="safe", title="Plan a deployment")
    async def plan(version: Version, env: Env) -> model.Plan:
        """What `deploy` would do, step by step, and what would make it fail. Changes nothing."""
        return await deployer(env).plan(artifacts.checked_version(version))

    @server.tool(retry="safe", title="Check a target")
    async def check(env: Env) -> model.Check:
        """Is what is current running and healthy? Asks it now; an error, with the same data, when it is not."""
        answer = await deployer(env).check()
        return told(answer, failed=not answer.healthy)

    @server.tool(retry="safe", title="Show history")
    async def history(
        env: Env, limit: Annotated[int, Field(ge=1, le=200)] = 20, cursor: Cursor = None
    ) -> model.History:
        """Past deployments and rollbacks of a target, newest first."""
        return await _history(deployer(env), limit, cursor)


def _changing_tools(server: DomainServer, deployer: Lookup, changed: Callable[[], None]) -> None:
    @server.tool(retry="keyed", destructive=True, title="Deploy a release")
    async def deploy(
        version: Version, env: Env, checksum: Checksum | None = None, idempotency_key: Key = None
    ) -> model.Deployment:
        """Put a release on a target, start it and check its health; when it is not well, the former one is put back.

        `previous` in the answer is what was current before: give it to `rollback` as `to` to undo exactly this.
        """
        key = idempotency.checked(idempotency_key)
        artifacts.checked_version(version)
        await _allowed(deployer, env, version)
        answer = await deployer(env).deploy(version, checksum=checksum, key=key)
        changed()
        return told(answer, failed=answer.status == "failed")

    @server.tool(retry="keyed", destructive=True, title="Promote")
    async def promote(
        env: Env,
        from_env: Annotated[
            str | None, Field(max_length=63, description="Left out: the target's own `promote_from`.")
        ] = None,
        idempotency_key: Key = None,
    ) -> model.Deployment:
        """Deploy what is current and healthy on one target to another."""
        key = idempotency.checked(idempotency_key)
        source = from_env or deployer(env).target.promote_from
        if source is None:
            raise InvalidInput(f"{env} has no promote_from; say from_env.")
        if source == env:
            raise InvalidInput("a target cannot be promoted to itself.")
        there = await deployer(source).check()
        if there.version is None or not there.healthy:
            raise Conflict(f"{source} is not healthy ({there.reason}); only what works there is promoted.")
        await _allowed(deployer, env, there.version)
        answer = await deployer(env).deploy(there.version, checksum=None, key=key, operation="promote")
        changed()
        return told(answer, failed=answer.status == "failed")

    @server.tool(retry="keyed", destructive=True, title="Roll back")
    async def rollback(
        env: Env,
        to: Annotated[
            str | None,
            Field(min_length=1, max_length=100, description="Left out: the previous version; none: withdraw."),
        ] = None,
        idempotency_key: Key = None,
    ) -> model.Deployment:
        """Go back to an earlier version; when there is none (the first deployment), the target is withdrawn."""
        key = idempotency.checked(idempotency_key)
        answer = await deployer(env).rollback(to, key=key)
        changed()
        return told(answer, failed=answer.status == "failed")

    @server.tool(retry="safe", read_only=False, idempotent=True, destructive=True, title="Stop")
    async def stop(env: Env) -> model.Stopped:
        """End a target's process. Its release stays current; deploying it again starts it."""
        answer = await deployer(env).stop()
        changed()
        return answer

    @server.tool(retry="safe", read_only=False, idempotent=True, destructive=True, title="Prune")
    async def prune(
        env: Env, keep: Annotated[int | None, Field(ge=1, le=1000, description="Left out: the target's `keep`.")] = None
    ) -> model.Pruned:
        """Remove old releases from a target; never the current or the previous one."""
        answer = await deployer(env).prune(keep)
        changed()
        return answer


async def _allowed(deployer: Lookup, env: str, version: str) -> None:
    """A target that is promoted to takes only what is current and healthy where it is promoted from."""
    source = deployer(env).target.promote_from
    if source is None:
        return
    there = await deployer(source).check()
    if there.version != version or not there.healthy:
        raise Refused(
            f"{env} takes only what is current and healthy on {source}; there it is "
            f"{there.version or 'nothing'}{'' if there.healthy else f', not healthy: {there.reason}'}."
        )


async def _targets(deployers: Mapping[str, Deployer]) -> model.Targets:
    async with asyncio.TaskGroup() as tasks:
        looks = [tasks.create_task(each.info()) for each in deployers.values()]
    return model.Targets([look.result() for look in looks])


async def _history(deployer: Deployer, limit: int, cursor: str | None) -> model.History:
    offset = paging.offset(cursor)
    page, more = await deployer.history(offset=offset, limit=limit)
    return replace(page, next_cursor=paging.encode({"offset": offset + limit}) if more else None)


def _resources(server: DomainServer, deployers: Mapping[str, Deployer], deployer: Lookup) -> None:
    @server.resource("deploy://targets", mime_type=JSON)
    async def all_targets() -> ResourceResult:
        """The targets, and what is deployed where."""
        return as_json(await _targets(deployers))

    @server.resource("deploy://{env}/current", mime_type=JSON)
    async def current(env: Env) -> ResourceResult:
        """What is current on a target, and whether it is well."""
        return as_json(await deployer(env).check())

    @server.resource("deploy://{env}/releases", mime_type=JSON)
    async def releases(env: Env) -> ResourceResult:
        """The versions that can be deployed, and those on the target."""
        return as_json(await deployer(env).releases())

    @server.resource("deploy://{env}/history{?cursor}", mime_type=JSON)
    async def past(env: Env, cursor: Cursor = None) -> ResourceResult:
        """Past deployments and rollbacks, newest first, 50 a page."""
        return as_json(await _history(deployer(env), 50, cursor))


async def _signatures(deployers: Mapping[str, Deployer], wanted: frozenset[str]) -> dict[str, str]:
    """What each address's target looks like now; all of them together for the list of targets."""
    envs = {uri: unquote(uri.removeprefix("deploy://").partition("?")[0].partition("/")[0]) for uri in wanted}
    seen: dict[str, str] = {}
    for env, each in deployers.items():
        if env in envs.values() or "targets" in envs.values():
            try:
                seen[env] = await each.signature()
            except DomainError as error:
                seen[env] = f"{error.kind}"
    everything = json.dumps(seen, sort_keys=True)
    return {
        uri: everything if env == "targets" else seen[env] for uri, env in envs.items() if env in {*seen, "targets"}
    }
