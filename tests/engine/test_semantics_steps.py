"""SEMANTICS §1 and §2, row by row: what each state of a step means, and what depends on what."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.engine_kit import Servers, arun, broken, flow, run, statuses, virtually
from motet.engine.memory import Run
from motet.errors import (
    CircuitOpen,
    ConnectionLost,
    NeedsAuth,
    OutputSchemaMismatch,
    ProtocolError,
    RateLimited,
    ServerUnavailable,
    ToolError,
)

RECORD: dict[str, Any] = {
    "ok": True,
    "status": "done",
    "reason": None,
    "error": None,
    "attempts": 1,
    "via": "call",
    "items": [],
    "missing": [],
    "undo": "none",
}


def down(server: str = "a") -> ServerUnavailable:
    return ServerUnavailable("it is down", server=server)


def lost(server: str = "a") -> ConnectionLost:
    return ConnectionLost("cut off", server=server)


# -- §1 states --------------------------------------------------------------------------------------------------------


def test_done_has_its_data_and_its_record(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {"v": 1}
    report = run(servers, "steps: {s: {call: a.x}}\noutput: {data: '${{ s }}', record: '${{ steps.s }}'}")
    assert report.status == "complete"
    assert report.output == {"data": {"v": 1}, "record": RECORD}


def test_a_record_has_the_same_fields_whatever_became_of_its_step(servers: Servers) -> None:
    servers.tools = {"a.x": lambda a: a, "a.bad": lambda _: broken("a"), "a.lost": lambda _: lost()}
    servers.resources = {"a://one": "text", "b://two": down("b")}
    report = run(
        servers,
        """
steps:
  done: {call: a.x}
  failed: {call: a.bad, on_error: continue}
  unknown: {call: a.lost, on_error: continue}
  instead: {call: a.bad, on_error: {value: 1}}
  unwanted: {call: a.x, if: "false"}
  lacking: {call: a.x, with: {v: "${{ failed.v }}"}}
  each: {call: a.x, foreach: "${{ [1] }}"}
  gaps: {read: {one: "a://one", two: "b://two"}}
  paused: {wait: 1s}
  made: {set: 1}
output: "${{ [steps.done, steps.failed, steps.unknown, steps.instead, steps.unwanted, steps.lacking, steps.each,
  steps.gaps, steps.paused, steps.made] }}"
