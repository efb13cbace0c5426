"""A step becomes possible, and begins: its condition, its items, its place among others, its nested workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from motet.calls import Json
from motet.errors import WorkflowError
from motet.workflow.entries import ErrorInfo, Result
from motet.workflow.judging import KINDS, bind_inputs, lacking
from motet.workflow.machine.ladder import by_rule
from motet.workflow.machine.outcomes import acted, climb
from motet.workflow.machine.resuming import reopen
from motet.workflow.machine.run import Run
from motet.workflow.machine.stopping import fail
from motet.workflow.model import ExpressionError, RunWorkflow, SetValues, Step
from motet.workflow.scopes import condition_holds, expression_result
from motet.workflow.standing import SETTLED, Frame, Node, Unit


def open_workflow(run: Run, frame: Frame, timeout: float | None) -> None:
    """Its steps, and what each of them waits for; the first of them are possible."""
    workflow = frame.workflow
    for name, step in workflow.steps.items():
        frame.nodes[name] = Node(frame, step, frame.prefix + name, "step")
    for name, step in workflow.final.items():
        frame.final[name] = Node(frame, step, f"{frame.prefix}finally:{name}", "finally")
    _link(frame.nodes)
    _link(frame.final)
    if timeout is not None:
        run.bound(frame, run.at + timeout)
    run.begin_stage(frame, frame.nodes)


def grow(run: Run, step: Step) -> Node:
    """One more step, possible at once."""
    frame = run.root
    node = frame.nodes[step.name] = Node(frame, step, step.name, "step")
    frame.open += 1
    run.todo.append(("release", node))
    return node


def release(run: Run, node: Node) -> None:
    """All it depends on has settled: skip it, or let it begin."""
    if node.status != "pending":
        return
    if not node.goes_on:
        run.skip(node, "stopped")
        return
    absent = lacking(node)
    if absent is not None:
        run.skip(node, f"missing: {absent}")
    elif node.units:
        _again(run, node)
    else:
        _first(run, node)


def feed(run: Run, node: Node) -> None:
    """Let in as many items as may be in flight at once."""
    loop = node.foreach
    if loop is None or node.status != "pending":
        return
    room = len(node.items) if loop.concurrency is None else loop.concurrency
    while node.active < room and not node.broken and node.has_more:
        if node.retries:
            unit = node.retries.pop()
            node.active += 1
            node.open += 1
        else:
            unit = _unit(run, node, len(node.units))
        _enqueue(run, unit)
    if node.open == 0:
        run.settle_items(node)


def admit(run: Run, frame: Frame) -> None:
    """Let begin as many as the workflow's own `concurrency` allows."""
    room = frame.workflow.concurrency
    while frame.backlog and (room is None or frame.active < room):
        unit = frame.backlog.popleft()
        if unit.status in SETTLED:
            continue
        frame.active += 1
        if not unit.node.goes_on:
            run.settle(unit, "skipped", reason="stopped")
        else:
            _begin(run, unit)


def _link(nodes: dict[str, Node]) -> None:
    for node in nodes.values():
        for name in dict.fromkeys((*sorted(node.step.after), *node.step.needs)):
            if name in nodes and name != node.step.name:
                nodes[name].dependents.append(node)
                node.waiting_on += 1


# -- its condition and its items --------------------------------------------------------------------------------------


def _first(run: Run, node: Node) -> None:
    step, frame = node.step, node.frame
    try:
        if step.condition is not None and not condition_holds(step.condition, run.scopes.scope(frame, step.condition)):
            run.skip(node, "if")
            return
        if step.foreach is not None:
            node.items = run.scopes.items(frame, step.foreach.items)
    except ExpressionError as error:
        _unevaluated(run, node, expression_result(error))
        return
    if step.foreach is None:
        _enqueue(run, _unit(run, node))
    else:
        feed(run, node)


def _again(run: Run, node: Node) -> None:
    """Only the gaps: a step of a run that is resumed."""
    if node.foreach is None:
        node.active += 1
        node.open += 1
        _enqueue(run, node.units[0])
    else:
        feed(run, node)


def _unevaluated(run: Run, node: Node, result: Result) -> None:
    """Its `if` or `foreach` could not be evaluated."""
    if result.status == "skipped":
        run.skip(node, result.reason or "missing")
        return
    unit = Unit(node, node.key)
    run.units.setdefault(node.key, unit)
    unit.began = run.at
    unit.error, unit.reason = result.error, result.reason
    rung = by_rule(unit)
    if rung in ("value", "fallback") and node.foreach is None:
        node.units.append(unit)
        node.active, node.open = 1, 1
        node.frame.active += 1
        climb(run, unit, rung)
        return
    error = result.error or ErrorInfo(kind="expression", message="it could not be evaluated")
    run.settle_step(node, "failed", error=error, reason=result.reason)
    if rung != "leave":
        fail(run, node, node.key, error)


def _unit(run: Run, node: Node, index: int | None = None) -> Unit:
    key = node.key if index is None else f"{node.key}[{index}]"
    unit = Unit(node, key, index, None if index is None else node.items[index])
    node.units.append(unit)
    node.active += 1
    node.open += 1
    run.units[key] = unit
    return unit


def _enqueue(run: Run, unit: Unit) -> None:
    frame = unit.node.frame
    frame.backlog.append(unit)
    run.todo.append(("admit", frame))


# -- it begins --------------------------------------------------------------------------------------------------------


def _begin(run: Run, unit: Unit) -> None:
    action = unit.node.step.action
    match action:
        case SetValues():
            _set(run, unit, action)
        case RunWorkflow():
            _nest(run, unit, action)
        case _:
            run.push(unit, KINDS[type(action)])


def _set(run: Run, unit: Unit, action: SetValues) -> None:
    unit.began = run.at
    try:
        unit.data = run.scopes.action_value(unit, action.value)
    except ExpressionError as error:
        acted(run, unit, expression_result(error))
        return
    run.settle(unit, "done", via="call")


def _nest(run: Run, unit: Unit, action: RunWorkflow) -> None:
    unit.began = run.at if unit.began is None else unit.began
    frame = unit.node.frame
    if unit.child is not None and unit.child.status == "partial":
        unit.status = "running"
        frame.running[unit.key] = unit
        reopen(run, unit.child)
        return
    try:
        given = run.scopes.action_value(unit, action.arguments)
        inputs = bind_inputs(action.workflow, cast("Mapping[str, Json]", given or {}))
    except ExpressionError as error:
        acted(run, unit, expression_result(error))
        return
    except WorkflowError as error:
        info = ErrorInfo(kind="invalid_arguments", message=error.message)
        acted(run, unit, Result(status="failed", error=info, reason=error.message))
        return
    unit.status = "running"
    unit.attempts += 1
    frame.running[unit.key] = unit
    run.changed(unit, "running")
    generation = frame.generation if unit.child_round == 0 else f"{frame.generation}.{unit.child_round}"
    unit.child_round += 1
    child = Frame(action.workflow, inputs, prefix=unit.key + "/", generation=generation, parent=unit, at=run.at)
    unit.child = child
    bounds = [bound for bound in (action.workflow.timeout, unit.node.step.timeout) if bound is not None]
    open_workflow(run, child, min(bounds, default=None))
