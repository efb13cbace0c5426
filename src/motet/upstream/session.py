"""One negotiated MCP session over any link: calls, lists, subscriptions, and what the server starts. The `Connection`.

The session speaks raw JSON-RPC rather than the SDK's typed models, for three reasons: a list with one bad entry must
not cost the others, a call must not build and validate models that nobody reads, and a server must not cost 90 KiB
before its first call. Everything about a call that does not depend on its arguments is encoded once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any, TypeVar, cast

import msgspec
import orjson

from motet.calls import Answer, Ask, Asked, Call, InputRequired, Json, Progress, Reply, Round
from motet.config.model import ServerConfig
from motet.errors import (
    CallError,
    DeadlineExceeded,
    Fenced,
    InvalidArguments,
    UnusableAnswer,
)
from motet.events import Emit, Noticed
from motet.upstream import _faults, listing
from motet.upstream.answers import Reader, response
from motet.upstream.checker import check_large
from motet.upstream.connection import Listing, ListKind, OnChanged
from motet.upstream.link import Ident, Link, encode
from motet.upstream.mirror import HeaderMap, call_headers
from motet.upstream.negotiation import Negotiation
from motet.upstream.sanitise import clean, clean_line, clean_tree
from motet.upstream.subscriptions import OnUpdated, Subscriptions
from motet.upstream.waiting import clock_of

INSTRUCTIONS_LIMIT = 20_000
"""Characters of a server's instructions that are kept."""
COALESCE = 0.2
"""Seconds over which changes of one list are told once."""
STATE_ROUNDS = 20
"""Rounds in which a server only hands us its state and asks nothing."""
ASKING_AT_ONCE = 8
SILENCE = 4
"""How many times the limit of a call a server may say nothing before its process is given up."""
NOTICE_EVERY = 1.0
LESSER_LISTS = 10.0
"""Seconds for resources, templates and prompts together."""

_CHANGED: Mapping[str, ListKind] = {
    "notifications/tools/list_changed": "tools",
    "notifications/resources/list_changed": "resources",
    "notifications/prompts/list_changed": "prompts",
}


_Told = TypeVar("_Told")