""",
    )
    assert [(record["status"], record["via"]) for record in report.output] == [
        ("done", "call"),
        ("failed", None),
        ("unknown", None),
        ("done", "value"),
        ("skipped", None),
        ("skipped", None),
        ("done", "call"),
        ("partial", "call"),
        ("done", "call"),
        ("done", "call"),
    ]
    inner = [item for record in report.output for item in record["items"] if "key" not in item]
    assert {tuple(record) for record in [*report.output, *inner]} == {tuple(RECORD)}


def test_partial_read_map_has_what_was_got_and_makes_the_run_partial(servers: Servers) -> None:
    servers.resources = {"a://one": "text", "b://two": down("b")}
    report = run(
        servers,
        "steps: {s: {read: {one: 'a://one', two: 'b://two'}}}\n"
        "output: {data: '${{ s }}', ok: '${{ steps.s.ok }}', missing: '${{ steps.s.missing }}'}",
    )
    assert report.status == "partial"
    assert report.output == {"data": {"one": "text"}, "ok": False, "missing": ["two"]}
    assert report.missing == ("s[two]",)


def test_a_read_list_with_gaps_keeps_its_length_and_its_records_in_order(servers: Servers) -> None:
    servers.resources = {"a://one": "text", "b://two": down("b"), "c://three": "more"}
    report = run(servers, "steps: {s: {read: ['a://one', 'b://two', 'c://three']}}\noutput: {data: '${{ s }}'}")
    assert report.output == {"data": ["text", None, "more"]}
    assert [item["status"] for item in report.step("s").items] == ["done", "failed", "done"]


def test_a_read_that_gets_nothing_is_failed_and_the_run_goes_on_by_default(servers: Servers) -> None:
    servers.resources = {"a://one": down("a"), "b://two": down("b")}
    report = run(servers, "steps: {s: {read: {one: 'a://one', two: 'b://two'}}}")
    assert (report.status, statuses(report)) == ("partial", {"s": "failed"})


def test_failed_has_no_data_and_says_whether_it_may_have_acted(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: broken("a", "no such thing")
    report = run(servers, "steps: {s: {call: a.x, on_error: continue}}\noutput: {record: '${{ steps.s }}'}")
    assert report.status == "partial"
    assert report.output["record"] == {
        **RECORD,
        "ok": False,
        "status": "failed",
        "reason": "no such thing",
        "via": None,
        "error": {"kind": "tool_error", "message": "no such thing", "server": "a", "sent": "yes", "retry_after": None},
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (lost(), "unknown"),
        (OutputSchemaMismatch("not that", server="a"), "unknown"),
        (broken("a"), "failed"),
        (ProtocolError("internal", server="a", code=-32603), "failed"),
        (ProtocolError("bad", server="a", code=-32602), "failed"),
        (down(), "failed"),
    ],
)
def test_a_failed_call_that_may_not_be_repeated_is_unknown_iff_it_may_have_acted(
    servers: Servers, error: Exception, status: str
) -> None:
    servers.tools["a.x"] = lambda _: error
    report = run(servers, "steps: {s: {call: a.x, on_error: continue}}")
    assert statuses(report) == {"s": status}


@pytest.mark.parametrize("error", [lost(), OutputSchemaMismatch("not that", server="a")])
def test_a_failed_call_that_may_be_repeated_is_failed_and_never_unknown(servers: Servers, error: Exception) -> None:
    servers.tools["a.x"] = lambda _: error
    servers.idempotent.add("a.x")
    report = run(servers, "steps: {s: {call: a.x, on_error: continue}}")
    assert statuses(report) == {"s": "failed"}


def test_skipped_by_if_is_the_authors_choice_and_leaves_the_run_complete(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {"v": 1}
    report = run(servers, "steps: {s: {call: a.x, if: 'false'}, t: {call: a.x, needs: [s]}}")
    assert (report.status, statuses(report)) == ("complete", {"s": "skipped", "t": "done"})
    assert report.step("s").reason == "if"


def test_a_step_that_needs_absent_data_is_skipped_and_says_whose(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: down()
    servers.tools["b.y"] = lambda _: {}
    report = run(
        servers,
        "steps: {s: {call: a.x, on_error: continue}, t: {call: b.y, with: {v: '${{ s.v }}'}}, "
        "u: {call: b.y, needs: [t]}}",
    )
    assert (report.status, statuses(report)) == ("partial", {"s": "failed", "t": "skipped", "u": "skipped"})
    assert (report.step("t").reason, report.step("u").reason) == ("missing: s", "missing: t")
    assert servers.count("b.y") == 0


def test_data_is_needed_only_when_evaluation_needs_it(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: down()
    servers.tools["b.y"] = lambda a: a
    report = run(
        servers,
        "steps: {s: {call: a.x, on_error: continue}, t: {call: b.y, with: {v: \"${{ steps.s.ok ? s.v : 'none' }}\"}}}",
    )
    assert statuses(report) == {"s": "failed", "t": "done"}
    assert servers.calls[-1] == ("b.y", {"v": "none"})


def test_what_was_pending_when_the_run_ends_is_skipped_as_stopped(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: broken("a")
    report = run(servers, "steps: {s: {call: a.x}, t: {call: a.x, needs: [s]}}")
    assert (report.status, statuses(report)) == ("failed", {"s": "failed", "t": "skipped"})
    assert report.step("t").reason == "stopped"


def test_a_read_in_flight_when_the_run_ends_is_cancelled(servers: Servers) -> None:
    async def slow(_: dict[str, Any]) -> object:
        await asyncio.sleep(100)
        return {}

    async def fails(_: dict[str, Any]) -> object:
        await asyncio.sleep(1)
        return broken("a")

    servers.tools = {"a.slow": slow, "a.fails": fails}
    servers.read_only.add("a.slow")
    report = run(servers, "steps: {s: {call: a.slow}, t: {call: a.fails}}")
    assert (report.status, statuses(report)) == ("failed", {"s": "cancelled", "t": "failed"})
    assert report.took == 1.0


@pytest.mark.parametrize("other", ["call: a.x", "read: 'a://one'"])
def test_a_step_that_had_only_just_begun_when_the_run_ends_is_cancelled(servers: Servers, other: str) -> None:
    servers.tools["a.x"] = lambda _: {}
    report = run(servers, f"steps: {{s: {{{other}}}, t: {{call: a.gone}}}}")
    assert (report.status, statuses(report), servers.calls) == ("failed", {"s": "cancelled", "t": "failed"}, [])


def test_a_write_in_flight_when_the_run_ends_is_left_to_finish(servers: Servers) -> None:
    async def slow(_: dict[str, Any]) -> object:
        await asyncio.sleep(100)
        return {"made": True}

    async def fails(_: dict[str, Any]) -> object:
        await asyncio.sleep(1)
        return broken("a")

    servers.tools = {"a.slow": slow, "a.fails": fails}
    report = run(servers, "steps: {s: {call: a.slow}, t: {call: a.fails}}")
    assert (report.status, statuses(report)) == ("failed", {"s": "done", "t": "failed"})
    assert report.took == 100.0


def test_a_missing_field_of_present_data_is_an_expression_error_not_a_skip(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {"v": 1}
    report = run(servers, "steps: {s: {call: a.x}, t: {call: a.x, with: {w: '${{ s.nothing }}'}, on_error: continue}}")
    error = report.step("t").error
    assert error is not None
    assert (report.step("t").status, error["kind"], error["sent"]) == ("failed", "expression", "no")
    assert servers.count("a.x") == 1


def test_an_empty_optional_omits_the_argument(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {"v": 1}
    report = run(servers, "steps: {s: {call: a.x}, t: {call: a.x, with: {w: '${{ s.?nothing }}', v: '${{ s.v }}'}}}")
    assert report.status == "complete"
    assert servers.calls[-1] == ("a.x", {"v": 1})


def test_arguments_are_plain_json_with_integral_numbers_as_integers_and_times_as_text(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {}
    run(
        servers,
        """
