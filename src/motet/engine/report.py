"""What became of a run, for people and for programs (SEMANTICS §5).

One dataclass for every kind of workflow, written in YAML or in Python. `to_json` is stable and described by
`REPORT_SCHEMA`; `to_text` is what a person reads.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast

import msgspec

from motet.calls import Json
from motet.engine.ports import Redact, as_it_is
from motet.workflow.entries import Waiting
from motet.workflow.runstate import RunState, RunStatus
from motet.workflow.scopes import parts
from motet.workflow.standing import CHOSEN, Frame, Node, Unit

_ENCODER = msgspec.json.Encoder()
VERSION = 1
"""Of the JSON form: new keys may come, none changes its meaning within a version."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step."""

    step: str
    """Its path: `deploy`, `outer/deploy`, `finally:tell`."""
    kind: str
    """call, read, prompt, approval, wait, run or set."""
    status: str
    ok: bool = False
    server: str | None = None
    name: str | None = None
    """The tool, prompt, or address."""
    reason: str | None = None
    error: Mapping[str, Json] | None = None
    attempts: int = 0
    via: str | None = None
    missing: tuple[str, ...] = ()
    undo: str = "none"
    began: float | None = None
    """Seconds since 1970, as `settled`."""
    settled: float | None = None
    inputs: Json = None
    """The arguments, redacted."""
    output: Json = None
    """Its data, redacted; None when it has none, or `keep: false`."""
    items: tuple[Mapping[str, Json], ...] = ()
    """One record per item or address, in input order."""
    final: bool = False

    @property
    def took(self) -> float | None:
        """Seconds from its begin to its end, waits included."""
        return None if self.began is None or self.settled is None else max(0.0, self.settled - self.began)

    def to_json(self) -> dict[str, Json]:
        """The step as JSON."""
        return {
            "step": self.step,
            "kind": self.kind,
            "status": self.status,
            "ok": self.ok,
            "server": self.server,
            "name": self.name,
            "reason": self.reason,
            "error": None if self.error is None else dict(self.error),
            "attempts": self.attempts,
            "via": self.via,
            "missing": list(self.missing),
            "undo": self.undo,
            "began": self.began,
            "settled": self.settled,
            "took": self.took,
            "inputs": self.inputs,
            "output": self.output,
            "items": [dict(item) for item in self.items],
            "finally": self.final,
        }


