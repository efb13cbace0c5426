"""Everything that happens, as it happens: `emit` is a plain function that must not block and must not raise."""

from collections.abc import Mapping
from typing import Any

from motet import Orchestrator
from motet.events import CallSettled, Event, ServerChanged


async def observed(config: str | Mapping[str, Any], key: str) -> list[str]:
    """What is told while a ticket is read."""
    lines: list[str] = []

    def emit(event: Event) -> None:
        match event:
            case ServerChanged(server=server, state=state):
                lines.append(f"{server} is {state}")
            case CallSettled(server=server, name=name, kind=kind, attempts=attempts):
                lines.append(f"{server}.{name}: {kind} after {attempts}")
            case _:
                pass

    async with Orchestrator.from_config(config, emit=emit) as motet:
        await motet.call_tool("jira", "get_issue", {"key": key})
    return lines
