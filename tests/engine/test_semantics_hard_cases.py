"""SEMANTICS §3 and §5, row by row: unknown outcomes, undo, cancel, nesting, foreach, approvals, deadlines, resume."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine.engine_kit import START, Servers, arun, broken, flow, now, run, statuses, virtually
from motet.calls import Answer, Asked, Call, Outcome, Question, ToolResult
from motet.engine.memory import Run, run_workflow
from motet.engine.report import Report
from motet.errors import ConnectionLost, RunError, ServerUnavailable, UnusableAnswer, WorkflowError


def down(server: str = "a") -> ServerUnavailable:
    return ServerUnavailable("it is down", server=server)


def lost(server: str = "a") -> ConnectionLost:
    return ConnectionLost("cut off", server=server)


def slow(seconds: float, answer: Any) -> Callable[[dict[str, Any]], Any]:
    async def work(_: dict[str, Any]) -> Any:
        await asyncio.sleep(seconds)
        return answer

    return work


def unreadable(_: dict[str, Any]) -> ToolResult:
    """An answer that was too large to be decoded when it came, and cannot be."""

    def decode(_: object) -> dict[str, Any]:
        raise UnusableAnswer("the answer cannot be read as JSON", server="a")

    return ToolResult(b"", decode=decode)


def iter_of(*answers: Any) -> Callable[[dict[str, Any]], Any]:
    """A tool that answers each call with the next of these."""
    left = iter(answers)
    return lambda _: next(left)


# -- unknown outcomes -------------------------------------------------------------------------------------------------


def test_a_large_answer_that_turns_out_to_be_unusable_costs_its_own_step(servers: Servers) -> None:
    servers.tools = {"a.look": unreadable, "a.act": unreadable}
    servers.read_only.add("a.look")
    report = run(servers, "steps: {s: {call: a.look, on_error: continue}, t: {call: a.act, on_error: continue}}")
    assert (report.status, statuses(report)) == ("partial", {"s": "failed", "t": "unknown"})
    assert [step.error["kind"] for step in report.steps if step.error] == ["unusable_answer"] * 2


def test_a_blob_that_is_no_base64_is_missing_and_the_rest_is_read(servers: Servers) -> None:
    servers.resources = {"a:x": [{"uri": "a:x", "blob": "eHh4A"}], "a:y": "fine"}
    report = run(servers, "steps: {s: {read: {x: 'a:x', y: 'a:y'}}}\noutput: {y: '${{ s.y }}'}")
    assert (report.status, report.output, report.step("s").missing) == ("partial", {"y": "fine"}, ("x",))
    assert [item["reason"] for item in report.step("s").items] == ["its blob is not base64", None]


def test_unknown_with_fail_in_memory_fails_the_run_with_attention(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: lost()
    report = run(servers, "steps: {s: {call: a.x}}")
    assert (report.status, statuses(report), servers.count("a.x")) == ("failed", {"s": "unknown"}, 1)
    assert [(left.step, left.what) for left in report.attention] == [("s", "unknown")]


def test_unknown_with_continue_stays_unknown_is_never_repeated_and_wants_attention(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: lost()
    report = run(servers, "steps: {s: {call: a.x, on_error: continue, retry: {attempts: 5}}}")
    assert (report.status, statuses(report), servers.count("a.x")) == ("partial", {"s": "unknown"}, 1)
    assert [left.what for left in report.attention] == ["unknown"]


def test_unknown_with_a_value_gives_the_value_and_stays_unknown(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: lost()
    report = run(servers, "steps: {s: {call: a.x, on_error: {value: 5}}}\noutput: {v: '${{ s }}'}")
    assert (report.status, statuses(report), report.output) == ("partial", {"s": "unknown"}, {"v": 5})
    assert [left.what for left in report.attention] == ["unknown"]


def test_a_fallback_call_after_an_unknown_outcome_is_refused_without_reconcile(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: lost(), "b.y": lambda _: {}}
    report = run(servers, "steps: {s: {call: a.x, on_error: {call: b.y}}}")
    assert (report.status, statuses(report), servers.count("b.y")) == ("failed", {"s": "unknown"}, 0)


def test_reconcile_that_finds_the_effect_makes_the_step_done(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: lost(), "a.find": lambda a: {"items": [{"id": 7}], "asked": a}}
    report = run(
        servers,
        """
inputs: {name: {type: string}}
steps:
  s:
    call: a.x
    reconcile:
      call: a.find
      with: {name: "${{ inputs.name }}"}
      happened: size(result.items) > 0
      data: "${{ result.items[0] }}"
