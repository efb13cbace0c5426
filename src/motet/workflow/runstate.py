"""Where a run stands: a workflow, its inputs, and the entries so far, and nothing else.

The idea: `ready()` names what may be done now, `apply()` takes what was journalled of it. No clock, no waiting, no
input or output: the same entries give the same state in any carrier. Work per entry does not grow with the workflow.

    a workflow:  forward ─(all settled)──────────────────────────────► finally ─► ended
                 forward ─(a failure, a cancel, its time)► stopping ─► undoing ─► finally ─► ended
                 ended ─(Resumed: gaps, or undo that was left)─► forward or undoing

    a unit:      pending ► ready ► running ► done | partial | failed | unknown | skipped | cancelled
                 running ► waiting ► ready | settled          (approval, question, timer, server, resolve)
                 running ─(unknown)► reconcile ─(failed)► on_unavailable ► on_error ► fallback    (SEMANTICS §2.3)

Nested workflows run in the same state, under the path of the step that runs them. One module, because it is one
machine: its moves stand in the order in which a run comes to them. What it asks before it moves is in `judging`.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Literal, cast

from motet.calls import Json, Retry
from motet.errors import RunError, WorkflowError
from motet.workflow.entries import (
    Answered,
    Began,
    Cancelled,
    Ended,
    Entry,
    ErrorInfo,
    Expired,
    Finished,
    Recovered,
    Result,
    Resumed,
    Started,
    Waiting,
    Woke,
)
from motet.workflow.judging import (
    KINDS,
    UNAVAILABLE,
    bind_inputs,
    found_so_far,
    is_gap,
    joined,
    lacking,
    left_to_undo,
    looked,
    may_undo,
    output_of,
    sent_of,
    sum_up,
    took_effect,
    verdict,
    with_sent_no,
)
from motet.workflow.model import (
    ExpressionError,
    OnError,
    Read,
    RunWorkflow,
    SetValues,
    Step,
    Workflow,
)
from motet.workflow.scopes import (
    LAST_BOUND,
    Act,
    ActKind,
    Request,
    Requests,
    Scopes,
    condition_holds,
    expression_result,
)
from motet.workflow.standing import CHOSEN, HAS_DATA, SETTLED, Frame, Node, Status, Unit, Via, together

RECOVERIES = 3
"""How often one act may be begun again after a crash."""
ASK_AGAIN = (5.0, 60.0)
"""Seconds before a deferred step tries its server again: the first time, and at most."""

RunStatus = Literal["running", "waiting", "complete", "partial", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something observers may want to hear: a step, or an item of it, has another state."""

    unit: Unit | None
    node: Node
    status: str
    phase: Literal["step", "undo", "finally"]


