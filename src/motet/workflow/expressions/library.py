# ruff: noqa: E501 - one function, one line: the table is read down its columns
"""The functions of the language, as one table: what each is called, takes and gives, and an example that runs.

The table drives the checker, the evaluator and the reference page. Names and meanings are CEL's: cel-spec's
standard functions, and the string, math, list and optional extensions of cel-go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from motet.calls import Json
from motet.workflow.expressions.functions import (
    LOWER,
    UPPER,
    Run,
    absolute,
    char_at,
    charged,
    contains,
    distinct,
    ends_with,
    extreme,
    first_of,
    flatten,
    format_text,
    greatest,
    half_away,
    has_value,
    index_of,
    itself,
    join,
    last_index_of,
    last_of,
    least,
    matches,
    nothing,
    of_nonzero,
    or_other,
    or_value,
    part_of,
    range_list,
    replace,
    reverse,
    rounded,
    sign_of,
    size_of,
    slice_of,
    some,
    sort_items,
    split,
    starts_with,
    substring,
    to_bool,
    to_double,
    to_duration,
    to_int,
    to_string,
    to_timestamp,
    type_name,
    value_of,
    whole_units,
)
from motet.workflow.shapes import (
    BOOL,
    DURATION,
    DYN,
    INT,
    LIST,
    MAP,
    NUMBER,
    STRING,
    TIMESTAMP,
    TYPE,
    Array,
    Dyn,
    Maybe,
    Shape,
    arms,
    seen,
    union,
)

Gives: TypeAlias = Callable[[Sequence[Shape]], Shape]
"""The result's shape from those of the arguments (a method's owner first)."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function or method, in one of its forms."""

    name: str
    takes: tuple[Shape, ...]
    """A method's owner first."""
    gives: Shape | Gives
    run: Run
    example: str
    """An expression without names …"""
    result: Json
    """… and what it comes to."""
    about: str
    method: bool = True
    may_take: tuple[Shape, ...] = ()
    """Further arguments that may be left out."""
    group: str = "text"


# -- shapes of results -----------------------------------------------------------------------------------------------


def _item(given: Shape) -> Shape:
    return union(arm.item if isinstance(arm, Array) else DYN for arm in arms(given))


def _same_list(given: Sequence[Shape]) -> Shape:
    return Array(_item(given[0]))


def _maybe_item(given: Sequence[Shape]) -> Shape:
    return Maybe(_item(given[0]))


def _flat(given: Sequence[Shape]) -> Shape:
    if len(given) > 1:
        return LIST
    inner = arms(_item(given[0]))
    return Array(union(arm.item if isinstance(arm, Array) else arm for arm in inner))


def _same(given: Sequence[Shape]) -> Shape:
    return given[0]


def _number(given: Sequence[Shape]) -> Shape:
    parts = [_item(one) if isinstance(seen(one), Array) else one for one in given]
    return union(seen(part) if isinstance(seen(part), Dyn) else _wide(part) for part in parts)


def _wide(given: Shape) -> Shape:
    """Without the literals: what is computed from them is none of them."""
    return union({"int": INT, "number": NUMBER}.get(getattr(arm, "name", ""), DYN) for arm in arms(given))


def _optional_or(given: Sequence[Shape]) -> Shape:
    owner = given[0].of if isinstance(given[0], Maybe) else given[0]
    return union([owner, given[1]]) if len(given) > 1 else owner


def _optional_value(given: Sequence[Shape]) -> Shape:
    return given[0].of if isinstance(given[0], Maybe) else DYN


def _optional_of(given: Sequence[Shape]) -> Shape:
    return Maybe(given[0])


_NUMERIC = union([INT, NUMBER])
_MAYBE = Maybe(DYN)
_TIMES = union([TIMESTAMP, DURATION])


def _text(
    name: str, about: str, run: Run, takes: tuple[Shape, ...], gives: Shape, example: str, result: Json, *more: Shape
) -> Function:
    return Function(name, (STRING, *takes), gives, run, example, result, about, may_take=more)


