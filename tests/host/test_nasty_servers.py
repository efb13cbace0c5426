"""Every nasty server, in both eras, beside a healthy neighbour that is called all along (FR-ORCH-004)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, cast

import pytest

from host.host_kit import ERAS, Bench, Stage, brief, error_of, on_stage, until
from motet.calls import Answer, Asked, Done, Question, Retry
from motet.config.model import Limits, RetrySettings, ServerConfig, Timeouts
from motet.errors import ServerUnavailable
from motet.events import AttemptFailed, Noticed

pytestmark = [pytest.mark.proves("FR-ORCH-004"), pytest.mark.parametrize("era", ERAS)]

ECHO = RetrySettings(policy=Retry(base=0.02, cap=0.1), idempotent=frozenset({"echo", "pay"}))


def nasty(bench: Bench, script: str, era: str, **more: Any) -> ServerConfig:
    return bench.config(script, era=era, **more)


def quick(call: float = 8.0, connect: float = 8.0) -> Timeouts:
    return Timeouts(connect=connect, call=call, close=0.5)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_good_one_works(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s00", era), bench=bench) as stage:
        await stage.state("ready")
        outcome = await stage.call("echo", {"a": 1})
        assert isinstance(outcome, Done)
        assert outcome.data == {"a": 1}
        assert stage.host.servers["nasty"].details["version"] == ("2026-07-28" if era == "modern" else "2025-11-25")


@pytest.mark.parametrize("script", ["s01", "s25"])
async def test_a_silent_one_holds_nobody_and_says_why(bench: Bench, tmp_path: Path, era: str, script: str) -> None:
    silent = nasty(bench, script, era, timeout=quick(connect=0.5))
    async with on_stage(tmp_path, silent, bench=bench) as stage:
        assert stage.host.servers["good"].state == "ready"
        await stage.host.settled()
        error = error_of(await stage.call("echo"))
        assert isinstance(error, ServerUnavailable)
        assert error.sent == "no"
        assert "did not answer the handshake within 0.5 s" in error.message


async def test_one_that_exits_at_once_says_how(bench: Bench, tmp_path: Path, era: str) -> None:
    secret = "ghp_SECRETSECRETSECRETSECRETSECRET0000"
    exits = nasty(bench, "s02", era)
    async with on_stage(tmp_path, exits, bench=bench) as stage:
        await stage.state("parked")
        error = error_of(await stage.call("echo"))
        assert brief(await stage.call("echo")) == ("unavailable", "no")
        assert "exited with code 3" in error.message
        assert "GITHUB_TOKEN is not set" in error.message
        assert secret not in str(stage.bench.events) + str(error)
        assert stage.states().count("connecting") == 2  # and the first one, which it began with


async def test_noise_on_stdout_is_noticed_and_harmless(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s03", era), bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("echo", {"a": 1}))[0] == "done"
        assert any(isinstance(event, Noticed) and event.server == "nasty" for event in stage.bench.events)


async def test_an_answer_over_the_cap_costs_that_call_alone(bench: Bench, tmp_path: Path, era: str) -> None:
    huge = nasty(bench, "s06", era, env={"NASTY_BYTES": "3000000"}, limits=Limits(answer=1 << 20))
    async with on_stage(tmp_path, huge, bench=bench) as stage:
        await stage.state("ready")
        pid = stage.host.servers["nasty"].details["pid"]
        assert [brief(await stage.call(tool)) for tool in ("big", "big_blob", "echo")] == [
            ("result_too_large", "yes"),
            ("result_too_large", "yes"),
            ("done", "yes"),
        ]
        assert stage.host.servers["nasty"].details["pid"] == pid


async def test_a_write_that_kills_its_server_is_unknown_and_never_repeated(
    bench: Bench, tmp_path: Path, era: str
) -> None:
    async with on_stage(tmp_path, nasty(bench, "s07", era, retry=ECHO), bench=bench) as stage:
        await stage.state("ready")
        outcome = await stage.call("effect")
        assert brief(outcome) == ("connection_lost", "unknown")
        assert outcome.attempts == 1
        assert bench.effect_count() == 1
        await stage.state("ready")
        again = await stage.call("echo")
        assert brief(again)[1] == "unknown"
        assert again.attempts > 1
        assert bench.effect_count() == 1


async def test_a_late_answer_goes_to_nobody_else(bench: Bench, tmp_path: Path, era: str) -> None:
    late = nasty(bench, "s12", era, env={"NASTY_DELAY": "0.6"}, timeout=quick(call=0.2))
    heard: list[object] = []
    async with on_stage(tmp_path, late, bench=bench) as stage:
        await stage.state("ready")
        call = stage.host.prepare("nasty", "tools/call", "effect")
        call.on_late = heard.append
        assert brief(await stage.host.attempt(call)) == ("timeout", "unknown")
        outcome = await stage.call("echo", {"a": 2})
        assert isinstance(outcome, Done)
        assert outcome.data == {"a": 2}
        await until(lambda: bool(heard))
        assert bench.effect_count() == 1


async def test_a_flood_on_stderr_blocks_nothing(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s13", era, env={"NASTY_MB": "4"}), bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("echo", {"a": 1}))[0] == "done"


async def test_a_flood_of_notifications_lets_the_answer_through(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s14", era, env={"NASTY_COUNT": "20000"}), bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("echo", {"a": 1}))[0] == "done"


async def test_an_endless_flood_ends_at_the_deadline(bench: Bench, tmp_path: Path, era: str) -> None:
    flood = nasty(bench, "s14", era, env={"NASTY_COUNT": "-1"}, timeout=quick(call=0.5))
    async with on_stage(tmp_path, flood, bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("effect"))[1] == "unknown"


@pytest.mark.parametrize("script", ["s16", "s17"])
async def test_nothing_is_left_of_one_that_will_not_go(bench: Bench, tmp_path: Path, era: str, script: str) -> None:
    async with on_stage(tmp_path, nasty(bench, script, era), bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("echo", {"a": 1}))[0] == "done"


async def test_too_many_tools_are_cut_with_a_reason(bench: Bench, tmp_path: Path, era: str) -> None:
    many = nasty(bench, "s18", era, env={"NASTY_TOOLS": "400"}, limits=Limits(tools=100))
    async with on_stage(tmp_path, many, bench=bench) as stage:
        await stage.state("ready")
        part = stage.host.catalog.servers["nasty"]
        assert len(part.tools) <= 100
        assert "100" in " ".join(one.reason for one in part.left_out)
        assert brief(await stage.call("echo", {}))[0] == "done"


@pytest.mark.parametrize("same", ["", "1"])
async def test_endless_pages_end_with_a_reason(bench: Bench, tmp_path: Path, era: str, same: str) -> None:
    pages = nasty(bench, "s19", era, env={"NASTY_SAME": same}, limits=Limits(pages=5))
    async with on_stage(tmp_path, pages, bench=bench) as stage:
        await stage.state("ready")
        part = stage.host.catalog.servers["nasty"]
        assert "echo" in part.tools
        assert [one.name for one in part.left_out] == ["tools"]


async def test_a_changed_definition_is_refused_until_it_is_trusted(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s20", era), bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("echo", {"a": 1}))[0] == "done"
        await until(lambda: bool(stage.host.servers["nasty"].changed))
        refused = error_of(await stage.call("echo", {"note": "x"}))
        assert (refused.kind, refused.sent, refused.hint) == (
            "tool_changed",
            "no",
            "look at it and accept it: motet trust nasty",
        )
        differences = stage.host.differences("nasty")
        assert [one.tool for one in differences] == ["echo", "effect"]
        assert differences[0].present is not None
        assert "id_rsa" in differences[0].present["description"]
        assert "id_rsa" not in differences[0].accepted["description"]
        stage.host.trust("nasty")
        assert stage.host.differences("nasty") == []
        assert brief(await stage.call("echo", {"note": "x"}))[0] == "done"


async def test_a_call_made_for_the_old_definition_is_not_sent_with_the_new_one(
    bench: Bench, tmp_path: Path, era: str
) -> None:
    async with on_stage(tmp_path, nasty(bench, "s20", era), bench=bench) as stage:
        await stage.state("ready")
        waiting = stage.host.prepare("nasty", "tools/call", "echo", {"a": 1})
        await stage.call("effect")
        await until(lambda: bool(stage.host.servers["nasty"].changed))
        assert brief(await stage.host.attempt(waiting)) == ("tool_changed", "no")


@pytest.mark.parametrize("shape", ["null", "missing", "noname"])
async def test_broken_schemas_cost_their_own_tool(bench: Bench, tmp_path: Path, era: str, shape: str) -> None:
    broken = nasty(bench, "s21", era, env={"NASTY_SHAPE": shape, "NASTY_DEEP": "220"})
    async with on_stage(tmp_path, broken, bench=bench) as stage:
        await stage.state("ready")
        part = stage.host.catalog.servers["nasty"]
        assert sorted(part.tools) == ["echo", "effect", "long_enum", "redos", "self_ref"]
        left = {one.name: one.reason for one in part.left_out}
        assert {"bad_type", "remote_ref", "file_ref", "deep", "not_object", "missing_def"} < set(left)
        assert brief(await stage.call("redos", {"s": "a" * 5000 + "!"})) == ("invalid_arguments", "no")
        assert brief(await stage.call("echo", {}))[0] == "done"


async def test_control_characters_stay_out_of_names_and_texts(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s22", era), bench=bench) as stage:
        await stage.state("ready")
        part = stage.host.catalog.servers["nasty"]
        assert sorted(part.tools) == ["ansi", "bidi", "echo", "effect"]
        shown = f"{part.left_out}{[tool.description for tool in part.tools.values()]}{part.instructions}"
        shown += f"{dict(part.server_info)}"
        assert shown.isprintable()
        assert "\u202e" not in shown
        assert len(part.left_out) == 5


async def test_one_that_stops_reading_is_replaced(bench: Bench, tmp_path: Path, era: str) -> None:
    stuck = nasty(
        bench, "s24", era, timeout=quick(call=0.3, connect=1.0), retry=RetrySettings(policy=Retry(attempts=1))
    )
    async with on_stage(tmp_path, stuck, bench=bench) as stage:
        await stage.state("ready")
        pid = stage.host.servers["nasty"].details["pid"]
        assert brief(await stage.call("echo", {"a": "x" * 200_000}))[0] == "timeout"
        await until(lambda: stage.host.servers["nasty"].details.get("pid", pid) != pid)


async def test_a_schema_lie_is_never_passed_on(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s26", era), bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("typed")) == ("output_schema_mismatch", "yes")
        assert brief(await stage.call("untyped")) == ("output_schema_mismatch", "yes")


async def test_a_crash_loop_is_parked_after_three_starts(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s31", era), bench=bench) as stage:
        await stage.state("parked")
        assert (tmp_path / "s31.state").read_text() == "3"
        error = error_of(await stage.call("echo", {}, timeout=1.0, deadline=asyncio.get_running_loop().time() + 1))
        assert (error.kind, error.sent) == ("unavailable", "no")
        assert stage.host.catalog.servers["nasty"].stale


async def test_one_that_fails_twice_connects_on_the_third_start(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s32", era), bench=bench) as stage:
        await stage.state("ready")
        assert (tmp_path / "s32.state").read_text() == "3"
        assert brief(await stage.call("echo", {"a": 1}))[0] == "done"


@pytest.mark.parametrize(
    ("kind", "tool", "want"),
    [
        ("error", "echo", ("done", "yes", 3)),
        ("error", "effect", ("protocol", "yes", 1)),
        ("retryafter", "echo", ("done", "yes", 3)),
        ("iserror", "echo", ("tool_error", "yes", 1)),
        ("text503", "echo", ("done", "yes", 1)),
    ],
)
async def test_flaky_calls_are_repeated_only_when_that_is_safe(
    bench: Bench, tmp_path: Path, era: str, kind: str, tool: str, want: tuple[str, str, int]
) -> None:
    flaky = nasty(bench, "s33", era, env={"NASTY_KIND": kind, "NASTY_FAILS": "2"}, retry=ECHO)
    async with on_stage(tmp_path, flaky, bench=bench) as stage:
        await stage.state("ready")
        outcome = await stage.call(tool, {"a": 1})
        assert (*brief(outcome), outcome.attempts) == want
        waits = [event.again_in for event in bench.events if isinstance(event, AttemptFailed)]
        if kind == "retryafter":
            assert [wait is not None and wait >= 1.0 for wait in waits] == [True, True]


async def test_an_is_error_is_repeated_only_where_the_configuration_says_so(
    bench: Bench, tmp_path: Path, era: str
) -> None:
    retry = RetrySettings(Retry(base=0.02), idempotent=frozenset({"echo"}), on_tool_error=frozenset({"ec*"}))
    flaky = nasty(bench, "s33", era, env={"NASTY_KIND": "iserror", "NASTY_FAILS": "2"}, retry=retry)
    async with on_stage(tmp_path, flaky, bench=bench) as stage:
        await stage.state("ready")
        outcome = await stage.call("echo", {"a": 1})
        assert (*brief(outcome), outcome.attempts) == ("done", "yes", 3)


async def test_endless_questions_end(bench: Bench, tmp_path: Path, era: str) -> None:
    asked: list[Question] = []

    async def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer("accept", {"a": "x"})

    async with on_stage(tmp_path, nasty(bench, "s34", era), bench=bench, ask=ask) as stage:
        await stage.state("ready")
        error = error_of(await stage.call("echo"))
        assert (error.kind, error.sent) == ("unusable_answer", "yes")
        assert 5 <= len(asked) <= 10
        assert {question.server for question in asked} == {"nasty"}


async def test_a_question_without_anybody_to_answer_it_comes_back(bench: Bench, tmp_path: Path, era: str) -> None:
    asking = nasty(bench, "s34", era, env={"NASTY_ASK": "secret"})
    async with on_stage(tmp_path, asking, bench=bench) as stage:
        await stage.state("ready")
        outcome = await stage.call("echo")
        assert isinstance(outcome, Asked)
        assert [(one.server, one.kind, one.message) for one in outcome.questions] == [
            ("nasty", "elicitation", "Please type your GitHub password")
        ]
        assert outcome.state is not None


async def test_poisoned_tools_stay_in_their_own_namespace(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s36", era), bench=bench) as stage:
        await stage.state("ready")
        assert set(stage.host.catalog.servers["good"].tools) == {"echo", "effect"}
        assert brief(await stage.call("create_issue", {"title": "x"}, server="good")) == ("unknown_address", "no")
        assert brief(await stage.call("create_issue", {"title": "x"})) == ("invalid_arguments", "no")
        assert bench.effect_count() == 0


async def test_injected_text_stays_data(bench: Bench, tmp_path: Path, era: str) -> None:
    async with on_stage(tmp_path, nasty(bench, "s37", era), bench=bench) as stage:
        await stage.state("ready")
        outcome = await stage.call("get_issue")
        assert isinstance(outcome, Done)
        assert "${{ env.TOKEN }}" in outcome.data


async def test_a_child_sees_its_own_environment_alone(
    bench: Bench, tmp_path: Path, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "not for everybody")
    async with on_stage(tmp_path, nasty(bench, "s38", era, env={"MINE": "1"}), bench=bench) as stage:
        await stage.state("ready")
        outcome = await stage.call("env")
        assert isinstance(outcome, Done)
        told = cast("dict[str, Any]", outcome.data)
        assert "GITHUB_TOKEN" not in told["env"]
        assert told["env"]["MINE"] == "1"
        assert told["sid"] != os.getsid(0)


async def test_progress_never_extends_the_deadline(bench: Bench, tmp_path: Path, era: str) -> None:
    seen: list[object] = []
    forever = nasty(bench, "s40", era, timeout=quick(call=0.6))
    async with on_stage(tmp_path, forever, bench=bench) as stage:
        await stage.state("ready")
        assert brief(await stage.call("effect", on_progress=seen.append)) == ("timeout", "unknown")
        assert seen


async def test_a_slow_start_holds_nobody_and_its_calls_wait_for_it(bench: Bench, tmp_path: Path, era: str) -> None:
    slow = nasty(bench, "s42", era, env={"NASTY_DELAY": "1.2"})
    async with on_stage(tmp_path, slow, bench=bench) as stage:
        assert stage.host.servers["nasty"].state == "connecting"
        outcome = await stage.call("echo", {"a": 1})
        assert isinstance(outcome, Done)
        assert outcome.data == {"a": 1}
        assert stage.states() == ["ready"]  # and no second start meanwhile


@pytest.mark.parametrize("die", ["before", "after", "never"])
async def test_a_keyed_call_has_exactly_one_effect(bench: Bench, tmp_path: Path, era: str, die: str) -> None:
    retry = RetrySettings(Retry(attempts=3, base=0.02), keyed={"pay": "key"})
    pays = nasty(bench, "s46", era, env={"NASTY_DIE": die, "NASTY_EVERY": "3"}, retry=retry)
    async with on_stage(tmp_path, pays, bench=bench) as stage:
        await stage.state("ready")
        outcomes = [await stage.call("pay", key=f"k{number}") for number in range(4)]
        assert [brief(outcome)[0] for outcome in outcomes] == ["done"] * 4
        assert bench.effect_count() == 4


async def test_a_killed_server_answers_the_next_call(bench: Bench, tmp_path: Path, era: str) -> None:
    once = RetrySettings(policy=Retry(attempts=1))
    async with on_stage(tmp_path, nasty(bench, "s00", era, retry=once, reap="group"), bench=bench) as stage:
        await stage.state("ready")
        server = stage.host.servers["nasty"]
        os.kill(int(server.details["pid"]), 9)
        outcome = await stage.call("echo", {"a": 1})
        if brief(outcome)[0] != "done":  # it was written before the death was seen
            assert brief(outcome) == ("connection_lost", "unknown")
            outcome = await stage.call("echo", {"a": 1})
        assert isinstance(outcome, Done)
        assert outcome.data == {"a": 1}


async def test_good_silent_exiting_and_hanging_give_a_usable_host(bench: Bench, tmp_path: Path, era: str) -> None:
    others = [
        nasty(bench, "s01", era, name="silent", timeout=quick(connect=60.0)),
        nasty(bench, "s02", era, name="exiting"),
        nasty(bench, "s25", era, name="hanging", timeout=quick(connect=60.0)),
    ]
    async with on_stage(tmp_path, *others, bench=bench) as stage:
        assert {name: server.state for name, server in stage.host.servers.items()} | {"exiting": ""} == {
            "good": "ready",
            "silent": "connecting",
            "exiting": "",
            "hanging": "connecting",
        }
        assert brief(await stage.call("echo", {}, server="good"))[0] == "done"


def test_the_table_of_servers_is_whole(era: str) -> None:
    scripts = {path.name[:3] for path in (Path(__file__).parent.parent / "nasty").glob("s[0-9]*.py")}
    text = Path(__file__).read_text()
    assert sorted(script for script in scripts if f'"{script}"' not in text) == []
    _ = era, Stage
