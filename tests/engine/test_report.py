"""The report: its published form, what a person reads, and the events that tell of a run while it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest

from engine.engine_kit import START, Servers, arun, broken, flow, now, run, virtually
from motet.calls import Answer, Done, Progress, Question, ToolResult
from motet.engine.memory import Run
from motet.engine.report import REPORT_SCHEMA
from motet.errors import ConnectionLost, ServerUnavailable
from motet.events import DataFlowed, RunChanged, StepChanged, StepProgress


def down(server: str = "jira") -> ServerUnavailable:
    return ServerUnavailable("it is down", server=server)


EVERYTHING = """
inputs: {ids: {type: array, default: [1, 2]}}
steps:
  made: {call: a.make, undo: {call: a.unmake, with: {id: "${{ made.id }}"}}}
  each: {call: a.each, foreach: "${{ inputs.ids }}", with: {id: "${{ item }}"}, on_error: continue}
  status: {read: {one: "a://one", two: "b://two"}}
  fall: {call: a.bad, on_error: {value: 3}}
  lost: {call: a.lost, on_error: continue}
  never: {call: a.make, if: "false"}
  ticket: {call: jira.move, with: {id: "${{ made.id }}"}, on_error: continue}
  after: {call: a.make, needs: [lost], with: {x: "${{ ticket.v }}"}}
  pure: {set: {n: "${{ size(each) }}"}}
  pause: {wait: 2s}
  ok: {approval: {message: go}}
END
finally:
  end: {call: a.make}