output: {id: "${{ s.id }}"}
""",
        {"name": "n"},
    )
    assert (report.status, report.output, report.step("s").via) == ("complete", {"id": 7}, "reconcile")
    assert servers.calls == [("a.x", {}), ("a.find", {"name": "n"})]


def test_reconcile_that_proves_no_effect_lets_the_call_be_sent_again(servers: Servers) -> None:
    answers = iter([lost(), {"v": 1}])
    servers.tools = {"a.x": lambda _: next(answers), "a.find": lambda _: {"found": False}}
    report = run(servers, "steps: {s: {call: a.x, reconcile: {call: a.find, happened: result.found}}}")
    assert (report.status, servers.names) == ("complete", ["a.x", "a.find", "a.x"])


def test_reconcile_that_fails_leaves_the_outcome_unknown(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: lost(), "a.find": lambda _: down(), "b.y": lambda _: {}}
    report = run(
        servers,
        "steps: {s: {call: a.x, reconcile: {call: a.find, happened: result.found}, on_error: {call: b.y}}}",
    )
    assert (report.status, statuses(report), servers.count("b.y")) == ("failed", {"s": "unknown"}, 0)


# -- undo -------------------------------------------------------------------------------------------------------------


def test_undo_goes_newest_finish_first_and_one_at_a_time(servers: Servers) -> None:
    servers.tools = {
        "a.slow": slow(20, {"id": "slow"}),
        "a.quick": slow(5, {"id": "quick"}),
        "a.last": lambda _: {"id": "last"},
        "a.fail": lambda _: broken("a"),
        "a.undo": slow(3, {}),
    }
    undo = "undo: {call: a.undo, with: {id: '${{ NAME.id }}'}}"
    report = run(
        servers,
        f"""
steps:
  slow: {{call: a.slow, {undo.replace("NAME", "slow")}}}
  quick: {{call: a.quick, {undo.replace("NAME", "quick")}}}
  last: {{call: a.last, needs: [slow], {undo.replace("NAME", "last")}}}
  fail: {{call: a.fail, needs: [last]}}
""",
    )
    assert report.status == "failed"
    assert [a["id"] for name, a in servers.calls if name == "a.undo"] == ["last", "slow", "quick"]
    assert report.took == 20 + 3 * 3
    assert servers.most_in_flight == 2
    assert set(report.undone) == {"slow", "quick", "last"}
    assert {name: report.step(name).status for name in ("slow", "quick", "last")} == dict.fromkeys(
        ("slow", "quick", "last"), "done"
    )


def test_a_failed_undo_is_recorded_and_the_rest_go_on(servers: Servers) -> None:
    servers.tools = {
        "a.x": lambda _: {"id": 1},
        "a.fail": lambda _: broken("a"),
        "a.bad": lambda _: broken("a", "cannot"),
        "a.undo": lambda _: {},
    }
    report = run(
        servers,
        """
steps:
  one: {call: a.x, undo: {call: a.undo}}
  two: {call: a.x, needs: [one], undo: {call: a.bad, with: {id: "${{ two.id }}"}}}
  three: {call: a.fail, needs: [two]}
""",
    )
    assert (report.status, report.undone) == ("failed", ("one",))
    assert [(left.step, left.what, left.command) for left in report.attention] == [
        ("two", "undo failed", "motet call a.bad id:=1")
    ]


def test_an_unknown_step_is_undone_only_when_the_file_says_maybe(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: lost(), "a.undo": lambda _: {}}
    no = run(servers, "steps: {s: {call: a.x, undo: {call: a.undo}}}")
    assert (servers.count("a.undo"), no.step("s").undo) == (0, "unknown")
    assert [left.what for left in no.attention] == ["unknown"]
    yes = run(servers, "steps: {s: {call: a.x, undo: {call: a.undo, when: maybe}}}")
    assert (servers.count("a.undo"), yes.step("s").undo) == (1, "done")


def test_undo_of_an_unknown_step_looks_first(servers: Servers) -> None:
    looks = iter([down(), {"found": True, "id": 9}])
    servers.tools = {"a.x": lambda _: lost(), "a.find": lambda _: next(looks), "a.undo": lambda _: {}}
    report = run(
        servers,
        """
steps:
  s:
    call: a.x
    reconcile: {call: a.find, happened: result.found}
    undo: {call: a.undo, with: {id: "${{ s.id }}"}}
""",
    )
    assert servers.calls[-1] == ("a.undo", {"id": 9})
    assert (report.status, report.step("s").undo, report.attention) == ("failed", "done", ())


def test_an_undo_that_needs_data_nobody_has_is_left_to_a_person_with_the_command(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: broken("a"), "a.undo": lambda _: {}}
    report = run(
        servers, "steps: {s: {call: a.x, undo: {call: a.undo, when: maybe, with: {id: '${{ s.id }}', env: test}}}}"
    )
    assert servers.count("a.undo") == 0
    assert [(left.what, left.reason, left.command) for left in report.attention] == [
        ("undo unknown", "missing: s", "motet call a.undo id=… env=…")
    ]


def test_an_undo_reads_what_came_later_without_waiting_for_it_and_has_its_steps_retries(servers: Servers) -> None:
    servers.tools = {
        "a.x": lambda _: {"id": 1},
        "a.undo": iter_of(down(), down(), {}),
        "a.fail": lambda _: broken("a"),
    }
    report = run(
        servers,
        """
steps:
  s: {call: a.x, retry: 3, undo: {call: a.undo, with: {also: "${{ t.id }}"}}}
  t: {call: a.x, with: {of: "${{ s.id }}"}}
  fail: {call: a.fail, needs: [t]}
