"""The public surface of DESIGN §4, over servers in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet import CallError, ConfigError, Done, Failed, Orchestrator, ToolError, WorkflowError
from motet.testing import mock_server_down, mock_server_loses_answers

PULLS, SPRINT = "github://acme/app/pull-requests", "jira://project/PROJ/sprint/current"


@pytest.mark.proves("FR-ORCH-003")
async def test_one_servers_answer_feeds_another_servers_tool(motet: Orchestrator) -> None:
    issue = await motet.call_tool("jira", "get_issue", {"key": "PROJ-42"})
    made = await motet.servers["github"].call_tool("create_issue", {"title": issue.data["summary"]})
    assert made.data == {"title": "It breaks", "html_url": "http://localhost/1"}


async def test_a_tool_that_reports_failure_raises_its_message(motet: Orchestrator) -> None:
    with pytest.raises(ToolError, match="no issue NOPE-1") as caught:
        await motet.call_tool("jira", "get_issue", {"key": "NOPE-1"})
    assert (caught.value.server, caught.value.tool, caught.value.sent) == ("jira", "get_issue", "yes")


async def test_an_attempt_gives_values_and_never_raises(motet: Orchestrator) -> None:
    assert isinstance(await motet.attempt("jira", "get_issue", {"key": "PROJ-1"}), Done)
    failed = await motet.attempt("jira", "get_isue", {"key": "PROJ-1"})
    assert isinstance(failed, Failed)
    assert str(failed.error) == "jira: there is no tool `get_isue`; did you mean `get_issue`?"
    with pytest.raises(CallError):
        failed.result()


async def test_a_wrong_argument_is_refused_before_anything_is_sent(motet: Orchestrator) -> None:
    failed = await motet.attempt("jira", "get_issue", {"kee": "PROJ-1"})
    assert isinstance(failed, Failed)
    assert (failed.error.kind, failed.error.sent) == ("invalid_arguments", "no")
    assert "`key` is missing" in failed.error.message


async def test_an_unknown_server_suggests_the_nearest(motet: Orchestrator) -> None:
    failed = await motet.attempt("gihub", "create_issue")
    assert isinstance(failed, Failed)
    assert "did you mean `github`?" in failed.error.message


@pytest.mark.proves("FR-ORCH-002", "FR-ORCH-004")
async def test_one_server_down_costs_its_own_resources_only(motet: Orchestrator) -> None:
    with mock_server_down("jira"):
        reading = await motet.read_resources([PULLS, SPRINT])
    assert {uri: result.text for uri, result in reading.found.items()} == {PULLS: "pulls of acme/app"}
    assert {uri: error.kind for uri, error in reading.missing.items()} == {SPRINT: "unavailable"}
    assert reading.servers == {PULLS: "github", SPRINT: "jira"}


@pytest.mark.proves("FR-ORCH-002")
async def test_resources_of_two_servers_are_merged_for_a_model(motet: Orchestrator) -> None:
    context = (await motet.read_resources([PULLS, SPRINT])).as_context(20_000)
    assert f"Resource {PULLS} from server github:" in context
    assert f"Resource {SPRINT} from server jira:" in context


async def test_a_uri_may_name_its_server(motet: Orchestrator) -> None:
    reading = await motet.read_resources([("github", PULLS), f"jira={SPRINT}"])
    assert [result.text for result in reading.found.values()] == ["pulls of acme/app", "sprint of PROJ"]


async def test_a_uri_in_a_workflow_may_name_its_server(motet: Orchestrator, tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        f"motet: 1\nname: flow\nsteps:\n  sprint:\n    read: 'jira={SPRINT}'\noutput: '${{{{ sprint }}}}'\n"
    )
    report = await motet.run(flow)
    assert (report.status, report.output) == ("complete", "sprint of PROJ")


async def test_one_resource_can_be_read_alone(motet: Orchestrator) -> None:
    assert (await motet.read_resource(SPRINT)).text == "sprint of PROJ"


async def test_a_lost_answer_to_a_write_is_unknown_and_not_repeated(motet: Orchestrator) -> None:
    with mock_server_loses_answers("github"):
        failed = await motet.attempt("github", "create_issue", {"title": "x"})
    assert isinstance(failed, Failed)
    assert (failed.error.sent, failed.attempts) == ("unknown", 1)


async def test_states_and_catalog_are_there_without_asking_a_server(motet: Orchestrator) -> None:
    assert {name: server.state for name, server in motet.servers.items()} == {
        "jira": "ready",
        "github": "ready",
        "late": "disabled",
    }
    assert list(motet.catalog.servers["jira"].tools) == ["get_issue"]
    assert motet.servers["jira"].catalog.tools["get_issue"].output_schema is not None


async def test_a_workflow_runs_from_a_file(motet: Orchestrator, tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        "motet: 1\nname: flow\ninputs:\n  ticket: {type: string}\nsteps:\n"
        "  issue:\n    call: jira.get_issue\n    with: {key: '${{ inputs.ticket }}'}\n"
        "  made:\n    call: github.create_issue\n    with: {title: '${{ issue.summary }}'}\n"
        "output: {url: '${{ made.html_url }}'}\n"
    )
    report = await motet.run(flow, {"ticket": "PROJ-42"})
    assert (report.status, report.output) == ("complete", {"url": "http://localhost/1"})


async def test_a_workflow_with_mistakes_does_not_run(motet: Orchestrator, tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text("motet: 1\nname: flow\nsteps:\n  issue:\n    call: jira.get_isue\n    with: {key: PROJ-1}\n")
    with pytest.raises(WorkflowError, match="no tool `get_isue`") as caught:
        await motet.run(flow)
    assert len(caught.value.problems) == 1


async def test_a_file_that_is_not_there_is_named(motet: Orchestrator) -> None:
    with pytest.raises(WorkflowError, match="nowhere"):
        await motet.run("nowhere.yaml")


def test_a_broken_configuration_starts_nothing() -> None:
    with pytest.raises(ConfigError, match="neither `command` nor `url`"):
        Orchestrator.from_config({"mcpServers": {"x": {}}})
