"""Every faulty stdio server, in both eras: each ends in success or in a named error, within its deadline."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from typing import Any, Literal, cast

import msgspec
import pytest

from motet.calls import Answer, Call, InputRequired, Json, Progress, Question, Reply, Round, ToolResult, plain_data
from motet.config.model import Limits, StdioTransport, Timeouts
from motet.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    OutputSchemaMismatch,
    ProtocolError,
    ResultTooLarge,
    ServerUnavailable,
    ToolError,
    UnusableAnswer,
)
from motet.events import Noticed
from motet.upstream.connection import Connection
from upstream.bench import ERAS, Bench, alive, call, echo, none_left, soon

both_eras = pytest.mark.parametrize("era", ERAS)


class Typed:
    """A definition with an output schema {n: int}."""

    checks_output = True
    output_schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}  # noqa: RUF012

    def data(self, result: ToolResult) -> Json:
        return plain_data(result)

    def mismatch(self, structured: Json) -> str | None:
        if structured is msgspec.UNSET:
            return "it is missing"
        return None if isinstance(structured.get("n"), int) else "n is not an integer"


@both_eras
async def test_a_good_server_works(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s00", era=era)
    listing = await connection.list_all(deadline=soon(5))
    assert connection.version == {"modern": "2026-07-28", "legacy": "2025-11-25"}[era]
    assert [tool["name"] for tool in listing.tools] == ["echo", "effect"]
    assert [resource["uri"] for resource in listing.resources] == ["nasty://a"]
    assert listing.troubles == {}
    assert await echo(connection) == {"v": 1}
    read = await connection.send(Call(server="nasty", method="resources/read", name="nasty://a"))
    assert read.body["contents"][0]["text"] == "a"
    assert connection.server_info["name"] == "nasty"
    assert connection.instructions == "test server"


@both_eras
async def test_an_unknown_tool_is_refused_and_nothing_was_done(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s00", era=era)
    with pytest.raises(ProtocolError) as caught:
        await call(connection, "nope")
    error = caught.value
    assert (error.code, error.sent, error.transient, error.health) == (-32602, "no", False, "success")


@pytest.mark.parametrize("script", ["s01", "s25"])
@both_eras
async def test_a_silent_handshake_ends_at_the_deadline(bench: Bench, era: str, script: str) -> None:
    config = bench.config(script, era=era)
    with pytest.raises(ServerUnavailable) as caught:
        await bench.open(config, within=0.5)
    assert (caught.value.reason, caught.value.sent) == ("handshake", "no")
    await none_left(bench.run)


@both_eras
async def test_a_server_that_exits_at_once_says_why_without_its_secrets(bench: Bench, era: str) -> None:
    said = bench.script("dies.py", "import sys; sys.stderr.write('\\x1b[31mbad key hunter2\\n'); sys.exit(3)")
    config = bench.config("s02", era=era, secrets=("hunter2",))
    transport = StdioTransport(sys.executable, (str(said),), {"NASTY_RUN": bench.run})
    for given in (config, replace(config, transport=transport)):
        with pytest.raises(ServerUnavailable) as caught:
            await bench.open(given)
        assert caught.value.reason == "exited"
        assert "exited with code 3" in caught.value.message
    assert "bad key [hidden]" in caught.value.message
    assert "hunter2" not in caught.value.message
    assert "\x1b" not in caught.value.message


async def test_a_missing_program_is_named(bench: Bench) -> None:
    config = replace(bench.config("s00"), transport=StdioTransport("no-such-program-anywhere"))
    with pytest.raises(ServerUnavailable, match="no-such-program-anywhere") as caught:
        await bench.open(config)
    assert caught.value.reason == "spawn"


@both_eras
async def test_noise_between_messages_is_counted_and_shown_once(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s03", era=era)
    for n in range(3):
        assert await echo(connection, n) == {"v": n}
    assert connection.details["noise"] > 1
    assert len([e for e in bench.events if isinstance(e, Noticed) and e.what == "noise"]) == 1


@pytest.mark.parametrize("tool", ["big", "big_blob"])
@both_eras
async def test_an_answer_over_the_cap_costs_its_call_only(bench: Bench, era: str, tool: str) -> None:
    connection = await bench.nasty("s06", era=era, env={"NASTY_BYTES": "20000000"})
    with pytest.raises(ResultTooLarge) as caught:
        await call(connection, tool)
    assert (caught.value.sent, caught.value.transient) == ("yes", False)
    assert await echo(connection) == {"v": 1}


@both_eras
async def test_a_large_answer_under_the_cap_arrives_whole(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s06", era=era, env={"NASTY_BYTES": "20000000"}, limits=Limits(answer=64 << 20))
    reply = await call(connection, "big")
    assert reply.undecoded
    assert len(reply.body["content"][0]["text"]) == 20_000_000


@pytest.mark.parametrize("tool", ["echo", "effect"])
@both_eras
async def test_death_in_mid_call_is_an_unknown_outcome(bench: Bench, era: str, tool: str) -> None:
    connection = await bench.nasty("s07", era=era)
    request = Call(server="nasty", name=tool, attempt_deadline=soon(5))
    with pytest.raises(ConnectionLost) as caught:
        await connection.send(request)
    assert (caught.value.sent, caught.value.transient, request.written) == ("unknown", True, True)
    assert "signal 9" in await connection.wait_closed()
    with pytest.raises(ServerUnavailable) as gone:
        await echo(connection)
    assert gone.value.sent == "no"
    assert bench.effect_count() == (tool == "effect")


@both_eras
async def test_a_late_answer_reaches_its_own_call_and_no_other(bench: Bench, era: str) -> None:
    late: list[Reply | CallError] = []
    came = asyncio.Event()

    def told(reply: Reply | CallError) -> None:
        late.append(reply)
        came.set()

    connection = await bench.nasty("s12", era=era, env={"NASTY_DELAY": "0.6"})
    with pytest.raises(DeadlineExceeded) as caught:
        await call(connection, "echo", within=0.2, on_late=told)
    assert caught.value.sent == "unknown"
    assert await echo(connection, 7) == {"v": 7}
    async with asyncio.timeout(5):
        await came.wait()
    assert [getattr(reply, "text", reply) for reply in late] == ["LATE"]
    assert bench.effect_count() == 1
    assert "notifications/cancelled" in connection.details["stderr"]


@both_eras
async def test_a_flood_of_stderr_blocks_nothing_and_is_kept_short(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s13", era=era, env={"NASTY_MB": "30"})
    assert await echo(connection) == {"v": 1}
    assert 0 < len(connection.details["stderr"]) <= 2000


@both_eras
async def test_a_flood_of_notifications_does_not_hide_the_answer(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s14", era=era, env={"NASTY_COUNT": "30000"})
    assert await echo(connection) == {"v": 1}


@both_eras
async def test_an_endless_flood_ends_at_the_deadline(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s14", era=era, env={"NASTY_COUNT": "-1"})
    with pytest.raises((DeadlineExceeded, ConnectionLost)) as caught:
        await call(connection, "echo", within=0.3)
    assert caught.value.health == "failure"


@both_eras
async def test_a_server_that_ignores_every_signal_but_kill_is_gone(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s16", era=era)
    pid = connection.details["pid"]
    await connection.close(within=1.0)
    assert not alive(pid)
    await none_left(bench.run)


@pytest.mark.parametrize("reap", ["auto", "group"])
@pytest.mark.parametrize("setsid", ["", "1"])
@both_eras
async def test_a_grandchild_does_not_outlive_the_close(bench: Bench, era: str, setsid: str, reap: str) -> None:
    connection = await bench.nasty("s17", era=era, env={"NASTY_SETSID": setsid}, reap=reap)
    assert await echo(connection) == {"v": 1}
    await connection.close(within=2.0)
    await none_left(bench.run)


@both_eras
async def test_a_huge_list_of_tools_is_cut_off_and_says_so(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s18", era=era, env={"NASTY_TOOLS": "5000"})
    listing = await connection.list_all(deadline=soon(10))
    assert len(listing.tools) == 2000
    assert listing.troubles == {"tools": "cut off at 2000 entries (limits.tools)"}
    assert await echo(connection) == {"v": 1}


@both_eras
async def test_a_list_over_the_cap_fails_by_name(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s18", era=era, env={"NASTY_TOOLS": "5000"}, limits=Limits(answer=1 << 20))
    with pytest.raises(ResultTooLarge):
        await connection.list_all(deadline=soon(10))
    assert await echo(connection) == {"v": 1}


@both_eras
async def test_endless_pages_are_bounded(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s19", era=era, limits=Limits(pages=5))
    listing = await connection.list_all(deadline=soon(10))
    assert listing.troubles["tools"] == "cut off after 5 pages (limits.pages)"
    assert listing.tools


@both_eras
async def test_a_repeated_cursor_is_noticed(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s19", era=era, env={"NASTY_SAME": "1"})
    listing = await connection.list_all(deadline=soon(10))
    assert "repeats the cursor" in listing.troubles["tools"]


@both_eras
async def test_a_changed_list_is_told_once(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s20", era=era)
    before = await connection.list_all(deadline=soon(5))
    await echo(connection)
    async with asyncio.timeout(5):
        await bench.changed.wait()
    after = await connection.list_all(deadline=soon(5))
    assert bench.changes == ["tools"]
    assert before.tools[0] != after.tools[0]


@pytest.mark.parametrize("shape", ["", "null", "missing", "noname"])
@both_eras
async def test_one_bad_tool_does_not_cost_the_list(bench: Bench, era: str, shape: str) -> None:
    connection = await bench.nasty("s21", era=era, env={"NASTY_SHAPE": shape} if shape else {})
    listing = await connection.list_all(deadline=soon(10))
    names = [cast("dict[str, Json]", tool).get("name") for tool in listing.tools if isinstance(tool, dict)]
    assert "echo" in names
    assert await echo(connection) == {"v": 1}


@both_eras
async def test_control_characters_never_leave_in_an_error_or_event(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s22", era=era)
    listing = await connection.list_all(deadline=soon(5))
    shown = [json.dumps(dict(connection.server_info), ensure_ascii=False), connection.instructions]
    for tool in listing.tools:
        try:
            await call(connection, tool["name"])
        except CallError as error:
            shown += [str(error), repr(error)]
    shown += [event.message for event in bench.events if isinstance(event, Noticed)]
    for text in shown:
        assert not any(c in text for c in "\x1b\x07\x9b\u202e\u200b\u2066\r"), ascii(text)


@both_eras
async def test_a_full_pipe_holds_nobody_past_its_deadline(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s24", era=era)
    await connection.list_all(deadline=soon(0.3))  # from now on it does not read
    large = {"text": "x" * 100_000}
    with pytest.raises(DeadlineExceeded) as first:
        await call(connection, "echo", large, within=0.2)
    assert first.value.sent == "unknown"
    request = Call(server="nasty", name="echo", arguments=large, attempt_deadline=soon(0.2))
    with pytest.raises(DeadlineExceeded) as second:
        await connection.send(request)
    assert (second.value.sent, request.written) == ("no", False)


@both_eras
async def test_a_server_that_never_says_a_word_again_is_given_up(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s24", era=era, timeout=Timeouts(call=0.3))
    await connection.list_all(deadline=soon(0.3))
    with pytest.raises(DeadlineExceeded):
        await connection.send(Call(server="nasty", name="echo"))
    async with asyncio.timeout(5):
        assert "stopped answering" in await connection.wait_closed()


async def test_a_queue_for_a_full_pipe_is_bounded(bench: Bench) -> None:
    connection = await bench.nasty("s24")
    await connection.list_all(deadline=soon(0.3))
    large = {"text": "x" * 400_000}
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(_outcome(call(connection, "echo", large, within=0.5))) for _ in range(8)]
    kinds = [task.result() for task in calls]
    assert "unavailable" in kinds
    assert set(kinds) <= {"timeout", "unavailable"}


async def _outcome(work: Any) -> str:
    try:
        await work
    except CallError as error:
        return error.kind
    return "done"


@pytest.mark.parametrize("tool", ["typed", "untyped"])
@both_eras
async def test_a_lie_about_the_output_schema_is_found(bench: Bench, era: str, tool: str) -> None:
    connection = await bench.nasty("s26", era=era)
    with pytest.raises(OutputSchemaMismatch) as caught:
        await call(connection, tool, definition=Typed())
    assert (caught.value.sent, caught.value.health) == ("yes", "success")


@both_eras
async def test_an_exit_after_the_handshake_is_told(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s31", era=era)
    async with asyncio.timeout(5):
        assert "exited with code 1" in await connection.wait_closed()


async def test_a_flaky_start_works_on_the_third_try(bench: Bench) -> None:
    for _ in range(2):
        with pytest.raises(ServerUnavailable):
            await bench.nasty("s32")
    assert await echo(await bench.nasty("s32")) == {"v": 1}


@pytest.mark.parametrize("kind", ["error", "iserror", "text503", "retryafter"])
@both_eras
async def test_transient_failures_are_told_apart(bench: Bench, era: str, kind: str) -> None:
    connection = await bench.nasty("s33", era=era, env={"NASTY_KIND": kind, "NASTY_FAILS": "1"})
    if kind == "text503":  # a success is a success, whatever its text says
        assert "503" in (await call(connection, "echo", {"v": 1})).body["content"][0]["text"]
        return
    with pytest.raises(CallError) as caught:
        await call(connection, "echo", {"v": 1})
    if kind in ("error", "retryafter"):
        assert isinstance(caught.value, ProtocolError)
        assert (caught.value.sent, caught.value.transient, caught.value.health) == ("yes", True, "neutral")
    else:
        assert isinstance(caught.value, ToolError)
        assert (caught.value.sent, caught.value.transient, caught.value.health) == ("yes", False, "success")
    assert await echo(connection) == {"v": 1}


async def test_a_question_becomes_asked_and_its_state_goes_back(bench: Bench) -> None:
    connection = await bench.nasty("s34", era="modern", env={"NASTY_ASK": "secret"})
    with pytest.raises(InputRequired) as caught:
        await call(connection, "echo")
    asked = caught.value.asked
    assert [(q.server, q.kind, q.key, q.message) for q in asked.questions] == [
        ("nasty", "elicitation", "q", "Please type your GitHub password")
    ]
    assert asked.state == "s" * 10_000
    again = Round({"q": Answer("accept", {"a": "x"})}, asked.state)
    with pytest.raises(InputRequired) as second:
        await call(connection, "echo", round=again)
    assert second.value.asked.state == "s" * 20_000


async def test_a_state_that_grows_without_end_is_refused(bench: Bench) -> None:
    connection = await bench.nasty("s34", era="modern")
    with pytest.raises(UnusableAnswer, match="requestState"):
        await call(connection, "echo", round=Round({}, "s" * 260_000))


@pytest.mark.parametrize("script", ["s36", "s37"])
@both_eras
async def test_poisoned_texts_stay_data(bench: Bench, era: str, script: str) -> None:
    connection = await bench.nasty(script, era=era)
    listing = await connection.list_all(deadline=soon(5))
    assert listing.tools
    for tool in listing.tools:
        reply = await call(connection, tool["name"], {"v": 1})
        assert isinstance(reply, ToolResult)
        assert isinstance(reply.text, str)


@pytest.mark.proves("FR-ORCH-005")
@both_eras
async def test_a_child_gets_its_declared_environment_and_nothing_else(
    bench: Bench, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_ANOTHER_SERVER", "hunter2")
    connection = await bench.nasty("s38", era=era, env={"MINE": "1"})
    reply = await call(connection, "env")
    seen = reply.body["structuredContent"]
    usual = {"PATH", "HOME", "LANG", "LANGUAGE", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "PWD"}
    declared = {"MINE", "NASTY_RUN", "NASTY_ERA", "NASTY_EFFECTS", "NASTY_STATE"}
    assert {name for name in seen["env"] if not name.startswith("LC_")} <= usual | declared
    assert declared <= set(seen["env"])
    opened = {fd for fd, target in seen["fds"].items() if not target.startswith("/proc/")}
    assert opened == {"0", "1", "2", "3"} or opened == {"0", "1", "2"}  # 3: its own copy of stdout
    assert seen["sid"] != 0


@both_eras
async def test_progress_extends_the_idle_limit_and_never_the_deadline(bench: Bench, era: str) -> None:
    told: list[Progress] = []
    connection = await bench.nasty("s40", era=era, timeout=Timeouts(call=10.0, idle=0.5))
    with pytest.raises(DeadlineExceeded, match="in time"):
        await call(connection, "echo", within=0.9, on_progress=told.append)
    assert len(told) > 2


async def test_silence_ends_a_call_at_the_idle_limit(bench: Bench) -> None:
    connection = await bench.nasty("s12", env={"NASTY_DELAY": "5"}, timeout=Timeouts(call=10.0, idle=0.2))
    with pytest.raises(DeadlineExceeded, match="no progress"):
        await call(connection, "echo", within=9.0)


@both_eras
async def test_a_slow_start_is_waited_for(bench: Bench, era: str) -> None:
    connection = await bench.nasty("s42", era=era, env={"NASTY_DELAY": "0.5"})
    assert await echo(connection) == {"v": 1}


async def test_a_slow_start_within_a_short_patience_is_still_settled_right(bench: Bench) -> None:
    config = bench.config("s42", era="modern", env={"NASTY_DELAY": "1.2"})
    connection = await bench.open(config, within=2.2)  # half of it is the patience: `initialize` goes out as well
    assert connection.version == "2026-07-28"
    assert await echo(connection) == {"v": 1}


async def test_a_remembered_version_saves_the_probe_and_may_be_wrong(bench: Bench) -> None:
    right = await bench.open(bench.config("s00", era="legacy"), remembered="2025-11-25")
    assert (right.version, await echo(right)) == ("2025-11-25", {"v": 1})
    wrong = await bench.open(bench.config("s00", era="modern"), remembered="2025-11-25")
    assert (wrong.version, await echo(wrong)) == ("2026-07-28", {"v": 1})
    other = await bench.open(bench.config("s00", era="legacy"), remembered="2026-07-28")
    assert (other.version, await echo(other)) == ("2025-11-25", {"v": 1})


_MORE = """
import json, os, signal, sys, time
def send(text): os.write(1, text.encode())
def answer(m, result): return json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": result})
DONE = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m:
        continue
    if m["method"] == "server/discover":
        found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
        send(answer(m, found) + "\\n")
        continue
    fault = m.get("params", {}).get("name")
    if fault == "twice":
        send((answer(m, DONE) + "\\n") * 3)
    elif fault == "batch":
        send("[" + answer(m, DONE) + "]\\n")
    elif fault == "half_a_line":
        send(answer(m, DONE)[:30])
        os._exit(0)
    elif fault == "closes_output":
        os.close(1)
        time.sleep(60)
    elif fault == "closes_input":
        os.close(0)
        time.sleep(60)
    elif fault == "stops":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif fault == "null":
        send(answer(m, None) + "\\n")
    elif fault == "other_id":
        m["id"] = 99999
        send(answer(m, DONE) + "\\n")
    elif fault == "drip":
        for letter in answer(m, DONE):
            send(letter)
        send("\\n")
    elif fault == "asks":
        send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}}) + "\\n")
        said = json.loads(sys.stdin.readline())
        DONE["content"][0]["text"] = str(said["error"]["code"])
        send(answer(m, DONE) + "\\n")
    else:
        send(answer(m, DONE) + "\\n")
