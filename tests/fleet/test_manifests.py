"""The files an operator starts from: valid by the official schemas, and true of `motet worker`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate  # pyright: ignore[reportMissingTypeStubs] - it has none
import pytest
import yaml
from click.testing import CliRunner

from motet.cli.main import cli

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "fleet"
UNIT = FOLDER / "motet-worker@.service"


def documents(name: str) -> list[dict[str, Any]]:
    """The documents of a YAML file."""
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def options() -> set[str]:
    """The options that `motet worker` has."""
    text = CliRunner().invoke(cli, ["worker", "--help"]).output
    return set(re.findall(r"--[a-z]+", text))


def test_the_compose_file_is_valid_by_the_compose_specification() -> None:
    schema = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema_rs.validate(json.loads(schema.read_text(encoding="utf-8")), documents("compose.yaml")[0])


def test_the_kubernetes_manifest_is_valid_by_its_schemas() -> None:
    found = documents("kubernetes.yaml")
    assert [one["kind"] for one in found] == ["ConfigMap", "Deployment", "PodDisruptionBudget"]
    for one in found:
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


def sections() -> dict[str, list[tuple[str, str]]]:
    """The unit's lines by section."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            found[line.strip("[]")] = []
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[list(found)[-1]].append((key, value))
    return found


def test_the_systemd_unit_is_one(tmp_path: Path) -> None:
    found = sections()
    assert list(found) == ["Unit", "Service", "Install"]
    service = dict(found["Service"])
    assert (service["KillSignal"], service["Restart"]) == ("SIGTERM", "always")
    verify = shutil.which("systemd-analyze")
    if verify:  # its own judgement, where it is installed, on a copy whose program and user exist
        text = UNIT.read_text(encoding="utf-8").replace("/opt/motet/bin/motet", "/bin/true")
        copy = tmp_path / "motet-worker@1.service"
        copy.write_text(text.replace("User=motet\nGroup=motet\n", ""), encoding="utf-8")
        done = subprocess.run([verify, "verify", str(copy)], capture_output=True, text=True, timeout=20, check=False)
        assert [line for line in done.stderr.splitlines() if "motet-worker" in line] == []


def test_every_option_in_the_files_is_one_of_the_worker(options: set[str]) -> None:
    deployment = documents("kubernetes.yaml")[1]
    args: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    dockerfile = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    command = json.loads(re.findall(r"^CMD (.*)$", dockerfile, re.M)[0])
    unit = dict(sections()["Service"])["ExecStart"].split()
    for words in (args, command, unit):
        assert "worker" in words
        assert {word for word in words if word.startswith("--")} <= options


def test_the_probes_ask_where_the_worker_serves() -> None:
    container = documents("kubernetes.yaml")[1]["spec"]["template"]["spec"]["containers"][0]
    port = container["ports"][0]["containerPort"]
    assert f"0.0.0.0:{port}" in container["args"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    service = documents("compose.yaml")[0]["services"]["worker"]
    assert f"127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]


def test_calls_in_flight_get_their_grace_before_the_machine_loses_patience() -> None:
    pod = documents("kubernetes.yaml")[1]["spec"]["template"]["spec"]
    args: list[str] = pod["containers"][0]["args"]
    assert pod["terminationGracePeriodSeconds"] > float(args[args.index("--grace") + 1].rstrip("s"))
    service = dict(sections()["Service"])
    words = service["ExecStart"].split()
    assert float(service["TimeoutStopSec"]) > float(words[words.index("--grace") + 1].rstrip("s"))
