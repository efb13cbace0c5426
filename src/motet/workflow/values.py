"""What stands where data goes: plain JSON, text with `${{ }}` in it, one whole expression, lists and maps of these.

Each knows where it is written. Evaluated once: what an expression gives is data, also when it holds `${{`. All
expressions of one value share one budget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from motet.calls import Json
from motet.workflow.document import Node, offsets
from motet.workflow.expressions.expression import Expression
from motet.workflow.expressions.runtime import NONE, Fault, Frame, Missing, Optional, as_text
from motet.workflow.expressions.tree import Mistake
from motet.workflow.model import Absent, ExpressionError, Place, Scope
from motet.workflow.problems import Problem, Source

_NOTHING: frozenset[tuple[str, ...]] = frozenset()


class Written:
    """What every value shares: where it is written, and evaluation from a scope."""

    __slots__ = ("node", "source")

    reads: frozenset[tuple[str, ...]] = _NOTHING
    slots: int = 0
    constant: bool = False

    def __init__(self, source: Source, node: Node) -> None:
        self.source = source
        self.node = node

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.source.place(self.node.start, self.node.end)

    def evaluate(self, scope: Scope) -> Json:
        """The JSON it comes to. Raises `Absent` or `ExpressionError`, with the place."""
        value = self.made(Frame(scope, slots=self.slots))
        if value is NONE:
            raise ExpressionError("an empty optional is no value here: end it with `.orValue(…)`", self.place)
        return value

    def made(self, frame: Frame) -> Json:
        """The same within a frame that others share; `NONE` for an empty optional."""
        raise NotImplementedError


class Fixed(Written):
    """Plain JSON."""

    __slots__ = ("constant", "value")

    def __init__(self, source: Source, node: Node, value: Json) -> None:
        super().__init__(source, node)
        self.value = value
        self.constant = True

    def made(self, frame: Frame) -> Json:  # noqa: ARG002 - the protocol's
        """The value."""
        return self.value


class Unusable(Written):
    """What could not be read; its problem is told elsewhere, and nobody complains of it twice."""

    __slots__ = ()

    def made(self, frame: Frame) -> Json:  # noqa: ARG002 - the protocol's
        """Raises `ExpressionError`."""
        raise ExpressionError("this could not be read", self.place)


class Code(Written):
    """One expression, at `begin` of its node's text; the value keeps its type."""

    __slots__ = ("begin", "expression", "reads", "slots")

    def __init__(self, source: Source, node: Node, expression: Expression, begin: int) -> None:
        super().__init__(source, node)
        self.expression = expression
        self.begin = begin
        self.reads = expression.reads
        self.slots = expression.slots

    def spot(self, at: int, width: int = 1) -> Place:
        """The place of something within the expression."""
        return spot(self.source, self.node, self.begin + at, width)

    def made(self, frame: Frame) -> Json:
        """The expression's value."""
        try:
            value = self.expression.value(frame) if self.expression.passes else self.result(frame)
        except Fault as fault:
            raise self.failed(fault) from None
        return value

    def result(self, frame: Frame) -> Json:
        """Like `made`, with an empty optional left as it is."""
        value = self.expression.run(frame)
        if isinstance(value, Optional) and not value.present:
            return NONE
        return self.expression.finished(value, frame)

    def text(self, frame: Frame) -> str:
        """How it stands inside text."""
        try:
            made = as_text(self.expression.run(frame), 0)
            frame.spend(len(made) >> 6, 0)
        except Fault as fault:
            raise self.failed(fault) from None
        return made

    def failed(self, fault: Fault) -> ExpressionError:
        """The fault with its place in the file."""
        place = self.spot(fault.at)
        return Absent(fault.name, place) if isinstance(fault, Missing) else ExpressionError(fault.message, place)


