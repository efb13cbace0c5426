"""What operators of workers see: metrics from events, health over HTTP, lines of logs; no data and no secret in any."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Generator

import aiohttp
import pytest

from motet.errors import ConfigError
from motet.events import AttemptFailed, CallSettled, LegBegan, LegEnded, RunChanged, ServerChanged, StepChanged
from motet.monitor import logs
from motet.monitor.http import serving
from motet.monitor.metrics import Metrics


def told() -> Metrics:
    """Metrics after one run of one step."""
    metrics = Metrics()
    for event in (
        ServerChanged(0.0, "jira", "connecting"),
        ServerChanged(0.0, "jira", "ready"),
        LegBegan(0.0, "r1", "flow", takeover=True),
        AttemptFailed(0.0, "jira", "get_issue", 1, "connection_lost", "secret-ish words", "no", 0.5),
        CallSettled(0.0, "jira", "tools/call", "get_issue", "done", 0.03, 2),
        StepChanged(0.0, "r1", "step-one", "running"),
        StepChanged(0.0, "r1", "step-one", "done"),
        RunChanged(0.0, "r1", "flow", "complete"),
        LegEnded(0.0, "r1", "flow", "complete", 0.4),
        object(),
    ):
        metrics.tell(event)
    return metrics


@pytest.mark.parametrize(
    "line",
    [
        'motet_calls_total{method="tools/call",outcome="done",sent="yes",server="jira"} 1.0',
        'motet_call_seconds_count{server="jira"} 1.0',
        'motet_failed_attempts_total{kind="connection_lost",retried="yes",server="jira"} 1.0',
        'motet_server_state{server="jira",state="ready"} 1.0',
        'motet_server_state{server="jira",state="connecting"} 0.0',
        'motet_steps_total{status="done",workflow="flow"} 1.0',
        'motet_runs_total{status="complete",workflow="flow"} 1.0',
        "motet_legs 0.0",
        'motet_legs_ended_total{how="complete",workflow="flow"} 1.0',
        'motet_takeovers_total{workflow="flow"} 1.0',
    ],
)
def test_events_become_metrics(line: str) -> None:
    assert line in told().text().decode().splitlines()


def test_no_run_step_tool_or_message_is_a_label() -> None:
    text = told().text().decode()
    assert not [word for word in ("r1", "step-one", "get_issue", "secret-ish") if word in text]


async def get(address: str, path: str, *, method: str = "GET") -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, address + path) as response:
        return response.status, await response.text()


async def test_health_says_what_is_wrong_and_readiness_also_that_it_is_to_end() -> None:
    wrong: dict[str, str] = {}
    unready: dict[str, str] = {}
    async with serving("127.0.0.1:0", healthy=lambda: wrong, ready=lambda: unready, metrics=told()) as address:
        assert await get(address, "/healthz") == (200, '{"ok": true}')
        assert await get(address, "/readyz") == (200, '{"ok": true}')
        unready["draining"] = "it is to end"
        assert (await get(address, "/healthz"))[0] == 200
        assert await get(address, "/readyz") == (503, '{"ok": false, "wrong": {"draining": "it is to end"}}')
        wrong["database"] = "gone"
        assert await get(address, "/healthz") == (503, '{"ok": false, "wrong": {"database": "gone"}}')
        assert await get(address, "/livez") == (200, '{"ok": true}')  # no reason to restart it
        status, text = await get(address, "/metrics")
        assert (status, "motet_calls_total" in text) == (200, True)
        assert (await get(address, "/"))[0] == 404
        assert (await get(address, "/metrics", method="POST"))[0] == 405


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999", "127.0.0.1:http", "192.0.2.1:9464"])
async def test_an_address_that_cannot_be_served_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"no address|cannot serve"):
        async with serving(address, healthy=dict, ready=dict, metrics=Metrics()):
            pass


@pytest.fixture
def lines(request: pytest.FixtureRequest) -> Generator[io.StringIO]:
    """Where the lines go."""
    to = io.StringIO()
    handler = logs.write(request.param, redact=lambda text: text.replace("hunter2", "***"), worker="w1", to=to)
    yield to
    logs.stop(handler)


@pytest.mark.parametrize("lines", ["json"], indirect=True)
def test_events_and_records_of_libraries_become_json_lines(lines: io.StringIO) -> None:
    logs.tell(LegEnded(0.0, "r1", "flow", "lost", 1.23456))
    logs.tell(StepChanged(0.0, "r1", "s", "failed", server="jira", message="password hunter2\x1b[31m\nX"))
    logs.tell(StepChanged(0.0, "r1", "s", "done"))
    logging.getLogger("procrastinate.worker").error("lost %s", "hunter2")
    logging.getLogger("procrastinate.worker").info("nobody needs this")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(one["level"], one["event"], one["worker"]) for one in found] == [
        ("warning", "leg ended", "w1"),
        ("warning", "step is failed", "w1"),
        ("error", "lost ***", "w1"),
    ]
    assert (found[0]["how"], found[0]["took"], found[1]["server"]) == ("lost", 1.235, "jira")
    assert found[1]["why"] == "password ***\x1b[31m\nX"  # escaped by JSON
    assert "\x1b" not in lines.getvalue()
    assert found[0]["time"].endswith("Z")


@pytest.mark.parametrize("lines", ["text"], indirect=True)
def test_text_lines_hold_no_control_characters_and_one_event_each(lines: io.StringIO) -> None:
    logs.tell(ServerChanged(0.0, "jira", "down", "it said \x1b[2J\nbye hunter2"))
    (line,) = lines.getvalue().splitlines()
    assert line.partition(" ")[2] == "warning server is down server=jira state=down why=it said  [2J bye ***"


@pytest.mark.parametrize("lines", ["json"], indirect=True)
def test_an_exception_comes_with_its_trace_and_without_secrets(lines: io.StringIO) -> None:
    try:
        int("hunter2")
    except ValueError:
        logging.getLogger("motet.worker").exception("run %s", "r1")
    (line,) = lines.getvalue().splitlines()
    assert "ValueError: invalid literal for int() with base 10: '***'" in json.loads(line)["trace"]
    assert "hunter2" not in line
