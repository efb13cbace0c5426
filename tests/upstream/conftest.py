from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from upstream.bench import Bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        await made.close()
