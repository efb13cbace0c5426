"""One worker of a fleet: takes legs from the queue, keeps its sign of life, and now and then looks after the others.

    beat     its row is fresh, the clock compared, leases are renewed by the legs' own keeper
    sweep    one worker a second finds open runs that could go on and gives each a job; the dead workers' jobs go
    leg      claim, replay, drive until the run ends or only waits; never more at once than there is room

A leg is a task of the worker, not of the job that brought it: when the queue is lost for a while, runs go on, and stop
only when their lease is over. Draining: no new leg, the calls in flight end, what is left is taken up by the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from motet.engine.clock import DatabaseClock, awake
from motet.engine.durable import Durable
from motet.engine.fleet.jobs import Jobs, queue_of
from motet.engine.fleet.limits import Limits
from motet.engine.fleet.members import HEARTBEAT, STALL, Member, Members
from motet.engine.journal import Busy, LostRun, RunRow
from motet.engine.ports import Dispatch
from motet.engine.store.sql import Unreachable
from motet.errors import MotetError, RunError
from motet.events import Emit, LegBegan, LegEnded, nobody

ROOM = 100
"""Runs one worker drives at once."""
SWEEP = 1.0
"""Seconds between looks for runs that could go on."""
GRACE = 30.0
"""Seconds that calls in flight get when a worker is to end."""
POISON = 3
"""Legs in a row that got nowhere, after which a run waits for a person."""
AGAIN = 5.0
"""Seconds until a run whose leg failed is tried again."""
HELD = 1.0
"""Seconds until a run is tried again that its workflow's limit held back."""
SETTLE = 0.25
"""Seconds between looks for legs that a worker that is to end has not told to."""
NEAR = 1.0
"""Seconds a leg waits for a timer rather than let the run go."""

log = logging.getLogger("motet.worker")

Duty = Callable[[], Awaitable[None]]
"""Something that workers do now and then; it may raise `RunError`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker behaves. Times are seconds."""

    room: int = ROOM
    heartbeat: float = HEARTBEAT
    stall: float = STALL
    sweep: float = SWEEP
    grace: float = GRACE
    again: float = AGAIN


@dataclass(slots=True)
class Health:
    """What a worker can say of itself."""

    beaten: float | None = None
    """When its sign of life was last written, by `awake()`."""
    trouble: str = ""
    """What is wrong with the database; empty while nothing is."""
    draining: bool = False


