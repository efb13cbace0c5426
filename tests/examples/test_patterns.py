"""The specification's three patterns, as workflow files and as Python functions, on the bundled servers."""

import importlib.util
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from motet import CallError, Orchestrator, Report
from motet.calls import Call, Reply, Send
from motet.cli import examples
from motet.errors import ToolError
from motet.testing import mock_server, mock_server_down
from motet_servers.playground.world import Playground

pytestmark = pytest.mark.timeout(60)  # five servers are built for each test

TICKET = {"ticket": "JIRA-1234", "repo": "acme/app"}
STATUS = {"repo": "acme/app", "project": "PROJ"}
DEPLOY = {"repo": "acme/app", "ticket": "PROJ-42"}
HEALTH = '{"status": "ok", "version": "v2.1.0"}'


def example(name: str) -> ModuleType:
    """A module of `examples/`, as a user would import it."""
    spec = importlib.util.spec_from_file_location(name, examples.folder() / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def patterns() -> ModuleType:
    return example("patterns")


@pytest.fixture
def workflows() -> ModuleType:
    return example("workflows")


def statuses(report: Any) -> dict[str, str]:
    return {step.step: step.status for step in report.steps}


def jira(playground: Playground, key: str) -> dict[str, Any]:
    state: Any = playground.state()["jira"]
    return state[key]


def heard(playground: Playground) -> list[str]:
    state: Any = playground.state()["slack"]
    return [message["text"] for message in state["releases"]["messages"]]


@pytest.mark.proves("FR-ORCH-003")
async def test_sequential_makes_an_issue_from_the_ticket_and_links_both(motet: Orchestrator, playground: Playground):
    report = await motet.run(examples.folder() / "sequential.yaml", TICKET)
    assert (report.status, report.output) == (
        "complete",
        {"issue": f"{playground.github.url}/acme/app/issues/4", "linked": True},
    )
    repositories: Any = playground.state()["github"]
    assert repositories["acme/app"]["issues"]["4"]["title"] == "Export reports as CSV"
    assert playground.effects["github"] == {"issue.created": 1}


@pytest.mark.proves("FR-ORCH-005")
async def test_only_the_orchestrator_moves_data_and_it_says_which(motet: Orchestrator):
    report = await motet.run(examples.folder() / "sequential.yaml", TICKET)
    assert report.flows == (("jira", "github"), ("github", "jira"))


@pytest.mark.proves("FR-ORCH-002")
async def test_parallel_merges_the_status_of_three_servers(motet: Orchestrator):
    report = await motet.run(examples.folder() / "parallel.yaml", STATUS)
    status = report.output["status"]
    assert report.status == "complete"
    assert [each["title"] for each in status["pull_requests"]["items"]] == [
        "Say which version answers",
        "Cache the session lookup",
    ]
    assert (status["sprint"]["name"], status["deadlines"]["count"]) == ("Sprint 7", 2)


async def test_chain_deploys_checks_moves_the_ticket_and_tells(motet: Orchestrator, playground: Playground):
    report = await motet.run(examples.folder() / "chain.yaml", DEPLOY)
    assert report.output == {
        "version": "v2.1.0",
        "previous": None,
        "health": HEALTH,
        "ticket": "done",
        "message": "v2.1.0 is on staging",
    }
    assert (report.status, jira(playground, "PROJ-42")["status"]) == ("complete", "deployed")
    assert heard(playground)[-1] == "v2.1.0 is on staging"


@pytest.mark.proves("FR-ORCH-004")
async def test_with_jira_down_each_pattern_does_what_can_be_done(motet: Orchestrator, playground: Playground):
    with mock_server_down("jira"):
        sequential = await motet.run(examples.folder() / "sequential.yaml", TICKET)
        parallel = await motet.run(examples.folder() / "parallel.yaml", STATUS)
        chain = await motet.run(examples.folder() / "chain.yaml", DEPLOY)
    assert [report.status for report in (sequential, parallel, chain)] == ["partial"] * 3
    assert statuses(sequential) == {"ticket": "failed", "issue": "skipped", "link": "skipped"}
    assert (sorted(parallel.output["status"]), parallel.output["missing"]) == (
        ["deadlines", "pull_requests"],
        ["sprint"],
    )
    assert statuses(chain) == {
        "release": "done",
        "deploy": "done",
        "healthy": "done",
        "ticket": "failed",
        "tell": "done",
    }
    assert [left.step for left in chain.pending] == ["ticket"]
    assert heard(playground)[-1] == "v2.1.0 is on staging; ticket update pending"
    assert "github" not in playground.effects or not playground.effects["github"]


async def test_with_slack_down_the_deployment_stands_and_the_message_is_pending(motet: Orchestrator):
    with mock_server_down("slack"):
        chain = await motet.run(examples.folder() / "chain.yaml", DEPLOY)
    assert (chain.status, [left.step for left in chain.pending]) == ("partial", ["tell"])


async def test_an_unhealthy_deployment_is_taken_back(motet: Orchestrator, playground: Playground):
    async def unwell(call: Call, send: Send) -> Reply:
        if call.name == "check":
            raise ToolError("answers 503", server="deploy", tool="check")
        return await send(call)

    await motet.call_tool("deploy", "deploy", {"version": "v2.0.0", "env": "staging"})
    with mock_server("deploy", unwell):
        chain = await motet.run(examples.folder() / "chain.yaml", DEPLOY)
    check = await motet.call_tool("deploy", "check", {"env": "staging"})
    assert (chain.status, chain.undone) == ("failed", ("deploy",))
    assert (check.data["version"], check.data["healthy"]) == ("v2.0.0", True)
    assert (jira(playground, "PROJ-42")["status"], len(heard(playground))) == ("In Review", 1)


async def test_the_functions_do_the_same_as_the_files(
    motet: Orchestrator, patterns: ModuleType, playground: Playground
):
    sequential = await patterns.sequential(motet, **TICKET)
    parallel = await patterns.parallel(motet, **STATUS)
    chain = await patterns.chain(motet, **DEPLOY)
    assert sequential == {"issue": f"{playground.github.url}/acme/app/issues/4", "linked": True}
    assert (len(parallel.found), dict(parallel.missing)) == (3, {})
    assert chain == {"version": "v2.1.0", "health": HEALTH, "message": "v2.1.0 is on staging", "pending": {}}


async def test_the_functions_go_on_without_jira_where_they_can(
    motet: Orchestrator, patterns: ModuleType, playground: Playground
):
    with mock_server_down("jira"):
        with pytest.raises(CallError, match="jira"):
            await patterns.sequential(motet, **TICKET)
        parallel = await patterns.parallel(motet, **STATUS)
        chain = await patterns.chain(motet, **DEPLOY)
    assert list(parallel.missing) == ["jira://project/PROJ/sprint/current"]
    assert (list(chain["pending"]), heard(playground)[-1]) == (
        ["ticket"],
        "v2.1.0 is on staging; ticket update pending",
    )


async def test_servers_may_be_called_in_any_order(motet: Orchestrator):
    """The specification: don't assume composition order."""
    first = await motet.run(examples.folder() / "parallel.yaml", STATUS)
    await motet.run(examples.folder() / "chain.yaml", DEPLOY)
    again = await motet.run(examples.folder() / "parallel.yaml", STATUS)
    assert first.output["status"]["pull_requests"] == again.output["status"]["pull_requests"]


INPUTS = {"sequential": TICKET, "parallel": STATUS, "chain": DEPLOY}


@pytest.mark.parametrize("name", INPUTS)
async def test_a_workflow_function_reports_what_its_file_reports(
    configured: Callable[[Mapping[str, str]], dict[str, Any]], workflows: ModuleType, name: str
):
    servers = {server: server for server in ("jira", "github", "calendar", "deploy", "slack")}
    reports: list[Report] = []
    for flow in (examples.folder() / f"{name}.yaml", getattr(workflows, name)):
        async with Orchestrator.from_config(configured(servers)) as motet:
            reports.append(await motet.run(flow, INPUTS[name]))
            await motet.attempt("deploy", "rollback", {"env": "staging"})
    of_file, of_function = reports
    assert statuses(of_file) == statuses(of_function)
    assert (of_file.status, of_file.pending) == (of_function.status, of_function.pending) == ("complete", ())
    assert set(of_file.flows) <= set(of_function.flows)  # a function's are found by looking, a file's are known
