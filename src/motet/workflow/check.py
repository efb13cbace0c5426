"""`check`: a workflow against a catalog, before anything runs: all problems with their places, and the plan.

Errors are what cannot work: an unknown server, tool or field, an argument that is missing, unknown or of the wrong
type, a ring of steps. Warnings are what may not: optional data used unguarded, a write whose loss nobody could
settle, a server that is down and so goes unchecked. Calls are held against the catalog in `calling`; their arguments
are validated again just before they are sent.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import cast

from motet.calls import Json
from motet.catalog.catalog import Catalog
from motet.catalog.tool import Tool
from motet.workflow.calling import Calls, EffectOf, Offered
from motet.workflow.expressions.infer import Facts
from motet.workflow.format import RESULT
from motet.workflow.graph import all_steps, forward_values, rings, steps_read, waves
from motet.workflow.loading import ReadText, collector_paused, parsed
from motet.workflow.model import (
    Approval,
    Place,
    PromptGet,
    Read,
    RunWorkflow,
    SetValues,
    Step,
    ToolCall,
    Value,
    Wait,
    Workflow,
)
from motet.workflow.plan import Plan
from motet.workflow.planning import plan_of
from motet.workflow.problems import Problem, Source, in_order
from motet.workflow.reading import Reader
from motet.workflow.shapes import (
    BOOL,
    DURATION,
    DYN,
    INT,
    NULL,
    NUMBER,
    STRING,
    TIMESTAMP,
    Array,
    Dyn,
    Maybe,
    Object,
    Scalar,
    Shape,
    arms,
    mismatch,
    say,
    seen,
    shape,
    union,
)
from motet.workflow.values import Code, Fixed, Text


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking found."""

    problems: tuple[Problem, ...]
    """In the order of their places."""
    plan: Plan
    workflow: Workflow | None = None
    """The workflow that was checked; None when the text could not be loaded far enough."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Those that stop it from running."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The rest."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    def render(self) -> str:
        """Every problem as text."""
        return "\n".join(problem.render() for problem in self.problems)

    def to_json(self) -> Json:
        """For programs."""
        return {
            "ok": not self.errors,
            "problems": [problem.to_json() for problem in self.problems],
            "plan": None if self.errors else self.plan.to_json(),
        }


def check(workflow: Workflow, catalog: Catalog, *, effect: EffectOf | None = None) -> Checked:
    """Every problem of a loaded workflow, and its plan. `effect` None: the servers' own hints are taken for it."""
    shared = _Shared(Offered(catalog, effect))
    one = _Check(workflow, shared)
    with collector_paused(len(workflow.source) > 200_000):
        one.run()
    return Checked(in_order(shared.problems, workflow.path), one.plan(), workflow)


def check_text(
    text: str, catalog: Catalog, *, path: str = "", read: ReadText | None = None, effect: EffectOf | None = None
) -> Checked:
    """The same for a text: what is wrong with its form and what is wrong with its meaning, told together."""
    loaded = parsed(text, path=path, read=read)
    if loaded.workflow is None:
        return Checked(loaded.problems, Plan(path, {}, (), (), ()))
    checked = check(loaded.workflow, catalog, effect=effect)
    workflow = None if loaded.problems else loaded.workflow
    return replace(checked, problems=in_order([*loaded.problems, *checked.problems], path), workflow=workflow)


