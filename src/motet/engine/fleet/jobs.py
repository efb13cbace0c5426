"""The door to Procrastinate, the PostgreSQL task engine that carries legs to workers.

A job names a run, and nothing else; what there is to do stands in the journal. At most one job per run waits at a time.
A queue holds the runs of one version of the journal, so that during an upgrade a run stays with workers that speak it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager

import psycopg
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg_pool import PoolTimeout

from motet.engine.journal import RunRow
from motet.engine.store.postgres import KEEPALIVE, settle_session
from motet.errors import RunError

log = logging.getLogger("motet.fleet")

TASK = "motet.leg"
POLL = 5.0
"""Seconds between looks for jobs that nobody announced."""
PATIENCE = 10.0
"""Seconds to wait for a connection."""

_WAITING = "select queueing_lock from procrastinate_jobs where status = 'todo' and queueing_lock is not null"
"""As `JobManager.list_jobs_async` finds them, but without making a `Job` of each: there may be very many."""

Leg = Callable[[str], Awaitable[None]]
"""Drives a run as far as it goes now."""


def queue_of(speaks: int) -> str:
    """The queue of the runs whose entries are of that version."""
    return f"motet-{speaks}"


class _Manager(JobManager):
    """Takes it calmly when a job that ended is gone or cannot be marked: what happened stands in the journal."""

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: FBT001 - its signature
        try:
            await super().finish_job(job, status, delete_job)
        except ConnectorException as error:
            log.debug("job %s was not marked as ended: %s", job.id, error.__cause__)


class Jobs:
    """Legs that wait for a worker. Open it with `open_jobs`."""

    def __init__(self, url: str) -> None:
        self._connector = PsycopgConnector(
            conninfo=url,
            min_size=1,
            max_size=4,
            timeout=PATIENCE,
            reconnect_timeout=PATIENCE,
            kwargs=dict(KEEPALIVE),
            configure=settle_session,
        )
        self._app = App(connector=self._connector)
        self._app.job_manager = _Manager(self._connector)
        self._leg: Leg | None = None
        self._app.task(name=TASK)(self._work)

    async def _work(self, run: str) -> None:
        if self._leg is not None:
            await self._leg(run)

    async def open(self) -> None:
        """Connect, and make Procrastinate's tables if they are not there. Raises `RunError`."""
        with _told():
            await self._app.open_async()
            if not await self._app.check_connection_async():
                await self._make_tables()

    async def _make_tables(self) -> None:
        try:
            await self._app.schema_manager.apply_schema_async()
        except ConnectorException:  # another worker was faster
            if not await self._app.check_connection_async():
                raise

    async def close(self) -> None:
        """Let go of the connections."""
        await self._app.close_async()

    async def put(self, rows: Iterable[RunRow]) -> int:
        """Let workers know that these runs could go on; how many nobody knew of. Raises `RunError`."""
        jobs = [_job(row) for row in rows]
        with _told():
            if len(jobs) > 1:
                known = await self._connector.execute_query_all_async(_WAITING)
                waiting = {job["queueing_lock"] for job in known}
                jobs = [job for job in jobs if job.queueing_lock not in waiting]
            try:
                if jobs:
                    await self._app.job_manager.batch_defer_jobs_async(jobs)
            except AlreadyEnqueued:
                return sum([await self._put(job) for job in jobs])
        return len(jobs)

    async def _put(self, job: Job) -> int:
        try:
            await self._app.job_manager.defer_job_async(job)
        except AlreadyEnqueued:
            return 0
        return 1

    async def clear(self, *, stall: float) -> int:
        """Forget the jobs of workers that died: their runs get new ones. How many there were."""
        with _told():
            stalled = list(await self._app.job_manager.get_stalled_jobs(task_name=TASK, seconds_since_heartbeat=stall))
            for job in stalled:
                await self._app.job_manager.finish_job(job, Status.FAILED, delete_job=True)
        return len(stalled)

    async def work(self, leg: Leg, *, queues: Iterable[str], room: int, heartbeat: float, stall: float) -> None:
        """Hand jobs to `leg` until cancelled, or until the database is lost. Raises `RunError` then."""
        self._leg = leg
        with _told():
            await self._app.run_worker_async(
                queues=list(queues),
                concurrency=room,
                install_signal_handlers=False,
                delete_jobs="always",
                update_heartbeat_interval=heartbeat,
                stalled_worker_timeout=stall,
                fetch_job_polling_interval=POLL,
                shutdown_graceful_timeout=0.0,
            )


def _job(row: RunRow) -> Job:
    return Job(
        id=None,
        queue=queue_of(row.speaks),
        lock=None,
        queueing_lock=row.id,
        task_name=TASK,
        priority=row.priority,
        task_kwargs={"run": row.id},
    )


@contextlib.contextmanager
def _told() -> Generator[None]:
    """What the database says is a `RunError`."""
    try:
        yield
    except (ConnectorException, psycopg.Error, PoolTimeout) as error:
        cause = error.__cause__ or error
        raise RunError(f"the queue in PostgreSQL: {str(cause).strip() or type(cause).__name__}") from error


@asynccontextmanager
async def open_jobs(url: str) -> AsyncGenerator[Jobs]:
    """The queue behind that `postgresql://` URL. Raises `RunError`."""
    jobs = Jobs(url)
    try:
        await jobs.open()
        yield jobs
    finally:
        await asyncio.shield(jobs.close())
