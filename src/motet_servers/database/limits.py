"""What one answer may hold, and collecting rows within it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from motet_servers.database.model import Row
from motet_servers.database.values import to_json, unique
from motet_servers.kit.errors import TooLarge


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one call."""

    rows: int = 1000
    bytes: int = 1 << 20
    timeout: float = 30.0
    """Seconds one statement may take."""


class Collector:
    """Takes rows until a cap is reached."""

    def __init__(self, columns: Sequence[str], limits: Limits) -> None:
        self.columns = unique(columns)
        self.rows: list[Row] = []
        self.truncated = False
        self._limits = limits
        self._size = 0

    def add(self, values: Sequence[Any]) -> bool:
        """Take a row; False when it did not fit, and nothing more will."""
        if len(self.rows) >= self._limits.rows:
            self.truncated = True
            return False
        row = dict(zip(self.columns, map(to_json, values), strict=True))
        size = len(json.dumps(row))
        if self._size + size > self._limits.bytes:
            self.end()
            return False
        self._size += size
        self.rows.append(row)
        return True

    def end(self) -> None:
        """The next row does not fit; TooLarge when it is the first."""
        if not self.rows:
            raise TooLarge(
                f"the first row alone is over {self._limits.bytes:,} bytes; select fewer columns, or parts of them "
                "(substr, left)."
            )
        self.truncated = True


def plan(lines: Iterable[str], limits: Limits) -> list[str]:
    """The lines of a plan; TooLarge when they are more than an answer may hold."""
    found = list(lines)
    if sum(map(len, found)) > limits.bytes:
        raise TooLarge(f"the plan is over {limits.bytes:,} bytes; explain a part of the query.")
    return found
