"""The vendors' contracts, fetched once into the cache, and the playground they are held against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from motet_servers.playground.world import Playground

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent / "counterparts")]  # test folders are no packages


@pytest.fixture(scope="session")
def contracts() -> Path:
    done = subprocess.run(
        [sys.executable, str(HERE / "fetch.py")], timeout=300, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground() as found:
        yield found
