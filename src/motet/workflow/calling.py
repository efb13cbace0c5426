"""Calls against the catalog: is there such a server and tool, do the arguments fit it, may it be repeated.

A server that was never listed is told once, as a warning, and nothing of it is checked; one that is down is checked
against its last list. What is written out is held against all of a tool's schema; of the rest, the shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from motet.workflow.model import Place, PromptGet, Read, ReadTarget, Step, ToolCall, Value
from motet.workflow.reading import Reader
from motet.workflow.shapes import (
    DYN,
    NULL,
    STRING,
    Maybe,
    Object,
    Ref,
    Shape,
    Union,
    arms,
    mismatch,
    say,
    seen,
    shape,
)
from motet.workflow.values import Code, Fields, Fixed


@dataclass(frozen=True, slots=True)
class Effect:
    """What repeating a call of a tool would mean."""

    kind: Literal["reads", "repeatable", "keyed", "writes"]
    """`keyed`: it takes an idempotency key, which is filled in."""
    key: str = ""
    """The argument that carries the key."""


EffectOf: TypeAlias = Callable[[str, str], Effect]
"""`(server, tool)` -> its effect, by our own configuration."""


@dataclass(slots=True)
class Offered:
    """What servers offer, as one check needs it: each shape and each validator is made once."""

    catalog: Catalog
    effect: EffectOf | None
    """None: the servers' own hints are taken for it."""
    told: set[tuple[str, ...]] = field(default_factory=set["tuple[str, ...]"])
    accepts: dict[int, Shape] = field(default_factory=dict[int, Shape])
    gives: dict[int, Shape] = field(default_factory=dict[int, Shape])
    validators: dict[tuple[int, str], jsonschema_rs.Validator | None] = field(
        default_factory=dict["tuple[int, str]", "jsonschema_rs.Validator | None"]
    )

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

    def effect_of(self, call: ToolCall) -> Effect:
        """What repeating this call would mean."""
        if self.effect is not None:
            return self.effect(call.server, call.tool)
        part = self.catalog.servers.get(call.server)
        tool = None if part is None else part.tools.get(call.tool)
        if tool is None:
            return Effect("writes")
        hints = tool.annotations
        return Effect("reads" if hints.read_only else "repeatable" if hints.idempotent else "writes")


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


