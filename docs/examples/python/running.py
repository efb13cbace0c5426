"""A workflow file: checked, run, and its report read."""

from motet import Orchestrator, WorkflowError


async def close_and_tell(motet: Orchestrator, file: str, ticket: str) -> str:
    """Run the workflow; one line that says what came of it."""
    try:
        report = await motet.run(file, {"ticket": ticket})
    except WorkflowError as error:  # nothing has run
        return "\n".join(error.problems or (error.message,))
    if report.attention:  # what nobody knows, or could not be taken back
        return "; ".join(f"look at {left.step}: {left.reason}" for left in report.attention)
    if report.status == "partial":
        return f"{', '.join(report.missing)} missing; to finish it: {report.pending[0].command}"
    if report.status == "failed" and report.failure is not None:
        return f"{report.failure['step']} failed; undone: {', '.join(report.undone) or 'nothing'}"
    return str(report.output)