""",
    )
    assert (report.status, servers.calls[-1], report.undone) == ("failed", ("a.undo", {"also": 1}), ("s",))


def test_undo_of_a_failed_write_that_may_have_acted_needs_maybe(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: broken("a"), "a.undo": lambda _: {}}
    report = run(servers, "steps: {s: {call: a.x, undo: {call: a.undo}}}")
    assert [(left.what, left.command) for left in report.attention] == [("undo unknown", "motet call a.undo")]
    run(servers, "steps: {s: {call: a.x, undo: {call: a.undo, when: maybe}}}")
    assert servers.count("a.undo") == 1


def test_a_failed_call_that_was_never_sent_is_not_undone(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: down(), "a.undo": lambda _: {}}
    report = run(servers, "steps: {s: {call: a.x, undo: {call: a.undo, when: maybe}}}")
    assert (servers.count("a.undo"), report.attention) == (0, ())


def test_a_partial_or_complete_run_undoes_nothing(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.bad": lambda _: broken("a"), "a.undo": lambda _: {}}
    run(servers, "steps: {s: {call: a.x, undo: {call: a.undo}}, t: {call: a.bad, on_error: continue}}")
    assert servers.count("a.undo") == 0


def test_cancel_during_compensation_finishes_the_current_undo_and_leaves_the_rest_pending(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.fail": lambda _: broken("a"), "a.undo": slow(10, {})}
    text = """
steps:
  one: {call: a.x, undo: {call: a.undo}}
  two: {call: a.x, needs: [one], undo: {call: a.undo}}
  fail: {call: a.fail, needs: [two]}
"""

    async def scenario() -> Report:
        one = Run(flow(text), dispatch=servers, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.drive())
            await asyncio.sleep(5)
            one.cancel()
        return task.result()

    report = virtually(scenario())
    assert (report.status, servers.count("a.undo")) == ("cancelled", 1)
    assert (report.step("one").undo, report.step("two").undo) == ("pending", "done")
    assert [(left.step, left.what) for left in report.attention] == [("one", "undo pending")]


def test_cancel_undoes_what_was_done(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.slow": slow(50, {}), "a.undo": lambda _: {}}

    async def scenario() -> Report:
        text = "steps: {one: {call: a.x, undo: {call: a.undo}}, two: {call: a.slow, needs: [one]}}"
        one = Run(flow(text), dispatch=servers, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.drive())
            await asyncio.sleep(5)
            one.cancel()
            one.cancel()
        return task.result()

    report = virtually(scenario())
    assert (report.status, report.undone) == ("cancelled", ("one",))


def test_a_write_that_waits_for_its_turn_when_the_run_ends_is_cancelled_without_effect(servers: Servers) -> None:
    servers.tools = {"a.x": slow(100, {}), "a.fail": slow(1, broken("a"))}

    async def attempt(call: Call) -> Outcome:
        if call.name == "x":
            await asyncio.sleep(50)  # in the host's queue: not written yet
        return await Servers.attempt(servers, call)

    servers.attempt = attempt
    report = run(servers, "steps: {s: {call: a.x}, t: {call: a.fail}}")
    assert (report.status, report.step("s").status, report.took) == ("failed", "cancelled", 1.0)
    assert servers.count("a.x") == 0


# -- nested workflows -------------------------------------------------------------------------------------------------

INNER = """
inputs: {n: {type: integer, default: 1}}
steps:
  made: {call: a.make, with: {n: "${{ inputs.n }}"}, undo: {call: a.unmake, with: {n: "${{ inputs.n }}"}}}
  rest: {call: a.rest, needs: [made], ON}
