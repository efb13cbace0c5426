"""`make conformance`: the official suite against our client, in both revisions; nonzero on any scored failure.

Every scenario that a revision requires of a client runs by itself, as many at once as there are processors: the suite's
own way of starting all of them together measures the machine instead of the client. Scenarios that are never scored
(extensions, and what was added after a revision's release) are left out. Details go to `.cache/conformance`; the last
line sums up the scored checks.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from conformance import node

REVISIONS = ("2026-07-28", "2025-11-25")
PATIENCE = 300
"""Seconds one scenario may take, start of its processes included."""
SUITE = "@modelcontextprotocol/conformance"
_COUNT = re.compile(r"^Passed: (?P<passed>\d+)/\d+, (?P<failed>\d+) failed", re.MULTILINE)
_CLIENT_PART = re.compile(r"^Client scenarios.*?\n(?P<names>(?:  - \S+\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one scenario went."""

    revision: str
    scenario: str
    passed: int
    failed: int


def suite(*arguments: str, cwd: Path) -> str:
    """Run the suite; what it printed."""
    command = [node.node(), node.script(SUITE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=cwd)
    return done.stdout + done.stderr


def required(revision: str) -> list[str]:
    """The scenarios that a revision requires of a client."""
    listed = suite("list", "--requirements", revision, cwd=node.CACHE)
    found = _CLIENT_PART.search(listed)
    if found is None:
        raise SystemExit(f"the suite names no client scenarios for {revision}:\n{listed[-2000:]}")
    return [line.removeprefix("  - ") for line in found["names"].splitlines()]


def run(revision: str, scenario: str) -> Verdict:
    """Run one scenario; a run that counts nothing has failed."""
    results = node.ROOT / ".cache" / "conformance" / revision
    results.mkdir(parents=True, exist_ok=True)
    client = f"{sys.executable} {Path(__file__).with_name('client.py')}"
    options = ["--scenario", scenario, "--spec-version", revision, "--timeout", "120000", "--output-dir", str(results)]
    try:
        report = suite("client", "--command", client, *options, cwd=results)
    except subprocess.TimeoutExpired:
        report = f"no end after {PATIENCE} s"
    (results / f"{scenario.replace('/', '-')}.txt").write_text(report, encoding="utf-8")
    count = _COUNT.search(report)
    passed, failed = (int(count["passed"]), int(count["failed"])) if count else (0, 1)
    if not failed and "OVERALL: PASSED" not in report:
        failed = 1
    return Verdict(revision, scenario, passed, failed)


def _run(one: tuple[str, str]) -> Verdict:
    return run(*one)


def main() -> int:
    """Run both revisions."""
    node.install()
    wanted = [(revision, scenario) for revision in REVISIONS for scenario in required(revision)]
    passed = failed = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for verdict in pool.map(_run, wanted):
            passed += verdict.passed
            failed += verdict.failed
            mark = "✗" if verdict.failed else "✓"
            told = f"{verdict.revision} {verdict.scenario}: {verdict.passed} passed, {verdict.failed} failed"
            sys.stdout.write(f"{mark} {told}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
