"""The host: every configured server at once, each kept apart from the others.

Entering it starts all servers together and returns as soon as the healthy ones are up: when every server has settled
(ready, or failed for the first time), or when all have been started, at least one is ready and nothing more has settled
for a while (a quarter of the time it took so far, 0.05 to 0.5 s). A silent server therefore costs a moment, not its
connect deadline; it joins later, and calls to it wait for it within their own time. Servers marked `required` are
waited for, and their failure is the host's.

Below the host things raise; `attempt` turns what came of a call into a value.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import cast

import orjson

from motet.calls import (
    Answer,
    Ask,
    Asked,
    Call,
    Done,
    Failed,
    InputRequired,
    Json,
    Method,
    Outcome,
    Progress,
    Question,
    Reply,
    Retry,
    Round,
)
from motet.catalog.boundary import Finding
from motet.catalog.catalog import Catalog, ServerCatalog
from motet.catalog.tool import Tool
from motet.config.model import Config, ServerConfig
from motet.config.secrets import Redactor
from motet.errors import (
    CallError,
    InvalidArguments,
    PolicyRefused,
    ServerUnavailable,
    ToolChanged,
    UnknownAddress,
    UnusableAnswer,
)
from motet.events import CallSettled, CallStarted, Emit, Noticed, nobody
from motet.host.exposure import exposure
from motet.host.memory import Difference, Memory
from motet.host.policy import keyed
from motet.host.secrecy import plain_asked, plain_error, plain_events, plain_late, plain_reply
from motet.host.server import HostedServer, invalid
from motet.host.watching import Watch, Watches
from motet.upstream.opening import open_connection
from motet.upstream.pace import Pace
from motet.upstream.supervisor import CLOSE_GRACE, Open, Supervisor
from motet.upstream.waiting import clock_of

Authorize = Callable[[Call], None]
"""May this call be made? Raises PolicyRefused when not. Asked after the configured policy."""

APPROVAL = "motet/approval"
"""The key of our own question in a round."""
ROUNDS = 10
"""How often one call may be asked back before it is given up."""
ANSWER_WITHIN = 600.0
"""Seconds an `ask` callback has for one question, when the call brings no deadline."""
QUIET = (0.05, 0.5)
"""Bounds, in seconds, of the quiet that ends the wait for late servers."""

Address = tuple[str | None, str]


class Host:
    """All servers of a configuration. Enter it once; leaving it ends every server, in parallel, within its bound."""

    def __init__(
        self,
        config: Config,
        *,
        emit: Emit | None = None,
        ask: Ask | None = None,
        authorize: Authorize | None = None,
        redactor: Redactor | None = None,
        opening: Open = open_connection,
        chance: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,  # noqa: TID251 - handed on: the age of a listing is told in wall time
    ) -> None:
        """`redactor` knows the secrets to be kept out of replies and errors; None: those of the configuration."""
        self.config = config
        self.servers: dict[str, HostedServer] = {}
        self._redactor = redactor if redactor is not None else Redactor(_secrets(config))
        self.emit = emit if emit is not None else nobody
        if self._redactor and emit is not None:
            self.emit = plain_events(emit, self._redactor)
        self._observed = self.emit is not nobody
        self._secretive = bool(self._redactor)
        self._ask = ask
        self._authorize = authorize
        self._opening = opening
        self._chance = chance
        self._wall = wall
        self._state = None if config.state is None else Path(config.state)
        self._memory = Memory(self._state)
        self._catalog = Catalog({})
        self._watches = Watches(lambda server, uris, tell: self.servers[server].supervisor.watch(uris, tell))
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unsaved: set[str] = set()
        self._save = asyncio.Event()
        self._settled = asyncio.Event()

    # -- coming and going ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Host:
        """Start every server. Raises the ServerUnavailable of a `required` server that does not come up."""
        loop = asyncio.get_running_loop()
        self._clock = clock_of(loop)
        self._pace = Pace(self._clock)
        for config in self.config.servers.values():
            self.servers[config.name] = self._hosted(config)
        self._catalog = Catalog({name: server.catalog for name, server in self.servers.items()})
        for name, server in self.servers.items():
            task = loop.create_task(server.supervisor.run(), name=f"motet {name}")
            task.add_done_callback(self._ended)
            self._tasks[name] = task
        if self._state is not None:
            self._tasks[""] = loop.create_task(self._keep(), name="motet memory")
        try:
            await self._gathered()
        except BaseException:  # nothing of a host that did not come up may be left
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def _hosted(self, config: ServerConfig) -> HostedServer:
        def supervise(owner: HostedServer, part: ServerCatalog) -> Supervisor:
            return Supervisor(
                config,
                owner,
                emit=self.emit,
                clock=self._clock,
                wall=self._wall,
                chance=self._chance,
                pace=self._pace,
                part=part,
                ask=self._ask,
                memory=self._state,
                opening=self._opening,
            )

        return HostedServer(
            config,
            supervise=supervise,
            recall=lambda: self._memory.load(config),
            emit=self.emit,
            clock=self._clock,
            chance=self._chance,
            on_listed=self._listed,
        )

    async def _gathered(self) -> None:
        """Wait as the module says. Raises for a required server."""
        began = self._clock()
        news = asyncio.Event()
        waiting = [asyncio.ensure_future(server.supervisor.settled.wait()) for server in self.servers.values()]
        for one in waiting:
            one.add_done_callback(lambda _: news.set())
        supervisors = [server.supervisor for server in self.servers.values()]
        try:
            while not all(one.done() for one in waiting):
                up = any(supervisor.connected for supervisor in supervisors)
                begun = all(supervisor.begun for supervisor in supervisors)
                quiet = min(max((self._clock() - began) / 4, QUIET[0]), QUIET[1])
                try:
                    async with asyncio.timeout(quiet if up else None):
                        await news.wait()
                except TimeoutError:
                    if begun:
                        break  # whoever is still missing joins later
                news.clear()
        finally:
            for one in waiting:
                one.cancel()
        for server in self.servers.values():
            if server.config.required and server.config.enabled:
                await server.supervisor.settled.wait()
                if not server.supervisor.connected and not server.config.lazy:
                    raise server.never_listed()

    async def settled(self) -> None:
        """Return once every server has been ready or has failed: bounded by the longest connect deadline."""
        for server in self.servers.values():
            await server.supervisor.settled.wait()

    async def _close(self) -> None:
        """End everything, all servers in parallel."""
        for server in self.servers.values():
            server.supervisor.stop()
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        bound = max((server.config.timeout.close for server in self.servers.values()), default=0.0) + 3 * CLOSE_GRACE
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=bound)
            for task in late:
                self.emit(Noticed(self._clock(), task.get_name().removeprefix("motet "), "close", "it would not end"))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """An owner task is over. It never ends by itself; if it does, its server is lost, and says so."""
        if task.cancelled() or (why := task.exception()) is None:
            return
        name = task.get_name().removeprefix("motet ")
        message = f"its supervisor failed: {type(why).__name__}: {why}"
        self.emit(Noticed(self._clock(), name, "internal", message))
        if name in self.servers:
            self.servers[name].supervisor.give_up(message)

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """What all servers offer now: an immutable snapshot."""
        return self._catalog

    def route(self, uri: str, server: str | None = None) -> str:
        """The server that serves `uri`. Raises UnknownAddress or Ambiguous."""
        return self._catalog.route(uri, server)

    def lint(self) -> tuple[Finding, ...]:
        """What is unsound about the boundaries, with what the configuration shows to whom."""
        return self._catalog.lint({name: exposure(server.config) for name, server in self.servers.items()})

    def server(self, name: str) -> HostedServer:
        """One server. Raises UnknownAddress, with the nearest name."""
        self._catalog.server(name)
        return self.servers[name]

    async def wait_for(self, server: str, deadline: float) -> None:
        """Return once it is ready. Raises ServerUnavailable by `deadline` (loop time), or when that cannot be."""
        supervisor = self.server(server).supervisor
        supervisor.wake(start_only=True)
        await supervisor.ready(deadline)

    def wake(self, server: str) -> None:
        """Try at once what waits for its next try (after a login, say)."""
        self.server(server).supervisor.wake()

    def differences(self, server: str) -> list[Difference]:
        """The tools whose definition is not the accepted one: what `trust` would accept."""
        return self.server(server).differences()

    def trust(self, server: str) -> None:
        """Accept every definition of this server as it is listed now."""
        self.server(server).trust()

    def _listed(self, server: HostedServer) -> None:
        self._catalog = self._catalog.with_server(server.catalog)
        self._unsaved.add(server.name)
        self._save.set()

    async def _keep(self) -> None:
        """Write down what is worth remembering, a moment after it changed, and once more at the end."""
        try:
            while True:
                await self._save.wait()
                self._save.clear()
                await asyncio.sleep(0.05)
                await self._write_down()
        finally:
            await self._write_down()

    async def _write_down(self) -> None:
        names, self._unsaved = self._unsaved, set()
        for name in names:
            server = self.servers[name]
            remembered = server.remembered()
            if remembered is None:
                continue
            try:
                await asyncio.to_thread(self._memory.save, server.config, remembered)
            except OSError as why:
                self.emit(Noticed(self._clock(), name, "memory", f"cannot be remembered: {why}"))

    # -- calls --------------------------------------------------------------------------------------------------------

    def prepare(
        self,
        server: str,
        method: Method,
        name: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        key: str | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        waits: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        round: Round | None = None,  # noqa: A002 - the specification's word
    ) -> Call:
        """The call, checked as far as it can be without sending anything.

        `key` goes into the argument that the tool declares (or the configuration names) for idempotency keys. All
        attempts end by `deadline` (loop time), each within `timeout` seconds. `waits`: for room in a full queue.

        Raises UnknownAddress, ServerUnavailable (never listed), InvalidArguments, PolicyRefused or ToolChanged.
        """
        hosted = self.servers.get(server) or self.server(server)
        if method == "resources/read" and "=" in name:
            name = self._catalog.target(name, server)[1]  # `SERVER=URI` is our way of writing; the server knows the URI
        call = Call(
            server=server,
            method=method,
            name=name,
            arguments=dict(arguments) if arguments else {},
            deadline=deadline,
            timeout=timeout,
            retry=retry,
            key=key,
            waits=waits,
            on_progress=on_progress,
            round=round,
        )
        if method == "tools/call":
            self._decide(hosted, self._tool(hosted, name), call)
        else:
            call.repeatable = call.read_only = True
            if method == "prompts/get":
                self._prompt_call(hosted, call)
        if self._authorize is not None:
            self._authorize(call)
        return call

    def _decide(self, hosted: HostedServer, tool: Tool | None, call: Call) -> None:
        """Policy, key and arguments; what the call may do twice. Raises PolicyRefused or InvalidArguments."""
        rules = hosted.allowed(call.name)
        if call.key is not None:
            if rules.key_argument is not None:
                call.key = str(call.arguments.setdefault(rules.key_argument, call.key))
            elif tool is not None:
                call.key = None  # it takes none, so none is sent
        if tool is not None:
            if tool.name in hosted.changed:
                hosted.refuse_changed(tool.name)
            if found := tool.problems(call.arguments):
                raise invalid(hosted.name, tool.name, found)
            call.definition = tool
        call.read_only = rules.read_only
        call.repeatable = rules.repeatable or (
            rules.key_argument is not None and keyed(rules.key_argument, call.arguments)
        )

    def _tool(self, hosted: HostedServer, name: str) -> Tool | None:
        """The tool; None when its server will tell soon. Raises UnknownAddress, ToolChanged or ServerUnavailable."""
        tool = hosted.catalog.tools.get(name)
        if tool is not None:
            return tool
        if not hosted.catalog.known:
            if hosted.coming:
                return None
            raise hosted.never_listed()
        if name in hosted.accepted and hosted.catalog.stale is None:
            raise ToolChanged(f"`{name}` is no longer offered", server=hosted.name)
        return self._catalog.tool(hosted.name, name)

    def _prompt_call(self, hosted: HostedServer, call: Call) -> None:
        if not hosted.catalog.known:
            if not hosted.coming:
                raise hosted.never_listed()
            return
        prompt = self._catalog.prompt(hosted.name, call.name)
        missing = [name for name, required in prompt.arguments.items() if required and name not in call.arguments]
        if missing:
            names = ", ".join(f"`{name}`" for name in missing)
            raise InvalidArguments(f"prompt `{call.name}` needs {names}", server=hosted.name)

    async def attempt(self, call: Call) -> Outcome:
        """What came of this call, all attempts and rounds included. Never raises CallError.

        `Asked` comes back when the server (or the policy) asks something and no `ask` callback answers it: send the
        call again with `round` holding the answers.
        """
        clock = self._clock
        began = clock()
        if self._observed:
            self.emit(CallStarted(began, call.server, call.method, call.name))
        if self._secretive and call.on_late is not None:
            call.on_late = plain_late(call.on_late, self._redactor)
        outcome: Reply | CallError | Asked | None = None
        try:
            hosted = self.servers.get(call.server) or self.server(call.server)
            if call.method == "tools/call" and (call.definition is None or hosted.rules(call.name).approve):
                outcome = await self._before(hosted, call)
            if outcome is None:
                deadline = call.deadline
                try:
                    outcome = await hosted.pipeline.send(call)
                except InputRequired as need:
                    outcome = await self._rounds(hosted, call, need.asked, deadline)
        except CallError as error:
            outcome = error
        except asyncio.CancelledError:
            sent = "unknown" if call.written else "no"
            self.emit(
                CallSettled(
                    clock(), call.server, call.method, call.name, "cancelled", clock() - began, call.attempts, sent
                )
            )
            raise
        if self._secretive:
            outcome = await self._without_secrets(outcome)
            for failure in call.failures or ():
                plain_error(failure, self._redactor)
        return self._settle(call, outcome, clock(), began)

    async def _without_secrets(self, outcome: Reply | CallError | Asked) -> Reply | CallError | Asked:
        if isinstance(outcome, Reply):
            return await plain_reply(outcome, self._redactor)
        if isinstance(outcome, Asked):
            return plain_asked(outcome, self._redactor)
        return plain_error(outcome, self._redactor)

    def _settle(self, call: Call, outcome: Reply | CallError | Asked, now: float, began: float) -> Outcome:
        took = now - began
        sent = "yes"
        settled: Outcome
        if isinstance(outcome, Reply):
            kind = "done"
            settled = Done(outcome, call.attempts, took)
        elif isinstance(outcome, Asked):
            kind = "asked"
            settled = Asked(outcome.questions, outcome.state, call.attempts, took)
        else:
            kind, sent = outcome.kind, outcome.sent
            settled = Failed(outcome, call.attempts, took)
        if self._observed:
            self.emit(CallSettled(now, call.server, call.method, call.name, kind, took, call.attempts, sent))
        return settled

    async def _before(self, hosted: HostedServer, call: Call) -> Asked | None:
        """What comes before a tool call is sent: its definition has to be there, and perhaps somebody's approval."""
        if call.definition is None:
            await self._resolve(hosted, call)
        return await self._approved(call) if hosted.rules(call.name).approve else None

    async def _resolve(self, hosted: HostedServer, call: Call) -> None:
        """Its server was not listed yet when the call was prepared: wait for that, then check it like any other."""
        if not hosted.catalog.known:
            timeouts = hosted.config.timeout
            patience = call.timeout if call.timeout is not None else timeouts.tools.get(call.name, timeouts.call)
            await self.wait_for(call.server, call.deadline if call.deadline is not None else self._clock() + patience)
        self._decide(hosted, self._catalog.tool(hosted.name, call.name), call)

    async def _rounds(self, hosted: HostedServer, call: Call, asked: Asked, deadline: float | None) -> Reply | Asked:
        """Answer what it asks in place and send it again, as long as somebody is there to answer."""
        for _ in range(ROUNDS - 1):
            answers = await self._answers(asked, deadline)
            if answers is None:
                return asked
            call.round = Round(answers, asked.state)
            call.deadline = deadline
            try:
                return await hosted.pipeline.send(call)
            except InputRequired as need:
                asked = need.asked
        raise UnusableAnswer(f"it asked back more than {ROUNDS} times", server=call.server)

    async def _answers(self, asked: Asked, deadline: float | None) -> dict[str, Json] | None:
        """What `ask` says to all of it; None: somebody has to be found."""
        if self._ask is None:
            return None
        answers: dict[str, Json] = {}
        for question in asked.questions:
            answer = await self._answer(self._ask, question, deadline)
            if answer is None:
                return None
            answers[question.key] = answer
        return answers

    async def _answer(self, ask: Ask, question: Question, deadline: float | None) -> Answer | None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline if deadline is not None else self._clock() + ANSWER_WITHIN):
                return await ask(question)
        return None

    async def _approved(self, call: Call) -> Asked | None:
        """None: go on. A call in a later round was approved in its first. Raises PolicyRefused."""
        if call.round is not None:
            given = call.round.answers.get(APPROVAL)
            if given is None:
                return None
            if not _accepts(given):
                raise PolicyRefused(f"`{call.name}` was not approved", server=call.server)
            rest = {key: value for key, value in call.round.answers.items() if key != APPROVAL}
            call.round = Round(rest, call.round.state) if rest or call.round.state is not None else None
            return None
        question = self._approval(call)
        answer = None if self._ask is None else await self._answer(self._ask, question, call.deadline)
        if answer is None:
            return Asked((question,))
        if answer.action != "accept":
            raise PolicyRefused(f"`{call.name}` was not approved", server=call.server)
        return None

    def _approval(self, call: Call) -> Question:
        arguments = orjson.dumps(call.arguments, default=str).decode()
        shown = self._redactor.text(arguments)
        shown = shown if len(shown) <= 2000 else f"{shown[:2000]}…"
        return Question(call.server, "approval", f"Call {call.server}.{call.name} with {shown}?", key=APPROVAL)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def read(
        self,
        addresses: Iterable[Address | str],
        *,
        deadline: float | None = None,
    ) -> dict[Address, Outcome]:
        """Many resources at once; one server down costs its own entries. Takes as long as the slowest one.

        An address is a URI (also `SERVER=URI`), or `(server, uri)` with None for "whoever claims it". The answer is
        keyed by `(server, uri)` as asked, in the order asked.
        """
        asked: list[Address] = [(None, one) if isinstance(one, str) else one for one in addresses]
        async with asyncio.TaskGroup() as group:
            tasks = {address: group.create_task(self._read(address, deadline)) for address in dict.fromkeys(asked)}
        return {address: task.result() for address, task in tasks.items()}

    async def _read(self, address: Address, deadline: float | None) -> Outcome:
        try:
            server, uri = await self._target(address, deadline)
            call = self.prepare(server, "resources/read", uri, deadline=deadline, waits=True)
        except CallError as error:
            return Failed(plain_error(error, self._redactor) if self._redactor else error)
        return await self.attempt(call)

    @asynccontextmanager
    async def watch(
        self, addresses: Iterable[Address | str], *, deadline: float | None = None
    ) -> AsyncGenerator[Watch]:
        """Be told of changes of these resources, for as long as the context lasts (resource subscriptions).

        Addresses are those of `read`. A server that is away is watched again once it is back.
        """
        uris: dict[str, str] = {}
        missing: dict[str, CallError] = {}
        for one in addresses:
            named, given = (None, one) if isinstance(one, str) else one
            try:
                server, uri = await self._target((named, given), deadline)
                if self.servers[server].supervisor.subscribes is False:
                    raise UnknownAddress("it does not tell of changes of its resources", server=server)
            except CallError as error:
                missing[given] = error
            else:
                uris[uri] = server
        watch = Watch(uris, missing)
        self._watches.begin(watch)
        try:
            yield watch
        finally:
            self._watches.end(watch)

    async def _target(self, address: Address, deadline: float | None) -> tuple[str, str]:
        """Whose address it is; servers that were never listed and are on their way are waited for first."""
        server, uri = address
        try:
            return self._catalog.target(uri, server)
        except UnknownAddress:
            coming = [one for one in self.servers.values() if one.coming and not one.catalog.known]
            if server is not None or not coming:
                raise
        for one in coming:
            end = deadline if deadline is not None else self._clock() + one.config.timeout.call
            with suppress(ServerUnavailable):
                await self.wait_for(one.name, end)
        return self._catalog.target(uri, server)


def _accepts(given: Json) -> bool:
    """Is this a yes? An `Answer`, or the response object itself."""
    if isinstance(given, Answer):
        return given.action == "accept"
    return isinstance(given, dict) and cast("dict[str, Json]", given).get("action") == "accept"


def _secrets(config: Config) -> Iterable[str]:
    for server in config.servers.values():
        yield from server.secrets
    yield from config.secrets.values()
