"""`python -m bench [NAME …]`: run benches and print their tables; when all ran, write them to `bench/RESULTS.md`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from bench.rows import Row, machine, markdown

BENCHES = {
    "wire": "One call, against the official clients",
    "layers": "The layers around a call",
    "host": "Many servers, some of them broken",
    "servers": "The bundled servers, over a bare FastMCP server",
    "check": "Checking workflows",
    "engine": "Running workflows",
    "fleet": "A fleet on PostgreSQL",
}


class Bench(Protocol):
    """A bench module."""

    def rows(self) -> list[Row]:
        """Measure."""
        ...


def main(names: list[str]) -> int:
    """Run the named benches, or all."""
    if unknown := set(names) - BENCHES.keys():
        sys.stderr.write(f"no bench {', '.join(sorted(unknown))}; there are: {', '.join(BENCHES)}\n")
        return 2
    tables: list[str] = []
    for name in names or BENCHES:
        sys.stderr.write(f"bench {name} …\n")
        bench = cast("Bench", import_module(f"bench.{name}"))
        tables.append(markdown(BENCHES[name], bench.rows()))
        sys.stdout.write(tables[-1] + "\n")
        sys.stdout.flush()
    if not names:
        head = f"# Results of `make bench`\n\nMeasured on: {machine()}. Noisy and shared: trust the ratios.\n\n"
        Path(__file__).with_name("RESULTS.md").write_text(head + "\n".join(tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
