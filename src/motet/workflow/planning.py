"""The plan of a workflow that was checked: its steps in levels, where each goes, and what flows between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Literal, TypeAlias

from motet.workflow.calling import Calls
from motet.workflow.graph import all_steps, waves
from motet.workflow.model import (
    Approval,
    PromptGet,
    Read,
    ReadTarget,
    RunWorkflow,
    SetValues,
    Step,
    ToolCall,
    Wait,
    Workflow,
)
from motet.workflow.plan import Flow, Plan, PlanStep
from motet.workflow.values import Fixed, Text

PlanOf: TypeAlias = Callable[[Workflow], Plan]
"""The plan of a workflow that this one runs."""
_Place: TypeAlias = tuple[Literal["call", "read", "prompt", "approval", "wait", "run", "set"], tuple[str, ...], str]


def plan_of(workflow: Workflow, calls: Calls, flows: Iterable[Flow], nested: PlanOf) -> Plan:
    """What is going to happen."""
    main, final = workflow.steps, workflow.final
    steps = all_steps(workflow)
    last = [name for level in _levels(final) for name in level]
    return Plan(
        workflow.name,
        {name: _planned(step, calls, nested, among=steps.keys()) for name, step in steps.items()},
        tuple(tuple(level) for level in _levels(main)),
        tuple(last),
        tuple(flow for flow in flows if flow.source != flow.target),
    )


def _levels(steps: Mapping[str, Step]) -> list[list[str]]:
    return waves({name: step.after & steps.keys() for name, step in steps.items()})


def _planned(step: Step, calls: Calls, nested: PlanOf, *, among: Set[str]) -> PlanStep:
    kind, servers, target = _where(step, calls, nested)
    action = step.action
    unsafe = isinstance(action, ToolCall) and calls.offered.effect_of(action).kind == "writes"
    undo = f"{step.undo.call.server}.{step.undo.call.tool}" if step.undo is not None else ""
    after = tuple(sorted(step.after & among))
    return PlanStep(step.name, kind, servers, target, after, unsafe, undo, step.foreach is not None)


def _where(step: Step, calls: Calls, nested: PlanOf) -> _Place:
    match step.action:
        case ToolCall() as call:
            return "call", (call.server,), f"{call.server}.{call.tool}"
        case Read() as read:
            return "read", calls.owners(read), ", ".join(_uri(one) for one in read.uris.values())
        case PromptGet() as prompt:
            return "prompt", (prompt.server,), f"{prompt.server}.{prompt.name}"
        case Approval():
            return "approval", (), ""
        case Wait():
            return "wait", (), ""
        case RunWorkflow() as run:
            return "run", nested(run.workflow).servers, run.workflow.name
        case SetValues():
            return "set", (), ""


def _uri(target: ReadTarget) -> str:
    uri = target.uri
    text = str(uri.value) if isinstance(uri, Fixed) else "…"
    if isinstance(uri, Text):
        text = "".join(part if isinstance(part, str) else "…" for part in uri.parts)
    return f"{target.server}={text}" if target.server else text