@dataclass(frozen=True, slots=True)
class Left:
    """Something that is left to do, or that a person has to look at."""

    step: str
    what: str
    """`failed`, `partial`, `skipped`, `waiting(…)`, `unknown`, or `undo pending | failed | unknown`."""
    reason: str = ""
    server: str | None = None
    command: str = ""
    """What finishes it."""

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "step": self.step,
            "what": self.what,
            "reason": self.reason,
            "server": self.server,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What became of a run. `status` is the run's; `attention` is orthogonal to it and read first."""

    run: str
    workflow: str
    status: RunStatus
    output: Json = None
    steps: tuple[StepReport, ...] = ()
    missing: tuple[str, ...] = ()
    """Data that is not there: steps, `STEP[KEY]` of a read, `output.KEY`."""
    degraded: tuple[str, ...] = ()
    """Steps whose data came from a fallback or a value."""
    undone: tuple[str, ...] = ()
    """Steps that were taken back."""
    pending: tuple[Left, ...] = ()
    attention: tuple[Left, ...] = ()
    failure: Mapping[str, Json] | None = None
    """What ended a failed run: `step` and the fields of an error."""
    began: float = 0.0
    ended: float | None = None
    durable: bool = False
    dry: bool = False
    flows: tuple[tuple[str, str], ...] = field(default=())
    """From which server to which data went."""

    def __repr__(self) -> str:
        return f"<Report {self.headline()}>"

    @property
    def took(self) -> float | None:
        """Seconds from begin to end."""
        return None if self.ended is None else max(0.0, self.ended - self.began)

    def step(self, name: str) -> StepReport:
        """The step of that path. Raises KeyError."""
        for step in self.steps:
            if step.step == name:
                return step
        raise KeyError(name)

    def to_json(self) -> dict[str, Json]:
        """The report as JSON, described by `REPORT_SCHEMA`."""
        return {
            "report": VERSION,
            "run": self.run,
            "workflow": self.workflow,
            "status": self.status,
            "attention": [left.to_json() for left in self.attention],
            "pending": [left.to_json() for left in self.pending],
            "output": self.output,
            "missing": list(self.missing),
            "degraded": list(self.degraded),
            "undone": list(self.undone),
            "failure": None if self.failure is None else dict(self.failure),
            "steps": [step.to_json() for step in self.steps],
            "flows": [{"from": source, "to": target} for source, target in self.flows],
            "began": self.began,
            "ended": self.ended,
            "took": self.took,
            "durable": self.durable,
            "dry": self.dry,
        }

    def to_text(self) -> str:
        """The report as a person reads it: what it came to, what needs a person, what is left, then the steps."""
        lines = [self.headline()]
        for left in self.attention:
            lines += _left_lines("attention", left)
        commands = dict.fromkeys(left.command for left in self.pending)
        for left in self.pending:
            lines += _left_lines("pending", left if len(commands) > 1 else _without_command(left))
        if len(commands) == 1 and (command := next(iter(commands))):
            lines.append(f"  finish with: {command}")
        if self.undone:
            lines.append(f"undone: {', '.join(self.undone)}")
        if self.degraded:
            lines.append(f"degraded: {', '.join(self.degraded)}")
        width = max((len(step.step) for step in self.steps), default=0)
        lines += [_step_line(step, width) for step in self.steps]
        if self.output is not None:
            lines.append(f"output: {_short(self.output, 2000)}")
        return "\n".join(lines)

    def headline(self) -> str:
        """One line: the status, what was done, and what is missing or went wrong."""
        parts = [f"{self.status}: {self.workflow}" + (" (dry run, nothing was sent)" if self.dry else "")]
        if self.failure is not None:
            parts.append(f"{self.failure.get('step')} failed ({_whose(self.failure)})")
        if self.undone:
            parts.append(f"{', '.join(self.undone)} undone")
        first = self.pending[:3]
        parts += [f"{left.step} {_pending_word(left)}" + (f" ({left.reason})" if left.reason else "") for left in first]
        if len(self.pending) > len(first):
            parts.append(f"and {len(self.pending) - len(first)} more pending")
        return "; ".join(parts)


def _pending_word(left: Left) -> str:
    return left.what if left.what.startswith(("waiting", "undo")) else "pending"


def _without_command(left: Left) -> Left:
    return Left(left.step, left.what, left.reason, left.server)


def _left_lines(title: str, left: Left) -> list[str]:
    reason = f": {left.reason}" if left.reason else ""
    lines = [f"{title}: {left.step} {left.what}{reason}"]
    return [*lines, f"  {left.command}"] if left.command else lines


_MARKS = {"done": "✓", "partial": "~", "failed": "✗", "unknown": "?", "skipped": "-", "cancelled": "-", "waiting": "…"}


def _step_line(step: StepReport, width: int) -> str:
    where = ".".join(part for part in (step.server, step.name) if part)
    took = "" if step.took is None or step.status == "skipped" else f"{step.took:.2f} s"
    parts = [f"  {_MARKS.get(step.status, ' ')} {step.step.ljust(width)}  {where or step.kind}", took]
    if step.attempts > 1:
        parts.append(f"{step.attempts} attempts")
    if step.via not in (None, "call"):
        parts.append(f"via {step.via}")
    if step.status != "done":
        parts.append(step.status + (f": {step.reason}" if step.reason else ""))
    if step.undo != "none":
        parts.append(f"undo {step.undo}")
    if step.status == "skipped" and step.inputs is not None:
        parts.append(_short(step.inputs, 200))
    return "  ".join(part for part in parts if part)


def _short(value: Json, most: int) -> str:
    text = _ENCODER.encode(value).decode()
    return text if len(text) <= most else text[:most] + "…"


