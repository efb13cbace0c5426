"""What became of a run, for people and for programs (SEMANTICS §5).

One dataclass for every kind of workflow, written in YAML or in Python. `to_json` is stable and described by
`REPORT_SCHEMA`; `to_text` is what a person reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from motet.calls import Json
from motet.workflow.runstate import RunStatus

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
    shown: Mapping[str, Json] | None = None
    """What an approval is for: the arguments of each step that it lets go on, redacted."""
    digest: str | None = None
    """Of all that is shown: an answer can be bound to it."""

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        return {
            "step": self.step,
            "what": self.what,
            "reason": self.reason,
            "server": self.server,
            "command": self.command,
            "shown": None if self.shown is None else dict(self.shown),
            "digest": self.digest,
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
            lines.append(f"output: {short(self.output, 2000)}")
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
    return replace(left, command="")


def _left_lines(title: str, left: Left) -> list[str]:
    reason = f": {left.reason}" if left.reason else ""
    lines = [f"{title}: {left.step} {left.what}{reason}"]
    for step, arguments in (left.shown or {}).items():
        lines.append(f"  then {step}: {short(arguments, 2000)}")
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
        parts.append(short(step.inputs, 200))
    return "  ".join(part for part in parts if part)


def short(value: Json, most: int) -> str:
    """The value as JSON text, cut after so many characters."""
    text = _ENCODER.encode(value).decode()
    return text if len(text) <= most else text[:most] + "…"


def _whose(error: Mapping[str, Json]) -> str:
    server = error.get("server")
    return f"{server}: {error.get('message')}" if server else str(error.get("message"))


# -- the published form -----------------------------------------------------------------------------------------------

ACTIONS = {
    "ToolCall": "call",
    "Read": "read",
    "PromptGet": "prompt",
    "Approval": "approval",
    "Wait": "wait",
    "RunWorkflow": "run",
    "SetValues": "set",
}
"""What a step does, in a word, by the type of its action."""
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
_LEFT = _object(
    {
        "step": _TEXT,
        "what": _TEXT,
        "reason": _TEXT,
        "server": _MAYBE_TEXT,
        "command": _TEXT,
        "shown": {"type": ["object", "null"]},
        "digest": _MAYBE_TEXT,
    }
)
_STEP = _object(
    {
        "step": _TEXT,
        "kind": {"enum": sorted(ACTIONS.values())},
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