steps:
  s:
    call: a.x
    with:
      whole: "${{ 3.0 }}"
      half: "${{ 2.5 }}"
      list: "${{ [1.0, '1'] }}"
      at: "${{ timestamp('2026-11-22T10:00:00Z') }}"
      none: "${{ null }}"
      text: "${{ 3.0 }} ${{ true }}"
""",
    )
    assert repr(servers.calls[-1][1]) == repr(
        {
            "whole": 3,
            "half": 2.5,
            "list": [1, "1"],
            "at": "2026-11-22T10:00:00Z",
            "none": None,
            "text": "3 true",
        }
    )


def test_a_result_that_holds_an_expression_is_text(servers: Servers) -> None:
    servers.tools["a.x"] = lambda a: {"v": a.get("v", "${{ inputs.secret }}")}
    run(servers, "steps: {s: {call: a.x}, t: {call: a.x, with: {v: '${{ s.v }}'}}}")
    assert servers.calls[-1] == ("a.x", {"v": "${{ inputs.secret }}"})


def test_records_keep_raw_error_text_short(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: broken("a", "ä" * 5000)
    report = run(servers, "steps: {s: {call: a.x, on_error: continue}}")
    error = report.step("s").error
    assert error is not None
    assert len(error["message"].encode()) <= 2048 + len("…".encode())


# -- §2 dependencies and errors ---------------------------------------------------------------------------------------


def test_steps_without_dependencies_run_at_once_and_a_slow_one_holds_nobody_back(servers: Servers) -> None:
    order: list[str] = []

    def tool(name: str, seconds: float) -> Any:
        async def work(_: dict[str, Any]) -> object:
            await asyncio.sleep(seconds)
            order.append(name)
            return {"v": name}

        return work

    servers.tools = {f"a.{name}": tool(name, seconds) for name, seconds in (("slow", 50), ("one", 1), ("two", 1))}
    report = run(
        servers, "steps: {slow: {call: a.slow}, one: {call: a.one}, two: {call: a.two, with: {v: '${{ one.v }}'}}}"
    )
    assert order == ["one", "two", "slow"]
    assert report.took == 50.0


def test_reading_a_record_makes_a_dependency_and_never_skips(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: down(), "b.y": lambda a: a}
    report = run(
        servers,
        "steps: {s: {call: a.x, on_error: continue}, t: {call: b.y, with: {v: '${{ steps.s.status }}'}}}",
    )
    assert servers.calls == [("a.x", {}), ("b.y", {"v": "failed"})]
    assert report.status == "partial"


def test_if_is_evaluated_before_foreach_and_with(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {"go": False}
    report = run(
        servers,
        "steps: {s: {call: a.x}, t: {call: a.x, if: s.go, foreach: s.nothing, with: {v: '${{ s.nothing }}'}}}",
    )
    assert (report.status, report.step("t").reason) == ("complete", "if")


def test_needs_accepts_what_goes_on_and_refuses_what_does_not(servers: Servers) -> None:
    servers.tools = {
        "a.ok": lambda _: {},
        "a.bad": lambda _: broken("a"),
        "a.lost": lambda _: lost(),
        "a.each": lambda a: {} if a["n"] == 1 else broken("a"),
    }
    report = run(
        servers,
        """
