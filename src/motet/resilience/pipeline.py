"""The layers around one server's `send`, as thin drivers, and the one place where their order is written.

    deadline -> retry -> (is the breaker open?) -> concurrency limit -> breaker -> attempt timeout -> send

Retry is outside the limit, so nobody sleeps holding a place. The breaker is also asked before queueing, without taking
a probe, so nobody queues for a server that is left alone. No layer arms a timer on the way in: `call.deadline` and
`call.attempt_deadline` are absolute, and the one timer of an attempt is the wire's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from motet.calls import Call, InputRequired, Reply, Retry, Send
from motet.errors import CallError, CircuitOpen, DeadlineExceeded, QueueFull, ToolError
from motet.events import AttemptFailed, Emit, nobody
from motet.resilience.breaker import Breaker, BreakerSettings, BreakerState
from motet.resilience.limit import Room
from motet.resilience.retry import Budget, again, longest, worst

Clock = Callable[[], float]
Chance = Callable[[], float]
"""A number in [0, 1), another one each time."""
ToolRule = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the layers of one server need to know. Durations are seconds."""

    timeout: float = 30.0
    """One attempt."""
    timeouts: Mapping[str, float] = field(default_factory=dict[str, float])
    """Per tool, in place of `timeout`."""
    total: float | None = None
    """A whole call; None: as long as all attempts and back-offs may take."""
    retry: Retry = field(default_factory=Retry)
    retries: Mapping[str, Retry] = field(default_factory=dict[str, Retry])
    """Per tool, in place of `retry`."""
    budget: float = 0.1
    budget_min: int = 6
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    concurrency: int = 8
    queue: int = 64
    tool_concurrency: Mapping[str, int] = field(default_factory=dict[str, int])


def never(_tool: str) -> bool:
    """No tool's own failure report is transient."""
    return False


def unmoved(_state: BreakerState) -> None:
    """Nobody wants to know what the breaker does."""


class Pipeline:
    """One server's layers and their state. `send` is the door in."""

    def __init__(
        self,
        send: Send,
        settings: Settings,
        *,
        clock: Clock,
        chance: Chance,
        emit: Emit = nobody,
        may_pass: ToolRule = never,
        on_breaker: Callable[[BreakerState], None] = unmoved,
    ) -> None:
        """`may_pass`: tools whose `isError` may be transient. `on_breaker` hears of every move of the breaker."""
        self.breaker = Breaker(settings.breaker)
        self.budget = Budget(settings.budget, settings.budget_min)
        self.room: Room[asyncio.Future[None]] = Room(settings.concurrency, settings.queue)
        self.send = in_order(self, send, settings, clock, chance, emit, may_pass, on_breaker)


def in_order(
    parts: Pipeline,
    send: Send,
    settings: Settings,
    clock: Clock,
    chance: Chance,
    emit: Emit,
    may_pass: ToolRule,
    on_breaker: Callable[[BreakerState], None],
) -> Send:
    """The order of the layers, from the innermost out."""
    send = attempt_timeout(send, settings, clock)
    send = guarded(send, parts.breaker, clock, on_breaker)
    send = limited(send, parts.room)
    if settings.tool_concurrency:
        send = limited_by_tool(send, settings)
    send = admitted(send, parts.breaker, clock)
    send = retrying(send, settings, parts.budget, clock, chance, emit, may_pass)
    return deadline(send, settings, clock)


def deadline(send: Send, settings: Settings, clock: Clock) -> Send:
    """Gives the call the absolute end it did not bring, and refuses one whose end is past."""
    usual = _total(settings, settings.retry, settings.timeout)
    plain = not settings.timeouts and not settings.retries

    def layer(call: Call) -> Awaitable[Reply]:
        now = clock()
        if call.deadline is None:
            if plain and call.retry is None and call.timeout is None:
                call.deadline = now + usual
            else:
                policy = call.retry or settings.retries.get(call.name, settings.retry)
                call.deadline = now + _total(settings, policy, _attempt_bound(call, settings))
        elif call.deadline <= now:
            raise out_of_time(call, "the deadline was over before anything was sent")
        return send(call)

    return layer


def retrying(
    send: Send, settings: Settings, budget: Budget, clock: Clock, chance: Chance, emit: Emit, may_pass: ToolRule
) -> Send:
    """Tries again what can help and cannot harm. The error that comes out says whether *any* attempt was sent."""

    async def layer(call: Call) -> Reply:
        budget.call(clock())
        failed: list[CallError] = []
        while True:
            call.attempts += 1
            try:
                return await send(call)
            except CallError as error:
                if failed and isinstance(error, (CircuitOpen, QueueFull)):
                    call.attempts -= 1
                    raise _summed(failed[-1], failed) from None  # refused by ourselves: the failure before is the news
                if isinstance(error, ToolError) and may_pass(call.name):
                    error.transient = True
                failed.append(error)
                wait = _wait(error, call, settings, budget, clock(), chance)
                emit(_told(error, call, clock(), wait))
                if wait is None:
                    raise _summed(error, failed) from None
                await asyncio.sleep(wait)

    return layer


