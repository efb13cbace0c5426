"""The demo's show: connect, trouble if asked for, the three patterns one after the other, and what came of them."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Final, Literal, cast

import click

from motet.cli import exits, output
from motet.cli.board import Board, seconds, shown
from motet.cli.demo import processes
from motet.cli.demo.stage import ENVIRONMENT, RELEASES, Stage
from motet.engine.report import Report, StepReport
from motet.events import ServerChanged
from motet.orchestrator.orchestrator import Orchestrator
from motet.workflow.loading import load
from motet.workflow.model import Workflow

PATTERNS: Final[Mapping[str, Mapping[str, Any]]] = {
    "sequential": {"ticket": "JIRA-1234", "repo": "acme/app"},
    "parallel": {"repo": "acme/app", "project": "PROJ"},
    "chain": {"repo": "acme/app", "ticket": "PROJ-42", "env": ENVIRONMENT},
}
"""The specification's three patterns, and what the demo gives each."""

Kind = Literal["break", "hang", "slow"]
SAYS: Final[Mapping[Kind, str]] = {
    "break": "was killed, and cannot be started again",
    "hang": "is stopped: it takes every request and answers none",
    "slow": "runs only now and then",
}
NOTICED: Final = 5.0
"""Seconds in which a killed server must be noticed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is done to which server."""

    kind: Kind
    server: str


@dataclass(frozen=True, slots=True)
class Health:
    """What a deployed service said when it was asked how it is."""

    url: str
    status: int
    body: str


@dataclass(slots=True)
class Outcome:
    """What came of the show."""

    trouble: Trouble | None
    servers: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    reports: dict[str, Report] = field(default_factory=dict[str, Report])
    before: Health | None = None
    """The health answer of the service that ran when the curtain opened."""
    took: float = 0.0

    @property
    def code(self) -> int:
        """The exit code."""
        return exits.worst(exits.of_status(report.status) for report in self.reports.values())

    @property
    def status(self) -> str:
        """complete, partial or failed."""
        return {exits.COMPLETE: "complete", exits.PARTIAL: "partial"}.get(self.code, "failed")

    @property
    def headline(self) -> str:
        """One clause: what a person should know."""
        waiting = [name for name, report in self.reports.items() if report.status == "partial"]
        broken = [name for name, report in self.reports.items() if report.status not in ("partial", "complete")]
        parts = [f"{self.trouble.server} {SAYS[self.trouble.kind]}"] if self.trouble else []
        parts += [f"{', '.join(waiting)} did what could be done"] if waiting else []
        parts += [f"{', '.join(broken)} could not be done"] if broken else []
        return "; ".join(parts) if waiting or broken else "; ".join([*parts, "every pattern did its work"])

    @property
    def after(self) -> Health | None:
        """The health answer of the service that the chain deployed; None when it did not get that far."""
        chain = self.reports.get("chain")
        return health_of(chain.step("healthy").output) if chain else None

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        trouble = {"kind": self.trouble.kind, "server": self.trouble.server} if self.trouble else None
        return {
            "status": self.status,
            "trouble": trouble,
            "servers": self.servers,
            "patterns": {
                name: {**report.to_json(), "finish": finish(name, report)} for name, report in self.reports.items()
            },
            "service": {"before": _health_json(self.before), "after": _health_json(self.after)},
            "took": round(self.took, 3),
        }


