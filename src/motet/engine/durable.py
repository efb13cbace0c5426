"""The embedded carrier: runs that survive `kill -9`, driven in this process, kept in a journal.

A run is rows: its workflow as it was when it began, its entries, its inbox. To drive one is to claim it, replay its
entries into a `RunState`, settle what was in flight when its last owner went (repeatable: begin again; else: unknown),
hear the inbox, and go on until it ends or only waits for something far away. Then it is let go, and holds nothing.

    async with open_store(path) as store:
        runs = Durable(store, …)
        run = await runs.start(workflow, inputs, key="deploy-v2.1.0")
        report = await runs.drive(run, dispatch)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import msgspec

from motet.calls import Ask, Json
from motet.engine.asking import answered, guarded
from motet.engine.clock import awake
from motet.engine.driving import Drive
from motet.engine.journal import LEASE, Claim, Ledger, RunRow
from motet.engine.leg import Keeper, Leg
from motet.engine.memory import PARALLEL, check_inputs, new_nonce, new_run_id
from motet.engine.owners import forget
from motet.engine.ports import Dispatch, Now, Redact, as_it_is, wall_clock
from motet.engine.recording import RunJournal
from motet.engine.report import Report
from motet.engine.reporting import report_of
from motet.engine.secrets import Secrets
from motet.engine.store.sql import Store
from motet.errors import MotetError, RunError, WorkflowError
from motet.events import Emit, nobody
from motet.workflow.entries import Answered, Began, Entry, Finished, Recovered, Started, Verdict, Waiting, Woke
from motet.workflow.loading import bundle, unbundle
from motet.workflow.model import Workflow
from motet.workflow.runstate import RunState
from motet.workflow.touched import servers_of

VERSION = 1
"""Of the entries. A run of another version is refused with the reason, never guessed at."""
_FITS: Mapping[str, tuple[Verdict, ...]] = {
    "approval": ("approve", "reject"),
    "resolve": ("done", "failed", "retry"),
}
"""What may be said to a step that waits, by what it waits for."""
TOGETHER = 64
"""Runs that `resume_all` drives at once: they share commits."""
_REMEMBERED = 64
"""Workflows that are kept loaded."""
NEAR = 60.0
"""Seconds a run waits in the foreground for a timer before it is let go."""


class Durable:
    """All runs of one journal."""

    def __init__(
        self,
        store: Store,
        *,
        now: Now = wall_clock,
        emit: Emit = nobody,
        secrets: Mapping[str, str] | None = None,
        redact: Redact = as_it_is,
        parallel: int = PARALLEL,
        near: float = NEAR,
        lease: float = LEASE,
        keep: float | None = None,
    ) -> None:
        """`keep`: seconds after which runs that have ended are forgotten, whenever another one begins."""
        self.ledger = Ledger(store, lease=lease)
        self.now = now
        self._emit = emit
        self._secrets: Mapping[str, str] = {} if secrets is None else secrets
        self._redact = redact
        self._parallel = parallel
        self._near = near
        self._keep = keep
        self._workflows: dict[str, Workflow] = {}
        self._keeper = Keeper(self.ledger)

    # -- the life of a run ----------------------------------------------------------------------------------------

    async def start(
        self,
        workflow: Workflow,
        inputs: Mapping[str, Json] | None = None,
        *,
        run: str | None = None,
        key: str | None = None,
        priority: int = 0,
    ) -> str:
        """The id of a run that now exists: a new one, or the one that has this id or idempotency key already.

        Nothing is driven yet. Of two that could go on, workers take the one of higher `priority`.
        Raises `WorkflowError` when the inputs do not fit, `RunError` when a secret is not
        configured, when something that is stored holds the value of one, or when the journal cannot be written.
        """
        given = dict(inputs or {})
        check_inputs(workflow, given)
        bundled = packed(workflow)
        self._refuse_secrets(
            {f"input `{name}`": value for name, value in given.items() if not workflow.inputs[name].secret}
            | {"the workflow": bundled, "the run's id": run, "its key": key}
        )
        secrets = Secrets(new_nonce(workflow), self._secrets)
        began = Began(
            at=self.now(),
            run=run or new_run_id(),
            workflow=workflow.name,
            inputs=secrets.referred(workflow, given),
            digest=workflow.digest,
            version=VERSION,
            nonce=secrets.nonce,
        )
        if self._keep is not None:
            await self.ledger.prune(began.at - self._keep, compact=False)  # which would hold everybody else
        return await self.ledger.create(began, bundled, key=key, priority=priority, needs=_needs(servers_of(workflow)))

    def _refuse_secrets(self, stored: Mapping[str, Json]) -> None:
        """Raises `RunError` when something that would be stored holds the value of a configured secret."""
        for name, value in stored.items():
            if self._redact(value) != value:
                message = f"{name} holds the value of a configured secret, which would be stored with the run"
                raise RunError(message, hint="declare an input `secret: true`, and give the name of the secret")

    async def drive(self, run: str, dispatch: Dispatch, *, ask: Ask | None = None) -> Report:
        """Claim the run and go on with it until it ends, or only waits for something that is not near.

        Raises `LostRun` when another living process drives it, `RunError` when its journal is damaged, was written by
        another version, or takes no more: the run then stopped before its next effect. Cancelling this leaves the run
        as it stands, to be driven again.
        """
        claimed = awake()
        claim = await self.ledger.claim(run)
        leg: Leg | None = None
        try:
            state = replayed(self.workflow(claim.bundle), run, claim.entries)
            leg = Leg(self._keeper, claim, claimed, state, partial(self._drive_of, dispatch, ask))
            async with self._keeper.keeping(leg):
                await leg.go()
            return self._report(leg.state)
        except RunError:
            if leg is not None:
                leg.tell_unwritten()
            raise
        finally:
            await asyncio.shield(self._let_go(claim, leg))

    def pause(self, run: str) -> bool:
        """Begin nothing more in a run that this object drives: `drive` returns once what is in flight has ended.

        False when this object does not drive it. `resume` goes on with it.
        """
        leg = self._keeper.legs.get(run)
        if leg is not None:
            leg.drive.pause()
        return leg is not None

    @property
    def driving(self) -> frozenset[str]:
        """The runs that this object drives now."""
        return frozenset(self._keeper.legs)

    async def _let_go(self, claim: Claim, leg: Leg | None) -> None:
        with contextlib.suppress(RunError):  # it will be found by its owner's death, or by its lease
            if leg is None:
                await self.ledger.release(claim.row.id, claim.token, wake=None, well=False)
            elif not leg.let and not await leg.let_go():
                await leg.let_go(heard=False)
        forget(claim.token)

    def server_back(self, server: str) -> None:
        """A server can be reached again: steps deferred for it, in runs that this object drives, are tried now."""
        for leg in list(self._keeper.legs.values()):
            leg.drive.server_back(server)

    async def resume(self, run: str, dispatch: Dispatch, *, ask: Ask | None = None, who: str = "") -> Report:
        """Go on with a run: one that was interrupted or waits, or the gaps of one that ended partial.

        Raises `RunError` when it ended and nothing is left to do.
        """
        await self.call_up(run, who=who)
        return await self.drive(run, dispatch, ask=ask)

    async def call_up(self, run: str, *, who: str = "") -> None:
        """Make it a run that is to go on, for whoever drives it next; as `resume`, without driving it.

        Raises `RunError` when it ended and nothing is left to do.
        """
        row = await self.ledger.row(run)
        if not row.ended:
            await self.ledger.wake(run)
            return
        state = await self.state(run)
        if not state.gaps():
            unknown = any(unit.status == "unknown" for f in state.frames() for n in f.all_nodes for unit in n.units)
            hint = f"motet resolve {run} STEP --done|--failed" if unknown else f"motet rerun {run}"
            raise RunError(f"run {run} is {row.status}: nothing is left that could be done", hint=hint)
        await self._say(run, {"kind": "resume", "who": who})

    async def resume_all(
        self, dispatch: Dispatch, *, ask: Ask | None = None, may: Callable[[RunRow], None] | None = None
    ) -> dict[str, Report | MotetError]:
        """Go on with every run that is due or was interrupted, several at once; each with its report, or why not.

        `may` raises a `MotetError` for a run that is to be left alone.
        """
        found: dict[str, Report | MotetError] = {}
        room = asyncio.Semaphore(TOGETHER)

        async def one(row: RunRow) -> None:
            try:
                if may is not None:
                    may(row)
                async with room:
                    found[row.id] = await self.drive(row.id, dispatch, ask=ask)
            except MotetError as error:
                found[row.id] = error

        async with asyncio.TaskGroup() as group:
            for row in await self.ledger.due(self.now()):
                group.create_task(one(row))
        return found

    async def rerun(self, run: str, *, start: str | None = None, new: str | None = None) -> str:
        """The id of a new run of the same workflow and inputs. With `start`, steps that do not depend on that one keep
        what came of them. Idempotency keys are new. Raises `RunError` when there is no such run or step.
        """  # noqa: D205 - two sentences that belong together
        entries, _ = await self.ledger.entries(run)
        began = begun(run, entries)
        bundled = await self.ledger.bundle(run)
        workflow = self.workflow(bundled)
        kept = _kept(replayed(workflow, run, entries), entries, start) if start is not None else []
        fresh = Began(
            at=self.now(),
            run=new or new_run_id(),
            workflow=began.workflow,
            inputs=began.inputs,
            generation=began.generation + 1,
            digest=began.digest,
            version=VERSION,
            nonce=began.nonce,
            rerun_of=run,
        )
        row = await self.ledger.row(run)
        return await self.ledger.create(fresh, bundled, entries=kept, priority=row.priority, needs=row.needs)

    # -- what people say ------------------------------------------------------------------------------------------

    async def cancel(self, run: str, *, who: str = "") -> None:
        """End the run in good order, as soon as somebody drives it. Raises `RunError` when it has ended."""
        row = await self.ledger.row(run)
        if row.status not in ("running", "waiting"):
            raise RunError(f"run {run} is {row.status}")
        await self._say(run, {"kind": "cancel", "who": who})

    async def answer(
        self,
        run: str,
        step: str,
        verdict: Verdict,
        *,
        who: str = "",
        data: Json = None,
        note: str = "",
        digest: str = "",
    ) -> None:
        """Approve, reject, resolve or answer what waits.

        The answer is bound to what is shown now; `digest`, or the first characters of it, to what was shown before.
        Raises `RunError` when that step does not wait for such an answer, or something else is shown by now.
        """
        unit = (await self.state(run)).find(step)
        waiting = unit.waiting
        if waiting is not None and waiting.reason == "question":
            verdict, data = answered(waiting, verdict, who=who, data=data)
        elif verdict not in (_FITS["resolve"] if unit.status == "unknown" else _FITS.get(_reason(waiting), ())):
            what = f"is {unit.status}" if waiting is None else f"waits for {waiting.reason}"
            raise RunError(f"`{step}` of run {run} {what}: `{verdict}` is no answer to that")
        shown = "" if waiting is None else waiting.digest or ""
        if not shown.startswith(digest):
            raise RunError(f"`{step}` of run {run} shows something else by now", hint=f"motet show {run}")
        self._refuse_secrets({"the answer": data})
        body = {"kind": "answer", "step": step, "verdict": verdict, "data": data, "shown": shown}
        await self._say(run, {**body, "who": self._redact(who), "note": self._redact(note)})

    async def waiting(self, run: str, step: str) -> Waiting | None:
        """What that step waits for, with what is shown to whoever answers. Raises `RunError`."""
        return (await self.state(run)).find(step).waiting

    async def approve(self, run: str, step: str, *, who: str = "", note: str = "", digest: str = "") -> None:
        """Say yes: to an approval, or to a call that asks for one."""
        await self.answer(run, step, "approve", who=who, note=note, digest=digest)

    async def reject(self, run: str, step: str, *, who: str = "", note: str = "", digest: str = "") -> None:
        """Say no."""
        await self.answer(run, step, "reject", who=who, note=note, digest=digest)

    async def resolve(self, run: str, step: str, verdict: Verdict, *, data: Json = None, who: str = "") -> None:
        """Say what became of an unknown outcome: `done` (with its data), `failed`, or `retry` it."""
        await self.answer(run, step, verdict, who=who, data=data)

    async def _say(self, run: str, body: Json) -> None:
        await self.ledger.tell(run, self.now(), body)

    # -- looking --------------------------------------------------------------------------------------------------

    async def list(self, *, status: Sequence[str] = (), limit: int = 100) -> list[RunRow]:
        """The latest runs."""
        return await self.ledger.rows(status=status, limit=limit)

    async def state(self, run: str) -> RunState:
        """Where it stands by its journal. Nothing is claimed or changed."""
        entries, _ = await self.ledger.entries(run)
        return replayed(self.workflow(await self.ledger.bundle(run)), run, entries)

    async def show(self, run: str) -> Report:
        """Its report as it stands."""
        return self._report(await self.state(run))

    async def history(self, run: str) -> list[Entry]:
        """Everything it has done, in order."""
        return (await self.ledger.entries(run))[0]

    async def records(self, run: str) -> list[dict[str, Json]]:
        """Everything it has done, and what was said to it in vain, in order, as it may be shown."""
        entries, _ = await self.ledger.entries(run)
        state = replayed(self.workflow(await self.ledger.bundle(run)), run, entries)
        secrets = Secrets(state.began.nonce)
        told = [_told(state, entry) for entry in entries]
        refused = await self.ledger.refused(run)
        told += [{"event": "refused", "at": said.at, **said.body, "why": why} for said, why in refused]
        told.sort(key=lambda one: cast("float", one["at"]))
        return [cast("dict[str, Json]", self._redact(secrets.shown(one))) for one in told]

    async def verify(self, run: str) -> list[str]:
        """What is wrong with its journal; empty when it is whole and gives a state."""
        problems = await self.ledger.verify(run)
        if not problems:
            try:
                await self.state(run)
            except RunError as error:
                problems.append(error.message)
        return problems

    async def prune(self, before: float) -> int:
        """Forget runs that ended before then (seconds since 1970); how many."""
        return await self.ledger.prune(before)

    def _report(self, state: RunState) -> Report:
        secrets = Secrets(state.began.nonce)

        def redacted(value: Json) -> Json:
            return self._redact(secrets.shown(value))

        return report_of(state, redact=redacted if secrets.nonce else self._redact)

    def workflow(self, packed: str) -> Workflow:
        """The workflow of a run, as it was when the run began. Raises `RunError`."""
        known = self._workflows.get(packed)
        if known is None:
            if len(self._workflows) >= _REMEMBERED:
                self._workflows.clear()
            try:
                known = self._workflows[packed] = unbundle(msgspec.json.decode(packed))
            except (msgspec.DecodeError, WorkflowError) as error:
                message = f"the workflow that was stored with the run cannot be read: {error}"
                raise RunError(message, hint="was it stored by another motet? go on with that one") from error
        return known

    def _drive_of(self, dispatch: Dispatch, ask: Ask | None, state: RunState, journal: RunJournal) -> Drive:
        """A drive with this carrier's settings."""
        ask = None if ask is None else guarded(ask, self._redact)
        drive = Drive(
            state,
            journal,
            dispatch,
            now=self.now,
            emit=self._emit,
            ask=ask,
            secrets=Secrets(state.began.nonce, self._secrets),
            parallel=self._parallel,
            parks=self._near,
        )
        drive.storable = lambda value: self._redact(value) == value
        return drive