def _wait(error: CallError, call: Call, settings: Settings, budget: Budget, now: float, chance: Chance) -> float | None:
    wait = again(
        error,
        repeatable=call.repeatable,
        attempt=call.attempts,
        policy=call.retry or settings.retries.get(call.name, settings.retry),
        now=now,
        deadline=_end(call, now),
        chance=chance(),
    )
    return wait if wait is not None and budget.retry(now) else None


def admitted(send: Send, breaker: Breaker, clock: Clock) -> Send:
    """Refuses at once while the breaker is open; takes no permit."""

    def layer(call: Call) -> Awaitable[Reply]:
        if breaker.state != "closed" and not breaker.admits(now := clock()):
            raise circuit_open(call, breaker, now)
        return send(call)

    return layer


def limited(send: Send, room: Room[asyncio.Future[None]]) -> Send:
    """At most so many in flight; the others wait their turn, within the call's deadline."""

    async def layer(call: Call) -> Reply:
        if not room.enter():
            await _turn(call, room)
        try:
            return await send(call)
        finally:
            _leave(room)

    return layer


def limited_by_tool(send: Send, settings: Settings) -> Send:
    """A limit of its own for some tools, taken first, so that who waits for it holds nobody else's place."""
    own = {name: limited(send, Room(places, settings.queue)) for name, places in settings.tool_concurrency.items()}

    def layer(call: Call) -> Awaitable[Reply]:
        return own.get(call.name, send)(call)

    return layer


async def _turn(call: Call, room: Room[asyncio.Future[None]]) -> None:
    loop = asyncio.get_running_loop()
    turn: asyncio.Future[None] = loop.create_future()
    if not room.line_up(turn, patient=call.waits):
        raise QueueFull(f"{room.waiting} calls already wait for it", server=call.server, reason="queue full")
    timer = None if call.deadline is None else loop.call_at(call.deadline, _too_late, call, room, turn)
    try:
        await turn
    except asyncio.CancelledError:
        if not room.step_out(turn) and turn.done() and not turn.cancelled() and turn.exception() is None:
            _leave(room)  # the place was handed to us as we left
        raise
    finally:
        if timer is not None:
            timer.cancel()


def _too_late(call: Call, room: Room[asyncio.Future[None]], turn: asyncio.Future[None]) -> None:
    if not turn.done() and room.step_out(turn):
        turn.set_exception(out_of_time(call, "no turn before the deadline; nothing was sent"))


def _leave(room: Room[asyncio.Future[None]]) -> None:
    while (turn := room.leave()) is not None:
        if not turn.done():
            turn.set_result(None)
            return


def guarded(send: Send, breaker: Breaker, clock: Clock, on_breaker: Callable[[BreakerState], None]) -> Send:
    """Tells the breaker what became of each attempt, and asks it first."""

    async def layer(call: Call) -> Reply:
        before = breaker.state
        now = clock()
        permit = breaker.admit(now)
        if permit is None:
            raise circuit_open(call, breaker, now)
        verdict = "none"
        try:
            reply = await send(call)
        except CallError as error:
            if error.health in ("success", "failure"):
                verdict = error.health
            raise
        except InputRequired:
            verdict = "success"
            raise
        else:
            verdict = "success"
            return reply
        finally:
            breaker.settle(permit, verdict, clock())
            if breaker.state != before:
                on_breaker(breaker.state)

    return layer


def attempt_timeout(send: Send, settings: Settings, clock: Clock) -> Send:
    """Says when this attempt ends: after its own bound or with the call, whichever is first."""

    def layer(call: Call) -> Awaitable[Reply]:
        now = clock()
        end = _end(call, now)
        if end <= now:
            raise out_of_time(call, "the deadline was over before anything was sent")
        call.attempt_deadline = min(end, now + _attempt_bound(call, settings))
        return send(call)

    return layer


def circuit_open(call: Call, breaker: Breaker, now: float) -> CircuitOpen:
    """The refusal of an open breaker."""
    after = breaker.retry_after(now)
    when = f"tried again in {after:.0f} s" if after else "a probe is under way"
    return CircuitOpen(
        f"it failed too often just now; {when}", server=call.server, reason="circuit open", retry_after=after
    )


def out_of_time(call: Call, message: str) -> DeadlineExceeded:
    """The deadline passed on our side of the wire: nothing was sent, and it says nothing about the server."""
    error = DeadlineExceeded(message, server=call.server, sent="no", transient=False)
    error.health = "none"
    return error


def _attempt_bound(call: Call, settings: Settings) -> float:
    return call.timeout if call.timeout is not None else settings.timeouts.get(call.name, settings.timeout)


def _total(settings: Settings, policy: Retry, timeout: float) -> float:
    return settings.total if settings.total is not None else longest(policy, timeout)


def _end(call: Call, now: float) -> float:
    return call.deadline if call.deadline is not None else now + 3600.0


def _summed(error: CallError, failed: list[CallError]) -> CallError:
    error.sent = worst(one.sent for one in failed)
    return error


def _told(error: CallError, call: Call, now: float, wait: float | None) -> AttemptFailed:
    return AttemptFailed(now, call.server, call.name, call.attempts, error.kind, error.message, error.sent, wait)
