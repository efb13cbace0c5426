"""The public surface is a promise: nothing comes or goes by accident."""

from __future__ import annotations

import subprocess
import sys

import motet
import motet.testing


def test_the_public_names_are_these() -> None:
    assert motet.__all__ == [
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


def test_every_public_name_is_there() -> None:
    assert [name for name in motet.__all__ if not hasattr(motet, name)] == []
    assert [name for name in motet.testing.__all__ if not hasattr(motet.testing, name)] == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, motet; print(sorted({'mcp', 'pydantic', 'aiohttp', 'yaml', 'msgspec'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert out.stdout == "[]\n"
