"""Has motet imported already, and forks a process of it for each line it reads: a worker lives in a moment.

A line is JSON: `words` (the command line), `out` and `err` (files), `env` (added), `code` (the file that its exit code
goes to, once it has ended). The answer to each is its pid. When stdin ends, so does this; the fixture that started it
has ended the others.
"""

from __future__ import annotations

import json
import os
import pkgutil
import select
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import motet.cli.commands
from motet.cli.main import main

for module in pkgutil.iter_modules(motet.cli.commands.__path__):
    import_module(f"motet.cli.commands.{module.name}")
for name in ("motet.cli.fleet", "motet.cli.driving", "motet.upstream.supervisor", "psycopg_pool", "aiohttp.web"):
    import_module(name)


def be(told: dict[str, Any]) -> NoReturn:
    """Be that process from here on."""
    for number, file in ((0, os.devnull), (1, told["out"]), (2, told["err"])):
        handle = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(told["env"])
    sys.argv = ["motet", *told["words"]]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def reap(codes: dict[int, Path]) -> None:
    """Write down the exit codes of those that have ended."""
    while codes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        file = codes.pop(pid)
        new = file.with_suffix(".new")
        new.write_text(str(os.waitstatus_to_exitcode(status)), encoding="ascii")
        new.rename(file)


def noticed(_signal: int, _frame: object) -> None:
    """Nothing: that it came is a byte in the pipe."""


def serve() -> None:
    """Fork until stdin ends."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, noticed)
    signal.set_wakeup_fd(writing)
    codes: dict[int, Path] = {}
    orders = os.fdopen(0, "rb", buffering=0, closefd=False)  # what was read ahead would be no event
    while True:
        ready, _, _ = select.select([0, reading], [], [])
        if reading in ready:
            os.read(reading, 4096)
            reap(codes)
        if 0 in ready:
            line = orders.readline()
            if not line:
                return
            told = json.loads(line)
            if not (pid := os.fork()):
                be(told)
            codes[pid] = Path(told["code"])
            os.write(1, f"{pid}\n".encode())


if __name__ == "__main__":
    os.write(1, b"ready\n")
    serve()
