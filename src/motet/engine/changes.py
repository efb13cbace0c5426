"""What became of a run, as events: made from the changes of its state, live or replayed."""

from __future__ import annotations

from motet.events import StepChanged
from motet.workflow.runstate import Change, RunState


def step_changed(state: RunState, change: Change) -> StepChanged:
    """The event for a change that the state has just made."""
    unit, started = change.unit, None if change.unit is None else change.unit.started
    took = 0.0
    if unit is not None and unit.settled is not None and unit.began is not None and change.phase != "undo":
        took = unit.settled - unit.began  # of an undo nothing is recorded but that it began
    return StepChanged(
        state.at,
        state.run,
        change.node.key,
        change.status,
        item=None if unit is None else unit.index,
        phase=change.phase,
        server=None if started is None else started.server,
        message=(change.node.reason if unit is None else unit.reason) or "",
        attempts=0 if unit is None else unit.attempts,
        took=took,
    )
