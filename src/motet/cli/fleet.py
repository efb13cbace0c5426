"""Fleets at the command line: one worker's stay with its servers, and what others may ask of workers."""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack

from motet.cli import runs, session
from motet.config.model import Config
from motet.engine.clock import DatabaseClock
from motet.engine.durable import VERSION, Durable
from motet.engine.fleet.jobs import Jobs, open_jobs
from motet.engine.fleet.limits import LimitedDispatch, Limits
from motet.engine.fleet.members import Member, Members, new_member
from motet.engine.fleet.schedules import Begin, Due, Schedules
from motet.engine.fleet.worker import NEAR, Settings, Worker, draining_on
from motet.engine.store.opening import is_database, open_store
from motet.engine.store.postgres import hide_password
from motet.engine.store.sql import Store
from motet.errors import RunError
from motet.events import ServerChanged
from motet.monitor import logs
from motet.monitor.http import serving
from motet.monitor.logs import Format
from motet.monitor.metrics import Metrics
from motet.orchestrator.orchestrator import Orchestrator

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


async def work(config: Config, given: str | None, settings: Settings, *, http: str | None, form: Format) -> None:
    """Be a worker until SIGTERM or Ctrl-C, then to the end of what is in flight. Raises RunError, or ConfigError."""
    place = url(config, given)
    member = new_member(config.servers, speaks=[VERSION], room=settings.room, stall=settings.stall)
    metrics = Metrics()
    handler = logs.write(form, redact=_redact(config, place), worker=member.id)
    try:
        async with open_store(place) as store, open_jobs(place) as jobs:
            await _work(config, settings, member, store, jobs, metrics, http)
    finally:
        logs.stop(handler)


async def _work(
    config: Config, settings: Settings, member: Member, store: Store, jobs: Jobs, metrics: Metrics, http: str | None
) -> None:
    held: list[Durable] = []

    def told(event: object) -> None:
        metrics.tell(event)
        logs.tell(event)
        if isinstance(event, ServerChanged) and event.state == "ready":
            for durable in held:
                durable.server_back(event.server)  # steps that were deferred for it need not wait for their timer

    clock = DatabaseClock(store)
    await clock.sync()
    async with session.connected(config, emit=told, settle=False) as motet, AsyncExitStack() as stack:
        durable = Durable(
            store,
            now=clock.now,
            emit=told,
            secrets=config.secrets,
            redact=motet.redactor.json,
            parallel=config.parallel,
            near=NEAR,
            lease=settings.stall,
            keep=config.keep_runs,
        )
        held.append(durable)
        schedules, limits = Schedules(store), Limits(store, stall=settings.stall)

        async def fire() -> None:
            for fired in await schedules.tick(beginner(durable)):
                log.info("schedule %s began run %s", fired.schedule, fired.run)

        dispatch = LimitedDispatch(motet.host, limits, member.id, chance=random.random)
        worker = Worker(durable, jobs, Members(store), clock, member, dispatch, limits, settings, told, duties=[fire])
        metrics.gauge("motet_heartbeat_age_seconds", "Since the worker's sign of life was written.", worker.silent)
        metrics.gauge("motet_database_seconds", "The last round trip to the database.", lambda: clock.took)
        metrics.gauge("motet_draining", "1 while the worker takes no more runs.", lambda: float(worker.health.draining))
        if http is not None:
            face = serving(http, healthy=worker.wrong, ready=worker.unready, metrics=metrics)
            log.info("serving health and metrics at %s", await stack.enter_async_context(face))
        log.info("worker %s, room for %d runs, servers: %s", member.id, member.room, ", ".join(sorted(member.servers)))
        async with draining_on(worker, signal.SIGTERM, signal.SIGINT):
            await worker.run()
        log.info("worker %s has ended", member.id)


def _redact(config: Config, place: str) -> Callable[[str], str]:
    """Hides what is configured as secret, and the password of the database."""
    plain, hidden = Orchestrator(config).redactor.text, hide_password(place)
    return lambda text: plain(hidden(text))
