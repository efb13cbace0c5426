"""The bundled servers in this process, on a playground in this process: everything real but the pipes between."""

from collections.abc import AsyncGenerator, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from motet import Orchestrator
from motet.cli import examples
from motet_servers.kit.settings import Values
from motet_servers.playground.world import Playground

NAMES = ("jira", "github", "calendar", "deploy", "slack")


def bundled(server: str, environment: Mapping[str, str]) -> Any:
    """A bundled server as an object, seeing these variables and no others."""
    command: Any = import_module(f"motet_servers.{server}.__main__").COMMAND
    module, _, function = command.build.partition(":")
    return getattr(import_module(module), function)(Values(command.variables, environment), [])


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground() as running:
        yield running


@pytest.fixture
def deploy_root(tmp_path: Path) -> Path:
    for version in ("v2.0.0", "v2.1.0"):
        release = tmp_path / "artifacts" / version
        release.mkdir(parents=True)
        (release / "app.py").write_text((examples.folder() / "web-service" / "app.py").read_text())
        (release / "VERSION").write_text(version)
    return tmp_path


@pytest.fixture
def configured(playground: Playground, deploy_root: Path) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """Name in the configuration -> bundled server, as a configuration; each server gets its own variables."""
    told: dict[str, Any] = {**playground.environment(), "deploy": {"DEPLOY_ROOT": str(deploy_root)}}
    fast = {"retry": {"base": 0.001, "cap": 0.001}, "trusted": True}

    def configuration(names: Mapping[str, str]) -> dict[str, Any]:
        return {"servers": {name: {"object": bundled(server, told[server]), **fast} for name, server in names.items()}}

    return configuration


@pytest.fixture
async def motet(configured: Callable[[Mapping[str, str]], dict[str, Any]]) -> AsyncGenerator[Orchestrator]:
    async with Orchestrator.from_config(configured(dict(zip(NAMES, NAMES, strict=True)))) as running:
        yield running
        await running.attempt("deploy", "stop", {"env": "staging"})
