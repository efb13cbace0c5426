"""What the state of steps means for others: judgments that look and change nothing.

`RunState` asks these before it moves: what a step lacks, what a foreach or a read comes to, what may have to be taken
back, what a workflow has become, what is left of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

import msgspec

from motet.calls import Json
from motet.errors import WorkflowError
from motet.workflow.entries import ActKind, ErrorInfo, Result
from motet.workflow.model import Absent, Approval, ExpressionError, PromptGet, Read, ToolCall, Wait, Workflow
from motet.workflow.scopes import Scopes, condition_holds, node_of, parts
from motet.workflow.standing import CHOSEN, HAS_DATA, Frame, Node, Status, Unit

Ended: TypeAlias = Literal["complete", "partial", "failed", "cancelled"]
UNAVAILABLE = frozenset({"unavailable", "circuit_open", "needs_auth", "rate_limited"})
"""Error kinds that `on_unavailable` speaks of, when nothing was sent."""


def bind_inputs(workflow: Workflow, given: Mapping[str, Json]) -> dict[str, Json]:
    """The workflow's inputs with their defaults. Raises `WorkflowError` naming all that is missing or unknown."""
    problems = [f"input `{name}` is unknown" for name in given if name not in workflow.inputs]
    bound: dict[str, Json] = {}
    for name, declared in workflow.inputs.items():
        if name in given:
            bound[name] = given[name]
        elif not declared.required:
            bound[name] = declared.default
        else:
            problems.append(f"input `{name}` is missing")
    if problems:
        raise WorkflowError(f"{workflow.name}: {'; '.join(problems)}", problems=tuple(problems))
    return bound


KINDS: dict[type, ActKind] = {
    ToolCall: "call",
    Read: "read",
    PromptGet: "prompt",
    Approval: "approval",
    Wait: "wait",
}


def sent_of(unit: Unit) -> str:
    """Whether its last error had its chance to act."""
    return "no" if unit.error is None else unit.error.sent


def with_sent_no(error: ErrorInfo) -> ErrorInfo:
    """The error of a call that is known to have had no effect."""
    return msgspec.structs.replace(error, sent="no")


def found_so_far(unit: Unit) -> dict[str, Json] | None:
    """What a `read` of several addresses already has."""
    action = unit.node.step.action
    if unit.status != "partial" or not isinstance(action, Read):
        return None
    keys = [key for key in action.uris if key not in unit.missing]
    if action.form == "list":
        listed = cast("list[Json]", unit.data)
        return {key: listed[at] for at, key in enumerate(action.uris) if key in keys}
    return dict(cast("dict[str, Json]", unit.data))


def joined(
    old: tuple[dict[str, Json], ...], new: tuple[dict[str, Json], ...], order: list[str]
) -> tuple[dict[str, Json], ...]:
    """The records of a read and of reading its gaps again, in the order of the file."""
    records = {str(record.get("key", "")): record for record in (*old, *new)}
    return tuple(records[key] for key in order if key in records)


def took_effect(unit: Unit) -> bool:
    """Is it known to have acted, itself and not something in its place?"""
    return unit.status in HAS_DATA and unit.via not in ("value", "fallback")


def may_undo(unit: Unit) -> bool:
    """Is there something of it to take back, or may there be (SEMANTICS §3, undo)?"""
    if unit.settled is None or unit.undo in ("done", "unknown"):
        return False
    if unit.node.step.undo is None:
        child = unit.child
        return (
            child is not None
            and took_effect(unit)  # a nested run that failed has undone itself
            and any(may_undo(inner) for node in child.nodes.values() for inner in node.units)
        )
    if took_effect(unit):
        return True
    writes = unit.started is not None and not unit.started.reads
    return unit.uncertain or (writes and sent_of(unit) != "no")


def left_to_undo(frame: Frame) -> bool:
    """Is something still to be taken back, or to be tried again?"""
    return any(unit.undo in ("pending", "failed") for node in frame.nodes.values() for unit in node.units)


