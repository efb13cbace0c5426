"""`motet limit`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from motet.cli import options, output

if TYPE_CHECKING:
    from motet.engine.fleet.limits import Limit, Limits

T = TypeVar("T")


@click.group(short_help="Limits that hold across all workers.")
def command() -> None:
    """Limits that hold across all workers of a database: how many at once, and how many in a time.

    Each is of a server's calls (server:NAME) or of the runs of a workflow (workflow:NAME). A change holds within
    seconds.
    """


@command.command("set", short_help="Make or change a limit.")
@click.argument("name", metavar="server:NAME|workflow:NAME")
@click.option("--concurrency", type=click.IntRange(0), default=0, metavar="N", help="How many at once.")
@click.option("--rate", "given", metavar="N/s|m|h|d", help="How many in a time, as in 10/s or 6/m.")
@click.option(
    "--burst", type=click.IntRange(1), default=1, show_default=True, help="Of the rate, how many at one moment."
)
@options.database
@options.config
@options.json
def set_(
    *,
    name: str,
    concurrency: int,
    given: str | None,
    burst: int,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Make or change a limit.

    \b
    motet limit set server:jira --concurrency 4 --rate 10/s
    motet limit set workflow:deploy-and-tell --concurrency 1
    """
    from motet.engine.fleet.limits import rate

    often = rate(given) if given else 0.0
    _with(config, journal, lambda limits: limits.set(name, concurrency=concurrency, rate=often, burst=burst))
    output.emit_json({"limit": name, "told": "set"}) if as_json else click.echo(f"{name}: set")


@command.command("list", short_help="All limits, with what is in use.")
@options.database
@options.config
@options.json
def list_(*, journal: str | None, config: str | None, as_json: bool) -> None:
    """List the limits, with what each worker holds and how many wait."""
    found = _with(config, journal, lambda limits: limits.all())
    if as_json:
        output.emit_json([one.to_json() for one in found])
        return
    cells = [
        (one.name, str(one.concurrency or ""), _rate(one), str(sum(one.used.values())), _holders(one), str(one.waiting))
        for one in found
    ]
    output.table(("limit", "at once", "rate", "in use", "by worker", "waiting"), cells)


@command.command(short_help="Forget a limit.")
@click.argument("name")
@options.database
@options.config
@options.json
def remove(*, name: str, journal: str | None, config: str | None, as_json: bool) -> None:
    """Forget a limit."""
    _with(config, journal, lambda limits: limits.remove(name))
    output.emit_json({"limit": name, "told": "removed"}) if as_json else click.echo(f"{name}: removed")


def _rate(one: Limit) -> str:
    if not one.rate:
        return ""
    often = (
        f"{one.rate:g}/s"
        if one.rate >= 1
        else f"{one.rate * 60:g}/m"
        if one.rate >= 1 / 60
        else f"{one.rate * 3600:g}/h"
    )
    return often + (f", {one.burst} at a moment" if one.burst > 1 else "")


def _holders(one: Limit) -> str:
    return ", ".join(f"{worker}: {count}" for worker, count in sorted(one.used.items()))


def _with(config: str | None, journal: str | None, work: Callable[[Limits], Awaitable[T]]) -> T:
    from motet.cli import fleet, session
    from motet.engine.fleet.limits import Limits
    from motet.engine.store.opening import open_store

    settings = session.configured(config)

    async def whole() -> T:
        async with open_store(fleet.url(settings, journal)) as store:
            return await work(Limits(store))

    return session.run(whole)
