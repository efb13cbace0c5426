"""One claim's worth of driving: settle what was in flight, hear what was said, drive, and keep the claim meanwhile.

What was in flight when the last owner went is begun again when it may be repeated; else its outcome is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias, cast

from motet.calls import Json
from motet.engine.clock import awake
from motet.engine.driving import Drive
from motet.engine.journal import Claim, Ledger, Message, taken
from motet.engine.recording import RunJournal
from motet.errors import RunError
from motet.workflow.entries import Ended, ErrorInfo, Finished, Recovered, Result, Resumed, Verdict
from motet.workflow.runstate import RunState

HEAR = 0.25
"""Seconds between looks into the inbox of a run that is being driven."""
LATE = 300.0
"""Seconds for which a late answer is tried to be told to a journal that cannot be reached."""
DriveOf: TypeAlias = Callable[[RunState, RunJournal], Drive]


class Keeper:
    """Keeps the claims of every leg of this process, and hears for them: two statements, however many there are."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.legs: dict[str, Leg] = {}
        self.telling: set[asyncio.Task[None]] = set()
        """Late answers on their way to the journal; they may outlive their leg."""
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def keeping(self, leg: Leg) -> AsyncGenerator[None]:
        """Renew its lease and listen for it, for as long as the block lasts."""
        run = leg.claim.row.id
        self.legs[run] = leg
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._renew()), loop.create_task(self._listen())]
        try:
            yield
        finally:
            del self.legs[run]
            if not self.legs:
                tasks, self._tasks = self._tasks, []
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self.ledger.lease / 3)
            asked, legs = awake(), list(self.legs.values())
            try:
                holding = await self.ledger.renew([leg.claim.token for leg in legs])
            except RunError as error:
                for leg in legs:
                    if leg.holds_until <= awake():  # until then the run is ours, whatever the database says
                        leg.lose(error)
                continue
            for leg in legs:
                if leg.claim.token in holding:
                    leg.holds_until = asked + self.ledger.lease
                elif self.legs.get(leg.claim.row.id) is leg:
                    leg.lose(taken(leg.claim.row.id))

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(HEAR)
            with contextlib.suppress(RunError):  # what cannot be heard now is heard later, or by the next owner
                heard = await self.ledger.heard(list(self.legs))
                for run, messages in heard.items():
                    if (leg := self.legs.get(run)) is not None:
                        await leg.hear(messages)


