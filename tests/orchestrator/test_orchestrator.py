"""The public surface of DESIGN §4, over servers in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from motet import CallError, ConfigError, Done, Failed, Orchestrator, Progress, ToolError, WorkflowError
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


_COMPLETES = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    result = {"resultType": "complete", "tools": [{"name": "work", "inputSchema": {"type": "object"}}]}
    if m["method"] == "server/discover":
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}, "completions": {}}}
    elif m["method"] == "completion/complete":
        said = json.dumps({key: m["params"][key] for key in ("ref", "argument", "context") if key in m["params"]})
        result = {"completion": {"values": [said] if m["params"]["argument"]["value"] else 7}}
    elif m["method"] == "tools/call":
        token = m["params"]["_meta"]["progressToken"]
        for done in (1, 2):
            told = {"progressToken": token, "progress": done, "total": 2, "message": f"step {done}"}
            print(json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": told}))
        result = {"content": [{"type": "text", "text": "worked"}]}
    if "id" in m:
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": result}), flush=True)
"""


@pytest.fixture
async def completing(tmp_path: Path) -> AsyncGenerator[Orchestrator]:
    script = tmp_path / "server.py"
    script.write_text(_COMPLETES)
    async with Orchestrator.from_config({"servers": {"s": {"command": sys.executable, "args": [str(script)]}}}) as made:
        yield made


async def test_progress_is_told_to_who_asked_for_it(completing: Orchestrator) -> None:
    told: list[Progress] = []
    result = await completing.servers["s"].call_tool("work", on_progress=told.append)
    assert (result.data, told) == ("worked", [Progress(1.0, 2.0, "step 1"), Progress(2.0, 2.0, "step 2")])


async def test_a_server_suggests_what_an_argument_may_be(completing: Orchestrator) -> None:
    (said,) = await completing.complete("s", "greet", "name", "A")
    assert json.loads(said) == {
        "ref": {"type": "ref/prompt", "name": "greet"},
        "argument": {"name": "name", "value": "A"},
    }
    (said,) = await completing.complete("s", "db://{table}/rows", "table", "o", given={"schema": "main"})
    assert json.loads(said) == {
        "ref": {"type": "ref/resource", "uri": "db://{table}/rows"},
        "argument": {"name": "table", "value": "o"},
        "context": {"arguments": {"schema": "main"}},
    }
    with pytest.raises(CallError, match="no list of values"):
        await completing.complete("s", "greet", "name", "")
