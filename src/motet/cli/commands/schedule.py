"""`motet schedule`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from motet.cli import arguments, options, output

if TYPE_CHECKING:
    from motet.engine.fleet.schedules import CatchUp, Overlap, Schedule, Schedules
    from motet.orchestrator.orchestrator import Orchestrator

T = TypeVar("T")


@click.group(short_help="Runs that workers begin by the clock.")
def command() -> None:
    """Begin runs by the clock: cron in a time zone, fired once by whichever worker is first."""


@command.command(short_help="Make a schedule.")
@click.argument("file", type=click.Path())
@click.argument("cron")
@click.option("-i", "--input", "given", metavar="KEY=TEXT", multiple=True, help="An input; KEY:=JSON for lists.")
@click.option("--name", metavar="NAME", help="Its name; default: the workflow's.")
@click.option("--tz", "zone", metavar="ZONE", default="UTC", show_default=True, help="IANA time zone of the cron text.")
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "allow"]),
    default="skip",
    show_default=True,
    help="When the run before has not ended: leave this one out, begin it later, or begin it at once.",
)
@click.option(
    "--catch-up",
    type=click.Choice(["none", "one"]),
    default="none",
    show_default=True,
    help="What is done for times that passed while no worker was alive: nothing, or one run for all.",
)
@click.option("--priority", type=int, default=0, show_default=True, help="Of two runs the higher goes first.")
@click.option("--replace", is_flag=True, help="Put it in the place of the schedule that has this name.")
@options.database
@options.config
@options.json
def add(
    *,
    file: str,
    cron: str,
    given: tuple[str, ...],
    name: str | None,
    zone: str,
    overlap: Overlap,
    catch_up: CatchUp,
    priority: int,
    replace: bool,
    journal: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Check a workflow and begin runs of it by the clock. The workflow stays as it is now, whatever becomes of FILE.

    \b
    motet schedule add report.yaml "0 7 * * 1-5" --tz Europe/Berlin -i team=web
    """
    from motet.cli import flows, session
    from motet.orchestrator import checking
    from motet.workflow.loading import load
    from motet.workflow.touched import servers_of

    settings = session.configured(config)
    workflow = load(file)
    inputs = flows.typed(workflow, arguments.pairs(given, what="input"))

    async def work(schedules: Schedules) -> Schedule:
        async with session.connected(settings, servers_of(workflow), settle=False) as motet:
            ready = checking.runnable(_check(motet), file)
        return await schedules.add(
            name or workflow.name,
            ready,
            cron,
            inputs,
            zone=zone,
            overlap=overlap,
            catch_up=catch_up,
            priority=priority,
            replace=replace,
        )

    def _check(motet: Orchestrator) -> checking.Checked:
        return motet.check(workflow)

    made = _with(config, journal, work)
    if as_json:
        output.emit_json(made.to_json())
    else:
        click.echo(f"{made.name}: next run at {_time(made.next)}")


@command.command("list", short_help="All schedules, and what each did and missed.")
@options.database
@options.config
@options.json
def list_(*, journal: str | None, config: str | None, as_json: bool) -> None:
    """List the schedules, the next to fire first."""
    found = _with(config, journal, lambda schedules: schedules.all())
    if as_json:
        output.emit_json([one.to_json() for one in found])
        return
    cells = [
        (one.name, f"{one.cron} {one.zone}", _state(one), _time(one.last), one.run or "", _missed(one)) for one in found
    ]
    output.table(("schedule", "when", "next", "last", "its run", "missed"), cells)


def _state(one: Schedule) -> str:
    if one.paused:
        return "paused"
    return "waits for the run before it" if one.waiting else _time(one.next)


def _missed(one: Schedule) -> str:
    latest = f", the last {_time(one.missed_at[-1])}" if one.missed_at else ""
    return (f"{one.missed}{latest}" if one.missed else "") + (f": {one.trouble}" if one.trouble else "")


def _time(at: float | None) -> str:
    from motet.cli.commands.runs import time

    return "" if at is None else time(at)


def _simple(name: str, short: str, told: str, do: Callable[[Schedules, str], Awaitable[None]]) -> None:
    @command.command(name, short_help=short, help=short)
    @click.argument("name")
    @options.database
    @options.config
    @options.json
    def one(*, name: str, journal: str | None, config: str | None, as_json: bool) -> None:
        _with(config, journal, lambda schedules: do(schedules, name))
        output.emit_json({"schedule": name, "told": told}) if as_json else click.echo(f"{name}: {told}")

    _ = one


_simple("pause", "Let the times of a schedule pass.", "paused", lambda schedules, name: schedules.pause(name))
_simple("resume", "Let a schedule go on with its next time.", "goes on", lambda schedules, name: schedules.resume(name))
_simple("remove", "Forget a schedule; its runs go on.", "removed", lambda schedules, name: schedules.remove(name))


@command.command(short_help="Begin a run of a schedule now.")
@click.argument("name")
@options.database
@options.config
@options.json
def trigger(*, name: str, journal: str | None, config: str | None, as_json: bool) -> None:
    """Begin a run of a schedule now, beside its times. A worker drives it."""
    from motet.cli import fleet, runs, session

    settings = session.configured(config)

    async def work() -> tuple[str, bool]:
        async with runs.journal(settings, fleet.url(settings, journal)) as durable:
            from motet.engine.fleet.schedules import Schedules

            run = await Schedules(durable.ledger.store).trigger(name, fleet.beginner(durable))
            row = await durable.ledger.row(run)
        return run, await runs.offered(fleet.url(settings, journal), row)

    run, taken = session.run(work)
    if not taken:
        output.say(f"run {run} waits: no worker takes it up; start one with: motet worker")
    output.emit_json({"run": run, "worker": taken}) if as_json else click.echo(run)


def _with(config: str | None, journal: str | None, work: Callable[[Schedules], Awaitable[T]]) -> T:
    from motet.cli import fleet, session
    from motet.engine.fleet.schedules import Schedules
    from motet.engine.store.opening import open_store

    settings = session.configured(config)

    async def whole() -> T:
        async with open_store(fleet.url(settings, journal)) as store:
            return await work(Schedules(store))

    return session.run(whole)
