"""A run at the command line: driven here, or handed to the workers of a database and watched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from motet.calls import Ask
from motet.cli import asking, board, output, runs, session
from motet.config.model import Config
from motet.engine.asking import ASKABLE, put
from motet.engine.durable import VERSION, Durable
from motet.engine.journal import Ledger
from motet.engine.report import Report
from motet.engine.secrets import Secrets
from motet.engine.store.opening import is_database, open_store
from motet.engine.watching import watch
from motet.errors import RunError
from motet.events import Emit, ServerChanged
from motet.orchestrator import checking
from motet.orchestrator.orchestrator import Orchestrator
from motet.workflow.model import Workflow
from motet.workflow.touched import servers_of

LOOK_OUT = 5.0
"""Seconds between looks for workers that could drive a run that is watched."""

Begin = Callable[[Durable, Workflow], Awaitable[str]]
"""Makes or finds the run that is to go on, and gives its id."""


async def driven(
    config: Config, given: str | None, workflow: Workflow, begin: Begin, *, check: bool = False, yes: bool = False
) -> tuple[Report, bool]:
    """Begin or find a run and see it through, here or with the workers of the database that is named.

    Gives its report, and whether Ctrl-C ended this early. `check`: the workflow is checked first. Raises RunError, or
    WorkflowError when it does not check.
    """
    place = runs.where(config, given)
    if is_database(place) and await someone_could(place, servers_of(workflow)):
        return await _watched(config, place, workflow, begin, check=check, yes=yes)
    return await _here(config, place, workflow, begin, check=check, yes=yes)


async def someone_could(place: str, needs: set[str] | None) -> bool:
    """Is a worker alive that would take a run that may touch these servers? Raises RunError."""
    from motet.engine.fleet.members import Members

    async with open_store(place) as store:
        members = await Members(store).all()
    wanted = None if needs is None else frozenset(needs)
    return any(member.working and member.fits(VERSION, wanted) for member in members)


def _runnable(motet: Orchestrator, workflow: Workflow, *, check: bool) -> Workflow:
    return checking.runnable(motet.check(workflow), workflow.path) if check else workflow


async def _here(
    config: Config, place: str, workflow: Workflow, begin: Begin, *, check: bool, yes: bool
) -> tuple[Report, bool]:
    if not check:
        runs.served(config, servers_of(workflow))
    paused: list[str] = []
    journals: list[Durable] = []

    def told(event: object) -> None:
        view.tell(event)
        if isinstance(event, ServerChanged) and event.state == "ready":
            for durable in journals:
                durable.server_back(event.server)  # steps that were deferred for it need not wait for their timer

    with board.shown(board.Board.of(workflow)) as view:
        ask = asking.asker(yes=yes, paused=view.paused)
        async with (
            session.connected(config, servers_of(workflow), emit=told, ask=ask, settle=False) as motet,
            runs.journal(config, place, emit=view.tell) as durable,
        ):
            journals.append(durable)
            run = await begin(durable, _runnable(motet, workflow, check=check))
            with session.interruptible(lambda: _pause(durable, run, paused)):
                report = await durable.drive(run, motet.host, ask=ask)
        if not paused:
            view.settle(report)
    return report, bool(paused)


def _pause(durable: Durable, run: str, paused: list[str]) -> None:
    durable.pause(run)
    paused.append(run)
    output.say(f"pausing: what is in flight ends; go on with: motet resume {run} (Ctrl-C again leaves it as it is)")


async def left(config: Config, given: str | None, workflow: Workflow, begin: Begin) -> tuple[str, str]:
    """Check a workflow, begin its run and leave it to workers; gives its id, and why none takes it up, if none does.

    Raises as `driven`.
    """
    from motet.engine.fleet.members import Members, who_could

    place = runs.where(config, given)
    if not is_database(place):
        raise RunError(f"only workers drive runs that are left alone, and {place} is a file", hint="--database URL")
    run = await _handed_over(config, place, workflow, begin, check=True)
    async with open_store(place) as store:
        return run, who_could(await Ledger(store).row(run), await Members(store).all())


async def _handed_over(config: Config, place: str, workflow: Workflow, begin: Begin, *, check: bool) -> str:
    from motet.engine.fleet.jobs import open_jobs

    async with AsyncExitStack() as stack:
        if check:
            motet = await stack.enter_async_context(session.connected(config, servers_of(workflow), settle=False))
            workflow = _runnable(motet, workflow, check=True)
        durable = await stack.enter_async_context(runs.journal(config, place))
        run = await begin(durable, workflow)
        jobs = await stack.enter_async_context(open_jobs(place))
        await jobs.put([await durable.ledger.row(run)])
    return run


async def watched(config: Config, given: str | None, run: str) -> None:
    """Show what happens to a run that others drive, until it ended or only waits. Raises RunError."""
    async with runs.journal(config, given) as durable:
        workflow = durable.workflow(await durable.ledger.bundle(run))
        with board.shown(board.Board.of(workflow)) as view:
            async for event in watch(durable, run):
                view.tell(event)
            view.settle(await durable.show(run))


async def _watched(
    config: Config, place: str, workflow: Workflow, begin: Begin, *, check: bool, yes: bool
) -> tuple[Report, bool]:
    """See a run through that workers drive; whoever sits here answers what it asks."""
    run = await _handed_over(config, place, workflow, begin, check=check)
    with board.shown(board.Board.of(workflow)) as view:
        ask = asking.asker(yes=yes, paused=view.paused)
        async with runs.journal(config, place) as durable, asyncio.TaskGroup() as group:
            follower = group.create_task(_follow(durable, run, view.tell, ask))
            lookout = group.create_task(_look_out(durable, run))
            with session.interruptible(follower.cancel):
                await asyncio.wait([follower])
            lookout.cancel()
            report = await durable.show(run)
        if follower.cancelled():
            output.say(f"run {run} goes on without you; see it with: motet show {run}")
        else:
            view.settle(report)
    return report, follower.cancelled()


async def _look_out(durable: Durable, run: str) -> None:
    """Say so when the run could go on and no worker is left who could drive it."""
    from motet.engine.fleet.members import Members, stuck

    told = ""
    while True:
        await asyncio.sleep(LOOK_OUT)
        row = await durable.ledger.row(run)
        found = stuck([row], await Members(durable.ledger.store).all(), durable.now())
        why = found[0][1] if found else ""
        if why and why != told:
            output.say(f"run {run} waits: {why}; start one with: motet worker")
        told = why


async def _follow(durable: Durable, run: str, tell: Emit, ask: Ask | None) -> None:
    """Tell what happens to the run, and have answered what it asks, until it ended or only waits for others."""
    while True:
        async for event in watch(durable, run):
            tell(event)
        state = await durable.state(run)
        waits = [unit.waiting for unit in state.waiting if unit.waiting is not None]
        asked = [waiting for waiting in waits if waiting.reason in ASKABLE]
        if state.ended or ask is None or not asked:
            return
        for waiting in asked:
            said = await put(waiting, ask, show=Secrets(state.began.nonce).shown)
            if said is None:
                return
            await durable.answer(
                run, waiting.key, said.verdict, who=said.who or asking.who(), data=said.data, note=said.note
            )
