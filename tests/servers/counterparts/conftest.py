"""One process of each stand-in per test worker, started when first asked for; requests are held to the contracts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # test folders are no packages: what they share is found like this
sys.path.append(str(Path(__file__).parents[1] / "contracts"))

from held import contracts, held
from standins import Emulate, Jira820, Radicale, start_emulate, start_jira820, start_radicale

__all__ = ["contracts"]
held_to_the_contracts = held(answers=False)


@pytest.fixture(scope="session")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    with start_radicale(tmp_path_factory.mktemp("radicale")) as found:
        yield found


@pytest.fixture(scope="session")
def jira820(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jira820]:
    with start_jira820(tmp_path_factory.mktemp("jira820")) as found:
        yield found


@pytest.fixture(scope="session")
def emulate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulate]:
    with start_emulate(tmp_path_factory.mktemp("emulate")) as found:
        yield found


_numbers = count()


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Names that no other test of this run has."""
    return lambda start: f"{start}-{os.getpid()}-{next(_numbers)}"
