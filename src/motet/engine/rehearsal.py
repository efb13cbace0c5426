"""Fault rehearsal: run a workflow once for every server and every way that server can fail, and see what is left.

    server   fault        status    done            undone   unknown   left
    (none)                complete  release, deploy
    jira     down         partial   release, deploy                    ticket
    deploy   lost answer  failed    release                  deploy

Real time is not waited for: a wait, a deferral or an approval's time limit is jumped over. The servers are whatever the
`dispatch` reaches (the playground), or `MockServers`: tools that answer with a value made from their output schema.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jsonschema_rs
import orjson

from motet.calls import Answer, Ask, Call, Failed, Json, Method, Outcome, Question, Reply, ResourceResult, ToolResult
from motet.calls import Done as Answered
from motet.engine.memory import Run
from motet.engine.ports import Dispatch, wall_clock
from motet.engine.report import Report
from motet.errors import (
    CallError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArguments,
    ServerUnavailable,
    ToolError,
    UnknownAddress,
)
from motet.workflow.model import PromptGet, Read, RunWorkflow, ToolCall, Workflow

Fault = Literal["down", "hang", "error", "lost answer"]
FAULTS: tuple[Fault, ...] = ("down", "hang", "error", "lost answer")
"""Cannot be reached; takes the request and never answers; says `isError`; acts, and its answer is lost."""
RunWith = Callable[["str | None", "Fault | None"], Awaitable[Report]]
"""Runs the workflow once, with that fault on that server; both None: with none."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one rehearsal."""

    server: str
    """Empty: no server failed."""
    fault: str
    status: str
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """Steps that did not get done: failed, partial, skipped for lack of data, waiting, or not taken back."""

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "server": self.server,
            "fault": self.fault,
            "status": self.status,
            "done": list(self.done),
            "undone": list(self.undone),
            "unknown": list(self.unknown),
            "left": list(self.left),
        }


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The table."""

    workflow: str
    rows: tuple[Row, ...]

    @property
    def surprises(self) -> tuple[Row, ...]:
        """Rows that leave something nobody knows the state of."""
        return tuple(row for row in self.rows if row.unknown)

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        return {"workflow": self.workflow, "rows": [row.to_json() for row in self.rows]}

    def to_text(self) -> str:
        """As a table."""
        head = ("server", "fault", "status", "done", "undone", "unknown", "left")
        cells = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[at]) for line in cells) for at in range(len(head))]
        return "\n".join("  ".join(cell.ljust(widths[at]) for at, cell in enumerate(line)).rstrip() for line in cells)


def _cells(row: Row) -> tuple[str, ...]:
    lists = (row.done, row.undone, row.unknown, row.left)
    return (row.server or "(none)", row.fault, row.status, *(", ".join(names) for names in lists))


def row_of(report: Report, server: str = "", fault: str = "") -> Row:
    """A report as a row of the table."""
    unknown = tuple(dict.fromkeys(left.step for left in report.attention))
    return Row(
        server=server,
        fault=fault,
        status=report.status,
        done=tuple(step.step for step in report.steps if step.status == "done"),
        undone=report.undone,
        unknown=unknown,
        left=tuple(
            step.step
            for step in report.steps
            if step.step not in unknown
            and (step.status in ("failed", "partial", "waiting") or (step.reason or "").startswith("missing"))
        ),
    )


async def rehearse(
    workflow: Workflow, run_with: RunWith, *, servers: Iterable[str] | None = None, faults: Iterable[Fault] = FAULTS
) -> Rehearsal:
    """Run it with no fault, then with every fault on every server it touches (or on `servers`)."""
    rows = [row_of(await run_with(None, None))]
    for server in servers if servers is not None else servers_of(workflow):
        rows += [row_of(await run_with(server, fault), server, fault) for fault in faults]
    return Rehearsal(workflow.name, tuple(rows))


def servers_of(workflow: Workflow) -> tuple[str, ...]:
    """The servers a workflow names, in the order of its steps; those of nested workflows too.

    A `read` names its server only with `{server, uri}`; a URI's server is for the router to say.
    """
    found: dict[str, None] = {}
    for step in (*workflow.steps.values(), *workflow.final.values()):
        match step.action:
            case ToolCall(server=server) | PromptGet(server=server):
                found[server] = None
            case Read(uris=uris):
                found |= {target.server: None for target in uris.values() if target.server is not None}
            case RunWorkflow(workflow=inner):
                found |= dict.fromkeys(servers_of(inner))
            case _:
                pass
        beside = (step.on_error.call, step.undo and step.undo.call, step.reconcile and step.reconcile.call)
        found |= {call.server: None for call in beside if call is not None}
    return tuple(found)


class _Clock:
    """A clock that can be moved on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return wall_clock() + self.ahead


async def says_yes(question: Question) -> Answer:
    """Approves everything, and answers other questions with nothing."""
    return Answer("accept" if question.kind == "approval" else "decline", {"by": "rehearsal"})