output: {n: "${{ made.n }}", rest: "${{ steps.rest.ok }}"}
"""


def nested(on: str = "on_error: continue") -> str:
    return INNER.replace("ON", on)


def test_a_nested_run_gives_its_output_as_data(servers: Servers) -> None:
    servers.tools = {"a.make": lambda a: a, "a.rest": lambda _: {}}
    workflow = flow("steps: {s: {run: inner.yaml, with: {n: 4}}}\noutput: {n: '${{ s.n }}'}", inner=nested())
    report = run(servers, workflow)
    assert (report.status, report.output) == ("complete", {"n": 4})
    assert statuses(report) == {"s": "done", "s/made": "done", "s/rest": "done"}


def test_a_partial_nested_run_makes_its_step_and_its_parent_partial(servers: Servers) -> None:
    servers.tools = {"a.make": lambda a: a, "a.rest": lambda _: down()}
    report = run(servers, flow("steps: {s: {run: inner.yaml}}\noutput: {rest: '${{ s.rest }}'}", inner=nested()))
    assert (report.status, report.output, report.step("s").status) == ("partial", {"rest": False}, "partial")


def test_a_failed_nested_run_undoes_itself_and_fails_its_step(servers: Servers) -> None:
    servers.tools = {"a.make": lambda a: a, "a.rest": lambda _: broken("a"), "a.unmake": lambda _: {}}
    report = run(servers, flow("steps: {s: {run: inner.yaml, on_error: continue}}", inner=nested("on_error: fail")))
    assert (report.status, report.step("s").status, report.undone) == ("partial", "failed", ("s/made",))


def test_a_nested_run_that_waits_makes_its_step_and_its_parent_wait(servers: Servers) -> None:
    workflow = flow("steps: {s: {run: inner.yaml}}", inner="steps: {ok: {approval: {message: go}}}")

    async def scenario() -> Report:
        async def nobody(question: Question) -> Answer | None:
            await asyncio.sleep(1000)
            return Answer("accept")

        one = Run(workflow, dispatch=servers, now=now, ask=nobody)
        async with asyncio.TaskGroup() as group:
            group.create_task(one.drive())
            await asyncio.sleep(1)
            return one.report()

    report = virtually(scenario())
    assert (report.status, statuses(report)) == ("waiting", {"s": "waiting", "s/ok": "waiting"})


def test_the_parents_undo_of_a_finished_nested_run_is_its_undo_list(servers: Servers) -> None:
    servers.tools = {
        "a.make": lambda a: a,
        "a.rest": lambda _: {},
        "a.unmake": lambda _: {},
        "a.fail": lambda _: broken("a"),
    }
    text = "steps: {s: {run: inner.yaml, with: {n: 3}}, t: {call: a.fail, needs: [s]}}"
    report = run(servers, flow(text, inner=nested()))
    assert servers.calls[-1] == ("a.unmake", {"n": 3})
    assert (report.status, report.step("s").undo, report.step("s/made").undo) == ("failed", "done", "done")


def test_a_nested_run_that_failed_has_undone_itself_and_is_not_undone_again(servers: Servers) -> None:
    servers.tools = {
        "a.make": lambda a: a,
        "a.rest": lambda _: broken("a"),
        "a.unmake": lambda _: broken("a", "cannot"),
        "a.fail": lambda _: broken("a"),
    }
    text = "steps: {s: {run: inner.yaml, on_error: {value: {n: 0}}}, t: {call: a.fail, needs: [s]}}"
    report = run(servers, flow(text, inner=nested("on_error: fail")))
    assert (report.status, servers.count("a.unmake")) == ("failed", 1)
    assert [(left.step, left.what) for left in report.attention] == [("s/made", "undo failed")]


def test_a_run_steps_own_undo_takes_the_place_of_the_nested_undo_list(servers: Servers) -> None:
    servers.tools = {
        "a.make": lambda a: a,
        "a.rest": lambda _: {},
        "a.unmake": lambda _: {},
        "b.undo": lambda _: {},
        "a.fail": lambda _: broken("a"),
    }
    text = "steps: {s: {run: inner.yaml, undo: {call: b.undo, with: {n: '${{ s.n }}'}}}, t: {call: a.fail, needs: [s]}}"
    run(servers, flow(text, inner=nested()))
    assert (servers.calls[-1], servers.count("a.unmake")) == (("b.undo", {"n": 1}), 0)


def test_a_nested_run_that_is_stopped_undoes_itself(servers: Servers) -> None:
    servers.tools = {
        "a.make": lambda a: a,
        "a.rest": slow(30, {}),
        "a.unmake": lambda _: {},
        "a.fail": slow(5, broken("a")),
    }
    report = run(servers, flow("steps: {s: {run: inner.yaml}, t: {call: a.fail}}", inner=nested()))
    assert (report.status, report.step("s").status, report.undone) == ("failed", "cancelled", ("s/made",))


# -- foreach ----------------------------------------------------------------------------------------------------------


def test_foreach_with_fail_starts_no_more_items_and_undoes_the_finished(servers: Servers) -> None:
    servers.tools = {
        "a.x": lambda a: broken("a") if a["n"] == 3 else {"id": a["n"]},
        "a.undo": lambda _: {},
    }
    report = run(
        servers,
        """
steps:
  s:
    call: a.x
    foreach: "${{ [1, 2, 3, 4, 5] }}"
    concurrency: 1
    with: {n: "${{ item }}"}
    undo: {call: a.undo, with: {id: "${{ s.id }}", n: "${{ item }}"}}
""",
    )
    assert [a["n"] for name, a in servers.calls if name == "a.x"] == [1, 2, 3]
    assert [a for name, a in servers.calls if name == "a.undo"] == [{"id": 2, "n": 2}, {"id": 1, "n": 1}]
    assert (report.status, report.step("s").status) == ("failed", "failed")
    assert [item["status"] for item in report.step("s").items] == ["done", "done", "failed", "skipped", "skipped"]


def test_foreach_with_continue_is_partial_with_null_at_the_gaps(servers: Servers) -> None:
    servers.tools["a.x"] = lambda a: broken("a") if a["n"] == 2 else a["n"] * 10
    report = run(
        servers,
        "steps: {s: {call: a.x, foreach: '${{ [1, 2, 3] }}', as: n, with: {n: '${{ n }}'}, on_error: continue}}\n"
        "output: {data: '${{ s }}', missing: '${{ steps.s.missing }}'}",
    )
    assert (report.status, report.output) == ("partial", {"data": ["10", None, "30"], "missing": ["1"]})


def test_foreach_over_nothing_is_done_with_an_empty_list(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {}
    report = run(servers, "steps: {s: {call: a.x, foreach: '${{ [] }}'}}\noutput: {s: '${{ s }}'}")
    assert (report.status, report.output, servers.calls) == ("complete", {"s": []}, [])


def test_foreach_keys_include_the_index(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {}
    servers.keyed.add("a.x")
    run(servers, "steps: {s: {call: a.x, foreach: '${{ [1, 1, 1] }}'}}")
    assert len({call.key for call in servers.sent}) == 3


def test_foreach_concurrency_bounds_its_items(servers: Servers) -> None:
    servers.tools["a.x"] = slow(1, {})
    report = run(servers, "steps: {s: {call: a.x, foreach: '${{ [1,2,3,4,5,6,7] }}', concurrency: 3}}")
    assert (servers.most_in_flight, report.took) == (3, 3.0)


def test_workflow_concurrency_bounds_its_steps(servers: Servers) -> None:
    servers.tools["a.x"] = slow(1, {})
    report = run(servers, "concurrency: 2\nsteps: {s: {call: a.x}, t: {call: a.x}, u: {call: a.x}}")
    assert (servers.most_in_flight, report.took) == (2, 2.0)


# -- approvals and questions ------------------------------------------------------------------------------------------

APPROVED = """
steps:
  made: {set: {n: 5}}
  ok: {approval: {message: "Deploy ${{ made.n }}?", timeout: 1h}}
  go: {call: a.x, with: {n: "${{ made.n }}"}, needs: [ok]}
  other: {call: a.y, needs: [made]}
