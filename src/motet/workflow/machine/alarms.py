"""What becomes due by itself: the time of a wait, the next try of a deferred step, the time of a workflow."""

from __future__ import annotations

import heapq
from typing import Literal, TypeAlias

from motet.workflow.entries import Expired, Woke
from motet.workflow.standing import Frame, Unit

Alarm: TypeAlias = tuple[float, int, Literal["time"], Frame] | tuple[float, int, Literal["over", "again"], Unit]


class Alarms:
    """Set and never cleared: an alarm whose cause is gone is passed over when its turn comes."""

    def __init__(self) -> None:
        self._heap: list[Alarm] = []
        self._count = 0

    def for_workflow(self, frame: Frame, at: float) -> None:
        """Its time is over then."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, "time", frame))

    def for_wait(self, unit: Unit, at: float, kind: Literal["over", "again"]) -> None:
        """Its wait is over then, or its server is to be tried again."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, kind, unit))

    def next(self) -> float | None:
        """When the next one is due."""
        while self._heap and not _is_live(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float, *, within: float) -> Expired | Woke | None:
        """The entry for one that is due, or will be `within` seconds."""
        at = self.next()
        if at is None or at > now + within:
            return None
        match self._heap[0]:
            case _, _, "time", frame:
                return Expired(at=now, key="" if frame.parent is None else frame.parent.key)
            case _, _, kind, unit:
                return Woke(at=now, key=unit.key, over=kind == "over")


def _is_live(alarm: Alarm) -> bool:
    match alarm:
        case at, _, "time", frame:
            return frame.deadline == at and frame.stage in ("forward", "finally")
        case at, _, kind, unit:
            waits = unit.waiting if unit.status == "waiting" else None
            return waits is not None and at == (waits.until if kind == "over" else waits.again)
