"""What every bundled server declares of itself is what `motet servers` shows."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from motet_servers.playground.world import Playground

DOMAINS = {
    "filesystem": "files",
    "github": "github",
    "database": "db",
    "jira": "jira",
    "calendar": "calendar",
    "deploy": "deploy",
    "slack": "slack",
}
"""Per server the scheme of its addresses."""


def configuration(playground: Playground, folder: Path) -> str:
    """All seven, each with its own environment and nothing else."""
    found: dict[str, Any] = {
        **playground.environment(),
        "filesystem": {"FILESYSTEM_ROOTS": str(folder)},
        "database": {"DATABASE_URL": f"sqlite:///{folder / 'data.db'}"},
        "deploy": {"DEPLOY_ROOT": str(folder / "deploy")},
    }
    servers = {
        name: {"command": sys.executable, "args": ["-m", f"motet_servers.{name}"], "env": found[name]}
        for name in DOMAINS
    }
    return json.dumps({"mcpServers": servers})


@pytest.mark.proves("FR-ORCH-001", "CP-04")
@pytest.mark.timeout(120)  # seven processes start, on a machine that may be busy
async def test_motet_servers_shows_the_boundary_that_each_bundled_server_declares(tmp_path: Path) -> None:
    (tmp_path / "data.db").touch()
    (tmp_path / "deploy").mkdir()
    async with Playground() as playground:
        (tmp_path / "mcp.json").write_text(configuration(playground, tmp_path))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "motet", "servers", "--config", str(tmp_path / "mcp.json"), "--json"),
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(110):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    shown = {each["name"]: each for each in json.loads(out)["servers"]}
    assert (process.returncode, shown.keys()) == (0, DOMAINS.keys()), err
    for name, scheme in DOMAINS.items():
        server = shown[name]
        assert (server["state"], server["declared_by"], server["left_out"]) == ("ready", "server", [])
        assert server["domain"]
        assert server["description"]
        assert server["uris"]
        assert all(uri.startswith(f"{scheme}://") for uri in server["uris"])
    assert len({server["domain"] for server in shown.values()}) == len(DOMAINS)
