import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from motet.cli.main import cli

CHOIR = Path(__file__).with_name("choir.py")


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, remembering nothing outside it."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("MOTET_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("MOTET_CONFIG", raising=False)
    return work


@pytest.fixture
def motet(folder: Path) -> Callable[..., Said]:
    """`motet("call", "alto.say", …)` in that folder."""

    def run(*arguments: str) -> Said:
        result = CliRunner().invoke(cli, arguments, prog_name="motet")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def choir(folder: Path) -> Callable[..., Path]:
    """Write a motet.toml with these voices; more settings of a voice are TOML text."""

    def write(*voices: str, more: Mapping[str, str] | None = None) -> Path:
        lines: list[str] = []
        for voice in voices:
            lines += [f"[servers.{voice}]", f"command = {json.dumps(sys.executable)}"]
            lines += [f"args = {json.dumps([str(CHOIR), voice])}", (more or {}).get(voice, ""), ""]
        path = folder / "motet.toml"
        path.write_text("\n".join(lines))
        return path

    return write
