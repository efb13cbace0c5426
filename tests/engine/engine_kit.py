"""What the engine's tests are made of: an event loop whose time jumps, and a `Dispatch` over plain functions.

`VirtualLoop` never sleeps: when nothing is ready, its clock moves to the next timer. `Servers` answers with functions;
it retries like the host does, keeps what was called in order, and knows which tools are keyed or read-only.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import orjson

from motet.calls import (
    Asked,
    Call,
    Done,
    Failed,
    Json,
    Method,
    Outcome,
    Progress,
    Reply,
    ResourceResult,
    Retry,
    Round,
    ToolResult,
)
from motet.engine.memory import run_workflow
from motet.engine.report import Report
from motet.errors import CallError, ToolError, UnknownAddress
from motet.workflow.loading import load_text
from motet.workflow.model import Workflow

START = 1_800_000_000.0
"""Wall-clock time at which every test begins."""


class _Jumping(selectors.SelectSelector):
    """A selector that does not wait: it moves the loop's clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            return super().select(1.0)  # only another thread can bring something now
        self.offset += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only when nothing else is to be done."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.offset


def now() -> float:
    """Wall-clock time of the virtual loop."""
    return START + asyncio.get_running_loop().time()


Tool = Callable[[dict[str, Any]], Any]


def flow(text: str, **files: str) -> Workflow:
    """A workflow out of YAML without its first lines; `files` are those it may run."""
    head = "" if text.lstrip().startswith("motet:") else "motet: 1\nname: test\n"
    bodies = {f"{name}.yaml": f"motet: 1\nname: {name}\n{body}" for name, body in files.items()}
    return load_text(head + text, path="test.yaml", read=lambda path: bodies[path.rsplit("/", 1)[-1]])


@dataclass
class Servers:
    """A `Dispatch` whose servers are functions: `servers.tools["jira.get"] = lambda arguments: {…}`."""

    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    resources: dict[str, Any] = field(default_factory=dict[str, Any])
    keyed: set[str] = field(default_factory=set[str])
    idempotent: set[str] = field(default_factory=set[str])
    read_only: set[str] = field(default_factory=set[str])
    calls: list[tuple[str, dict[str, Json]]] = field(default_factory=list[tuple[str, dict[str, Json]]])
    sent: list[Call] = field(default_factory=list[Call])
    in_flight: int = 0
    most_in_flight: int = 0

    def prepare(
        self,
        server: str,
        method: Method,
        name: str,
        arguments: Mapping[str, Json],
        *,
        key: str | None = None,
        deadline: float | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        waits: bool = True,
        on_progress: Callable[[Progress], None] | None = None,
        round: Round | None = None,  # noqa: A002 - the specification's word
    ) -> Call:
        address = f"{server}.{name}"
        if method == "tools/call" and address not in self.tools:
            raise UnknownAddress(f"no tool {name}", server=server)
        reads = method != "tools/call" or address in self.read_only
        has_key = address in self.keyed
        return Call(
            server=server,
            method=method,
            name=name,
            arguments=dict(arguments),
            repeatable=reads or has_key or address in self.idempotent,
            read_only=reads,
            deadline=deadline,
            timeout=timeout,
            retry=retry,
            waits=waits,
            key=key if has_key else None,
            round=round,
            on_progress=on_progress,
        )

    def route(self, uri: str, server: str | None = None) -> str:
        if server is None and ":" not in uri:
            raise UnknownAddress(f"nobody serves {uri}", server="")
        return server or uri.split(":")[0]

    async def attempt(self, call: Call) -> Outcome:
        self.sent.append(call)
        self.calls.append((f"{call.server}.{call.name}", call.arguments))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        call.written = True
        try:
            return await self._attempts(call)
        finally:
            self.in_flight -= 1

    async def _attempts(self, call: Call) -> Outcome:
        allowed = (call.retry or Retry(attempts=1)).attempts
        while True:
            call.attempts += 1
            outcome = await self._one(call)
            if not isinstance(outcome, Failed) or call.attempts >= allowed:
                return outcome
            error = outcome.error
            if not error.transient or (error.sent != "no" and not call.repeatable):
                return outcome

    async def _one(self, call: Call) -> Outcome:
        try:
            async with asyncio.timeout_at(call.deadline):
                answer = await self._answer(call)
        except TimeoutError:
            from motet.errors import DeadlineExceeded

            return Failed(DeadlineExceeded("no answer in time", server=call.server), attempts=call.attempts)
        except CallError as error:
            return Failed(error, attempts=call.attempts)
        return answer if isinstance(answer, Asked) else Done(answer, attempts=call.attempts)

    async def _answer(self, call: Call) -> Reply | Asked:
        if call.method == "resources/read":
            found = self.resources[call.name]
            value: Any = found() if callable(found) else found
            if isinstance(value, Awaitable):
                value = await cast("Awaitable[Any]", value)
            if isinstance(value, CallError):
                raise value
            listed = isinstance(value, list)
            parts: Any = cast("Any", value) if listed else [{"uri": call.name, "text": value}]
            return ResourceResult(orjson.dumps({"contents": parts}))
        given = dict(call.arguments)
        if call.round is not None:
            given["_round"] = call.round
        value: Any = self.tools[f"{call.server}.{call.name}"](given)
        if isinstance(value, Awaitable):
            value = await cast("Awaitable[Any]", value)
        if isinstance(value, CallError):
            raise value
        if isinstance(value, Asked | Reply):
            return value
        return ToolResult(
            orjson.dumps(
                {
                    "content": [
                        {"type": "text", "text": value if isinstance(value, str) else orjson.dumps(value).decode()}
                    ]
                }
            )
        )

    def count(self, address: str) -> int:
        """How often the tool was called."""
        return sum(1 for name, _ in self.calls if name == address)

    @property
    def names(self) -> list[str]:
        """What was called, in order."""
        return [name for name, _ in self.calls]


T = TypeVar("T")


def virtually(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns, on a loop whose time jumps."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


async def arun(servers: Servers, text: str | Workflow, inputs: Mapping[str, Json] | None = None, **more: Any) -> Report:
    """Run YAML to its end, inside a test's own coroutine."""
    workflow = flow(text) if isinstance(text, str) else text
    return await run_workflow(workflow, inputs, dispatch=servers, now=now, run="r1", **more)


def run(servers: Servers, text: str | Workflow, inputs: Mapping[str, Json] | None = None, **more: Any) -> Report:
    """Run YAML to its end, in virtual time."""
    return virtually(arun(servers, text, inputs, **more))


def statuses(report: Report) -> dict[str, str]:
    """Step -> its state word."""
    return {step.step: step.status for step in report.steps}


def broken(server: str, message: str = "it broke", tool: str = "x") -> ToolError:
    """A tool that reports failure: it acted, and says no."""
    return ToolError(message, server=server, tool=tool)
