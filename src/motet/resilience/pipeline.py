"""The layers around one server's `send`, and the one place where their order is written.

    deadline -> retry -> (is the breaker open?) -> concurrency limit -> breaker -> attempt timeout -> send

Retry is outside the limit, so nobody sleeps holding a place. The breaker is also asked before queueing, without taking
a probe, so nobody queues for a server that is left alone. No layer arms a timer on the way in: `call.deadline` and
`call.attempt_deadline` are absolute, and the one timer of an attempt is the wire's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from motet.calls import Call, InputRequired, Reply, Retry, Send
from motet.errors import CallError, CircuitOpen, DeadlineExceeded, QueueFull, ToolError
from motet.events import AttemptFailed, Emit, nobody
from motet.resilience.breaker import Breaker, BreakerSettings, BreakerState, Verdict
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
    """One server's layers and their state. `send` is the door in.

    The order of the layers is written in `send` and `_attempt`, and nowhere else.
    """

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
        self._rooms = {
            name: Room[asyncio.Future[None]](places, settings.queue)
            for name, places in settings.tool_concurrency.items()
        }
        self._wire = send
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._emit = emit
        self._may_pass = may_pass
        self._on_breaker = on_breaker
        self._plain = not settings.timeouts and not settings.retries
        self._usual = _total(settings, settings.retry, settings.timeout)

    async def send(self, call: Call) -> Reply:
        """One call: its deadline, around as many attempts as can help and cannot harm.

        Raises one CallError, which says whether *any* attempt was sent, or InputRequired.
        """
        now = self._clock()
        self._bound(call, now)
        self.budget.call(now)
        failed: list[CallError] = []
        while True:
            call.attempts += 1
            try:
                if self._rooms and (own := self._rooms.get(call.name)) is not None:
                    return await self._attempt_in(own, call)
                return await self._attempt(call, now)
            except CallError as error:
                if failed and isinstance(error, (CircuitOpen, QueueFull)):
                    call.attempts -= 1
                    raise _summed(failed[-1], failed) from None  # refused by ourselves: the failure before is the news
                if isinstance(error, ToolError) and self._may_pass(call.name):
                    error.transient = True
                failed.append(error)
                call.failures = failed
                now = self._clock()
                wait = self._again(error, call, now)
                self._emit(_told(error, call, now, wait))
                if wait is None:
                    raise _summed(error, failed) from None
                await asyncio.sleep(wait)
                now = self._clock()

    async def _attempt_in(self, own: Room[asyncio.Future[None]], call: Call) -> Reply:
        """A limit of its own for one tool, taken first, so that who waits for it holds nobody else's place."""
        self._admitted(call)
        if not own.enter():
            await _turn(call, own)
        try:
            return await self._attempt(call, self._clock())
        finally:
            _leave(own)

    async def _attempt(self, call: Call, now: float) -> Reply:
        """One attempt: the breaker is asked, then a place, the breaker's permit, the attempt's own bound, the wire."""
        breaker, room = self.breaker, self.room
        if breaker.state != "closed":
            self._admitted(call)
        if not room.enter():
            await _turn(call, room)
            now = self._clock()
        try:
            before = breaker.state
            permit = breaker.admit(now)
            if permit is None:
                raise circuit_open(call, breaker, now)
            verdict: Verdict = "none"
            try:
                self._bound_attempt(call, now)
                reply = await self._wire(call)
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
                breaker.settle(permit, verdict, self._clock())
                if breaker.state != before:
                    self._on_breaker(breaker.state)
        finally:
            _leave(room)

    def _bound(self, call: Call, now: float) -> None:
        """Give the call the absolute end it did not bring. Raises when the one it brought is past."""
        if call.deadline is None:
            if self._plain and call.retry is None and call.timeout is None:
                call.deadline = now + self._usual
            else:
                policy = call.retry or self._settings.retries.get(call.name, self._settings.retry)
                call.deadline = now + _total(self._settings, policy, _attempt_bound(call, self._settings))
        elif call.deadline <= now:
            raise out_of_time(call, "the deadline was over before anything was sent")

    def _bound_attempt(self, call: Call, now: float) -> None:
        """The attempt ends after its own bound or with the call, whichever is first."""
        end = _end(call, now)
        if end <= now:
            raise out_of_time(call, "the deadline was over before anything was sent")
        own = now + _attempt_bound(call, self._settings)
        call.attempt_deadline = own if own < end else end

    def _admitted(self, call: Call) -> None:
        """Refuse at once while the breaker is open; takes no permit, so that nobody queues for a server left alone."""
        breaker = self.breaker
        if breaker.state != "closed" and not breaker.admits(now := self._clock()):
            raise circuit_open(call, breaker, now)

    def _again(self, error: CallError, call: Call, now: float) -> float | None:
        wait = again(
            error,
            repeatable=call.repeatable,
            attempt=call.attempts,
            policy=call.retry or self._settings.retries.get(call.name, self._settings.retry),
            now=now,
            deadline=_end(call, now),
            chance=self._chance(),
        )
        return wait if wait is not None and self.budget.retry(now) else None


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
