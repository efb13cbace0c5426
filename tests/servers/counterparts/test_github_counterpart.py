"""Every tool of the github server against emulate's GitHub."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from standins import Emulate
from tours import Caller, github_tour

from motet_servers.github.server import github_server

pytestmark = pytest.mark.timeout(60)  # the first test of a worker starts the stand-in


async def test_every_tool_does_its_work_on_emulate(emulate: Emulate, unique: Callable[[str], str]) -> None:
    branch = emulate.branch(unique("branch"))
    # emulate keeps no diffs: the files of every pull request are an empty list there
    call = Caller(github_server(emulate.github_url, emulate.token), lacking={"list_pull_request_files"})
    await github_tour(call, repo="acme/app", head=branch)
    assert await call.missed() == set()
