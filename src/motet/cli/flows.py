"""Workflow files at the command line: which servers they need, and inputs as people type them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from motet.workflow.loading import parsed, read_file
from motet.workflow.model import Workflow
from motet.workflow.touched import servers_of


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