"""


def asking(answer: Answer | None, asked: list[Question] | None = None, after: float = 0.0) -> Any:
    async def ask(question: Question) -> Answer | None:
        if asked is not None:
            asked.append(question)
        await asyncio.sleep(after)
        return answer

    return ask


def test_an_approved_step_goes_on(servers: Servers) -> None:
    servers.tools = {"a.x": lambda a: a, "a.y": lambda _: {}}
    asked: list[Question] = []
    report = run(servers, APPROVED, ask=asking(Answer("accept", {"by": "ann"}), asked))
    assert (report.status, [q.message for q in asked]) == ("complete", ['Deploy 5?\n  then go: {"n":5}'])
    assert report.step("ok").output == {"approved": True, "by": "ann", "note": ""}


def test_a_rejected_approval_fails_and_always_skips_the_steps_that_need_it(servers: Servers) -> None:
    servers.tools = {"a.x": lambda a: a, "a.y": lambda _: {}}
    failed = run(servers, APPROVED, ask=asking(Answer("decline", {"note": "not today"})))
    error = failed.step("ok").error
    assert error is not None
    assert (failed.status, error["kind"], error["message"]) == ("failed", "rejected", "rejected: not today")
    goes_on = APPROVED.replace("timeout: 1h}}", "timeout: 1h}, on_error: continue}")
    partial = run(servers, goes_on, ask=asking(Answer("decline")))
    assert (partial.status, partial.step("go").reason, partial.step("other").status) == (
        "partial",
        "missing: ok",
        "done",
    )
    assert servers.count("a.x") == 0


def test_an_approval_that_nobody_gives_in_time_is_expired(servers: Servers) -> None:
    servers.tools = {"a.x": lambda a: a, "a.y": lambda _: {}}
    report = run(servers, APPROVED, ask=asking(Answer("accept"), after=7200))
    error = report.step("ok").error
    assert error is not None
    assert (report.status, error["kind"], report.took, servers.count("a.x")) == ("failed", "expired", 3600.0, 0)
    goes_on = APPROVED.replace("timeout: 1h}}", "timeout: 1h}, on_error: continue}")
    partial = run(servers, goes_on, ask=asking(Answer("accept"), after=7200))
    assert (partial.status, partial.step("go").reason, servers.count("a.x")) == ("partial", "missing: ok", 0)


def test_an_approval_in_memory_with_nobody_to_ask_is_unanswered(servers: Servers) -> None:
    servers.tools = {"a.x": lambda a: a, "a.y": lambda _: {}}
    report = run(servers, APPROVED)
    error = report.step("ok").error
    assert error is not None
    assert (report.status, error["kind"]) == ("failed", "unanswered")


def test_a_servers_question_is_answered_in_place_and_the_same_round_repeated(servers: Servers) -> None:
    def tool(arguments: dict[str, Any]) -> Any:
        answered = arguments.get("_round")
        if answered is None:
            return Asked((Question("a", "elicitation", "Which?", key="q1"),), state="s1")
        return {"state": answered.state, "answers": answered.answers}

    servers.tools["a.x"] = tool
    report = run(servers, "steps: {s: {call: a.x}}", ask=asking(Answer("accept", {"v": 1})))
    assert report.step("s").output == {"state": "s1", "answers": {"q1": {"action": "accept", "content": {"v": 1}}}}


@pytest.mark.parametrize(
    ("text", "asker", "via", "undo"),
    [
        ("{call: a.x, undo: {call: a.back}}, t: {call: a.broken, needs: [s]}", "a.back", "call", "done"),
        ("{call: a.broken, on_error: {call: a.back}}", "a.back", "fallback", "none"),
        ("{call: a.lost, reconcile: {call: a.back, happened: result.found}}", "a.back", "reconcile", "none"),
    ],
)
def test_questions_of_undo_fallback_and_reconcile_are_answered_in_place_too(
    servers: Servers, text: str, asker: str, via: str, undo: str
) -> None:
    def asks(arguments: dict[str, Any]) -> Any:
        if "_round" not in arguments:
            return Asked((Question("a", "elicitation", "Sure?", key="q"),), state="s1")
        return {"found": arguments["_round"].answers == {"q": {"action": "accept", "content": {"v": 1}}}}

    servers.tools = {
        "a.x": lambda _: {},
        "a.broken": lambda _: broken("a"),
        "a.lost": lambda _: ConnectionLost("cut", server="a", sent="unknown"),
        asker: asks,
    }
    report = run(servers, f"steps: {{s: {text}}}", ask=asking(Answer("accept", {"v": 1})))
    step = report.step("s")
    assert (step.status, step.via, step.undo, servers.count(asker)) == ("done", via, undo, 2)


def test_a_question_that_nobody_answers_fails_the_step_with_nothing_done(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: Asked((Question("a", "elicitation", "Which?", key="q1"),))
    report = run(servers, "steps: {s: {call: a.x}}")
    error = report.step("s").error
    assert error is not None
    assert (report.status, error["kind"], error["sent"]) == ("failed", "unanswered", "no")


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_a_steps_timeout_covers_all_its_attempts(servers: Servers) -> None:
    servers.tools["a.x"] = slow(100, {})
    servers.read_only.add("a.x")
    report = run(servers, "steps: {s: {call: a.x, timeout: 10s, on_error: continue}}")
    assert (report.took, report.step("s").status) == (10.0, "failed")


def test_a_steps_timeout_does_not_count_while_it_waits_for_its_server(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: down() if now() < START + 60 else {"v": 1}
    report = run(servers, "steps: {s: {call: a.x, timeout: 10s, on_unavailable: {defer: 1h}}}")
    assert (report.status, report.step("s").output) == ("complete", {"v": 1})


def test_a_workflows_timeout_is_wall_time_over_everything_then_undo_then_finally(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.undo": slow(60, {}), "a.slow": slow(100, {}), "a.end": slow(60, {})}
    report = run(
        servers,
        """
