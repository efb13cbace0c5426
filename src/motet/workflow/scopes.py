"""What expressions see of a run, and what an act is to do: evaluation against the frames, without moving anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

import msgspec

from motet.calls import Json, Retry
from motet.workflow.entries import ActKind, ErrorInfo, Result
from motet.workflow.model import (
    Absent,
    Approval,
    ExpressionError,
    PromptGet,
    Read,
    RunWorkflow,
    SetValues,
    ToolCall,
    Value,
    Wait,
)
from motet.workflow.standing import SETTLED, Frame, Node, Unit

_CANONICAL = msgspec.json.Encoder(order="sorted")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LAST_BOUND = 600.0
"""Seconds that one undo call, and everything under `finally`, may take (SEMANTICS §3, deadlines)."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing an engine may do now; `RunState.request` says what exactly."""

    key: str
    kind: ActKind
    unit: Unit
    phase: Literal["step", "finally", "undo"] = "step"


@dataclass(frozen=True, slots=True)
class Request:
    """An act with everything in it evaluated."""

    kind: ActKind
    server: str = ""
    method: Literal["tools/call", "resources/read", "prompts/get"] = "tools/call"
    name: str = ""
    """The tool or prompt."""
    arguments: Mapping[str, Json] | None = None
    targets: Mapping[str, tuple[str, str | None]] | None = None
    """`read`: key -> URI and, when the file says so, its server."""
    form: Literal["one", "list", "map"] = "one"
    message: str = ""
    """`approval`: what to ask."""
    shown: Json = None
    digest: str = ""
    until: float | None = None
    """`approval` and `wait`: wall-clock time at which it is over."""
    by: float | None = None
    """Wall-clock time by which it has ended, all attempts included."""
    retry: Retry | None = None
    key: str | None = None
    """The idempotency key."""
    flows: tuple[tuple[str, str, str], ...] = ()
    """Which answers feed it: (server, step, argument)."""
    round: tuple[Mapping[str, Json], str | None] | None = None
    parse_json: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """What a value reads of other steps."""

    data: frozenset[str]
    records: frozenset[str]
    every_record: bool = False


def names_of(values: Iterable[Value | None]) -> Names:
    """The steps these values read, by data and by record."""
    data: set[str] = set()
    records: set[str] = set()
    every = False
    for value in values:
        for path in () if value is None else value.reads:
            if path[0] != "steps":
                data.add(path[0])
            elif len(path) > 1:
                records.add(path[1])
            else:
                every = True
    return Names(frozenset(data - {"inputs", "run"}), frozenset(records), every)


class Scopes:
    """Scopes for one run; remembers what each value reads."""

    def __init__(self, run: str) -> None:
        self.run = run
        self._names: dict[int, tuple[Value, Names]] = {}

    def names(self, value: Value) -> Names:
        """What the value reads."""
        known = self._names.get(id(value))
        if known is None:
            known = self._names[id(value)] = (value, names_of((value,)))
        return known[1]

    def scope(self, frame: Frame, value: Value, *, own: Unit | None = None) -> dict[str, Json]:
        """What the value may see: settled steps it reads, inputs, the run; for undo and the like, its `own` data."""
        names = self.names(value)
        scope: dict[str, Json] = {"inputs": frame.inputs, "run": self._run(frame)}
        for name in names.data:
            node = node_of(frame, name)
            if node is not None and node.has_data:
                scope[name] = node.data
        wanted = (node.step.name for node in frame.all_nodes) if names.every_record else names.records
        records: dict[str, Json] = {}
        for name in wanted:
            node = node_of(frame, name)
            if node is not None and (node.status in SETTLED or (own is not None and node is own.node)):
                records[name] = node.record()
        scope["steps"] = records
        if own is not None:
            self._own(scope, own)
        return scope

    def items(self, frame: Frame, source: Value) -> list[Json]:
        """What a `foreach` goes over. Raises `ExpressionError` when that is no list."""
        items = source.evaluate(self.scope(frame, source))
        if not isinstance(items, list):
            raise ExpressionError("`foreach` needs a list", source.place)
        return cast("list[Json]", items)

    def _run(self, frame: Frame) -> dict[str, Json]:
        return {"id": self.run, "workflow": frame.workflow.name, "status": frame.status or "running"}

    def _own(self, scope: dict[str, Json], unit: Unit) -> None:
        step = unit.node.step
        if unit.index is not None and step.foreach is not None:
            scope[step.foreach.name] = unit.item
            scope["steps"][step.name] = unit.record()
        if unit.has_data:
            scope[step.name] = unit.data
        else:
            scope.pop(step.name, None)

    def for_unit(self, unit: Unit, value: Value) -> dict[str, Json]:
        """What the action's own value may see. Shared between the items of a foreach, but for the item."""
        node = unit.node
        base = node.scope
        if base is None:
            base = node.scope = self.scope(node.frame, value)
        if unit.index is None or node.foreach is None:
            return base
        return {**base, node.foreach.name: unit.item}

    def action_value(self, unit: Unit, value: Value | None) -> Json:
        """The value evaluated for this unit; None when there is none."""
        if value is None:
            return None
        return value.evaluate(self.for_unit(unit, value))


