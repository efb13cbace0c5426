"""The playground that the contracts are held against."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from motet_servers.playground.world import Playground

sys.path.append(str(Path(__file__).parent))  # test folders are no packages
sys.path.append(str(Path(__file__).parents[1] / "counterparts"))

from held import contracts, held

__all__ = ["contracts"]
held_to_the_contracts = held(answers=True)


@pytest.fixture
async def playground() -> AsyncGenerator[Playground]:
    async with Playground() as found:
        yield found
