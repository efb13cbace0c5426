# ruff: noqa: D103 - what each function does stands in `library`, in the words of the reference page
"""How each function is worked out. `library` says what they are called, take and give.

A function takes the frame and its arguments. Anything that makes or looks through text, or makes items, is charged
to the frame before it is made. Failures are TypeError, ValueError, IndexError and OverflowError with a reason: the
caller adds the place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, TypeAlias, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import re2  # pyright: ignore[reportMissingTypeStubs] - it has none

from motet.calls import Json
from motet.workflow.expressions.runtime import (
    INT_MAX,
    INT_MIN,
    NONE,
    Frame,
    Optional,
    TypeName,
    duration_text,
    kind_of,
    number_text,
    same,
    time_text,
    type_of,
)

Run: TypeAlias = Callable[..., Json]
"""`(frame, *arguments)`; raises `Fault`, or ValueError, TypeError, IndexError and OverflowError with a reason."""

# -- text ------------------------------------------------------------------------------------------------------------


def _scan(frame: Frame, text: str) -> None:
    if len(text) > 64:
        frame.spend(len(text) >> 6, 0)


def contains(frame: Frame, text: str, part: str) -> bool:
    _scan(frame, text)
    return part in text


def starts_with(_: Frame, text: str, part: str) -> bool:
    return text.startswith(part)


def ends_with(_: Frame, text: str, part: str) -> bool:
    return text.endswith(part)


def index_of(frame: Frame, text: str, part: str, start: int = 0) -> int:
    _scan(frame, text)
    if not 0 <= start <= len(text):
        raise IndexError(f"{start} is outside the text, which has {len(text)} characters")
    return text.find(part, start)


def last_index_of(frame: Frame, text: str, part: str, start: int | None = None) -> int:
    _scan(frame, text)
    if start is None:
        return text.rfind(part)
    if not 0 <= start <= len(text):
        raise IndexError(f"{start} is outside the text, which has {len(text)} characters")
    return text.rfind(part, 0, start + len(part))


def substring(frame: Frame, text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise IndexError(f"{start} to {end} is outside the text, which has {len(text)} characters")
    _scan(frame, text)
    return text[start:end]


def char_at(_: Frame, text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise IndexError(f"{at} is outside the text, which has {len(text)} characters")
    return text[at : at + 1]


def split(frame: Frame, text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    _scan(frame, text)
    frame.spend(len(text) if separator == "" else text.count(separator), 0)
    if separator == "":
        if not text:
            return [""]
        return list(text) if limit < 0 or limit >= len(text) else [*text[: limit - 1], text[limit - 1 :]]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def replace(frame: Frame, text: str, old: str, new: str, limit: int = -1) -> str:
    times = text.count(old) if limit < 0 else min(limit, text.count(old))
    frame.spend((len(text) + times * len(new)) >> 6, 0)
    return text.replace(old, new, limit)


def join(frame: Frame, parts: list[Json], separator: str = "") -> str:
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f"joins strings, and found {kind_of(part)}; write `.map(x, string(x))` first")
    frame.spend((sum(len(part) + len(separator) for part in parts) >> 6) + len(parts) // 8, 0)
    return separator.join(parts)


LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


def charged(made: Callable[[str], str]) -> Run:
    def run(frame: Frame, text: str) -> str:
        _scan(frame, text)
        return made(text)

    return run


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Callable[[str], object]:
    engine: Any = re2
    options = engine.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return engine.compile(pattern, options).search
    except engine.error as error:
        why: object = error.args[0] if error.args else "unknown"
        raise ValueError(f"not a pattern: {why.decode() if isinstance(why, bytes) else why}") from None


def matches(frame: Frame, text: str, pattern: str) -> bool:
    if len(pattern) > 1000:
        raise ValueError("the pattern has more than 1,000 characters")
    frame.spend(16 + len(pattern) + (len(text) >> 4), 0)
    return _pattern(pattern)(text) is not None


_DIRECTIVE = re.compile(r"%(?:\.(\d{1,4}))?([sdfexXob%])|%")


def format_text(frame: Frame, text: str, values: list[Json]) -> str:
    left = iter(values)

    def filled(found: re.Match[str]) -> str:
        letter = found[2]
        if letter is None:
            raise ValueError("after `%` comes one of s d f e x X o b %")
        if letter == "%":
            return "%"
        try:
            value = next(left)
        except StopIteration:
            raise ValueError(f"there are more places than the {len(values)} values given") from None
        made = _formatted(frame, letter, value, int(found[1]) if found[1] else None)
        frame.spend(len(made) >> 6, 0)
        return made

    _scan(frame, text)
    frame.spend(text.count("%"), 0)
    return _DIRECTIVE.sub(filled, text)


def _formatted(frame: Frame, letter: str, value: Json, digits: int | None) -> str:
    if letter == "s":
        return _shown(frame, value, 0)
    if letter in "fe":
        if type(value) not in (int, float):
            raise TypeError(f"`%{letter}` takes a number, not {kind_of(value)}")
        if not math.isfinite(value):
            return number_text(value)
        return f"{value:.{6 if digits is None else min(digits, 100)}{letter}}"
    if letter in "xX" and type(value) is str:
        made = value.encode().hex()
        return made if letter == "x" else made.upper()
    if letter == "b" and type(value) is bool:
        return "1" if value else "0"
    if letter == "d" and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise TypeError(f"`%{letter}` takes an integer, not {kind_of(value)}")
    return f"{value:{letter}}"


def _shown(frame: Frame, value: Json, depth: int) -> str:
    if depth > 20:
        raise ValueError("the value is nested too deeply")
    match value:
        case list():
            items = cast("list[Json]", value)
            frame.spend(len(items), 0)
            return "[" + ", ".join(_shown(frame, item, depth + 1) for item in items) + "]"
        case dict():
            fields = cast("dict[str, Json]", value)
            frame.spend(len(fields), 0)
            return "{" + ", ".join(f"{key}: {_shown(frame, fields[key], depth + 1)}" for key in sorted(fields)) + "}"
        case None:
            return "null"
        case _:
            made = to_string(frame, value)
            frame.spend(len(made) >> 6, 0)
            return made


# -- conversion --------------------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"[-+]?[0-9]{1,20}\Z", re.ASCII)
_DECIMAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,4})?\Z", re.ASCII)
_TRUTHS = {"true": True, "True": True, "TRUE": True, "t": True, "1": True}
_FALSEHOODS = {"false": False, "False": False, "FALSE": False, "f": False, "0": False}


def to_string(_: Frame, value: Json) -> str:
    match value:
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
        case str():
            return str(value)
        case _:
            raise TypeError(f"{kind_of(value)} has no text form")


def to_int(_: Frame, value: Json) -> int:
    match value:
        case int():
            made = int(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{number_text(value)} is not an integer")
            made = int(value)
        case str():
            if not _INTEGER.match(value):
                raise ValueError(f'"{value[:40]}" is not an integer')
            made = int(value)
        case datetime():
            made = (value - _EPOCH) // timedelta(seconds=1)
        case _:
            raise TypeError(f"{kind_of(value)} cannot become an integer")
    if not INT_MIN <= made <= INT_MAX:
        raise OverflowError("the integer does not fit 64 bits")
    return made


def to_double(_: Frame, value: Json) -> float:
    match value:
        case bool():
            raise TypeError("bool is not a number; write `x ? 1.0 : 0.0`")
        case int() | float():
            return float(value)
        case str():
            if len(value) > 400 or not _DECIMAL.match(value):
                raise ValueError(f'"{value[:40]}" is not a number')
            return float(value)
        case _:
            raise TypeError(f"{kind_of(value)} cannot become a number")


def to_bool(_: Frame, value: Json) -> bool:
    if type(value) is bool:
        return value
    if type(value) is not str:
        raise TypeError(f"{kind_of(value)} cannot become a bool")
    found = _TRUTHS.get(value, _FALSEHOODS.get(value))
    if found is None:
        raise ValueError(f'"{value[:40]}" is neither "true" nor "false"')
    return found


# -- times -----------------------------------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[-+]\d\d:\d\d)\Z", re.ASCII)
_SPAN = re.compile(r"([-+]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ms|us|µs|ns|[dhms]))+\Z", re.ASCII)
_SPAN_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|us|µs|ns|[dhms])", re.ASCII)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
MOST_SECONDS = 315_576_000_000.0
"""The longest duration, about 10,000 years: CEL's bound."""


