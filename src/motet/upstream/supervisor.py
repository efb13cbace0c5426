"""The supervisor of one server: one owner task that opens its connection, watches it, replaces it and closes it.

    idle        configured lazy, or stopped after a while without calls; the next call starts it
    connecting  a connection is being opened and listed, under one total deadline
    ready       calls pass                        (degraded: they pass, and the circuit breaker is not closed)
    down        gone; started again at `next_try`
    parked      gone, and started too often; probed at `next_try`
    needs_auth  it wants credentials that nobody here can give; looked at again at `next_try`, or when `wake` is called
    disabled    by configuration, or closed

Calls never see a connection that is not there: `send` waits for it within the call's own time, and nothing is written
until then. What was listed stays in the catalog while the server is away, stale and with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast

from motet.calls import Answer, Ask, Call, Json, Question, Reply
from motet.catalog.catalog import ServerCatalog, stale
from motet.config.model import HttpTransport, ServerConfig, StdioTransport
from motet.errors import CallError, ConnectionLost, DeadlineExceeded, NeedsAuth, ServerUnavailable
from motet.events import CatalogChanged, Emit, Noticed, ServerChanged, State
from motet.resilience.pipeline import Chance, Clock
from motet.resilience.restarts import PROCESS, REMOTE, Restarts
from motet.upstream import _faults
from motet.upstream.connection import Connection, ListKind, OnChanged
from motet.upstream.offers import read_listing
from motet.upstream.opening import open_connection
from motet.upstream.pace import Pace
from motet.upstream.sanitise import clean

REFRESH_EVERY = 1.0
"""Seconds between two refreshes of a list that keeps changing."""
LOOK_AGAIN = 60.0
"""Seconds until a list that could not be fetched again is tried once more."""
AUTH_EVERY = 300.0
"""Seconds between two looks at a server that wanted credentials."""
NOTICE_WITHIN = 0.02
"""Seconds for a connection that refused a call to turn out to be gone."""
CLOSE_GRACE = 2.0
"""Seconds over its own bound that closing a connection may take before it is given up."""


class Open(Protocol):
    """`open_connection`, or a stand-in."""

    def __call__(
        self,
        config: ServerConfig,
        *,
        deadline: float,
        remembered: str | None = None,
        on_changed: OnChanged,
        emit: Emit,
        ask: Ask | None = None,
        memory: Path | None = None,
    ) -> Awaitable[Connection]: ...


class Owner(Protocol):
    """What a supervisor tells the one who holds it. None of it may block."""

    def listed(self, part: ServerCatalog) -> None:
        """The server's part of the catalog is another one now."""
        ...

    def up(self) -> None:
        """A connection works."""
        ...

    def review(self, call: Call) -> None:
        """The tool is not the one the call was made for: correct `call.definition`, or raise the CallError."""
        ...


