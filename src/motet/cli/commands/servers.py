"""`motet servers`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from motet.cli import exits, options, output

if TYPE_CHECKING:
    from motet.catalog.boundary import Finding
    from motet.host.server import HostedServer


@click.command(short_help="What each server is, offers and lacks.")
@options.config
@options.json
@click.pass_context
def command(ctx: click.Context, *, config: str | None, as_json: bool) -> None:
    """Start every configured server, and show what it is: state, domain, tools, protocol, and how it is reaped.

    What is unsound about their boundaries is shown too: two domains in one server, one credential shown to two servers,
    and the like. The exit code is 3 when some are not ready, 1 when none is.
    """
    from motet.cli import session

    async def work() -> tuple[list[dict[str, Any]], tuple[Finding, ...]]:
        async with session.connected(session.configured(config)) as motet:
            return [_json(server) for server in motet.host.servers.values()], motet.host.lint()

    servers, findings = session.run(work)
    if as_json:
        lint = [{"kind": one.kind, "servers": list(one.servers), "message": one.message} for one in findings]
        output.emit_json({"servers": servers, "findings": lint})
    else:
        _show(servers, findings)
    wanted = [server["state"] for server in servers if server["state"] != "disabled"]
    up = sum(state in ("ready", "degraded", "idle") for state in wanted)
    ctx.exit(exits.COMPLETE if up == len(wanted) else exits.PARTIAL if up else exits.FAILED)


def _json(server: HostedServer) -> dict[str, Any]:
    part, details = server.catalog, server.details
    boundary = part.boundary
    return {
        "name": server.name,
        "state": server.state,
        "reason": server.reason,
        "domain": boundary.domain if boundary else "",
        "description": boundary.description if boundary else "",
        "uris": list(boundary.uris) if boundary else [],
        "declared_by": boundary.declared_by if boundary else None,
        "tools": len(part.tools),
        "resources": len(part.resources),
        "templates": len(part.templates),
        "prompts": len(part.prompts),
        "left_out": [{"name": left.name, "reason": left.reason} for left in part.left_out],
        "stale": part.stale,
        "protocol": part.version,
        "reap": details.get("reap"),
        "changed": sorted(server.changed),
        "source": server.config.source,
    }


def _show(servers: list[dict[str, Any]], findings: tuple[Finding, ...]) -> None:
    rows = [
        (one["name"], one["state"], one["domain"], one["tools"], one["protocol"], one["reap"] or "", _note(one))
        for one in servers
    ]
    output.table(("server", "state", "domain", "tools", "protocol", "reap", "note"), rows)
    for one in servers:
        if one["changed"]:
            output.say(f"{one['name']}: changed definitions are refused: {', '.join(one['changed'])}")
            output.say(f"try: motet trust {one['name']}")
        for left in one["left_out"]:
            output.say(
                f"{one['name']}: {output.clean_line(left['name'])} left out: {output.clean_line(left['reason'])}"
            )
    for finding in findings:
        output.say(f"boundary: {', '.join(finding.servers)}: {output.clean_line(finding.message)}")


def _note(one: dict[str, Any]) -> str:
    if one["reason"]:
        return one["reason"]
    return "" if one["domain"] else "declares no boundary"
