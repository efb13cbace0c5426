"""`make conformance`: the official suite against our client, in both revisions; nonzero on any scored failure.

The suite's own report goes to stdout, its details to `.cache/conformance`; the last line sums up the scored scenarios.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conformance import node

REVISIONS = ("2026-07-28", "2025-11-25")
PATIENCE = 900
_SCENARIO = re.compile(r"^[✓✗] (?P<name>\S+): (?P<passed>\d+) passed, (?P<failed>\d+) failed", re.MULTILINE)
_UNSCORED = re.compile(r"^  [✓✗] (?P<name>\S+) \(", re.MULTILINE)


def run(revision: str) -> tuple[int, int]:
    """Run one revision; how many scored checks passed and failed."""
    client = f"{sys.executable} {Path(__file__).with_name('client.py')}"
    results = node.ROOT / ".cache" / "conformance" / revision
    results.mkdir(parents=True, exist_ok=True)
    command = [node.node(), node.script("@modelcontextprotocol/conformance"), "client", "--command", client]
    command += ["--requirements", revision, "--timeout", "60000", "--output-dir", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=results)
    (results / "report.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    report = done.stdout + done.stderr
    unscored = {found["name"] for found in _UNSCORED.finditer(report)}
    passed = failed = 0
    for found in _SCENARIO.finditer(report):
        scored = found["name"] not in unscored
        sys.stdout.write(f"{revision} {found[0]}{'' if scored else '  (not scored)'}\n")
        if scored:
            passed += int(found["passed"])
            failed += int(found["failed"])
    if passed == 0:
        sys.stdout.write(report[-4000:])
        failed = max(failed, 1)  # a suite that did not run has not passed
    return passed, failed


def main() -> int:
    """Run both revisions."""
    node.install()
    counts = [run(revision) for revision in REVISIONS]
    passed, failed = (sum(column) for column in zip(*counts, strict=True))
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
