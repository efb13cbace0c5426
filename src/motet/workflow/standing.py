"""Where things stand: `Frame`, a workflow that runs; `Node`, a step of it; `Unit`, one doing of the step's action.

Plain records with no rules of their own: `RunState` moves them. What expressions see of a step, its data and its
record (SEMANTICS §1), is built here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from motet.calls import Json
from motet.workflow.entries import ErrorInfo, Started, Waiting
from motet.workflow.model import Foreach, Step, Workflow

Status: TypeAlias = Literal[
    "pending", "ready", "running", "waiting", "done", "partial", "failed", "unknown", "skipped", "cancelled"
]
Undoing: TypeAlias = Literal["none", "pending", "done", "failed", "unknown"]
Via: TypeAlias = Literal["call", "fallback", "value", "reconcile", "resolve"]
Phase: TypeAlias = Literal["step", "finally"]

SETTLED: frozenset[str] = frozenset({"done", "partial", "failed", "unknown", "skipped", "cancelled"})
DRY = "dry run"
"""The reason of a step that a dry run showed and did not do."""
CHOSEN = frozenset({"if", DRY})
"""Reasons of a skip that leave no gap: somebody wanted it so."""
HAS_DATA: frozenset[str] = frozenset({"done", "partial"})


class Unit:
    """One doing of a step's action: the step's only one, or that of one item."""

    __slots__ = (
        "attempts",
        "began",
        "child",
        "child_round",
        "data",
        "deferred",
        "error",
        "index",
        "item",
        "kept",
        "key",
        "missing",
        "node",
        "reason",
        "records",
        "recoveries",
        "refused",
        "resends",
        "round",
        "seq",
        "settled",
        "stage",
        "started",
        "status",
        "uncertain",
        "undo",
        "undo_error",
        "undo_started",
        "via",
        "waiting",
    )

    def __init__(self, node: Node, key: str, index: int | None = None, item: Json = None) -> None:
        self.node = node
        self.key = key
        self.index = index
        self.item = item
        self.status: Status = "pending"
        self.stage: Literal["act", "reconcile", "fallback"] = "act"
        self.data: Json = None
        self.error: ErrorInfo | None = None
        """What went wrong, kept also when a fallback or a value took its place."""
        self.reason: str | None = None
        self.missing: tuple[str, ...] = ()
        self.records: tuple[dict[str, Json], ...] = ()
        self.via: Via | None = None
        self.attempts = 0
        self.resends = 0
        """Sent again because a look proved that it had not happened."""
        self.recoveries = 0
        self.uncertain = False
        """Did its last call end without anybody knowing whether it acted?"""
        self.refused = False
        """An approval that was rejected or ran out."""
        self.began: float | None = None
        self.settled: float | None = None
        self.seq = 0
        """The order in which things settled, over the whole run."""
        self.waiting: Waiting | None = None
        self.deferred: float | None = None
        """Since when it waits for its server."""
        self.round: tuple[Mapping[str, Json], str | None] | None = None
        self.kept: Json = None
        """What a `read` already has while only its gaps are read again."""
        self.started: Started | None = None
        self.undo: Undoing = "none"
        self.undo_error: ErrorInfo | None = None
        self.undo_started: Started | None = None
        self.child: Frame | None = None
        self.child_round = 0

    @property
    def lost(self) -> Literal["failed", "unknown"]:
        """What it is when nothing more is done about its last call."""
        return "unknown" if self.uncertain else "failed"

    @property
    def has_data(self) -> bool:
        """Does its name stand for data?"""
        return self.status in HAS_DATA or (self.status == "unknown" and self.via == "value")

    def record(self) -> dict[str, Json]:
        """What `steps.X` is (SEMANTICS §1)."""
        return {
            "ok": self.status == "done",
            "status": self.status,
            "reason": self.reason,
            "error": None if self.error is None else self.error.record(),
            "attempts": self.attempts,
            "via": self.via,
            "items": list(self.records),
            "missing": list(self.missing),
            "undo": self.undo,
        }


class Node:
    """One step of one workflow that runs."""

    __slots__ = (
        "active",
        "broken",
        "cached",
        "data",
        "dependents",
        "error",
        "frame",
        "items",
        "key",
        "open",
        "phase",
        "reason",
        "retries",
        "scope",
        "seq",
        "settled",
        "status",
        "step",
        "units",
        "waiting_on",
    )

    def __init__(self, frame: Frame, step: Step, key: str, phase: Phase) -> None:
        self.frame = frame
        self.step = step
        self.key = key
        self.phase: Phase = phase
        self.status: Status = "pending"
        self.reason: str | None = None
        self.error: ErrorInfo | None = None
        self.data: Json = None
        self.units: list[Unit] = []
        self.items: Sequence[Json] = ()
        self.retries: list[Unit] = []
        """Items to be done again, newest last: the gaps of a foreach that is resumed."""
        self.active = 0
        """Items that are ready or in flight."""
        self.open = 0
        """Items begun and not settled."""
        self.broken = False
        """An item failed where failure ends the step: no more items start."""
        self.waiting_on = 0
        self.dependents: list[Node] = []
        self.scope: dict[str, Json] | None = None
        self.cached: dict[str, Json] | None = None
        self.settled: float | None = None
        self.seq = 0

    @property
    def foreach(self) -> Foreach | None:
        """How its items come about, if it has any."""
        return self.step.foreach

    @property
    def unit(self) -> Unit | None:
        """The only unit of a step without `foreach`, once it has been begun."""
        return self.units[0] if self.units and self.foreach is None else None

    @property
    def has_data(self) -> bool:
        """Does its name stand for data?"""
        unit = self.unit
        return self.status in HAS_DATA if unit is None else unit.has_data

    @property
    def refused(self) -> bool:
        """Is it an approval nobody gave?"""
        return any(unit.refused for unit in self.units)

    @property
    def goes_on(self) -> bool:
        """Is its workflow at the stage in which it may begin and go on?"""
        return self.frame.stage == ("forward" if self.phase == "step" else "finally")

    @property
    def has_more(self) -> bool:
        """Has a foreach items that were not begun, or are to be done again?"""
        return bool(self.retries) or len(self.units) < len(self.items)

    @property
    def server(self) -> str:
        """The server it talked to; empty when it talked to none."""
        for unit in self.units:
            if unit.started is not None and unit.started.server is not None:
                return unit.started.server
        return ""

    def record(self) -> dict[str, Json]:
        """What `steps.X` is (SEMANTICS §1). Once it has settled, built once until something changes."""
        if self.cached is not None:
            return self.cached
        unit = self.unit
        record = self._own_record() if unit is None else {**unit.record(), "status": self.status}
        if self.status in SETTLED:
            self.cached = record
        return record

    def _own_record(self) -> dict[str, Json]:
        return {
            "ok": self.status == "done",
            "status": self.status,
            "reason": self.reason,
            "error": None if self.error is None else self.error.record(),
            "attempts": sum(unit.attempts for unit in self.units),
            "via": "call" if self.status in HAS_DATA else None,
            "items": [unit.record() for unit in self.units],
            "missing": [str(unit.index) for unit in self.units if not unit.has_data],
            "undo": together([unit.undo for unit in self.units]),
        }


_WORST: tuple[Undoing, ...] = ("pending", "failed", "unknown", "done")


def together(undos: list[Undoing]) -> Undoing:
    """The word for several undos: what is left to do before what went wrong, before what is done."""
    for word in _WORST:
        if word in undos:
            return word
    return "none"


Stage: TypeAlias = Literal["forward", "stopping", "undoing", "finally", "ended"]


class Frame:
    """One workflow that runs: the outermost, or one that a `run` step (or one item of it) began."""

    __slots__ = (
        "active",
        "backlog",
        "began",
        "broken_finally",
        "cancelled",
        "deadline",
        "ended",
        "failure",
        "final",
        "generation",
        "given",
        "inputs",
        "missing",
        "nodes",
        "open",
        "output",
        "parent",
        "prefix",
        "running",
        "shown",
        "stage",
        "status",
        "stopped",
        "taken_back",
        "to_undo",
        "undoing",
        "unsettled",
        "waits",
        "workflow",
    )

    def __init__(
        self,
        workflow: Workflow,
        inputs: dict[str, Json],
        *,
        prefix: str,
        generation: str,
        parent: Unit | None,
        at: float,
    ) -> None:
        self.workflow = workflow
        self.inputs = inputs
        self.prefix = prefix
        """What stands before the name of each of its steps; empty for the outermost."""
        self.generation = generation
        self.parent = parent
        self.began = at
        self.ended: float | None = None
        self.stage: Stage = "forward"
        self.status: Literal["complete", "partial", "failed", "cancelled"] | None = None
        self.nodes: dict[str, Node] = {}
        self.final: dict[str, Node] = {}
        self.open = 0
        """Steps of the current stage that have not settled."""
        self.active = 0
        """Steps and items that are ready or in flight, for the workflow's own `concurrency`."""
        self.backlog: deque[Unit] = deque()
        self.running: dict[str, Unit] = {}
        """Acts in flight, nested workflows among them."""
        self.waits: dict[str, Unit] = {}
        self.failure: tuple[str, ErrorInfo] | None = None
        """The step that ended it, and why."""
        self.cancelled = False
        self.stopped = False
        """Cancelled because the workflow around it ends."""
        self.broken_finally = False
        self.deadline: float | None = None
        self.to_undo: list[Unit] = []
        """What is still to be taken back, the newest last."""
        self.undoing: Unit | None = None
        self.taken_back = False
        """It had ended, and the workflow around it takes it back."""
        self.output: Json = None
        self.given: Json = None
        """The output of a function, which needs no evaluation."""
        self.missing: tuple[str, ...] = ()
        """Parts of the output that had no data."""
        self.shown: dict[str, Json] = {}
        """Step -> the arguments a person was shown when asked to approve."""

    @property
    def all_nodes(self) -> tuple[Node, ...]:
        """Its steps, those under `finally` last."""
        return (*self.nodes.values(), *self.final.values())