class Leg:
    """One claim's worth of driving."""

    def __init__(self, keeper: Keeper, claim: Claim, claimed: float, state: RunState, drive_of: DriveOf) -> None:
        """`claimed`: when the claim was asked for, by `awake()`."""
        ledger = keeper.ledger
        self.ledger = ledger
        self.claim = claim
        self.state = state
        self.journal = RunJournal(ledger, claim)
        self.journal.ending = lambda: state.root.stage != "forward"
        self.drive = drive_of(state, self.journal)
        self.drive.before_end = self._status
        self.drive.late = self._late
        self.drive.fence = self.journal.holds = lambda: awake() < self.holds_until
        self.drive.regain = self._regain
        self.holds_until = claimed + ledger.lease
        """Until then, by `awake()`, nobody else can have claimed it."""
        self.parked = False
        """Is only waiting left?"""
        self.let = False
        """Was it let go?"""
        self._telling = keeper.telling

    def _status(self) -> None:
        self.journal.status = self.state.status

    async def go(self) -> None:
        """Recover, hear, drive; again while somebody speaks. Then the run is let go."""
        self._recover()
        heard = await self.hear(self.claim.inbox)
        if self.state.ended and not heard and self._is_settled():
            return
        while True:
            await self.drive.go()
            self.parked = True
            if self.drive.paused or await self.let_go() or not await self.hear():
                return
            self.parked = False

    async def let_go(self, *, heard: bool = True) -> bool:
        """Let go of the run, to be driven again when something is due. False when it is not ours any more, or, if
        `heard`, when something is in its inbox.
        """  # noqa: D205 - one sentence, two lines
        wake, status = None, None
        if not self.state.ended:
            parked = self.parked and self.state.status == "waiting"
            wake = self.state.wakes_at() if parked else 0.0
            status = self.state.status if parked else "running"
        if not heard:
            wake = 0.0
        self.let = await self.ledger.release(
            self.claim.row.id, self.claim.token, wake=wake, status=status, heard=heard, well=self.parked
        )
        return self.let

    def _is_settled(self) -> bool:
        last = self.claim.entries[-1]
        return isinstance(last, Ended)

    def _recover(self) -> None:
        """Settle what was in flight when the last owner went."""
        for act, started in list(self.state.in_flight.values()):
            at = max(self.drive.now(), self.state.at)
            stopping = act.unit.node.frame.stage == "stopping"
            if started.reads and stopping:
                self.drive.note(Finished(at=at, key=act.key, result=Result(status="cancelled", reason="stopped")))
            elif started.repeatable:
                self.drive.note(Recovered(at=at, key=act.key))
            else:
                message = "its process ended while it was in flight"
                error = ErrorInfo(
                    kind="interrupted", message=message, server=started.server, sent="unknown", transient=True
                )
                self.drive.note(
                    Finished(
                        at=at, key=act.key, result=Result(status="unknown", error=error, reason=message, attempts=1)
                    )
                )

    async def hear(self, messages: Sequence[Message] | None = None) -> bool:
        """Apply what was said; True when something was."""
        run = self.claim.row.id
        if messages is None:
            messages = (await self.ledger.heard([run])).get(run, ())
        for message in messages:
            refused = ""
            if message.id not in self.state.heard:  # else its entry is there, and only the mark was lost
                try:
                    self._obey(message)
                except RunError as error:
                    refused = error.message
            await self.journal.durable()  # a run that is not ours any more, or cannot be written, has heard nothing
            await self.ledger.take(message, refused=refused)
        return bool(messages)

    def lose(self, error: RunError) -> None:
        """The run is another process's by now."""
        self.journal.fail(error)
        self.drive.give_up(error)

    async def _regain(self) -> None:
        """Make sure that the run is ours. Raises `RunError`."""
        asked = awake()
        if self.claim.token not in await self.ledger.renew([self.claim.token]):
            error = taken(self.claim.row.id)
            self.lose(error)
            raise error
        self.holds_until = asked + self.ledger.lease

    def _obey(self, message: Message) -> None:
        body = message.body
        self.drive.come_due(message.at)  # what was said after the time was over was said too late
        at = max(self.drive.now(), self.state.at)
        match body.get("kind"):
            case "cancel":
                if self.state.ended:
                    raise RunError("the run has ended")
                self.drive.cancel(str(body.get("who", "")), message=message.id)
            case "resume":
                self.journal.status = "running"
                self.drive.note(Resumed(at=at, who=str(body.get("who", "")), message=message.id))
            case "answer":
                step = str(body.get("step", ""))
                waiting = self.state.find(step).waiting
                if body.get("shown") and waiting is not None and waiting.digest != body["shown"]:
                    raise RunError(f"`{step}` shows something else by now")
                self.drive.answer(
                    step,
                    cast("Verdict", body.get("verdict")),
                    who=str(body.get("who", "")),
                    data=body.get("data"),
                    note=str(body.get("note", "")),
                    message=message.id,
                    said=message.at,
                )
            case kind:
                raise RunError(f"`{kind}` means nothing to this motet")

    def tell_unwritten(self) -> None:
        """Answers that came when the run was another's already are news for the new owner."""
        for entry in self.journal.unwritten:
            if isinstance(entry, Finished) and entry.result.status == "done":
                started = self.state.find(entry.key).started
                if started is not None and not started.repeatable:
                    self._late(entry.key, entry.result.data)

    def _late(self, key: str, data: Json) -> None:
        """An answer that came after its call was given up."""
        body = {"kind": "answer", "step": key, "verdict": "done", "who": "late answer", "data": data, "note": ""}
        task = asyncio.get_running_loop().create_task(self._tell(body))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, body: Json) -> None:
        """Tell whoever drives the run, as soon as the journal can be reached again; after a while it is given up."""
        until, pause = awake() + LATE, HEAR
        while awake() < until:
            try:
                await self.ledger.tell(self.claim.row.id, self.drive.now(), body)
            except RunError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LATE / 10)
            else:
                return
