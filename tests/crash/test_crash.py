"""A small, seeded part of the crash sweep; `make crash` runs the whole one. See `crash_sweep.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = Path(__file__).with_name("crash_sweep.py")


def swept(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SWEEP), "--where", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", ["11", "12"])
def test_killed_again_and_again_no_effect_is_doubled_or_lost(tmp_path: Path, seed: str) -> None:
    done = swept(tmp_path, "--kills", "15", "--seed", seed)
    assert (done.returncode, done.stderr) == (0, "")
    assert "violations={}" in done.stdout


@pytest.mark.timeout(60)
def test_the_sweep_sees_what_an_engine_without_intents_does(tmp_path: Path) -> None:
    done = swept(tmp_path, "--kills", "25", "--seed", "3", "--no-intents")
    assert done.returncode == 1
    assert "plain effect happened" in done.stdout
