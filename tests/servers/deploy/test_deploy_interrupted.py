"""A deployment that is cancelled, or dies, at every point; and its key that takes it up again."""

from __future__ import annotations

import asyncio
import json
import os
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp.client.subscriptions import ResourceUpdated, listen

from motet_servers.deploy import artifacts
from motet_servers.deploy.local import identity
from motet_servers.deploy.server import deploy_server
from motet_servers.kit.errors import DomainError
from motet_servers.kit.settings import SettingsError

Kit = Any
Open = Any
Release = Callable[..., Path]
TargetsFile = Callable[[str], Any]


def died(root: Path, lines: int = 1) -> None:
    """The journal as it is when the process died before the last lines."""
    journal = root / "targets/staging/journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:-lines]))


def current(root: Path) -> str | None:
    link = root / "targets/staging/current"
    return link.readlink().name if link.is_symlink() else None


def services(root: Path) -> list[dict[str, Any]]:
    return json.loads((root / "targets/staging/services.json").read_text())


async def test_a_deployment_that_died_after_the_switch_is_taken_up_and_can_still_be_undone(
    kit: Kit, root: Path
) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("deploy", version="v2.1.0", env="staging", idempotency_key="k")
    died(root)
    again = await kit("deploy", version="v2.1.0", env="staging", idempotency_key="k")
    assert (again["status"], again["version"], again["previous"], again["repeated"]) == (
        "deployed",
        "v2.1.0",
        "v2.0.0",
        False,
    )
    assert [service["version"] for service in services(root)] == ["v2.1.0"]
    undone = await kit("rollback", env="staging", to=again["previous"])
    assert (undone["status"], undone["version"]) == ("rolled_back", "v2.0.0")


