from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
from pathlib import Path

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from motet_servers.jira.__main__ import COMMAND as JIRA
from motet_servers.kit.command import announcement

HERE = Path(__file__).parent
SERVER = str(HERE / "kit_server.py")


async def run(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """The command's exit code, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SERVER, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean(env),
    )
    output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


def clean(env: dict[str, str] | None = None) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), **(env or {})}


async def test_a_missing_credential_is_one_line_that_names_it_and_where_to_get_it() -> None:
    code, output, errors = await run()
    assert (code, output) == (2, "")
    assert errors == (
        "motet-server-sample: SAMPLE_TOKEN is not set: the token. Get one at https://example.com/tokens.\n"
    )


def test_a_refused_start_leaves_collector_and_logging_as_they_were(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("FASTMCP_LOG_ENABLED", "FASTMCP_ENV_FILE"):
        monkeypatch.setenv(name, "")  # given back afterwards
    root = logging.getLogger()
    before = (gc.isenabled(), root.level, root.handlers[:])
    assert JIRA.main([], {}) == 2
    assert capsys.readouterr().err.startswith("motet-server-jira: JIRA_URL is not set")
    assert (gc.isenabled(), root.level, root.handlers) == before


async def test_help_names_the_variables_that_are_read() -> None:
    code, output, _ = await run("--help")
    assert code == 0
    assert "SAMPLE_TOKEN\n      the token. Get one at https://example.com/tokens." in output


async def test_version_tells_the_release() -> None:
    code, output, _ = await run("--version")
    assert (code, output.split()[0]) == (0, "motet-server-sample")


async def test_a_port_in_use_is_one_line_and_exit_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output, errors = await run("--http", "--port", str(port), env={"SAMPLE_TOKEN": "x"})
    assert (code, output) == (2, "")
    assert errors == (
        f"motet-server-sample: cannot listen on 127.0.0.1:{port}: Address already in use. "
        "Choose another with --port (0: any).\n"
    )


async def test_a_wrong_option_is_exit_2() -> None:
    code, _, errors = await run("--port", "high")
    assert code == 2
    assert "invalid" in errors


async def test_it_serves_stdio_and_its_log_holds_no_secret_even_in_a_traceback(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:
        transport = StdioTransport(
            sys.executable, [SERVER], env=clean({"SAMPLE_TOKEN": "t0k3n-value"}), log_file=file, keep_alive=False
        )
        async with Client(transport) as client:
            assert len(await client.list_tools()) == 4
            await client.call_tool("fail", {"how": "crash"}, raise_on_error=False)
    text = log.read_text()
    assert "RuntimeError: crashed with [redacted]" in text
    assert "t0k3n-value" not in text


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_where_it_listens_is_said_in_one_line(host: str, shown: str) -> None:
    assert announcement("x", host, 8000) == f"x: listening on http://{shown}:8000/mcp"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_listening_for_others_is_warned_of_first(host: str) -> None:
    warning, where = announcement("x", host, 8000).splitlines()
    assert warning == "x: there is no login: whoever reaches this address acts with the server's credentials"
    assert where.startswith("x: listening on http://")


async def test_it_serves_streamable_http_on_any_free_port() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SERVER, "--http", "--port", "0"),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=clean({"SAMPLE_TOKEN": "t0k3n-value"}),
    )
    try:
        assert process.stderr
        async with asyncio.timeout(15):
            line = (await process.stderr.readline()).decode()
        url = line.split()[-1]
        assert line.startswith("sample-mcp-server: listening on http://127.0.0.1:")
        async with Client(url) as client:
            result = await client.call_tool("get_item", {"id": 1})
        assert result.structured_content == {"id": 1, "name": "one"}
    finally:
        process.terminate()
        await process.communicate()
