"""Workflows as plain async functions: the same steps, failures, undo and report as in a file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from engine.engine_kit import Servers, arun, broken, now, statuses, virtually
from motet.calls import Answer, Json, Question
from motet.engine.functions import Function, FunctionRun, Hub, StepFailed, run_function, workflow
from motet.engine.report import Report
from motet.errors import ConnectionLost, ServerUnavailable, WorkflowError


def go(servers: Servers, function: Function, inputs: Mapping[str, Json] | None = None, **more: Any) -> Report:
    return virtually(run_function(function, inputs, dispatch=servers, now=now, run="r1", **more))


def in_yaml(servers: Servers, text: str, inputs: Mapping[str, Json] | None = None) -> Report:
    return virtually(arun(servers, text, inputs))


def comparable(report: Report) -> dict[str, Json]:
    told = report.to_json()
    return {**told, "workflow": "", "pending": [{**left, "command": ""} for left in told["pending"]]}


@pytest.fixture
def world(servers: Servers) -> Servers:
    servers.tools = {
        "jira.get_issue": lambda a: {"key": a["key"], "summary": "It breaks", "description": "Every time."},
        "jira.add_link": lambda _: {"linked": True},
        "jira.transition_issue": lambda _: {},
        "github.create_issue": lambda a: {"html_url": "http://github/1", "title": a["title"]},
        "github.get_latest_release": lambda _: {"tag_name": "v2.1.0"},
        "deploy.deploy": lambda _: {"previous": "v2.0.0"},
        "deploy.rollback": lambda _: {},
        "slack.send_message": lambda _: {"sent": True},
    }
    servers.resources = {
        "github://org/repo/pull-requests": '[{"n": 1}]',
        "jira://project/PROJ/sprint/current": '{"sprint": 7}',
        "calendar://team/deadlines": "Friday",
    }
    return servers


CHAIN = """
inputs: {key: {type: string}}
steps:
  get_issue: {call: jira.get_issue, with: {key: "${{ inputs.key }}"}}
  create_issue:
    call: github.create_issue
    with: {title: "${{ get_issue.summary }}", body: "${{ get_issue.description }}"}
  add_link: {call: jira.add_link, with: {key: "${{ inputs.key }}", url: "${{ create_issue.html_url }}"}}
output: {url: "${{ create_issue.html_url }}"}
"""


@workflow
async def chain(hub: Hub, key: str) -> Json:
    issue = await hub.jira.get_issue(key=key)
    made = await hub.github.create_issue(title=issue["summary"], body=issue["description"])
    await hub.jira.add_link(key=key, url=made["html_url"])
    return {"url": made["html_url"]}


STATUS = """
steps:
  read:
    read:
      prs: github://org/repo/pull-requests
      sprint: jira://project/PROJ/sprint/current
      deadlines: calendar://team/deadlines
output: {found: "${{ read }}"}
"""


@workflow
async def status(hub: Hub) -> Json:
    found = await hub.read(
        {
            "prs": "github://org/repo/pull-requests",
            "sprint": "jira://project/PROJ/sprint/current",
            "deadlines": "calendar://team/deadlines",
        }
    )
    return {"found": found}


DEPLOY = """
inputs: {repo: {type: string}, ticket: {type: string}}
steps:
  get_latest_release: {call: github.get_latest_release, with: {repo: "${{ inputs.repo }}"}}
  deploy:
    call: deploy.deploy
    with: {version: "${{ get_latest_release.tag_name }}", env: staging}
    undo: {call: deploy.rollback, with: {env: staging, to: "${{ deploy.previous }}"}}
  transition_issue:
    call: jira.transition_issue
    with: {key: "${{ inputs.ticket }}", status: deployed}
    needs: [deploy]
    on_error: continue
  send_message:
    call: slack.send_message
    with: {text: "deployed${{ steps.transition_issue.ok ? '' : '; ticket pending' }}"}
    needs: [deploy]
    on_error: ON
