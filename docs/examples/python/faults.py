"""Your own tests: a fault takes the place of a server at the innermost point, so the whole pipeline is tested."""

from motet import Orchestrator, Report
from motet.testing import mock_server_answers, mock_server_down, mock_server_loses_answers


async def with_jira_down(motet: Orchestrator, file: str) -> Report:
    """Nothing reaches Jira."""
    with mock_server_down("jira"):
        return await motet.run(file, {"ticket": "PROJ-42"})


async def with_an_answer_lost(motet: Orchestrator, file: str) -> Report:
    """GitHub does what it is asked, and its answer is lost."""
    with mock_server_loses_answers("github"):
        return await motet.run(file, {"ticket": "PROJ-42"})


async def without_github(motet: Orchestrator, file: str) -> Report:
    """GitHub is not reached at all; this is what it would say."""
    with mock_server_answers("github", {"create_issue": {"number": 7}}):
        return await motet.run(file, {"ticket": "PROJ-42"})