async def test_a_rollback_that_died_after_the_switch_goes_back_once_and_not_forth(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("deploy", version="v2.1.0", env="staging")
    await kit("rollback", env="staging", idempotency_key="k")
    died(root)
    assert (await kit("check", env="staging"))["previous"] is None, "it was going back"
    again = await kit("rollback", env="staging", idempotency_key="k")
    assert (again["status"], again["version"], again["previous"]) == ("rolled_back", "v2.0.0", "v2.1.0")
    last = await kit("rollback", env="staging")
    assert (last["status"], last["version"]) == ("withdrawn", None)


async def test_a_withdrawal_that_died_is_finished(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("rollback", env="staging", idempotency_key="k")
    died(root)
    again = await kit("rollback", env="staging", idempotency_key="k")
    assert (again["status"], again["version"], again["previous"]) == ("withdrawn", None, "v2.0.0")


async def test_a_key_whose_deployment_died_is_used_anew_when_others_deployed_since(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging", idempotency_key="k")
    died(root)
    await kit("deploy", version="v2.1.0", env="staging")
    again = await kit("deploy", version="v2.0.0", env="staging", idempotency_key="k")
    assert (again["version"], again["previous"]) == ("v2.0.0", "v2.1.0")


async def test_a_taken_up_deployment_that_fails_puts_back_what_was_there_before_it_first_began(
    root: Path, kit: Kit
) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("deploy", version="v2.1.0", env="staging", idempotency_key="k")
    died(root)
    release = root / "targets/staging/releases/v2.1.0/app.py"
    release.write_text("raise SystemExit('not any more')")
    _, failed = await kit.failing("deploy", version="v2.1.0", env="staging", idempotency_key="k")
    assert (failed["status"], failed["version"], failed["switched_back"]) == ("failed", "v2.0.0", True)
    assert current(root) == "v2.0.0"
    assert (await kit("check", env="staging"))["version"] == "v2.0.0"


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_deployment_cancelled_in_a_hook_ends_the_hook_and_leaves_the_old_release_serving(
    root: Path, opened: Open, targets_file: TargetsFile, where: str
) -> None:
    hook = "[sh, -c, 'test $RELEASE_VERSION = v2.0.0 || { echo $$ > ../../pid; sleep 600; }']"
    kit = await opened(targets_file("targets: {staging: {hooks: {" + where + ": " + hook + "}}}"))
    await kit("deploy", version="v2.0.0", env="staging")
    before = services(root)
    call = asyncio.create_task(kit.client.call_tool("deploy", {"version": "v2.1.0", "env": "staging"}))
    pid = root / "targets/staging/pid"
    async with asyncio.timeout(15):
        while not (written(pid)):
            await kit("list_targets")
    hooked = int(written(pid))
    call.cancel()
    await asyncio.wait([call], timeout=10)
    assert (await kit("rollback", env="staging", to="v2.0.0"))["status"] == "unchanged"
    assert (current(root), services(root), identity(hooked)) == ("v2.0.0", before, "")
    assert (await kit("history", env="staging"))["events"][1]["status"] == "interrupted"


def written(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


async def test_a_deployment_cancelled_while_its_release_is_unpacked_leaves_nothing_behind(
    kit: Kit, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(root / "artifacts/v9.0.0.tar.gz", "w:gz") as archive:
        archive.add(root / "artifacts/v2.0.0/app.py", "app.py")
        archive.add(root / "artifacts/v2.0.0/app.py", "other.py")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    entered, cancelled = asyncio.Event(), asyncio.Event()
    loop, extract = asyncio.get_running_loop(), tarfile.TarFile.extract

    def slow(archive: tarfile.TarFile, *args: Any, **options: Any) -> None:
        extract(archive, *args, **options)
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(cancelled.wait(), loop).result(10)

    monkeypatch.setattr(tarfile.TarFile, "extract", slow)
    await kit("deploy", version="v2.0.0", env="staging")
    call = asyncio.create_task(kit.client.call_tool("deploy", {"version": "v9.0.0", "env": "staging"}))
    async with asyncio.timeout(10):
        await entered.wait()
    assert (await kit("check", env="staging"))["healthy"] is True, "other calls are answered meanwhile"
    call.cancel()
    await asyncio.wait([call], timeout=10)
    await kit("list_targets")  # answered after the cancellation was heard
    cancelled.set()
    async with asyncio.timeout(10):
        while names(tmp_path / "scratch"):
            await kit("list_targets")
    assert (current(root), names(root / "targets/staging/releases")) == ("v2.0.0", ["v2.0.0"])


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_copy_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        (source / str(number)).touch()
    (tmp_path / "to").mkdir()
    steps = iter([False, False, True])
    with suppress(artifacts.Stopped):
        artifacts.copy(source, tmp_path / "to/v1", lambda: next(steps))
        pytest.fail("it went on")
    assert names(tmp_path / "to") == []


async def test_a_target_that_cannot_be_written_says_so(root: Path, opened: Open, targets_file: TargetsFile) -> None:
    (root / "targets").write_text("a file where a directory should be")
    kit = await opened(targets_file("targets: {staging: {}}"))
    text, _ = await kit.failing("deploy", version="v2.0.0", env="staging")
    assert "the target's directory staging cannot be written" in text


async def test_history_and_targets_are_told_to_who_subscribed(kit: Kit, root: Path) -> None:
    async with Client(deploy_server(kit.targets)) as client:
        wanted = ["deploy://staging/history", "deploy://targets"]
        other = "deploy://production/current"
        async with listen(client.session, resource_subscriptions=[*wanted, other]) as stream, asyncio.timeout(15):
            await client.call_tool("deploy", {"version": "v2.0.0", "env": "staging"})
            assert {await anext(stream) for _ in "12"} == {ResourceUpdated(uri=uri) for uri in wanted}
            await client.call_tool("deploy", {"version": "v2.0.0", "env": "production"})
            assert ResourceUpdated(uri=other) in [await anext(stream) for _ in "12"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("targets: {a: {ssh: {host: '-oX', known_hosts: k}, path: /x}}", "ssh.host"),
        ("targets: {a: {ssh: {host: '-p', known_hosts: k}, path: /x}}", "ssh.host"),
        ("targets: {a: {environment: {'-i': x}}}", "environment"),
        ("targets: {a: {environment: {'A=B': x}}}", "environment"),
        ('targets: {a: {health: {path: "/x\\r\\nHost: y"}}}', "health.path"),
    ],
)
def test_what_a_command_line_would_take_for_an_option_is_refused(
    targets_file: TargetsFile, text: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        targets_file(text)


async def test_nothing_of_an_argument_reaches_a_hook_but_the_version(
    root: Path, opened: Open, targets_file: TargetsFile
) -> None:
    kit = await opened(targets_file("targets: {staging: {hooks: {before: [sh, -c, 'env > ../../seen']}}}"))
    await kit("deploy", version="v2.0.0", env="staging", idempotency_key="$(touch /tmp/motet-evil)`id`")
    seen = (root / "targets/staging/seen").read_text()
    assert "motet-evil" not in seen
    assert "RELEASE_VERSION=v2.0.0" in seen
    assert os.fspath(root) in seen
    with suppress(DomainError):
        await kit("stop", env="staging")
