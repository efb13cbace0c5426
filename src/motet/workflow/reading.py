"""What the values of a workflow come to, before anything runs: the shape of each, what is wrong, where data goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from motet.workflow.expressions.infer import Facts, facts
from motet.workflow.expressions.tree import path_of
from motet.workflow.model import Place, Value
from motet.workflow.plan import Flow
from motet.workflow.problems import Problem, Source
from motet.workflow.shapes import (
    BOOL,
    DYN,
    NULL,
    STRING,
    Array,
    Maybe,
    Object,
    Shape,
    arms,
    kind,
    literal,
    mismatch,
    nearby,
    say,
    union,
)
from motet.workflow.values import Code, Fields, Fixed, Many, Text

SUGGESTIONS = 200
"""So many problems come with a `did you mean`: looking for names takes time."""


@dataclass(slots=True)
class Reader:
    """Reads values of one file; problems and flows gather here."""

    source: Source
    problems: list[Problem] = field(default_factory=list[Problem])
    flows: dict[Flow, None] = field(default_factory=dict[Flow, None])
    steps: frozenset[str] = frozenset()
    """Names of steps: what is read of them is a flow."""
    seen: Callable[[Code], None] | None = None
    """Told of every expression that was read."""

    @property
    def suggests(self) -> bool:
        """Is it still worth looking for what was meant?"""
        return len(self.problems) < SUGGESTIONS

    def complain(
        self,
        place: Place,
        message: str,
        *,
        hint: str = "",
        code: str = "type",
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        """Note a problem."""
        self.problems.append(
            Problem(severity, code, message, hint, place, self.source.path, self.source.line(place.line))
        )

    def warn(self, place: Place, message: str, *, hint: str = "", code: str) -> None:
        """Note what may go wrong."""
        self.complain(place, message, hint=hint, code=code, severity="warning")

    def near(self, name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
        """`did you mean …?`, or nothing."""
        return nearby(name, known, cutoff) if self.suggests else ""

    def shape(
        self, value: Value | None, names: Mapping[str, Shape], step: str, where: str, known: Facts | None = None
    ) -> Shape:
        """The shape a value comes to where these names stand for these shapes."""
        match value:
            case Fixed():
                return literal(value.value)
            case Code():
                return self.code(value, names, step, where, known)
            case Text():
                for part in value.parts:
                    if isinstance(part, Code):
                        self.in_text(part, self.code(part, names, step, where, known))
                return STRING
            case Many():
                items = [self.shape(item, names, step, f"{where}[]", known) for item in value.items]
                return Array(union(items) if items else DYN)
            case Fields():
                return self.fields(value, names, step, where, known)
            case _:
                return DYN

    def fields(self, value: Fields, names: Mapping[str, Shape], step: str, where: str, known: Facts | None) -> Object:
        """The shape of a map; an entry that may be left out is not required."""
        lead = f"{where}." if where else ""
        fields = {key: self.shape(entry, names, step, f"{lead}{key}", known) for key, entry in value.entries.items()}
        return Object(fields, frozenset(key for key, one in fields.items() if not isinstance(one, Maybe)))

    def code(self, value: Code, names: Mapping[str, Shape], step: str, where: str, known: Facts | None) -> Shape:
        """The shape of one expression."""
        made, findings = value.expression.check(names, known, suggest=self.suggests)
        for finding in findings:
            place = value.spot(finding.at, finding.width)
            self.complain(place, finding.message, hint=finding.hint, code=finding.code, severity=finding.severity)
        self.note(value, step, where)
        if self.seen is not None:
            self.seen(value)
        return made

    def note(self, value: Code, step: str, where: str) -> None:
        """Where what this expression reads goes."""
        for path in sorted(value.reads):
            parts = list(path)
            record = parts[0] == "steps" and len(parts) > 1
            source = parts[1] if record else parts[0]
            if source in self.steps and step:
                rest = ".".join(parts[2:] if record else parts[1:])
                decides = record or where == "if"
                flow = Flow(source, rest, step, where, "decision" if decides else "data")
                self.flows[flow] = None

    def in_text(self, value: Code, given: Shape) -> None:
        """What stands inside text has to have a text form."""
        place = value.spot(0, len(value.expression.text))
        if isinstance(given, Maybe):
            self.complain(place, "an optional value inside text", hint="end it with `.orValue(…)`")
            return
        alternatives = arms(given)
        plain = [arm for arm in alternatives if not isinstance(arm, Array | Object) and arm != NULL]
        if not plain:
            hint = "choose a field, or put items together with `.join(…)`" if alternatives[0] != NULL else ""
            self.complain(place, f"{say(given)} inside text", hint=hint)
        elif NULL in alternatives and not any(one.place == place for one in self.problems):
            path = path_of(value.expression.tree)
            hint = f"choose what to write then: `{value.expression.text} != null ? … : …`" if path is not None else ""
            self.complain(
                place, "this may be null, which is an error inside text", hint=hint, code="null", severity="warning"
            )

    def condition(self, value: Value, names: Mapping[str, Shape], step: str, key: str) -> Facts:
        """A value that has to be true or false; what holds when it is true."""
        given = self.shape(value, names, step, key)
        if isinstance(given, Maybe):
            self.complain(value.place, f"`{key}` is an optional value", hint="end it with `.orValue(false)`")
        elif mismatch(given, BOOL) is not None:
            hint = _as_condition(value, given)
            self.complain(value.place, f"`{key}` is a condition (bool), and this is {say(given)}", hint=hint)
        return facts(value.expression.tree, truth=True) if isinstance(value, Code) else {}


def _as_condition(value: Value, given: Shape) -> str:
    text = value.expression.text if isinstance(value, Code) and len(value.expression.text) < 40 else "…"
    match kind(given):
        case "string":
            return f'write `{text} != ""`'
        case "int" | "number":
            return f"write `{text} != 0`"
        case "list":
            return f"write `size({text}) > 0`"
        case _:
            return f"write `{text} != null`" if kind(given) in ("object", "union") else ""
