"""Workflows written as plain async functions.

    @workflow
    async def deploy_and_tell(hub, repo: str, ticket: str):
        release = await hub.github.get_latest_release(repo=repo)
        await hub.deploy.deploy(version=release["tag_name"], env="staging").undo(
            hub.deploy.rollback, lambda done: {"env": "staging", "to": done["previous"]})
        moved = await hub.jira.transition_issue(key=ticket, status="deployed").optional()

Each awaited call is a step: the same attempts, limits, undo and report as in a file. The order is Python's. A failure
is the call's own `CallError`: when it leaves the function the run fails and undoes what it did, newest first; when the
function catches it, or the step is `.optional()`, the run goes on and is partial.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, TypeAlias, cast, overload

from motet.calls import Ask, Json, Retry
from motet.engine.driving import Drive
from motet.engine.memory import PARALLEL, new_run_id
from motet.engine.ports import Dispatch, MemoryJournal, Now, Redact, as_it_is, wall_clock
from motet.engine.report import Report
from motet.engine.reporting import report_of
from motet.engine.secrets import Secrets
from motet.errors import CallError, MotetError, WorkflowError
from motet.events import Emit, nobody
from motet.workflow.entries import Began, Cancelled, ErrorInfo, clipped, error_info
from motet.workflow.model import (
    Action,
    Approval,
    OnError,
    Place,
    Read,
    ReadTarget,
    Reconcile,
    Scope,
    Step,
    ToolCall,
    Undo,
    Value,
    Wait,
    Workflow,
)
from motet.workflow.runstate import RunState
from motet.workflow.standing import SETTLED, Node

_NOWHERE = Place(1, 1)
Arguments: TypeAlias = "Mapping[str, Json] | Callable[[Json], Mapping[str, Json]] | None"
"""What a later call is given: a map, or a function of the data it is about."""
Body: TypeAlias = Callable[..., Awaitable[Json]]
"""An async function whose first parameter is the `Hub`, and the others the inputs."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A value that a function made, or makes out of one name in scope."""

    value: Json = None
    make: Callable[[Json], Json] | None = None
    of: str = ""

    @property
    def reads(self) -> frozenset[tuple[str, ...]]:
        return frozenset()

    @property
    def place(self) -> Place:
        return _NOWHERE

    @property
    def constant(self) -> bool:
        return self.make is None

    def evaluate(self, scope: Scope) -> Json:
        return self.value if self.make is None else self.make(scope.get(self.of))


