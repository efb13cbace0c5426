"""Workflow files at the command line: which servers they need, and inputs as people type them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from motet.workflow.loading import parsed, read_file
from motet.workflow.model import PromptGet, Read, RunWorkflow, Step, ToolCall, Workflow


def servers_of(workflow: Workflow) -> set[str] | None:
    """The servers a workflow may touch; None when only their boundaries tell (it reads URIs)."""
    found: set[str] = set()
    for server in _touched(workflow):
        if server is None:
            return None
        found.add(server)
    return found


def _touched(workflow: Workflow) -> Iterator[str | None]:
    for step in (*workflow.steps.values(), *workflow.final.values()):
        for action in _actions(step):
            match action:
                case ToolCall(server=server) | PromptGet(server=server):
                    yield server
                case Read(uris=uris):
                    yield from (target.server for target in uris.values())
                case RunWorkflow(workflow=inner):
                    yield from _touched(inner)
                case _:
                    pass


def _actions(step: Step) -> Iterator[object]:
    yield step.action
    for other in (step.undo, step.reconcile, step.on_error):
        yield getattr(other, "call", None)


def named_in(text: str, path: str) -> set[str] | None:
    """The servers that a workflow's text needs; None when it cannot be told, or the text does not load."""
    workflow = parsed(text, path=path, read=read_file).workflow
    return servers_of(workflow) if workflow is not None else None


def typed(workflow: Workflow, given: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs with `count=5` read as the number that the workflow declares; what does not fit stays text."""
    return {
        name: _typed(workflow.inputs[name].schema if name in workflow.inputs else {}, value)
        for name, value in given.items()
    }


def _typed(schema: Mapping[str, Any], value: Any) -> Any:
    if not isinstance(value, str) or schema.get("type") not in ("integer", "number", "boolean"):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