class RunState:
    """One run. Begin it with a `Began` entry, then `apply` every entry in the order of the journal."""

    def __init__(self, workflow: Workflow, began: Began, *, durable: bool = False, held: bool = False) -> None:
        """`held`: steps will be added by `grow`, and it stays open until `close`."""
        self.run = began.run
        self.durable = durable
        """Does an unknown outcome wait for a person, or end the run?"""
        self.began = began
        self.at = began.at
        self.scopes = Scopes(began.run)
        self.requests = Requests(began.run, self.scopes)
        self.changes: list[Change] = []
        """What observers have not been told yet; whoever tells them empties it."""
        self.heard: set[str] = set()
        """Inbox messages that have moved it."""
        self.unwanted: list[Started] = []
        """Acts in flight that nobody needs any more; whoever ends them empties it."""
        self._ready: OrderedDict[str, Act] = OrderedDict()
        self._acts: dict[str, tuple[Act, Started]] = {}
        self._todo: deque[Callable[[], None]] = deque()
        self._alarms: list[tuple[float, int, str, str]] = []
        self._seq = 0
        self._finding: dict[str, Unit] = {}
        inputs = bind_inputs(workflow, began.inputs)
        self.root = Frame(workflow, inputs, prefix="", generation=str(began.generation), parent=None, at=began.at)
        self._open(self.root, workflow.timeout)
        self.held = held
        """Will more steps come?"""
        self.root.open += held
        self._work()

    # -- what may be done now -------------------------------------------------------------------------------------

    def ready(self, limit: int | None = None) -> list[Act]:
        """What may be done now, oldest first. Each stays until its `Started`, `Waiting` or `Finished` is applied."""
        return list(islice(self._ready.values(), limit))

    def request(self, act: Act, now: float) -> Request | Result:
        """The act with everything evaluated; or, when that fails, what is to be journalled as its result."""
        return self.requests.of(act, now)

    @property
    def in_flight(self) -> Mapping[str, tuple[Act, Started]]:
        """Acts that were started and have not finished."""
        return self._acts

    @property
    def waiting(self) -> list[Unit]:
        """Everything that waits for a person, a timer, a server or a verdict."""
        return [unit for frame in self.frames() for unit in frame.waits.values()]

    @property
    def ended(self) -> bool:
        """Has everything come to its end?"""
        return self.root.stage == "ended"

    @property
    def status(self) -> RunStatus:
        """Where the run stands (SEMANTICS §5)."""
        if self.ended:
            return self.root.status or "complete"
        return "running" if self._ready or self._acts else "waiting"

    def wakes_at(self) -> float | None:
        """When the next wait, or a workflow's own time, is over."""
        while self._alarms and not self._is_live(self._alarms[0]):
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def due(self, now: float, *, within: float = 0.0) -> Entry | None:
        """One entry that has become due, or will `within` seconds, to be journalled and applied; None: none yet."""
        at = self.wakes_at()
        if at is None or at > now + within:
            return None
        _, _, kind, key = self._alarms[0]
        if kind == "frame":
            return Expired(at=now, key=key)
        return Woke(at=now, key=key, over=kind == "over")

    def _is_live(self, alarm: tuple[float, int, str, str]) -> bool:
        at, _, kind, key = alarm
        if kind == "frame":
            frame = self._frame(key)
            return frame is not None and frame.deadline == at and frame.stage in ("forward", "finally")
        unit = self._finding.get(key)
        waits = unit.waiting if unit is not None and unit.status == "waiting" else None
        return waits is not None and at == (waits.until if kind == "over" else waits.again)

    def frames(self) -> Iterable[Frame]:
        """Every workflow that runs or ran, the outermost first."""
        pending = [self.root]
        while pending:
            frame = pending.pop()
            yield frame
            pending.extend(unit.child for node in frame.all_nodes for unit in node.units if unit.child is not None)

    def find(self, key: str) -> Unit:
        """The unit of that key. Raises `RunError` when there is none."""
        unit = self._finding.get(key)
        if unit is None:
            raise RunError(f"run {self.run} has no step `{key}` that was begun")
        return unit

    def _frame(self, key: str) -> Frame | None:
        if not key:
            return self.root
        unit = self._finding.get(key)
        return None if unit is None else unit.child

    # -- what came of it ------------------------------------------------------------------------------------------

    def apply(self, entry: Entry) -> None:
        """Move by one entry. Raises `RunError` when the entry does not fit where the run stands."""
        self.at = max(self.at, entry.at)
        self._moves_by[type(entry)](entry)
        if isinstance(entry, (Answered, Cancelled, Resumed)) and entry.message:
            self.heard.add(entry.message)
        self._work()

    @cached_property
    def _moves_by(self) -> Mapping[type, Callable[[Any], None]]:
        return {
            Started: self._started,
            Finished: self._finished,
            Waiting: self._waits,
            Answered: self._answered,
            Woke: self._woke,
            Recovered: self._recovered,
            Cancelled: lambda _: self._cancel(self.root),
            Expired: self._expired,
            Resumed: self._resumed,
            Ended: self._agree,
            Began: self._refuse_entry,
        }

    def _agree(self, entry: Ended) -> None:
        if self.status != entry.status:
            raise RunError(f"run {self.run}: its journal says {entry.status}, its steps say {self.status}")

    def _refuse_entry(self, entry: Began) -> None:
        raise RunError(f"run {entry.run} began twice")

    def _work(self) -> None:
        while self._todo:
            self._todo.popleft()()

    def _take(self, key: str) -> Act:
        act = self._ready.pop(key, None)
        if act is None:
            raise RunError(f"run {self.run}: `{key}` cannot be done now")
        return act

    def _started(self, entry: Started) -> None:
        act = self._take(entry.key)
        unit = act.unit
        self._acts[entry.key] = (act, entry)
        unit.node.frame.running[entry.key] = unit
        if act.phase == "undo" and act.kind == "undo":
            unit.undo_started = entry
            self._changed(unit, "running", "undo")
            return
        if act.kind in ("call", "read", "prompt"):
            unit.started = entry
        if unit.began is None:
            unit.began = self.at
        unit.status = "running"
        if act.phase != "undo":
            self._changed(unit, "running")

    def _finished(self, entry: Finished) -> None:
        held = self._acts.pop(entry.key, None)
        act = held[0] if held is not None else self._take(entry.key)
        unit = act.unit
        unit.node.frame.running.pop(entry.key, None)
        if unit.began is None:
            unit.began = self.at
        match act.kind:
            case "reconcile":
                self._looked(act, entry.result)
            case "undo":
                self._undone(unit, entry.result)
            case "fallback":
                self._fell_back(unit, entry.result)
            case _:
                self._acted(unit, entry.result)
        frame = unit.node.frame
        if frame.stage == "stopping":
            self._todo.append(lambda: self._advance(frame))

    # -- a workflow that grows while it runs ----------------------------------------------------------------------

    def grow(self, step: Step) -> Node:
        """One more step, possible at once. For workflows whose order is made by a function."""
        frame = self.root
        node = frame.nodes[step.name] = Node(frame, step, step.name, "step")
        frame.open += 1
        self._todo.append(lambda: self._release(node))
        self._work()
        return node

    def close(self, at: float, *, output: Json = None, failure: tuple[str, ErrorInfo] | None = None) -> None:
        """No more steps will come: the function has returned its output, or failed."""
        self.at = max(self.at, at)
        frame = self.root
        frame.given = output
        frame.open -= self.held
        self.held = False
        if failure is not None and frame.stage == "forward":
            frame.failure = failure
            self._stop(frame)
        self._todo.append(lambda: self._advance(frame))
        self._work()

    # -- opening a workflow ---------------------------------------------------------------------------------------

    def _open(self, frame: Frame, timeout: float | None) -> None:
        workflow = frame.workflow
        for name, step in workflow.steps.items():
            frame.nodes[name] = Node(frame, step, frame.prefix + name, "step")
        for name, step in workflow.final.items():
            frame.final[name] = Node(frame, step, f"{frame.prefix}finally:{name}", "finally")
        self._link(frame.nodes)
        self._link(frame.final)
        if timeout is not None:
            self._bound(frame, self.at + timeout)
        self._begin_stage(frame, frame.nodes)

    def _link(self, nodes: dict[str, Node]) -> None:
        for node in nodes.values():
            for name in dict.fromkeys((*sorted(node.step.after), *node.step.needs)):
                if name in nodes and name != node.step.name:
                    nodes[name].dependents.append(node)
                    node.waiting_on += 1

    def _begin_stage(self, frame: Frame, nodes: dict[str, Node]) -> None:
        frame.open = sum(node.status not in SETTLED for node in nodes.values())
        for node in nodes.values():
            if node.waiting_on == 0 and node.status == "pending":
                self._todo.append(lambda node=node: self._release(node))
        if frame.open == 0:
            self._todo.append(lambda: self._advance(frame))

    def _bound(self, frame: Frame, deadline: float | None) -> None:
        frame.deadline = deadline
        if deadline is not None:
            key = "" if frame.parent is None else frame.parent.key
            self._seq += 1
            heapq.heappush(self._alarms, (deadline, self._seq, "frame", key))

    # -- a step becomes possible ----------------------------------------------------------------------------------

    def _release(self, node: Node) -> None:
        if node.status != "pending":
            return
        frame = node.frame
        if not self._moves(node):
            self._skip_node(node, "stopped")
            return
        absent = lacking(node)
        if absent is not None:
            self._skip_node(node, f"missing: {absent}")
            return
        if node.units:
            self._again(node)
            return
        try:
            condition = node.step.condition
            if condition is not None and not condition_holds(condition, self.scopes.scope(frame, condition)):
                self._skip_node(node, "if")
                return
            if node.step.foreach is not None:
                node.items = self.scopes.items(frame, node.step.foreach.items)
        except ExpressionError as error:
            self._unevaluated(node, expression_result(error))
            return
        if node.step.foreach is None:
            self._enqueue(self._unit(node))
        else:
            self._feed(node)

    def _moves(self, node: Node) -> bool:
        return node.frame.stage == ("forward" if node.phase == "step" else "finally")

    def _unit(self, node: Node, index: int | None = None) -> Unit:
        key = node.key if index is None else f"{node.key}[{index}]"
        unit = Unit(node, key, index, None if index is None else node.items[index])
        node.units.append(unit)
        node.active += 1
        node.open += 1
        self._finding[key] = unit
        return unit

    def _again(self, node: Node) -> None:
        """Only the gaps: a step of a run that is resumed."""
        if node.foreach is None:
            node.active += 1
            node.open += 1
            self._enqueue(node.units[0])
        else:
            self._feed(node)

    def _feed(self, node: Node) -> None:
        """Let in as many items as may be in flight at once."""
        loop = node.foreach
        assert loop is not None
        room = len(node.items) if loop.concurrency is None else loop.concurrency
        while node.active < room and not node.broken:
            if node.retries:
                unit = node.retries.pop()
                node.active += 1
                node.open += 1
            elif len(node.units) < len(node.items):
                unit = self._unit(node, len(node.units))
            else:
                break
            self._enqueue(unit)
        if node.open == 0:
            self._settle_items(node)

    def _enqueue(self, unit: Unit) -> None:
        frame = unit.node.frame
        frame.backlog.append(unit)
        self._todo.append(lambda: self._admit(frame))

    def _admit(self, frame: Frame) -> None:
        room = frame.workflow.concurrency
        while frame.backlog and (room is None or frame.active < room):
            unit = frame.backlog.popleft()
            if unit.status in SETTLED:
                continue
            frame.active += 1
            if not self._moves(unit.node):
                self._settle(unit, "skipped", reason="stopped")
            else:
                self._begin(unit)

    def _begin(self, unit: Unit) -> None:
        action = unit.node.step.action
        match action:
            case SetValues():
                self._set(unit, action)
            case RunWorkflow():
                self._nest(unit, action)
            case _:
                self._push(unit, KINDS[type(action)])

    def _push(self, unit: Unit, kind: ActKind, *, undo: bool = False) -> None:
        key = f"{kind} {unit.key}" if kind in ("reconcile", "fallback", "undo") else unit.key
        if not undo:
            unit.stage = "reconcile" if kind == "reconcile" else "fallback" if kind == "fallback" else "act"
            unit.status = "ready"
        self._ready[key] = Act(key, kind, unit, "undo" if undo else unit.node.phase)

    def _set(self, unit: Unit, action: SetValues) -> None:
        unit.began = self.at
        try:
            unit.data = self.scopes.action_value(unit, action.value)
        except ExpressionError as error:
            self._acted(unit, expression_result(error))
            return
        self._settle(unit, "done", via="call")

    # -- nested workflows -----------------------------------------------------------------------------------------

    def _nest(self, unit: Unit, action: RunWorkflow) -> None:
        unit.began = self.at if unit.began is None else unit.began
        frame = unit.node.frame
        if unit.child is not None and unit.child.status == "partial":
            unit.status = "running"
            frame.running[unit.key] = unit
            self._resume(unit.child)
            return
        try:
            given = self.scopes.action_value(unit, action.arguments)
            inputs = bind_inputs(action.workflow, cast("Mapping[str, Json]", given or {}))
        except ExpressionError as error:
            self._acted(unit, expression_result(error))
            return
        except WorkflowError as error:
            info = ErrorInfo(kind="invalid_arguments", message=error.message)
            self._acted(unit, Result(status="failed", error=info, reason=error.message))
            return
        unit.status = "running"
        unit.attempts += 1
        frame.running[unit.key] = unit
        self._changed(unit, "running")
        generation = frame.generation if unit.child_round == 0 else f"{frame.generation}.{unit.child_round}"
        unit.child_round += 1
        child = Frame(action.workflow, inputs, prefix=unit.key + "/", generation=generation, parent=unit, at=self.at)
        unit.child = child
        bounds = [bound for bound in (action.workflow.timeout, unit.node.step.timeout) if bound is not None]
        self._open(child, min(bounds, default=None))

    def _child_ended(self, child: Frame) -> None:
        unit = child.parent
        assert unit is not None
        frame = unit.node.frame
        if child.taken_back:
            frame.undoing = None
            unit.undo = together([inner.undo for node in child.nodes.values() for inner in node.units])
            self._undo_changed(unit)
            self._todo.append(lambda: self._undo_next(frame))
            return
        frame.running.pop(unit.key, None)
        unit.data, unit.missing = child.output, child.missing
        if child.status == "complete" or child.status == "partial":
            self._settle(unit, "done" if child.status == "complete" else "partial", via="call")
        elif child.stopped and child.failure is None:
            self._settle(unit, "cancelled", reason="stopped")
        else:
            why = child.failure[1].message if child.failure is not None else "it was cancelled"
            where = f"{child.failure[0]}: " if child.failure is not None else ""
            error = ErrorInfo(kind="run", message=f"{child.workflow.name} failed: {where}{why}")
            self._acted(unit, Result(status="failed", error=error, reason=error.message))
        if frame.stage == "stopping":
            self._todo.append(lambda: self._advance(frame))

    # -- what came of an action -----------------------------------------------------------------------------------

    def _acted(self, unit: Unit, result: Result) -> None:
        unit.attempts += result.attempts
        match result.status:
            case "done" | "partial":
                self._got(unit, result)
            case "skipped":
                self._settle(unit, "skipped", reason=result.reason)
            case "cancelled":
                self._settle(unit, "cancelled", reason=result.reason or "stopped")
            case "failed" | "unknown":
                if unit.kept is not None:
                    self._got(unit, result)  # the gaps are still gaps; what was there before still is
                    return
                unit.records, unit.missing = result.items, result.missing
                self._trouble(unit, result)

    def _got(self, unit: Unit, result: Result) -> None:
        action = unit.node.step.action
        unit.error = None
        unit.data, status = result.data, result.status
        if isinstance(action, Read) and action.form != "one":
            kept = cast("dict[str, Json]", unit.kept or {})
            found = {**kept, **cast("dict[str, Json]", result.data or {})}
            unit.missing = tuple(key for key in action.uris if key not in found)
            unit.records = joined(unit.records, result.items, list(action.uris))
            unit.data = [found.get(key) for key in action.uris] if action.form == "list" else found
            status = "partial" if unit.missing else "done"
        unit.kept = None
        self._settle(unit, "partial" if status == "partial" else "done", via="call", reason=result.reason)

    def _trouble(self, unit: Unit, result: Result) -> None:
        unit.error = result.error
        unit.reason = result.reason
        unit.uncertain = result.status == "unknown"
        step = unit.node.step
        if not self._moves(unit.node):
            self._settle(unit, result.status, reason=result.reason)
        elif step.reconcile is not None and (unit.uncertain or sent_of(unit) == "unknown"):
            self._push(unit, "reconcile")
        else:
            self._unavailable(unit)

    def _looked(self, act: Act, result: Result) -> None:
        unit = act.unit
        happened, data = looked(unit, result, self.scopes)
        if happened:
            unit.data = data
        if act.phase == "undo":
            self._undo_looked(unit, happened=happened)
        elif not self._moves(unit.node) and happened is None:
            self._settle(unit, "unknown" if unit.uncertain else "failed", reason=unit.reason)
        elif happened is None:
            self._unavailable(unit)
        elif happened:
            self._settle(unit, "done", via="reconcile")
        else:
            self._did_not_happen(unit)

    def _did_not_happen(self, unit: Unit) -> None:
        """Proven without effect: it may be sent again as often as its retries allow (SEMANTICS §4: sent = no)."""
        step = unit.node.step
        unit.uncertain = False
        transient = unit.error is not None and unit.error.transient
        if unit.error is not None:
            unit.error = with_sent_no(unit.error)
        allowed = (step.retry or Retry()).attempts - 1
        in_time = step.timeout is None or unit.began is None or self.at < unit.began + step.timeout
        if self._moves(unit.node) and transient and unit.resends < allowed and in_time:
            unit.resends += 1
            self._push(unit, KINDS[type(step.action)])
        elif self._moves(unit.node):
            self._unavailable(unit)
        else:
            self._settle(unit, "failed", reason=unit.reason)

    def _unavailable(self, unit: Unit) -> None:
        declared = unit.node.step.on_unavailable
        error = unit.error
        if declared is None or error is None or error.kind not in UNAVAILABLE or error.sent != "no":
            self._on_error(unit, unit.node.step.on_error)
        elif declared.mode != "defer":
            self._on_error(unit, OnError(declared.mode))
        else:
            unit.deferred = self.at if unit.deferred is None else unit.deferred
            until = unit.deferred + declared.defer
            if self.at >= until:
                self._on_error(unit, unit.node.step.on_error)
            else:
                first, most = ASK_AGAIN
                pause = error.retry_after or min(most, max(first, (self.at - unit.deferred) / 2))
                again = min(until, self.at + pause)
                waiting = Waiting(at=self.at, key=unit.key, reason="server", until=until, again=again, error=error)
                self._wait(unit, waiting)

    def _on_error(self, unit: Unit, rule: OnError) -> None:
        status = "unknown" if unit.uncertain else "failed"
        match rule.mode:
            case "continue":
                self._settle(unit, status, reason=unit.reason)
            case "value" if rule.value is not None:
                self._instead(unit, rule, status)
            case "call" if rule.call is not None and not unit.uncertain:
                self._push(unit, "fallback")
            case _:
                self._fatal(unit)

    def _instead(self, unit: Unit, rule: OnError, status: Status) -> None:
        assert rule.value is not None
        try:
            unit.data = rule.value.evaluate(self.scopes.scope(unit.node.frame, rule.value, own=unit))
        except ExpressionError as error:
            self._blame(unit, expression_result(error))
            self._fatal(unit)
            return
        self._settle(unit, "unknown" if status == "unknown" else "done", via="value", reason=unit.reason)

    def _fell_back(self, unit: Unit, result: Result) -> None:
        unit.attempts += result.attempts
        if result.status == "done":
            unit.data = result.data
            self._settle(unit, "done", via="fallback", reason=unit.reason)
            return
        self._blame(unit, result)
        unit.uncertain = result.status == "unknown"
        if self._moves(unit.node):
            self._fatal(unit)
        else:
            self._settle(unit, "unknown" if unit.uncertain else "failed", reason=unit.reason)

    def _blame(self, unit: Unit, result: Result) -> None:
        if result.error is not None:
            unit.error = result.error
        elif unit.error is None:
            unit.error = ErrorInfo(kind="expression", message=result.reason or "it could not be evaluated")
        unit.reason = result.reason if result.reason is not None else unit.reason

    def _fatal(self, unit: Unit) -> None:
        """`on_error: fail`. An unknown outcome of a durable run waits for a person instead."""
        if unit.uncertain and self.durable:
            self._wait(unit, Waiting(at=self.at, key=unit.key, reason="resolve", error=unit.error))
            return
        node = unit.node
        error = unit.error or ErrorInfo(kind="failed", message=unit.reason or "failed")
        node.broken = True
        self._settle(unit, "unknown" if unit.uncertain else "failed", reason=unit.reason)
        self._fail(node, unit.key, error)

    # -- waiting --------------------------------------------------------------------------------------------------

    def _waits(self, entry: Waiting) -> None:
        held = self._acts.pop(entry.key, None)
        act = held[0] if held is not None else self._take(entry.key)
        unit = act.unit
        unit.node.frame.running.pop(entry.key, None)
        unit.attempts += entry.attempts
        if unit.began is None:
            unit.began = self.at
        if entry.reason == "question" and not self._moves(unit.node):
            self._settle(unit, "cancelled", reason="stopped")
            frame = unit.node.frame
            self._todo.append(lambda: self._advance(frame))
            return
        if entry.reason == "approval":
            shown = cast("Mapping[str, Json]", entry.shown or {})
            unit.node.frame.shown.update(shown.get("then") or {})
        self._wait(unit, entry)

    def _wait(self, unit: Unit, waiting: Waiting) -> None:
        frame = unit.node.frame
        unit.status = "waiting"
        unit.waiting = waiting
        frame.waits[unit.key] = unit
        for at, kind in ((waiting.until, "over"), (waiting.again, "again")):
            if at is not None:
                self._seq += 1
                heapq.heappush(self._alarms, (at, self._seq, kind, unit.key))
        self._changed(unit, f"waiting({waiting.reason})")
        self._leave(unit)

    def _leave(self, unit: Unit) -> None:
        """It is no longer in flight: others may have its place."""
        frame, node = unit.node.frame, unit.node
        frame.active -= 1
        node.active -= 1
        if frame.backlog:
            self._todo.append(lambda: self._admit(frame))
        if node.foreach is not None and (node.retries or len(node.units) < len(node.items)):
            self._todo.append(lambda: self._feed(node) if node.status == "pending" else None)

    def _return(self, unit: Unit) -> None:
        unit.node.frame.waits.pop(unit.key, None)
        unit.waiting = None
        unit.node.frame.active += 1
        unit.node.active += 1

    def _woke(self, entry: Woke) -> None:
        unit = self.find(entry.key)
        waiting = unit.waiting
        if waiting is None:
            raise RunError(f"run {self.run}: `{entry.key}` waits for nothing")
        self._return(unit)
        match waiting.reason:
            case "timer":
                unit.data = None
                self._settle(unit, "done", via="call")
            case "server" if not entry.over:
                self._push(unit, KINDS[type(unit.node.step.action)])
            case "server":
                unit.error, unit.reason = waiting.error, unit.reason
                self._on_error(unit, unit.node.step.on_error)
            case "approval":
                self._refuse(unit, "expired", "nobody approved it in time")
            case _:
                self._unanswered(unit, "nobody answered in time")

    def _refuse(self, unit: Unit, kind: str, message: str) -> None:
        unit.refused = True
        unit.error, unit.reason = ErrorInfo(kind=kind, message=message), message
        rule = unit.node.step.on_error
        self._on_error(unit, rule if rule.mode == "continue" else OnError("fail"))

    def _unanswered(self, unit: Unit, message: str) -> None:
        error = ErrorInfo(kind="unanswered", message=message)
        self._trouble(unit, Result(status="failed", error=error, reason=message))

    def _answered(self, entry: Answered) -> None:
        unit = self.find(entry.key)
        if unit.status == "unknown":
            self._resolve_later(unit, entry)
            return
        waiting = unit.waiting
        if waiting is None:
            raise RunError(f"`{entry.key}` of run {self.run} does not wait for an answer")
        match waiting.reason, entry.verdict:
            case "approval", "approve":
                self._return(unit)
                unit.data = {"approved": True, "by": entry.who, "note": entry.note}
                self._settle(unit, "done", via="call")
            case "approval", "reject":
                self._return(unit)
                by = f" by {entry.who}" if entry.who else ""
                self._refuse(unit, "rejected", f"rejected{by}" + (f": {entry.note}" if entry.note else ""))
            case "question", "answer":
                self._return(unit)
                unit.round = (cast("Mapping[str, Json]", entry.data or {}), waiting.round_state)
                self._push(unit, KINDS[type(unit.node.step.action)])
            case "question", "decline":
                self._return(unit)
                self._unanswered(unit, "the question was declined")
            case "resolve", "done" | "failed" | "retry":
                self._return(unit)
                self._resolve(unit, entry)
            case _:
                raise RunError(f"`{entry.key}` waits for {waiting.reason}; `{entry.verdict}` is no answer to that")

    def _resolve(self, unit: Unit, entry: Answered) -> None:
        unit.uncertain = False
        match entry.verdict:
            case "done":
                unit.data = entry.data
                self._settle(unit, "done", via="resolve")
            case "retry":
                unit.recoveries = 0
                self._push(unit, "fallback" if unit.stage == "fallback" else KINDS[type(unit.node.step.action)])
            case _:
                error = unit.error or ErrorInfo(kind="failed", message="it did not happen")
                unit.error = with_sent_no(error)
                if unit.stage == "fallback":
                    self._fatal(unit)
                else:
                    self._on_error(unit, unit.node.step.on_error)

    def _resolve_later(self, unit: Unit, entry: Answered) -> None:
        """A verdict on an unknown outcome that the run already went past: it changes the record, and starts nothing."""
        node = unit.node
        unit.uncertain = False
        if entry.verdict == "done":
            unit.status, unit.via, unit.data, unit.reason = "done", "resolve", entry.data, None
        elif entry.verdict in ("failed", "retry"):
            unit.status = "failed"
            unit.error = None if unit.error is None else with_sent_no(unit.error)
        else:
            raise RunError(f"`{entry.verdict}` is no answer to an unknown outcome")
        if unit.undo == "unknown":
            unit.undo = "pending" if entry.verdict == "done" else "none"
        node.cached = None
        if node.foreach is None:
            node.status, node.data, node.error, node.reason = unit.status, unit.data, unit.error, unit.reason
        else:
            node.status, node.data, node.error, node.reason = sum_up(node)
        self._changed(unit, unit.status)
        frame: Frame | None = node.frame
        while frame is not None and frame.stage == "ended":
            self._conclude(frame)
            frame = None if frame.parent is None else frame.parent.node.frame

    def _recovered(self, entry: Recovered) -> None:
        act, _ = self._acts.pop(entry.key, (None, None))
        if act is None:
            raise RunError(f"run {self.run}: `{entry.key}` was not in flight")
        unit = act.unit
        unit.node.frame.running.pop(entry.key, None)
        unit.recoveries += 1
        if unit.recoveries > RECOVERIES and act.phase != "undo":
            message = f"its process ended {unit.recoveries} times while it was in flight"
            unit.error = ErrorInfo(kind="interrupted", message=message, sent="unknown")
            unit.reason, unit.uncertain = message, True
            self._wait(unit, Waiting(at=self.at, key=unit.key, reason="resolve", error=unit.error))
            return
        self._ready[entry.key] = act
        if act.phase != "undo":
            unit.status = "ready"

    # -- settling -------------------------------------------------------------------------------------------------

    def _settle(self, unit: Unit, status: Status, *, via: Via | None = None, reason: str | None = None) -> None:
        node = unit.node
        self._seq += 1
        unit.status, unit.via, unit.reason = status, via, reason
        unit.settled, unit.seq = self.at, self._seq
        unit.round = None
        if not unit.has_data:
            unit.data = None
        elif status == "done" and via == "call":
            unit.error = None
        if unit.index is not None or status not in ("skipped",):
            self._changed(unit, status)
        node.open -= 1
        self._leave(unit)
        if node.foreach is None:
            self._settle_node(node, status, unit.data, unit.error, reason)
        elif node.open == 0 and (node.broken or not (node.retries or len(node.units) < len(node.items))):
            self._settle_items(node)

    def _settle_items(self, node: Node) -> None:
        if node.status in SETTLED:
            return
        while node.retries:
            unit = node.retries.pop()
            unit.status, unit.reason, unit.settled = "skipped", "stopped", self.at
        while len(node.units) < len(node.items):
            index = len(node.units)
            unit = Unit(node, f"{node.key}[{index}]", index, node.items[index])
            unit.status, unit.reason, unit.settled = "skipped", "stopped", self.at
            node.units.append(unit)
        self._settle_node(node, *sum_up(node))

    def _settle_node(self, node: Node, status: Status, data: Json, error: ErrorInfo | None, reason: str | None) -> None:
        self._seq += 1
        frame = node.frame
        node.status, node.error, node.reason = status, error, reason
        node.settled, node.seq = self.at, self._seq
        node.cached = node.scope = None
        node.data = data
        if node.unit is None:
            self.changes.append(Change(None, node, status, node.phase))
        for later in node.dependents:
            later.waiting_on -= 1
            if later.waiting_on == 0 and later.status == "pending":
                self._todo.append(lambda later=later: self._release(later))
        frame.open -= 1
        if frame.open == 0:
            self._todo.append(lambda: self._advance(frame))

    def _skip_node(self, node: Node, reason: str) -> None:
        self._settle_node(node, "skipped", None, None, reason)

    def _unevaluated(self, node: Node, result: Result) -> None:
        """Its `if` or `foreach` could not be evaluated."""
        if result.status == "skipped":
            self._skip_node(node, result.reason or "missing")
            return
        unit = Unit(node, node.key)
        self._finding.setdefault(node.key, unit)
        unit.began = self.at
        unit.error, unit.reason = result.error, result.reason
        rule = node.step.on_error
        if rule.mode == "value" and rule.value is not None and node.foreach is None:
            node.units.append(unit)
            node.active, node.open = 1, 1
            node.frame.active += 1
            self._instead(unit, rule, "failed")
        elif rule.mode == "call" and node.foreach is None:
            node.units.append(unit)
            node.active, node.open = 1, 1
            node.frame.active += 1
            self._push(unit, "fallback")
        else:
            error = result.error or ErrorInfo(kind="expression", message="it could not be evaluated")
            self._settle_node(node, "failed", None, error, result.reason)
            if rule.mode != "continue":
                self._fail(node, node.key, error)

    # -- the way of a workflow ------------------------------------------------------------------------------------

    def _advance(self, frame: Frame) -> None:
        match frame.stage:
            case "forward" if frame.open == 0:
                self._begin_finally(frame)
            case "stopping" if frame.open == 0 and not frame.running:
                self._begin_undo(frame)
            case "finally" if frame.open == 0:
                self._conclude(frame)
            case _:
                return

    def _fail(self, node: Node, key: str, error: ErrorInfo) -> None:
        """A step failed, and its workflow with it; a failure under `finally` leaves the other steps there alone."""
        frame = node.frame
        if node.phase == "finally":
            frame.broken_finally = True
            frame.failure = frame.failure or (key, error)
        elif frame.stage == "forward":
            frame.failure = (key, error)
            self._stop(frame)

    def _expired(self, entry: Expired) -> None:
        frame = self._frame(entry.key)
        if frame is None:
            raise RunError(f"run {self.run} has no workflow at `{entry.key}`")
        frame.deadline = None
        if frame.stage == "finally":
            self._drop(frame, frame.final)
            self._todo.append(lambda: self._advance(frame))
            return
        if frame.stage == "forward":
            message = f"{frame.workflow.name} took longer than the {frame.workflow.timeout:g} s it may"
            frame.failure = (entry.key or frame.workflow.name, ErrorInfo(kind="deadline", message=message))
            self._stop(frame)

    def _cancel(self, frame: Frame) -> None:
        match frame.stage:
            case "forward":
                frame.cancelled = True
                self._stop(frame)
            case "stopping":
                frame.cancelled = True
            case "undoing":
                frame.cancelled = not frame.taken_back
                frame.to_undo.clear()
                held = frame.undoing
                if held is not None and held.child is not None and held.child.taken_back:
                    self._cancel(held.child)
                elif held is not None and self._unstarted_undo(held):
                    frame.undoing = None
                    self._todo.append(lambda: self._undo_next(frame))
            case "finally":
                frame.cancelled = True
                self._drop(frame, frame.final)
            case "ended":
                raise RunError(f"run {self.run} has ended")

    def _unstarted_undo(self, unit: Unit) -> bool:
        return any(self._ready.pop(f"{kind} {unit.key}", None) is not None for kind in ("undo", "reconcile"))

    def _stop(self, frame: Frame) -> None:
        """Nothing new starts; what is in flight ends in its own way."""
        frame.stage = "stopping"
        self._drop(frame, frame.nodes)
        self._todo.append(lambda: self._advance(frame))

    def _drop(self, frame: Frame, nodes: dict[str, Node]) -> None:
        open_nodes = [node for node in nodes.values() if node.status == "pending"]
        for node in open_nodes:
            node.broken = True
        while frame.backlog:
            unit = frame.backlog.popleft()
            frame.active += 1
            self._settle(unit, "skipped", reason="stopped")
        for unit in list(frame.waits.values()):
            self._return(unit)
            if unit.uncertain:
                self._settle(unit, "unknown", reason=unit.reason)
            else:
                self._settle(unit, "cancelled", reason="stopped")
        self._give_up(frame)
        for unit in [unit for node in open_nodes for unit in node.units if unit.status == "ready"]:
            self._drop_unit(unit)
        for node in open_nodes:
            if node.status == "pending" and not node.units:
                self._skip_node(node, "stopped")
            elif node.status == "pending" and node.open == 0:
                self._settle_items(node)

    def _give_up(self, frame: Frame) -> None:
        for unit in list(frame.running.values()):
            held = self._acts.get(unit.key)
            if held is not None:
                self.unwanted.append(held[1])
            elif unit.child is not None and unit.child.stage == "forward":
                unit.child.stopped = True
                self._cancel(unit.child)

    def _drop_unit(self, unit: Unit) -> None:
        for key in (unit.key, f"reconcile {unit.key}", f"fallback {unit.key}"):
            self._ready.pop(key, None)
        if unit.stage == "act" and unit.error is None:
            self._settle(unit, "skipped", reason="stopped")
        else:
            self._settle(unit, "unknown" if unit.uncertain else "failed", reason=unit.reason)

    # -- undo -----------------------------------------------------------------------------------------------------

    def _begin_undo(self, frame: Frame) -> None:
        frame.stage = "undoing"
        frame.deadline = None
        units = [unit for node in frame.nodes.values() for unit in node.units if may_undo(unit)]
        frame.to_undo = sorted(units, key=lambda unit: unit.seq)
        for unit in frame.to_undo:
            unit.undo = "pending"
            unit.node.cached = None
        self._undo_next(frame)

    def _undo_next(self, frame: Frame) -> None:
        if frame.undoing is not None:
            return
        if not frame.to_undo:
            if frame.taken_back:
                self._conclude(frame)
            else:
                self._begin_finally(frame)
            return
        unit = frame.undoing = frame.to_undo.pop()
        step = unit.node.step
        child = unit.child
        if step.undo is None and child is not None:
            child.taken_back = True
            self._begin_undo(child)
        elif took_effect(unit):
            self._push(unit, "undo", undo=True)
        elif step.reconcile is not None:
            self._push(unit, "reconcile", undo=True)
        else:
            self._undo_looked(unit, happened=None)

    def _undo_looked(self, unit: Unit, *, happened: bool | None) -> None:
        step = unit.node.step
        if happened:
            unit.status, unit.via, unit.uncertain = "done", "reconcile", False
            unit.node.cached = None
            if unit.node.foreach is None:
                unit.node.status, unit.node.data = "done", unit.data
            if step.undo is not None:
                self._push(unit, "undo", undo=True)
            else:
                self._undo_over(unit, "none")
        elif happened is False:
            unit.uncertain = False
            if unit.via is None:
                unit.status = "failed"
                if unit.node.foreach is None:
                    unit.node.status = "failed"
            self._undo_over(unit, "none")
        elif step.undo is not None and step.undo.when == "maybe":
            self._push(unit, "undo", undo=True)
        else:
            self._undo_over(unit, "unknown" if step.undo is not None else "none")

    def _undone(self, unit: Unit, result: Result) -> None:
        if result.status == "done":
            self._undo_over(unit, "done")
            return
        why = result.reason or "it could not be undone"
        unit.undo_error = result.error or ErrorInfo(kind="expression", message=why)
        self._undo_over(unit, "unknown" if result.status == "unknown" else "failed")

    def _undo_over(self, unit: Unit, undo: Literal["none", "done", "failed", "unknown"]) -> None:
        unit.undo = undo
        frame = unit.node.frame
        frame.undoing = None
        self._undo_changed(unit)
        self._todo.append(lambda: self._undo_next(frame))

    def _undo_changed(self, unit: Unit) -> None:
        unit.node.cached = None
        if unit.undo != "none":
            self._changed(unit, unit.undo, "undo")

    # -- the end --------------------------------------------------------------------------------------------------

    def _begin_finally(self, frame: Frame) -> None:
        frame.stage = "finally"
        frame.status = verdict(frame)
        self._bound(frame, self.at + LAST_BOUND if frame.final else None)
        self._begin_stage(frame, frame.final)

    def _conclude(self, frame: Frame) -> None:
        frame.output, frame.missing = None, ()
        status = verdict(frame)
        if status in ("complete", "partial"):
            frame.output, frame.missing = output_of(frame, self.scopes)
            status = verdict(frame)
        frame.status = status
        frame.deadline = None
        if frame.stage != "ended":
            frame.stage = "ended"
            frame.ended = self.at
            if frame.parent is not None:
                self._child_ended(frame)
        elif frame.parent is not None and frame.parent.status in HAS_DATA:
            self._child_concluded_again(frame, frame.parent)

    def _child_concluded_again(self, frame: Frame, unit: Unit) -> None:
        unit.status = "done" if frame.status == "complete" else "partial"
        unit.data, unit.missing = frame.output, frame.missing
        node = unit.node
        node.cached = None
        if node.foreach is None:
            node.status, node.data = unit.status, unit.data
        else:
            node.status, node.data, node.error, node.reason = sum_up(node)

    # -- going on with a run that has ended -----------------------------------------------------------------------

    def gaps(self) -> bool:
        """Would `Resumed` find something to do?"""
        if self.root.status in ("failed", "cancelled"):
            return self.ended and left_to_undo(self.root)
        return self.ended and any(is_gap(node) for frame in self.frames() for node in frame.all_nodes)

    def _resumed(self, _: Resumed) -> None:
        if not self.gaps():
            raise RunError(f"run {self.run} is {self.status}: nothing is left to do", hint="motet rerun starts it anew")
        self._resume(self.root)

    def _resume(self, frame: Frame) -> None:
        frame.ended = None
        if frame.status in ("failed", "cancelled"):
            frame.stage = "undoing"
            units = [unit for node in frame.nodes.values() for unit in node.units if unit.undo in ("pending", "failed")]
            frame.to_undo = sorted(units, key=lambda unit: unit.seq)
            self._undo_next(frame)
            return
        frame.stage, frame.status, frame.missing = "forward", None, ()
        for nodes in (frame.nodes, frame.final):
            again = [node for node in nodes.values() if is_gap(node)]
            for node in again:
                self._reopen(node)
            for node in again:
                for later in node.dependents:
                    if later.status == "pending":
                        later.waiting_on += 1
        if frame.workflow.timeout is not None:
            self._bound(frame, self.at + frame.workflow.timeout)
        self._begin_stage(frame, frame.nodes)

    def _reopen(self, node: Node) -> None:
        node.status, node.cached, node.scope, node.broken = "pending", None, None, False
        node.settled, node.waiting_on = None, 0
        for unit in node.units:
            if unit.status in ("done", "unknown") or (unit.status == "skipped" and unit.reason in CHOSEN):
                continue
            unit.kept = found_so_far(unit)
            unit.status, unit.stage, unit.error, unit.reason = "pending", "act", None, None
            unit.resends = unit.recoveries = 0
            unit.deferred = unit.settled = unit.began = None
            if node.foreach is not None:
                node.retries.append(unit)
        node.retries.reverse()
        if node.foreach is None and node.units and node.units[0].status != "pending":
            node.units.clear()

    # -- telling --------------------------------------------------------------------------------------------------

    def _changed(self, unit: Unit, status: str, phase: Literal["step", "undo", "finally"] | None = None) -> None:
        self.changes.append(Change(unit, unit.node, status, phase or unit.node.phase))