"""


@workflow(name="deploy-and-tell")
async def deploy(hub: Hub, repo: str, ticket: str) -> Json:
    release = await hub.github.get_latest_release(repo=repo)
    version = release["tag_name"]
    await hub.deploy.deploy(version=version, env="staging").undo(
        hub.deploy.rollback, lambda done: {"env": "staging", "to": done["previous"]}
    )
    moved = await hub.jira.transition_issue(key=ticket, status="deployed").optional()
    await hub["slack"].send_message(text="deployed" + ("" if moved is not None else "; ticket pending"))


@pytest.mark.proves("FR-ORCH-003")
def test_sequential_composition_reports_the_same_in_yaml_and_python(world: Servers) -> None:
    written = in_yaml(world, CHAIN, {"key": "JIRA-1"})
    calls, world.calls = world.calls, []
    told = go(world, chain, {"key": "JIRA-1"})
    assert comparable(told) == comparable(written)
    assert world.calls == calls
    assert (told.status, told.flows) == ("complete", (("jira", "github"), ("github", "jira")))


@pytest.mark.proves("FR-ORCH-002")
@pytest.mark.parametrize("jira", ["up", "down"])
def test_parallel_aggregation_reports_the_same_in_yaml_and_python(world: Servers, jira: str) -> None:
    if jira == "down":
        world.resources["jira://project/PROJ/sprint/current"] = ServerUnavailable("it is down", server="jira")
    written = in_yaml(world, STATUS)
    told = go(world, status)
    assert comparable(told) == comparable(written)
    assert told.status == ("complete" if jira == "up" else "partial")


@pytest.mark.proves("FR-ORCH-004")
@pytest.mark.parametrize(("jira", "slack"), [("up", "up"), ("down", "up"), ("up", "down"), ("down", "down")])
def test_a_tool_chain_reports_the_same_in_yaml_and_python(world: Servers, jira: str, slack: str) -> None:
    if jira == "down":
        world.tools["jira.transition_issue"] = lambda _: ServerUnavailable("it is down", server="jira")
    if slack == "down":
        world.tools["slack.send_message"] = lambda _: broken("slack", "no channel")
    inputs = {"repo": "acme/app", "ticket": "PROJ-42"}
    written = in_yaml(world, DEPLOY.replace("ON", "fail"), inputs)
    calls, world.calls = world.calls, []
    told = go(world, deploy, inputs)
    assert comparable(told) == comparable(written)
    assert world.calls == calls
    assert told.status == ("failed" if slack == "down" else "partial" if jira == "down" else "complete")
    assert told.undone == (("deploy",) if slack == "down" else ())


def test_a_caught_failure_leaves_the_run_partial(world: Servers) -> None:
    world.tools["jira.transition_issue"] = lambda _: ServerUnavailable("it is down", server="jira")

    @workflow
    async def one(hub: Hub) -> Json:
        try:
            await hub.jira.transition_issue(key="x")
        except ServerUnavailable as error:
            return {"why": error.message}
        return None

    report = go(world, one)
    assert (report.status, report.output) == ("partial", {"why": "it is down"})


def test_gathered_steps_happen_together(world: Servers) -> None:
    async def slow(_: dict[str, Any]) -> Any:
        await asyncio.sleep(3)
        return {"v": 1}

    world.tools |= {"a.x": slow, "b.y": slow}

    @workflow
    async def both(hub: Hub) -> Json:
        async with hub.gather() as together:
            one = together.add(hub.a.x())
            two = together.add(hub.b.y().optional())
        return [one.result()["v"], two.result()["v"]]

    report = go(world, both)
    assert (report.output, report.took, world.most_in_flight) == ([1, 1], 3.0, 2)


def test_a_failure_in_a_gather_ends_the_others_and_undoes_what_was_done(world: Servers) -> None:
    async def slow(_: dict[str, Any]) -> Any:
        await asyncio.sleep(50)
        return {"v": 1}

    world.tools |= {"a.x": lambda _: {"v": 1}, "a.slow": slow, "b.y": lambda _: broken("b"), "a.undo": lambda a: a}
    world.read_only.add("a.slow")

    @workflow
    async def both(hub: Hub) -> Json:
        async with hub.gather() as together:
            together.add(hub.a.x().undo(hub.a.undo, {"id": 1}))
            together.add(hub.a.slow())
            together.add(hub.b.y())

    report = go(world, both)
    assert (report.status, statuses(report)) == ("failed", {"x": "done", "slow": "cancelled", "y": "failed"})
    assert (report.undone, world.calls[-1], report.took) == (("x",), ("a.undo", {"id": 1}), 0.0)


def test_an_error_of_the_functions_own_code_undoes_and_is_raised(world: Servers) -> None:
    @workflow
    async def wrong(hub: Hub) -> Json:
        await hub.deploy.deploy().undo(hub.deploy.rollback)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        go(world, wrong)
    assert world.names[-1] == "deploy.rollback"


def test_cancelling_ends_the_function_and_undoes(world: Servers) -> None:
    @workflow
    async def long(hub: Hub) -> Json:
        await hub.deploy.deploy().undo(hub.deploy.rollback)
        await asyncio.sleep(1000)

    async def scenario() -> Report:
        run = FunctionRun(long, dispatch=world, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(run.drive())
            await asyncio.sleep(5)
            run.cancel()
        return task.result()

    report = virtually(scenario())
    assert (report.status, report.undone, report.took) == ("cancelled", ("deploy",), 5.0)


def test_a_functions_timeout_ends_it_and_undoes(world: Servers) -> None:
    @workflow(timeout=10)
    async def long(hub: Hub) -> Json:
        await hub.deploy.deploy().undo(hub.deploy.rollback)
        await hub.wait(1000)

    report = go(world, long)
    assert report.failure is not None
    assert (report.status, report.failure["kind"], report.undone, report.took) == (
        "failed",
        "deadline",
        ("deploy",),
        10,
    )


def test_an_unknown_outcome_is_looked_up_as_in_a_file(world: Servers) -> None:
    world.tools |= {"a.x": lambda _: ConnectionLost("cut", server="a"), "a.find": lambda _: {"found": [{"id": 4}]}}

    @workflow
    async def one(hub: Hub) -> Json:
        return await hub.a.x().reconcile(
            hub.a.find, happened=lambda seen: bool(seen["found"]), data=lambda seen: seen["found"][0]
        )

    report = go(world, one)
    assert (report.status, report.output, report.step("x").via) == ("complete", {"id": 4}, "reconcile")


def test_approvals_are_asked_and_a_no_raises(world: Servers) -> None:
    @workflow
    async def one(hub: Hub) -> Json:
        yes = await hub.approve("Deploy?")
        await hub.deploy.deploy()
        return yes["by"]

    async def yes(question: Question) -> Answer:
        return Answer("accept", {"by": question.message})

    async def no(question: Question) -> Answer:
        return Answer("decline")

    assert go(world, one, ask=yes).output == "Deploy?"
    refused = go(world, one, ask=no)
    assert (refused.status, statuses(refused)) == ("failed", {"approval": "failed"})


def test_a_value_takes_the_place_of_a_failure(world: Servers) -> None:
    world.tools["a.x"] = lambda _: broken("a")

    @workflow
    async def one(hub: Hub) -> Json:
        return await hub.a.x().otherwise(7)

    report = go(world, one)
    assert (report.status, report.output, report.degraded) == ("complete", 7, ("x",))


def test_the_same_tool_twice_gets_numbered_names_and_its_own_keys(world: Servers) -> None:
    world.tools["a.x"] = lambda _: {}
    world.keyed.add("a.x")

    @workflow
    async def one(hub: Hub) -> Json:
        await hub.a.x()
        await hub.a.x()
        await hub.a["x"]({"n": 1}).named("third").keyed("mine")

    report = go(world, one)
    assert list(statuses(report)) == ["x", "x_2", "third"]
    assert len({call.key for call in world.sent}) == 3
    assert world.sent[-1].key == "mine"


def test_a_workflow_called_by_a_workflow_adds_its_steps(world: Servers) -> None:
    @workflow
    async def outer(hub: Hub, key: str) -> Json:
        first = await chain(hub, key)
        await hub.slack.send_message(text=first["url"])

    assert list(statuses(go(world, outer, {"key": "K"}))) == ["get_issue", "create_issue", "add_link", "send_message"]


def test_inputs_are_the_functions_parameters(world: Servers) -> None:
    with pytest.raises(WorkflowError, match=r"`nope` is unknown; input `key` is missing"):
        go(world, chain, {"nope": 1})


def test_a_step_that_failed_without_a_call_says_which() -> None:
    assert str(StepFailed("ok", "rejected")) == "ok: rejected"
