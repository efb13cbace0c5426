"""The faults that fleets are tried with: the table in docs/fleet.md, whose rows are printed when they were tried."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fleet.fleet_kit import STEPS, Fleet

PAGE = Path(__file__).parents[2] / "docs" / "fleet.md"
MANY = 200
"""Runs in flight, where it says so."""
HEAD = "| fault | what happens | doubled unkeyed calls | keyed effects other than one |"


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table."""

    title: str
    happens: str

    def row(self, doubled: int, keyed: int) -> str:
        """The row, with what was counted."""
        return f"| {self.title} | {self.happens} | {doubled} | {keyed} |"


FAULTS = {
    "killed": Fault(
        f"a worker of three is killed (`kill -9`) with {MANY} runs in flight", "the others finish its runs"
    ),
    "stopped": Fault(
        f"a worker of three is stopped past the stall limit with {MANY} runs in flight, and continued",
        "its runs are taken over; it starts nothing; its late answers settle the unknowns",
    ),
    "restarted": Fault(
        "PostgreSQL is restarted without mercy with 100 runs in flight", "legs wait for it; every run goes on"
    ),
    "cut": Fault(
        "a worker's connections are cut past the stall limit, then healed",
        "the other takes over; the healed one is of use again",
    ),
    "apart": Fault(
        "a host with an address of its own loses the way to the database, then has it again",
        "the other host takes over; the healed one starts nothing, and its late answers settle the unknowns",
    ),
    "gone": Fault("a host with an address of its own is gone", "another one takes over once its leases are over"),
    "open": Fault(
        "a process is stopped in the middle of a transaction",
        "PostgreSQL ends that transaction; nobody waits for its locks",
    ),
    "drained": Fault("SIGTERM", "the calls in flight end, the rest goes on elsewhere, nothing is left unknown"),
    "clocks": Fault("a machine's clock is two hours ahead", "nothing changes"),
    "poison": Fault("a step, or a run, kills whoever takes it up", "parked after three, with the reason"),
    "versions": Fault("two versions of motet on one database", "a run stays with workers that speak its version"),
    "newer": Fault(
        "a newer motet brings the tables up to date under a worker",
        "the worker goes on; an older motet that comes later is refused, with the reason",
    ),
}


async def tried(name: str, fleet: Fleet, runs: list[str]) -> None:
    """Print the row of a fault that was tried on these runs of `FLOW`, all over by now; it stands so in the docs."""
    times = Counter(ident for _, ident, _ in fleet.effects())
    counts = {step: [times[f"{run}/{step}"] for run in runs] for step in STEPS}
    doubled = sum(count > 1 for step in STEPS if step.startswith("u") for count in counts[step])
    keyed = sum(count != 1 for step in STEPS if step.startswith("k") for count in counts[step])
    row = FAULTS[name].row(doubled, keyed)
    print(row)  # noqa: T201 - it is the table of the docs
    assert (await fleet.wrong(runs), row in PAGE.read_text(encoding="utf-8").splitlines()) == ([], True), row
