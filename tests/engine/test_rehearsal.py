"""Fault rehearsal: for each server and fault, what is done, undone, unknown and left."""

from __future__ import annotations

import asyncio

from engine.engine_kit import flow
from motet.engine.rehearsal import MockServers, MockTool, Row, rehearse, rehearsed, servers_of

DEPLOY = """
inputs: {ticket: {type: string}}
steps:
  release: {call: github.latest}
  approve: {approval: {message: "Deploy ${{ release.tag }}?", timeout: 1d}}
  deploy:
    call: deploy.deploy
    with: {version: "${{ release.tag }}"}
    needs: [approve]
    undo: {call: deploy.rollback, with: {to: "${{ deploy.previous }}"}}
  ticket:
    call: jira.move
    with: {key: "${{ inputs.ticket }}"}
    needs: [deploy]
    on_error: continue
    on_unavailable: {defer: 1d}
  tell: {call: slack.send, with: {text: hi}, needs: [deploy]}
"""
TOOLS = {
    ("github", "latest"): MockTool({"tag": "v2"}, read_only=True),
    ("deploy", "deploy"): MockTool({"previous": "v1"}, {"type": "object", "required": ["version"]}),
    ("deploy", "rollback"): MockTool({}),
    ("jira", "move"): MockTool({}, keyed="key_of"),
    ("slack", "send"): MockTool({}),
}


def test_every_server_fails_in_every_way_and_the_table_says_what_is_left() -> None:
    workflow = flow(DEPLOY)
    run_with = rehearsed(workflow, {"ticket": "P-1"}, lambda: MockServers(TOOLS))
    told = asyncio.run(rehearse(workflow, run_with))
    all_done = ("release", "approve", "deploy", "ticket", "tell")
    before = ("release", "approve")
    assert told.rows == (
        Row("", "", "complete", all_done),
        *(Row("github", fault, "failed", left=("release",)) for fault in ("down", "hang", "error", "lost answer")),
        Row("deploy", "down", "failed", before, left=("deploy",)),
        Row("deploy", "hang", "failed", before, unknown=("deploy",)),
        Row("deploy", "error", "failed", before, unknown=("deploy",)),
        Row("deploy", "lost answer", "failed", before, unknown=("deploy",)),
        *(
            Row("jira", fault, "partial", ("release", "approve", "deploy", "tell"), left=("ticket",))
            for fault in ("down", "hang", "error", "lost answer")
        ),
        Row("slack", "down", "failed", ("release", "approve", "deploy", "ticket"), ("deploy",), left=("tell",)),
        Row("slack", "hang", "failed", ("release", "approve", "deploy", "ticket"), ("deploy",), unknown=("tell",)),
        Row("slack", "error", "failed", ("release", "approve", "deploy", "ticket"), ("deploy",), left=("tell",)),
        Row("slack", "lost answer", "failed", ("release", "approve", "deploy", "ticket"), ("deploy",), ("tell",)),
    )
    assert len(told.surprises) == 5
    head, first, *_ = told.to_text().splitlines()
    assert head.split() == ["server", "fault", "status", "done", "undone", "unknown", "left"]
    assert first.split(maxsplit=2) == ["(none)", "complete", "release, approve, deploy, ticket, tell"]
    assert told.to_json()["rows"][0]["status"] == "complete"


def test_a_mock_checks_arguments_by_the_input_schema() -> None:
    workflow = flow("steps: {s: {call: deploy.deploy, with: {wrong: 1}, on_error: continue}}")
    run_with = rehearsed(workflow, {}, lambda: MockServers(TOOLS))
    told = asyncio.run(rehearse(workflow, run_with, servers=()))
    assert [(row.status, row.left) for row in told.rows] == [("partial", ("s",))]


def test_the_servers_of_a_workflow_are_those_it_names_anywhere() -> None:
    text = """
steps:
  one: {call: a.x, on_error: {call: b.y}, undo: {call: c.z}, reconcile: {call: d.w, happened: result.v}}
  two: {read: {server: e, uri: "x://y"}}
  three: {run: inner.yaml}
finally:
  end: {call: g.v}
"""
    assert servers_of(flow(text, inner="steps: {s: {call: f.u}}")) == ("a", "b", "c", "d", "e", "f", "g")