_TEXT_OR_NULL = union([STRING, NULL])
_ERROR = Object(
    {
        "kind": STRING,
        "message": STRING,
        "server": _TEXT_OR_NULL,
        "sent": Scalar("string", ("no", "yes", "unknown")),
        "retry_after": union([NUMBER, NULL]),
    },
    frozenset(("kind", "message", "server", "sent", "retry_after")),
)
_STATES = (
    "pending", "ready", "running", "waiting", "done", "partial", "failed", "unknown", "skipped", "cancelled",
)  # fmt: skip
_RECORD_FIELDS: dict[str, Shape] = {
    "ok": BOOL,
    "status": Scalar("string", _STATES),
    "reason": _TEXT_OR_NULL,
    "error": union([_ERROR, NULL]),
    "attempts": INT,
    "via": union([Scalar("string", ("call", "fallback", "value", "reconcile", "resolve")), NULL]),
    "missing": Array(STRING),
    "undo": Scalar("string", ("none", "pending", "done", "failed", "unknown")),
}
RECORD = Object({**_RECORD_FIELDS, "items": Array(DYN)}, frozenset((*_RECORD_FIELDS, "items")))
"""The shape of `steps.NAME` (SEMANTICS §1)."""
RUN = Object({"id": STRING, "workflow": STRING, "status": STRING}, frozenset(("id", "workflow", "status")))
"""The shape of `run`."""
APPROVED = Object({"approved": BOOL, "by": _TEXT_OR_NULL, "note": _TEXT_OR_NULL}, frozenset(("approved", "by", "note")))
"""The data of an `approval` step."""
MESSAGES = Array(Object({"role": STRING, "content": DYN}, frozenset(("role", "content")), DYN))
"""The data of a `prompt` step."""
_SECONDS = union([INT, NUMBER, STRING, DURATION])
_INSTANT = union([INT, NUMBER, STRING, TIMESTAMP])


@dataclass(slots=True)
class _Shared:
    """What all files of one check share."""

    offered: Offered
    problems: list[Problem] = field(default_factory=list[Problem])
    nested: dict[str, _Check] = field(default_factory=dict[str, "_Check"])
    dynamic: dict[str, tuple[Reader, Place, int]] = field(default_factory=dict[str, "tuple[Reader, Place, int]"])
    """Tools without an output schema: where their data is first used, and how often."""