class Function:
    """An async function as a workflow. Its parameters after the first are the inputs."""

    def __init__(self, body: Body, *, name: str = "", timeout: float | None = None) -> None:
        self.body = body
        self.name = name or getattr(body, "__name__", "workflow").replace("_", "-")
        self.description = inspect.getdoc(body) or ""
        self.timeout = timeout
        self.parameters = list(inspect.signature(body).parameters.values())[1:]

    async def __call__(self, hub: Hub, /, *args: Json, **inputs: Json) -> Json:
        """Call it from another workflow: its steps become that run's steps."""
        return await self.body(hub, *args, **inputs)

    def bound(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """The inputs, checked against the parameters. Raises `WorkflowError`."""
        names = {parameter.name for parameter in self.parameters}
        problems = [f"input `{name}` is unknown" for name in given if name not in names]
        missing = (one for one in self.parameters if one.default is one.empty and one.name not in given)
        problems += [f"input `{one.name}` is missing" for one in missing]
        if problems:
            raise WorkflowError(f"{self.name}: {'; '.join(problems)}", problems=tuple(problems))
        return dict(given)


@overload
def workflow(body: Body, /) -> Function: ...
@overload
def workflow(
    *, name: str = "", timeout: float | None = None
) -> Callable[[Callable[..., Awaitable[Json]]], Function]: ...
def workflow(
    body: Body | None = None, /, *, name: str = "", timeout: float | None = None
) -> Function | Callable[[Body], Function]:
    """Make an async function a workflow. `timeout` is seconds of wall time over everything."""
    if body is not None:
        return Function(body)
    return partial(Function, name=name, timeout=timeout)


class Tool:
    """One tool of one server. Calling it makes a step, which happens when it is awaited."""

    def __init__(self, hub: Hub, server: str, tool: str) -> None:
        self._hub = hub
        self.server = server
        self.tool = tool

    def __call__(self, arguments: Mapping[str, Json] | None = None, /, **more: Json) -> Pending:
        """A step that calls the tool."""
        given = _Given({**(arguments or {}), **more})
        action = ToolCall(self.server, self.tool, given, _NOWHERE)
        return Pending(self._hub, Step(_identifier(self.tool), action, _NOWHERE, on_error=OnError("continue")))

    def later(self, arguments: Arguments, more: Mapping[str, Json], of: str) -> ToolCall:
        """A call that is made when it is needed."""
        if not callable(arguments):
            return ToolCall(self.server, self.tool, _Given({**(arguments or {}), **more}), _NOWHERE)
        make = arguments

        def made(data: Json) -> Json:
            return {**make(data), **more}

        return ToolCall(self.server, self.tool, _Given(make=made, of=of), _NOWHERE)


class ServerOf:
    """The tools of one server, as attributes; `server["tool-name"]` for names that are no identifiers."""

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub = hub
        self._name = name

    def __getattr__(self, tool: str) -> Tool:
        if tool.startswith("__"):
            raise AttributeError(tool)
        return Tool(self._hub, self._name, tool)

    def __getitem__(self, tool: str) -> Tool:
        return Tool(self._hub, self._name, tool)


class Pending:
    """A step to be: say more about it, then await it, or hand it to a `gather`."""

    def __init__(self, hub: Hub, step: Step, *, soft: bool = False, default: Json = None) -> None:
        self._hub = hub
        self._step = step
        self._soft = soft
        self._default = default

    def _with(self, **changes: Any) -> Pending:
        return Pending(self._hub, replace(self._step, **changes), soft=self._soft, default=self._default)

    def named(self, name: str) -> Pending:
        """Call the step so in the report. Default: the tool's name, numbered when it comes again."""
        return self._with(name=name)

    def optional(self, default: Json = None) -> Pending:
        """Go on without it when it fails: awaiting gives `default`, and the run is partial."""
        return Pending(self._hub, self._step, soft=True, default=default)

    def otherwise(self, value: Json) -> Pending:
        """When it fails, its data is this value; the run stays complete and lists the step as degraded."""
        return self._with(on_error=OnError("value", value=_Given(value)))

    def undo(
        self,
        tool: Tool,
        arguments: Arguments = None,
        /,
        *,
        when: Literal["done", "maybe"] = "done",
        **more: Json,
    ) -> Pending:
        """How to take it back. `arguments` may be a function of the step's data; `maybe`: also when nobody knows."""
        return self._with(undo=Undo(tool.later(arguments, more, _OWN), when))

    def reconcile(
        self,
        tool: Tool,
        arguments: Mapping[str, Json] | None = None,
        /,
        *,
        happened: Callable[[Json], bool],
        data: Callable[[Json], Json] | None = None,
    ) -> Pending:
        """How to find out what became of it when nobody knows: `tool` looks, `happened` decides over its answer."""
        looks = tool.later(arguments, {}, "")
        found = None if data is None else _Given(make=data, of="result")
        return self._with(reconcile=Reconcile(looks, _Given(make=happened, of="result"), found))

    def keyed(self, key: str) -> Pending:
        """Use this idempotency key in place of the one made from run and step."""
        return self._with(idempotency_key=_Given(key))

    def within(self, seconds: float) -> Pending:
        """All its attempts together take at most so long."""
        return self._with(timeout=seconds)

    def retry(self, retry: Retry) -> Pending:
        """In place of the server's own setting."""
        return self._with(retry=retry)

    def start(self) -> asyncio.Future[Json]:
        """Begin it now; the future gives its data or raises its error."""
        return self._hub.begin(self._step, soft=self._soft, default=self._default)

    def __await__(self) -> Generator[Any, None, Json]:
        return self.start().__await__()


_OWN = "\0own"
"""Stands for the step's own name until it has one."""


class Gather:
    """Steps that happen together: `add` begins one, leaving the block waits for all.

    The first failure leaves the block at once, and what is still in flight ends as in any failed run.
    """

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[Json]] = []

    def add(self, pending: Pending) -> asyncio.Future[Json]:
        """Begin the step. After the block, `.result()` is its data."""
        future = pending.start()
        self._futures.append(future)
        return future

    async def __aenter__(self) -> Gather:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._futures:
            done, _ = await asyncio.wait(self._futures, return_when=asyncio.FIRST_EXCEPTION)
            for future in self._futures:
                if future in done:
                    future.result()