def seconds_of(text: str) -> float | None:
    """The seconds a duration text means (`90s`, `1h30m`, `500ms`, `1d`), or None when it is none."""
    if len(text) > 100 or not _SPAN.match(text):
        return None
    total = sum(float(amount) * _UNITS[unit] for amount, unit in _SPAN_PART.findall(text))
    return -total if text[0] == "-" else total


def to_duration(_: Frame, value: Json) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if type(value) is not str:
        raise TypeError(f"{kind_of(value)} cannot become a duration")
    if value == "0":
        return timedelta()
    total = seconds_of(value)
    if total is None or abs(total) > MOST_SECONDS:
        raise ValueError(f'"{value[:40]}" is not a duration; write one like "90s", "1h30m" or "1d"')
    return timedelta(seconds=total)


def to_timestamp(_: Frame, value: Json) -> datetime:
    match value:
        case datetime():
            return value
        case bool():
            raise TypeError("bool cannot become a timestamp")
        case int():
            return _EPOCH + timedelta(seconds=value)
        case str():
            if not _INSTANT.match(value):
                raise ValueError(f'"{value[:40]}" is not an instant; write one like "2026-11-22T10:00:00Z"')
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        case _:
            raise TypeError(f"{kind_of(value)} cannot become a timestamp")


_OFFSET = re.compile(r"([-+]?)(\d\d):(\d\d)\Z", re.ASCII)


