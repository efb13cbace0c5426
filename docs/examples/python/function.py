"""The same work as a function: Python's own control flow, a workflow file's report, undo and limits."""

from typing import Any

from motet import Orchestrator, Report, workflow
from motet.engine.functions import Hub


@workflow
async def close(hub: Hub, ticket: str) -> int:
    """Open an issue, close the ticket."""
    made = hub.github.create_issue(repo="acme/app", title=f"Check {ticket}").named("issue")
    issue: dict[str, Any] = await made.undo(hub.github.close_issue, lambda done: {"number": done["number"]})
    await hub.jira.transition_issue(key=ticket, status="done").named("ticket").optional()
    return issue["number"]


async def run(motet: Orchestrator, ticket: str) -> Report:
    """Run it like a file."""
    return await motet.run(close, {"ticket": ticket})
