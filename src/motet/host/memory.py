"""What is remembered of servers between runs: what they listed, which definitions were accepted, their revision.

One JSON file per server, written whole and put in place at once, readable by its owner alone. A server that is
configured otherwise (another command, another URL) is another server: nothing is remembered of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson

from motet.calls import Json
from motet.catalog.catalog import ServerCatalog, from_json, to_json
from motet.catalog.tool import Tool
from motet.config.model import HttpTransport, ServerConfig, StdioTransport


@dataclass(frozen=True, slots=True)
class Definition:
    """A tool definition that was accepted: what a changed one is held against."""

    digest: str
    shown: Mapping[str, Json]
    """The parts that matter to people: `title`, `description`, `input`, `output`, `annotations`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One tool whose definition is not the accepted one. None: it is not listed any more."""

    tool: str
    accepted: Mapping[str, Json]
    present: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """All that is kept of one server."""

    part: ServerCatalog
    accepted: Mapping[str, Definition]


class _File(msgspec.Struct):
    motet: int
    server: str
    configured: str
    accepted: dict[str, Definition]
    part: Any


def shown(tool: Tool) -> dict[str, Json]:
    """A definition as it is shown to a person who decides about it."""
    return {
        "title": tool.title,
        "description": tool.description,
        "input": dict(tool.input_schema),
        "output": None if tool.output_schema is None else dict(tool.output_schema),
        "annotations": msgspec.to_builtins(tool.annotations),
    }


def accepted(tool: Tool) -> Definition:
    """The definition to hold later ones against."""
    return Definition(tool.digest, shown(tool))


class Memory:
    """The directory it is kept in; None: nothing is kept."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = None if directory is None else directory / "servers"

    def path(self, server: str) -> Path | None:
        """The file of one server."""
        if self._directory is None:
            return None
        plain = re.sub(r"[^A-Za-z0-9_-]", "_", server)[:60]
        return self._directory / f"{plain}-{hashlib.sha256(server.encode()).hexdigest()[:12]}.json"

    def load(self, config: ServerConfig) -> Remembered | None:
        """What is remembered of this server; None when there is nothing, or nothing that can be read."""
        path = self.path(config.name)
        if path is None:
            return None
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_File)
            if kept.motet != 1 or kept.server != config.name or kept.configured != _configured(config):
                return None
            return Remembered(from_json(kept.part), kept.accepted)
        except (OSError, msgspec.MsgspecError, ValueError):
            return None

    def save(self, config: ServerConfig, remembered: Remembered) -> None:
        """Keep this in place of what was kept. Blocks on the disk. Raises OSError."""
        path = self.path(config.name)
        if path is None:
            return
        kept = _File(1, config.name, _configured(config), dict(remembered.accepted), to_json(remembered.part))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # 0600 by itself
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(orjson.dumps(msgspec.to_builtins(kept)))
            Path(name).replace(path)
        except BaseException:  # a half-written file is worth nothing to anybody
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise


def _configured(config: ServerConfig) -> str:
    match config.transport:
        case StdioTransport(command=command, args=args):
            told: list[str] = ["stdio", command, *args]
        case HttpTransport(url=url, kind=kind):
            told = [kind, url]
        case _:
            told = ["in process"]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()
