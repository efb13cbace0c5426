"""``python -m motet_servers.playground``: starts the playground and says where it is, until stdin ends or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import cast

import orjson

from motet_servers.playground.http import Refused
from motet_servers.playground.world import SEED, Playground


def main() -> int:
    """Runs the command; the exit code is 0, or 2 when the seed or the port is unusable."""
    parser = argparse.ArgumentParser(prog="python -m motet_servers.playground", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="first of five ports; 0: any free ones (default)")
    parser.add_argument("--seed", type=Path, help="a JSON file with the world to start from")
    options = parser.parse_args()
    try:
        seed = SEED if options.seed is None else _load(options.seed)
        asyncio.run(_serve(Playground(seed, port=options.port)))
    except (OSError, ValueError, Refused) as error:
        sys.stderr.write(f"playground: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _load(path: Path) -> dict[str, object]:
    found = orjson.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{path}: the seed must be a JSON object")  # noqa: TRY004 - the content is wrong, not a type in our code
    return cast("dict[str, object]", found)


async def _serve(playground: Playground) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, over.set)
    stdin = sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            over.set()

    async with playground:
        sys.stdout.write(orjson.dumps(playground.environment()).decode() + "\n")
        sys.stdout.flush()
        try:
            loop.add_reader(stdin, read)
        except PermissionError:  # a file or /dev/null: nobody holds the other end
            over.set()
        await over.wait()


if __name__ == "__main__":
    sys.exit(main())
