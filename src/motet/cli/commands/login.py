"""`motet login`."""

from __future__ import annotations

import click

from motet.cli import exits, options, output
from motet.errors import ConfigError


@click.command(short_help="Log in to servers that want a person to.")
@click.argument("servers", nargs=-1)
@options.config
@click.pass_context
def command(ctx: click.Context, *, servers: tuple[str, ...], config: str | None) -> None:
    """Log in to the named servers, or to all that are configured with `auth`, one after the other.

    What a login gave is remembered in the state folder, in a file that only you can read, and renewed by itself.
    """
    from motet.calls import Ask
    from motet.cli import asking, session
    from motet.config.model import HttpTransport

    settings = session.configured(config)
    by_login = [
        name
        for name, server in settings.servers.items()
        if isinstance(server.transport, HttpTransport) and server.transport.auth is not None
    ]
    if not servers and not by_login:
        raise ConfigError("no server is configured with `auth`", hint="[servers.NAME] auth = {}")
    ask = asking.asker()
    if ask is None:
        raise click.UsageError("a login takes a person at a terminal")

    async def state(name: str, ask: Ask) -> tuple[str, str]:
        async with session.connected(settings, [name], ask=ask) as motet:
            server = motet.host.server(name)
            return server.state, server.reason

    failed = False
    for name in servers or by_login:

        async def work(name: str = name) -> tuple[str, str]:
            return await state(name, ask)

        came, reason = session.run(work)
        click.echo(output.clean_line(f"{name}: {came}" + (f": {reason}" if reason else "")))
        failed = failed or came not in ("ready", "degraded")
    ctx.exit(exits.NEEDS_AUTH if failed else exits.COMPLETE)