def node_of(frame: Frame, name: str) -> Node | None:
    """The step of that name, also under `finally`."""
    return frame.nodes.get(name) or frame.final.get(name)


def condition_holds(value: Value, scope: Mapping[str, Json]) -> bool:
    """What an `if` or `happened` says. Raises `ExpressionError` when it is neither true nor false."""
    answer = value.evaluate(scope)
    if not isinstance(answer, bool):
        raise ExpressionError(f"this is neither true nor false but {type(answer).__name__}", value.place)
    return answer


def seconds(value: Json, value_source: Value) -> float:
    """A number of seconds, or a text such as `90s` or `1h30m`. Raises `ExpressionError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    if isinstance(value, str):
        parts = _DURATION.findall(value)
        if parts and "".join(number + unit for number, unit in parts) == value.replace(" ", ""):
            return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    raise ExpressionError(f"not a duration: {value!r}", value_source.place)


def instant(value: Json, value_source: Value) -> float:
    """Seconds since 1970 of an ISO 8601 instant with its offset. Raises `ExpressionError`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ExpressionError(f"not an instant: {value!r}", value_source.place) from None
    if moment.tzinfo is None:
        raise ExpressionError(f"an instant needs its offset, such as {value}Z", value_source.place)
    return moment.timestamp()


def digest_of(value: Json) -> str:
    """SHA-256 over canonical JSON."""
    return hashlib.sha256(_CANONICAL.encode(value)).hexdigest()


def idempotency_key(run: str, key: str, generation: str) -> str:
    """Same run, step, item and generation: same key."""
    return "motet-" + digest_of([run, key, generation])[:40]


def expression_result(error: ExpressionError) -> Result:
    """What a step's failed evaluation means: absent data skips it, anything else fails it."""
    if isinstance(error, Absent):
        return Result(status="skipped", reason=f"missing: {error.name}")
    at = f"{error.place.line}:{error.place.column}: " if error.place is not None else ""
    return Result(
        status="failed", error=ErrorInfo(kind="expression", message=at + error.message), reason=at + error.message
    )


