"""What evaluation works with: values, faults, and the budget.

Values are plain JSON, `datetime` (a timestamp), `timedelta` (a duration), `TypeName` and `Optional`. An expression
may spend so many units and no more: one per loop turn and item made, one per 64 characters made or looked through,
and the size of a loop's body on each of its turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeGuard

from motet.calls import Json

BUDGET = 300_000
"""Units one value may spend: well under a second of work, and at most 19 million characters made."""
INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


class Fault(Exception):
    """Evaluation failed at offset `at` of the expression."""

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class Missing(Fault):
    """Evaluation needs data that is absent."""

    def __init__(self, name: str, at: int) -> None:
        super().__init__(f"no data for `{name}`", at)
        self.name = name


class Spent(Fault):
    """The budget is used up. Nothing absorbs this one."""


class TypeName(str):
    """What `type(x)` gives."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Optional:
    """CEL's optional: a value or none."""

    value: Json = None
    present: bool = True


NONE = Optional(None, present=False)


class Frame:
    """One evaluation: the names in scope, the items of running loops, and what is left of the budget."""

    __slots__ = ("left", "scope", "slots")

    def __init__(self, scope: Mapping[str, Json], *, slots: int = 0, budget: int = BUDGET) -> None:
        self.scope = scope
        self.slots: list[Json] = [None] * slots
        self.left = budget

    def spend(self, units: int, at: int) -> None:
        """Charge the budget. Raises `Spent`."""
        self.left -= units
        if self.left < 0:
            raise Spent("the expression does too much: it used up its budget of turns and characters", at)


Run: TypeAlias = Callable[[Frame], Json]
"""One node made executable. Raises `Fault`."""

_KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "number",
    str: "string",
    list: "list",
    dict: "object",
    datetime: "timestamp",
    timedelta: "duration",
    type(None): "null",
    TypeName: "type",
    Optional: "optional",
}
_TYPE_OF: dict[type, TypeName] = {
    bool: TypeName("bool"),
    int: TypeName("int"),
    float: TypeName("double"),
    str: TypeName("string"),
    list: TypeName("list"),
    dict: TypeName("map"),
    datetime: TypeName("google.protobuf.Timestamp"),
    timedelta: TypeName("google.protobuf.Duration"),
    type(None): TypeName("null_type"),
    TypeName: TypeName("type"),
    Optional: TypeName("optional_type"),
}


def kind_of(value: object) -> str:
    """Its kind, in the words of messages."""
    return _KINDS.get(type(value), type(value).__name__)


def type_of(value: object) -> TypeName:
    """Its type, in CEL's words."""
    return _TYPE_OF.get(type(value), TypeName("dyn"))


def is_list(value: object) -> TypeGuard[list[Json]]:
    """Is it a list?"""
    return isinstance(value, list)


def is_map(value: object) -> TypeGuard[dict[str, Json]]:
    """Is it a map?"""
    return isinstance(value, dict)


def truth(value: Json, at: int) -> bool:
    """The value, which has to be a condition."""
    if value is True or value is False:
        return value
    raise Fault(f"expected a condition (bool), got {kind_of(value)}", at)


def same(left: Json, right: Json, frame: Frame, at: int, depth: int = 0) -> bool:
    """CEL's equality: numbers by value, anything else only with its own kind. Charges what it looks through."""
    kind = left.__class__
    if kind is not right.__class__:
        return kind in _NUMBERS and right.__class__ in _NUMBERS and left == right
    if kind is str:
        if len(left) > 64:
            frame.spend(len(left) >> 6, at)
        return left == right
    if kind is not list and kind is not dict:
        return left == right
    if len(left) != len(right):
        return False
    frame.spend(len(left), at)
    if depth > 200:
        raise Fault("the values are nested too deeply to compare", at)
    if kind is list:
        return all(same(one, two, frame, at, depth + 1) for one, two in zip(left, right, strict=True))
    return all(key in right and same(one, right[key], frame, at, depth + 1) for key, one in left.items())


_NUMBERS = frozenset((int, float))


def number_text(value: float) -> str:
    """A number as JSON writes it; an integral one as an integer."""
    if not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return str(int(value)) if value.is_integer() and abs(value) <= 1 << 53 else repr(value)


def time_text(value: datetime) -> str:
    """RFC 3339 in UTC."""
    instant = value.astimezone(UTC)
    tail = _decimals(instant.microsecond)
    return f"{instant.year:04d}-{instant:%m-%dT%H:%M:%S}{tail}Z"


def _decimals(micros: int) -> str:
    """In groups of three, as protobuf's JSON has them."""
    return "" if not micros else f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}"


def duration_text(value: timedelta) -> str:
    """Seconds, as CEL writes durations: `90s`, `1.500s`."""
    micros = value // timedelta(microseconds=1)
    whole, part = divmod(abs(micros), 1_000_000)
    tail = _decimals(part)
    return f"{'-' if micros < 0 else ''}{whole}{tail}s"


def as_text(value: Json, at: int) -> str:
    """How a value stands inside text: strings as they are, numbers and bools as JSON, times as ISO; else a `Fault`."""
    match value:
        case TypeName() | str():
            return str(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return number_text(value)
        case datetime():
            return time_text(value)
        case timedelta():
            return duration_text(value)
        case None:
            raise Fault("null inside text", at)
        case Optional():
            raise Fault("an optional value inside text: end it with `.orValue(…)`", at)
        case _:
            raise Fault(
                f"{'a list' if isinstance(value, list) else 'an object'} inside text: choose a field, or `.join(…)`", at
            )


def plain(value: Json, frame: Frame, at: int = 0, depth: int = 0) -> Json:
    """The JSON of a value that was made: integral doubles become integers, times text. Charges its size."""
    match value:
        case None | bool() | int():
            return value
        case str():
            if len(value) > 64:
                frame.spend(len(value) >> 6, at)
            return str(value)
        case float():
            return _plain_number(value, at)
        case datetime():
            return time_text(value)
        case timedelta():
            return duration_text(value)
        case Optional():
            if value.present and depth < 2:
                return plain(value.value, frame, at, depth + 1)
            raise Fault("an empty optional is no value: end it with `.orValue(…)`", at)
        case _:
            return _plain_many(value, frame, at, depth)


def _plain_number(value: float, at: int) -> Json:
    if not math.isfinite(value):
        raise Fault(f"{number_text(value)} is not a JSON number", at)
    return int(value) if value.is_integer() else value


def _plain_many(value: Json, frame: Frame, at: int, depth: int) -> Json:
    frame.spend(1 + len(value), at)
    if depth > 200:
        raise Fault("the value is nested too deeply", at)
    if is_map(value):
        return {key: plain(item, frame, at, depth + 1) for key, item in value.items()}
    return [plain(item, frame, at, depth + 1) for item in value]