timeout: 30s
steps:
  one: {call: a.x, undo: {call: a.undo}}
  two: {call: a.slow, needs: [one], on_error: continue}
  pause: {wait: 20s}
finally:
  end: {call: a.end}
""",
    )
    assert report.failure is not None
    assert (report.status, report.failure["kind"], report.undone) == ("failed", "deadline", ("one",))
    assert (report.step("finally:end").status, report.took) == ("done", 30.0 + 60.0 + 60.0)


def test_undo_and_finally_have_their_own_bound(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.fail": lambda _: broken("a"), "a.hang": slow(10_000, {})}
    report = run(
        servers,
        """
steps:
  one: {call: a.x, undo: {call: a.hang}}
  two: {call: a.fail, needs: [one]}
finally:
  end: {call: a.hang, on_error: continue}
  never: {call: a.x, needs: [end]}
""",
    )
    assert (report.status, report.took) == ("failed", 1200.0)
    assert report.step("one").undo == "unknown"


def test_defer_waits_for_the_server_and_goes_on_when_it_is_back(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: down() if now() < START + 60 else {"v": 1}
    report = run(servers, "steps: {s: {call: a.x, on_unavailable: {defer: 1h}}}")
    assert (report.status, report.step("s").output) == ("complete", {"v": 1})


def test_a_server_that_is_back_is_tried_at_once(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: down() if now() < START + 2 else {"v": 1}

    async def scenario() -> Report:
        one = Run(flow("steps: {s: {call: a.x, on_unavailable: {defer: 1h}}}"), dispatch=servers, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.drive())
            await asyncio.sleep(2)
            one.server_back("other")
            one.server_back("a")
        return task.result()

    report = virtually(scenario())
    assert (report.status, report.took, servers.count("a.x")) == ("complete", 2.0, 2)


def test_defer_gives_way_to_on_error_when_the_server_never_returns(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: down()
    report = run(servers, "steps: {s: {call: a.x, on_unavailable: {defer: 1h}, on_error: {value: 3}}}")
    assert (report.status, report.step("s").output, report.took) == ("complete", 3, 3600.0)


def test_a_waiting_step_holds_no_place(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}}
    report = run(servers, "concurrency: 1\nsteps: {w: {wait: 1h}, s: {call: a.x}, t: {call: a.x}}")
    assert report.step("t").settled == START


# -- finally ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "status"), [({}, "complete"), (broken("a"), "failed")])
def test_finally_runs_after_success_and_failure_and_sees_how_it_went(
    servers: Servers, answer: Any, status: str
) -> None:
    servers.tools = {"a.x": lambda _: answer, "a.end": lambda a: a}
    report = run(
        servers,
        "steps: {s: {call: a.x}}\nfinally: {end: {call: a.end, with: {ok: '${{ steps.s.ok }}'}}}",
    )
    assert (report.status, servers.calls[-1]) == (status, ("a.end", {"ok": status == "complete"}))


def test_finally_runs_after_a_cancel(servers: Servers) -> None:
    servers.tools = {"a.x": slow(10, {}), "a.end": lambda a: a}

    async def scenario() -> Report:
        one = Run(flow("steps: {s: {call: a.x}}\nfinally: {end: {call: a.end}}"), dispatch=servers, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.drive())
            await asyncio.sleep(5)
            one.cancel()
        return task.result()

    report = virtually(scenario())
    assert (report.status, servers.count("a.end")) == ("cancelled", 1)


def test_a_failure_under_finally_fails_the_run_and_leaves_the_others_there_alone(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "a.bad": lambda _: broken("a")}
    report = run(servers, "steps: {s: {call: a.x, undo: {call: a.x}}}\nfinally: {one: {call: a.bad}, two: {call: a.x}}")
    assert (report.status, report.step("finally:two").status, report.undone) == ("failed", "done", ())


# -- how a run ends (SEMANTICS §5) ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "cancel", "status"),
    [
        ("s: {call: a.x}, i: {call: a.x, if: 'false'}", False, "complete"),
        ("s: {call: a.bad, on_error: {value: 1}}", False, "complete"),
        ("s: {call: a.bad, on_error: continue}", False, "partial"),
        ("s: {call: a.lost, on_error: continue}", False, "partial"),
        ("s: {call: a.x, foreach: '${{ [0, 1] }}', with: {n: '${{ 1/item }}'}, on_error: continue}", False, "partial"),
        ("s: {call: a.bad, on_error: continue}, t: {call: a.bad}", False, "failed"),
        ("s: {call: a.soon}, t: {call: a.slow}", True, "cancelled"),
        ("s: {call: a.bad, on_error: continue}, t: {call: a.slow}", True, "cancelled"),
        ("s: {call: a.slow}", True, "cancelled"),
    ],
)  # fmt: skip
def test_cancelled_comes_before_failed_before_partial_before_complete(
    servers: Servers, steps: str, cancel: bool, status: str
) -> None:
    servers.tools = {
        "a.x": lambda _: {},
        "a.bad": lambda _: broken("a"),
        "a.lost": lambda _: lost(),
        "a.soon": slow(1, broken("a")),
        "a.slow": slow(20, {}),
    }

    async def scenario() -> Report:
        one = Run(flow(f"steps: {{{steps}}}"), dispatch=servers, now=now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(one.drive())
            await asyncio.sleep(10)
            if cancel:
                one.cancel()
        return task.result()

    assert virtually(scenario()).status == status


# -- keys, output, inputs ---------------------------------------------------------------------------------------------


def test_the_idempotency_key_is_the_same_for_the_same_run_and_step_and_can_be_given(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {}
    servers.keyed.add("a.x")
    text = "steps: {s: {call: a.x}, t: {call: a.x, idempotency_key: 'mine-${{ inputs.n }}'}}"
    first = "inputs: {n: {type: integer}}\n" + text
    run(servers, first, {"n": 1})
    run(servers, first, {"n": 1})
    keys = [call.key for call in servers.sent]
    assert keys[:2] == keys[2:]
    assert keys[1] == "mine-1"
    assert (keys[0] or "").startswith("motet-")


def test_an_output_that_needs_absent_data_is_null_and_the_run_partial(servers: Servers) -> None:
    servers.tools = {"a.x": lambda _: {}, "b.y": lambda _: {"v": 1}}
    report = run(
        servers,
        "steps: {s: {call: a.x, if: 'false'}, t: {call: b.y}}\noutput: {s: '${{ s.v }}', t: '${{ t.v }}'}",
    )
    assert (report.status, report.output, report.missing) == ("partial", {"s": None, "t": 1}, ("output.s",))


def test_inputs_are_checked_before_anything_runs(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {}
    text = "inputs: {n: {type: integer}, m: {type: string}}\nsteps: {s: {call: a.x, with: {n: '${{ inputs.n }}'}}}"
    with pytest.raises(WorkflowError, match="`m` is missing"):
        run(servers, text, {"n": 1})
    with pytest.raises(WorkflowError, match=r"input `n`.*input `m`"):
        run(servers, text, {"n": "x", "m": 2})
    assert servers.calls == []


def test_binary_content_is_described_by_type_size_and_hash(servers: Servers) -> None:
    servers.resources["a://b"] = [{"uri": "a://b", "mimeType": "image/png", "blob": "AAEC"}]
    report = run(servers, "steps: {s: {read: 'a://b'}}")
    assert report.step("s").output == {
        "mime_type": "image/png",
        "size": 3,
        "sha256": "ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc",
        "blob": "AAEC",
    }


def test_a_secret_input_is_a_reference_everywhere_but_in_the_call(servers: Servers) -> None:
    servers.tools = {"a.x": lambda a: {"n": len(a["token"])}, "a.fake": lambda _: {"text": "\ue000:TOKEN\ue001"}}
    text = """