class Text(Written):
    """Text with expressions in it."""

    __slots__ = ("parts", "reads", "slots")

    def __init__(self, source: Source, node: Node, parts: list[str | Code]) -> None:
        super().__init__(source, node)
        self.parts = parts
        self.reads = _NOTHING.union(*(part.reads for part in parts if isinstance(part, Code)))
        self.slots = max((part.slots for part in parts if isinstance(part, Code)), default=0)

    def made(self, frame: Frame) -> str:
        """The text."""
        return "".join([part if isinstance(part, str) else part.text(frame) for part in self.parts])


class Many(Written):
    """A list."""

    __slots__ = ("constant", "items", "reads", "slots")

    def __init__(self, source: Source, node: Node, items: list[AnyValue]) -> None:
        super().__init__(source, node)
        self.items = items
        self.constant = all(item.constant for item in items)
        self.reads = _NOTHING.union(*(item.reads for item in items))
        self.slots = max((item.slots for item in items), default=0)

    def made(self, frame: Frame) -> list[Json]:
        """The items."""
        values: list[Json] = []
        for item in self.items:
            value = item.made(frame)
            if value is NONE:
                raise ExpressionError("an empty optional cannot be an item: end it with `.orValue(…)`", item.place)
            values.append(value)
        return values


class Fields(Written):
    """A map; an entry that comes to an empty optional is left out. `keys` are the nodes of the keys."""

    __slots__ = ("constant", "entries", "keys", "reads", "slots")

    def __init__(self, source: Source, node: Node, keys: Mapping[str, Node], entries: Mapping[str, AnyValue]) -> None:
        super().__init__(source, node)
        self.keys = keys
        self.entries = entries
        self.constant = all(entry.constant for entry in entries.values())
        self.reads = _NOTHING.union(*(entry.reads for entry in entries.values()))
        self.slots = max((entry.slots for entry in entries.values()), default=0)

    def made(self, frame: Frame) -> dict[str, Json]:
        """The map."""
        values: dict[str, Json] = {}
        for key, entry in self.entries.items():
            value = entry.made(frame)
            if value is not NONE:
                values[key] = value
        return values


AnyValue: TypeAlias = Fixed | Unusable | Code | Text | Many | Fields


def spot(source: Source, node: Node, at: int, width: int = 1) -> Place:
    """The place of a stretch of a text node's value in the file."""
    if not isinstance(node.value, str):
        return source.place(node.start, node.end)
    where = offsets(node, source)
    last = len(where) - 1
    start = where[min(max(at, 0), last)]
    end = where[min(max(at + width, 0), last)]
    return source.place(start, max(end, start + 1))


@dataclass(frozen=True, slots=True)
class Span:
    """`${{ … }}` in a text: `start` and `end` are what stands between the marks."""

    start: int
    end: int

    @property
    def first(self) -> int:
        """Where the opening mark begins."""
        return self.start - 3

    @property
    def last(self) -> int:
        """Where the closing mark ends."""
        return self.end + 2


def spans(text: str) -> Iterator[Span | int]:
    """Every expression of a text: up to the first `}}` outside strings and braces; an int where one never ends."""
    at = text.find("${{")
    while at >= 0:
        end = _closing(text, at + 3)
        if end is None:
            yield at
            return
        yield Span(at + 3, end)
        at = text.find("${{", end + 2)


_MARKS = re.compile(r"'''|\"\"\"|[\"'{}]")
_ENDS = {mark: re.compile(rf"(?:[^\\]|\\.)*?{mark}", re.DOTALL) for mark in ("'", '"', "'''", '"""')}


def _closing(text: str, at: int) -> int | None:
    """Where the `}}` stands that closes an expression."""
    depth = 0
    while (found := _MARKS.search(text, at)) is not None:
        mark, at = found[0], found.end()
        if mark == "{":
            depth += 1
        elif mark != "}":
            end = _ENDS[mark].match(text, at)
            if end is None:
                return None
            at = end.end()
        elif depth:
            depth -= 1
        elif text.startswith("}", at):
            return at - 1
    return None


