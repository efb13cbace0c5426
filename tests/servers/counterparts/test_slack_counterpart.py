"""Every tool of the slack server against emulate's Slack."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from standins import Emulate
from tours import Caller, slack_tour

from motet_servers.slack.server import slack_server

pytestmark = pytest.mark.timeout(60)  # the first test of a worker starts the stand-in


async def test_every_tool_does_its_work_on_emulate(emulate: Emulate, unique: Callable[[str], str]) -> None:
    call = Caller(slack_server(emulate.slack_url, emulate.slack_token))
    await slack_tour(call, channel="releases", user="grace", key=unique("slack"))
    assert await call.missed() == set()