def packed(workflow: Workflow) -> str:
    """The workflow with all it runs, as it is stored."""
    return msgspec.json.encode(bundle(workflow), order="sorted").decode()


def _told(state: RunState, entry: Entry) -> dict[str, Json]:
    """The entry as JSON, without what nobody is to see: data that is not kept, and what makes secrets' names theirs."""
    if isinstance(entry, Began):
        entry = msgspec.structs.replace(entry, nonce="")
    elif isinstance(entry, Finished) and not state.find(entry.key.rpartition(" ")[2]).node.step.keep:
        entry = msgspec.structs.replace(entry, result=msgspec.structs.replace(entry.result, data=None))
    elif isinstance(entry, Answered) and not state.find(entry.key).node.step.keep:
        entry = msgspec.structs.replace(entry, data=None)
    return msgspec.to_builtins(entry)


def _reason(waiting: Waiting | None) -> str:
    return "" if waiting is None else waiting.reason


def _needs(servers: set[str] | None) -> str:
    return msgspec.json.encode(None if servers is None else sorted(servers)).decode()


def replayed(workflow: Workflow, run: str, entries: Sequence[Entry]) -> RunState:
    """The state that these entries give. Raises `RunError`."""
    began = begun(run, entries)
    if began.digest != workflow.digest:
        message = f"run {run}: its workflow is not the one that it began with"
        raise RunError(message, hint=f"motet verify {run}")
    state = RunState(workflow, began, durable=True)
    for entry in entries[1:]:
        state.apply(entry)
    state.changes.clear()
    state.unwanted.clear()
    return state


