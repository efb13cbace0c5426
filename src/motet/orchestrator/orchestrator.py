"""The orchestrator: every configured server behind one object.

It builds policy, redactor and defaults from the configuration, hands them to the host, and gives back results: raising
(`call_tool`, `read_resource`), as values (`attempt`), together (`read_resources`), or as a whole workflow (`run`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, cast

from motet.calls import (
    Ask,
    Failed,
    Json,
    Method,
    OnProgress,
    Outcome,
    PromptResult,
    ResourceResult,
    Retry,
    ToolResult,
)
from motet.config.loading import load_config
from motet.config.model import Config
from motet.config.secrets import Redactor
from motet.errors import CallError, RunError, WorkflowError
from motet.events import Emit, State
from motet.host.host import Host
from motet.host.watching import Watch
from motet.orchestrator.reading import Reading
from motet.workflow.loading import load

if TYPE_CHECKING:
    from motet.catalog.catalog import Catalog, ServerCatalog
    from motet.engine.durable import Durable
    from motet.engine.functions import Function, FunctionRun
    from motet.engine.memory import Dry, Run
    from motet.engine.report import Report
    from motet.workflow.check import Checked
    from motet.workflow.model import Workflow


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the orchestrator: its live state, and calls that go to it alone."""

    name: str
    _motet: Orchestrator

    @property
    def state(self) -> State:
        """Live truth, never a fresh probe."""
        return self._motet.host.servers[self.name].state

    @property
    def reason(self) -> str:
        """Why it is in this state; empty when there is nothing to say."""
        return self._motet.host.servers[self.name].reason

    @property
    def catalog(self) -> ServerCatalog:
        """What it offers, with its boundary; stale with a reason while it is away."""
        return self._motet.catalog.servers[self.name]

    async def call_tool(
        self,
        tool: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        timeout: float | None = None,
        retry: Retry | None = None,
        key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ToolResult:
        """As `Orchestrator.call_tool`."""
        return await self._motet.call_tool(
            self.name, tool, arguments, timeout=timeout, retry=retry, key=key, on_progress=on_progress
        )

    async def attempt(
        self,
        tool: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        timeout: float | None = None,
        retry: Retry | None = None,
        key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """As `Orchestrator.attempt`."""
        return await self._motet.attempt(
            self.name, tool, arguments, timeout=timeout, retry=retry, key=key, on_progress=on_progress
        )


JOURNAL: Final = "runs.sqlite"
"""The journal's file in the state folder."""


class Servers(Mapping[str, Server]):
    """The configured servers by name."""

    def __init__(self, motet: Orchestrator) -> None:
        self._motet = motet

    def __getitem__(self, name: str) -> Server:
        if name not in self._motet.config.servers:
            raise KeyError(name)
        return Server(name, self._motet)

    def __iter__(self) -> Iterator[str]:
        return iter(self._motet.config.servers)

    def __len__(self) -> int:
        return len(self._motet.config.servers)


class Orchestrator:
    """Many MCP servers as one. Enter it to connect; leaving it closes every server within its bound."""

    def __init__(self, config: Config, *, emit: Emit | None = None, ask: Ask | None = None) -> None:
        self.config = config
        self.ask = ask
        self.redactor = Redactor(_secret_values(config))
        self.host = Host(config, emit=emit, ask=ask, redactor=self.redactor)
        self.servers = Servers(self)

    @classmethod
    def from_config(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any],
        *,
        emit: Emit | None = None,
        ask: Ask | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Orchestrator:
        """An orchestrator for a configuration file, or a mapping of the same content. Nothing is started yet.

        `emit` is told every event; `ask` answers questions of servers and of `tools.approve` in place; `env` is where
        variables are looked up (default: this process's environment). Raises ConfigError.
        """
        return cls(load_config(source, env=env), emit=emit, ask=ask)

    async def __aenter__(self) -> Orchestrator:
        await self.host.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.host.__aexit__(kind, error, trace)

    @property
    def catalog(self) -> Catalog:
        """What all servers offer now, as an immutable snapshot."""
        return self.host.catalog

    # -- one call -----------------------------------------------------------------------------------------------------

    def attempt(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        timeout: float | None = None,
        retry: Retry | None = None,
        key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Coroutine[Any, Any, Outcome]:
        """What came of one tool call, as a value; never raises CallError.

        `timeout` is seconds for one attempt, `retry` stands in for the server's setting, `key` is an idempotency key
        that goes into the argument the tool declares for it and makes the call repeatable. `on_progress` is told of
        every progress notification for this call, and must not block. Cancelling ends the call, here and at the server.
        """
        return self._attempt(
            server, "tools/call", tool, arguments, timeout=timeout, retry=retry, key=key, on_progress=on_progress
        )

    async def call_tool(
        self,
        server: str,
        tool: str,
        arguments: Mapping[str, Json] | None = None,
        *,
        timeout: float | None = None,
        retry: Retry | None = None,
        key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ToolResult:
        """The tool's answer; the arguments are those of `attempt`. Raises CallError; `isError` raises ToolError."""
        call = self.host.prepare(
            server, "tools/call", tool, arguments, key=key, timeout=timeout, retry=retry, on_progress=on_progress
        )
        return cast("ToolResult", (await self.host.attempt(call)).result())

    async def get_prompt(self, server: str, name: str, arguments: Mapping[str, str] | None = None) -> PromptResult:
        """A server's prompt, filled in. Raises CallError."""
        return cast("PromptResult", (await self._attempt(server, "prompts/get", name, arguments)).result())

    async def complete(
        self, server: str, about: str, argument: str, value: str, *, given: Mapping[str, str] | None = None
    ) -> list[str]:
        """What a server suggests for an argument that begins with `value` (MCP specification, Completion).

        `about` is the name of a prompt, or the URI template of a resource; `given` are the arguments that are settled
        already. At most 100 suggestions. Raises CallError.
        """
        kind = {"type": "ref/resource", "uri": about} if "://" in about else {"type": "ref/prompt", "name": about}
        wanted: dict[str, Json] = {"ref": kind, "argument": {"name": argument, "value": value}}
        if given:
            wanted["context"] = {"arguments": dict(given)}
        reply = (await self._attempt(server, "completion/complete", about, wanted)).result()
        return [str(one) for one in reply.body["completion"]["values"][:100]]

    async def read_resource(self, uri: str, *, server: str | None = None) -> ResourceResult:
        """One resource. Raises CallError; Ambiguous when several servers claim the URI and none is named."""
        (outcome,) = (await self.host.read([(server, uri)])).values()
        return cast("ResourceResult", outcome.result())

    async def read_resources(self, uris: Iterable[str | tuple[str, str]]) -> Reading:
        """Many resources at once, each from the server its URI belongs to. One server down costs its own entries.

        A URI may name its server: `("ghe", uri)` or `"ghe=github://…"`. Takes as long as the slowest one.
        """
        asked = [uri if isinstance(uri, tuple) else (None, uri) for uri in uris]
        outcomes = await self.host.read(asked)
        found: dict[str, ResourceResult] = {}
        missing: dict[str, CallError] = {}
        servers: dict[str, str] = {}
        for (server, uri), outcome in outcomes.items():
            try:
                found[uri] = cast("ResourceResult", outcome.result())
            except CallError as error:
                missing[uri] = error
            with suppress(CallError):
                servers[uri] = self.catalog.route(uri, server)
        return Reading(found, missing, servers)

    def watch(self, uris: Iterable[str | tuple[str, str]]) -> AbstractAsyncContextManager[Watch]:
        """Be told of changes of these resources, for as long as the context lasts.

            async with motet.watch(["files:///notes/today.md"]) as changes:
                async for uri in changes:
                    …

        What no server tells of is in `changes.missing`, with the reason. After a server was away, everything watched
        there counts as changed.
        """
        return self.host.watch([uri if isinstance(uri, tuple) else (None, uri) for uri in uris])

    def _attempt(
        self,
        server: str,
        method: Method,
        name: str,
        arguments: Mapping[str, Json] | None,
        *,
        timeout: float | None = None,
        retry: Retry | None = None,
        key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Coroutine[Any, Any, Outcome]:
        try:
            call = self.host.prepare(
                server, method, name, arguments, key=key, timeout=timeout, retry=retry, on_progress=on_progress
            )
        except CallError as error:
            return _settled(Failed(error))
        return self.host.attempt(call)

    # -- whole workflows ----------------------------------------------------------------------------------------------

    def load(self, source: str | os.PathLike[str]) -> Workflow:
        """The workflow in a file, with the files it runs. Raises WorkflowError with every problem of form."""
        return load(os.fspath(source))

    def check(self, workflow: str | os.PathLike[str] | Workflow) -> Checked:
        """Everything that can be known to be wrong before it runs, and the plan. Raises WorkflowError for no file."""
        from motet.orchestrator import checking

        if not isinstance(workflow, str | os.PathLike):
            return checking.checked(workflow, self.config, self.catalog)
        return checking.checked_file(os.fspath(workflow), self.config, self.catalog)

    async def run(
        self,
        workflow: str | os.PathLike[str] | Workflow | Function,
        inputs: Mapping[str, Json] | None = None,
        *,
        run: str | None = None,
        dry: Dry = "",
        ask: Ask | None = None,
        journal: str | os.PathLike[str] | bool = False,
        key: str | None = None,
    ) -> Report:
        """Run a workflow (a file, a loaded one, or a `@workflow` function) to its end, and report.

        `run` is the run's id (default: a fresh one), `dry` shows instead of doing (`plan`: nothing is sent, `reads`:
        only what changes nothing), `ask` answers its approvals. Cancelling this call abandons the run; use `begin` for
        a run that can be ended in good order.

        With `journal` (True: in the state folder; else a file or a `postgresql://` URL) the run survives this process:
        the same `run` or idempotency `key` again goes on with it, and the report may say `waiting`. A `@workflow`
        function has no journal.

        Raises WorkflowError, before anything ran, when the workflow does not load, does not check, or its inputs do not
        fit; RunError when the journal cannot be used.
        """
        if journal is False:
            if key is not None:
                raise RunError("an idempotency key belongs to a run with a journal", hint="journal=True")
            return await self.begin(workflow, inputs, run=run, dry=dry, ask=ask).drive()
        from motet.engine.functions import Function

        if dry or isinstance(workflow, Function):
            raise WorkflowError("a dry run, and a function, is kept in memory alone: leave `journal` out")
        loaded = self._runnable(workflow)
        async with self.journal(None if journal is True else journal) as runs:
            begun = await runs.start(loaded, inputs, run=run, key=key)
            return await runs.drive(begun, self.host, ask=ask or self.ask)

    @asynccontextmanager
    async def journal(self, place: str | os.PathLike[str] | None = None) -> AsyncGenerator[Durable]:
        """The runs kept in a journal: list, show, resume, approve, cancel, … them (`motet.engine.durable.Durable`).

        `place` is a file or a `postgresql://` URL; None: `runs.sqlite` in the state folder. Raises RunError when it
        cannot be used.
        """
        from motet.engine.carrier import durable_at

        async with durable_at(
            journal_of(self.config, place),
            emit=self.host.emit,
            secrets=self.config.secrets,
            redact=self.redactor.json,
            parallel=self.config.parallel,
            keep=self.config.keep_runs,
        ) as runs:
            yield runs

    def _runnable(self, workflow: str | os.PathLike[str] | Workflow) -> Workflow:
        from motet.orchestrator import checking

        name = os.fspath(workflow) if isinstance(workflow, str | os.PathLike) else workflow.path
        return checking.runnable(self.check(workflow), name)

    def begin(
        self,
        workflow: str | os.PathLike[str] | Workflow | Function,
        inputs: Mapping[str, Json] | None = None,
        *,
        run: str | None = None,
        dry: Dry = "",
        ask: Ask | None = None,
    ) -> Run | FunctionRun:
        """The run that `run` would drive, checked and not begun: `drive()` it; `cancel()` ends it in good order."""
        from motet.engine.functions import Function, FunctionRun
        from motet.engine.memory import Run

        if isinstance(workflow, Function):
            if dry:
                raise WorkflowError(f"{workflow.name}: a function's steps are known only by running it: no dry run")
            return FunctionRun(
                workflow,
                inputs,
                dispatch=self.host,
                run=run,
                emit=self.host.emit,
                ask=ask or self.ask,
                redact=self.redactor.json,
                parallel=self.config.parallel,
            )
        return Run(
            self._runnable(workflow),
            inputs,
            dispatch=self.host,
            run=run,
            emit=self.host.emit,
            ask=ask or self.ask,
            secrets=self.config.secrets,
            redact=self.redactor.json,
            parallel=self.config.parallel,
            dry=dry,
        )


def journal_of(config: Config, place: str | os.PathLike[str] | None) -> str:
    """Where runs are kept: as given, or in the state folder. Raises RunError when there is none."""
    if place:
        return os.fspath(place)
    if config.state is None:
        raise RunError("there is no place for a journal: this configuration has no state folder", hint="set `state`")
    return str(Path(config.state) / JOURNAL)


async def _settled(outcome: Outcome) -> Outcome:
    """An outcome that is known already."""
    return outcome


def _secret_values(config: Config) -> Iterator[str]:
    for server in config.servers.values():
        yield from server.secrets
    yield from config.secrets.values()