steps:
  failed: {call: a.bad, on_error: continue}
  unknown: {call: a.lost, on_error: continue}
  gap: {call: a.ok, with: {v: '${{ failed.v }}'}}
  gap_goes_on: {call: a.ok, with: {v: '${{ failed.v }}'}, on_error: continue}
  partial: {call: a.each, foreach: '${{ [1, 2] }}', with: {n: '${{ item }}'}, on_error: continue}
  value: {call: a.bad, on_error: {value: 1}}
  after_failed: {call: a.ok, needs: [failed]}
  after_partial: {call: a.ok, needs: [partial, value]}
  after_unknown: {call: a.ok, needs: [unknown]}
  after_gap: {call: a.ok, needs: [gap]}
  after_gap_that_goes_on: {call: a.ok, needs: [gap_goes_on]}
""",
    )
    assert statuses(report) == {
        "failed": "failed",
        "unknown": "unknown",
        "gap": "skipped",
        "gap_goes_on": "skipped",
        "partial": "partial",
        "value": "done",
        "after_failed": "done",
        "after_partial": "done",
        "after_unknown": "done",
        "after_gap": "skipped",
        "after_gap_that_goes_on": "done",
    }


def test_a_failure_is_retried_before_anything_else(servers: Servers) -> None:
    answers = iter([down(), down(), {"v": 1}])
    servers.tools["a.x"] = lambda _: next(answers)
    report = run(servers, "steps: {s: {call: a.x, retry: {attempts: 3}, on_error: {value: {v: 2}}}}")
    assert (report.step("s").output, report.step("s").attempts, report.step("s").via) == ({"v": 1}, 3, "call")


@pytest.mark.parametrize(
    "error", [down(), CircuitOpen("open", server="a"), NeedsAuth("who?", server="a"), RateLimited("slow", server="a")]
)
def test_on_unavailable_comes_before_on_error_when_nothing_was_sent(servers: Servers, error: Exception) -> None:
    servers.tools = {"a.x": lambda _: error, "a.other": lambda _: {}}
    report = run(servers, "steps: {s: {call: a.x, on_unavailable: continue, on_error: {call: a.other}}}")
    assert (report.status, statuses(report), servers.count("a.other")) == ("partial", {"s": "failed"}, 0)


def test_on_unavailable_says_nothing_about_a_tool_that_failed(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: broken("a"), "a.other": lambda _: {}}
    report = run(servers, "steps: {s: {call: a.x, on_unavailable: continue, on_error: {call: a.other}}}")
    assert (report.status, report.step("s").via) == ("complete", "fallback")


def test_on_error_fail_is_the_default_and_ends_the_run(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: broken("a", "no")
    report = run(servers, "steps: {s: {call: a.x}}")
    assert report.status == "failed"
    assert report.failure is not None
    assert (report.failure["step"], report.failure["message"]) == ("s", "no")


def test_on_error_value_gives_data_keeps_the_run_complete_and_is_listed_as_degraded(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: broken("a")
    report = run(servers, "steps: {s: {call: a.x, on_error: {value: {v: 7}}}}\noutput: {v: '${{ s.v }}'}")
    assert (report.status, report.output, report.degraded) == ("complete", {"v": 7}, ("s",))
    assert (report.step("s").status, report.step("s").via) == ("done", "value")


def test_on_error_call_gives_the_fallbacks_data(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: broken("a"), "b.y": lambda a: {"v": a["k"]}}
    report = run(
        servers,
        "steps: {s: {call: a.x, on_error: {call: b.y, with: {k: '${{ steps.s.error.kind }}'}}}}\n"
        "output: {v: '${{ s.v }}'}",
    )
    assert (report.status, report.output, report.degraded) == ("complete", {"v": "tool_error"}, ("s",))
    assert report.step("s").via == "fallback"


def test_a_failed_fallback_fails_the_run(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: broken("a"), "b.y": lambda _: broken("b", "neither")}
    report = run(servers, "steps: {s: {call: a.x, on_error: {call: b.y}}}")
    assert (report.status, statuses(report)) == ("failed", {"s": "failed"})
    assert report.step("s").reason == "neither"


def test_the_whole_order_retry_reconcile_on_unavailable_on_error(servers: Servers) -> None:
    servers.tools = {
        "a.x": lambda _: lost(),
        "a.find": lambda _: {"found": False},
        "b.y": lambda _: {"v": 1},
    }
    report = run(
        servers,
        """
