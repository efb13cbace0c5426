"""One run: its workflows, what is ready, in flight and waited for; and the small moves all others are made of.

push    a unit has something to do: it is ready
over    an act is no longer ready or in flight
wait    a unit waits, and gives its place to others
back    it waits no longer
settle  a unit has come to its end; with its last unit its step settles, and those that depend on it are looked at
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motet.calls import Json
from motet.errors import RunError
from motet.workflow.entries import ActKind, ErrorInfo, Started, Waiting
from motet.workflow.judging import sum_up
from motet.workflow.machine.alarms import Alarms
from motet.workflow.scopes import Act, Scopes
from motet.workflow.standing import SETTLED, Frame, Node, Status, Undoing, Unit, Via

Todo: TypeAlias = tuple[Literal["release", "feed"], Node] | tuple[Literal["admit", "advance", "undo"], Frame]
"""What is to be looked at next, within the same entry:

    release   a step all of whose dependencies have settled
    feed      a foreach that may have room for another item
    admit     a workflow that may have room for another step or item
    advance   a workflow in which nothing may be open any more
    undo      a workflow that takes back its next step
"""


@dataclass(frozen=True, slots=True)
class Change:
    """Something observers may want to hear: a step, or an item of it, has another state."""

    unit: Unit | None
    node: Node
    status: str
    phase: Literal["step", "undo", "finally"]


class Run:
    """One run, moved by the functions of this package."""

    def __init__(self, root: Frame, *, run_id: str, durable: bool) -> None:
        self.root = root
        self.id = run_id
        self.durable = durable
        self.at = root.began
        """The time of the newest entry."""
        self.scopes = Scopes(run_id)
        self.ready: OrderedDict[str, Act] = OrderedDict()
        self.in_flight: dict[str, tuple[Act, Started]] = {}
        self.units: dict[str, Unit] = {}
        """Everything that was begun, by its key."""
        self.alarms = Alarms()
        self.todo: deque[Todo] = deque()
        self.changes: list[Change] = []
        self.unwanted: list[Started] = []
        self._settled = 0

    # -- looking --------------------------------------------------------------------------------------------------

    def frames(self) -> Iterable[Frame]:
        """Every workflow that runs or ran, the outermost first."""
        pending = [self.root]
        while pending:
            frame = pending.pop()
            yield frame
            pending.extend(unit.child for node in frame.all_nodes for unit in node.units if unit.child is not None)

    def find(self, key: str) -> Unit:
        """The unit of that key. Raises `RunError` when there is none."""
        unit = self.units.get(key)
        if unit is None:
            raise RunError(f"run {self.id} has no step `{key}` that was begun")
        return unit

    def workflow_at(self, key: str) -> Frame:
        """The workflow that the step of that key runs; for no key, the outermost. Raises `RunError`."""
        unit = self.units.get(key)
        frame = self.root if not key else None if unit is None else unit.child
        if frame is None:
            raise RunError(f"run {self.id} has no workflow at `{key}`")
        return frame

    def changed(self, unit: Unit, status: str, phase: Literal["step", "undo", "finally"] | None = None) -> None:
        """Something to tell observers."""
        self.changes.append(Change(unit, unit.node, status, phase or unit.node.phase))

    # -- acts -----------------------------------------------------------------------------------------------------

    def push(self, unit: Unit, kind: ActKind, *, undo: bool = False) -> None:
        """The unit has something to do, now."""
        key = f"{kind} {unit.key}" if kind in ("reconcile", "fallback", "undo") else unit.key
        if undo:
            unit.recoveries = 0
        else:
            unit.stage = "reconcile" if kind == "reconcile" else "fallback" if kind == "fallback" else "act"
            unit.status = "ready"
        self.ready[key] = Act(key, kind, unit, "undo" if undo else unit.node.phase)

    def take(self, key: str) -> Act:
        """Take an act that is ready. Raises `RunError` when it is not."""
        act = self.ready.pop(key, None)
        if act is None:
            raise RunError(f"run {self.id}: `{key}` cannot be done now")
        return act

    def over(self, key: str) -> Act:
        """The act has ended, wherever it was. Raises `RunError` when it was neither in flight nor ready."""
        held = self.in_flight.pop(key, None)
        act = held[0] if held is not None else self.take(key)
        unit = act.unit
        unit.node.frame.running.pop(key, None)
        if unit.began is None:
            unit.began = self.at
        return act

    # -- stages of a workflow -------------------------------------------------------------------------------------

    def begin_stage(self, frame: Frame, nodes: dict[str, Node]) -> None:
        """These steps are what the workflow does now."""
        frame.open = sum(node.status not in SETTLED for node in nodes.values())
        for node in nodes.values():
            if node.waiting_on == 0 and node.status == "pending":
                self.todo.append(("release", node))
        if frame.open == 0:
            self.todo.append(("advance", frame))

    def bound(self, frame: Frame, deadline: float | None) -> None:
        """The workflow's present stage may take until then."""
        frame.deadline = deadline
        if deadline is not None:
            self.alarms.for_workflow(frame, deadline)

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait(self, unit: Unit, waiting: Waiting) -> None:
        """It waits, and holds nobody up meanwhile."""
        unit.status = "waiting"
        unit.waiting = waiting
        unit.node.frame.waits[unit.key] = unit
        if waiting.until is not None:
            self.alarms.for_wait(unit, waiting.until, "over")
        if waiting.again is not None:
            self.alarms.for_wait(unit, waiting.again, "again")
        self.changed(unit, f"waiting({waiting.reason})")
        self._leave(unit)

    def back(self, unit: Unit) -> None:
        """It waits no longer."""
        unit.node.frame.waits.pop(unit.key, None)
        unit.waiting = None
        unit.node.frame.active += 1
        unit.node.active += 1

    def _leave(self, unit: Unit) -> None:
        """It is no longer in flight: others may have its place."""
        frame, node = unit.node.frame, unit.node
        frame.active -= 1
        node.active -= 1
        if frame.backlog:
            self.todo.append(("admit", frame))
        if node.foreach is not None and node.has_more:
            self.todo.append(("feed", node))

    # -- settling -------------------------------------------------------------------------------------------------

    def settle(self, unit: Unit, status: Status, *, via: Via | None = None, reason: str | None = None) -> None:
        """A step's only doing, or one item of it, has come to its end."""
        node = unit.node
        self._settled += 1
        unit.status, unit.via, unit.reason = status, via, reason
        unit.settled, unit.seq = self.at, self._settled
        unit.round = None
        if not unit.has_data:
            unit.data = None
        elif status == "done" and via == "call":
            unit.error = None
        self.changed(unit, status)
        node.open -= 1
        self._leave(unit)
        if node.foreach is None:
            self.settle_step(node, status, data=unit.data, error=unit.error, reason=reason)
        elif node.open == 0 and (node.broken or not node.has_more):
            self.settle_items(node)

    def settle_items(self, node: Node, reason: str = "stopped") -> None:
        """A foreach has come to its end; items that were not begun, or not begun again, will not be."""
        if node.status in SETTLED:
            return
        while len(node.units) < len(node.items):
            index = len(node.units)
            node.units.append(Unit(node, f"{node.key}[{index}]", index, node.items[index]))
        for unit in node.units:
            self._pass_over(unit, reason)
        node.retries.clear()
        status, data, error, why = sum_up(node)
        self.settle_step(node, status, data=data, error=error, reason=why)

    def skip(self, node: Node, reason: str) -> None:
        """A step is not begun; one of a resumed run, not begun again."""
        unit = node.unit
        if unit is not None:
            self._pass_over(unit, reason)
            self.changed(unit, unit.status)
            self.settle_step(node, unit.status, data=unit.data, reason=reason)
        elif node.units:
            self.settle_items(node, reason)
        else:
            self.settle_step(node, "skipped", reason=reason)

    def _pass_over(self, unit: Unit, reason: str) -> None:
        if unit.status == "pending":
            unit.status = "partial" if unit.via is not None else "skipped"  # what it got before, it still has
            unit.reason, unit.settled, unit.kept = reason, self.at, None

    def settle_step(
        self,
        node: Node,
        status: Status,
        *,
        data: Json = None,
        error: ErrorInfo | None = None,
        reason: str | None = None,
    ) -> None:
        """A step has come to its end: those that depend on it may have become possible."""
        self._settled += 1
        frame = node.frame
        node.status, node.data, node.error, node.reason = status, data, error, reason
        node.settled, node.seq = self.at, self._settled
        node.cached = node.scope = None
        if node.unit is None:
            self.changes.append(Change(None, node, status, node.phase))
        for later in node.dependents:
            later.waiting_on -= 1
            if later.waiting_on == 0 and later.status == "pending":
                self.todo.append(("release", later))
        frame.open -= 1
        if frame.open == 0:
            self.todo.append(("advance", frame))

    def amend(self, unit: Unit) -> None:
        """A unit that had settled is something else after all, and so its step, if that has settled."""
        node = unit.node
        node.cached = None
        if node.foreach is None:
            node.status, node.data, node.error, node.reason = unit.status, unit.data, unit.error, unit.reason
        elif node.status in SETTLED:
            node.status, node.data, node.error, node.reason = sum_up(node)

    def undo_is(self, unit: Unit, undo: Undoing) -> None:
        """What has become of taking it back."""
        unit.undo = undo
        unit.node.cached = None
        if undo != "none":
            self.changed(unit, undo, "undo")