def _whose(error: Mapping[str, Json]) -> str:
    server = error.get("server")
    return f"{server}: {error.get('message')}" if server else str(error.get("message"))


# -- from a run state -------------------------------------------------------------------------------------------------


def report_of(state: RunState, *, redact: Redact = as_it_is, again: str = "", dry: bool = False) -> Report:
    """The report of a run as it stands now. `again` is the command that runs a memory run once more."""
    maker = _Maker(state, redact, again)
    frames = sorted(state.frames(), key=lambda frame: frame.prefix)
    steps: list[StepReport] = []
    for frame in frames:
        steps += [maker.step(node) for node in frame.all_nodes]
    root = state.root
    failure = None
    if root.failure is not None and state.status == "failed":
        failure = {"step": root.failure[0], **root.failure[1].record()}
    return Report(
        run=state.run,
        workflow=root.workflow.name,
        status=state.status,
        output=redact(root.output),
        steps=tuple(steps),
        missing=maker.missing(frames),
        degraded=tuple(u.key for u in maker.units(frames) if u.via in ("fallback", "value") and u.status == "done"),
        undone=tuple(u.key for u in maker.units(frames) if u.undo == "done"),
        pending=maker.pending(frames),
        attention=maker.attention(frames),
        failure=None if failure is None else redact(failure),
        began=root.began,
        ended=root.ended,
        durable=state.durable,
        dry=dry,
        flows=maker.flows(frames),
    )


_ACTIONS = {
    "ToolCall": "call",
    "Read": "read",
    "PromptGet": "prompt",
    "Approval": "approval",
    "Wait": "wait",
    "RunWorkflow": "run",
    "SetValues": "set",
}