class Requests:
    """Makes requests out of acts."""

    def __init__(self, run: str, scopes: Scopes) -> None:
        self.run = run
        self.scopes = scopes

    def of(self, act: Act, now: float) -> Request | Result:
        """The act with everything evaluated, or what came of evaluating it."""
        try:
            match act.kind:
                case "call" | "prompt":
                    return self._call(act, now)
                case "read":
                    return self._read(act, now)
                case "approval":
                    return self._approval(act, now)
                case "wait":
                    return self._wait(act, now)
                case "reconcile" | "fallback" | "undo":
                    return self._beside(act, now)
        except ExpressionError as error:
            return expression_result(error)

    def _by(self, act: Act, now: float) -> float | None:
        unit, step = act.unit, act.unit.node.step
        by = None if step.timeout is None else (unit.began if unit.began is not None else now) + step.timeout
        if act.phase == "undo":
            return now + min(LAST_BOUND, LAST_BOUND if step.timeout is None else step.timeout)
        if unit.deferred is not None or unit.round is not None:
            by = None if step.timeout is None else now + step.timeout
        bounds = [] if by is None else [by]
        frame: Frame | None = unit.node.frame
        while frame is not None:
            bounds += [] if frame.deadline is None else [frame.deadline]
            frame = None if frame.parent is None else frame.parent.node.frame
        return min(bounds, default=None)

    def _call(self, act: Act, now: float) -> Request | Result:
        unit, step = act.unit, act.unit.node.step
        action = step.action
        assert isinstance(action, (ToolCall, PromptGet))
        arguments = self._arguments(self.scopes.action_value(unit, action.arguments), action.arguments)
        shown = unit.node.frame.shown.get(step.name)
        if shown is not None and unit.index is None and shown != arguments:
            message = "the arguments are not those that were approved"
            return Result(status="failed", error=ErrorInfo(kind="policy", message=message), reason=message)
        key = idempotency_key(self.run, act.key, unit.node.frame.generation)
        if step.idempotency_key is not None:
            own = step.idempotency_key
            key = str(own.evaluate({**self.scopes.scope(unit.node.frame, own), **self._item(unit)}))
        return Request(
            kind=act.kind,
            server=action.server,
            method="tools/call" if isinstance(action, ToolCall) else "prompts/get",
            name=action.tool if isinstance(action, ToolCall) else action.name,
            arguments=arguments,
            by=self._by(act, now),
            retry=step.retry,
            key=key if isinstance(action, ToolCall) else None,
            flows=self._flows(unit.node, action.arguments),
            round=unit.round,
            parse_json=step.parse_json,
        )

    def _item(self, unit: Unit) -> dict[str, Json]:
        loop = unit.node.foreach
        return {} if loop is None or unit.index is None else {loop.name: unit.item}

    def _arguments(self, evaluated: Json, source: Value | None) -> dict[str, Json]:
        if evaluated is None:
            return {}
        if not isinstance(evaluated, dict):
            raise ExpressionError("arguments must be a map", None if source is None else source.place)
        return cast("dict[str, Json]", evaluated)

    def _read(self, act: Act, now: float) -> Request:
        unit, step = act.unit, act.unit.node.step
        action = step.action
        assert isinstance(action, Read)
        targets: dict[str, tuple[str, str | None]] = {}
        flows: tuple[tuple[str, str, str], ...] = ()
        for key, target in action.uris.items():
            if unit.kept is not None and key not in unit.missing:
                continue
            scope = {**self.scopes.scope(unit.node.frame, target.uri), **self._item(unit)}
            targets[key] = (str(target.uri.evaluate(scope)), target.server)
            flows += self._flows(unit.node, target.uri, key or "uri")
        return Request(
            kind="read",
            method="resources/read",
            targets=targets,
            form=action.form,
            by=self._by(act, now),
            retry=step.retry,
            flows=flows,
        )

    def _wait(self, act: Act, now: float) -> Request:
        action = act.unit.node.step.action
        assert isinstance(action, Wait)
        if action.duration is not None:
            return Request(kind="wait", until=now + seconds(self._value(act, action.duration), action.duration))
        if action.until is not None:
            return Request(kind="wait", until=instant(self._value(act, action.until), action.until))
        return Request(kind="wait", until=now)

    def _value(self, act: Act, value: Value) -> Json:
        return value.evaluate({**self.scopes.scope(act.unit.node.frame, value), **self._item(act.unit)})

    def _approval(self, act: Act, now: float) -> Request:
        unit, node = act.unit, act.unit.node
        action = node.step.action
        assert isinstance(action, Approval)
        message = str(self._value(act, action.message))
        then: dict[str, Json] = {}
        for later in node.dependents:
            if node.step.name in later.step.needs and later.foreach is None:
                value = _arguments_of(later)
                if value is not None:
                    try:
                        then[later.step.name] = value.evaluate(self.scopes.scope(node.frame, value))
                    except ExpressionError:
                        continue  # not known yet, or wrong: the step will say so itself
        shown: dict[str, Json] = {"message": message, "then": then}
        return Request(
            kind="approval",
            message=message,
            shown=shown,
            digest=digest_of([unit.key, shown]),
            until=None if action.timeout is None else now + action.timeout,
        )

    def _beside(self, act: Act, now: float) -> Request:
        unit, step = act.unit, act.unit.node.step
        call = beside(act)
        value = call.arguments
        scope = {} if value is None else self.scopes.scope(unit.node.frame, value, own=unit)
        arguments = self._arguments(None if value is None else value.evaluate(scope), value)
        return Request(
            kind=act.kind,
            server=call.server,
            name=call.tool,
            arguments=arguments,
            by=self._by(act, now),
            retry=step.retry,
            key=idempotency_key(self.run, act.key, unit.node.frame.generation),
            flows=self._flows(unit.node, value),
        )

    def _flows(self, node: Node, value: Value | None, argument: str | None = None) -> tuple[tuple[str, str, str], ...]:
        if value is None or value.constant:
            return ()
        found: list[tuple[str, str, str]] = []
        for name, part in {argument or "": value}.items() if argument else parts(value).items():
            for read in sorted(self.scopes.names(part).data):
                source = node_of(node.frame, read)
                if source is not None and source.server:
                    found.append((source.server, source.key, name))
        return tuple(found)


def parts(value: Value) -> Mapping[str, Value]:
    """The entries of a map Value; one part named `*` when it cannot be taken apart."""
    entries: object = getattr(value, "entries", None)
    if isinstance(entries, Mapping):
        return cast("Mapping[str, Value]", entries)
    return {"*": value}


def beside(act: Act) -> ToolCall:
    """The call of a reconcile, fallback or undo act."""
    step = act.unit.node.step
    call: ToolCall | None = None
    if act.kind == "reconcile" and step.reconcile is not None:
        call = step.reconcile.call
    elif act.kind == "fallback":
        call = step.on_error.call
    elif act.kind == "undo" and step.undo is not None:
        call = step.undo.call
    assert call is not None, act.key
    return call


def _arguments_of(node: Node) -> Value | None:
    action = node.step.action
    match action:
        case ToolCall() | PromptGet() | RunWorkflow():
            return action.arguments
        case SetValues():
            return action.value
        case _:
            return None
