"""Every example of docs/workflows.md is run, on servers made of functions, and gives what the page lets one expect."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.engine_kit import Servers, broken, run, statuses
from motet.calls import Answer, Json, Question
from motet.workflow.loading import load

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
ISSUE = {"key": "PROJ-42", "status": "open", "points": None}


def servers() -> Servers:
    """What the servers of the examples answer when all is well."""
    return Servers(
        tools={
            "github.get_latest_release": lambda _: {"tag_name": "v2", "draft": False, "id": 7, "assets": []},
            "github.create_issue": lambda _: {"number": 17},
            "github.search": lambda _: {"total": 0},
            "github.review": lambda _: [{"role": "user", "content": "Please review 17."}],
            "deploy.deploy": lambda given: {"id": 1, "previous": "v1", "version": given["version"]},
            "deploy.rollback": lambda _: {"id": 2},
            "deploy.check": lambda _: {"healthy": True},
            "deploy.find": lambda _: {"found": [{"id": 1}], "total": 1},
            "jira.get_issue": lambda given: {**ISSUE, "key": given["key"]},
            "jira.transition_issue": lambda given: {**ISSUE, **given},
            "slack.send_message": lambda _: {"ts": "1"},
        },
        resources={
            "github://acme/app/readme": "# App",
            "github://acme/app/pull-requests": "PR",
            "github://acme/app/issues": "issue",
            "jira://project/PROJ/sprint/current": "sprint 7",
            "jira://project/PROJ/backlog": "backlog",
        },
    )


async def yes(_: Question) -> Answer:
    return Answer("accept")


CASES: dict[str, tuple[dict[str, Json], str, Json]] = {
    "deploy-and-tell.yaml": (
        {"repo": "acme/app", "ticket": "PROJ-42"},
        "complete",
        {"version": "v2", "ticket": "done"},
    ),
    "inputs.yaml": ({"repo": "acme/app", "token": "T"}, "complete", None),
    "call.yaml": ({}, "complete", None),
    "read.yaml": ({"repo": "acme/app"}, "complete", {"sprint": "sprint 7", "missing": []}),
    "prompt.yaml": ({}, "complete", ["Please review 17."]),
    "wait.yaml": ({"start": "2027-01-15T08:00:00Z"}, "complete", None),
    "release.yaml": ({"repo": "acme/app"}, "complete", {"version": "v2", "draft": False}),
    "run.yaml": ({}, "complete", None),
    "set.yaml": ({"repo": "acme/app"}, "complete", "Hello acme, 4 times"),
    "order.yaml": ({}, "complete", None),
    "foreach.yaml": ({"keys": ["A-1", "A-2"]}, "complete", ["A-1", "A-2"]),
    "limits.yaml": ({}, "complete", None),
    "errors.yaml": ({}, "complete", {"closed": True, "why": ""}),
    "reconcile.yaml": ({"version": "v2"}, "complete", 1),
    "undo.yaml": ({"version": "v2"}, "complete", None),
    "fine-print.yaml": ({"order": "7"}, "complete", 17),
    "finally.yaml": ({}, "complete", 1),
}


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.yaml")} == {*CASES, "approval.yaml"}


@pytest.mark.proves("FR-ORCH-003")
@pytest.mark.parametrize("name", CASES)
def test_the_example_runs_to_its_end(name: str) -> None:
    inputs, status, output = CASES[name]
    report = run(servers(), load(EXAMPLES / name), inputs, ask=yes, secrets={"T": "s3cr3t"})
    assert (report.status, report.output) == (status, output)


def test_an_approval_that_is_given_lets_the_step_run() -> None:
    report = run(servers(), load(EXAMPLES / "approval.yaml"), {"version": "v2"}, ask=yes)
    assert statuses(report) == {"approve": "done", "deploy": "done"}


def test_an_approval_that_nobody_gives_keeps_the_step_from_running() -> None:
    made = servers()
    run(made, load(EXAMPLES / "approval.yaml"), {"version": "v2"})
    assert made.count("deploy.deploy") == 0


@pytest.mark.proves("FR-ORCH-004")
def test_the_first_example_tells_of_a_ticket_that_could_not_be_moved() -> None:
    made = servers()
    made.tools["jira.transition_issue"] = lambda _: broken("jira")
    report = run(made, load(EXAMPLES / "deploy-and-tell.yaml"), {"repo": "acme/app", "ticket": "PROJ-42"}, ask=yes)
    assert report.status == "partial"
    assert made.calls[-1] == (
        "slack.send_message",
        {"channel": "#releases", "text": "v2 deployed; ticket update pending"},
    )


def test_the_first_example_goes_back_to_the_previous_version_when_it_is_not_healthy() -> None:
    made = servers()
    made.tools["deploy.check"] = lambda _: broken("deploy")
    report = run(made, load(EXAMPLES / "deploy-and-tell.yaml"), {"repo": "acme/app", "ticket": "PROJ-42"}, ask=yes)
    assert report.status == "failed"
    assert made.calls[-1] == ("deploy.rollback", {"env": "staging", "to": "v1"})


@pytest.mark.proves("FR-ORCH-002", "FR-ORCH-004")
def test_read_gives_what_could_be_read_and_names_what_is_missing() -> None:
    made = servers()
    made.resources["jira://project/PROJ/sprint/current"] = lambda: broken("jira")
    report = run(made, load(EXAMPLES / "read.yaml"), {"repo": "acme/app"})
    assert (report.status, report.output) == ("partial", {"sprint": "not available", "missing": ["sprint"]})