class Hub:
    """What a workflow function holds: every server by name, reads, approvals, waits."""

    def __init__(self, run: FunctionRun) -> None:
        self._run = run

    def __getattr__(self, server: str) -> ServerOf:
        if server.startswith("__"):
            raise AttributeError(server)
        return ServerOf(self, server)

    def __getitem__(self, server: str) -> ServerOf:
        return ServerOf(self, server)

    def read(self, uris: str | Mapping[str, str] | list[str], /, *, server: str | None = None) -> Pending:
        """A step that reads one address, or a list or map of them at once. Several with gaps give what was got."""
        form: Literal["one", "list", "map"] = "one"
        if isinstance(uris, str):
            targets = {"": uris}
        elif isinstance(uris, list):
            form, targets = "list", {str(at): uri for at, uri in enumerate(uris)}
        else:
            form, targets = "map", dict(uris)
        action = Read({key: ReadTarget(_Given(uri), server) for key, uri in targets.items()}, form, _NOWHERE)
        step = Step("read", action, _NOWHERE, on_error=OnError("continue"))
        return Pending(self, step, soft=form != "one")

    def approve(self, message: str, *, timeout: float | None = None) -> Pending:
        """A step in which a person says yes. A no, or none in time, raises."""
        return self._pending("approval", Approval(_Given(message), timeout, _NOWHERE))

    def wait(self, seconds: float) -> Pending:
        """A step that lets so many seconds pass."""
        return self._pending("wait", Wait(_Given(seconds), None, _NOWHERE))

    def _pending(self, name: str, action: Action) -> Pending:
        return Pending(self, Step(name, action, _NOWHERE, on_error=OnError("continue")))

    def gather(self) -> Gather:
        """A block whose steps happen together."""
        return Gather()

    def begin(self, step: Step, *, soft: bool, default: Json) -> asyncio.Future[Json]:
        """Begin a step (what awaiting a `Pending` does)."""
        return self._run.begin(step, soft=soft, default=default)


