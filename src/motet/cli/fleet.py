"""Fleets at the command line: one worker's stay with its servers, and what others may ask of workers."""

from __future__ import annotations

import logging
import random
import signal

from motet.cli import runs, session
from motet.config.model import Config
from motet.engine.clock import DatabaseClock
from motet.engine.durable import VERSION, Durable
from motet.engine.fleet.jobs import open_jobs
from motet.engine.fleet.limits import LimitedDispatch, Limits
from motet.engine.fleet.members import Members, new_member
from motet.engine.fleet.schedules import Begin, Due, Schedules
from motet.engine.fleet.worker import NEAR, Settings, Worker, draining_on
from motet.engine.store import is_database, open_store
from motet.errors import RunError
from motet.events import Emit, ServerChanged

log = logging.getLogger("motet.worker")


def url(config: Config, given: str | None) -> str:
    """The database of a fleet. Raises RunError when a file is named."""
    place = runs.where(config, given)
    if not is_database(place):
        raise RunError(f"a fleet needs a database; {place} is a file", hint="--database postgresql://…")
    return place


def beginner(durable: Durable) -> Begin:
    """Begins the runs of schedules in that journal."""

    async def begin(due: Due) -> str:
        workflow = durable.workflow(due.bundle)
        return await durable.start(workflow, due.inputs, key=due.key, priority=due.priority)

    return begin


async def work(config: Config, given: str | None, settings: Settings, emit: Emit) -> None:
    """Be a worker until SIGTERM or Ctrl-C, then to the end of what is in flight. Raises RunError."""
    place = url(config, given)
    held: list[Durable] = []

    def told(event: object) -> None:
        emit(event)
        if isinstance(event, ServerChanged) and event.state == "ready":
            for durable in held:
                durable.server_back(event.server)

    async with open_store(place) as store, open_jobs(place) as jobs:
        clock = DatabaseClock(store)
        await clock.sync()
        async with session.connected(config, emit=told, settle=False) as motet:
            durable = Durable(
                store,
                now=clock.now,
                emit=told,
                secrets=config.secrets,
                redact=motet.redactor.json,
                parallel=config.parallel,
                near=NEAR,
                lease=settings.stall,
            )
            held.append(durable)
            schedules, limits = Schedules(store), Limits(store, stall=settings.stall)
            member = new_member(config.servers, speaks=[VERSION], room=settings.room)

            async def fire() -> None:
                for fired in await schedules.tick(beginner(durable)):
                    log.info("schedule %s began run %s", fired.schedule, fired.run)

            worker = Worker(
                durable,
                jobs,
                Members(store),
                clock,
                member,
                LimitedDispatch(motet.host, limits, member.id, chance=random.random),
                limits,
                settings,
                told,
                duties=[fire],
            )
            async with draining_on(worker, signal.SIGTERM, signal.SIGINT):
                await worker.run()