@dataclass(slots=True)
class Worker:
    """Drives runs of a fleet. `run` it until it is to `drain`."""

    runs: Durable
    jobs: Jobs
    members: Members
    clock: DatabaseClock
    member: Member
    dispatch: Dispatch
    limits: Limits
    settings: Settings = field(default_factory=Settings)
    emit: Emit = nobody
    duties: Sequence[Duty] = ()
    """Done by every worker, once a sweep."""
    health: Health = field(default_factory=Health)
    _drain: asyncio.Event = field(default_factory=asyncio.Event)
    _legs: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, "asyncio.Task[None]"])

    async def run(self) -> None:
        """Work until `drain`, and to the end of what is in flight then. Outages of the database are survived."""
        await self._beat()
        async with asyncio.TaskGroup() as group:
            always = [
                group.create_task(self._forever(self._beat, self.settings.heartbeat)),
                group.create_task(self._forever(self._sweep, self.settings.sweep)),
            ]
            working = group.create_task(self._work(group))
            await self._drain.wait()
            self.health.draining = True
            working.cancel()
            await self._settle()
            for task in always:
                task.cancel()
        try:
            await self.members.leave(self.member)
        except RunError as error:  # its row grows old by itself
            log.warning("could not sign off: %s", error.message)

    def drain(self) -> None:
        """Take no more runs, let the calls in flight end, then return from `run`."""
        self._drain.set()

    @property
    def legs(self) -> int:
        """Runs it drives now."""
        return len(self._legs)

    def silent(self) -> float:
        """Seconds since its sign of life was written; infinite before the first."""
        return float("inf") if self.health.beaten is None else awake() - self.health.beaten

    def wrong(self) -> dict[str, str]:
        """What keeps it from working, by name; empty while nothing does."""
        found = {"database": self.health.trouble} if self.health.trouble else {}
        if self.silent() > self.settings.stall:
            found["heartbeat"] = "others take this worker for dead"
        return found

    def unready(self) -> dict[str, str]:
        """Why it takes no more runs, by name; empty while it does."""
        return {"draining": "it is to end"} if self.health.draining else {}

    # -- what goes on all the time --------------------------------------------------------------------------------

    async def _forever(self, duty: Duty, every: float) -> None:
        while True:
            try:
                async with asyncio.timeout(self.settings.stall):
                    await duty()
            except RunError as error:
                self._troubled(error)
            except TimeoutError:
                self._troubled(RunError(f"the database did not answer within {self.settings.stall:.0f} s"))
            await asyncio.sleep(every)

    def _troubled(self, error: RunError) -> None:
        if not self.health.trouble:
            log.error("%s", error.message)
        self.health.trouble = error.message

    async def _beat(self) -> None:
        await self.clock.sync()
        await self.members.beat(self.member, legs=self.legs, draining=self.health.draining)
        await self.limits.refresh(self.member.id)
        if self.health.trouble:
            log.warning("the database is back")
        self.health.beaten, self.health.trouble = awake(), ""

    async def _sweep(self) -> None:
        for duty in self.duties:
            await duty()
        if not await self.members.on_duty("sweep", self.settings.sweep * 0.9):
            return
        due = await self.runs.ledger.due()
        if due:
            living = [member for member in await self.members.all() if member.working]
            await self.jobs.put([row for row in due if any(member.can_drive(row) for member in living)])
        if await self.members.on_duty("clear", self.settings.stall):
            await self.jobs.clear(stall=self.settings.stall)

    async def _work(self, group: asyncio.TaskGroup) -> None:
        """Take legs from the queue; after an outage of the database, again."""
        room = asyncio.Semaphore(self.settings.room)

        async def begin(run: str) -> None:
            await room.acquire()
            if self._drain.is_set() or run in self._legs:
                room.release()
                return
            task = self._legs[run] = group.create_task(self._leg(run))
            task.add_done_callback(lambda _: (room.release(), self._legs.pop(run, None)))
            await asyncio.wait([task])

        while True:
            try:
                await self.jobs.work(
                    begin,
                    queues=[queue_of(speaks) for speaks in self.member.speaks],
                    room=self.settings.room,
                    heartbeat=self.settings.heartbeat,
                    stall=self.settings.stall,
                )
            except RunError as error:
                self._troubled(error)
            await asyncio.sleep(self.settings.sweep)

    async def _settle(self) -> None:
        """Let what is in flight end, within the grace; leave the rest to others."""
        until = awake() + self.settings.grace
        while self._legs and awake() < until:
            for run in self.runs.driving:  # also one whose claim was still on its way a moment ago
                self.runs.pause(run)
            await asyncio.wait(list(self._legs.values()), timeout=SETTLE)
        for task in (late := list(self._legs.values())):
            task.cancel()
        if late:
            await asyncio.wait(late)

    # -- one leg --------------------------------------------------------------------------------------------------

    async def _leg(self, run: str) -> None:
        row = await self._row(run)
        if row is None:
            return
        taken = row.owner is not None
        began = awake()
        self.emit(LegBegan(self.clock.now(), run, row.workflow, takeover=taken))
        how = "failed"
        try:
            how = await self._driven(row)
        finally:
            self.emit(LegEnded(self.clock.now(), run, row.workflow, how, awake() - began))

    async def _row(self, run: str) -> RunRow | None:
        """The run, if there is something that this worker can do for it."""
        try:
            row = await self.runs.ledger.row(run)
            if not row.due(self.clock.now()) or not self.member.can_drive(row):
                return None  # a job too many
            lost = row.deaths + (row.owner is not None)
            if lost >= POISON:
                why = f"{lost} legs in a row were lost without getting anywhere"
                log.error("run %s is parked: %s", run, why)
                await self.runs.ledger.park(row, why)
                return None
        except RunError as error:
            log.warning("run %s: %s", run, error.message)
            return None
        return row

    async def _driven(self, row: RunRow) -> str:
        """How the leg ended: the status of the run, `busy`, `held`, `lost` or `failed`."""
        try:
            async with self.limits.leg(row, self.member.id) as room:
                if not room:
                    await self.runs.ledger.postpone(row.id, HELD)
                    return "held"
                report = await self.runs.drive(row.id, self.dispatch)
        except Busy:
            return "busy"
        except LostRun as error:
            log.warning("%s", error.message)
            return "lost"
        except Unreachable as error:  # that is no fault of the run
            self._troubled(error)
            return "failed"
        except MotetError as error:
            log.warning("run %s: %s", row.id, error.message)
            await self._fault(row, error.message)
            return "failed"
        except Exception:
            log.exception("run %s: a mistake of motet's own; the other runs go on", row.id)
            await self._fault(row, "its leg failed by a mistake of motet's own: see the worker's log")
            return "failed"
        return report.status

    async def _fault(self, row: RunRow, why: str) -> None:
        try:
            if await self.runs.ledger.fault(row.id, again_in=self.settings.again) >= POISON:
                log.error("run %s is parked: %s", row.id, why)
                await self.runs.ledger.park(await self.runs.ledger.row(row.id), why)
        except RunError as error:
            self._troubled(error)


@asynccontextmanager
async def draining_on(worker: Worker, *signals: int) -> AsyncGenerator[None]:
    """Inside, each of these signals drains the worker."""
    loop = asyncio.get_running_loop()
    for signal in signals:
        loop.add_signal_handler(signal, worker.drain)
    try:
        yield
    finally:
        for signal in signals:
            loop.remove_signal_handler(signal)
