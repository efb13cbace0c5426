"""A run that outlives this process: it waits as rows in a file, and any process goes on with it."""

from motet import Orchestrator


async def begin(motet: Orchestrator, file: str, journal: str) -> str:
    """Begin a run; it stops where a person has to say yes."""
    report = await motet.run(file, {"ticket": "PROJ-42"}, run="close-42", journal=journal)
    return report.status  # the same id again goes on with the same run


async def approve(motet: Orchestrator, journal: str) -> str:
    """Say yes, perhaps days later, and go on."""
    async with motet.journal(journal) as runs:
        for row in await runs.list(status=["waiting"]):
            await runs.approve(row.id, "sure", who="ann")
        report = await runs.resume("close-42", motet.host)
    return report.status
