"""The host over fake servers, in virtual time: what callers may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from host.fake_servers import OBJECT, FakeServer, host_of, tool
from host.host_kit import brief, error_of
from motet.calls import (
    Answer,
    Asked,
    Call,
    Done,
    Failed,
    InputRequired,
    Json,
    Outcome,
    Question,
    Reply,
    Retry,
    Round,
    ToolResult,
)
from motet.config.model import BoundaryConfig, Limits, Policy, RetrySettings, Timeouts
from motet.errors import (
    CallError,
    CircuitOpen,
    ConnectionLost,
    InvalidArguments,
    NeedsAuth,
    PolicyRefused,
    ProtocolError,
    ServerUnavailable,
    ToolChanged,
    ToolError,
    UnknownAddress,
)
from motet.events import CallSettled, CallStarted, CatalogChanged, ServerChanged
from motet.host.host import APPROVAL, Host
from resilience.virtual_time import run

Scene = Callable[[], Coroutine[Any, Any, None]]


def now() -> float:
    return asyncio.get_running_loop().time() - 1000.0


async def call(
    host: Host, server: str, name: str = "echo", arguments: dict[str, Json] | None = None, **more: Any
) -> Outcome:
    try:
        prepared = host.prepare(server, "tools/call", name, arguments, **more)
    except CallError as error:
        return Failed(error)
    return await host.attempt(prepared)


def text(said: str) -> ToolResult:
    return ToolResult(orjson.dumps({"content": [{"type": "text", "text": said}]}))


# ---- starting ------------------------------------------------------------------------------------------------------


@pytest.mark.proves("FR-ORCH-004")
def test_it_is_usable_as_soon_as_the_healthy_ones_are_up() -> None:
    async def main() -> None:
        servers = {
            "good": FakeServer(opens_after=0.5),
            "slow": FakeServer(opens_after=8.0),
            "silent": FakeServer(opens_after=1e6),
            "dead": FakeServer(refuses=[ServerUnavailable("exit 3", server="dead", reason="exited")] * 9),
        }
        async with host_of(servers) as host:
            assert 0.5 <= now() <= 1.0
            states = {name: server.state for name, server in host.servers.items()}
            assert states == {"good": "ready", "slow": "connecting", "silent": "connecting", "dead": "down"} | {
                "dead": states["dead"]
            }
            assert brief(await call(host, "good"))[0] == "done"
            assert brief(await call(host, "slow", deadline=1020.0))[0] == "done"  # it waits for a late one
            assert now() == pytest.approx(8.0, abs=0.1)

    run(main())


def test_servers_connect_at_the_same_time() -> None:
    async def main() -> None:
        async with host_of({f"s{number}": FakeServer(opens_after=2.0) for number in range(50)}) as host:
            assert now() == pytest.approx(2.0)
            assert {server.state for server in host.servers.values()} == {"ready"}

    run(main())


def test_a_required_server_is_waited_for() -> None:
    async def main() -> None:
        servers = {"good": FakeServer(), "late": FakeServer(opens_after=6.0)}
        async with host_of(servers, {"late": {"required": True}}) as host:
            assert host.servers["late"].state == "ready"

    run(main())


def test_a_required_server_that_fails_fails_the_start_with_its_reason() -> None:
    async def main() -> None:
        dead = FakeServer(refuses=[ServerUnavailable("exit 3", server="dead", reason="exited")])
        good = FakeServer()
        with pytest.raises(ServerUnavailable, match="exit 3") as refused:
            async with host_of({"good": good, "dead": dead}, {"dead": {"required": True}}):
                pytest.fail("it started")
        assert refused.value.reason == "exited"
        assert good.connection.closed

    run(main())


def test_a_silent_server_is_down_after_its_connect_deadline_and_says_so() -> None:
    async def main() -> None:
        async with host_of({"silent": FakeServer(opens_after=1e6)}) as host:
            assert now() == 10.0
            server = host.servers["silent"]
            assert (server.state, server.reason) == ("down", "no handshake in time")
            error = error_of(await call(host, "silent"))
            assert (error.kind, error.sent, error.message) == ("unavailable", "no", "it is down: no handshake in time")

    run(main())


def test_a_disabled_server_is_never_started() -> None:
    async def main() -> None:
        off = FakeServer()
        async with host_of({"off": off, "on": FakeServer()}, {"off": {"enabled": False}}) as host:
            assert host.servers["off"].state == "disabled"
            assert brief(await call(host, "off")) == ("unavailable", "no")
            assert off.starts == 0

    run(main())


def test_leaving_closes_every_connection_and_ends_every_task() -> None:
    async def main() -> None:
        servers = {"a": FakeServer(), "b": FakeServer(), "silent": FakeServer(opens_after=1e6)}
        async with host_of(servers) as host:
            pass
        assert [servers[name].connection.closed for name in "ab"] == [True, True]
        assert {server.state for server in host.servers.values()} == {"disabled"}
        assert len(asyncio.all_tasks()) == 1

    run(main())


# ---- coming back -----------------------------------------------------------------------------------------------------


@pytest.mark.proves("FR-ORCH-004")
def test_a_dead_server_answers_the_next_call_which_waits_for_it() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}, {"s": {"retry": RetrySettings(Retry(attempts=1))}}) as host:
            server.connection.die()
            assert brief(await call(host, "s")) == ("done", "yes")
            assert server.starts == 2

    run(main())


def test_what_was_in_flight_is_unknown_and_what_is_safe_is_sent_again() -> None:
    async def main() -> None:
        server = FakeServer(tools=[tool("read"), tool("write")])
        server.answer = lambda sent: server.connection.lose(sent) if server.starts == 1 else text("ok")
        safe = RetrySettings(idempotent=frozenset({"read"}))
        async with host_of({"s": server}, {"s": {"retry": safe}}) as host:
            outcome = await call(host, "s", "read")
            assert (brief(outcome), outcome.attempts) == (("done", "yes"), 2)
        server.starts = 0
        async with host_of({"s": server}, {"s": {"retry": safe}}) as host:
            outcome = await call(host, "s", "write")
            assert (brief(outcome), outcome.attempts) == (("connection_lost", "unknown"), 1)

    run(main())


def test_one_death_with_many_calls_in_flight_is_one_failure_to_the_breaker() -> None:
    async def main() -> None:
        server = FakeServer()

        async def hang(sent: Call) -> Reply:
            await asyncio.shield(server.connection.gone)
            raise ConnectionLost("killed", server="s")

        server.answer = hang
        retry = RetrySettings(idempotent=frozenset({"*"}))
        async with host_of({"s": server}, {"s": {"retry": retry}}) as host:
            waiting = [asyncio.create_task(call(host, "s")) for _ in range(8)]
            await asyncio.sleep(1.0)
            server.answer = None
            server.connection.die()
            outcomes = [brief(await one)[0] for one in waiting]
            assert outcomes.count("done") >= 6  # the retry budget of a quiet minute
            assert host.servers["s"].pipeline.breaker.state == "closed"

    run(main())


def test_while_it_is_away_its_tools_stay_with_the_reason_and_its_age() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}) as host:
            server.refuses = [ServerUnavailable("exit 3", server="s", reason="exited")] * 99
            server.connection.die("the server was killed")
            await asyncio.sleep(0.01)
            part = host.catalog.servers["s"]
            assert (set(part.tools), part.stale, part.as_of, part.known) == (
                {"echo"},
                "the server was killed",
                1e9,
                True,
            )
            await asyncio.sleep(5.0)
            hosted = host.servers["s"]
            assert (hosted.state, hosted.reason) == ("parked", "exit 3")
            assert hosted.next_try is not None
            error = error_of(await call(host, "s"))
            assert (error.kind, error.sent) == ("unavailable", "no")
            assert error.retry_after is not None
            server.refuses = []
            await asyncio.sleep(120.0)
            assert host.catalog.servers["s"].stale is None
            assert brief(await call(host, "s"))[0] == "done"

    run(main())


def test_a_fresh_connection_is_tried_though_the_breaker_was_open() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}, {"s": {"retry": RetrySettings(Retry(attempts=1))}}) as host:

            def reset(sent: Call) -> Reply:
                raise ConnectionLost("reset", server="s")

            server.answer = reset
            for _ in range(5):
                host.servers["s"].supervisor._losses.clear()  # five losses of five connections
                await call(host, "s")
            assert host.servers["s"].state == "degraded"
            assert isinstance(error_of(await call(host, "s")), CircuitOpen)
            server.answer = None
            server.connection.die()
            await asyncio.sleep(1.0)
            assert brief(await call(host, "s"))[0] == "done"
            assert host.servers["s"].state == "ready"

    run(main())


def test_waiting_for_a_server_ends_when_it_is_there_or_cannot_be() -> None:
    async def main() -> None:
        servers = {
            "late": FakeServer(opens_after=3.0),
            "never": FakeServer(opens_after=1e6),
            "auth": FakeServer(refuses=[NeedsAuth("log in", server="auth", reason="needs_auth")]),
            "good": FakeServer(),
        }
        async with host_of(servers) as host:
            await host.wait_for("late", 1008.0)
            assert now() == 3.0
            with pytest.raises(ServerUnavailable, match="no connection in time"):
                await host.wait_for("never", 1005.0)
            assert now() == 5.0
            assert host.servers["auth"].state == "needs_auth"
            with pytest.raises(NeedsAuth, match="log in"):
                await host.wait_for("auth", 1060.0)
            assert now() == 5.0
            host.wake("auth")
            await host.wait_for("auth", 1060.0)
            with pytest.raises(UnknownAddress):
                await host.wait_for("nobody", 1060.0)

    run(main())


def test_a_lazy_server_starts_with_its_first_call_and_stops_when_idle() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}, {"s": {"lazy": True, "idle_stop": 60.0}}) as host:
            await asyncio.sleep(100.0)
            assert (host.servers["s"].state, server.starts) == ("idle", 0)
            assert brief(await call(host, "s", arguments={"a": 1}))[0] == "done"
            assert host.servers["s"].state == "ready"
            await asyncio.sleep(50.0)
            await call(host, "s")
            await asyncio.sleep(50.0)
            assert host.servers["s"].state == "ready"
            await asyncio.sleep(20.0)
            assert (host.servers["s"].state, server.connection.closed) == ("idle", True)
            assert "echo" in host.catalog.servers["s"].tools
            assert brief(await call(host, "s"))[0] == "done"
            assert server.starts == 2

    run(main())


def test_a_call_in_flight_keeps_an_idle_server_up() -> None:
    async def main() -> None:
        server = FakeServer()

        async def slow(sent: Call) -> Reply:
            await asyncio.sleep(30.0)
            return text("ok")

        server.answer = slow
        async with host_of({"s": server}, {"s": {"idle_stop": 5.0}}) as host:
            assert brief(await call(host, "s", timeout=60.0))[0] == "done"
            assert server.starts == 1

    run(main())


def test_a_server_that_locks_us_out_in_mid_run_says_so_until_it_lets_us_in() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}) as host:

            def locked(sent: Call) -> Reply:
                raise NeedsAuth("token expired", server="s", reason="needs_auth")

            server.answer = locked
            assert brief(await call(host, "s")) == ("needs_auth", "no")
            assert (host.servers["s"].state, host.servers["s"].reason) == ("needs_auth", "token expired")
            server.answer = None
            assert brief(await call(host, "s"))[0] == "done"
            assert host.servers["s"].state == "ready"

    run(main())


def test_a_mistake_of_ours_in_one_connection_costs_that_server_alone() -> None:
    async def main() -> None:
        odd = FakeServer()
        odd.list_troubles = [RuntimeError("a bug")] * 99  # type: ignore[list-item] # on purpose
        async with host_of({"odd": odd, "good": FakeServer()}) as host:
            await host.settled()
            assert host.servers["odd"].reason == "it could not be connected: RuntimeError: a bug"
            assert brief(await call(host, "good"))[0] == "done"

    run(main())


# ---- what they list ------------------------------------------------------------------------------------------------


def test_a_changed_list_is_fetched_again_and_calls_wait_for_it() -> None:
    async def main() -> None:
        events: list[Any] = []
        server = FakeServer(lists_after=1.0)
        async with host_of({"s": server}, emit=events.append) as host:
            await asyncio.sleep(5.0)
            server.change([tool("echo"), tool("more")])
            assert brief(await call(host, "s"))[0] == "done"
            assert now() == pytest.approx(7.0)
            assert brief(await call(host, "s", "more"))[0] == "done"
            assert [event.tools for event in events if isinstance(event, CatalogChanged)] == [1, 2]

    run(main())


def test_a_list_that_keeps_changing_holds_nobody() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}) as host:
            for _ in range(100):
                server.change(server.tools)
                await asyncio.sleep(0.01)
                assert brief(await call(host, "s"))[0] == "done"
            assert now() < 2.0

    run(main())


def test_a_list_that_cannot_be_fetched_again_is_stale_and_looked_at_later() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}) as host:
            server.list_troubles = [ProtocolError("not now", server="s", code=-32603)]
            server.change([tool("echo"), tool("more")])
            await asyncio.sleep(2.0)
            part = host.catalog.servers["s"]
            assert (set(part.tools), part.stale) == ({"echo"}, "its list could not be fetched again: not now")
            assert brief(await call(host, "s"))[0] == "done"
            await asyncio.sleep(70.0)
            assert set(host.catalog.servers["s"].tools) == {"echo", "more"}

    run(main())


def test_a_changed_tool_of_an_untrusted_server_is_refused_until_it_is_trusted() -> None:
    async def main() -> None:
        server = FakeServer(tools=[tool("echo", "old"), tool("gone")])
        async with host_of({"s": server}) as host:
            waiting = host.prepare("s", "tools/call", "echo", {})
            server.change([tool("echo", "new"), tool("fresh")])
            await asyncio.sleep(1.0)
            for outcome in (await call(host, "s"), await host.attempt(waiting), await call(host, "s", "gone")):
                assert isinstance(error_of(outcome), ToolChanged)
                assert error_of(outcome).sent == "no"
            assert brief(await call(host, "s", "fresh"))[0] == "done"
            assert [(one.tool, one.present is None) for one in host.differences("s")] == [
                ("echo", False),
                ("gone", True),
            ]
            host.trust("s")
            assert host.differences("s") == []
            assert brief(await call(host, "s"))[0] == "done"
            assert server.starts == 1

    run(main())


def test_a_trusted_server_may_change_as_long_as_the_arguments_still_fit() -> None:
    async def main() -> None:
        server = FakeServer()
        async with host_of({"s": server}, {"s": {"trusted": True}}) as host:
            fits, breaks = (host.prepare("s", "tools/call", "echo", arguments) for arguments in ({"a": 1}, {}))
            server.change([tool("echo", "new", {"type": "object", "required": ["a"]})])
            await asyncio.sleep(1.0)
            assert brief(await host.attempt(fits))[0] == "done"
            assert brief(await host.attempt(breaks)) == ("tool_changed", "no")

    run(main())


@pytest.mark.proves("FR-ORCH-001")
def test_a_boundary_is_declared_by_the_server_or_the_configuration() -> None:
    async def main() -> None:
        own = FakeServer(boundary={"domain": "issues", "uris": ["jira://**"]})
        async with host_of(
            {"own": own, "third": FakeServer()}, {"third": {"boundary": BoundaryConfig("wiki", schemes=("wiki",))}}
        ) as host:
            found = {name: server.boundary for name, server in host.servers.items()}
            assert {name: (one.domain, one.uris, one.declared_by) for name, one in found.items() if one} == {
                "own": ("issues", ("jira://**",), "server"),
                "third": ("wiki", ("wiki://**",), "config"),
            }

    run(main())


# ---- what is remembered ---------------------------------------------------------------------------------------------


def test_definitions_are_remembered_between_runs(tmp_path: Path) -> None:
    async def first() -> None:
        async with host_of({"s": FakeServer(tools=[tool("echo", "old")])}, state=str(tmp_path)) as host:
            assert brief(await call(host, "s"))[0] == "done"

    async def second() -> None:
        async with host_of({"s": FakeServer(tools=[tool("echo", "new")])}, state=str(tmp_path)) as host:
            assert isinstance(error_of(await call(host, "s")), ToolChanged)
            host.trust("s")

    async def third() -> None:
        away = FakeServer(refuses=[ServerUnavailable("exit 3", server="s")] * 9)
        async with host_of({"s": away}, state=str(tmp_path)) as host:
            part = host.catalog.servers["s"]
            assert (part.tools["echo"].description, part.known) == ("new", True)
            assert part.stale

    asyncio.run(first())
    asyncio.run(second())
    asyncio.run(third())
    kept = next((tmp_path / "servers").iterdir())
    assert kept.stat().st_mode & 0o777 == 0o600
    assert len(list((tmp_path / "servers").iterdir())) == 1


def test_what_another_process_accepts_counts_here_too(tmp_path: Path) -> None:
    async def main() -> None:
        server = FakeServer(tools=[tool("echo", "old")])
        async with host_of({"s": server}, state=str(tmp_path)) as host:
            server.change([tool("echo", "new")])
            await asyncio.sleep(0.2)
            assert isinstance(error_of(await call(host, "s")), ToolChanged)
            async with host_of({"s": FakeServer(tools=[tool("echo", "new")])}, state=str(tmp_path)) as other:
                assert [one.tool for one in other.differences("s")] == ["echo"]
                other.trust("s")
            assert brief(await call(host, "s"))[0] == "done"

    asyncio.run(main())


def test_what_cannot_be_read_is_not_remembered(tmp_path: Path) -> None:
    async def main() -> None:
        async with host_of({"s": FakeServer()}, state=str(tmp_path)) as host:
            assert brief(await call(host, "s"))[0] == "done"

    asyncio.run(main())
    kept = next((tmp_path / "servers").iterdir())
    kept.write_bytes(kept.read_bytes()[:50])
    asyncio.run(main())
    assert orjson.loads(kept.read_bytes())["server"] == "s"


# ---- before anything is sent ---------------------------------------------------------------------------------------


def test_arguments_are_checked_and_the_error_names_field_and_kind() -> None:
    async def main() -> None:
        schema = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
        async with host_of({"s": FakeServer(tools=[tool("get", "", schema)])}) as host:
            with pytest.raises(InvalidArguments, match=r"`get`: `key` is missing \(expected string\)"):
                host.prepare("s", "tools/call", "get", {})
            with pytest.raises(UnknownAddress, match="did you mean `get`"):
                host.prepare("s", "tools/call", "gett", {})
            with pytest.raises(UnknownAddress, match="did you mean `s`"):
                host.prepare("ss", "tools/call", "get", {})

    run(main())


@pytest.mark.parametrize(
    ("policy", "name", "refused"),
    [
        (Policy(), "delete_all", False),
        (Policy(deny=("delete_*",)), "delete_all", True),
        (Policy(allow=("get_*",)), "delete_all", True),
        (Policy(allow=("delete_all",), deny=("delete_*",)), "delete_all", True),
        (Policy(allow=("delete_*",)), "delete_all", False),
    ],
)
def test_policy_decides_before_anything_is_sent(policy: Policy, name: str, refused: bool) -> None:
    async def main() -> None:
        server = FakeServer(tools=[tool("delete_all")])
        async with host_of({"s": server}, {"s": {"policy": policy}}) as host:
            outcome = await call(host, "s", name)
            assert (brief(outcome) == ("policy", "no")) is refused
            assert len(server.calls) == (not refused)

    run(main())


def test_policy_also_holds_for_a_server_that_was_not_listed_when_the_call_was_made() -> None:
    async def main() -> None:
        server = FakeServer(tools=[tool("delete_all")], opens_after=5.0)
        config = {"s": {"policy": Policy(deny=("delete_*",)), "lazy": True}}
        async with host_of({"s": server}, config) as host:
            assert brief(await call(host, "s", "delete_all")) == ("policy", "no")
            assert server.calls == []

    run(main())


def test_somebody_else_may_refuse_too() -> None:
    async def main() -> None:
        def refuse(made: Call) -> None:
            raise PolicyRefused("not today", server=made.server)

        async with host_of({"s": FakeServer()}, authorize=refuse) as host:
            assert brief(await call(host, "s")) == ("policy", "no")

    run(main())


HINTS: dict[str, Any] = {"annotations": {"readOnlyHint": True, "idempotentHint": True}}
KEYED = {"type": "object", "properties": {"idempotency_key": {"type": "string"}, "k": {"type": "string"}}}


@pytest.mark.parametrize(
    ("listed", "config", "key", "repeatable", "arguments"),
    [
        (tool("t", **HINTS), {}, None, False, {}),  # the hints of a stranger
        (tool("t", **HINTS), {"trusted": True}, None, True, {}),
        (tool("t"), {"trusted": True}, None, False, {}),
        (tool("t"), {"retry": RetrySettings(idempotent=frozenset({"t*"}))}, None, True, {}),
        (tool("t"), {"retry": RetrySettings(read_only=frozenset({"t"}))}, None, True, {}),
        (tool("t", "", KEYED), {}, None, False, {}),
        (tool("t", "", KEYED), {}, "k1", True, {"idempotency_key": "k1"}),
        (tool("t", "", KEYED), {"retry": RetrySettings(keyed={"t": "k"})}, "k1", True, {"k": "k1"}),
        (tool("t"), {}, "k1", False, {}),  # it declares no key: giving it one would be a guess
    ],
)
def test_what_may_be_sent_twice(
    listed: Any, config: dict[str, Any], key: str | None, repeatable: bool, arguments: dict[str, Json]
) -> None:
    async def main() -> None:
        async with host_of({"s": FakeServer(tools=[listed])}, {"s": config}) as host:
            made = host.prepare("s", "tools/call", "t", {}, key=key)
            assert (made.repeatable, made.arguments) == (repeatable, arguments)

    run(main())


# ---- questions ------------------------------------------------------------------------------


def asking(times: int, server: FakeServer) -> None:
    """Make it ask so many times before it answers."""

    def answer(sent: Call) -> Reply:
        rounds = 0 if sent.round is None else int(sent.round.state or 0)
        if rounds < times:
            raise InputRequired(Asked((Question("s", "elicitation", "sure?", key="q"),), str(rounds + 1)))
        return text("ok")

    server.answer = answer


def test_questions_are_answered_in_place() -> None:
    async def main() -> None:
        async def ask(question: Question) -> Answer:
            return Answer("accept", {"yes": True})

        server = FakeServer()
        asking(3, server)
        async with host_of({"s": server}, ask=ask) as host:
            assert brief(await call(host, "s"))[0] == "done"
            assert server.calls[-1].round == Round({"q": Answer("accept", {"yes": True})}, "3")

    run(main())


def test_an_unanswered_question_comes_back_and_the_same_round_goes_on_later() -> None:
    async def main() -> None:
        server = FakeServer()
        asking(1, server)
        async with host_of({"s": server}) as host:
            outcome = await call(host, "s")
            assert isinstance(outcome, Asked)
            assert (outcome.questions[0].message, outcome.state) == ("sure?", "1")
            answered = Round({"q": {"action": "accept"}}, outcome.state)
            assert brief(await call(host, "s", round=answered))[0] == "done"

    run(main())


def test_nobody_is_asked_longer_than_the_call_lasts() -> None:
    async def main() -> None:
        async def ask(question: Question) -> Answer:
            await asyncio.sleep(1e6)
            return Answer("accept")

        server = FakeServer()
        asking(1, server)
        async with host_of({"s": server}, ask=ask) as host:
            assert isinstance(await call(host, "s", deadline=1030.0), Asked)
            assert now() == 30.0

    run(main())


@pytest.mark.parametrize(
    ("answer", "kind", "sent"), [("accept", "done", 1), ("decline", "policy", 0), (None, "asked", 0)]
)
def test_what_needs_approval_is_sent_only_with_it(answer: Any, kind: str, sent: int) -> None:
    async def main() -> None:
        asked: list[Question] = []

        async def ask(question: Question) -> Answer | None:
            asked.append(question)
            return None if answer is None else Answer(answer)

        server = FakeServer()
        async with host_of({"s": server}, {"s": {"policy": Policy(approve=("ec*",))}}, ask=ask) as host:
            assert brief(await call(host, "s", arguments={"a": 1}))[0] == kind
            assert len(server.calls) == sent
            assert [(one.kind, one.message) for one in asked] == [("approval", 'Call s.echo with {"a":1}?')]

    run(main())


def test_an_approval_may_come_later() -> None:
    async def main() -> None:
        server = FakeServer()
        asking(1, server)
        async with host_of({"s": server}, {"s": {"policy": Policy(approve=("*",))}}) as host:
            first = await call(host, "s")
            assert isinstance(first, Asked)
            assert server.calls == []
            refused = await call(host, "s", round=Round({APPROVAL: {"action": "decline"}}, None))
            assert brief(refused) == ("policy", "no")
            second = await call(host, "s", round=Round({first.questions[0].key: Answer("accept")}, None))
            assert isinstance(second, Asked)
            assert second.questions[0].kind == "elicitation"
            third = await call(host, "s", round=Round({"q": Answer("accept")}, second.state))
            assert brief(third)[0] == "done"  # approved once, for all rounds

    run(main())


# ---- reading ------------------------------------------------------------------------------


@pytest.mark.proves("FR-ORCH-002", "FR-ORCH-004")
def test_many_are_read_at_once_and_one_that_is_down_costs_its_own() -> None:
    async def main() -> None:
        names = [f"s{number}" for number in range(30)]
        servers = {name: FakeServer(boundary={"uris": [f"{name}://**"]}) for name in names}

        async def slow(sent: Call) -> Reply:
            await asyncio.sleep(2.0)
            return text("ok")

        for server in servers.values():
            server.answer = slow
        async with host_of(servers, {"s3": {"retry": RetrySettings(Retry(attempts=1))}}) as host:
            servers["s3"].refuses = [ServerUnavailable("exit 3", server="s3")] * 99
            servers["s3"].connection.die()
            began = now()
            outcomes = await host.read([f"{name}://x" for name in names] + ["nobody://x"])
            assert now() - began < 2.0 + 5.0
            failed = {uri: brief(outcome) for (_, uri), outcome in outcomes.items() if not isinstance(outcome, Done)}
            assert failed == {"s3://x": ("unavailable", "no"), "nobody://x": ("unknown_address", "no")}
            assert list(outcomes) == [(None, f"{name}://x") for name in [*names]] + [(None, "nobody://x")]

    run(main())


def test_reads_wait_for_room_instead_of_failing() -> None:
    async def main() -> None:
        server = FakeServer(boundary={"uris": ["s://**"]})
        async with host_of({"s": server}, {"s": {"limits": Limits(concurrency=2, queue=1)}}) as host:
            outcomes = await host.read([f"s://{number}" for number in range(40)])
            assert {brief(outcome)[0] for outcome in outcomes.values()} == {"done"}

    run(main())


def test_an_address_of_a_server_that_is_on_its_way_is_waited_for() -> None:
    async def main() -> None:
        late = FakeServer(boundary={"uris": ["late://**"]}, opens_after=3.0)
        async with host_of({"late": late, "good": FakeServer()}) as host:
            outcomes = await host.read(["late://x", ("good", "any://thing")])
            assert [brief(outcome)[0] for outcome in outcomes.values()] == ["done", "done"]

    run(main())


# ---- secrets and observers ------------------------------------------------------------------------------


@pytest.mark.proves("FR-ORCH-005")
def test_no_secret_comes_out_in_replies_errors_or_events() -> None:
    async def main() -> None:
        secret, other = 'hunter2"\\x', "ghp_0123456789"
        events: list[Any] = []
        server = FakeServer(tools=[tool("echo"), tool("fail"), tool("break")])

        def answer(sent: Call) -> Reply:
            if sent.name == "fail":
                raise ToolError(
                    f"bad {secret}", server="s", tool="fail", content=({"text": other},), data={"k": [other]}
                )
            if sent.name == "break":
                raise ProtocolError(f"bad {other}", server="s", code=-32603, data={"k": secret})
            return ToolResult(orjson.dumps({"content": [{"type": "text", "text": f"a {secret} b {other}"}]}))

        server.answer = answer
        async with host_of(
            {"s": server}, {"s": {"secrets": (secret,)}}, emit=events.append, secrets={"x": other}
        ) as host:
            outcome = await call(host, "s")
            assert isinstance(outcome, Done)
            assert outcome.data == "a *** b ***"
            for name in ("fail", "break"):
                error = error_of(await call(host, "s", name))
                shown = f"{error!r}{error}{vars(error)}"
                assert "hunter2" not in shown
                assert "ghp_" not in shown
            assert "hunter2" not in str(events)
            assert "ghp_" not in str(events)

    run(main())


@pytest.mark.parametrize("before", [0, (1 << 20) - 8, (1 << 20) + (1 << 16) - 8, 3 << 20])
def test_a_secret_anywhere_in_a_large_reply_is_found(before: int) -> None:
    async def main() -> None:
        secret = "ghp_0123456789"
        server = FakeServer()
        server.answer = lambda _: text("x" * before + secret + "y" * (4 << 20))
        async with host_of({"s": server}, {"s": {"secrets": (secret,)}}) as host:
            outcome = await call(host, "s")
            assert isinstance(outcome, Done)
            assert secret not in outcome.data
            assert len(outcome.data) == before + len("***") + (4 << 20)

    run(main())


def test_questions_and_late_answers_hold_no_secrets_either() -> None:
    async def main() -> None:
        secret, heard = "ghp_0123456789", list[Any]()
        server = FakeServer()

        def answer(sent: Call) -> Reply:
            assert sent.on_late is not None
            sent.on_late(text(f"late {secret}"))
            sent.on_late(ConnectionLost(f"late {secret}", server="s"))
            raise InputRequired(Asked((Question("s", "url", f"use {secret}", url=f"https://x/{secret}", key="q"),)))

        server.answer = answer
        async with host_of({"s": server}, {"s": {"secrets": (secret,)}}) as host:
            made = host.prepare("s", "tools/call", "echo", {})
            made.on_late = heard.append
            outcome = await host.attempt(made)
            assert isinstance(outcome, Asked)
            assert (outcome.questions[0].message, outcome.questions[0].url) == ("use ***", "https://x/***")
            assert heard[0].data == "late ***"
            assert str(heard[1]) == "s: late ***"

    run(main())


def test_a_reply_without_secrets_is_handed_on_as_it_is() -> None:
    async def main() -> None:
        server, reply = FakeServer(), text("plain")
        server.answer = lambda _: reply
        async with host_of({"s": server}, {"s": {"secrets": ("hunter2-long",)}}) as host:
            outcome = await call(host, "s")
            assert isinstance(outcome, Done)
            assert outcome.reply is reply

    run(main())


def test_observers_hear_how_each_call_and_each_server_fared() -> None:
    async def main() -> None:
        events: list[Any] = []
        server = FakeServer()
        async with host_of(
            {"s": server}, {"s": {"retry": RetrySettings(Retry(attempts=1))}}, emit=events.append
        ) as host:
            await call(host, "s")

            async def hang(sent: Call) -> Reply:
                await asyncio.sleep(1e6)
                return text("")

            server.answer = hang
            trying = asyncio.create_task(call(host, "s"))
            await asyncio.sleep(1.0)
            trying.cancel()
            await asyncio.wait([trying])
            assert trying.cancelled()
        states = [event.state for event in events if isinstance(event, ServerChanged)]
        assert states == ["ready", "disabled"]
        assert [event.name for event in events if isinstance(event, CallStarted)] == ["echo", "echo"]
        settled = [(event.kind, event.sent, event.attempts) for event in events if isinstance(event, CallSettled)]
        assert settled == [("done", "yes", 1), ("cancelled", "unknown", 1)]

    run(main())


def test_the_neighbours_queue_is_not_ours() -> None:
    async def main() -> None:
        busy, free = FakeServer(), FakeServer()

        async def hang(sent: Call) -> Reply:
            await asyncio.sleep(4.0)
            return text("ok")

        busy.answer = hang
        config = {"busy": {"limits": Limits(concurrency=1, queue=0), "timeout": Timeouts(call=5.0)}}
        async with host_of({"busy": busy, "free": free}, config) as host:
            first = asyncio.create_task(call(host, "busy"))
            await asyncio.sleep(0.1)
            assert brief(await call(host, "busy")) == ("queue_full", "no")
            assert brief(await call(host, "free"))[0] == "done"
            assert now() == pytest.approx(0.1)
            await first

    run(main())


_ = OBJECT, Scene


# -- watching ---------------------------------------------------------------------------------------------------------


def test_a_change_is_told_to_everybody_who_watches_the_resource_and_once_while_nobody_looks() -> None:
    async def main() -> None:
        files = FakeServer()
        async with host_of({"a": files}) as host, host.watch(["a=a://x", "a=a://y"]) as one:
            async with host.watch([("a", "a://x")]) as two:
                assert files.connection.watched == {"a://x", "a://y"}
                for uri in ("a://x", "a://x/below", "a://xx", "a://y"):
                    files.connection.updated(uri)
                assert [await anext(one), await anext(one), await anext(two)] == ["a://x", "a://y", "a://x"]
                late = asyncio.ensure_future(anext(one))
                await asyncio.sleep(1)
                files.connection.updated("a://y")
                assert await late == "a://y"
            assert files.connection.watched == {"a://x", "a://y"}
        assert files.connection.watched == set()

    run(main())


def test_after_it_was_away_everything_watched_there_counts_as_changed() -> None:
    async def main() -> None:
        files = FakeServer()
        async with host_of({"a": files}) as host, host.watch([("a", "a://x")]) as changes:
            files.connection.die()
            async with asyncio.timeout(60):
                assert await anext(changes) == "a://x"
            assert (files.starts, files.connection.watched) == (2, {"a://x"})

    run(main())


def test_who_is_watched_is_not_stopped_for_lack_of_calls() -> None:
    async def main() -> None:
        files = FakeServer()
        configs = {"a": {"lazy": True, "idle_stop": 5.0}}
        async with host_of({"a": files}, configs) as host:
            async with host.watch([("a", "a://x")]):
                await asyncio.sleep(60)
                assert (host.servers["a"].state, files.starts) == ("ready", 1)
            await asyncio.sleep(60)
            assert host.servers["a"].state == "idle"

    run(main())


def test_what_nobody_tells_of_is_named() -> None:
    async def main() -> None:
        servers = {"a": FakeServer(), "b": FakeServer(subscribes=False)}
        async with host_of(servers) as host, host.watch([("a", "a://x"), ("b", "b://x"), ("c", "c://x")]) as changes:
            assert changes.uris == {"a://x": "a"}
            assert {uri: error.message for uri, error in changes.missing.items()} == {
                "b://x": "it does not tell of changes of its resources",
                "c://x": "there is no server `c`",
            }

    run(main())