steps:
  s:
    call: a.x
    retry: {attempts: 2}
    reconcile: {call: a.find, happened: result.found}
    on_unavailable: continue
    on_error: {call: b.y}
""",
    )
    assert servers.names == ["a.x", "a.find", "a.x", "a.find", "b.y"]
    assert (report.status, report.step("s").via) == ("complete", "fallback")


def test_a_tool_unknown_to_the_host_fails_the_step_with_nothing_sent(servers: Servers) -> None:
    report = run(servers, "steps: {s: {call: a.gone, on_error: continue}}")
    error = report.step("s").error
    assert error is not None
    assert (error["kind"], error["sent"], servers.calls) == ("unknown_address", "no", [])


def test_prompts_set_and_wait_are_steps_like_others(servers: Servers) -> None:
    servers.tools["p.hello"] = lambda a: {"messages": a}
    report = run(
        servers,
        """
steps:
  pause: {wait: 30s}
  made: {set: {n: '${{ 1 + 2 }}'}, needs: [pause]}
output: {n: '${{ made.n }}', paused: '${{ steps.pause.ok }}'}
""",
    )
    assert (report.status, report.output, report.took) == ("complete", {"n": 3, "paused": True}, 30.0)


def test_cancelling_ends_every_read_and_leaves_writes_to_finish(servers: Servers) -> None:
    async def slow(_: dict[str, Any]) -> object:
        await asyncio.sleep(100)
        return {}

    servers.tools = {"a.read": slow, "a.write": slow, "a.never": slow}
    servers.read_only.add("a.read")
    from engine.engine_kit import now

    async def scenario() -> Any:
        workflow = flow("steps: {r: {call: a.read}, w: {call: a.write}, n: {call: a.never, needs: [w]}}")
        one = Run(workflow, dispatch=servers, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.drive())
            await asyncio.sleep(5)
            one.cancel("somebody")
        return task.result()

    report = virtually(scenario())
    assert (report.status, statuses(report)) == ("cancelled", {"r": "cancelled", "w": "done", "n": "skipped"})
    assert servers.count("a.never") == 0


def test_abandoning_a_run_ends_every_call(servers: Servers) -> None:
    ended: list[str] = []

    async def slow(_: dict[str, Any]) -> object:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append("x")
        return {}

    servers.tools = {"a.x": slow}

    async def scenario() -> None:
        task = asyncio.ensure_future(arun(servers, "steps: {s: {call: a.x}, t: {call: a.x}}"))
        await asyncio.sleep(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtually(scenario())
    assert ended == ["x", "x"]


def test_tool_error_is_data_about_the_tool(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: ToolError("quota", server="a", tool="x")
    report = run(servers, "steps: {s: {call: a.x, on_error: continue}}\noutput: {why: '${{ steps.s.reason }}'}")
    assert report.output == {"why": "quota"}
