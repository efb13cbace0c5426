"""One call: as a value that is there or an error that is raised, or as an outcome that is one of three things."""

from motet import Asked, Done, Failed, Orchestrator


async def summary(motet: Orchestrator, key: str) -> str:
    """A ticket's summary."""
    issue = await motet.call_tool("jira", "get_issue", {"key": key})  # raises CallError
    return issue.data["summary"]  # JSON, read by the tool's schema; .text and .content are there as well


async def close(motet: Orchestrator, key: str) -> str:
    """Close a ticket, and say what came of it."""
    outcome = await motet.attempt("jira", "transition_issue", {"key": key, "status": "done"}, timeout=10)
    match outcome:
        case Done(data=data):
            return f"it is {data['status']}"
        case Failed(error=error) if error.sent == "unknown":
            return f"it may be done or not: {error}"  # look before you send it again
        case Failed(error=error):
            return f"it is not done: {error}"
        case Asked(questions=questions):
            return f"somebody has to answer first: {questions[0].message}"