def _plain_function(
    name: str,
    about: str,
    run: Run,
    takes: tuple[Shape, ...],
    gives: Shape | Gives,
    example: str,
    result: Json,
    group: str,
) -> Function:
    return Function(name, takes, gives, run, example, result, about, method=False, group=group)


def _list(
    name: str,
    about: str,
    run: Run,
    takes: tuple[Shape, ...],
    gives: Shape | Gives,
    example: str,
    result: Json,
    *more: Shape,
) -> Function:
    return Function(name, (LIST, *takes), gives, run, example, result, about, may_take=more, group="lists")


def _time(name: str, about: str, run: Run, example: str, result: Json, *, spans: bool = False) -> Function:
    owner = _TIMES if spans else TIMESTAMP
    return Function(name, (owner,), INT, run, example, result, about, may_take=(STRING,), group="times")


_T = 'timestamp("2026-11-22T10:30:15Z")'
_SIZED = union([STRING, LIST, MAP])

# fmt: off
ALL: tuple[Function, ...] = (
    _text("contains", "Does the text hold this part?", contains, (STRING,), BOOL, '"v1.2".contains("1.")', result=True),
    _text("startsWith", "Does it begin with this?", starts_with, (STRING,), BOOL, '"v1.2".startsWith("v")', result=True),
    _text("endsWith", "Does it end with this?", ends_with, (STRING,), BOOL, '"a.md".endsWith(".md")', result=True),
    _text("matches", "Is the pattern (RE2) found in it? Linear time.", matches, (STRING,), BOOL, '"PROJ-42".matches("^[A-Z]+-[0-9]+$")', result=True),
    _text("lowerAscii", "ASCII letters in lower case.", charged(lambda s: s.translate(LOWER)), (), STRING, '"Main".lowerAscii()', "main"),
    _text("upperAscii", "ASCII letters in upper case.", charged(lambda s: s.translate(UPPER)), (), STRING, '"proj".upperAscii()', "PROJ"),
    _text("trim", "Without white space at both ends.", charged(str.strip), (), STRING, '" x ".trim()', "x"),
    _text("replace", "Each `old` replaced by `new`, at most `limit` times.", replace, (STRING, STRING), STRING, '"a/b".replace("/", "-")', "a-b", INT),
    _text("split", "The parts between separators, at most `limit`.", split, (STRING,), Array(STRING), '"a,b".split(",")', ["a", "b"], INT),
    _text("substring", "From `start` up to, not including, `end`.", substring, (INT,), STRING, '"v1.2".substring(1)', "1.2", INT),
    _text("charAt", "The character at a position, counted from 0.", char_at, (INT,), STRING, '"abc".charAt(1)', "b"),
    _text("indexOf", "Where the part first begins, or -1.", index_of, (STRING,), INT, '"a-b-c".indexOf("-")', 1, INT),
    _text("lastIndexOf", "Where it last begins, or -1.", last_index_of, (STRING,), INT, '"a-b-c".lastIndexOf("-")', 3, INT),
    _text("format", "Values put in the places of `%s %d %f %e %x %X %o %b`; `%.2f` has two decimals.", format_text, (LIST,), STRING, '"%s: %d".format(["open", 3])', "open: 3"),
    Function("reverse", (STRING,), STRING, reverse, '"abc".reverse()', "cba", "Backwards."),
    Function("join", (Array(STRING),), STRING, join, '["a", "b"].join(", ")', "a, b", "The strings of a list as one text.", may_take=(STRING,), group="lists"),
    _list("sort", "In ascending order: numbers, texts, bools or times, of one kind.", sort_items, (), _same_list, "[3, 1, 2].sort()", [1, 2, 3]),
    _list("distinct", "Each value once, in the order of first appearance.", distinct, (), _same_list, '["b", "a", "b"].distinct()', ["b", "a"]),
    _list("flatten", "Lists within replaced by their items, one level or `depth` levels.", flatten, (), _flat, "[[1], [2, 3]].flatten()", [1, 2, 3], INT),
    _list("slice", "From `start` up to, not including, `end`.", slice_of, (INT, INT), _same_list, "[1, 2, 3].slice(0, 2)", [1, 2]),
    Function("reverse", (LIST,), _same_list, reverse, "[1, 2].reverse()", [2, 1], "In the opposite order.", group="lists"),
    _list("first", "The first item, as an optional.", first_of, (), _maybe_item, "[1, 2].first().orValue(0)", 1),
    _list("last", "The last item, as an optional.", last_of, (), _maybe_item, "[1, 2].last().orValue(0)", 2),
    _plain_function("lists.range", "The integers from 0 up to, not including, the number.", range_list, (INT,), Array(INT), "lists.range(3)", [0, 1, 2], "lists"),
    Function("size", (_SIZED,), INT, size_of, '"abc".size()', 3, "Characters of a text, items of a list, entries of a map.", group="lists"),
    _plain_function("size", "The same, written as a function.", size_of, (_SIZED,), INT, "size([1, 2])", 2, "lists"),
    _plain_function("string", "As text.", to_string, (union([STRING, INT, NUMBER, BOOL, TIMESTAMP, DURATION]),), STRING, 'string(3) + "!"', "3!", "conversions"),
    _plain_function("int", "As an integer: decimals are cut off, instants become seconds since 1970.", to_int, (union([STRING, INT, NUMBER, BOOL, TIMESTAMP]),), INT, 'int("42")', 42, "conversions"),
    _plain_function("double", "As a number with decimals.", to_double, (union([STRING, INT, NUMBER]),), NUMBER, 'double("1.5")', 1.5, "conversions"),
    _plain_function("bool", "As a condition, from the words `true` and `false`.", to_bool, (union([STRING, BOOL]),), BOOL, 'bool("true")', result=True, group="conversions"),
    _plain_function("type", "Its type, to be compared with `string`, `int`, `double`, `bool`, `list`, `map` or `null_type`.", type_name, (DYN,), TYPE, "type([1]) == list", result=True, group="conversions"),
    _plain_function("dyn", "The value itself; the checker forgets what it knew of it.", itself, (DYN,), DYN, "dyn(1) == 1", result=True, group="conversions"),
    _plain_function("timestamp", "An instant, from RFC 3339 text or seconds since 1970.", to_timestamp, (union([STRING, INT, TIMESTAMP]),), TIMESTAMP, 'timestamp("2026-11-22T12:00:00+02:00")', "2026-11-22T10:00:00Z", "times"),
    _plain_function("duration", "A span of time: units are `d h m s ms us ns`.", to_duration, (union([STRING, DURATION]),), DURATION, 'duration("1h30m")', "5400s", "times"),
    _time("getFullYear", "The year.", part_of(lambda t: t.year), f"{_T}.getFullYear()", 2026),
    _time("getMonth", "The month, counted from 0.", part_of(lambda t: t.month - 1), f"{_T}.getMonth()", 10),
    _time("getDate", "The day of the month, counted from 1.", part_of(lambda t: t.day), f"{_T}.getDate()", 22),
    _time("getDayOfMonth", "The day of the month, counted from 0.", part_of(lambda t: t.day - 1), f"{_T}.getDayOfMonth()", 21),
    _time("getDayOfWeek", "The day of the week; Sunday is 0.", part_of(lambda t: t.isoweekday() % 7), f"{_T}.getDayOfWeek()", 0),
    _time("getDayOfYear", "The day of the year, counted from 0.", part_of(lambda t: t.timetuple().tm_yday - 1), f"{_T}.getDayOfYear()", 325),
    _time("getHours", "The hour of an instant, or the whole hours of a duration.", part_of(lambda t: t.hour, lambda d: whole_units(d, timedelta(hours=1))), f'{_T}.getHours("+02:00")', 12, spans=True),
    _time("getMinutes", "The minute, or the whole minutes of a duration.", part_of(lambda t: t.minute, lambda d: whole_units(d, timedelta(minutes=1))), 'duration("1h30m").getMinutes()', 90, spans=True),
    _time("getSeconds", "The second, or the whole seconds of a duration.", part_of(lambda t: t.second, lambda d: whole_units(d, timedelta(seconds=1))), f"{_T}.getSeconds()", 15, spans=True),
    _time("getMilliseconds", "The milliseconds within the second.", part_of(lambda t: t.microsecond // 1000, lambda d: whole_units(d, timedelta(milliseconds=1)) % 1000), f"{_T}.getMilliseconds()", 0, spans=True),
    Function("math.greatest", (union([INT, NUMBER, LIST]),), _number, extreme(greatest), "math.greatest(3, 5)", 5, "The greatest of the numbers, or of a list.", method=False, may_take=(_NUMERIC,) * 7, group="numbers"),
    Function("math.least", (union([INT, NUMBER, LIST]),), _number, extreme(least), "math.least([3, 5])", 3, "The least of the numbers, or of a list.", method=False, may_take=(_NUMERIC,) * 7, group="numbers"),
    _plain_function("math.abs", "Without its sign.", absolute, (_NUMERIC,), _number, "math.abs(-3)", 3, "numbers"),
    _plain_function("math.sign", "-1, 0 or 1.", sign_of, (_NUMERIC,), _number, "math.sign(-3)", -1, "numbers"),
    _plain_function("math.round", "The nearest whole number; halves go away from zero.", rounded(half_away), (NUMBER,), NUMBER, "math.round(2.5)", 3, "numbers"),
    _plain_function("math.floor", "The next whole number below.", rounded(math.floor), (NUMBER,), NUMBER, "math.floor(2.7)", 2, "numbers"),
    _plain_function("math.ceil", "The next whole number above.", rounded(math.ceil), (NUMBER,), NUMBER, "math.ceil(2.1)", 3, "numbers"),
    _plain_function("math.trunc", "The whole part.", rounded(math.trunc), (NUMBER,), NUMBER, "math.trunc(-2.7)", -2, "numbers"),
    Function("orValue", (_MAYBE, DYN), _optional_or, or_value, '{"a": 1}.?b.orValue(0)', 0, "What the optional holds, or this.", group="optionals"),
    Function("or", (_MAYBE, _MAYBE), _same, or_other, '{"a": 1}.?b.or(optional.of(2)).value()', 2, "The optional itself, or this other one.", group="optionals"),
    Function("hasValue", (_MAYBE,), BOOL, has_value, '{"a": 1}.?b.hasValue()', result=False, about="Does it hold anything?", group="optionals"),
    Function("value", (_MAYBE,), _optional_value, value_of, '{"a": 1}.?a.value()', 1, "What it holds; an error when it is empty.", group="optionals"),
    _plain_function("optional.of", "An optional that holds this.", some, (DYN,), _optional_of, "optional.of(1).value()", 1, "optionals"),
    _plain_function("optional.ofNonZeroValue", "The same, empty for null, 0, false and what has no size.", of_nonzero, (DYN,), _optional_of, 'optional.ofNonZeroValue("").orValue("none")', "none", "optionals"),
    _plain_function("optional.none", "An empty optional: a `with` entry of this value is left out.", nothing, (), _MAYBE, "optional.none().hasValue()", result=False, group="optionals"),
)
# fmt: on

METHODS: dict[str, tuple[Function, ...]] = {}
FUNCTIONS: dict[str, tuple[Function, ...]] = {}
for _function in ALL:
    _table = METHODS if _function.method else FUNCTIONS
    _table[_function.name] = (*_table.get(_function.name, ()), _function)

# fmt: off
MACROS: dict[str, tuple[str, str, Json]] = {
    "map": ("A list of what the expression gives for each item; with three arguments, only for items that pass the test.", "[1, 2, 3].map(x, x > 1, x * 10)", [20, 30]),
    "filter": ("The items that pass the test.", "[1, 2, 3].filter(x, x > 1)", [2, 3]),
    "all": ("Do all items pass? True for an empty list.", "[1, 2].all(x, x > 0)", True),
    "exists": ("Does any item pass?", "[1, 2].exists(x, x > 1)", True),
    "exists_one": ("Does exactly one item pass?", "[1, 2].exists_one(x, x > 1)", True),
    "sortBy": ("The items in ascending order of what the expression gives for each.", '[{"n": 2}, {"n": 1}].sortBy(x, x.n).map(x, x.n)', [1, 2]),
    "optMap": ("Applies the expression to what the optional holds.", '{"a": 1}.?a.optMap(x, x + 1).orValue(0)', 2),
    "optFlatMap": ("The same, for an expression that gives an optional.", '{"a": {"b": 1}}.?a.optFlatMap(x, x.?b).orValue(0)', 1),
}
# fmt: on
"""What is done item by item: its meaning, an example, and what that comes to. A map is gone through by its keys."""

LIKELY: dict[str, str] = {
    "len": "size(x)",
    "length": "size(x)",
    "count": "size(x)",
    "str": "string(x)",
    "toString": "string(x)",
    "to_s": "string(x)",
    "float": "double(x)",
    "number": "double(x)",
    "Number": "double(x)",
    "parseInt": "int(x)",
    "lower": "x.lowerAscii()",
    "upper": "x.upperAscii()",
    "toLowerCase": "x.lowerAscii()",
    "toUpperCase": "x.upperAscii()",
    "toLower": "x.lowerAscii()",
    "toUpper": "x.upperAscii()",
    "strip": "x.trim()",
    "includes": '`x.contains("part")` for text, `item in list` for a list',
    "startswith": "x.startsWith(y)",
    "endswith": "x.endsWith(y)",
    "starts_with": "x.startsWith(y)",
    "ends_with": "x.endsWith(y)",
    "get": "x.?field.orValue(default)",
    "default": "x.?field.orValue(default)",
    "keys": "m.map(key, key)",
    "values": "m.map(key, m[key])",
    "items": "m.map(key, m[key])",
    "any": "list.exists(x, …)",
    "some": "list.exists(x, …)",
    "every": "list.all(x, …)",
    "find": "list.filter(x, …).first()",
    "sorted": "list.sort()",
    "unique": "list.distinct()",
    "set": "list.distinct()",
    "flat": "list.flatten()",
    "reversed": "list.reverse()",
    "range": "lists.range(n)",
    "max": "math.greatest(a, b)",
    "min": "math.least(a, b)",
    "abs": "math.abs(x)",
    "round": "math.round(x)",
    "floor": "math.floor(x)",
    "ceil": "math.ceil(x)",
    "typeof": "type(x)",
    "isinstance": "type(x) == string",
    "search": "x.matches(pattern)",
    "match": "x.matches(pattern)",
    "test": "x.matches(pattern)",
    "index": "x.indexOf(y)",
    "find_index": "x.indexOf(y)",
    "substr": "x.substring(start, end)",
    "concat": "a + b",
    "append": "list + [item]",
    "push": "list + [item]",
    "replaceAll": "x.replace(old, new)",
    "splitlines": 'x.split("\\n")',
    "defined": "has(x.field)",
    "exists": "list.exists(x, …), or has(x.field)",
    "coalesce": "x.?field.orValue(default)",
    "date": "timestamp(text)",
    "datetime": "timestamp(text)",
    "parse": "timestamp(text)",
    "optional": "optional.of(x)",
    "first_or": "list.first().orValue(default)",
}
"""Words of other languages, and what to write here."""
NO_CLOCK = frozenset(("now", "today", "utcnow", "random", "uuid", "rand", "env", "getenv", "fetch", "open", "read"))
"""What an expression cannot have: it gives the same value whenever it is evaluated again."""
