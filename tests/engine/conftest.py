"""Fixtures of the engine's tests: time that passes by itself, and servers made of functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))  # the tests of a folder share a kit: `engine.engine_kit`

from engine.engine_kit import Servers


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture
def events() -> list[Any]:
    return []


@pytest.fixture
def emit(events: list[Any]) -> Callable[[Any], None]:
    return events.append
