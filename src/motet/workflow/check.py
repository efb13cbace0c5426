"""`check`: a workflow against a catalog, before anything runs: all problems with their places, and the plan.

Errors are what cannot work: an unknown server, tool or field, an argument that is missing, unknown or of the wrong
type, a ring of steps. Warnings are what may not: optional data used unguarded, a write whose loss nobody could
settle, a server that is down and so goes unchecked. Arguments are validated again just before they are sent.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias, cast

import jsonschema_rs

from motet.calls import Json
from motet.catalog.catalog import Catalog, ServerCatalog
from motet.catalog.schema import BadSchema, compiled
from motet.catalog.tool import Tool
from motet.errors import Ambiguous, UnknownAddress
from motet.workflow.expressions.infer import Facts
from motet.workflow.expressions.runtime import time_text
from motet.workflow.format import RESULT
from motet.workflow.graph import rings, waves
from motet.workflow.loading import ReadText, all_steps, collector_paused, forward_values, parsed, steps_read
from motet.workflow.model import (
    Approval,
    Place,
    PromptGet,
    Read,
    ReadTarget,
    RunWorkflow,
    SetValues,
    Step,
    ToolCall,
    Value,
    Wait,
    Workflow,
)
from motet.workflow.plan import Plan, PlanStep
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
    Ref,
    Scalar,
    Shape,
    Union,
    arms,
    mismatch,
    nearby,
    say,
    seen,
    shape,
    union,
)
from motet.workflow.values import Code, Fields, Fixed, Text


@dataclass(frozen=True, slots=True)
class Effect:
    """What repeating a call of a tool would mean."""

    kind: Literal["reads", "repeatable", "keyed", "writes"]
    """`keyed`: it takes an idempotency key, which is filled in."""
    key: str = ""
    """The argument that carries the key."""


EffectOf: TypeAlias = Callable[[str, str], Effect]
"""`(server, tool)` -> its effect, by our own configuration."""


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
    shared = _Shared(catalog, effect)
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

    catalog: Catalog
    effect: EffectOf | None
    problems: list[Problem] = field(default_factory=list[Problem])
    nested: dict[str, _Check] = field(default_factory=dict[str, "_Check"])
    told: set[tuple[str, ...]] = field(default_factory=set["tuple[str, ...]"])
    accepts: dict[int, Shape] = field(default_factory=dict[int, Shape])
    gives: dict[int, Shape] = field(default_factory=dict[int, Shape])
    validators: dict[tuple[int, str], jsonschema_rs.Validator | None] = field(
        default_factory=dict["tuple[int, str]", "jsonschema_rs.Validator | None"]
    )
    dynamic: dict[str, tuple[Reader, Place, int]] = field(default_factory=dict[str, "tuple[Reader, Place, int]"])
    """Tools without an output schema: where their data is first used, and how often."""

    def once(self, *what: str) -> bool:
        """True the first time."""
        if what in self.told:
            return False
        self.told.add(what)
        return True

    def takes(self, tool: Tool) -> Shape:
        """The shape of a tool's arguments."""
        found = self.accepts.get(id(tool))
        if found is None:
            found = self.accepts[id(tool)] = shape(tool.input_schema)
        return found

    def makes(self, tool: Tool) -> Shape:
        """The shape of a tool's data."""
        found = self.gives.get(id(tool))
        if found is None:
            schema = tool.data_schema
            found = self.gives[id(tool)] = DYN if schema is None else shape(schema)
        return found

    def validator(self, tool: Tool, argument: str) -> jsonschema_rs.Validator | None:
        """What checks one literal argument against all that the schema says of it."""
        key = (id(tool), argument)
        if key not in self.validators:
            self.validators[key] = _validator(tool, argument)
        return self.validators[key]


