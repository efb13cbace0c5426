"""What a host makes of the vendors' failures that the servers pass on."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from vendor_samples import NAMES, Vendor, served

from motet import Orchestrator

READS = {
    "github": "github://acme/app/issues/1",
    "jira": "jira://issue/PROJ-1",
    "slack": "slack://channel/C0000001/messages",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("answer", "asked", "wait"),
    [
        (httpx2.Response(429, headers={"retry-after": "3600"}), 1, 3600),  # longer than there is time: not at all
        (httpx2.Response(401), 1, None),
        (httpx2.Response(404), 1, None),
        (httpx2.Response(503), 3, None),
    ],
    ids=["limited", "refused", "missing", "down"],
)
async def test_a_host_asks_again_only_where_that_can_help_and_not_before_it_may(
    name: str, answer: httpx2.Response, asked: int, wait: float | None
) -> None:
    vendor = Vendor(lambda _: httpx2.Response(answer.status_code, headers=answer.headers))
    servers: dict[str, Any] = {name: {"object": served(name, vendor), "retry": {"attempts": 3, "base": "1ms"}}}
    async with Orchestrator.from_config({"servers": servers}) as motet:
        reading = await motet.read_resources([READS[name]])
    [error] = reading.missing.values()
    assert (len(vendor.asked), error.retry_after) == (asked, wait)
