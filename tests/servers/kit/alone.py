"""Runs one bundled server by its console script as if nothing but its own extra were installed, and nobody to talk to.

`python alone.py SERVER EXTRA REPORT`. What may be imported is what the metadata says that `pip install 'motet[EXTRA]'`
brings; anything else is not found. REPORT gets, at the end, a JSON object: whether `motet` was loaded, and every
address that was looked up or connected to.
"""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.metadata as metadata
import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def installed_with(extra: str) -> set[str]:
    """The distributions that `motet[extra]` brings, itself included."""
    found: dict[str, set[str]] = {}
    waiting = [Requirement(f"motet[{extra}]")]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        new = {"", *wanted.extras} - found.setdefault(name, set())
        found[name] |= new
        for text in metadata.requires(name) or [] if new else []:
            each = Requirement(text)
            if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in new):
                waiting.append(each)
    return set(found)


class OnlyThese(importlib.abc.MetaPathFinder):
    """Finds nothing that belongs to other distributions."""

    def __init__(self, distributions: set[str]) -> None:
        self._hidden = {
            module
            for module, owners in metadata.packages_distributions().items()
            if not {canonicalize_name(owner) for owner in owners} & distributions
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._hidden:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def main() -> None:
    server, extra, report = sys.argv[1:]
    reached: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"socket.connect", "socket.getaddrinfo", "subprocess.Popen"}:
            reached.append(f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}")

    def tell() -> None:
        Path(report).write_text(json.dumps({"motet": "motet" in sys.modules, "reached": reached}))

    sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).parent]
    [script] = metadata.entry_points(group="console_scripts", name=f"motet-server-{server}")
    sys.meta_path.insert(0, OnlyThese(installed_with(extra)))
    for loaded in [name for name in sys.modules if name.partition(".")[0] == "packaging"]:
        del sys.modules[loaded]
    atexit.register(tell)
    sys.addaudithook(watch)
    sys.argv[:] = [script.name]
    sys.exit(script.load()())


if __name__ == "__main__":
    main()