def _validator(tool: Tool, argument: str) -> jsonschema_rs.Validator | None:
    properties: Json = tool.input_schema.get("properties")
    schema: Json = cast("dict[str, Json]", properties).get(argument) if isinstance(properties, dict) else None
    if not isinstance(schema, dict):
        return None
    shared = {word: tool.input_schema[word] for word in ("$defs", "definitions") if word in tool.input_schema}
    try:
        return compiled({**cast("dict[str, Json]", schema), **shared})
    except BadSchema:
        return None


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

    def near(self, name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
        return nearby(name, known, cutoff) if self.reader.suggests else ""

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
                    self.word_in(step, name), f"`needs`: there is no step `{name}`", self.near(name, self.steps), "name"
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
                self.prompt(step, prompt, names, known)
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
        tool = self.tool(call)
        effect = self.effect(call)
        self.arguments(call, tool, names, step.name, "", known, effect)
        self.unsafe(step, call, tool, effect)
        if tool is None or step.parse_json:
            return DYN
        if tool.data_schema is None:
            self.dynamic[step.name] = tool.address
        return self.shared.makes(tool)

    def read(self, step: Step, read: Read, names: Mapping[str, Shape], known: Facts) -> Shape:
        for key, target in read.uris.items():
            given = self.reader.shape(target.uri, names, step.name, key or "uri", known)
            if why := mismatch(given, STRING):
                self.reader.complain(target.uri.place, f"a URI: {why}")
            self.route(target)
        if read.form == "map":
            return Object(dict.fromkeys(read.uris, DYN), frozenset())
        return Array(DYN) if read.form == "list" else DYN

    def route(self, target: ReadTarget) -> None:
        """A literal address has to be somebody's."""
        if target.server is not None:
            self.server(target.server, target.uri.place)
            return
        if not isinstance(target.uri, Fixed) or not isinstance(target.uri.value, str):
            return
        try:
            self.shared.catalog.route(target.uri.value)
        except Ambiguous as error:
            self.complain(target.uri.place, error.message, error.hint, "uri")
        except UnknownAddress as error:
            if all(part.known for part in self.shared.catalog.servers.values()):
                self.complain(target.uri.place, error.message, error.hint, "uri")
            elif self.shared.once("uri", target.uri.value):
                self.warn(target.uri.place, error.message, error.hint, "unchecked")

    def prompt(self, step: Step, prompt: PromptGet, names: Mapping[str, Shape], known: Facts) -> None:
        given = self.reader.shape(prompt.arguments, names, step.name, "", known)
        part = self.server(prompt.server, prompt.place)
        if part is None or not prompt.name:
            return
        found = part.prompts.get(prompt.name)
        if found is None:
            hint = self.near(prompt.name, part.prompts, 0.5) or _offers(part.prompts)
            self.complain(
                self.tail(prompt.place, prompt.server),
                f"server `{part.name}` has no prompt `{prompt.name}`",
                hint,
                "tool",
            )
            return
        wanted = Object(
            dict.fromkeys(found.arguments, STRING), frozenset(name for name, must in found.arguments.items() if must)
        )
        self.fit(prompt.arguments, given, wanted, prompt.place, f"{prompt.server}.{prompt.name}")

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
        self.fit(run.arguments, given, wanted, run.place, run.workflow.name)
        return inner.output

    # -- arguments

    def arguments(
        self,
        call: ToolCall,
        tool: Tool | None,
        names: Mapping[str, Shape],
        step: str,
        where: str,
        known: Facts,
        effect: Effect,
    ) -> None:
        """The arguments of a call against the tool's input schema."""
        given = self.reader.shape(call.arguments, names, step, where, known)
        if tool is None:
            return
        wanted = seen(self.shared.takes(tool))
        if not isinstance(wanted, Object):
            return
        if effect.key:
            wanted = Object(wanted.fields, wanted.required - {effect.key}, wanted.extra)
        self.fit(call.arguments, given, wanted, call.place, tool.address)
        if isinstance(call.arguments, Fields) and isinstance(given, Object):
            self.literals(call.arguments, given, wanted, tool)

    def fit(self, arguments: Value | None, given: Shape, wanted: Object, place: Place, what: str) -> None:
        """One message for each argument that is missing, unknown or of the wrong type."""
        if not isinstance(arguments, Fields) or not isinstance(given, Object):
            if arguments is None:
                given = Object({})
            elif why := mismatch(given, wanted):
                self.reader.complain(arguments.place, f"the arguments of `{what}`: {why}", code="argument")
                return
            else:
                return
        for name, one in given.fields.items():
            target = wanted.fields.get(name, wanted.extra)
            if target is None:
                hint = self.near(name, wanted.fields) or (
                    f"it takes {', '.join([*wanted.fields][:12])}" if wanted.fields else "it takes none"
                )
                self.complain(self.key(arguments, name, place), f"`{what}` has no argument `{name}`", hint, "argument")
            elif why := mismatch(one, target):
                message, _, hint = why.partition("; ")
                self.complain(
                    self.entry(arguments, name, place), f"argument `{name}` of `{what}`: {message}", hint, "argument"
                )
            elif isinstance(one, Maybe | Union | Ref):
                self.doubts(
                    one, target, self.entry(arguments, name, place), name, what, required=name in wanted.required
                )
        for name in sorted(wanted.required - given.fields.keys()):
            kind = say(wanted.fields.get(name, DYN))
            near = self.near(name, [one for one in given.fields if one not in wanted.fields])
            if not near or wanted.extra is not None:  # otherwise the misspelt one was told already
                self.complain(place, f"`{what}` needs the argument `{name}` ({kind})", code="argument")

    def doubts(self, given: Shape, target: Shape, place: Place, name: str, what: str, *, required: bool) -> None:
        """What may fit and may not."""
        if isinstance(given, Maybe) and required:
            message = f"`{what}` needs the argument `{name}`, and this leaves it out when it is empty"
            self.complain(place, message, "end it with `.orValue(…)`", "argument")
            return
        alternatives = arms(given)
        if NULL in alternatives and len(alternatives) > 1 and mismatch(NULL, target) is not None:
            self.warn(
                place,
                f"this may be null, and argument `{name}` of `{what}` cannot",
                "write `x != null ? x : …`",
                "null",
            )

    def literals(self, arguments: Fields, given: Object, wanted: Object, tool: Tool) -> None:
        """What is written out is held against all of the schema: patterns, bounds, formats."""
        for name, value in arguments.entries.items():
            target = wanted.fields.get(name)
            if target is None or not value.constant or mismatch(given.fields[name], target) is not None:
                continue
            validator = self.shared.validator(tool, name)
            literal = value.evaluate({})
            if validator is None or validator.is_valid(literal):
                continue
            why = next(iter(validator.iter_errors(literal)), None)
            reason = "it does not fit the schema" if why is None else why.message.splitlines()[0][:200]
            self.complain(value.place, f"argument `{name}` of `{tool.address}`: {reason}", code="argument")

    def key(self, arguments: Value | None, name: str, otherwise: Place) -> Place:
        if isinstance(arguments, Fields) and name in arguments.keys:
            node = arguments.keys[name]
            return self.reader.source.place(node.start, node.end)
        return otherwise

    def entry(self, arguments: Value | None, name: str, otherwise: Place) -> Place:
        if not isinstance(arguments, Fields) or name not in arguments.entries:
            return otherwise
        value = arguments.entries[name]
        return value.spot(0, len(value.expression.text)) if isinstance(value, Code) else value.place

    # -- servers and tools

    def server(self, name: str, place: Place) -> ServerCatalog | None:
        """A server that has been listed; None, and a problem told, when there is none."""
        if not name:
            return None
        part = self.shared.catalog.servers.get(name)
        if part is not None and part.known and part.stale is None:
            return part
        place = replace(place, end=min(place.end, place.start + len(name))) if place.end else place
        if part is None:
            hint = self.near(name, self.shared.catalog.servers, 0.5) or _offers(self.shared.catalog.servers, "servers")
            self.complain(place, f"there is no server `{name}`", hint, "server")
            return None
        if not part.known:
            if self.shared.once("unknown", name):
                message = f"server `{name}` is not checked: {part.why_unknown()}"
                self.warn(place, message, "what it offers has never been listed", "unchecked")
            return None
        if part.stale is not None and self.shared.once("stale", name):
            listed = f" of {time_text(datetime.fromtimestamp(part.as_of, UTC))}" if part.as_of else ""
            self.warn(place, f"server `{name}` is checked against its last list{listed}: {part.stale}", code="stale")
        return part

    def tool(self, call: ToolCall) -> Tool | None:
        part = self.server(call.server, call.place)
        if part is None or not call.tool:
            return None
        tool = part.tools.get(call.tool)
        if tool is not None:
            return tool
        place = self.tail(call.place, call.server)
        left = next((one.reason for one in part.left_out if one.name == call.tool), None)
        if left is not None:
            self.complain(place, f"tool `{call.tool}` of server `{part.name}` cannot be used: {left}", code="tool")
        else:
            hint = self.near(call.tool, part.tools, 0.5) or _offers(part.tools)
            self.complain(place, f"server `{part.name}` has no tool `{call.tool}`", hint, "tool")
        return None

    def tail(self, place: Place, server: str) -> Place:
        """The part of an address behind its server's name."""
        skip = len(server) + 1
        if self.workflow.source[place.start : place.start + 1] in ("'", '"'):
            skip += 1
        return self.reader.source.place(place.start + skip, place.end)

    def effect(self, call: ToolCall) -> Effect:
        if self.shared.effect is not None:
            return self.shared.effect(call.server, call.tool)
        part = self.shared.catalog.servers.get(call.server)
        tool = None if part is None else part.tools.get(call.tool)
        if tool is None:
            return Effect("writes")
        hints = tool.annotations
        return Effect("reads" if hints.read_only else "repeatable" if hints.idempotent else "writes")

    # -- what may go wrong when it runs

    def unsafe(self, step: Step, call: ToolCall, tool: Tool | None, effect: Effect) -> None:
        """A write that cannot be repeated, and nothing says how to settle it when its answer is lost."""
        if tool is None or effect.kind != "writes" or step.reconcile is not None or step.idempotency_key is not None:
            return
        if tool.annotations.read_only:
            if self.shared.once("reads", tool.address):
                hint = f"if that is so, say it in the configuration: `retry.read_only` of `{call.server}`, or `trusted`"
                self.warn(call.place, f"`{tool.address}` says that it only reads, and is not believed", hint, "unsafe")
            return
        if step.undo is None:
            message = f"`{tool.address}` writes: when its answer is lost, nobody can say whether it acted"
            self.warn(call.place, message, "declare `undo`, `reconcile` or `idempotency_key`", "unsafe")
        if step.on_error.mode == "call":
            message = "when the outcome is unknown, this fallback is not tried"
            place = step.on_error.call.place if step.on_error.call is not None else step.place
            self.warn(place, message, "declare `reconcile`, which finds out", "unsafe")

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
            found = DYN if tool is None else self.shared.makes(tool)
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
        tool = self.tool(call)
        self.arguments(call, tool, names, step, where, {}, self.effect(call))
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
        main, final = self.workflow.steps, self.workflow.final
        levels = waves({name: step.after & main.keys() for name, step in main.items()})
        last = [
            name for level in waves({name: step.after & final.keys() for name, step in final.items()}) for name in level
        ]
        steps = {name: self.plan_step(step) for name, step in self.steps.items()}
        flows = tuple(flow for flow in self.reader.flows if flow.source != flow.target)
        return Plan(self.workflow.name, steps, tuple(tuple(level) for level in levels), tuple(last), flows)

    def plan_step(self, step: Step) -> PlanStep:
        kind, servers, target, unsafe = "set", (), "", False
        match step.action:
            case ToolCall() as call:
                kind, servers, target = "call", (call.server,), f"{call.server}.{call.tool}"
                unsafe = self.effect(call).kind == "writes"
            case Read() as read:
                kind, servers, target = "read", self.owners(read), ", ".join(_uri(one) for one in read.uris.values())
            case PromptGet() as prompt:
                kind, servers, target = "prompt", (prompt.server,), f"{prompt.server}.{prompt.name}"
            case Approval():
                kind = "approval"
            case Wait():
                kind = "wait"
            case RunWorkflow() as run:
                kind, target = "run", run.workflow.name
                servers = self.shared.nested[run.workflow.path].plan().servers
            case SetValues():
                kind = "set"
        after = tuple(sorted(step.after & self.steps.keys()))
        undo = f"{step.undo.call.server}.{step.undo.call.tool}" if step.undo is not None else ""
        return PlanStep(step.name, kind, servers, target, after, unsafe, undo, step.foreach is not None)

    def owners(self, read: Read) -> tuple[str, ...]:
        found: list[str] = []
        for target in read.uris.values():
            if target.server is not None:
                found.append(target.server)
            elif isinstance(target.uri, Fixed) and isinstance(target.uri.value, str):
                try:
                    found.append(self.shared.catalog.route(target.uri.value))
                except (UnknownAddress, Ambiguous):
                    continue
        return tuple(dict.fromkeys(found))


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


def _uri(target: ReadTarget) -> str:
    uri = target.uri
    text = str(uri.value) if isinstance(uri, Fixed) else "…"
    if isinstance(uri, Text):
        text = "".join(part if isinstance(part, str) else "…" for part in uri.parts)
    return f"{target.server}={text}" if target.server else text


def _offers(names: Mapping[str, object], what: str = "it has") -> str:
    shown = sorted(names)
    return f"{what}: {', '.join(shown[:8])}{', …' if len(shown) > 8 else ''}" if shown else "it has none"


def _is_instant(value: Json) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return True
    try:
        return datetime.fromisoformat(str(value)).tzinfo is not None
    except ValueError:
        return False
