"""A run that has ended goes on: with its gaps when it is partial, with what was not undone when it failed.

Gaps are failed, partial and skipped(`missing`) steps, and the items of a foreach like them; unknown ones wait for a
verdict (SEMANTICS §3, resume).
"""

from __future__ import annotations

from motet.workflow.judging import found_so_far, is_gap, left_to_undo
from motet.workflow.machine.run import Run
from motet.workflow.machine.undoing import go_on_undoing
from motet.workflow.standing import CHOSEN, Frame, Node


def has_gaps(run: Run) -> bool:
    """Would it find something to do?"""
    root = run.root
    if root.stage != "ended":
        return False
    if root.status in ("failed", "cancelled"):
        return left_to_undo(root)
    return any(is_gap(node) for frame in run.frames() for node in frame.all_nodes)


def reopen(run: Run, frame: Frame) -> None:
    """A workflow that has ended does what is left of it."""
    frame.ended = None
    if frame.status in ("failed", "cancelled"):
        go_on_undoing(run, frame)
        return
    frame.stage, frame.status, frame.missing = "forward", None, ()
    for nodes in (frame.nodes, frame.final):
        again = [node for node in nodes.values() if is_gap(node)]
        for node in again:
            _reopen_step(node)
        for node in again:
            for later in node.dependents:
                if later.status == "pending":
                    later.waiting_on += 1
    if frame.workflow.timeout is not None:
        run.bound(frame, run.at + frame.workflow.timeout)
    run.begin_stage(frame, frame.nodes)


def _reopen_step(node: Node) -> None:
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
