"""Drives one run: takes what `RunState` says may be done, does it, and writes down what came of it.

Everything that moves the run is first an entry: recorded in the journal, then applied to the state, in one breath.
Before a call that changes something is sent, all entries so far are durable; so whoever finds one started and not
finished knows that it may have acted, and a journal that takes no more ends the run before its next effect. One task
per act in flight; a waiting run has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any, cast

import msgspec

from motet.calls import Ask, Asked, Call, Done, Failed, Json, Outcome, Progress, Reply, Round, looked_at
from motet.engine.asking import ASKABLE, put
from motet.engine.changes import step_changed
from motet.engine.ports import Dispatch, Journal, Now
from motet.engine.results import came, dropped, read_result
from motet.engine.secrets import Secrets
from motet.errors import CallError, Fenced, RunError
from motet.events import DataFlowed, Emit, RunChanged, StepProgress, nobody
from motet.workflow.entries import (
    Answered,
    Cancelled,
    Ended,
    Entry,
    ErrorInfo,
    Finished,
    Result,
    Started,
    Verdict,
    Waiting,
    Woke,
    came_of,
    error_info,
)
from motet.workflow.runstate import RunState
from motet.workflow.scopes import Act, Request, digest_of
from motet.workflow.standing import DRY, SETTLED, Node, Unit

_SAME_MOMENT = 0.01
"""Seconds within which a call's deadline and its workflow's are one."""


class Drive:
    """One run, driven by one owner."""

    def __init__(
        self,
        state: RunState,
        journal: Journal,
        dispatch: Dispatch,
        *,
        now: Now,
        emit: Emit,
        ask: Ask | None,
        secrets: Secrets,
        parallel: int = 64,
        parks: float | None = None,
        dry: str = "",
    ) -> None:
        self.state = state
        self.journal = journal
        self.dispatch = dispatch
        self.now = now
        self.emit = emit
        self.ask = ask
        self.secrets = secrets
        self.parallel = parallel
        self.parks = parks
        """Return when nothing is left but waiting, and nothing will happen within so many seconds. None: wait here."""
        self.dry = dry
        """Empty: everything is done. `plan`: nothing is sent. `reads`: only what changes nothing."""
        self.errors: dict[str, CallError] = {}
        """The errors of calls as they were raised, for those who want them as exceptions."""
        self.before_end: Callable[[], None] | None = None
        """Told just before the end is written down."""
        self.late: Callable[[str, Json], None] | None = None
        """Given the data of an answer that came after its call was given up, or after the run was lost."""
        self.fence: Callable[[], bool] | None = None
        """Is the run still ours, as far as this process can tell without asking? None: nobody can take it."""
        self.regain: Callable[[], Awaitable[None]] | None = None
        """Make sure that it is. Raises `RunError` when it is not."""
        self.storable: Callable[[Json], bool] = lambda _: True
        """May the journal hold that? Asked of what can neither be redacted nor refused where it comes from."""
        self.paused = False
        """Nothing more is begun."""
        self._given_up: RunError | None = None
        self.stopped: Callable[[], None] | None = None
        """Told, once, that no new step will begin."""
        self.watch: Callable[[Node], None] | None = None
        """Told of every step that settled."""
        self.flows: dict[str, tuple[tuple[str, str, str], ...]] = {}
        """Which answers feed a step, where the file does not tell."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._calls: dict[str, Call] = {}
        self._dropped: set[str] = set()
        self._woken = asyncio.Event()
        self._sleeps_until: float | None = None
        self._loop = asyncio.get_running_loop()
        self._group: asyncio.TaskGroup | None = None
        self._told = ""

    # -- what others may say --------------------------------------------------------------------------------------

    def cancel(self, who: str = "", *, message: str = "") -> None:
        """End the run in good order: what is in flight ends, what was done is undone, `finally` runs."""
        if not self.state.ended:
            self.note(Cancelled(at=self._at(), who=who, message=message))
            self.pump()

    def answer(
        self,
        key: str,
        verdict: Verdict,
        *,
        who: str = "",
        data: Json = None,
        note: str = "",
        message: str = "",
        said: float | None = None,
    ) -> None:
        """Answer what waits. Raises `RunError` when nothing of that key waits for such an answer."""
        at = self._at()
        self.note(Answered(at=at, key=key, verdict=verdict, who=who, data=data, note=note, message=message, said=said))
        self.pump()

    def server_back(self, server: str) -> None:
        """A server can be reached again: steps that wait for it are tried now rather than at their next turn."""
        for unit in self.state.waiting:
            waiting = unit.waiting
            if waiting is not None and waiting.reason == "server" and unit.node.server == server:
                self.note(Woke(at=self._at(), key=unit.key, over=False))
        self.pump()

    # -- the loop -------------------------------------------------------------------------------------------------

    async def go(self) -> None:
        """Drive until the run has ended, or, when this drive parks, until only waiting is left.

        Raises `RunError` when the journal takes no more, or the run cannot move at all.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._turn()
                for task in self._asking.values():
                    task.cancel()
        except* RunError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._group = None
        if self.state.ended:
            if self.before_end is not None:
                self.before_end()
            self.note(Ended(at=self._at(), status=self.state.status))
        await self.journal.durable()

    def pause(self) -> None:
        """Begin nothing more; `go` returns once what is in flight has ended."""
        self.paused = True
        for task in self._asking.values():
            task.cancel()
        self._woken.set()

    def give_up(self, error: RunError) -> None:
        """The run is no longer ours: begin nothing, end every call at once, and raise this from `go`.

        A call that may have acted and may not be repeated is waited for: what it answers is news for the new owner.
        """
        if self._given_up is not None:
            return
        self._given_up = error
        self._woken.set()
        for key, task in (*self._tasks.items(), *self._asking.items()):
            call = self._calls.get(key)
            if call is None or call.repeatable or not call.written or self.late is None:
                task.cancel()

    async def _turn(self) -> None:
        self._tell_status()
        self._ask_again()
        while True:
            self._woken.clear()
            if self._given_up is not None:
                if not self._tasks:
                    raise self._given_up
                await self._woken.wait()
                continue
            self._come_due()
            self._fill()
            if self.state.ended or (not self._tasks and self._is_over()):
                return
            await self._sleep()

    def _come_due(self, *, within: float = 0.0) -> None:
        while (entry := self.state.due(self.now(), within=within)) is not None:
            self.note(entry)

    def come_due(self, by: float) -> None:
        """End the waits that were over by then (seconds since 1970), whenever that is noticed."""
        while (entry := self.state.due(by)) is not None:
            self.note(msgspec.structs.replace(entry, at=self._at()))

    def _is_over(self) -> bool:
        if self.paused:
            return not self._asking
        if self.state.ready(1) or self.state.held:
            return False
        if not self.state.waiting:
            raise RunError(f"run {self.state.run} cannot go on: its steps wait for each other")
        if self.parks is None or self._asking:
            return False
        wakes = self.state.wakes_at()
        return wakes is None or wakes - self.now() > self.parks

    async def _sleep(self) -> None:
        until = self._sleeps_until = self.state.wakes_at()
        if self._woken.is_set():
            return
        try:
            async with asyncio.timeout(None if until is None else max(0.001, until - self.now())):
                await self._woken.wait()
        except TimeoutError:
            return

    def pump(self) -> None:
        """Begin what may be done, and let the loop look again when it has to."""
        if self._group is None:
            return
        self._tell()
        self._fill()
        if self.state.ended or not self._tasks or self.state.wakes_at() != self._sleeps_until:
            self._woken.set()

    def _fill(self) -> None:
        """Begin what may be done, as far as there is room."""
        while not self.paused and self._given_up is None and (room := self.parallel - len(self._tasks)) > 0:
            acts = self.state.ready(room)
            if not acts:
                break
            for act in acts:
                if act.key in self.state.in_flight or not self._launch(act):
                    break

    def _at(self) -> float:
        return max(self.now(), self.state.at)

    def note(self, entry: Entry) -> None:
        """Move by it and write it down. Raises `RunError`, and writes nothing, when it does not fit."""
        self.state.apply(entry)
        self.journal.record(entry)
        self._tell()

    # -- acts -----------------------------------------------------------------------------------------------------

    def _launch(self, act: Act) -> bool:
        """Begin one act. False when beginning it changed what is ready, so that one has to look again."""
        now = self._at()
        request = self.state.request(act, now)
        if isinstance(request, Result):
            self.note(Finished(at=now, key=act.key, result=request))
            return False
        match request.kind:
            case "approval":
                self._approval(act, request, now)
                return False
            case "wait":
                self._wait(act, request, now)
                return False
            case "read":
                self._begin_read(act, request, now)
            case _:
                return self._begin_call(act, request, now)
        return True

    def _spawn(self, key: str, work: Coroutine[None, None, None]) -> None:
        assert self._group is not None
        task = self._tasks[key] = self._group.create_task(work)
        task.add_done_callback(lambda task: self._ended(key, task))

    def _ended(self, key: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            self._over(key)

    def _over(self, key: str) -> None:
        """The act no longer takes a place. Called in the same breath as its entry, so that what it lets begin shares a
        commit with it.
        """  # noqa: D205 - one reason, two lines
        self._tasks.pop(key, None)
        self._calls.pop(key, None)
        self.pump()

    def _wait(self, act: Act, request: Request, now: float) -> None:
        if self.dry:
            self._show(act, request, now)
        else:
            self.note(Waiting(at=now, key=act.key, reason="timer", until=request.until))

    def _approval(self, act: Act, request: Request, now: float) -> None:
        if self.dry:
            self._show(act, request, now)
            return
        if self.ask is None and not self.state.durable:
            self._unanswered(act.key, now)
            return
        self.note(
            Waiting(
                at=now,
                key=act.key,
                reason="approval",
                until=request.until,
                shown=request.shown,
                digest=request.digest,
            )
        )
        self._ask_for(act.unit)

    def _unanswered(self, key: str, now: float) -> None:
        message = "nobody is here to answer"
        result = Result(status="failed", error=ErrorInfo(kind="unanswered", message=message), reason=message)
        self.note(Finished(at=now, key=key, result=result))

    def _ask_for(self, unit: Unit) -> None:
        """Ask whoever answers in place, if there is somebody."""
        assert self._group is not None
        if self.ask is not None:
            task = self._asking[unit.key] = self._group.create_task(self._put(unit, self.ask))
            task.add_done_callback(lambda _: self._asked(unit.key))

    def _ask_again(self) -> None:
        """Questions that were open when the run was let go are asked once more."""
        for unit in self.state.waiting:
            if unit.waiting is not None and unit.waiting.reason in ASKABLE:
                self._ask_for(unit)

    def _asked(self, key: str) -> None:
        self._asking.pop(key, None)
        self._woken.set()

    async def _put(self, unit: Unit, ask: Ask) -> None:
        waiting = unit.waiting
        if waiting is None:
            return
        said = await put(waiting, ask, show=self.secrets.shown)
        if unit.waiting is not waiting:
            return
        if said is not None:
            self.answer(unit.key, said.verdict, who=said.who, note=said.note, data=said.data)
        elif waiting.reason == "approval" and not self.state.durable:
            self.answer(unit.key, "reject", note="nobody is here to answer")

    # -- calls ----------------------------------------------------------------------------------------------------

    def _begin_call(self, act: Act, request: Request, now: float) -> bool:
        arguments = dict(request.arguments or {})
        try:
            call = self._prepared(act, request, now)
        except CallError as error:
            self._started(act, request, now, arguments, call=None)
            self.errors[act.key] = error
            self._finish(act.key, came_of(error_info(error), repeatable=True))
            return False
        reads = call.read_only or request.method == "prompts/get"
        if self.dry and not (self.dry == "reads" and reads):
            self._show(act, request, now, arguments)
            return False
        self._started(act, request, now, arguments, call=call)
        self._calls[act.key] = call
        self._spawn(act.key, self._call(act, request, call))
        return True

    def _prepared(self, act: Act, request: Request, now: float) -> Call:
        call = self.dispatch.prepare(
            request.server,
            "prompts/get" if request.method == "prompts/get" else "tools/call",
            request.name,
            self.secrets.resolved(dict(request.arguments or {})),
            key=request.key,
            deadline=self._loop_time(request.by, now),
            retry=request.retry,
            waits=True,
            on_progress=self._progress(act),
            round=None if request.round is None else Round(*request.round),
        )
        if not call.repeatable:
            call.fence = self.fence
            if act.kind == "call":
                call.on_late = self._on_late(act)
        return call

    def _loop_time(self, by: float | None, now: float) -> float | None:
        return None if by is None else self._loop.time() + (by - now)

    def _started(
        self, act: Act, request: Request, now: float, arguments: Mapping[str, Json], *, call: Call | None
    ) -> None:
        flows = self.flows.get(act.key) or request.flows
        repeatable = call is not None and (call.repeatable or call.read_only or request.method == "prompts/get")
        self.note(
            Started(
                at=now,
                key=act.key,
                kind=act.kind,
                repeatable=repeatable,
                reads=request.method == "prompts/get" or (call is not None and call.read_only),
                server=request.server,
                name=request.name,
                arguments=dict(arguments),
                idempotency_key=None if call is None else call.key,
                flows=flows,
            )
        )
        for server, step, argument in flows:
            if server != request.server:
                self.emit(DataFlowed(now, self.state.run, server, step, request.server, act.unit.key, argument))

    def _show(self, act: Act, request: Request, now: float, arguments: Mapping[str, Json] | None = None) -> None:
        """A dry run's way of doing a write: it is shown with its arguments, and not sent."""
        shown = request.shown if arguments is None else dict(arguments)
        started = Started(
            at=now,
            key=act.key,
            kind=act.kind,
            reads=True,
            server=request.server or None,
            name=request.name or None,
            arguments=shown,
        )
        self.note(started)
        self.note(Finished(at=now, key=act.key, result=Result(status="skipped", reason=DRY)))

    async def _call(self, act: Act, request: Request, call: Call) -> None:
        try:
            outcome = await self._send(call)
        except asyncio.CancelledError:
            if act.key not in self._dropped:
                raise
            self._finish(act.key, dropped(call))
            self._over(act.key)
            return
        if self._given_up is not None:
            outcome = looked_at(outcome)
            if isinstance(outcome, Done) and self.late is not None:
                self.late(act.key, outcome.data)
            self._over(act.key)
            return
        if isinstance(outcome, Asked):
            await self._questions(act, request, outcome)
            return
        if isinstance(outcome, Failed):
            self.errors[act.key] = outcome.error
        result = came(outcome, repeatable=call.repeatable, parse_json=request.parse_json, failures=call.failures or ())
        self._finish(act.key, result)
        self._over(act.key)

    async def _send(self, call: Call) -> Outcome:
        """Send it; what changes something only when the journal holds all so far, what may not be repeated only while
        the run is certainly ours.
        """  # noqa: D205 - one sentence, two lines
        while True:
            if not call.read_only:
                await self.journal.durable()
            outcome = await self.dispatch.attempt(call)
            if self.regain is None or not (isinstance(outcome, Failed) and isinstance(outcome.error, Fenced)):
                return outcome
            await self.regain()

    async def _questions(self, act: Act, request: Request, asked: Asked) -> None:
        """Answer in place when somebody is here, else let the step wait with its questions."""
        waits = act.kind in ("call", "prompt")
        if waits and self.state.durable and not self.storable(asked.state):
            self._unasked(act, asked, "its own state holds a configured secret, and may not be stored")
            return
        answers = await self._answers(asked)
        if answers is not None and waits:
            self._wait_for_answers(act, asked)
            self.answer(act.key, "answer", data=answers)
        elif answers is not None:
            await self._next_round(act, replace(request, round=(answers, asked.state)))
        elif self.state.durable and waits:
            self._wait_for_answers(act, asked)
        else:
            self._unasked(act, asked, "nobody is here to answer")

    def _unasked(self, act: Act, asked: Asked, why: str) -> None:
        first = asked.questions[0]
        message = f"asks: {first.message}; {why}"
        error = ErrorInfo(kind="unanswered", message=message, server=first.server)
        self._finish(act.key, Result(status="failed", error=error, reason=message, attempts=asked.attempts))

    async def _next_round(self, act: Act, request: Request) -> None:
        """A reconcile, a fallback or an undo never waits: with its answers it is sent again at once."""
        try:
            call = self._calls[act.key] = self._prepared(act, request, self._at())
        except CallError as error:
            self.errors[act.key] = error
            self._finish(act.key, came_of(error_info(error), repeatable=True))
            self._over(act.key)
            return
        await self._call(act, request, call)

    async def _answers(self, asked: Asked) -> dict[str, Json] | None:
        """What somebody here says to all of its questions."""
        if self.ask is None:
            return None
        answers: dict[str, Json] = {}
        for number, question in enumerate(asked.questions):
            answer = await self.ask(question)
            if answer is None:
                return None
            answers[question.key or str(number)] = {"action": answer.action, "content": answer.content}
        return answers

    def _wait_for_answers(self, act: Act, asked: Asked) -> None:
        questions = [
            {"key": q.key, "kind": q.kind, "server": q.server, "message": q.message, "schema": q.schema, "url": q.url}
            for q in asked.questions
        ]
        self.note(
            Waiting(
                at=self._at(),
                key=act.key,
                reason="question",
                shown=questions,
                digest=digest_of([act.key, questions, asked.state]),
                round_state=asked.state,
                attempts=asked.attempts,
            )
        )

    def _finish(self, key: str, result: Result) -> None:
        if result.status != "done":
            self._come_due(within=_SAME_MOMENT)  # a call that a workflow's own time ended is not the cause of the end
        self.note(Finished(at=self._at(), key=key, result=result))

    def _progress(self, act: Act) -> Callable[[Progress], None]:
        def tell(progress: Progress) -> None:
            self.emit(
                StepProgress(
                    self._at(),
                    self.state.run,
                    act.unit.key,
                    progress.progress,
                    progress.total,
                    progress.message or "",
                )
            )

        return tell

    def _on_late(self, act: Act) -> Callable[[Reply | CallError], None]:
        def came_late(reply: Reply | CallError) -> None:
            if isinstance(reply, CallError):
                return
            late = looked_at(Done(reply))
            if not isinstance(late, Done):
                return
            if self.late is not None:
                self.late(act.key, late.data)
            elif act.unit.status == "unknown" and not self.state.ended:
                self.answer(act.key, "done", who="late answer", data=late.data)

        return came_late

    # -- reads ----------------------------------------------------------------------------------------------------

    def _begin_read(self, act: Act, request: Request, now: float) -> None:
        targets = dict(request.targets or {})
        uris: dict[str, Json] = {key: uri for key, (uri, _) in targets.items()}
        started = Started(
            at=now, key=act.key, kind="read", repeatable=True, reads=True, arguments=uris, flows=request.flows
        )
        if self.dry == "plan":
            self.note(started)
            self.note(Finished(at=now, key=act.key, result=Result(status="skipped", reason=DRY)))
            return
        servers = {self._server_of(uri, named) for uri, named in targets.values()}
        only = servers.pop() if len(servers) == 1 else None
        self.note(msgspec.structs.replace(started, server=only))
        for source, step, argument in request.flows:
            uri, named = targets.get(argument, ("", None))
            target = self._server_of(uri, named) or ""
            if target != source:
                self.emit(DataFlowed(now, self.state.run, source, step, target, act.unit.key, argument))
        self._spawn(act.key, self._read(act, request, targets))

    def _server_of(self, uri: str, named: str | None) -> str | None:
        try:
            return self.dispatch.route(uri, named)
        except CallError:
            return named

    async def _read(self, act: Act, request: Request, targets: Mapping[str, tuple[str, str | None]]) -> None:
        found: dict[str, Outcome] = {}
        room = asyncio.Semaphore(self.parallel)
        deadline = self._loop_time(request.by, self._at())

        async def one(key: str, uri: str, named: str | None) -> None:
            async with room:
                try:
                    server = self.dispatch.route(uri, named)
                    address = str(self.secrets.resolved({"uri": uri})["uri"])
                    call = self.dispatch.prepare(
                        server, "resources/read", address, {}, deadline=deadline, retry=request.retry, waits=True
                    )
                except CallError as error:
                    found[key] = Failed(error)
                else:
                    found[key] = await self.dispatch.attempt(call)

        try:
            async with asyncio.TaskGroup() as group:
                for key, (uri, named) in targets.items():
                    group.create_task(one(key, uri, named))
        except asyncio.CancelledError:
            if act.key not in self._dropped:
                raise
            self._finish(act.key, Result(status="cancelled", reason="stopped"))
            return
        came_of = {key: (self._server_of(uri, named) or "", uri, found[key]) for key, (uri, named) in targets.items()}
        self._finish(act.key, read_result(came_of, request.form))
        self._over(act.key)

    # -- telling --------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        state = self.state
        if state.changes:
            changes = list(state.changes)
            state.changes.clear()
            heard = self.emit is not nobody or self.watch is not None or self._asking
            for change in changes if heard else ():
                unit = change.unit
                if unit is not None and unit.key in self._asking and unit.waiting is None:
                    self._asking[unit.key].cancel()
                if self.watch is not None and change.node.status in SETTLED:
                    self.watch(change.node)
                self.emit(step_changed(state, change))
        if self.stopped is not None and state.root.stage != "forward":
            self.stopped()
            self.stopped = None
        if state.unwanted:
            unwanted = list(state.unwanted)
            state.unwanted.clear()
            for started in unwanted:
                self._drop(started)
        if self._told in ("running", "waiting") or self._told != state.status:
            self._tell_status()

    def _tell_status(self) -> None:
        status = self.state.status
        if status != self._told:
            self._told = status
            self.emit(RunChanged(self.state.at, self.state.run, self.state.root.workflow.name, status))

    def _drop(self, started: Started) -> None:
        """End an act nobody needs any more, if that is free: it changes nothing, or was not written yet."""
        call = self._calls.get(started.key)
        unwritten = call is not None and not call.written
        task = self._tasks.get(started.key)
        if task is not None and (started.reads or unwritten):
            self._dropped.add(started.key)
            task.cancel()
            if getcoroutinestate(cast("Coroutine[Any, Any, None]", task.get_coro())) == CORO_CREATED:
                self._finish(started.key, Result(status="cancelled", reason="stopped"))  # it will never get to say so
