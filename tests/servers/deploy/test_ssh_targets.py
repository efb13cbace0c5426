from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from motet_servers.deploy.local import identity
from motet_servers.deploy.ssh import SshHost
from motet_servers.deploy.targets import Ssh
from motet_servers.kit.errors import Refused, Unavailable

TargetsFile = Callable[[str], Any]

pytestmark = pytest.mark.timeout(120)  # every remote command is a session of its own, which sshd takes its time for


@pytest.fixture
def web(ssh: dict[str, Any], tmp_path: Path, targets_file: TargetsFile) -> Any:
    """A target on the SSH server; its name holds a quote and a space, which must change nothing."""
    return targets_file(
        f"""
targets:
  web:
    ssh: {{host: 127.0.0.1, port: {ssh["port"]}, user: {ssh["user"]}, known_hosts: known_hosts, key: id}}
    path: "{tmp_path}/srv/it's here"
    python: {ssh["python"]}
    environment: {{GREETING: "it's $HOME; `id`"}}
"""
    )


async def test_a_remote_target_deploys_switches_back_rolls_back_and_stops(
    web: Any, opened: Any, tmp_path: Path, release: Any
) -> None:
    kit = await opened(web)
    deployed = await kit("deploy", version="v2.0.0", env="web")
    assert json.loads(deployed["health_body"])["version"] == "v2.0.0"
    home = tmp_path / "srv/it's here"
    assert (home / "current").readlink() == Path("releases/v2.0.0")
    release("v3.0.0", app="raise SystemExit('no luck')")
    text, failed = await kit.failing("deploy", version="v3.0.0", env="web")
    assert "no luck" in text
    assert (failed["version"], failed["switched_back"]) == ("v2.0.0", True)
    assert (await kit("deploy", version="v2.1.0", env="web"))["previous"] == "v2.0.0"
    assert (await kit("rollback", env="web"))["version"] == "v2.0.0"
    assert (await kit("check", env="web"))["healthy"] is True
    assert (await kit("stop", env="web"))["stopped"] is True
    assert (await kit("rollback", env="web"))["status"] == "withdrawn"
    assert not (home / "current").is_symlink()


async def test_values_reach_the_remote_process_as_they_are(web: Any, opened: Any, release: Any, tmp_path: Path) -> None:
    app = "import os, pathlib\npathlib.Path('greeting.txt').write_text(os.environ['GREETING'])\nraise SystemExit(0)\n"
    release("v4.0.0", app=app)
    kit = await opened(web)
    await kit.failing("deploy", version="v4.0.0", env="web")
    assert (tmp_path / "srv/it's here/releases/v4.0.0/greeting.txt").read_text() == "it's $HOME; `id`"


async def test_a_deployment_cancelled_in_a_remote_hook_ends_the_hook(
    ssh: Any, opened: Any, targets_file: TargetsFile, tmp_path: Path
) -> None:
    login = f"host: 127.0.0.1, port: {ssh['port']}, user: {ssh['user']}, known_hosts: known_hosts, key: id"
    hook = "[sh, -c, 'echo $$ > ../../pid; sleep 600']"
    kit = await opened(
        targets_file(
            f"targets: {{web: {{ssh: {{{login}}}, path: {tmp_path}/srv, service: false, hooks: {{before: {hook}}}}}}}"
        )
    )
    call = asyncio.create_task(kit.client.call_tool("deploy", {"version": "v2.0.0", "env": "web"}))
    pid = tmp_path / "srv/pid"
    async with asyncio.timeout(30):
        while not written(pid):
            await kit("list_targets")
        hooked = int(written(pid))
        call.cancel()
        await asyncio.wait([call])
        while identity(hooked):
            await kit("list_targets")
    _, checked = await kit.failing("check", env="web")
    assert checked["version"] is None


def written(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


async def test_a_hooks_words_and_code_come_back(
    ssh: Any, opened: Any, targets_file: TargetsFile, tmp_path: Path
) -> None:
    login = f"host: 127.0.0.1, port: {ssh['port']}, user: {ssh['user']}, known_hosts: known_hosts, key: id"
    where = f"ssh: {{{login}}}, service: false"
    kit = await opened(
        targets_file(
            f"""
targets:
  bad: {{{where}, path: {tmp_path}/bad, hooks: {{before: [sh, -c, 'echo out; echo err >&2; exit 7']}}}}
  slow: {{{where}, path: {tmp_path}/slow, hooks: {{before: [sleep, '600'], timeout: 0.2}}}}
"""
        )
    )
    text, _ = await kit.failing("deploy", version="v2.0.0", env="bad")
    assert "the before hook sh failed with 7: out" in text
    assert "err" in text
    text, _ = await kit.failing("deploy", version="v2.0.0", env="slow")
    assert "did not end within 0.2 s" in text


async def test_local_and_remote_agree_on_the_checksum_and_on_a_process(web: Any, opened: Any, root: Path) -> None:
    (root / "artifacts/v2.0.0/data dir").mkdir()
    (root / "artifacts/v2.0.0/data dir/ü 1.txt").write_text("x")
    kit = await opened(web)
    planned = await kit("plan", version="v2.0.0", env="web")
    deployed = await kit("deploy", version="v2.0.0", env="web", checksum=planned["checksum"])
    assert deployed["checksum"] == planned["checksum"]


async def test_a_second_deployment_to_a_locked_remote_target_is_turned_away(ssh: Any, tmp_path: Path) -> None:
    settings = Ssh(
        host="127.0.0.1", port=ssh["port"], user=ssh["user"], known_hosts=tmp_path / "known_hosts", key=tmp_path / "id"
    )
    first, second = SshHost(settings, str(tmp_path / "srv")), SshHost(settings, str(tmp_path / "srv"))
    try:
        async with first.lock(5):
            with pytest.raises(Unavailable, match="another deployment"):
                async with second.lock(0.1):
                    pytest.fail("the lock was held twice")
        async with second.lock(5):
            """Free again."""
    finally:
        await first.close()
        await second.close()


async def test_a_host_with_another_key_is_refused(web: Any, opened: Any, tmp_path: Path, ssh: Any) -> None:
    new_key: Any = getattr(asyncssh, "generate_private_key")  # noqa: B009 - its keywords are untyped
    other = new_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{ssh['port']} {other}")
    kit = await opened(web)
    text, _ = await kit.failing("check", env="web")
    assert "not the one in known_hosts; not connected" in text
    (target,) = (await kit("list_targets"))["targets"]
    assert (target["env"], target["version"], "not connected" in target["reason"]) == ("web", None, True)


async def test_a_key_that_is_not_allowed_is_refused(ssh: Any, tmp_path: Path) -> None:
    new_key: Any = getattr(asyncssh, "generate_private_key")  # noqa: B009 - as above
    (tmp_path / "other").write_bytes(new_key("ssh-ed25519").export_private_key())
    settings = Ssh(
        host="127.0.0.1",
        port=ssh["port"],
        user=ssh["user"],
        known_hosts=tmp_path / "known_hosts",
        key=tmp_path / "other",
    )
    host = SshHost(settings, str(tmp_path / "srv"))
    with pytest.raises(Refused, match="refused the login"):
        await host.read("journal.jsonl")


async def test_a_host_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    (tmp_path / "known_hosts").write_text("")
    host = SshHost(Ssh(host="127.0.0.1", port=port, known_hosts=tmp_path / "known_hosts"), "/srv")
    with pytest.raises(Unavailable, match="cannot be reached"):
        await host.read("x")
