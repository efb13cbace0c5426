"""motet: one client, many MCP servers. Composes them into one work, and keeps going when one drops out.

    async with Orchestrator.from_config("motet.toml") as motet:
        issue = await motet.call_tool("jira", "get_issue", {"key": "PROJ-42"})

Names are imported when they are first used, so that the command line starts at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motet.calls import Answer, Asked, Done, Failed, Outcome, Progress, Question, Retry, ToolResult
    from motet.engine.functions import workflow
    from motet.engine.report import Report
    from motet.errors import CallError, ConfigError, MotetError, RunError, ToolError, WorkflowError
    from motet.orchestrator.orchestrator import Orchestrator
    from motet.orchestrator.reading import Reading

_HOME = {
    **dict.fromkeys(
        ("Answer", "Asked", "Done", "Failed", "Outcome", "Progress", "Question", "Retry", "ToolResult"), "motet.calls"
    ),
    **dict.fromkeys(
        ("CallError", "ConfigError", "MotetError", "RunError", "ToolError", "WorkflowError"), "motet.errors"
    ),
    "Orchestrator": "motet.orchestrator.orchestrator",
    "Reading": "motet.orchestrator.reading",
    "Report": "motet.engine.report",
    "workflow": "motet.engine.functions",
}

__all__ = [
    "Answer",
    "Asked",
    "CallError",
    "ConfigError",
    "Done",
    "Failed",
    "MotetError",
    "Orchestrator",
    "Outcome",
    "Progress",
    "Question",
    "Reading",
    "Report",
    "Retry",
    "RunError",
    "ToolError",
    "ToolResult",
    "WorkflowError",
    "workflow",
]


class _Motet(ModuleType):
    """`motet.workflow` is the decorator, also once the package of that name has been imported."""

    @property
    def workflow(self) -> object:
        return getattr(import_module(_HOME["workflow"]), "workflow")  # noqa: B009 - the name is data here

    @workflow.setter
    def workflow(self, package: ModuleType) -> None:
        """The import system offers the package; it stays reachable as `from motet.workflow.… import …`."""


sys.modules[__name__].__class__ = _Motet


def __getattr__(name: str) -> object:
    if (home := _HOME.get(name)) is None:
        raise AttributeError(f"module 'motet' has no attribute {name!r}")
    return getattr(import_module(home), name)