def _local(value: datetime, zone: str) -> datetime:
    if zone in ("UTC", "Z", ""):
        return value.astimezone(UTC)
    if found := _OFFSET.match(zone):
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return value.astimezone(timezone(-offset if found[1] == "-" else offset))
    try:
        return value.astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'"{zone[:40]}" is no time zone; write one like "Europe/Berlin" or "+02:00"') from None


def part_of(of_instant: Callable[[datetime], int], of_span: Callable[[timedelta], int] | None = None) -> Run:
    def run(_: Frame, value: Json, zone: str = "UTC") -> int:
        if isinstance(value, timedelta) and of_span is not None:
            return of_span(value)
        if not isinstance(value, datetime):
            raise TypeError(f"not for {kind_of(value)}")
        return of_instant(_local(value, zone))

    return run


def whole_units(value: timedelta, unit: timedelta) -> int:
    return value // unit if value >= timedelta() else -(-value // unit)


# -- lists -----------------------------------------------------------------------------------------------------------


def size_of(_: Frame, value: Json) -> int:
    if not isinstance(value, str | list | dict):
        raise TypeError(f"{kind_of(value)} has no size")
    return len(cast("list[Json]", value))


def sort_items(frame: Frame, items: list[Json]) -> list[Json]:
    return [item for _, item in sort_pairs(frame, [(item, item) for item in items])]