inputs: {token: {type: string, secret: true}}
steps:
  fake: {call: a.fake}
  s: {call: a.x, with: {token: "Bearer ${{ inputs.token }}", fake: "${{ fake.text }}"}}
"""
    report = run(servers, text, {"token": "TOKEN"}, secrets={"TOKEN": "hunter2-hunter2"})
    assert servers.calls[-1][1] == {"token": "Bearer hunter2-hunter2", "fake": "\ue000:TOKEN\ue001"}
    assert report.step("s").inputs["token"] == "Bearer <secret TOKEN>"
    assert "hunter2" not in str(report.to_json())
    with pytest.raises(RunError, match="no secret is configured"):
        run(servers, text, {"token": "OTHER"}, secrets={})


# -- §5 run status ----------------------------------------------------------------------------------------------------


def test_the_example_of_the_design_with_jira_down_is_partial_and_says_how_to_go_on(servers: Servers) -> None:
    servers.tools = {
        "github.get_latest_release": lambda _: {"tag_name": "v2.1.0"},
        "deploy.deploy": lambda _: {"previous": "v2.0.0"},
        "deploy.check": lambda _: {"ok": True},
        "deploy.rollback": lambda _: {},
        "jira.transition_issue": lambda _: down("jira"),
        "slack.send_message": lambda a: a,
    }
    report = run(servers, DEPLOY, {"repo": "acme/app", "ticket": "PROJ-42"}, ask=asking(Answer("accept")))
    assert (report.status, report.output) == ("partial", {"version": "v2.1.0", "ticket": "failed"})
    assert servers.calls[-1][1]["text"] == "v2.1.0 deployed; ticket update pending"
    assert [(left.step, left.what, left.reason, left.command) for left in report.pending] == [
        ("ticket", "failed", "jira: it is down", "motet run test.yaml")
    ]
    assert report.headline() == "partial: deploy-and-tell; ticket pending (jira: it is down)"


def test_the_example_of_the_design_with_a_failing_health_check_rolls_back(servers: Servers) -> None:
    servers.tools = {
        "github.get_latest_release": lambda _: {"tag_name": "v2.1.0"},
        "deploy.deploy": lambda _: {"previous": "v2.0.0"},
        "deploy.check": lambda _: broken("deploy", "unhealthy"),
        "deploy.rollback": lambda _: {},
        "jira.transition_issue": lambda _: {},
        "slack.send_message": lambda a: a,
    }
    report = run(servers, DEPLOY, {"repo": "acme/app", "ticket": "PROJ-42"}, ask=asking(Answer("accept")))
    assert (report.status, report.undone) == ("failed", ("deploy",))
    assert servers.calls[-1] == ("deploy.rollback", {"env": "staging", "to": "v2.0.0"})
    assert report.headline() == "failed: deploy-and-tell; healthy failed (deploy: unhealthy); deploy undone"


DEPLOY = """
motet: 1
name: deploy-and-tell
inputs:
  repo: {type: string}
  ticket: {type: string}
