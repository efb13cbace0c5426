"""Runs that a Python program keeps in a journal, and finds again."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet import Orchestrator
from motet.calls import Call, Reply, Send
from motet.errors import ConnectionLost, RunError, ServerUnavailable, WorkflowError
from motet.testing import mock_server
from motet.workflow.entries import Finished
from orchestrator.conftest import jira

FLOW = """motet: 1
name: flow
inputs: {key: {type: string}}
steps:
  issue: {call: jira.get_issue, with: {key: "${{ inputs.key }}"}}
  ok: {approval: {message: "Report ${{ issue.summary }}?"}}
  report: {call: github.create_issue, with: {title: "${{ issue.summary }}"}, needs: [ok]}
output: {url: "${{ report.html_url }}"}
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW)
    return file


async def test_a_run_with_a_journal_waits_and_is_gone_on_with_by_its_key(
    motet: Orchestrator, flow: Path, tmp_path: Path
) -> None:
    place = tmp_path / "state" / "runs.sqlite"
    report = await motet.run(flow, {"key": "PROJ-1"}, journal=place, key="report-1")
    assert report.status == "waiting"
    async with motet.journal(place) as runs:
        (row,) = await runs.list()
        await runs.approve(row.id, "ok")
    report = await motet.run(flow, {"key": "PROJ-1"}, journal=place, key="report-1")
    assert (report.status, report.run, report.output) == ("complete", row.id, {"url": "http://localhost/1"})


async def test_the_journal_tells_each_attempt_of_a_call(tmp_path: Path) -> None:
    left = [ServerUnavailable("is away, says hunter2", server="jira"), ConnectionLost("cut off", server="jira")]

    async def flaky(call: Call, send: Send) -> Reply:
        if left:
            raise left.pop(0)
        return await send(call)

    file = tmp_path / "flow.yaml"
    file.write_text("motet: 1\nsteps:\n  issue: {call: jira.get_issue, with: {key: PROJ-1}}\n")
    retry = {"attempts": 3, "base": 0.001, "idempotent": ["get_issue"]}
    settings = {"object": jira(), "retry": retry, "secrets": {"TOKEN": "env:TOKEN"}}
    async with Orchestrator.from_config({"servers": {"jira": settings}}, env={"TOKEN": "hunter2"}) as motet:
        with mock_server("jira", flaky):
            report = await motet.run(file, journal=tmp_path / "runs.sqlite")
        async with motet.journal(tmp_path / "runs.sqlite") as runs:
            (finished,) = [entry for entry in await runs.history(report.run) if isinstance(entry, Finished)]
    assert (report.status, finished.result.status, finished.result.attempts) == ("complete", "done", 3)
    assert [(error.kind, error.message, error.sent) for error in finished.result.tried] == [
        ("unavailable", "is away, says ***", "no"),
        ("connection_lost", "cut off", "unknown"),
    ]


async def test_without_a_state_folder_a_journal_needs_a_place(motet: Orchestrator, flow: Path) -> None:
    assert motet.config.state is None
    with pytest.raises(RunError, match="no place for a journal"):
        await motet.run(flow, {"key": "PROJ-1"}, journal=True)


async def test_what_has_no_journal_says_so(motet: Orchestrator, flow: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="belongs to a run with a journal"):
        await motet.run(flow, {"key": "PROJ-1"}, key="k")
    with pytest.raises(WorkflowError, match="in memory alone"):
        await motet.run(flow, {"key": "PROJ-1"}, dry="plan", journal=tmp_path / "runs.sqlite")