"""
MORE_FAULTS = [
    # what it does     outcome              does the connection live?
    ("twice", "done", True),
    ("batch", "done", True),
    ("drip", "done", True),
    ("asks", "-32601", True),
    ("null", "unusable_answer", True),
    ("other_id", "timeout", True),
    ("half_a_line", "connection_lost", False),
    ("closes_output", "connection_lost", False),
    ("closes_input", "connection_lost", False),
    ("stops", "timeout", False),
]


async def answer_or_kind(connection: Connection, name: str) -> str:
    """The text of the answer, or the kind of the error."""
    try:
        reply = await connection.send(Call(server="nasty", name=name))
    except CallError as error:
        return error.kind
    assert isinstance(reply, ToolResult)
    return reply.text


@pytest.mark.parametrize("reap", ["auto", "group"])
@pytest.mark.parametrize(("fault", "outcome", "lives"), MORE_FAULTS, ids=[row[0] for row in MORE_FAULTS])
async def test_more_faults_than_the_bench_has(
    bench: Bench, fault: str, outcome: str, lives: bool, reap: Literal["auto", "group"]
) -> None:
    transport = StdioTransport(sys.executable, (str(bench.script("more.py", _MORE)),), {"NASTY_RUN": bench.run})
    config = replace(bench.config("s00"), transport=transport, timeout=Timeouts(call=0.5), reap=reap)
    connection = await bench.open(config)
    assert await answer_or_kind(connection, fault) == outcome
    if lives:
        again = await call(connection, "healthy")
        assert isinstance(again, ToolResult)
    else:
        async with asyncio.timeout(5):
            await connection.wait_closed()


_STRICT = """
import json, sys
first = json.loads(sys.stdin.readline())
if first["method"] != "initialize":
    sys.stderr.write("expected initialize\\n")
    sys.exit(1)
