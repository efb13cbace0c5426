"""What people write comes out whole, or as one message naming file, line, key and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from motet.calls import Retry
from motet.config.loading import load_config
from motet.config.model import (
    BoundaryConfig,
    BreakerSettings,
    HttpTransport,
    InProcessTransport,
    OAuth,
    Policy,
    StdioTransport,
    Timeouts,
)
from motet.config.secrets import Redactor
from motet.config.values import duration, expand, line_of, secret, size
from motet.errors import ConfigError

DESIGN = """\
include = [".mcp.json"]
[defaults]
timeout = {connect = "20s", call = "30s"}
[servers.jira]
command = "jira-mcp"
timeout  = {call = "5s", tools = {transition_issue = "15s"}}
retry    = {attempts = 3, idempotent = ["transition_issue"], keyed = {create_issue = "idempotency_key"}}
breaker  = {calls = 5, failure_rate = 0.5, window = "30s", open_for = "15s"}
concurrency = 4
boundary = {domain = "issues", schemes = ["jira"]}
tools    = {allow = ["get_*", "create_issue", "transition_issue"], deny = ["delete_*"], approve = ["transition_issue"]}
secrets  = {JIRA_TOKEN = "env:JIRA_TOKEN"}
limits   = {answer = "1MiB", tools = 20}
reap     = "group"
"""


def written(folder: Path, text: str, name: str = "motet.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(source: Any, **env: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(source, env=env)
    return caught.value


def test_the_design_example_means_what_it_says(tmp_path: Path) -> None:
    written(tmp_path, json.dumps({"mcpServers": {"files": {"command": "npx", "args": ["-y", "files"]}}}), ".mcp.json")
    config = load_config(written(tmp_path, DESIGN), env={"JIRA_TOKEN": "s3cret-token"})
    assert set(config.servers) == {"files", "jira"}
    jira = config.servers["jira"]
    assert jira.transport == StdioTransport("jira-mcp", (), {"JIRA_TOKEN": "s3cret-token"})
    assert jira.timeout == Timeouts(connect=20.0, call=5.0, tools={"transition_issue": 15.0})
    assert jira.retry.policy == Retry(attempts=3)
    assert jira.retry.idempotent == {"transition_issue"}
    assert jira.retry.keyed == {"create_issue": "idempotency_key"}
    assert jira.breaker == BreakerSettings(calls=5, failure_rate=0.5, window=30.0, open_for=15.0)
    assert (jira.limits.concurrency, jira.limits.answer, jira.limits.tools) == (4, 1 << 20, 20)
    assert jira.policy == Policy(("get_*", "create_issue", "transition_issue"), ("delete_*",), ("transition_issue",))
    assert jira.boundary == BoundaryConfig("issues", "", ("jira",))
    assert jira.secrets == ("s3cret-token",)
    assert jira.reap == "group"
    assert config.servers["files"].timeout.connect == 20.0
    assert config.files == (str(tmp_path / "motet.toml"), str(tmp_path / ".mcp.json"))


def test_a_secret_is_in_no_repr(tmp_path: Path) -> None:
    written(tmp_path, "{}", ".mcp.json")
    config = load_config(written(tmp_path, DESIGN), env={"JIRA_TOKEN": "s3cret-token"})
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".mcp.json", '{"mcpServers": {"x": {"command": "c", "args": ["a"], "timeout": 60000, "alwaysAllow": ["t"]}}}'),
        ("mcp.json", '// VS Code\n{"servers": {"x": {"type": "stdio", "command": "c", "args": ["a"]}}, "inputs": []}'),
        ("settings.json", '{"mcp": {"servers": {"x": {"command": "c", "args": ["a"]}}}}'),
        ("config.toml", 'model = "m"\n[mcp_servers.x]\ncommand = "c"\nargs = ["a"]\nstartup_timeout_ms = 5\n'),
    ],
)
def test_other_hosts_files_are_read_unchanged(tmp_path: Path, name: str, text: str) -> None:
    assert load_config(written(tmp_path, text, name), env={}).servers["x"].transport == StdioTransport("c", ("a",))


def test_a_disabled_server_of_another_host_stays_disabled(tmp_path: Path) -> None:
    path = written(tmp_path, '{"mcpServers": {"x": {"url": "http://localhost/mcp", "disabled": true}}}', "mcp.json")
    assert not load_config(path, env={}).servers["x"].enabled


def test_our_file_overlays_an_included_server_by_name(tmp_path: Path) -> None:
    written(tmp_path, '{"mcpServers": {"x": {"command": "c", "env": {"A": "1"}}}}', ".mcp.json")
    ours = 'include = [".mcp.json"]\n[servers.x]\nrequired = true\nenv = {B = "2"}\n'
    server = load_config(written(tmp_path, ours), env={}).servers["x"]
    assert server.transport == StdioTransport("c", (), {"A": "1", "B": "2"})
    assert server.required


def test_another_transport_replaces_the_included_one_whole(tmp_path: Path) -> None:
    written(tmp_path, '{"mcpServers": {"x": {"command": "c", "args": ["a"]}}}', ".mcp.json")
    ours = 'include = [".mcp.json"]\n[servers.x]\nurl = "https://example.test/mcp"\n'
    assert load_config(written(tmp_path, ours), env={}).servers["x"].transport == HttpTransport(
        "https://example.test/mcp"
    )


def test_variables_are_filled_in_where_they_are_used() -> None:
    entry = {"url": "https://${HOST:-localhost}/mcp", "headers": {"Authorization": "Bearer ${env:TOKEN}"}}
    server = load_config({"mcpServers": {"x": entry}}, env={"TOKEN": "tok-123456"}).servers["x"]
    assert server.transport == HttpTransport("https://localhost/mcp", {"Authorization": "Bearer tok-123456"})
    assert set(server.secrets) == {"Bearer tok-123456", "tok-123456"}


def test_environment_values_named_like_secrets_count_as_secrets() -> None:
    entry = {"command": "c", "env": {"GITHUB_TOKEN": "ghp_123456", "LEVEL": "debug"}}
    assert load_config({"mcpServers": {"x": entry}}, env={}).servers["x"].secrets == ("ghp_123456",)


def test_client_credentials_are_read() -> None:
    auth = {"client_id": "me", "client_secret": "${S}", "grant": "client_credentials", "scopes": ["a"]}
    server = load_config({"servers": {"x": {"url": "http://h/mcp", "auth": auth}}}, env={"S": "hush-hush"}).servers["x"]
    assert isinstance(server.transport, HttpTransport)
    assert server.transport.auth == OAuth("me", "hush-hush", ("a",), "client_credentials")


def test_a_server_object_may_stand_in_a_mapping() -> None:
    server = object()
    assert load_config({"servers": {"x": server}}, env={}).servers["x"].transport == InProcessTransport(server)


def test_a_mapping_remembers_nothing_on_disk_unless_asked(tmp_path: Path) -> None:
    assert load_config({"servers": {}}, env={}).state is None
    assert load_config({"servers": {}, "state": str(tmp_path)}, env={}).state == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[servers.a]\ncomand = 'x'", "motet.toml:2: servers.a.comand: unknown key; did you mean `command`?", ""),
        ("[server.a]\ncommand = 'x'", "motet.toml:1: server: unknown key; did you mean `servers`?", ""),
        (
            "[servers.a]\n",
            "motet.toml:1: servers.a: has neither `command` nor `url`",
            "a server is a command to start, or a url to reach",
        ),
        (
            "[servers.a]\ncommand = 'x'\nurl = 'http://h'",
            "motet.toml:1: servers.a: has both `command` and `url`",
            "a server is a command to start, or a url to reach",
        ),
        ("[servers.a]\nurl = 'ftp://h'", "motet.toml:2: servers.a.url: expected http:// or https://", ""),
        (
            "[servers.a]\ncommand = 'x'\ntimeout = 'soon'",
            (
                "motet.toml:3: servers.a.timeout.call: 'soon' is no duration: "
                "write seconds, or text such as '500ms', '30s', '1h30m', '1d'"
            ),
            "",
        ),
        (
            "[servers.a]\ncommand = '${NOT_THERE}'",
            "motet.toml:2: servers.a.command: the variable NOT_THERE is not set (server 'a')",
            "export it, or give a default: ${NAME:-default}",
        ),
        (
            "[servers.a]\ncommand = 'x'\nsecrets = {T = 'hunter2'}",
            "motet.toml:3: servers.a.secrets.T: a secret is written as 'env:NAME' or 'file:PATH'",
            "",
        ),
        ("include = ['gone.json']", "motet.toml:1: include: ", ""),
        ("[servers", "motet.toml: not valid TOML: ", ""),
        ("[servers.'a.b']\ncommand = 'x'", "servers.a.b: not a usable server name", "a server's name is what stands"),
    ],
)
def test_a_mistake_is_named_with_file_line_key_and_remedy(tmp_path: Path, text: str, message: str, hint: str) -> None:
    error = refused(written(tmp_path, text))
    assert message in error.message
    assert hint in error.hint
    assert "hunter2" not in error.message


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    error = refused(tmp_path / "motet.toml")
    assert error.message == f"{tmp_path / 'motet.toml'}: no such file"
    assert "motet init" in error.hint


def test_broken_json_is_named_by_line_and_column(tmp_path: Path) -> None:
    error = refused(written(tmp_path, '{"mcpServers": {\n  "x": }\n}', "mcp.json"))
    assert "mcp.json:2:8: not valid JSON" in error.message


@pytest.mark.parametrize(
    ("text", "seconds"), [(5, 5.0), (0.25, 0.25), ("500ms", 0.5), ("30s", 30.0), ("1h30m", 5400.0), ("1d", 86400.0)]
)
def test_durations(text: object, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5", "-1s", -1, True, None, float("nan"), "1e9d", "5 s s"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@pytest.mark.parametrize(("text", "count"), [(10, 10), ("64KiB", 65536), ("16MiB", 16 << 20), ("1 kB", 1000)])
def test_sizes(text: object, count: int) -> None:
    assert size(text) == count


def test_a_default_stands_in_for_an_empty_variable(tmp_path: Path) -> None:
    assert expand("${A:-x}/${B:-y}", {"A": ""}, folder=tmp_path) == "x/y"


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc123\n")
    assert secret("file:token", {}, folder=tmp_path) == "abc123"


def test_a_line_is_found_by_its_whole_path() -> None:
    text = "[servers.a]\ncommand = 'x'\n[servers.b]\ncommand = 'y'\n"
    assert line_of(text, ("servers", "b", "command")) == 4


def test_the_redactor_replaces_exact_values_in_every_form() -> None:
    redact = Redactor(['pa"ss/word', "short"])
    assert redact.text('x pa"ss/word y') == "x *** y"
    assert json.loads(redact.raw(json.dumps({"a": 'pa"ss/word'}).encode())) == {"a": "***"}
    assert redact.json({"k": ['pa"ss/word', 1, None]}) == {"k": ["***", 1, None]}
    assert redact.text("short") == "short"
    assert not Redactor([])