class StepFailed(MotetError):
    """A step failed, and not by a call: nobody approved, or a value could not be made."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"{step}: {message}")
        self.step = step


@dataclass(slots=True)
class _Awaited:
    future: asyncio.Future[Json]
    soft: bool
    default: Json


@dataclass(slots=True)
class _Leaves:
    """Texts of one answer, for telling which answers fed a later call."""

    server: str
    step: str
    texts: list[str] = field(default_factory=list[str])


class FunctionRun:
    """One run of a workflow function, in memory."""

    def __init__(
        self,
        function: Function,
        inputs: Mapping[str, Json] | None = None,
        *,
        dispatch: Dispatch,
        run: str | None = None,
        now: Now = wall_clock,
        emit: Emit = nobody,
        ask: Ask | None = None,
        redact: Redact = as_it_is,
        parallel: int = PARALLEL,
    ) -> None:
        """Raises `WorkflowError` when the inputs do not fit."""
        self.function = function
        self.inputs = function.bound(inputs or {})
        self.id = run or new_run_id()
        self._now = now
        self._redact = redact
        shell = Workflow(function.name, {}, description=function.description, timeout=function.timeout)
        began = Began(at=now(), run=self.id, workflow=function.name, inputs={})
        self.state = RunState(shell, began, held=True)
        self._drive = Drive(
            self.state,
            MemoryJournal(),
            dispatch,
            now=now,
            emit=emit,
            ask=ask,
            secrets=Secrets(),
            parallel=parallel,
        )
        self._drive.watch = self._settled
        self._drive.stopped = self._stop
        self._awaited: dict[str, _Awaited] = {}
        self._leaves: list[_Leaves] = []
        self._body: asyncio.Task[None] | None = None
        self._raised: tuple[BaseException, str] | None = None

    async def drive(self) -> Report:
        """The report, once the run has ended. Errors of the function's own code are raised here, after undo."""
        unexpected: Exception | None = None

        async def body() -> None:
            nonlocal unexpected
            unexpected = await self._live()

        async with asyncio.TaskGroup() as group:
            self._body = group.create_task(body())
            await self._drive.go()
            self._body.cancel()
        if unexpected is not None:
            raise unexpected
        return self.report()

    async def _live(self) -> Exception | None:
        try:
            output = await self.function.body(Hub(self), **self.inputs)
        except asyncio.CancelledError:
            if self.state.root.stage == "forward":
                raise
            self.state.close(self._now())
        except (CallError, StepFailed) as error:
            self._close_failed(error)
        except Exception as error:  # noqa: BLE001 - a person's own code: undo first, then the error is theirs
            self._close_failed(error)
            return error
        else:
            self.state.close(self._now(), output=output)
        finally:
            self._drive.pump()
        return None

    def _close_failed(self, error: Exception) -> None:
        step = self._raised[1] if self._raised is not None and self._raised[0] is error else self.function.name
        if isinstance(error, CallError):
            info = error_info(error)
        else:
            info = ErrorInfo(kind=type(error).__name__, message=clipped(str(error)))
        self.state.close(self._now(), failure=(step, info))

    def cancel(self, who: str = "") -> None:
        """End it in good order: the function is cancelled where it waits, what was done is undone."""
        if not self.state.ended:
            self._drive.note(Cancelled(at=max(self._now(), self.state.at), who=who))
            self._drive.pump()

    def _stop(self) -> None:
        """The run ends before its function does: the function is cancelled where it waits."""
        if self._body is not None and self.state.held:
            self._body.cancel()

    def report(self) -> Report:
        """Where it stands now."""
        return report_of(self.state, redact=self._redact)

    def begin(self, step: Step, *, soft: bool, default: Json) -> asyncio.Future[Json]:
        """Begin a step; the future gives its data or raises its error."""
        step = self._placed(step)
        future: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._awaited[step.name] = _Awaited(future, soft, default)
        self._drive.flows[step.name] = self._fed_by(step)
        node = self.state.grow(step)
        if node.status in SETTLED:
            self._settled(node)
        self._drive.pump()
        return future

    def _placed(self, step: Step) -> Step:
        name, number = step.name, 1
        while name in self.state.root.nodes:
            number += 1
            name = f"{step.name}_{number}"
        undo = step.undo
        if undo is not None and isinstance(undo.call.arguments, _Given) and undo.call.arguments.of == _OWN:
            call = replace(undo.call, arguments=replace(undo.call.arguments, of=name))
            undo = replace(undo, call=call)
        return replace(step, name=name, undo=undo)

    def _settled(self, node: Node) -> None:
        awaited = self._awaited.pop(node.step.name, None)
        if awaited is None or awaited.future.done():
            return
        if node.has_data:
            self._remember(node)
            awaited.future.set_result(node.data)
        elif awaited.soft and node.status in ("failed", "unknown"):
            awaited.future.set_result(awaited.default)
        elif node.status == "skipped" and node.reason == "stopped":
            awaited.future.cancel()
        else:
            error = self._drive.errors.get(node.key) or StepFailed(node.key, node.reason or node.status)
            self._raised = (error, node.key)
            awaited.future.set_exception(error)

    def _remember(self, node: Node) -> None:
        if node.server:
            self._leaves.append(_Leaves(node.server, node.key, _texts(node.data)))

    def _fed_by(self, step: Step) -> tuple[tuple[str, str, str], ...]:
        """Which answers fed its arguments, told by their texts: Python hides the way they took."""
        action = step.action
        given: Value | None = action.arguments if isinstance(action, ToolCall) else None
        if not isinstance(given, _Given):
            return ()
        found: list[tuple[str, str, str]] = []
        for name, value in cast("dict[str, Json]", given.value or {}).items():
            words = _texts(value)
            found += [
                (leaves.server, leaves.step, name)
                for leaves in self._leaves
                if any(text in word for text in leaves.texts for word in words)
            ]
        return tuple(found)


_LEAST, _MOST = 3, 400
"""Characters a text needs to be told from others, and how many texts of an answer are kept."""


def _texts(value: Json) -> list[str]:
    found: list[str] = []
    waiting: list[Json] = [value]
    while waiting and len(found) < _MOST:
        one = waiting.pop()
        if isinstance(one, str) and len(one) >= _LEAST:
            found.append(one)
        elif isinstance(one, (int, float)) and not isinstance(one, bool) and len(str(one)) >= _LEAST:
            found.append(str(one))
        elif isinstance(one, dict):
            waiting += list(cast("dict[str, Json]", one).values())
        elif isinstance(one, list):
            waiting += cast("list[Json]", one)
    return found


async def run_function(
    function: Function,
    inputs: Mapping[str, Json] | None = None,
    *,
    dispatch: Dispatch,
    run: str | None = None,
    now: Now = wall_clock,
    emit: Emit = nobody,
    ask: Ask | None = None,
    redact: Redact = as_it_is,
    parallel: int = PARALLEL,
) -> Report:
    """As `run_workflow`, for a workflow function. An error of the function's own code is raised, after undo."""
    return await FunctionRun(
        function,
        inputs,
        dispatch=dispatch,
        run=run,
        now=now,
        emit=emit,
        ask=ask,
        redact=redact,
        parallel=parallel,
    ).drive()


def _identifier(name: str) -> str:
    text = "".join(char if char.isascii() and (char.isalnum() or char == "_") else "_" for char in name)
    return text or "call"