class Supervisor:
    """One server. `run` is the body of its owner task; everything else may be called from any task of the loop."""

    def __init__(
        self,
        config: ServerConfig,
        owner: Owner,
        *,
        emit: Emit,
        clock: Clock,
        wall: Clock,
        chance: Chance,
        pace: Pace,
        part: ServerCatalog | None = None,
        ask: Ask | None = None,
        memory: Path | None = None,
        opening: Open = open_connection,
    ) -> None:
        """`clock` is the loop's, `wall` gives seconds since the epoch; `part` is what is remembered of its catalog."""
        self.config = config
        self.name = config.name
        self.part = part if part is not None else ServerCatalog(config.name, stale="it has not been started yet")
        self.state: State = "disabled" if not config.enabled else "idle" if config.lazy else "connecting"
        self.reason = "" if config.enabled else "disabled in the configuration"
        self.next_try: float | None = None
        """Loop time of the next start, when one is planned."""
        self.error: CallError | None = None
        """Why it is not ready, as the error that calls get."""
        self.settled = asyncio.Event()
        """Set once it has been ready, or has failed, for the first time."""
        self.begun = not config.enabled or config.lazy
        """Has it had its turn to start for the first time?"""
        self._owner = owner
        self._emit = emit
        self._clock = clock
        self._wall = wall
        self._chance = chance
        self._pace = pace
        self._ask = ask
        self._memory = memory
        self._open = opening
        self._connection: Connection | None = None
        self._losses: set[int] = set()
        self._restarts = Restarts(REMOTE if isinstance(config.transport, HttpTransport) else PROCESS)
        self._degraded = ""
        self._dirty = False
        self._held = False
        """Calls wait: the list they were made from is being fetched again."""
        self._refreshed_at = -REFRESH_EVERY
        self._look_again_at: float | None = None
        self._lost: str | None = None
        self._wanted = False
        self._stopping = False
        self._poke = asyncio.Event()
        self._waiters: set[asyncio.Future[None]] = set()
        self._watched: frozenset[str] = frozenset()
        self._updated: Callable[[str], None] = _nothing
        self._in_flight = 0
        self._used_at = clock()
        if not config.enabled or config.lazy:
            self.settled.set()

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def details(self) -> Mapping[str, Json]:
        """For people: what the connection says of itself."""
        return {} if self._connection is None else self._connection.details

    @property
    def connected(self) -> bool:
        """Is there a connection that calls may use?"""
        return self._connection is not None

    def watch(self, uris: frozenset[str], updated: Callable[[str], None]) -> None:
        """From now on, tell `updated` of changes of these resources; after it was away, of all of them."""
        self._watched, self._updated = uris, updated
        if self._connection is not None:
            self._connection.watch(uris, updated)
        elif uris:
            self.wake(start_only=True)
        self._poke.set()  # who is watched is not stopped for lack of calls

    @property
    def subscribes(self) -> bool | None:
        """Can its resources be watched? None: it is away, and nobody knows."""
        if self._connection is None:
            return None
        declared: Json = self._connection.capabilities.get("resources")
        return isinstance(declared, dict) and bool(cast("dict[str, Json]", declared).get("subscribe"))

    def degraded(self, why: str) -> None:
        """The circuit breaker moved: `why` it is not closed, or empty."""
        self._degraded = why
        if self.state in ("ready", "degraded"):
            self._set("degraded" if why else "ready", why)

    # -- calls --------------------------------------------------------------------------------------------------------

    async def send(self, call: Call) -> Reply:
        """One attempt, ended by `call.attempt_deadline`; waits for the connection first, if it has to.

        Raises CallError, or InputRequired. Nothing was sent if the connection did not come about in time.
        """
        connection = self._connection
        if connection is None or self._held:
            connection = await self._available(call)
        again = True
        while True:
            if call.definition is not self.part.tools.get(call.name) and call.method == "tools/call":
                self._owner.review(call)
            self._in_flight += 1
            try:
                if _faults.faults.get() is not None:
                    return await self._under_fault(connection, call)
                reply = await connection.send(call)
                if self.error is not None:
                    self._let_in(connection)
                return reply
            except ConnectionLost as error:
                self._count_once(connection, error)
                raise
            except NeedsAuth as error:
                self._locked_out(connection, error)
                raise
            except ServerUnavailable:
                if not again or not await self._just_lost(connection):
                    raise
            finally:
                self._in_flight -= 1
                self._used_at = self._clock()
            again = False  # nothing was sent, and there is a new connection to be had: once more
            connection = await self._available(call)

    async def _under_fault(self, connection: Connection, call: Call) -> Reply:
        """A fault of a test may hang; a real connection ends by itself."""
        try:
            async with asyncio.timeout_at(call.attempt_deadline):
                return await connection.send(call)
        except TimeoutError:
            raise DeadlineExceeded("no answer in time", server=self.name) from None

    async def _just_lost(self, connection: Connection) -> bool:
        """Nothing was sent: is that because the connection went away a moment ago, so that the next one will do?"""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_WITHIN):
                await connection.wait_closed()
                if self._connection is connection:
                    self._connection = None  # a moment before its watcher does
        return self._connection is not connection

    def _count_once(self, connection: Connection, error: ConnectionLost) -> None:
        """A connection that breaks takes all its calls with it: one loss, so one failure in the breaker's eyes."""
        if self._lost is None and self._connection is connection and isinstance(self.config.transport, HttpTransport):
            return  # over HTTP each request stands alone, unless the whole connection is gone
        if id(connection) in self._losses:
            error.health = "none"
        self._losses.add(id(connection))

    def _locked_out(self, connection: Connection, error: NeedsAuth) -> None:
        if connection is self._connection:
            self.error = error
            self._set("needs_auth", error.message)
            self._poke.set()

    def _let_in(self, connection: Connection) -> None:
        """It answered: whatever locked us out is over."""
        if connection is self._connection and self.state == "needs_auth":
            self.error = None
            self._set("degraded" if self._degraded else "ready", self._degraded)

    async def _available(self, call: Call) -> Connection:
        """The connection, with a list that is not being replaced. Raises when it cannot be there in time."""
        deadline = call.attempt_deadline if call.attempt_deadline is not None else self._clock() + 60.0
        while True:
            connection = self._connection
            if connection is not None and (not self._held or call.method != "tools/call"):
                return connection
            self.wake(start_only=True)
            self._refuse(deadline)
            if not await self._change(deadline):
                raise self.unavailable(f"no connection in time; it is {self.state}: {self.reason}", deadline)

    def _refuse(self, deadline: float) -> None:
        """Raises when waiting until then cannot help."""
        if self._wanted:
            return  # somebody woke it: it is about to be tried
        if self.state == "needs_auth" and self.error is not None:
            raise NeedsAuth(self.error.message, server=self.name, reason="needs_auth", hint=self.error.hint)
        if self.state == "disabled":
            error = self.unavailable(self.reason or "it is closed", deadline)
            error.transient, error.health = False, "none"
            raise error
        if self.next_try is not None and self.next_try >= deadline:
            raise self.unavailable(f"it is {self.state}: {self.reason}", deadline)

    def unavailable(self, message: str, deadline: float) -> ServerUnavailable:
        """The error for a call that could not be sent."""
        why = self.error
        reason = why.reason if isinstance(why, ServerUnavailable) and self.state == "down" else self.state
        wait = None if self.next_try is None else max(0.0, self.next_try - self._clock())
        hint = "" if self.next_try is None or self.next_try < deadline else f"tried again in {wait:.0f} s"
        return ServerUnavailable(message, server=self.name, reason=reason, retry_after=wait, hint=hint)

    async def ready(self, deadline: float) -> None:
        """Return once it is ready. Raises ServerUnavailable (or NeedsAuth) by `deadline`, or when that cannot be."""
        await self._available(Call(server=self.name, name="", method="prompts/get", attempt_deadline=deadline))

    async def _change(self, deadline: float) -> bool:
        """Wait for anything to change. False: nothing did by `deadline`."""
        loop = asyncio.get_running_loop()
        changed: asyncio.Future[None] = loop.create_future()
        self._waiters.add(changed)
        try:
            async with asyncio.timeout_at(deadline):
                await changed
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(changed)
        return True

    # -- the owner task -----------------------------------------------------------------------------------------------

    def wake(self, *, start_only: bool = False) -> None:
        """Start it if it is idle; unless `start_only`, also try at once what is waiting for its next try."""
        if self.state == "idle" or (not start_only and self._connection is None and not self._stopping):
            self._wanted = True
            self._poke.set()

    def give_up(self, why: str) -> None:
        """The owner task is gone: nothing will be tried any more."""
        self._connection = None
        self.next_try = None
        self._set("disabled", why)
        self.settled.set()

    def stop(self) -> None:
        """Ask the owner task to close everything and end."""
        self._stopping = True
        self._poke.set()

    def changed(self, kind: ListKind) -> None:
        """The server says that a list is another one now."""
        _ = kind  # all lists are fetched together: they are short, and one change seldom comes alone
        self._dirty = True
        if self._clock() >= self._refreshed_at + REFRESH_EVERY:
            self._held = True  # a list that changes all the time holds nobody: see REFRESH_EVERY
        self._poke.set()

    async def run(self) -> None:
        """Keep the server connected until `stop`, or until cancelled; nothing of it is left afterwards."""
        if not self.config.enabled:
            return
        try:
            while not self._stopping:
                if self.state == "idle" and not self._wanted:
                    await self._poked(None)
                    continue
                self._wanted = False
                await self._life()
        finally:
            self._connection = None
            self._went(self.reason if self.state in ("down", "parked") else "closed")
            self._set("disabled", "closed")
            self.settled.set()

    async def _life(self) -> None:
        """One start, and what comes of it."""
        self.next_try = None
        self._lost = None
        self._dirty = self._held = False
        self._look_again_at = None
        self._set("connecting", self.reason if self.state in ("down", "parked") else "")
        if isinstance(self.config.transport, StdioTransport):
            await self._pace.turn(again=self.error is not None)
        self.begun = True
        self._restarts.started(self._clock())
        deadline = self._clock() + self.config.timeout.connect
        connection: Connection | None = None
        try:
            try:
                connection = await self._opened(deadline)
                if self._clock() >= deadline:  # somebody had to log in, which takes as long as it takes
                    deadline = self._clock() + self.config.timeout.connect
                await self._list(connection, deadline)
            except CallError as error:
                await self._close(connection)
                connection = None
                await self._failed(error)
                return
            except Exception as why:  # noqa: BLE001 - a mistake of ours costs this one server, by name, not its owner
                await self._close(connection)
                connection = None
                await self._failed(self._mistake(why))
                return
            self._come_up(connection)
            why = await self._serve(connection)
        finally:
            self._connection = None
            await self._close(connection)
        if why is not None and not self._stopping:
            await self._failed(ServerUnavailable(why, server=self.name, reason="exited"))

    async def _opened(self, deadline: float) -> Connection:
        return await self._open(
            self.config,
            deadline=deadline,
            remembered=self.part.version or None,
            on_changed=self.changed,
            emit=self._emit,
            ask=None if self._ask is None else self._asked,
            memory=self._memory,
        )

    async def _asked(self, question: Question) -> Answer | None:
        """Pass a question on; while somebody logs in, say so."""
        assert self._ask is not None
        if question.kind == "url" and self.state == "connecting":
            self._set("needs_auth", "somebody is asked to log in")
        return await self._ask(question)

    def _mistake(self, why: Exception) -> ServerUnavailable:
        message = clean(f"it could not be connected: {type(why).__name__}: {why}", secrets=self.config.secrets)
        self._notice("internal", message)
        return ServerUnavailable(message, server=self.name, reason="handshake")

    def _come_up(self, connection: Connection) -> None:
        self._restarts.up(self._clock())
        self._connection = connection
        self._losses.clear()
        self.error = None
        self._used_at = self._clock()
        self._owner.up()
        if self._watched:
            connection.watch(self._watched, self._updated)
            for uri in self._watched:  # it may have changed while nobody told
                self._updated(uri)
        self._set("degraded" if self._degraded else "ready", self._degraded)
        self.settled.set()

    async def _failed(self, error: CallError) -> None:
        """It is gone: say so, and wait for the next try."""
        self.error = error
        now = self._clock()
        if isinstance(error, NeedsAuth):
            pause, state = AUTH_EVERY, "needs_auth"
        else:
            pause = max(self._restarts.down(now, self._chance()), min(error.retry_after or 0.0, AUTH_EVERY))
            state = "parked" if self._restarts.parked else "down"
        self._went(error.message)
        self.next_try = now + pause
        self._set(state, error.message)
        self.settled.set()
        while not self._stopping and not self._wanted and self._clock() < self.next_try:
            await self._poked(self.next_try)

    def _went(self, why: str) -> None:
        """What it listed is no longer the present truth."""
        self._tell(stale(self.part, why))

    async def _serve(self, connection: Connection) -> str | None:
        """Stay with a working connection. Returns why it was lost; None: we end it ourselves."""
        watcher = asyncio.create_task(self._watch(connection), name=f"motet {self.name} watch")
        try:
            while True:
                if self._lost is not None:
                    return self._lost
                if self._stopping:
                    return None
                now = self._clock()
                look, rest = self._refresh_at(), self._idle_at()
                if look is not None and now >= look:
                    await self._refresh(connection)
                elif rest is not None and now >= rest:
                    self._set("idle", "stopped after a while without calls")
                    return None
                else:
                    await self._poked(min((at for at in (look, rest) if at is not None), default=None))
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher

    def _refresh_at(self) -> float | None:
        return self._refreshed_at + REFRESH_EVERY if self._dirty else self._look_again_at

    def _idle_at(self) -> float | None:
        bound = self.config.idle_stop
        if bound is None or self._watched:
            return None
        return self._clock() + bound if self._in_flight else self._used_at + bound

    async def _watch(self, connection: Connection) -> None:
        self._lost = clean(await connection.wait_closed()) or "the connection is gone"
        self._connection = None  # at once: nobody may write to it while the owner is still busy
        self._poke.set()

    async def _close(self, connection: Connection | None) -> None:
        """Close it within its bound, whatever else goes on; cancellation waits until it is closed."""
        if connection is None:
            return
        within = self.config.timeout.close
        closing = asyncio.create_task(connection.close(within=within), name=f"motet {self.name} close")
        try:
            async with asyncio.timeout(within + CLOSE_GRACE):
                await asyncio.shield(closing)
        except TimeoutError:
            closing.cancel()
            self._notice("close", f"it could not be closed within {within + CLOSE_GRACE:g} s")
        except asyncio.CancelledError:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([closing], timeout=within + CLOSE_GRACE)
            raise

    # -- what it lists ------------------------------------------------------------------------------------------------

    async def _refresh(self, connection: Connection) -> None:
        """Fetch the lists again; what cannot be had stays as it is, marked stale."""
        self._refreshed_at = self._clock()
        self._dirty = False
        self._look_again_at = None
        try:
            await self._list(connection, self._clock() + self.config.timeout.connect)
        except CallError as error:
            self._look_again_at = self._clock() + LOOK_AGAIN
            self._went(f"its list could not be fetched again: {error.message}")
        finally:
            self._held = False
            self._changed_state()

    async def _list(self, connection: Connection, deadline: float) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                left = deadline - self._clock()  # a list that never comes must leave time for those that did
                listing = await connection.list_all(deadline=deadline - left / 4)
                part = await read_listing(self.config, connection, listing, known=self.part, now=self._wall())
        except TimeoutError:
            raise ServerUnavailable(
                f"it did not list its tools within {self.config.timeout.connect:g} s",
                server=self.name,
                reason="handshake",
            ) from None
        self._tell(part)

    def _tell(self, part: ServerCatalog) -> None:
        if part == self.part:
            return
        self.part = part
        self._owner.listed(part)
        self._emit(CatalogChanged(self._clock(), self.name, len(part.tools), part.stale is not None))

    # -- small things -------------------------------------------------------------------------------------------------

    def _set(self, state: State, reason: str) -> None:
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason = state, reason
            self._emit(ServerChanged(self._clock(), self.name, state, reason))
        self._changed_state()

    def _changed_state(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _notice(self, what: str, message: str) -> None:
        self._emit(Noticed(self._clock(), self.name, what, message))

    async def _poked(self, until: float | None) -> None:
        """Wait for something to do, at most until then."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._poke.wait()
        self._poke.clear()


def _nothing(_: str) -> None:
    """Nobody watches."""
