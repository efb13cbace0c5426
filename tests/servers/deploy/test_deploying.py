from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet_servers.deploy.local import identity

Kit = Any
Open = Any
Release = Callable[..., Path]
TargetsFile = Callable[[str], Any]


def service_of(root: Path, env: str = "staging") -> dict[str, object]:
    (service,) = json.loads((root / "targets" / env / "services.json").read_text())
    return service


async def test_a_deployed_release_runs_and_answers_with_its_version(kit: Kit) -> None:
    deployed = await kit("deploy", version="v2.0.0", env="staging")
    assert (deployed["version"], deployed["previous"], deployed["status"]) == ("v2.0.0", None, "deployed")
    assert json.loads(deployed["health_body"]) == {"status": "ok", "version": "v2.0.0", "env": "staging"}
    checked = await kit("check", env="staging")
    assert (checked["healthy"], checked["running"], checked["url"]) == (True, True, deployed["url"])


async def test_the_next_release_replaces_it_and_names_the_previous_one(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    old = service_of(root)
    deployed = await kit("deploy", version="v2.1.0", env="staging")
    assert deployed["previous"] == "v2.0.0"
    assert (root / "targets/staging/current").readlink() == Path("releases/v2.1.0")
    assert identity(int(str(old["pid"]))) != old["identity"], "the old process is gone"


async def test_a_release_that_ends_at_once_is_taken_back_and_its_log_shown(
    kit: Kit, root: Path, release: Release
) -> None:
    release("v3.0.0", app="raise SystemExit('no database')")
    await kit("deploy", version="v2.0.0", env="staging")
    before = service_of(root)
    text, failed = await kit.failing("deploy", version="v3.0.0", env="staging")
    assert "no database" in text
    assert (failed["status"], failed["version"], failed["switched_back"]) == ("failed", "v2.0.0", True)
    assert service_of(root) == before, "the old process served all the time"
    assert (await kit("check", env="staging"))["version"] == "v2.0.0"


async def test_a_release_that_answers_as_another_version_or_badly_is_taken_back(
    root: Path, opened: Open, release: Release, targets_file: TargetsFile
) -> None:
    release("v3.0.0", says="v2.9.9")
    release("v3.1.0", status=503)
    kit = await opened(targets_file("targets: {staging: {health: {timeout: 1.5}}}"))
    text, _ = await kit.failing("deploy", version="v3.0.0", env="staging")
    assert "answers as version v2.9.9" in text
    text, failed = await kit.failing("deploy", version="v3.1.0", env="staging")
    assert "answered 503" in text
    assert failed["version"] is None
    assert not (root / "targets/staging/current").exists()


async def test_a_fixed_port_is_freed_for_the_new_release_and_given_back_when_it_fails(
    opened: Open, release: Release, targets_file: TargetsFile
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    release("v3.0.0", app="raise SystemExit(1)")
    kit = await opened(targets_file(f"targets: {{staging: {{port: {port}}}}}"))
    for version in ("v2.0.0", "v2.1.0"):
        assert (await kit("deploy", version=version, env="staging"))["url"] == f"http://127.0.0.1:{port}"
    _, failed = await kit.failing("deploy", version="v3.0.0", env="staging")
    assert failed["version"] == "v2.1.0"
    assert (await kit("check", env="staging"))["version"] == "v2.1.0"


async def test_rollback_goes_back_step_by_step_and_then_withdraws(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("deploy", version="v2.1.0", env="staging")
    first = await kit("rollback", env="staging")
    assert (first["status"], first["version"], first["previous"]) == ("rolled_back", "v2.0.0", "v2.1.0")
    second = await kit("rollback", env="staging")
    assert (second["status"], second["version"], second["previous"]) == ("withdrawn", None, "v2.0.0")
    assert json.loads((root / "targets/staging/services.json").read_text()) == []
    third = await kit("rollback", env="staging")
    assert (third["status"], third["version"]) == ("unchanged", None)


async def test_rolling_back_to_what_was_previous_undoes_exactly_one_deployment(kit: Kit) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    deployed = await kit("deploy", version="v2.1.0", env="staging")
    undone = await kit("rollback", env="staging", to=deployed["previous"])
    assert undone["version"] == "v2.0.0"
    again = await kit("deploy", version="v2.0.0", env="staging")
    assert (again["status"], again["previous"]) == ("unchanged", "v2.0.0")


async def test_rolling_back_to_a_release_that_is_not_there_names_those_that_are(kit: Kit) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    text, _ = await kit.failing("rollback", env="staging", to="v1.0.0")
    assert "v1.0.0 is not on staging; there: v2.0.0" in text


async def test_the_same_key_has_one_effect_and_one_answer(kit: Kit) -> None:
    first = await kit("deploy", version="v2.0.0", env="staging", idempotency_key="k")
    await kit("deploy", version="v2.1.0", env="staging")
    again = await kit("deploy", version="v2.0.0", env="staging", idempotency_key="k")
    assert again == first | {"repeated": True}
    assert (await kit("check", env="staging"))["version"] == "v2.1.0", "nothing was done the second time"
    text, _ = await kit.failing("deploy", version="v2.1.0", env="staging", idempotency_key="k")
    assert "used with other arguments" in text


async def test_a_rollback_with_a_key_goes_back_only_once(kit: Kit) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("deploy", version="v2.1.0", env="staging")
    for _ in range(2):
        assert (await kit("rollback", env="staging", idempotency_key="once"))["version"] == "v2.0.0"
    assert (await kit("check", env="staging"))["version"] == "v2.0.0"


async def test_stop_leaves_nothing_running_and_deploy_starts_it_again(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    service = service_of(root)
    assert (await kit("stop", env="staging"))["stopped"] is True
    assert identity(int(str(service["pid"]))) != service["identity"]
    text, checked = await kit.failing("check", env="staging")
    assert "not running" in text
    assert checked["version"] == "v2.0.0"
    assert (await kit("stop", env="staging"))["stopped"] is False
    assert (await kit("deploy", version="v2.0.0", env="staging"))["status"] == "restarted"


async def test_a_crashed_service_is_told_by_check_and_started_again_by_deploy(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    os.kill(int(str(service_of(root)["pid"])), 9)
    text, _ = await kit.failing("check", env="staging")
    assert "not running" in text or "nothing answers" in text
    assert (await kit("deploy", version="v2.0.0", env="staging"))["status"] in {"restarted", "unchanged"}


async def test_the_service_outlives_the_server_that_started_it(opened: Open, kit: Kit) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit.client.__aexit__(None, None, None)
    other = await opened(kit.targets)
    assert (await other("check", env="staging"))["healthy"] is True
    await kit.client.__aenter__()


async def test_promote_takes_what_is_healthy_elsewhere_and_a_guarded_target_takes_nothing_else(
    opened: Open, targets_file: TargetsFile
) -> None:
    kit = await opened(targets_file("targets: {staging: {}, production: {promote_from: staging}}"))
    text, _ = await kit.failing("deploy", version="v2.0.0", env="production")
    assert "only what is current and healthy on staging" in text
    await kit("deploy", version="v2.0.0", env="staging")
    promoted = await kit("promote", env="production")
    assert (promoted["env"], promoted["version"]) == ("production", "v2.0.0")
    assert json.loads(promoted["health_body"])["env"] == "production"
    await kit("stop", env="staging")
    text, _ = await kit.failing("promote", env="production")
    assert "staging is not healthy" in text


async def test_plan_says_what_would_happen_and_does_none_of_it(kit: Kit, root: Path) -> None:
    plan = await kit("plan", version="v2.0.0", env="staging")
    assert plan["ready"] is True
    assert plan["steps"][0] == "copy v2.0.0 to releases/v2.0.0 and verify its checksum"
    assert not (root / "targets/staging").exists()
    missing = await kit("plan", version="v9", env="staging")
    assert missing["problems"] == ["there is no release v9; the latest ones are: v2.0.0, v2.1.0."]
    deployed = await kit("deploy", version="v2.0.0", env="staging", checksum=plan["checksum"])
    assert deployed["checksum"] == plan["checksum"]


async def test_hooks_run_around_the_switch_and_a_failing_one_stops_or_takes_back(
    root: Path, opened: Open, release: Release, targets_file: TargetsFile
) -> None:
    (root / "artifacts/v2.0.0/before.sh").write_text('echo "$RELEASE_VERSION $ENVIRONMENT" > before.txt\n')
    (root / "artifacts/v2.1.0/before.sh").write_text("echo no schema >&2; exit 3\n")
    release("v3.0.0")
    (root / "artifacts/v3.0.0/before.sh").write_text("touch fail-after\n")
    hooks = "{before: [sh, before.sh], after: [sh, -c, 'test ! -e fail-after']}"
    kit = await opened(targets_file(f"targets: {{staging: {{hooks: {hooks}}}}}"))
    await kit("deploy", version="v2.0.0", env="staging")
    assert (root / "targets/staging/releases/v2.0.0/before.txt").read_text() == "v2.0.0 staging\n"
    text, failed = await kit.failing("deploy", version="v2.1.0", env="staging")
    assert "before hook sh failed with 3: no schema" in text
    assert (failed["version"], failed["switched_back"]) == ("v2.0.0", False)
    text, failed = await kit.failing("deploy", version="v3.0.0", env="staging")
    assert "after hook" in text
    assert (failed["version"], failed["switched_back"]) == ("v2.0.0", True)
    assert (await kit("check", env="staging"))["healthy"] is True


async def test_history_pages_newest_first_and_prune_keeps_current_and_previous(kit: Kit, release: Release) -> None:
    release("v1.9.0")
    for version in ("v1.9.0", "v2.0.0", "v2.1.0"):
        await kit("deploy", version=version, env="staging")
    page = await kit("history", env="staging", limit=2)
    assert [event["version"] for event in page["events"]] == ["v2.1.0", "v2.0.0"]
    rest = await kit("history", env="staging", limit=2, cursor=page["next_cursor"])
    assert ([event["version"] for event in rest["events"]], rest["next_cursor"]) == (["v1.9.0"], None)
    await kit("rollback", env="staging", to="v1.9.0")
    pruned = await kit("prune", env="staging", keep=1)
    assert (pruned["removed"], pruned["kept"]) == (["v2.0.0"], ["v1.9.0", "v2.1.0"])


async def test_resources_tell_targets_current_releases_and_history(kit: Kit) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    assert [target["version"] for target in (await kit.read("deploy://targets"))["targets"]] == ["v2.0.0", None]
    assert (await kit.read("deploy://staging/current"))["healthy"] is True
    assert (await kit.read("deploy://staging/releases"))["latest"] == "v2.1.0"
    assert [event["operation"] for event in (await kit.read("deploy://staging/history"))["events"]] == ["deploy"]


async def test_an_operation_that_died_is_shown_as_interrupted_and_its_switch_is_remembered(
    kit: Kit, root: Path
) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("deploy", version="v2.1.0", env="staging", idempotency_key="crash")
    journal = root / "targets/staging/journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-1]) + '{"torn": ')
    assert (await kit("history", env="staging"))["events"][0]["status"] == "interrupted"
    assert (await kit("check", env="staging"))["previous"] == "v2.0.0"
    again = await kit("deploy", version="v2.1.0", env="staging", idempotency_key="crash")
    assert (again["version"], again["repeated"]) == ("v2.1.0", False)


@pytest.mark.parametrize("tool", ["deploy", "plan"])
async def test_an_unknown_target_or_release_is_answered_with_those_there_are(kit: Kit, tool: str) -> None:
    text, _ = await kit.failing(tool, version="v2.0.0", env="moon")
    assert text == "there is no target 'moon'; the targets are: production, staging."
    text, _ = await kit.failing("deploy", version="v9.9.9", env="staging")
    assert "the latest ones are: v2.0.0, v2.1.0" in text