class Calls:
    """The calls of one file; its reader is told what is wrong with them."""

    def __init__(self, reader: Reader, offered: Offered) -> None:
        self.reader = reader
        self.offered = offered

    # -- servers and tools

    def server(self, name: str, place: Place) -> ServerCatalog | None:
        """A server that has been listed; None, and a problem told, when there is none."""
        if not name:
            return None
        part = self.offered.catalog.servers.get(name)
        if part is not None and part.known and part.stale is None:
            return part
        place = replace(place, end=min(place.end, place.start + len(name))) if place.end else place
        if part is None:
            hint = self.reader.near(name, self.offered.catalog.servers, 0.5) or _offers(
                self.offered.catalog.servers, "servers"
            )
            self.reader.complain(place, f"there is no server `{name}`", hint=hint, code="server")
            return None
        if not part.known:
            if self.offered.once("unknown", name):
                message = f"server `{name}` is not checked: {part.why_unknown()}"
                self.reader.warn(place, message, hint="what it offers has never been listed", code="unchecked")
            return None
        if part.stale is not None and self.offered.once("stale", name):
            listed = f" of {time_text(datetime.fromtimestamp(int(part.as_of), UTC))}" if part.as_of else ""
            self.reader.warn(
                place, f"server `{name}` is checked against its last list{listed}: {part.stale}", code="stale"
            )
        return part

    def tool(self, call: ToolCall) -> Tool | None:
        """The tool that is called; None, and a problem told, when it cannot be."""
        part = self.server(call.server, call.place)
        if part is None or not call.tool:
            return None
        tool = part.tools.get(call.tool)
        if tool is not None:
            return tool
        place = self.tail(call.place, call.server)
        left = next((one.reason for one in part.left_out if one.name == call.tool), None)
        if left is not None:
            self.reader.complain(
                place, f"tool `{call.tool}` of server `{part.name}` cannot be used: {left}", code="tool"
            )
        else:
            hint = self.reader.near(call.tool, part.tools, 0.5) or _offers(part.tools)
            self.reader.complain(place, f"server `{part.name}` has no tool `{call.tool}`", hint=hint, code="tool")
        return None

    def tail(self, place: Place, server: str) -> Place:
        """The part of an address behind its server's name."""
        skip = len(server) + 1
        if self.reader.source.text[place.start : place.start + 1] in ("'", '"'):
            skip += 1
        return self.reader.source.place(place.start + skip, place.end)

    def route(self, target: ReadTarget) -> None:
        """A literal address has to be somebody's."""
        if target.server is not None:
            self.server(target.server, target.uri.place)
            return
        if not isinstance(target.uri, Fixed) or not isinstance(target.uri.value, str):
            return
        try:
            self.offered.catalog.route(target.uri.value)
        except Ambiguous as error:
            self.reader.complain(target.uri.place, error.message, hint=error.hint, code="uri")
        except UnknownAddress as error:
            if all(part.known for part in self.offered.catalog.servers.values()):
                self.reader.complain(target.uri.place, error.message, hint=error.hint, code="uri")
            elif self.offered.once("uri", target.uri.value):
                self.reader.warn(target.uri.place, error.message, hint=error.hint, code="unchecked")

    def prompt(self, step: Step, prompt: PromptGet, names: Mapping[str, Shape], known: Facts) -> None:
        """A prompt has to be offered, and its arguments to fit."""
        given = self.reader.shape(prompt.arguments, names, step.name, "", known)
        part = self.server(prompt.server, prompt.place)
        if part is None or not prompt.name:
            return
        found = part.prompts.get(prompt.name)
        if found is None:
            hint = self.reader.near(prompt.name, part.prompts, 0.5) or _offers(part.prompts)
            self.reader.complain(
                self.tail(prompt.place, prompt.server),
                f"server `{part.name}` has no prompt `{prompt.name}`",
                hint=hint,
                code="tool",
            )
            return
        wanted = Object(
            dict.fromkeys(found.arguments, STRING), frozenset(name for name, must in found.arguments.items() if must)
        )
        self.fit(prompt.arguments, given, wanted, prompt.place, f"{prompt.server}.{prompt.name}")

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
        wanted = seen(self.offered.takes(tool))
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
                hint = self.reader.near(name, wanted.fields) or (
                    f"it takes {', '.join([*wanted.fields][:12])}" if wanted.fields else "it takes none"
                )
                self.reader.complain(
                    self.key(arguments, name, place), f"`{what}` has no argument `{name}`", hint=hint, code="argument"
                )
            elif why := mismatch(one, target):
                message, _, hint = why.partition("; ")
                self.reader.complain(
                    self.entry(arguments, name, place),
                    f"argument `{name}` of `{what}`: {message}",
                    hint=hint,
                    code="argument",
                )
            elif isinstance(one, Maybe | Union | Ref):
                self.doubts(
                    one, target, self.entry(arguments, name, place), name, what, required=name in wanted.required
                )
        for name in sorted(wanted.required - given.fields.keys()):
            kind = say(wanted.fields.get(name, DYN))
            near = self.reader.near(name, [one for one in given.fields if one not in wanted.fields])
            if not near or wanted.extra is not None:  # otherwise the misspelt one was told already
                self.reader.complain(place, f"`{what}` needs the argument `{name}` ({kind})", code="argument")

    def doubts(self, given: Shape, target: Shape, place: Place, name: str, what: str, *, required: bool) -> None:
        """What may fit and may not."""
        if isinstance(given, Maybe) and required:
            message = f"`{what}` needs the argument `{name}`, and this leaves it out when it is empty"
            self.reader.complain(place, message, hint="end it with `.orValue(…)`", code="argument")
            return
        alternatives = arms(given)
        if NULL in alternatives and len(alternatives) > 1 and mismatch(NULL, target) is not None:
            self.reader.warn(
                place,
                f"this may be null, and argument `{name}` of `{what}` cannot",
                hint="write `x != null ? x : …`",
                code="null",
            )

    def literals(self, arguments: Fields, given: Object, wanted: Object, tool: Tool) -> None:
        """What is written out is held against all of the schema: patterns, bounds, formats."""
        for name, value in arguments.entries.items():
            target = wanted.fields.get(name)
            if target is None or not value.constant or mismatch(given.fields[name], target) is not None:
                continue
            validator = self.offered.validator(tool, name)
            literal = value.evaluate({})
            if validator is None or validator.is_valid(literal):
                continue
            why = next(iter(validator.iter_errors(literal)), None)
            reason = "it does not fit the schema" if why is None else why.message.splitlines()[0][:200]
            self.reader.complain(value.place, f"argument `{name}` of `{tool.address}`: {reason}", code="argument")

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

    def unsafe(self, step: Step, call: ToolCall, tool: Tool | None, effect: Effect) -> None:
        """A write that cannot be repeated, and nothing says how to settle it when its answer is lost."""
        if tool is None or effect.kind != "writes" or step.reconcile is not None or step.idempotency_key is not None:
            return
        if tool.annotations.read_only:
            if self.offered.once("reads", tool.address):
                hint = f"if that is so, say it in the configuration: `retry.read_only` of `{call.server}`, or `trusted`"
                self.reader.warn(
                    call.place,
                    f"`{tool.address}` says that it only reads, and is not believed",
                    hint=hint,
                    code="unsafe",
                )
            return
        if step.undo is None:
            message = f"`{tool.address}` writes: when its answer is lost, nobody can say whether it acted"
            self.reader.warn(
                call.place, message, hint="declare `undo`, `reconcile` or `idempotency_key`", code="unsafe"
            )
        if step.on_error.mode == "call":
            message = "when the outcome is unknown, this fallback is not tried"
            place = step.on_error.call.place if step.on_error.call is not None else step.place
            self.reader.warn(place, message, hint="declare `reconcile`, which finds out", code="unsafe")

    def owners(self, read: Read) -> tuple[str, ...]:
        """The servers that a read goes to, as far as its addresses are literal."""
        found: list[str] = []
        for target in read.uris.values():
            if target.server is not None:
                found.append(target.server)
            elif isinstance(target.uri, Fixed) and isinstance(target.uri.value, str):
                try:
                    found.append(self.offered.catalog.route(target.uri.value))
                except (UnknownAddress, Ambiguous):
                    continue
        return tuple(dict.fromkeys(found))


def _offers(names: Mapping[str, object], what: str = "it has") -> str:
    shown = sorted(names)
    return f"{what}: {', '.join(shown[:8])}{', …' if len(shown) > 8 else ''}" if shown else "it has none"