def begun(run: str, entries: Sequence[Entry]) -> Began:
    """The entry it begins with. Raises `RunError` when that is missing, or of another version."""
    if not entries or not isinstance(entries[0], Began):
        raise RunError(f"run {run} does not begin at its beginning", hint=f"motet verify {run}")
    if entries[0].version != VERSION:
        raise RunError(
            f"run {run} was written in version {entries[0].version} of the journal; this motet speaks {VERSION}",
            hint="finish it with the motet that began it",
        )
    return entries[0]


def _kept(state: RunState, entries: Sequence[Entry], start: str) -> list[Entry]:
    """What came of the steps that are done, still stand, and do not depend on `start`."""
    nodes = state.root.nodes
    if start not in nodes:
        raise RunError(f"the workflow has no step `{start}`", hint=f"its steps: {', '.join(nodes)}")
    stands = {
        name
        for name, node in nodes.items()
        if (node.status == "done" and node.record()["undo"] == "none")
        or (node.status == "skipped" and node.reason == "if")
    }
    again = {start} | (nodes.keys() - stands)
    waiting = list(again)
    while waiting:
        later = {node.step.name for node in nodes[waiting.pop()].dependents} - again
        again |= later
        waiting += later
    told = (Started, Finished, Waiting, Answered, Woke, Recovered)
    return [entry for entry in entries if isinstance(entry, told) and _step_of(entry.key) in nodes.keys() - again]


def _step_of(key: str) -> str:
    return key.rpartition(" ")[2].split("/", 1)[0].split("[", 1)[0]