class _Maker:
    def __init__(self, state: RunState, redact: Redact, again: str) -> None:
        self.state = state
        self.redact = redact
        self.resume = f"motet resume {state.run}" if state.durable else again or f"motet run {_file(state.root)}"

    def units(self, frames: list[Frame]) -> list[Unit]:
        return [unit for frame in frames for node in frame.all_nodes for unit in node.units]

    def step(self, node: Node) -> StepReport:
        units = node.units
        started = next((unit.started for unit in units if unit.started is not None), None)
        record = node.record()
        began = min((unit.began for unit in units if unit.began is not None), default=None)
        status = node.status
        waiting = next((unit.waiting for unit in units if unit.waiting is not None), None)
        if status == "pending" and units:
            status = "waiting" if waiting is not None else units[0].status
        if status == "running" and self.state.status == "waiting":
            status = "waiting"  # a nested run that waits
        loops = node.foreach is not None
        items = record["items"] if not loops else [self._item(unit) for unit in units]
        return StepReport(
            step=node.key,
            kind=_ACTIONS[type(node.step.action).__name__],
            status=status,
            ok=node.status == "done",
            server=node.server or getattr(node.step.action, "server", None),
            name=None if started is None else started.name,
            reason=_wait_reason(waiting) if status == "waiting" else node.reason,
            error=self.redact(record["error"]),
            attempts=record["attempts"],
            via=record["via"],
            missing=tuple(record["missing"]),
            undo=record["undo"],
            began=began,
            settled=node.settled,
            inputs=None if started is None or loops else self.redact(started.arguments),
            output=self.redact(node.data) if node.step.keep and node.has_data else None,
            items=tuple(self.redact(items)),
            final=node.phase == "finally",
        )

    def _item(self, unit: Unit) -> dict[str, Json]:
        began = unit.began
        return {
            **unit.record(),
            "item": unit.item,
            "began": began,
            "settled": unit.settled,
            "inputs": None if unit.started is None else unit.started.arguments,
        }

    def missing(self, frames: list[Frame]) -> tuple[str, ...]:
        found: list[str] = []
        for frame in frames:
            for node in frame.all_nodes:
                if node.status == "partial":
                    found += [f"{node.key}[{key}]" for key in node.record()["missing"]]
                elif _lacks(node):
                    found.append(node.key)
            found += [frame.prefix + name for name in frame.missing]
        return tuple(found)

    def pending(self, frames: list[Frame]) -> tuple[Left, ...]:
        left: list[Left] = []
        for frame in frames:
            left += [self._waits(unit) for unit in frame.waits.values()]
            if frame.status == "partial" or (frame.stage != "ended" and not frame.failure and not frame.cancelled):
                left += [self._gap(node) for node in frame.all_nodes if _is_open_gap(node)]
        left += [
            Left(unit.key, "undo pending", _why_undo(unit), unit.node.server or None, self.resume)
            for unit in self.units(frames)
            if unit.undo == "pending" and self.state.ended
        ]
        return tuple(left)

    def _gap(self, node: Node) -> Left:
        reason = "" if node.reason is None else node.reason
        if node.error is not None and node.error.server is not None and not reason.startswith(node.error.server):
            reason = f"{node.error.server}: {node.error.message}"
        server = node.server or getattr(node.step.action, "server", None)
        return Left(node.key, node.status, str(self.redact(reason)), server, self.resume)

    def _waits(self, unit: Unit) -> Left:
        waiting = unit.waiting
        assert waiting is not None
        run, key = self.state.run, unit.key
        command = {
            "approval": f"motet approve {run} {key}",
            "question": f"motet resume {run}",
            "resolve": f"motet resolve {run} {key} --done|--failed|--retry",
        }.get(waiting.reason, self.resume)
        reason = "" if waiting.error is None else waiting.error.message
        if waiting.reason == "approval":
            reason = str(cast("Mapping[str, Json]", waiting.shown or {}).get("message", ""))
        if waiting.until is not None:
            until = datetime.fromtimestamp(waiting.until, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            reason = f"{reason}, until {until}" if reason else f"until {until}"
        return Left(key, f"waiting({waiting.reason})", str(self.redact(reason)), unit.node.server or None, command)

    def attention(self, frames: list[Frame]) -> tuple[Left, ...]:
        left: list[Left] = []
        for unit in self.units(frames):
            server = unit.node.server or None
            if unit.status == "unknown" or (unit.waiting is not None and unit.waiting.reason == "resolve"):
                command = f"motet resolve {self.state.run} {unit.key} --done|--failed" if self.state.durable else ""
                why = "it may have acted" + (f": {unit.error.message}" if unit.error is not None else "")
                left.append(Left(unit.key, "unknown", str(self.redact(why)), server, command))
            if unit.undo in ("failed", "unknown") or (unit.undo == "pending" and self.state.ended):
                if unit.status == "unknown" and unit.undo == "unknown":
                    continue
                left.append(
                    Left(
                        unit.key,
                        f"undo {unit.undo}",
                        str(self.redact(_why_undo(unit))),
                        server,
                        self._undo_command(unit),
                    )
                )
        return tuple(left)

    def _undo_command(self, unit: Unit) -> str:
        if self.state.durable and unit.undo in ("failed", "pending"):
            return self.resume
        undo = unit.node.step.undo
        if undo is None:
            return ""
        if unit.undo_started is not None:
            sent = cast("dict[str, Json]", self.redact(unit.undo_started.arguments or {}))
            arguments = "".join(f" {_argument(key, value)}" for key, value in sent.items())
        else:
            needed = () if undo.call.arguments is None else tuple(parts(undo.call.arguments))
            arguments = "".join(" …" if key == "*" else f" {key}=…" for key in needed)
        return f"motet call {undo.call.server}.{undo.call.tool}{arguments}"

    def flows(self, frames: list[Frame]) -> tuple[tuple[str, str], ...]:
        found: dict[tuple[str, str], None] = {}
        for unit in self.units(frames):
            started = unit.started
            if started is not None and started.server is not None:
                for server, _, _ in started.flows:
                    if server != started.server:
                        found[server, started.server] = None
        return tuple(found)


def _argument(key: str, value: Json) -> str:
    """As `motet call` takes it from a shell."""
    plain = isinstance(value, str)
    return shlex.quote(f"{key}={value}" if plain else f"{key}:={_short(value, 200)}")


def _wait_reason(waiting: Waiting | None) -> str:
    return "waits for its own steps" if waiting is None else f"waits for {waiting.reason}"


def _file(frame: Frame) -> str:
    return frame.workflow.path or frame.workflow.name


def _lacks(node: Node) -> bool:
    if node.has_data or node.status in ("pending", "cancelled"):
        return False
    return not (node.status == "skipped" and (node.reason in CHOSEN or node.reason == "stopped"))


def _is_open_gap(node: Node) -> bool:
    if node.status in ("failed", "partial"):
        return True
    return node.status == "skipped" and (node.reason or "").startswith("missing")


def _why_undo(unit: Unit) -> str:
    if unit.undo_error is not None:
        where = f"{unit.undo_error.server}: " if unit.undo_error.server else ""
        return where + unit.undo_error.message
    if unit.undo == "pending":
        return "it was not taken back yet"
    return "it may have acted, and nobody knows"


# -- the published form -----------------------------------------------------------------------------------------------

_TEXT: dict[str, Json] = {"type": "string"}
_MAYBE_TEXT: dict[str, Json] = {"type": ["string", "null"]}
_MAYBE_TIME: dict[str, Json] = {"type": ["number", "null"], "description": "seconds (since 1970 for points in time)"}
_TEXTS: dict[str, Json] = {"type": "array", "items": _TEXT}
_STATUS: tuple[Literal["running", "waiting", "complete", "partial", "failed", "cancelled"], ...] = (
    "running",
    "waiting",
    "complete",
    "partial",
    "failed",
    "cancelled",
)


def _object(properties: dict[str, Json]) -> dict[str, Json]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_ERROR: dict[str, Json] = {
    "type": ["object", "null"],
    "properties": {
        "step": _TEXT,
        "kind": _TEXT,
        "message": _TEXT,
        "server": _MAYBE_TEXT,
        "sent": {"enum": ["no", "yes", "unknown"]},
        "retry_after": {"type": ["number", "null"]},
    },
}
_LEFT = _object({"step": _TEXT, "what": _TEXT, "reason": _TEXT, "server": _MAYBE_TEXT, "command": _TEXT})
_STEP = _object(
    {
        "step": _TEXT,
        "kind": {"enum": sorted(_ACTIONS.values())},
        "status": {
            "enum": [
                *("pending", "ready", "running", "waiting"),
                *("done", "partial", "failed", "unknown", "skipped", "cancelled"),
            ]
        },
        "ok": {"type": "boolean"},
        "server": _MAYBE_TEXT,
        "name": _MAYBE_TEXT,
        "reason": _MAYBE_TEXT,
        "error": _ERROR,
        "attempts": {"type": "integer", "minimum": 0},
        "via": {"enum": ["call", "fallback", "value", "reconcile", "resolve", None]},
        "missing": _TEXTS,
        "undo": {"enum": ["none", "pending", "done", "failed", "unknown"]},
        "began": _MAYBE_TIME,
        "settled": _MAYBE_TIME,
        "took": _MAYBE_TIME,
        "inputs": {},
        "output": {},
        "items": {"type": "array", "items": {"type": "object"}},
        "finally": {"type": "boolean"},
    }
)
REPORT_SCHEMA: dict[str, Json] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "motet run report",
    **_object(
        {
            "report": {"const": VERSION},
            "run": _TEXT,
            "workflow": _TEXT,
            "status": {"enum": list(_STATUS)},
            "attention": {"type": "array", "items": _LEFT},
            "pending": {"type": "array", "items": _LEFT},
            "output": {},
            "missing": _TEXTS,
            "degraded": _TEXTS,
            "undone": _TEXTS,
            "failure": _ERROR,
            "steps": {"type": "array", "items": _STEP},
            "flows": {"type": "array", "items": _object({"from": _TEXT, "to": _TEXT})},
            "began": {"type": "number"},
            "ended": _MAYBE_TIME,
            "took": _MAYBE_TIME,
            "durable": {"type": "boolean"},
            "dry": {"type": "boolean"},
        }
    ),
}
"""JSON Schema of `Report.to_json()`."""
