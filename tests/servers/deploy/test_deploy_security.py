"""What must not get in with a release or an argument, and what must not get out to one."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet_servers.deploy.__main__ import COMMAND
from motet_servers.deploy.artifacts import available, version_order
from motet_servers.deploy.targets import load
from motet_servers.kit.settings import SettingsError

Kit = Any
Open = Any
Release = Callable[..., Path]
TargetsFile = Callable[[str], Any]

OUTSIDE = Path("/tmp/motet-evil")
HANGS = """
import http.server, os, time, threading
time.sleep(60)
"""


@pytest.mark.parametrize(
    "version",
    ["../v2.0.0", "..", ".", "", "v2/../../x", "-rf", "v2.0.0;id", "v2 0", "$(id)", "v2\n", "a..b", "/etc", "x" * 200],
)
async def test_a_version_is_a_name_and_nothing_else(kit: Kit, root: Path, version: str) -> None:
    for tool, arguments in (
        ("deploy", {"version": version, "env": "staging"}),
        ("plan", {"version": version, "env": "staging"}),
        ("rollback", {"env": "staging", "to": version}),
    ):
        await kit.failing(tool, **arguments)
    assert not (root / "targets/staging/releases").exists()


async def test_a_target_name_is_looked_up_never_joined(kit: Kit) -> None:
    for env in ("../staging", "staging/../production", "", "staging\x00"):
        text, _ = await kit.failing("stop", env=env)
        assert "there is no target" in text


def there(path: Path) -> bool:
    return path.exists()


def tar_of(path: Path, *members: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))


def member(name: str, **changes: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 1
    for field, value in changes.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    "evil",
    [
        member("../../evil"),
        member(str(OUTSIDE)),
        member("link", type=tarfile.SYMTYPE, linkname="/etc", size=0),
        member("link", type=tarfile.SYMTYPE, linkname="../../..", size=0),
        member("hard", type=tarfile.LNKTYPE, linkname="/etc/passwd", size=0),
        member("device", type=tarfile.CHRTYPE, size=0),
        member("line\nbreak"),
    ],
    ids=["dots", "absolute", "symlink", "symlink-up", "hardlink", "device", "newline"],
)
async def test_an_archive_that_would_reach_out_is_refused(kit: Kit, root: Path, evil: tarfile.TarInfo) -> None:
    tar_of(root / "artifacts/v9.0.0.tar.gz", member("app.py"), evil)
    await kit.failing("deploy", version="v9.0.0", env="staging")
    assert not (root / "targets/staging/current").exists()
    assert not (root / "evil").exists()
    assert not there(OUTSIDE)


async def test_a_directory_with_a_link_out_of_it_is_refused(kit: Kit, root: Path, release: Release) -> None:
    (release("v9.0.0") / "passwd").symlink_to("/etc/passwd")
    text, _ = await kit.failing("deploy", version="v9.0.0", env="staging")
    assert "symlink that leads out" in text


async def test_a_tar_release_deploys_like_a_directory(kit: Kit, root: Path) -> None:
    with tarfile.open(root / "artifacts/v2.2.0.tar.gz", "w:gz") as archive:
        archive.add(root / "artifacts/v2.1.0/app.py", "app.py")
    text, _ = await kit.failing("deploy", version="v2.2.0", env="staging")
    assert "answers as version v2.1.0" in text, "it ran, and the health check saw what it is"


async def test_a_release_that_is_not_what_was_promised_is_refused(kit: Kit, root: Path) -> None:
    text, _ = await kit.failing("deploy", version="v2.0.0", env="staging", checksum="0" * 64)
    assert "not the one in checksum" in text
    (root / "artifacts/v2.0.0.sha256").write_text("f" * 64 + "  v2.0.0\n")
    text, _ = await kit.failing("deploy", version="v2.0.0", env="staging")
    assert "not the one in its .sha256 file" in text
    assert not (root / "targets/staging/current").exists()


async def test_a_release_never_changes_on_a_target(kit: Kit, root: Path) -> None:
    await kit("deploy", version="v2.0.0", env="staging")
    (root / "targets/staging/releases/v2.0.0/made-by-the-release.log").write_text("harmless")
    await kit("deploy", version="v2.1.0", env="staging")
    await kit("deploy", version="v2.0.0", env="staging")
    await kit("deploy", version="v2.1.0", env="staging")
    (root / "artifacts/v2.0.0/app.py").write_text("other content")
    text, _ = await kit.failing("deploy", version="v2.0.0", env="staging")
    assert "give the new content a new version" in text


async def test_a_release_sees_none_of_the_deployers_environment(
    kit: Kit, root: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_SSH_PASSPHRASE", "s3cret-phrase")
    release("v5.0.0", app="import json, os\nopen('env.json', 'w').write(json.dumps(dict(os.environ)))\n")
    await kit.failing("deploy", version="v5.0.0", env="staging")
    seen = json.loads((root / "targets/staging/releases/v5.0.0/env.json").read_text())
    given = {"PORT", "HOST", "RELEASE_VERSION", "ENVIRONMENT", "PATH", "LANG", "LC_ALL", "TZ", "USER", "TMPDIR"}
    shells = {"HOME", "LC_CTYPE", "PWD", "OLDPWD", "SHLVL", "_"}
    assert set(seen) <= given | shells
    assert "s3cret-phrase" not in str(seen)


async def test_a_cancelled_deployment_is_taken_back_and_leaves_no_process(
    root: Path, opened: Open, release: Release, targets_file: TargetsFile
) -> None:
    release("v6.0.0", app=HANGS)
    kit = await opened(targets_file("targets: {staging: {health: {timeout: 60}}}"))
    await kit("deploy", version="v2.0.0", env="staging")
    call = asyncio.create_task(kit.client.call_tool("deploy", {"version": "v6.0.0", "env": "staging"}))
    async with asyncio.timeout(10):
        while len(json.loads((root / "targets/staging/services.json").read_text())) < 2:
            await kit("list_targets")
    call.cancel()
    await asyncio.wait([call], timeout=10)
    plan = await kit("rollback", env="staging", to="v2.0.0")
    assert (plan["status"], plan["healthy"]) == ("unchanged", True)
    assert (root / "targets/staging/current").readlink().name == "v2.0.0"
    (service,) = json.loads((root / "targets/staging/services.json").read_text())
    assert service["version"] == "v2.0.0"


async def test_two_deployments_to_one_target_take_turns(kit: Kit) -> None:
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(kit("deploy", version=version, env="staging")) for version in ("v2.0.0", "v2.1.0")]
    answers = sorted((task.result() for task in both), key=lambda answer: answer["at"])
    assert [answer["previous"] for answer in answers] == [None, answers[0]["version"]]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("targets: {staging: {prot: 1}}", "targets.staging.prot: Extra inputs are not permitted"),
        ("targets: {Staging!: {}}", "target name 'Staging!'"),
        ("targets: {a: {promote_from: b}}", "there is no target 'b'"),
        ("targets: {a: {start: 'python app.py'}}", "targets.a.start"),
        ("targets: {a: {ssh: {host: '-oProxyCommand=id', known_hosts: k}, path: /x}}", "targets.a.path|ssh.host"),
        ("targets: {a: {ssh: {host: h, known_hosts: k, user: '-l root'}, path: /x}}", "ssh.user"),
        ("targets: {a: {ssh: {host: h}, path: /x}}", "known_hosts: Field required"),
        ("targets: {a: {ssh: {host: h, known_hosts: k}, path: x}}", "path must be absolute"),
        ("targets: [", "is not YAML"),
    ],
)
def test_a_wrong_targets_file_is_named_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "targets.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=complaint) as caught:
        load(file)
    assert "targets.yaml" in str(caught.value)


def test_the_command_wants_a_root_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMAND.main([], {}) == 2
    assert capsys.readouterr().err.startswith("motet-server-deploy: DEPLOY_ROOT is not set:")
    assert COMMAND.main([], {"DEPLOY_ROOT": str(tmp_path / "no")}) == 2
    assert "is not a directory" in capsys.readouterr().err


def test_versions_are_ordered_by_their_numbers_and_prereleases_come_first(tmp_path: Path) -> None:
    versions = ["v2.10.0", "v2.9.0", "v2.10.0-rc2", "v2.10.0-rc10", "v10.0.0", "1.0"]
    expected = ["1.0", "v2.9.0", "v2.10.0-rc2", "v2.10.0-rc10", "v2.10.0", "v10.0.0"]
    assert sorted(versions, key=version_order) == expected
    for version in versions:
        (tmp_path / version).mkdir()
    (tmp_path / "v3.0.0.sha256").touch()
    assert available(tmp_path) == expected