def rehearsed(
    workflow: Workflow,
    inputs: Mapping[str, Json] | None,
    dispatch: Callable[[], Dispatch],
    *,
    ask: Ask = says_yes,
    secrets: Mapping[str, str] | None = None,
) -> RunWith:
    """A way to run the workflow in memory, with faults put in front of a fresh `dispatch` each time."""

    async def run_with(server: str | None, fault: Fault | None) -> Report:
        clock = _Clock()
        given = dispatch()
        faulty = given if server is None or fault is None else Faulty(given, server, fault)
        run = Run(workflow, inputs, dispatch=faulty, now=clock, ask=ask, secrets=secrets, parks=0.0)
        report = await run.drive()
        while not run.state.ended and (at := run.state.wakes_at()) is not None:
            clock.ahead += max(0.0, at - clock())
            report = await run.drive()
        return report

    return run_with


class Faulty:
    """A dispatch with a fault in front of one server."""

    def __init__(self, inner: Dispatch, server: str, fault: Fault) -> None:
        self._inner = inner
        self._server = server
        self._fault: Fault = fault

    def prepare(self, server: str, method: Method, name: str, arguments: Mapping[str, Json], **more: Any) -> Call:
        """As the dispatch behind."""
        return self._inner.prepare(server, method, name, arguments, **more)

    def route(self, uri: str, server: str | None = None) -> str:
        """As the dispatch behind."""
        return self._inner.route(uri, server)

    async def attempt(self, call: Call) -> Outcome:
        """The fault, for the server that has it."""
        if call.server != self._server:
            return await self._inner.attempt(call)
        if self._fault == "lost answer":
            await self._inner.attempt(call)
        return Failed(self._error(call), attempts=1)

    def _error(self, call: Call) -> CallError:
        match self._fault:
            case "down":
                return ServerUnavailable("is down (rehearsed)", server=call.server)
            case "hang":
                return DeadlineExceeded("did not answer in time (rehearsed)", server=call.server)
            case "error":
                return ToolError("failed (rehearsed)", server=call.server, tool=call.name)
            case "lost answer":
                return ConnectionLost("lost the answer (rehearsed)", server=call.server)


@dataclass(frozen=True, slots=True)
class MockTool:
    """A tool as its schemas tell it."""

    output: Json = None
    """What it answers: a value that fits its output schema."""
    input_schema: Mapping[str, Json] | None = None
    read_only: bool = False
    keyed: str | None = None
    """The argument that carries an idempotency key."""
    repeatable: bool = False


@dataclass
class MockServers:
    """A dispatch over mocked tools; resources are texts that name their URI. `acted`: what was called, in order."""

    tools: Mapping[tuple[str, str], MockTool]
    routes: Callable[[str], str] = field(default=lambda uri: uri.split(":", 1)[0])
    acted: list[tuple[str, str, Mapping[str, Json]]] = field(default_factory=list[tuple[str, str, Mapping[str, Json]]])

    def prepare(
        self, server: str, method: Method, name: str, arguments: Mapping[str, Json], *, key: str | None = None, **_: Any
    ) -> Call:
        """A call to a mocked tool. Raises `UnknownAddress` or `InvalidArguments`."""
        if method != "tools/call":
            return Call(server=server, method=method, name=name, arguments=dict(arguments), read_only=True)
        tool = self.tools.get((server, name))
        if tool is None:
            raise UnknownAddress(f"no tool `{name}`", server=server)
        given = dict(arguments)
        if tool.keyed is not None and key is not None:
            given.setdefault(tool.keyed, key)
        if tool.input_schema is not None:
            wrong = next(jsonschema_rs.iter_errors(dict(tool.input_schema), given), None)
            if wrong is not None:
                raise InvalidArguments(f"{name}: {wrong.message}", server=server)
        return Call(
            server=server,
            method=method,
            name=name,
            arguments=given,
            repeatable=tool.read_only or tool.repeatable or tool.keyed is not None,
            read_only=tool.read_only,
            key=key if tool.keyed is not None else None,
        )

    def route(self, uri: str, server: str | None = None) -> str:
        """The named server, or what `routes` says."""
        return server or self.routes(uri)

    async def attempt(self, call: Call) -> Outcome:
        """The mocked answer."""
        self.acted.append((call.server, call.name, call.arguments))
        return Answered(self._reply(call), attempts=1)

    def _reply(self, call: Call) -> Reply:
        if call.method == "resources/read":
            return ResourceResult(orjson.dumps({"contents": [{"uri": call.name, "text": f"mock of {call.name}"}]}))
        tool = self.tools.get((call.server, call.name), MockTool())
        text = tool.output if isinstance(tool.output, str) else orjson.dumps(tool.output).decode()
        return ToolResult(orjson.dumps({"content": [{"type": "text", "text": text}]}))