class Compiler:
    """Nodes -> values; what is wrong goes to `problems`."""

    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems

    def value(self, node: Node) -> AnyValue:
        """Anything that may stand where data goes."""
        match node.value:
            case dict(fields):
                return self.fields(node, fields)
            case list(items):
                return Many(self.source, node, [self.value(item) for item in items])
            case str(text) if "${{" in text:
                return self.template(node, text)
            case scalar:
                return Fixed(self.source, node, scalar)

    def fields(self, node: Node, fields: dict[str, tuple[Node, Node]]) -> AnyValue:
        """A map, kept as one also when nothing in it is an expression: its keys have places."""
        for name, (key, _) in fields.items():
            if "${{" in name:
                self.complain(
                    key, "a key cannot hold an expression", "put the map together in one: `${{ {inputs.key: value} }}`"
                )
        entries = {name: self.value(one) for name, (_, one) in fields.items()}
        return Fields(self.source, node, {name: key for name, (key, _) in fields.items()}, entries)

    def template(self, node: Node, text: str) -> AnyValue:
        """Text that holds `${{`: one whole expression, or text with expressions in it."""
        parts: list[str | Code | Unusable] = []
        last = 0
        for span in spans(text):
            if isinstance(span, int):
                self.unclosed(node, text, span)
                return Unusable(self.source, node)
            parts += [text[last : span.first], self.code(node, text[span.start : span.end], span.start)]
            last = span.last
        tail = text[last:].rstrip("\n") if node.style in ("literal", "folded") and len(parts) == 2 else text[last:]
        if len(parts) == 2 and parts[0] == "" and tail == "":
            return cast("Code | Unusable", parts[1])
        if any(isinstance(part, Unusable) for part in parts):
            return Unusable(self.source, node)
        return Text(self.source, node, [part for part in (*cast("list[str | Code]", parts), text[last:]) if part != ""])

    def unclosed(self, node: Node, text: str, at: int) -> None:
        """`${{` without its end: perhaps a string in it is not closed."""
        quotes = [char for char in "'\"" if text.count(char, at) % 2]
        hint = f"a string is not closed: {quotes[0]}" if quotes and "}}" in text[at:] else "close it with `}}`"
        place = spot(self.source, node, at, 3)
        self.problems.append(
            self.source.problem("`${{` without `}}`", place.start, place.end, hint=hint, code="syntax")
        )

    def code(self, node: Node, text: str, begin: int) -> Code | Unusable:
        """One expression, `begin` characters into its node's text."""
        lead = len(text) - len(text.lstrip())
        try:
            return Code(self.source, node, Expression.parse(text.strip()), begin + lead)
        except Mistake as mistake:
            place = spot(self.source, node, begin + lead + mistake.at, mistake.width)
            self.problems.append(
                self.source.problem(mistake.message, place.start, place.end, hint=mistake.hint, code=mistake.code)
            )
            return Unusable(self.source, node)

    def condition(self, node: Node, key: str) -> AnyValue:
        """A place that takes one expression, with or without `${{ }}`."""
        if not isinstance(node.value, str):
            return self.value(node)
        text = node.value
        found = list(spans(text))
        if not found:
            return self.code(node, text, 0)
        first = found[0]
        if len(found) == 1 and isinstance(first, Span) and not (text[: first.first] + text[first.last :]).strip():
            return self.code(node, text[first.start : first.end], first.start)
        if isinstance(first, int):
            self.unclosed(node, text, first)
            return Unusable(self.source, node)
        bare = " ".join(text.replace("${{", " ").replace("}}", " ").split())
        shown = f"write `${{{{ {bare} }}}}`" if len(bare) <= 120 else "put all of it in one `${{ }}`"
        self.complain(node, f"`{key}` is one expression, and this is text with expressions in it", shown)
        return Unusable(self.source, node)

    def complain(self, node: Node, message: str, hint: str = "", code: str = "syntax") -> None:
        """Note a problem with a whole node."""
        self.problems.append(self.source.problem(message, node.start, node.end, hint=hint, code=code))
