"""Workers on hosts with addresses of their own: one loses the way to the database, one is gone."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator

import pytest

from fleet.faults import tried
from fleet.fleet_kit import Fleet
from fleet.hosts import Network, NotAllowed, network

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
async def two(fleet: Fleet) -> AsyncGenerator[Network]:
    """Two hosts that reach the database of the fleet."""
    try:
        async with network(fleet.database.socket(), 2) as made:
            yield made
    except NotAllowed as why:
        pytest.skip(f"hosts need network namespaces, and this machine gives none: {why}")


async def test_a_host_that_loses_the_way_to_the_database_is_fenced_and_one_that_is_gone_is_replaced(
    fleet: Fleet, two: Network
) -> None:
    workers = [await fleet.worker(url=two.url(fleet.url), through=host.through) for host in two.hosts]
    await fleet.until(lambda: fleet.living(2), what="both hosts")
    assert {member.host for member in await fleet.members()} == {"host1", "host2"}
    runs = await fleet.in_flight(40)
    apart = await driven_by(fleet, runs, "host1")
    assert apart
    await two.hosts[0].link("down")
    fleet.let_go()
    await fleet.until(lambda: fleet.rested(runs), what="the other host to take over")
    unknown = await fleet.open(runs)
    assert set(unknown) >= apart  # each was within a call that may not be repeated
    await two.hosts[0].link("up")
    await fleet.until(lambda: fleet.all_told(unknown), what="late answers")
    await fleet.finished(runs)
    await tried("apart", fleet, runs)

    await fleet.until(lambda: fleet.living(2), what="the healed host")
    more = await fleet.in_flight(20)
    workers[1].signal(signal.SIGKILL)
    fleet.let_go()
    await fleet.finished(more)
    await tried("gone", fleet, more)


async def driven_by(fleet: Fleet, runs: list[str], host: str) -> set[str]:
    """Those of the runs that this host drives."""
    rows = [await fleet.durable.ledger.row(run) for run in runs]
    return {row.id for row in rows if row.owner is not None and row.owner.startswith(f"{host}~")}