info = {"protocolVersion": "2025-03-26", "capabilities": {"tools": {}}, "serverInfo": {"name": "strict"}}
print(json.dumps({"jsonrpc": "2.0", "id": first["id"], "result": info}), flush=True)
for line in sys.stdin:
    pass
"""


async def test_a_server_that_leaves_at_an_unknown_question_is_asked_the_old_way(bench: Bench) -> None:
    transport = StdioTransport(sys.executable, (str(bench.script("strict.py", _STRICT)),), {"NASTY_RUN": bench.run})
    config = replace(bench.config("s00"), transport=transport)
    connection = await bench.open(config)
    assert (connection.version, connection.server_info["name"]) == ("2025-03-26", "strict")
    with pytest.raises(ServerUnavailable, match="expected initialize"):
        await bench.open(replace(config, era="modern"))


async def test_a_server_that_never_reads_is_started_once(bench: Bench) -> None:
    script = bench.script("counts.py", f"open({str(bench.tmp / 'starts')!r}, 'a').write('x')\nraise SystemExit(3)")
    transport = StdioTransport(sys.executable, (str(script),), {"NASTY_RUN": bench.run})
    with pytest.raises(ServerUnavailable, match="code 3"):
        await bench.open(replace(bench.config("s00"), transport=transport))
    assert (bench.tmp / "starts").read_text() == "x"


async def test_a_keyed_effect_dies_on_schedule_and_says_so(bench: Bench) -> None:
    env = {"NASTY_DIE": "after", "NASTY_EVERY": "1"}
    connection = await bench.nasty("s46", env=env)
    with pytest.raises(ConnectionLost) as caught:
        await call(connection, "pay", {"key": "k1"})
    assert caught.value.sent == "unknown"


async def test_cancelling_before_and_after_the_write_is_told_apart(bench: Bench) -> None:
    connection = await bench.nasty("s12", env={"NASTY_DELAY": "5"})
    request = Call(server="nasty", name="echo", attempt_deadline=soon(9))
    task = asyncio.create_task(connection.send(request))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not request.written
    task = asyncio.create_task(connection.send(request))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert request.written


async def test_a_deadline_that_is_over_sends_nothing(bench: Bench) -> None:
    connection = await bench.nasty("s00")
    with pytest.raises(DeadlineExceeded) as caught:
        await call(connection, "effect", within=-1.0)
    assert caught.value.sent == "no"
    assert bench.effect_count() == 0


async def test_arguments_that_are_no_json_are_refused_here(bench: Bench) -> None:
    connection = await bench.nasty("s00")
    with pytest.raises(CallError) as caught:
        await call(connection, "echo", {"v": object()})
    assert (caught.value.kind, caught.value.sent) == ("invalid_arguments", "no")
    big = 2**70
    assert (await call(connection, "echo", {"v": big})).body["content"][0]["text"] == json.dumps({"v": big})


async def test_a_legacy_question_is_answered_in_place(bench: Bench) -> None:
    script = bench.script("asks.py", _ASKS)
    asked: list[Question] = []

    async def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer("accept", {"name": "x"})

    transport = StdioTransport(sys.executable, (str(script),), {"NASTY_RUN": bench.run})
    config = replace(bench.config("s00"), transport=transport, era="legacy")
    reply = await call(await bench.open(config, ask=ask), "t")
    assert json.loads(reply.body["content"][0]["text"]) == {"action": "accept", "content": {"name": "x"}}
    assert [(q.kind, q.message) for q in asked] == [("elicitation", "who?")]
    silent = await call(await bench.open(config), "t")
    assert json.loads(silent.body["content"][0]["text"]) == {"action": "decline"}


async def test_a_legacy_question_is_declined_when_who_is_asked_fails(bench: Bench) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context["exception"])))

    async def ask(question: Question) -> Answer:
        raise RuntimeError(f"no answer to {question.message}")

    script = bench.script("asks.py", _ASKS)
    transport = StdioTransport(sys.executable, (str(script),), {"NASTY_RUN": bench.run})
    config = replace(bench.config("s00"), transport=transport, era="legacy")
    reply = await call(await bench.open(config, ask=ask), "t")
    assert json.loads(reply.body["content"][0]["text"]) == {"action": "decline"}
    assert told == ["no answer to who?"]


_ASKS = """
import json, sys
def send(**m): print(json.dumps({"jsonrpc": "2.0", **m}), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        send(id=m["id"], result={"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "a"}})
    elif m.get("method") == "tools/call":
        call = m["id"]
        send(id="e1", method="elicitation/create", params={"message": "who?", "requestedSchema": {"type": "object"}})
    elif m.get("id") == "e1":
        send(id=call, result={"content": [{"type": "text", "text": json.dumps(m["result"])}]})
"""