def is_gap(node: Node) -> bool:
    """Would a resumed run try it again?"""
    return node.status in ("failed", "partial") or (
        node.status == "skipped" and (node.reason or "").startswith("missing")
    )


def lacking(node: Node) -> str | None:
    """What it `needs` and cannot have."""
    for name in node.step.needs:
        needed = node_of(node.frame, name)
        if needed is not None and not acceptable(needed):
            return name
    return None


def acceptable(node: Node) -> bool:
    """Is a step that is needed in a state that lets others go on (SEMANTICS §2.2)?"""
    if node.refused:
        return False
    match node.status:
        case "done" | "partial":
            return True
        case "skipped":
            missing = (node.reason or "").startswith("missing")
            return node.reason in CHOSEN or (missing and node.step.on_error.mode == "continue")
        case "failed" | "unknown":
            declared = node.step.on_unavailable
            goes_on = declared is not None and declared.mode == "continue"
            return node.step.on_error.mode == "continue" or node.has_data or goes_on
        case _:
            return False


def sum_up(node: Node) -> tuple[Status, Json, ErrorInfo | None, str | None]:
    """A foreach from its items, whole, with gaps, or failed: its status, data, error and reason."""
    bad = [unit for unit in node.units if unit.status != "done"]
    first = next((unit for unit in bad if unit.status in ("failed", "unknown")), None)
    error = None if first is None else first.error
    reason = None if first is None else f"{first.key}: {first.reason}"
    data: list[Json] = [unit.data if unit.has_data else None for unit in node.units]
    if not bad:
        return "done", data, error, reason
    if node.broken and first is not None:
        return ("unknown" if first.status == "unknown" else "failed"), data, error, reason
    if node.broken or not any(unit.has_data for unit in node.units):
        return ("failed" if first is not None else "skipped"), data, error, reason or bad[0].reason
    return "partial", data, error, reason or f"{bad[0].key}: {bad[0].reason}"


def looked(unit: Unit, result: Result, scopes: Scopes) -> tuple[bool | None, Json]:
    """What the look of a `reconcile` says (None: nothing), and, when it happened, the step's data."""
    reconcile = unit.node.step.reconcile
    if reconcile is None or result.status != "done":
        return None, None
    own = {"result": result.data}
    try:
        if not condition_holds(
            reconcile.happened, {**scopes.scope(unit.node.frame, reconcile.happened, own=unit), **own}
        ):
            return False, None
        if reconcile.data is None:
            return True, result.data
        return True, reconcile.data.evaluate({**scopes.scope(unit.node.frame, reconcile.data, own=unit), **own})
    except ExpressionError:
        return None, None


def verdict(frame: Frame) -> Ended:
    """What a workflow comes to (SEMANTICS §5): cancelled > failed > partial > complete."""
    if frame.cancelled:
        return "cancelled"
    if frame.failure is not None or frame.broken_finally:
        return "failed"
    whole = all(
        node.status in ("done", "pending") or (node.status == "skipped" and node.reason in CHOSEN)
        for node in frame.all_nodes
    )
    return "complete" if whole and not frame.missing else "partial"


def output_of(frame: Frame, scopes: Scopes) -> tuple[Json, tuple[str, ...]]:
    """Its output, and which parts of it have no data: these are null."""
    value = frame.workflow.output
    if value is None:
        return frame.given, ()
    entries = parts(value)
    output: dict[str, Json] = {}
    missing: list[str] = []
    for name, part in entries.items():
        try:
            output[name] = part.evaluate(scopes.scope(frame, part))
        except ExpressionError as error:
            output[name] = None
            why = "" if isinstance(error, Absent) else f": {error.message}"
            missing.append(("output" if name == "*" else f"output.{name}") + why)
    return (output["*"] if list(entries) == ["*"] else output), tuple(missing)