output: {n: "${{ pure.n }}", t: "${{ ticket.v }}"}
"""


@pytest.fixture
def world(servers: Servers) -> Servers:
    servers.tools = {
        "a.make": lambda _: {"id": 77},
        "a.unmake": lambda _: {},
        "a.each": lambda a: broken("a") if a["id"] == 2 else {"id": a["id"]},
        "a.bad": lambda _: broken("a"),
        "a.lost": lambda _: ConnectionLost("cut off", server="a"),
        "jira.move": lambda _: down(),
    }
    servers.resources = {"a://one": "text", "b://two": down("b")}
    return servers


async def yes(question: Question) -> Answer:
    return Answer("accept", {"by": "ann"})


@pytest.mark.parametrize("end", ["", "  fails: {call: a.bad, needs: [made, pause, ok]}"])
def test_every_kind_of_report_fits_its_published_schema(world: Servers, end: str) -> None:
    report = run(world, EVERYTHING.replace("END", end), ask=yes)
    told = report.to_json()
    assert report.status == ("failed" if end else "partial")
    jsonschema_rs.validate(REPORT_SCHEMA, told)
    assert json.loads(json.dumps(told)) == told


def test_a_person_understands_a_partial_run_at_a_glance(world: Servers) -> None:
    head, *rest = run(world, EVERYTHING.replace("END", ""), ask=yes).to_text().splitlines()
    gaps = "each pending (a: it broke); status pending (b: it is down); ticket pending (jira: it is down)"
    assert head == f"partial: test; {gaps}; and 1 more pending"
    assert [line for line in rest if not line.startswith("  ")] == [
        "attention: lost unknown: it may have acted: cut off",
        "pending: each partial: a: it broke",
        "pending: status partial: b: it is down",
        "pending: ticket failed: jira: it is down",
        "pending: after skipped: missing: ticket",
        "degraded: fall",
        'output: {"n":2,"t":null}',
    ]
    assert "  finish with: motet run test.yaml" in rest
    assert "  ? lost         a.lost  0.00 s  unknown: cut off" in rest
    assert "  ✓ fall         a.bad  0.00 s  via value" in rest


def test_a_report_shows_itself_in_a_line(world: Servers) -> None:
    report = run(world, "steps: {s: {call: a.make}}")
    assert repr(report) == "<Report complete: test>"
    assert report.step("s").took == 0.0
    with pytest.raises(KeyError):
        report.step("t")


def test_a_redactor_sees_everything_that_is_shown(world: Servers) -> None:
    def redact(value: Any) -> Any:
        return json.loads(json.dumps(value).replace("77", "88"))

    report = run(world, "steps: {s: {call: a.make}, t: {call: a.each, with: {id: '${{ s.id }}'}}}", redact=redact)
    assert (report.step("s").output, report.step("t").inputs) == ({"id": 88}, {"id": 88})


def test_data_that_is_not_kept_is_not_reported(world: Servers) -> None:
    report = run(world, "steps: {s: {call: a.make, keep: false}, t: {call: a.each, with: {id: '${{ s.id }}'}}}")
    assert (report.step("s").output, report.step("t").output) == (None, {"id": 77})


def test_observers_hear_of_the_run_its_steps_its_progress_and_its_flows(
    world: Servers, events: list[Any], emit: Callable[[Any], None]
) -> None:
    def tells(_: dict[str, Any]) -> Any:
        report = world.sent[-1].on_progress
        assert report is not None
        report(Progress(1, 2, "half"))
        return {}

    world.tools["b.tells"] = tells
    run(world, "steps: {s: {call: a.make}, t: {call: b.tells, with: {id: '${{ s.id }}'}}}", emit=emit)
    assert [event for event in events if not isinstance(event, StepChanged)] == [
        RunChanged(START, "r1", "test", "running"),
        DataFlowed(START, "r1", "a", "s", "b", "t", "id"),
        StepProgress(START, "r1", "t", 1, 2, "half"),
        RunChanged(START, "r1", "test", "complete"),
    ]
    assert [(event.step, event.status) for event in events if isinstance(event, StepChanged)] == [
        ("s", "running"),
        ("s", "done"),
        ("t", "running"),
        ("t", "done"),
    ]


def test_observers_hear_of_every_step_that_is_skipped(
    world: Servers, events: list[Any], emit: Callable[[Any], None]
) -> None:
    text = "steps: {s: {call: a.make, if: 'false'}, t: {call: a.each, with: {id: '${{ s.id }}'}}}"
    run(world, text, emit=emit)
    assert [(event.step, event.status, event.message) for event in events if isinstance(event, StepChanged)] == [
        ("s", "skipped", "if"),
        ("t", "skipped", "missing: s"),
    ]


def test_a_thousand_parallel_steps_are_in_flight_at_once_without_a_pile_up(servers: Servers) -> None:
    gate: list[int] = []

    async def together(_: dict[str, Any]) -> Any:
        gate.append(1)
        await asyncio.sleep(1)
        return {}

    servers.tools["a.x"] = together
    text = "steps:\n" + "\n".join(f"  s{at}: {{call: a.x}}" for at in range(1000))
    report = run(servers, text, parallel=1000)
    assert (report.status, servers.most_in_flight, report.took) == ("complete", 1000, 1.0)
    servers.most_in_flight = 0
    bounded = run(servers, text, parallel=100)
    assert (bounded.status, servers.most_in_flight, bounded.took) == ("complete", 100, 10.0)


def test_a_late_answer_settles_an_unknown_step_while_the_run_goes_on(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: ConnectionLost("cut", server="a")}

    async def scenario() -> Any:
        one = Run(flow("steps: {s: {call: a.x, on_error: continue}, w: {wait: 10s}}"), dispatch=servers, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.drive())
            await asyncio.sleep(5)
            late = servers.sent[0].on_late
            assert late is not None
            late(ToolResult(b'{"content": [{"type": "text", "text": "{\\"v\\": 4}"}]}'))
        return task.result()

    report = virtually(scenario())
    assert (report.status, report.step("s").output, report.step("s").via) == ("complete", {"v": 4}, "resolve")


def test_a_late_answer_after_the_end_changes_nothing(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: ConnectionLost("cut", server="a")}

    async def scenario() -> Any:
        report = await arun(servers, "steps: {s: {call: a.x, on_error: continue}}")
        late = servers.sent[0].on_late
        assert late is not None
        late(ToolResult(b'{"content": []}'))
        return report

    assert virtually(scenario()).step("s").status == "unknown"
    assert Done(ToolResult(b"{}")).attempts == 1