class Session:
    """See `Connection`. Made and negotiated by `opening.open_connection`."""

    def __init__(
        self, config: ServerConfig, reader: Reader, *, on_changed: OnChanged, emit: Emit, ask: Ask | None
    ) -> None:
        self._config = config
        self._name = config.name
        self._loop = asyncio.get_running_loop()
        self._clock = clock_of(self._loop)
        self._reader = reader
        self._on_changed = on_changed
        self._emit = emit
        self._ask = ask
        self._link: Link
        self._ids = 0
        self._modern = False
        self._version = ""
        self._prefixes: dict[str, bytes] = {}
        self._meta: dict[str, Json] = {}
        self._suffix = b"}}\n"
        self._capabilities: Mapping[str, Json] = {}
        self._server_info: Mapping[str, Json] = {}
        self._instructions = ""
        self._header_maps: dict[str, HeaderMap] = {}
        self._progress: dict[Ident, tuple[Call, asyncio.TimerHandle | None]] = {}
        self._subscriptions: Subscriptions | None = None
        self._dirty: set[ListKind] = set()
        self._notices: dict[str, tuple[float, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking = 0
        self._probing = False

    def carry(self, link: Link) -> None:
        """The link this session speaks over; once, before anything else."""
        self._link = link

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return self._version

    @property
    def server_info(self) -> Mapping[str, Json]:
        return self._server_info

    @property
    def instructions(self) -> str:
        return self._instructions

    @property
    def capabilities(self) -> Mapping[str, Json]:
        return self._capabilities

    @property
    def details(self) -> Mapping[str, Json]:
        return {**self._link.details, "version": self._version}

    async def wait_closed(self) -> str:
        """Returns the reason once the connection is gone."""
        return await asyncio.shield(self._link.closed)

    async def close(self, *, within: float) -> None:
        """End it and everything it started, within so many seconds."""
        for task in list(self._tasks):
            task.cancel()
        await self._link.close(within=within)

    # -- calls --------------------------------------------------------------------------------------------------------

    def send(self, call: Call) -> CoroutineType[Any, Any, Reply]:
        """One attempt, ended by `call.attempt_deadline` (loop time). Raises one CallError, or InputRequired."""
        faults = _faults.faults.get()
        if faults is not None and (fault := faults.get(self._name)) is not None:
            return self._faulty(fault, call)
        return self._attempt(call)

    async def _faulty(self, fault: _faults.Fault, call: Call) -> Reply:
        return await fault(call, self._attempt)

    async def _attempt(self, call: Call, *, carries_on: bool = True) -> Reply:
        """One request and its answer; with `carries_on`, also the rounds in which the server asks nothing."""
        call.written = False
        until = call.attempt_deadline
        now = self._clock()
        if until is None:
            until = now + self._config.timeout.tools.get(call.name, self._config.timeout.call)
        elif until <= now:
            raise DeadlineExceeded("its time was over before anything was sent", server=self._name, sent="no")
        if call.fence is not None and not call.fence():
            raise Fenced("its run may be another process's by now", server=self._name)
        self._ids = ident = self._ids + 1
        message = self._message_of(call, ident, until)
        link = self._link
        headers = self._headers_of(call) if link.wants_headers else None
        try:
            raw = await link.exchange(ident, message, until, call, headers)
            reply = self._reader.reply(call, raw)
            if reply.undecoded and call.definition is not None and call.definition.checks_output:
                await check_large(self._reader, call, raw, until=until)
            return reply
        except InputRequired as need:
            if need.asked.questions or not carries_on:
                raise
            asked = need.asked
        except DeadlineExceeded:
            self._suspect()
            raise
        except asyncio.CancelledError:
            link.abandon(ident, "cancelled")
            raise
        finally:
            if self._progress:
                self._forget_progress(ident)
        return await self._carry_on(call, asked, until)

    def _message_of(self, call: Call, ident: int, until: float) -> bytes:
        if call.method != "tools/call" or call.round is not None or call.meta is not None or self._watches(call):
            return self._full_message_of(call, ident, until)
        prefix = self._prefixes.get(call.name) or self._prefix(call.name)
        try:
            arguments = orjson.dumps(call.arguments)
        except TypeError:
            arguments = self._plain(call)
        return b'{"jsonrpc":"2.0","id":%d%b%b%b' % (ident, prefix, arguments, self._suffix)

    def _watches(self, call: Call) -> bool:
        return call.on_progress is not None or self._config.timeout.idle is not None

    def _prefix(self, name: str) -> bytes:
        made = b',"method":"tools/call","params":{"name":%b,"arguments":' % orjson.dumps(name)
        if len(self._prefixes) < 10_000:
            self._prefixes[name] = made
        return made

    def _plain(self, call: Call) -> bytes:
        """Arguments that orjson refuses (an integer over 64 bits, say) and JSON does not.

        Raises:
            InvalidArguments: they are no JSON at all.

        """
        try:
            return json.dumps(call.arguments, allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as why:
            raise InvalidArguments(f"the arguments are not JSON: {clean_line(why)}", server=self._name) from None

    def _full_message_of(self, call: Call, ident: int, until: float) -> bytes:
        """The message of a call that has more to it than a name and arguments."""
        params: dict[str, Json]
        if call.method == "resources/read":
            params = {"uri": call.name}
        elif call.method == "completion/complete":
            params = dict(call.arguments)
        else:
            params = {"name": call.name, "arguments": call.arguments}
        if call.round is not None:
            if call.round.answers:
                params["inputResponses"] = {key: response(said) for key, said in call.round.answers.items()}
            if call.round.state is not None:
                params["requestState"] = call.round.state
        meta = {**self._meta, **(call.meta or {})}
        if self._watches(call):
            meta["progressToken"] = ident
            self._progress[ident] = (call, self._idle_timer(ident, until))
        if meta:
            params["_meta"] = meta
        try:
            return encode(call.method, params, ident)
        except TypeError:
            self._plain(call)
            return json.dumps({"jsonrpc": "2.0", "id": ident, "method": call.method, "params": params}).encode() + b"\n"

    def _headers_of(self, call: Call) -> dict[str, str] | None:
        if not self._modern:
            return None
        return call_headers(call.method, call.name, call.arguments, self._header_maps.get(call.name))

    async def _carry_on(self, call: Call, asked: Asked, until: float) -> Reply:
        """The server wants to be called again with its state and asks nothing: do so, a bounded number of times."""
        pause = 0.05
        for _ in range(STATE_ROUNDS):
            if self._clock() + pause >= until:
                raise DeadlineExceeded("no final answer in time", server=self._name)
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
            again = msgspec.structs.replace(call, round=Round({}, asked.state), attempt_deadline=until)
            try:
                return await self._attempt(again, carries_on=False)
            except InputRequired as need:
                if need.asked.questions:
                    raise
                asked = need.asked
        raise self._reader.unusable(f"the server asked for {STATE_ROUNDS} more rounds and never answered")

    # -- silence ------------------------------------------------------------------------------------------------------

    def _suspect(self) -> None:
        """A call had no answer. A server that then says nothing at all for several times as long is given up."""
        if self._probing or self._link.transport != "stdio" or self._link.closed.done():
            return
        self._probing = True
        self._spawn(self._probe())

    async def _probe(self) -> None:
        before = self._link.received
        patience = SILENCE * self._config.timeout.call  # it may be busy, and single-minded
        method = "server/discover" if self._modern else "ping"
        try:
            await self._request(method, {}, until=self._clock() + patience)
        except DeadlineExceeded:
            if self._link.received == before and not self._link.closed.done():
                self._link.fail(f"the server has stopped answering: not a word for {patience:g} s")
        except CallError:
            pass  # an error is a sign of life, and a lost connection shows elsewhere
        finally:
            self._probing = False

    # -- progress -----------------------------------------------------------------------------------------------------

    def _idle_timer(self, ident: Ident, until: float) -> asyncio.TimerHandle | None:
        idle = self._config.timeout.idle
        if idle is None or self._clock() + idle >= until:
            return None
        return self._loop.call_later(idle, self._link.expire, ident, f"no progress for {idle:g} s")

    def _forget_progress(self, ident: Ident) -> None:
        _, timer = self._progress.pop(ident, (None, None))
        if timer is not None:
            timer.cancel()

    def _progressed(self, params: Mapping[str, Json]) -> None:
        token = params.get("progressToken")
        known = self._progress.get(token) if isinstance(token, int | str) else None
        value = params.get("progress")
        if known is None or not isinstance(value, int | float):
            return
        call, timer = known
        if timer is not None and isinstance(token, int | str):
            timer.cancel()
            self._progress[token] = (call, self._idle_timer(token, call.attempt_deadline or float("inf")))
        if call.on_progress is not None:
            total, message = params.get("total"), params.get("message")
            told = Progress(
                float(value),
                float(total) if isinstance(total, int | float) else None,
                self._text(message) if isinstance(message, str) else None,
            )
            self._tell(call.on_progress, told)

    # -- what the server starts ---------------------------------------------------------------------------------------

    def notified(self, method: str, params: Json) -> None:
        """The server sent a notification."""
        said = _mapping(params)
        if method == "notifications/progress":
            self._progressed(said)
        elif (kind := _CHANGED.get(method)) is not None:
            self._changed(kind)
        elif method == "notifications/resources/updated" and self._subscriptions is not None:
            self._subscriptions.updated(said.get("uri"))
        elif method == "notifications/message":
            level = clean_line(said.get("level", "info"), limit=20)
            self.noticed("log", f"{level}: {self._text(said.get('data', ''))}")

    def _changed(self, *kinds: ListKind) -> None:
        if not self._dirty:
            self._loop.call_later(COALESCE, self._tell_changes)
        self._dirty.update(kinds)

    def _tell_changes(self) -> None:
        dirty, self._dirty = self._dirty, set()
        if not self._link.closed.done():
            for kind in sorted(dirty):
                self._on_changed(kind)

    def noticed(self, what: str, message: str) -> None:
        """Tell observers, at most once a second for each kind of thing; what was left out is counted."""
        now = self._clock()
        last, skipped = self._notices.get(what, (-NOTICE_EVERY, 0))
        if now - last < NOTICE_EVERY:
            self._notices[what] = (last, skipped + 1)
            return
        self._notices[what] = (now, 0)
        self._emit(Noticed(at=now, server=self._name, what=what, message=self._text(message), count=skipped + 1))

    def answered_late(self, call: Call, raw: msgspec.Raw | None, error: Exception | None) -> None:
        """An answer came for a call that was given up."""
        self.noticed("late answer", f"{clean_line(call.name)} was answered after it had been given up")
        if call.on_late is None:
            return
        late: Reply | CallError
        try:
            late = self._reader.reply(call, raw) if raw is not None else cast("CallError", error)
        except CallError as why:
            late = why
        except InputRequired:
            return
        self._tell(call.on_late, late)

    def _tell(self, listener: Callable[[_Told], None], what: _Told) -> None:
        """Tell a stranger's callback; what it raises must not break the wire."""
        try:
            listener(what)
        except Exception as why:  # noqa: BLE001 - see above
            self._loop.call_exception_handler({"message": "a listener to a call failed", "exception": why})

    def asked(self, ident: Ident, method: str, params: Json) -> None:
        """The server sent a request (before 2026-07-28)."""
        if method == "ping":
            self._respond(ident, {})
        elif method == "elicitation/create" and self._ask is not None and self._asking < ASKING_AT_ONCE:
            self._spawn(self._elicit(self._ask, ident, params))
        elif method == "elicitation/create":
            self._respond(ident, {"action": "decline"})
        else:
            self._respond(ident, None)

    def _respond(self, ident: Ident, result: Json) -> None:
        reply: dict[str, Json] = {"jsonrpc": "2.0", "id": ident}
        if result is None:
            reply["error"] = {"code": -32601, "message": "Method not found"}
        else:
            reply["result"] = result
        self._link.post(orjson.dumps(reply) + b"\n")

    async def _elicit(self, ask: Ask, ident: Ident, params: Json) -> None:
        """A question of the initialize era cannot be parked: it is answered in place, or declined."""
        self._asking += 1
        answer: Answer | None = None
        try:
            question = self._reader.question("", {"method": "elicitation/create", "params": params})
            async with asyncio.timeout(self._config.timeout.call):
                answer = await ask(question)
        except (UnusableAnswer, TimeoutError):
            answer = None
        except Exception as why:  # noqa: BLE001 - a stranger's callback; the server still wants its answer
            self._loop.call_exception_handler({"message": "who was asked a question failed", "exception": why})
        finally:
            self._asking -= 1
        self._respond(ident, response(answer if answer is not None else Answer("decline")))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # -- other requests -----------------------------------------------------------------------------------------------

    async def _request(
        self, method: str, params: dict[str, Json], *, until: float | None, ident: Ident | None = None
    ) -> msgspec.Raw:
        """One request that is no call. Raises CallError."""
        if ident is None:
            self._ids = ident = self._ids + 1
        meta = {**self._meta, **cast("dict[str, Json]", params.get("_meta") or {})}
        if meta:
            params = {**params, "_meta": meta}
        headers: dict[str, str] | None = None
        if self._modern and self._link.wants_headers:
            headers = {"mcp-method": method}
        try:
            return await self._link.exchange(ident, encode(method, params, ident), until, None, headers)
        except asyncio.CancelledError:
            self._link.abandon(ident, "cancelled")
            raise

    async def list_all(self, *, deadline: float) -> Listing:
        """All lists the server has, bounded in pages, entries and bytes. Raises CallError when `tools/list` fails."""
        # a server that is silent about its lesser lists must not hold up the use of its tools
        lesser = min(deadline, self._clock() + LESSER_LISTS)
        made, maps = await listing.collect(
            lambda method, params: self._request(method, params, until=deadline if method == "tools/list" else lesser),
            self._reader,
            self._capabilities,
            self._config.limits,
            mirrored=self._modern,
        )
        self._header_maps = maps
        return made

    # -- negotiation --------------------------------------------------------------------------------------------------

    async def negotiate(self, *, deadline: float, remembered: str | None) -> None:
        """Agree on a version, by loop time `deadline`. Raises CallError."""
        talk = Negotiation(self._config, self._link, self._reader, answers_questions=self._ask is not None)
        agreed = await talk.agree(deadline=deadline, remembered=remembered)
        secrets = self._config.secrets
        self._version, self._modern, self._meta = agreed.version, agreed.modern, agreed.meta
        if agreed.meta:
            self._suffix = b',"_meta":%b}}\n' % orjson.dumps(agreed.meta)
        self._capabilities = agreed.capabilities
        self._server_info = _mapping(clean_tree(agreed.server_info, secrets=secrets))
        self._instructions = clean(agreed.instructions or "", secrets=secrets, limit=INSTRUCTIONS_LIMIT)
        self._subscriptions = asked = Subscriptions(
            self._request, self._link, modern=self._modern, spawn=self._spawn, noticed=self.noticed
        )
        told: list[ListKind] = list(_CHANGED.values())
        told = [kind for kind in told if _mapping(self._capabilities.get(kind)).get("listChanged")]
        asked.lists(told, self._changed)

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def watch(self, uris: frozenset[str], updated: OnUpdated) -> None:
        """From now on, `updated` is told of changes of these resources, and of no others."""
        if self._subscriptions is not None:
            self._subscriptions.watch(uris, updated)

    def _text(self, said: object) -> str:
        return clean(said, secrets=self._config.secrets)


def _mapping(value: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, dict) else {}
