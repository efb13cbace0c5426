"""Drives one run on a disk that is not as one would wish: `journal_on_a_disk.py FOLDER full | read-only`.

Prints a JSON object: what went wrong, what had been done by then, and what came of it once the cause was gone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from engine.engine_kit import Servers, flow
from motet.engine.durable import Durable
from motet.engine.store.opening import open_store
from motet.errors import RunError

STEPS = "steps: {big: {call: a.big}, act: {call: a.act, with: {size: '${{ size(big.text) }}'}, needs: [big]}}"


async def full(folder: Path) -> dict[str, Any]:
    """The disk fills up while the run is on; then somebody makes room."""
    servers = Servers(tools={"a.big": lambda _: {"text": "x" * 1_500_000}, "a.act": lambda _: {}}, read_only={"a.big"})
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * 3_000_000)
    async with open_store(str(folder / "runs.sqlite")) as store:
        runs = Durable(store)
        run = await runs.start(flow(STEPS), {})
        try:
            await runs.drive(run, servers)
        except RunError as error:
            said, hint, done = error.message, error.hint, list(servers.names)
        else:
            return {"error": "it went through"}
        ballast.unlink()
        report = await runs.drive(run, servers)
        return {"said": said, "hint": hint, "done": done, "after": servers.names, "status": report.status}


async def read_only(folder: Path) -> dict[str, Any]:
    """The folder is mounted read-only."""
    try:
        async with open_store(str(folder / "runs.sqlite")):
            return {"error": "it was opened"}
    except RunError as error:
        return {"said": error.message, "hint": error.hint}


if __name__ == "__main__":
    work = {"full": full, "read-only": read_only}[sys.argv[2]]
    sys.stdout.write(json.dumps(asyncio.run(work(Path(sys.argv[1])))) + "\n")
