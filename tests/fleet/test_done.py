"""The sentence this is all for: a deployment whose process is killed is finished later, and made once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from fleet.fleet_kit import Fleet

pytestmark = pytest.mark.timeout(90)

DEPLOY = """motet: 1
name: deploy-and-tell
steps:
  deploy: {call: a.act, with: {id: deploy}}
  healthy: {call: a.look, with: {id: healthy, seconds: 3}, needs: [deploy]}
  tell: {call: a.keyed, with: {id: tell}, needs: [healthy]}
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, fleet: Fleet) -> str:
    """A journal of each kind."""
    return fleet.url if request.param == "postgresql" else str(fleet.folder / "runs.sqlite")


async def begun(fleet: Fleet, *words: str) -> asyncio.subprocess.Process:
    """A command that runs beside the fleet."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "motet", *words, "--config", str(fleet.folder / "motet.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        stdin=asyncio.subprocess.DEVNULL,
        env={**os.environ, "MOTET_JOURNAL": ""},
    )


async def said(child: asyncio.subprocess.Process, *, within: float = 40.0) -> tuple[int | None, str]:
    """Its exit code and what it printed, once it has ended."""
    async with asyncio.timeout(within):
        out, _ = await child.communicate()
    return child.returncode, out.decode()


def workflow(fleet: Fleet) -> str:
    file = fleet.folder / "deploy.yaml"
    file.write_text(DEPLOY)
    return str(file)


async def test_a_run_killed_after_the_deployment_is_finished_without_deploying_again(fleet: Fleet, place: str) -> None:
    child = await begun(fleet, "run", workflow(fleet), "--id", "r1", "--database", place)
    await fleet.until(lambda: [word for _, word, _ in fleet.effects()] == ["deploy"], what="the deployment")
    await fleet.until(lambda: deployed(fleet, place), what="its record")
    child.send_signal(signal.SIGKILL)
    await child.communicate()
    follower = await begun(fleet, "show", "r1", "--follow", "--database", place)
    code, out = await said(await begun(fleet, "resume", "r1", "--database", place))
    assert (code, "complete: deploy-and-tell" in out) == (0, True)
    assert [ident for _, ident, _ in fleet.effects()] == ["deploy", "tell"]
    assert await said(follower) == (0, out)


async def deployed(fleet: Fleet, place: str) -> bool:
    _, out = await said(await begun(fleet, "show", "r1", "--database", place))
    return "✓ deploy" in out


async def test_a_deployment_begun_on_one_worker_is_finished_by_another_after_the_first_is_killed(fleet: Fleet) -> None:
    (first,) = await fleet.fully(1)
    child = await begun(fleet, "run", workflow(fleet), "--id", "r1", "--database", fleet.url)
    await fleet.until(lambda: [word for _, word, _ in fleet.effects()] == ["deploy"], what="the deployment")
    await fleet.worker()
    await fleet.until(lambda: fleet.living(2), what="the second worker")
    first.signal(signal.SIGKILL)
    code, out = await said(child)
    assert (code, "complete: deploy-and-tell" in out) == (0, True)
    assert [ident for _, ident, _ in fleet.effects()] == ["deploy", "tell"]