class _Check:
    """One file."""

    def __init__(self, workflow: Workflow, shared: _Shared) -> None:
        self.workflow = workflow
        self.shared = shared
        self.steps = all_steps(workflow)
        self.reader = Reader(
            Source(workflow.source, workflow.path),
            shared.problems,
            steps=frozenset(self.steps),
            seen=self.count_dynamic,
        )
        self.offered = shared.offered
        self.calls = Calls(self.reader, shared.offered)
        self.dynamic: dict[str, str] = {}
        """Step -> the tool without an output schema that it calls."""
        self.never: set[str] = set()
        """Steps whose `if` is never true."""
        self.output: Shape = DYN
        self.names: dict[str, Shape] = {}

    def run(self) -> None:
        """Find everything."""
        main, final = self.workflow.steps, self.workflow.final
        after = {name: step.after & main.keys() for name, step in main.items()}
        levels = waves(after)
        self.names = {
            "inputs": _inputs(self.workflow),
            "run": RUN,
            "steps": Object(dict.fromkeys(main, RECORD), frozenset(main)),
            **dict.fromkeys(main, DYN),
        }
        ordered = [name for level in levels for name in level]
        for name in dict.fromkeys((*ordered, *main)):  # those in a ring come last
            self.forward(main[name])
        self.rings(after)
        self.names.update(dict.fromkeys(final, DYN))
        self.names["steps"] = Object(dict.fromkeys(self.steps, RECORD), frozenset(self.steps))
        after = {name: step.after & final.keys() for name, step in final.items()}
        for name in dict.fromkeys((*(one for level in waves(after) for one in level), *final)):
            self.forward(final[name])
        self.rings(after)
        for step in self.steps.values():
            self.beside(step)
        self.output = self.reader.shape(self.workflow.output, self.names, "", "output")
        self.tell_dynamic()

    def complain(self, place: Place, message: str, hint: str = "", code: str = "form") -> None:
        self.reader.complain(place, message, hint=hint, code=code)

    def warn(self, place: Place, message: str, hint: str = "", code: str = "form") -> None:
        self.reader.complain(place, message, hint=hint, code=code, severity="warning")

    # -- what a step does

    def forward(self, step: Step) -> None:
        """Everything of a step that is evaluated before it acts; then its data's shape is known."""
        self.needs(step)
        known: Facts = {}
        if step.condition is not None:
            known = self.reader.condition(step.condition, self.names, step.name, "if")
            self.reachable(step)
        names: Mapping[str, Shape] = self.names
        if step.foreach is not None:
            names = ChainMap({step.foreach.name: self.items(step)}, self.names)
        for value in forward_values(step):
            if ("steps",) in value.reads:
                self.complain(
                    value.place, "`steps` as a whole would wait for every step", "name one: `steps.NAME`", "cycle"
                )
        if step.idempotency_key is not None:
            given = self.reader.shape(step.idempotency_key, names, step.name, "idempotency_key", known)
            if why := mismatch(given, union([STRING, INT])):
                self.reader.complain(step.idempotency_key.place, f"`idempotency_key`: {why}")
        data = self.action(step, names, known)
        self.bounds(step)
        if step.foreach is not None:
            data = Array(data if step.on_error.mode == "fail" else union([data, NULL]))
        self.names[step.name] = data

    def needs(self, step: Step) -> None:
        final = step.name in self.workflow.final
        for name in step.needs:
            if name not in self.steps:
                self.complain(
                    self.word_in(step, name),
                    f"`needs`: there is no step `{name}`",
                    self.reader.near(name, self.steps),
                    "name",
                )
            elif not final and name in self.workflow.final:
                self.complain(step.place, f"`needs`: `{name}` runs under `finally`, after all others", code="name")

    def word_in(self, step: Step, word: str) -> Place:
        """Where a word of `needs` stands: looked for in the text of the step."""
        text = self.workflow.source
        begin = text.find("needs", step.place.end)
        at = text.find(word, begin) if begin >= 0 else -1
        return self.reader.source.place(at, at + len(word)) if at >= 0 else step.place

    def items(self, step: Step) -> Shape:
        assert step.foreach is not None
        loop = step.foreach
        if loop.name in self.steps:
            self.complain(loop.items.place, f"`as: {loop.name}` hides the step of that name", code="name")
        given = self.reader.shape(loop.items, self.names, step.name, "foreach")
        if isinstance(given, Maybe):
            self.reader.complain(loop.items.place, "`foreach` is an optional value", hint="end it with `.orValue([])`")
            return DYN
        lists = [arm for arm in arms(given) if isinstance(arm, Array | Dyn)]
        if not lists:
            hint = "for the keys of a map write `m.map(key, key)`" if isinstance(seen(given), Object) else ""
            self.reader.complain(
                loop.items.place, f"`foreach` goes through a list, and this is {say(given)}", hint=hint
            )
            return DYN
        return union(arm.item if isinstance(arm, Array) else DYN for arm in lists)

    def action(self, step: Step, names: Mapping[str, Shape], known: Facts) -> Shape:
        match step.action:
            case ToolCall() as call:
                return self.called(step, call, names, known)
            case Read() as read:
                return self.read(step, read, names, known)
            case PromptGet() as prompt:
                self.calls.prompt(step, prompt, names, known)
                return MESSAGES
            case Approval(message=message):
                given = self.reader.shape(message, names, step.name, "message", known)
                if why := mismatch(given, STRING):
                    self.reader.complain(message.place, f"`message`: {why}")
                return APPROVED
            case Wait() as wait:
                self.wait(step, wait, names, known)
                return NULL
            case RunWorkflow() as nested:
                return self.nested(step, nested, names, known)
            case SetValues(value=value):
                return self.reader.shape(value, names, step.name, "set", known)

    def called(self, step: Step, call: ToolCall, names: Mapping[str, Shape], known: Facts) -> Shape:
        tool = self.calls.tool(call)
        effect = self.offered.effect_of(call)
        self.calls.arguments(call, tool, names, step.name, "", known, effect)
        self.calls.unsafe(step, call, tool, effect)
        if tool is None or step.parse_json:
            return DYN
        if tool.data_schema is None:
            self.dynamic[step.name] = tool.address
        return self.offered.makes(tool)

    def read(self, step: Step, read: Read, names: Mapping[str, Shape], known: Facts) -> Shape:
        for key, target in read.uris.items():
            given = self.reader.shape(target.uri, names, step.name, key or "uri", known)
            if why := mismatch(given, STRING):
                self.reader.complain(target.uri.place, f"a URI: {why}")
            self.calls.route(target)
        if read.form == "map":
            return Object(dict.fromkeys(read.uris, DYN), frozenset())
        return Array(DYN) if read.form == "list" else DYN

    def wait(self, step: Step, wait: Wait, names: Mapping[str, Shape], known: Facts) -> None:
        for value, wanted, what in ((wait.duration, _SECONDS, "a time"), (wait.until, _INSTANT, "an instant")):
            if value is None:
                continue
            given = self.reader.shape(value, names, step.name, "wait", known)
            if mismatch(given, wanted) is not None:
                self.reader.complain(value.place, f"`wait` takes {what}, and this is {say(given)}")
            elif isinstance(value, Fixed) and wanted is _INSTANT and not _is_instant(value.value):
                hint = "such as 2026-11-22T10:00:00Z"
                self.reader.complain(value.place, "`until` takes an instant with its offset from UTC", hint=hint)

    def nested(self, step: Step, run: RunWorkflow, names: Mapping[str, Shape], known: Facts) -> Shape:
        given = self.reader.shape(run.arguments, names, step.name, "", known)
        inner = self.shared.nested.get(run.workflow.path)
        if inner is None:
            inner = self.shared.nested[run.workflow.path] = _Check(run.workflow, self.shared)
            inner.run()
        inputs = run.workflow.inputs.values()
        fields = {one.name: shape(one.schema) for one in inputs}
        wanted = Object(fields, frozenset(one.name for one in inputs if one.required))
        self.calls.fit(run.arguments, given, wanted, run.place, run.workflow.name)
        return inner.output

    # -- what may go wrong when it runs

    def bounds(self, step: Step) -> None:
        """Waits that outlast the workflow, and approvals that would be answered by nobody."""
        action, limit = step.action, self.workflow.timeout
        if isinstance(action, Approval) and step.on_error.mode in ("value", "call"):
            message = "an approval cannot be replaced by a value or a call: a refusal is an answer"
            self.complain(action.place, message, "`on_error` of an approval is fail or continue")
        if limit is None:
            return
        waits: list[tuple[float, Place, str]] = []
        if isinstance(action, Approval) and action.timeout is not None:
            waits.append((action.timeout, action.place, "the approval"))
        if isinstance(action, Wait) and isinstance(action.duration, Fixed):
            waits.append((float(action.duration.value), action.place, "the wait"))
        if step.on_unavailable is not None and step.on_unavailable.mode == "defer":
            waits.append((step.on_unavailable.defer, step.place, "the deferral"))
        for seconds, place, what in waits:
            if seconds > limit:
                message = f"{what} may last {seconds:g} s, longer than the whole workflow ({limit:g} s)"
                self.complain(place, message, "raise `timeout` of the workflow", "deadline")

    def reachable(self, step: Step) -> None:
        """A step that never runs, and those that need its data."""
        value = step.condition
        fixed = value.value if isinstance(value, Fixed) else None
        if isinstance(value, Code) and value.expression.passes and not value.reads:
            fixed = value.expression.evaluate({})
        if fixed is False and value is not None:
            self.never.add(step.name)
            self.warn(value.place, f"step `{step.name}` never runs: its `if` is always false", code="unreachable")

    def rings(self, after: Mapping[str, frozenset[str]]) -> None:
        for ring in rings(after):
            first, second = ring[0], ring[1 % len(ring)]
            shown = " -> ".join([*ring[:8], *(["…"] if len(ring) > 8 else []), first])
            message = f"steps wait for each other: {shown}" if len(ring) > 1 else f"step `{first}` waits for itself"
            self.complain(
                self.reference(self.steps[first], second), message, f"`{first}` waits for `{second}` here", "cycle"
            )
        if self.never:
            for step in self.steps.values():
                read = {path[0] for value in forward_values(step) for path in value.reads} & self.never
                if read and step.name not in self.never and step.name in after:
                    name = min(read)
                    self.warn(
                        self.reference(step, name),
                        f"step `{step.name}` never runs: `{name}` never has data",
                        code="unreachable",
                    )

    def reference(self, step: Step, name: str) -> Place:
        """Where a step reads, or needs, another."""
        for value in forward_values(step):
            for code in _codes(value):
                if name in steps_read(code):
                    return code.spot(max(0, code.expression.text.find(name)), len(name))
        return self.word_in(step, name) if name in step.needs else step.place

    # -- what happens beside: fallback, reconcile, undo

    def beside(self, step: Step) -> None:
        """What is evaluated only when it is used, and may read its own step."""
        names: Mapping[str, Shape] = self.names
        if step.foreach is not None:
            own = seen(self.names[step.name])
            items = self.reader.shape(step.foreach.items, self.names, "", "")
            item = items.item if isinstance(items := seen(items), Array) else DYN
            names = ChainMap(
                {step.foreach.name: item, step.name: own.item if isinstance(own, Array) else DYN}, self.names
            )
        if step.on_error.value is not None:
            self.reader.shape(step.on_error.value, names, step.name, "on_error.value")
        if step.on_error.call is not None:
            self.other(step.on_error.call, names, step.name, "on_error")
        if step.reconcile is not None:
            tool = self.other(step.reconcile.call, names, step.name, "reconcile")
            found = DYN if tool is None else self.offered.makes(tool)
            inner = ChainMap({step.name: found, RESULT: found}, cast("dict[str, Shape]", names))
            self.reader.condition(step.reconcile.happened, inner, step.name, "happened")
            self.reader.shape(step.reconcile.data, inner, step.name, "reconcile.data")
        if step.undo is not None:
            self.other(step.undo.call, names, step.name, "undo")
            arguments = step.undo.call.arguments
            if (
                step.undo.when == "maybe"
                and arguments is not None
                and any(path[0] == step.name for path in arguments.reads)
            ):
                message = f"`when: maybe` is for an unknown outcome, and then there is no data of `{step.name}`"
                self.warn(arguments.place, message, "use only inputs and other steps here", "undo")

    def other(self, call: ToolCall, names: Mapping[str, Shape], step: str, where: str) -> Tool | None:
        tool = self.calls.tool(call)
        self.calls.arguments(call, tool, names, step, where, {}, self.offered.effect_of(call))
        return tool

    # -- references that nothing is known of

    def count_dynamic(self, code: Code) -> None:
        for path in code.reads:
            tool = self.dynamic.get(path[0]) if len(path) > 1 else None
            if tool is not None:
                reader, place, count = self.shared.dynamic.get(
                    tool, (self.reader, code.spot(0, len(code.expression.text)), 0)
                )
                self.shared.dynamic[tool] = (reader, place, count + 1)

    def tell_dynamic(self) -> None:
        for tool, (reader, place, count) in self.shared.dynamic.items():
            if reader is self.reader:
                many = f"{count} references to its data are" if count > 1 else "a reference to its data is"
                message = f"`{tool}` declares no output schema: {many} not checked"
                reader.complain(place, message, code="unchecked", severity="warning")

    # -- the plan

    def plan(self) -> Plan:
        """What is going to happen."""
        return plan_of(
            self.workflow, self.calls, self.reader.flows, lambda inner: self.shared.nested[inner.path].plan()
        )


def _inputs(workflow: Workflow) -> Shape:
    fields: dict[str, Shape] = {}
    for one in workflow.inputs.values():
        given = shape(one.schema)
        fields[one.name] = union([given, NULL]) if not one.required and one.default is None else given
    return Object(fields, frozenset(fields))


def _codes(value: Value) -> list[Code]:
    match value:
        case Code():
            return [value]
        case Text():
            return [part for part in value.parts if isinstance(part, Code)]
        case _:
            inner = [*getattr(value, "items", ()), *getattr(value, "entries", {}).values()]
            return [code for one in inner for code in _codes(one)]


def _is_instant(value: Json) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return True
    try:
        return datetime.fromisoformat(str(value)).tzinfo is not None
    except ValueError:
        return False
