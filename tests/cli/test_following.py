"""`motet read --follow`, over the bundled filesystem server."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def notes(folder: Path) -> Path:
    """A file of a filesystem server."""
    root = folder / "notes"
    root.mkdir()
    command = [sys.executable, "-m", "motet_servers.filesystem", str(root)]
    (folder / "motet.toml").write_text(
        f"[servers.files]\ncommand = {json.dumps(command[0])}\nargs = {json.dumps(command[1:])}\n"
    )
    return root / "today.txt"


def test_a_resource_is_printed_again_whenever_it_changes(folder: Path, notes: Path):
    def shown_until(line: str) -> list[str]:
        assert process.stdout is not None
        shown: list[str] = []
        while line not in shown and (read := process.stdout.readline()):
            shown.append(read)
        return shown

    notes.write_text("bread\n")
    command = [sys.executable, "-m", "motet", "read", "files://notes/today.txt", "--follow"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert shown_until("bread\n") == ["bread\n"]
            notes.write_text("butter\n")
            assert shown_until("butter\n")[-1:] == ["butter\n"]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=15) == 130
