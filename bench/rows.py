"""A measured row, and how rows are shown."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, what came out, what was asked for."""

    what: str
    measured: str
    budget: str = ""
    met: bool | None = None
    """None: nothing was asked."""


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median of ours over median of theirs."""
    return statistics.median(ours) / statistics.median(theirs)


def markdown(title: str, rows: Iterable[Row]) -> str:
    """The rows as a Markdown table under a heading."""
    mark = {True: "yes", False: "**no**", None: ""}
    lines = [f"## {title}", "", "| what | measured | budget | met |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.measured} | {row.budget} | {mark[row.met]} |" for row in rows]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The machine and the versions, in a line."""
    parts = [f"{os.cpu_count()} cores", platform.machine(), f"Python {platform.python_version()}", platform.system()]
    for name in ("mcp", "fastmcp", "aiohttp"):
        try:
            parts.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(parts)


def show(title: str, rows: Iterable[Row]) -> None:
    """Print the table (what `python -m bench.NAME` does)."""
    sys.stdout.write(markdown(title, rows))