async def perform(
    stage: Stage, examples: Path, acts: Sequence[Trouble | None], *, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """The whole show on one set of servers, an act for each trouble; progress on stderr, `tell` after each act."""
    audience = Audience()
    outcomes: list[Outcome] = []
    began = perf_counter()
    async with Orchestrator.from_config(dict(stage.config), emit=audience) as motet:
        await motet.host.settled()
        _programme(motet)
        for trouble in acts:
            outcome = Outcome(trouble)
            async with _service(motet) as outcome.before, _troubled(motet, stage, trouble, audience):
                for name, inputs in PATTERNS.items():
                    output.say()
                    report = await _run(motet, load(examples / f"{name}.yaml"), inputs, audience)
                    outcome.reports[name] = report
                    output.say(_verdict(report))
                outcome.servers = {name: _server_json(motet, name) for name in motet.servers}
            outcome.took, began = perf_counter() - began, perf_counter()
            outcomes.append(outcome)
            tell(outcome)
    return outcomes


class Audience:
    """Passes each event to whoever is looking just now."""

    def __init__(self) -> None:
        self.looking: Callable[[Any], None] = _nobody
        self._away: dict[str, asyncio.Event] = {}

    def __call__(self, event: Any) -> None:
        if isinstance(event, ServerChanged) and event.state != "ready":
            self._away.setdefault(event.server, asyncio.Event()).set()
        self.looking(event)

    async def gone(self, server: str) -> None:
        """Returns when the orchestrator has noticed that the server is not ready any more."""
        self._away[server] = asyncio.Event()
        await self._away[server].wait()


def _nobody(_event: Any) -> None:
    """Between the acts nobody looks."""


async def _run(motet: Orchestrator, workflow: Workflow, inputs: Mapping[str, Any], audience: Audience) -> Report:
    with shown(Board.of(workflow)) as view:
        audience.looking = view.tell
        try:
            report = await motet.run(workflow, inputs)
            view.settle(report)
            return report
        finally:
            audience.looking = _nobody


def _programme(motet: Orchestrator) -> None:
    for name in motet.servers:
        server = motet.servers[name]
        boundary = server.catalog.boundary
        tools = output.plural(len(server.catalog.tools), "tool")
        what = f"{boundary.description} " if boundary and boundary.description else ""
        output.say(f"  {name:<11}{server.state:<7}{what}({tools})")


@asynccontextmanager
async def _service(motet: Orchestrator) -> AsyncGenerator[Health | None]:
    """Deploy the former release, so that there is something to replace, and stop the service in the end."""
    answer = await motet.call_tool("deploy", "deploy", {"version": RELEASES[0], "env": ENVIRONMENT})
    try:
        yield health_of(answer.data)
    finally:
        await motet.attempt("deploy", "stop", {"env": ENVIRONMENT})


def health_of(answer: Any) -> Health | None:
    """The part of a deploy server's answer that is about the service itself."""
    if not isinstance(answer, Mapping):
        return None
    told = cast("Mapping[str, Any]", answer)
    return (
        Health(f"{told['url']}/health", told["health_status"], told["health_body"])
        if told.get("health_status")
        else None
    )


def _health_json(health: Health | None) -> dict[str, Any] | None:
    return asdict(health) if health else None


@asynccontextmanager
async def _troubled(
    motet: Orchestrator, stage: Stage, trouble: Trouble | None, audience: Audience
) -> AsyncGenerator[None]:
    if trouble is None:
        yield
        return
    pid = motet.host.servers[trouble.server].details["pid"]
    output.say(f"\n{trouble.server} {SAYS[trouble.kind]}")
    match trouble.kind:
        case "break":
            stage.block(trouble.server)
            processes.signal_family(pid, signal.SIGKILL)
            async with asyncio.timeout(NOTICED):
                await audience.gone(trouble.server)
            yield
        case "hang":
            async with processes.hanging(pid):
                yield
        case "slow":
            async with processes.slow(pid):
                yield


def _server_json(motet: Orchestrator, name: str) -> dict[str, Any]:
    server = motet.servers[name]
    boundary = server.catalog.boundary
    return {
        "state": server.state,
        "reason": server.reason,
        "domain": boundary.domain if boundary else "",
        "tools": len(server.catalog.tools),
        "stale": server.catalog.stale,
    }


def _verdict(report: Report) -> str:
    """One line under a pattern: its status, what is missing, and which data went where."""
    parts = [report.status]
    if report.failure is not None:
        parts.append(f"{report.failure['step']} failed, undone: {', '.join(report.undone) or 'nothing'}")
    elif report.status != "complete":
        parts.append(f"missing {lacks(report)}")
    if report.flows:
        parts.append("data: " + ", ".join(f"{source} -> {target}" for source, target in report.flows))
    return "  " + "; ".join(parts)


def summary(outcome: Outcome) -> None:
    """The last word, on stdout: one row for each pattern, what is missing, and how to finish it."""
    rows = [
        (name, report.status, _result(name, report), lacks(report) or "-") for name, report in outcome.reports.items()
    ]
    output.say()
    output.table(("pattern", "status", "result", "missing"), rows)
    for health, when in ((outcome.before, "before"), (outcome.after, "after")):
        if health is not None:
            click.echo(f"the service {when}: GET {health.url} -> {health.status} {output.clean_line(health.body)}")
    message = _output(outcome.reports.get("chain")).get("message")
    if message:
        click.echo(f"#releases heard: {output.clean_line(message)}")
    for name, report in outcome.reports.items():
        for command in finish(name, report):
            click.echo(f"to finish {name}: {command}")
    click.echo(f"{click.style(outcome.status, bold=True)}: {outcome.headline} ({seconds(outcome.took)})")


def _output(report: Report | None) -> Mapping[str, Any]:
    return report.output if report is not None and report.output else {}


def _result(name: str, report: Report) -> str:
    found = _output(report)
    match name:
        case "sequential":
            return str(found.get("issue") or "-")
        case "parallel":
            status: Mapping[str, Any] = found.get("status") or {}
            return ", ".join(f"{key.replace('_', ' ')} {_size(value)}" for key, value in status.items()) or "-"
        case _:
            return f"{found.get('version')} healthy" if found.get("health") else "-"


def _size(value: Any) -> str:
    """How much a resource holds: the length of its list, or its name."""
    if not isinstance(value, Mapping):
        return "found"
    told = cast("Mapping[str, Any]", value)
    return str(len(told["items"]) if "items" in told else told.get("count", told.get("name", "found")))


def lacks(report: Report) -> str:
    """The steps and parts without data; what only follows from them (`output.…`) is left out."""
    return ", ".join(name for name in report.missing if not name.startswith("output."))


def finish(name: str, report: Report) -> list[str]:
    """The commands that finish what a pattern left: the one call that failed, or the whole workflow again."""
    if report.status == "complete":
        return []
    left = [report.step(gap.step) for gap in report.pending]
    if left and all(step.kind == "call" and step.status == "failed" and step.inputs is not None for step in left):
        return [_call(step) for step in left]
    given = " ".join(f"-i {shlex.quote(f'{key}={value}')}" for key, value in PATTERNS[name].items())
    return [f"motet run {name}.yaml {given}"]


def _call(step: StepReport) -> str:
    arguments: Mapping[str, Any] = step.inputs
    given = " ".join(shlex.quote(f"{key}={value}") for key, value in arguments.items())
    return f"motet call {step.server}.{step.name} {given}"