def sort_pairs(frame: Frame, pairs: list[tuple[Json, Json]]) -> list[tuple[Json, Json]]:
    """The pairs in the order of their first parts, which must be of one kind that can be compared."""
    kinds = {"number" if type(key) in (int, float) else kind_of(key) for key, _ in pairs}
    if len(kinds) > 1:
        raise TypeError(f"cannot sort {' and '.join(sorted(kinds))} together")
    if not kinds <= {"number", "string", "bool", "timestamp", "duration"}:
        raise TypeError(f"cannot sort values of kind {kinds.pop()}; use `.sortBy(x, x.field)`")
    weight = sum(len(key) >> 6 for key, _ in pairs if type(key) is str)
    frame.spend((len(pairs) + weight) * max(1, len(pairs).bit_length() // 4), 0)
    return sorted(pairs, key=lambda pair: pair[0])


def distinct(frame: Frame, items: list[Json]) -> list[Json]:
    plain: set[tuple[str, Json]] = set()
    others: list[Json] = []
    made: list[Json] = []
    frame.spend(len(items), 0)
    for item in items:
        if isinstance(item, list | dict):
            frame.spend(len(others), 0)
            if any(same(item, other, frame, 0) for other in others):
                continue
            others.append(item)
        else:
            key = ("number" if type(item) in (int, float) else kind_of(item), item)
            if key in plain:
                continue
            plain.add(key)
        made.append(item)
    return made


def flatten(frame: Frame, items: list[Json], depth: int = 1) -> list[Json]:
    if depth < 0:
        raise ValueError("the depth is negative")
    made = items
    for _ in range(min(depth, 50)):
        if not any(isinstance(item, list) for item in made):
            break
        total = sum(len(cast("list[Json]", item)) if isinstance(item, list) else 1 for item in made)
        frame.spend(total + len(made), 0)
        made = [one for item in made for one in (cast("list[Json]", item) if isinstance(item, list) else [item])]
    return made


def slice_of(frame: Frame, items: list[Json], start: int, end: int) -> list[Json]:
    if not 0 <= start <= end <= len(items):
        raise IndexError(f"{start} to {end} is outside the list, which has {len(items)} items")
    frame.spend(end - start, 0)
    return items[start:end]


def reverse(frame: Frame, value: Json) -> Json:
    frame.spend(len(value) >> 6 if isinstance(value, str) else len(value), 0)
    return value[::-1]


def range_list(frame: Frame, count: int) -> list[int]:
    frame.spend(max(count, 0), 0)
    return list(range(count))


def first_of(_: Frame, items: list[Json]) -> Optional:
    return Optional(items[0]) if items else NONE


def last_of(_: Frame, items: list[Json]) -> Optional:
    return Optional(items[-1]) if items else NONE


# -- numbers ---------------------------------------------------------------------------------------------------------


def extreme(choose: Callable[[list[Json]], Json]) -> Run:
    def run(_: Frame, *given: Json) -> Json:
        values = cast("list[Json]", given[0]) if len(given) == 1 and isinstance(given[0], list) else list(given)
        if not values:
            raise ValueError("the list is empty")
        for value in values:
            if type(value) not in (int, float):
                raise TypeError(f"compares numbers, and found {kind_of(value)}")
        return choose(values)

    return run


def rounded(made: Callable[[float], float]) -> Run:
    def run(_: Frame, value: float) -> float:
        return value if not math.isfinite(value) else float(made(value))

    return run


def half_away(value: float) -> float:
    whole = math.floor(abs(value))
    return math.copysign(whole + (abs(value) - whole >= 0.5), value)


def absolute(_: Frame, value: float) -> float:
    if value == INT_MIN and type(value) is int:
        raise OverflowError("the integer does not fit 64 bits")
    return abs(value)


def sign_of(_: Frame, value: float) -> float:
    return type(value)((value > 0) - (value < 0))


# -- optionals -------------------------------------------------------------------------------------------------------


def type_name(_: Frame, value: object) -> TypeName:
    return type_of(value)


def itself(_: Frame, value: Json) -> Json:
    return value


def some(_: Frame, value: Json) -> Optional:
    return Optional(value)


def nothing(_: Frame) -> Optional:
    return NONE


def has_value(_: Frame, value: Optional) -> bool:
    return value.present


def greatest(values: list[Json]) -> Json:
    return max(values)


def least(values: list[Json]) -> Json:
    return min(values)


def or_value(_: Frame, value: Json, default: Json) -> Json:
    return (value.value if value.present else default) if isinstance(value, Optional) else value


def or_other(_: Frame, value: Optional, other: Json) -> Json:
    return value if value.present else other


def value_of(_: Frame, value: Optional) -> Json:
    if not value.present:
        raise ValueError("the optional is empty")
    return value.value


def of_nonzero(_: Frame, value: Json) -> Optional:
    empty = value is None or value is False or (isinstance(value, int | float | str | list | dict) and not value)
    return NONE if empty or value == timedelta() else Optional(value)