steps:
  release:
    call: github.get_latest_release
    with: {repo: "${{ inputs.repo }}"}
  approve:
    approval: {message: "Deploy ${{ release.tag_name }} to staging?", timeout: 1d}
  deploy:
    call: deploy.deploy
    with: {version: "${{ release.tag_name }}", env: staging}
    needs: [approve]
    undo: {call: deploy.rollback, with: {env: staging, to: "${{ deploy.previous }}"}}
  healthy:
    call: deploy.check
    with: {env: staging}
    needs: [deploy]
  ticket:
    call: jira.transition_issue
    with: {key: "${{ inputs.ticket }}", status: deployed}
    needs: [healthy]
    on_error: continue
  tell:
    call: slack.send_message
    with:
      channel: "#releases"
      text: "${{ release.tag_name }} deployed${{ steps.ticket.ok ? '' : '; ticket update pending' }}"
    needs: [healthy]
    on_error: continue
output: {version: "${{ release.tag_name }}", ticket: "${{ steps.ticket.status }}"}
"""


def test_a_dry_run_shows_writes_with_their_arguments_and_sends_none(servers: Servers) -> None:
    servers.tools = {
        "github.get_latest_release": lambda _: {"tag_name": "v2.1.0"},
        "deploy.deploy": lambda _: {"previous": "v2.0.0"},
        "deploy.check": lambda _: {"ok": True},
        "jira.transition_issue": lambda _: {},
        "slack.send_message": lambda a: a,
    }
    servers.read_only.add("github.get_latest_release")
    report = run(servers, DEPLOY, {"repo": "acme/app", "ticket": "PROJ-42"}, dry="reads")
    assert servers.names == ["github.get_latest_release"]
    assert (report.dry, report.step("deploy").status, report.step("deploy").reason) == (True, "skipped", "dry run")
    assert report.step("deploy").inputs == {"version": "v2.1.0", "env": "staging"}
    servers.calls.clear()
    nothing = run(servers, DEPLOY, {"repo": "acme/app", "ticket": "PROJ-42"}, dry="plan")
    assert (servers.calls, nothing.step("release").inputs) == ([], {"repo": "acme/app"})


def test_a_cycle_that_was_not_checked_is_an_error_not_a_hang(servers: Servers) -> None:
    servers.tools["a.x"] = lambda _: {}

    async def scenario() -> None:
        workflow = flow("steps: {s: {call: a.x}, t: {call: a.x, needs: [s]}}")
        steps = dict(workflow.steps)
        import dataclasses

        steps["s"] = dataclasses.replace(steps["s"], needs=("t",), after=frozenset({"t"}))
        await run_workflow(dataclasses.replace(workflow, steps=steps), dispatch=servers, now=now)

    with pytest.raises(RunError, match="wait for each other"):
        virtually(scenario())


def test_calls_that_end_in_any_order_give_the_same_results(servers: Servers) -> None:
    import random

    text = """
steps:
  a: {call: s.a}
  b: {call: s.b}
  c: {call: s.c, with: {v: "${{ a.v }}"}}
  d: {call: s.d, with: {v: "${{ b.v }}", w: "${{ c.v }}"}}
  e: {call: s.e, foreach: "${{ [1, 2, 3] }}", with: {n: "${{ item }}", v: "${{ b.v }}"}}
output: {d: "${{ d.v }}", e: "${{ e }}"}
"""
    seen: list[Any] = []
    for seed in range(10):
        chance = random.Random(seed)

        def tool(name: str, chance: random.Random = chance) -> Any:
            async def work(arguments: dict[str, Any]) -> object:
                await asyncio.sleep(chance.uniform(0, 5))
                return {"v": f"{name}({arguments})"}

            return work

        servers.tools = {f"s.{name}": tool(name) for name in "abcde"}
        report = virtually(arun(servers, text))
        seen.append((report.status, report.output, [(s.step, s.status, s.inputs, s.output) for s in report.steps]))
    assert all(one == seen[0] for one in seen)
