# ruff: noqa: E501 - tables: one case, one line
"""Our evaluator against Google's own (`cel-expr-python`): the same expressions over the same data come to the same values.

Where we deviate on purpose, the expression is in `DEVIATIONS` with its reason, and a test holds that it still deviates.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import cache
from typing import cast

import pytest
from cel_expr_python import cel as google  # pyright: ignore[reportMissingTypeStubs] - it has none
from cel_expr_python.ext import (  # pyright: ignore[reportMissingTypeStubs] - it has none
    ext_bindings,
    ext_math,
    ext_optional,
    ext_strings,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from motet.calls import Json
from motet.workflow.expressions.expression import Expression
from motet.workflow.expressions.library import ALL, MACROS
from motet.workflow.expressions.runtime import Fault, Frame, Optional, TypeName
from motet.workflow.expressions.tree import Mistake

DATA = {
    "i": 3,
    "j": -7,
    "big": 9223372036854775807,
    "f": 2.5,
    "t": True,
    "n": None,
    "s": "Motet",
    "e": "",
    "u": "é😀ß",
    "l": [3, 1, 2],
    "w": ["b", "a", "c"],
    "m": {"a": 1, "b": {"c": [1, 2]}, "s": "x"},
    "rows": [{"k": "P-1", "p": 2.5}, {"k": "P-2", "p": None}, {"k": "P-3"}],
}
ENVIRONMENT = google.NewEnv(
    variables=dict.fromkeys(DATA, google.Type.DYN),
    extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_math.ExtMath(), ext_bindings.ExtBindings()],
)
ERROR = "an error"


@cache
def googles(text: str) -> object:
    try:
        value = ENVIRONMENT.compile(text, disable_check=True).eval(data=DATA)
        return ERROR if value.type().name() == "ERROR" else comparable(value.plain_value())
    except (RuntimeError, ValueError, TypeError):
        return ERROR


def ours(text: str) -> object:
    try:
        expression = Expression.parse(text)
        return comparable(expression.run(Frame(DATA, slots=expression.slots)))
    except (Mistake, Fault):
        return ERROR


def comparable(value: Json) -> object:  # noqa: C901 - one line for each kind
    """The same for both sides: kinds kept apart (1 is not 1.0), NaN equal to itself."""
    match value:
        case bool() | None:
            return value
        case TypeName():
            return ("other", "Type")
        case str():
            return ("text", value)
        case int():
            return ("int", value)
        case float():
            return ("double", "nan" if math.isnan(value) else value + 0.0)
        case list():
            return [comparable(item) for item in cast("list[Json]", value)]
        case dict():
            return {key: comparable(item) for key, item in cast("dict[str, Json]", value).items()}
        case datetime():
            return ("time", value.timestamp())
        case timedelta():
            return ("span", value)
        case Optional():
            return ("optional", value.present)
        case _:
            return ("other", type(value).__name__)


NOT_THERE = ("sort", "sortBy", "distinct", "flatten", "slice", "first", "last", "lists.range")
"""Functions of cel-go's list extension that the other implementation lacks."""
DEVIATIONS = {
    "i + f": "an integer meets a double as a double: JSON does not tell 3 from 3.0",
    "i * 1.5": "the same",
    "[1, 2].reverse()": "cel-go's list extension",
    "n.?x.orValue(1)": "null has no fields, so the optional is empty",
    "has(n.x)": "the same",
    "m.b.?x.?y.orValue(n.?z.orValue(4))": "the same",
    'duration("1d")': "days are a unit here, as everywhere in a workflow file",
    ".i": "names have no leading dot: there are no containers here",
    '"%d".format([3.0])': "an integral double is an integer",
    "string(-0.0)": "an integral double is an integer",
    'int(" 1")': "white space is no part of a number",
    'double("inf")': "JSON has no infinity",
    "{1: 2}": "the keys of JSON maps are text",
    "3u + 1u": "no unsigned numbers",
    'b"x"': "no bytes",
    "1 + 1 // two": "no comments: a folded text would let one swallow what follows",
}


@pytest.mark.parametrize("text", DEVIATIONS)
def test_a_listed_deviation_is_one(text: str) -> None:
    assert ours(text) != googles(text)


EXAMPLES = [one.example for one in ALL] + [example for _, example, _ in MACROS.values()]
TABLE = """
s + " sings"|s.size() + l.size()|"%s: %d".format([s, i])|s.lowerAscii() == "motet"|s.substring(1, 3)|s.charAt(5)|s.charAt(6)
u.size()|u.reverse()|u.upperAscii()|u.indexOf("ß")|u.substring(1)|u < "z"|u.charAt(1)|u.split("")|u + u == u.replace(u, u + u)
i / 2|j / 2|j % 3|i % 0|i / 0|f / 0.0|-f / 0.0|0.0 / 0.0 == 0.0 / 0.0|big + 1|big * 2|-big - 2|-(-big - 1)|i - j|i * j|f * 2.0|-f|-i|!t|!i
i == 3.0|i < 2.5|i != "3"|n == null|n == false|l == [3, 1, 2]|l == [3.0, 1.0, 2.0]|m == m|m == {}|"a" == "A"|t == true|i in l|3.0 in l
"a" in m|"z" in m|i in m|"a" in w|[1] in [[1]]|null in [null]|l[0]|l[3]|l[-1]|m["a"]|m["zz"]|m.a|m.b.c[1]|m.zz|m.a.b|s.x|n.x|l.x|s[0]|l["a"]
has(m.a)|has(m.zz)|has(m.b.c)|has(m.zz.y)|has(s.x)|m.?zz.orValue(1)|m.?a.orValue(0)|m.?b.?c.orValue([])|m.?zz.?y.orValue("d")|m[?"a"].orValue(0)
l[?0].orValue(9)|l[?9].orValue(9)|m.?zz.hasValue()|m.?a.value()|m.?zz.value()|m.?b.c.orValue(1)|m.?zz.or(m.?a).orValue(0)|optional.of(n).hasValue()
optional.ofNonZeroValue(0).hasValue()|optional.ofNonZeroValue(e).orValue("x")|optional.none() == optional.none()|[?m.?a, ?m.?zz]|{?"k": m.?zz, "a": 1}
m.?a.optMap(x, x + 1).orValue(0)|m.?zz.optMap(x, x / 0).orValue(0)|m.?b.optFlatMap(x, x.?c).orValue([])
l.map(x, x * x)|l.map(x, x > 1, x)|l.filter(x, x > 1)|l.all(x, x > 0)|l.exists(x, x > 2)|l.exists_one(x, x > 2)|m.map(k, k).size()|m.exists(k, k == "a")
l.map(x, l.map(y, x * y))|l.map(l, l)|rows.map(r, r.k)|rows.map(r, r.p)|rows.filter(r, has(r.p) && r.p != null).map(r, r.p)|rows.exists(r, r.p > 1.0)
rows.all(r, r.p > 1.0)|rows.exists(r, r.p == null)|[0, 1].exists(x, 1 / x > 0)|[0, 1].all(x, 1 / x > 5)|[0, 1].exists_one(x, 1 / x > 0)|s.map(x, x)|i.all(x, t)
t || i|i || t|t && i|i && t|false || n|zz || t|zz && false|zz || false|t ? i : zz|false ? zz : i|n ? 1 : 2|t ? false ? 1 : 2 : 3|1 < 2 == true|t && !t || t
w.join()|w.join("-")|l.join(",")|s.split("t")|s.split("t", 2)|s.split("t", 1)|s.split("t", 0)|s.split("t", -1)|"a,b,,c".split(",")|e.split(",")|"a b".split(" ", 5)
s.replace("t", "T")|s.replace("t", "T", 1)|s.replace("t", "T", 0)|s.replace("", "-")|s.replace("t", "")|s.contains("ot")|s.contains(e)|s.startsWith("Mo")|s.endsWith("et")
s.indexOf("t")|s.indexOf("t", 3)|s.indexOf("t", 9)|s.indexOf(e)|s.lastIndexOf("t")|s.lastIndexOf("t", 3)|s.lastIndexOf("z")|s.lastIndexOf(e)|s.substring(6)|s.substring(-1)
"  x\\t\\n".trim()|"\\u00a0x".trim()|"ÄbC".lowerAscii()|"äBc".upperAscii()|s.matches("^M")|s.matches("o.e")|s.matches("[")|s.matches(e)|s.reverse()|e.reverse()
"%s %s".format([l, m.b])|"%s".format([n])|"%s".format([t])|"%s".format([f])|"%s".format([2.0])|"%.3f".format([f])|"%f".format([i])|"%e".format([f])|"%x".format([255])
"%X".format([255])|"%x".format([s])|"%o".format([8])|"%b".format([5])|"%b".format([t])|"%d".format([s])|"%s".format([])|"%%".format([])|"%z".format([1])|"%d%%".format([i])
string(i)|string(f)|string(t)|string(s)|string(1.0)|string(1e21)|string(1e-7)|string(0.1 + 0.2)|string(l)|string(n)|int("42")|int("-0")|int("4.2")|int(f)|int(-2.9)|int(1e19)
int("9223372036854775808")|int(e)|double("1e3")|double("1.")|double(".5")|double(e)|double(i)|bool("true")|bool("True")|bool("t")|bool("yes")|bool("0")|int(t)|double(t)
type(i) == int|type(f) == double|type(s) == string|type(l) == list|type(m) == map|type(n) == null_type|type(t) == bool|type(type(i)) == type|type(i) == type(f)|dyn(i) + 1
size(l)|size(m)|size(s)|size(i)|l.size()|e.size() == 0|lists|math.greatest(1, 2.5)|math.greatest(l)|math.least(3, i, -1)|math.least([])|math.abs(j)|math.abs(-f)
math.sign(j)|math.sign(0.0)|math.round(f)|math.round(-2.5)|math.round(0.49999999999999994)|math.ceil(f)|math.floor(-f)|math.trunc(-f)|math.greatest("a", "b")
duration("90s") + duration("1m")|duration("1.5h").getMinutes()|duration("-90s").getMinutes()|duration("1h30m").getHours()|duration("1500ms").getMilliseconds()|duration("x")
string(duration("1h30m"))|string(duration("1ms"))|string(duration("-1.5s"))|duration("1s") < duration("2s")|duration("1s") == duration("1000ms")|duration("1s") + 1
timestamp("2026-11-22T10:30:15Z")|timestamp("2026-11-22T12:30:15+02:00") == timestamp("2026-11-22T10:30:15Z")|timestamp(0)|timestamp("2026-11-22")|timestamp("2026-13-01T00:00:00Z")
string(timestamp("2026-11-22T10:30:15Z"))|int(timestamp("2026-11-22T10:30:15Z"))|timestamp("2026-11-22T10:30:15Z").getFullYear()|timestamp("2026-11-22T10:30:15Z").getMonth()
timestamp("2026-11-22T10:30:15Z").getDayOfWeek()|timestamp("2026-11-22T10:30:15Z").getDayOfYear()|timestamp("2026-11-22T23:30:15Z").getDate("+02:00")
timestamp("2026-11-22T10:30:15Z") - duration("30m")|timestamp("2026-11-22T10:30:15Z") - timestamp("2026-11-22T10:00:00Z")|timestamp("9999-12-31T23:59:59Z") + duration("48h")
timestamp("2026-11-22T10:30:15.123456Z").getMilliseconds()|timestamp("2026-06-01T12:00:00Z").getHours("05:30")|timestamp("2026-06-01T12:00:00Z").getMinutes("-05:30")
cel.bind(x, i, x * x)|cel.bind(x, 1, cel.bind(x, x + 1, x))|[1, 2.5, "x", null, t]|{"a": {"b": [1]}}|{"a": 1, "a": 2}|[l, l][1][0]|{"a": l}.a[2]|[1] + [2] + l|[1] + 2|"a" + 1|t + t|m + m
"a" < "B"|t > false|l < l|n < 1|"it\\'s" + r"\\d" + "\\u00e9\\n"|'''q"'q'''|"\\x41\\101\\U0001F600"|0x1F|-0x1F|1e3|1.5E-3|-9223372036854775808|9223372036854775808
a.|(1|[1,|{"a" 1}|"abc|1 2|i &&|x = 1|loop.x|f(|i.f()|nope(1)|.i|i..j|i ? 1|[1,]|{"a": 1,}|!|-|1 +|'|"|+1|i in|in l|true.x|null.x|1.x|"a"."b"|{}.x|[].x|m.`a`|@|#
"""


def _split(line: str) -> list[str]:
    """`|` separates cases, and `||` is an operator."""
    return [one.replace("\0", "||") for one in line.replace("||", "\0").split("|") if one]


CASES = list(dict.fromkeys([one for line in TABLE.strip().split("\n") for one in _split(line)] + EXAMPLES))
KNOWN = {text for text in CASES if any(f".{name}(" in text or text.startswith(name) for name in NOT_THERE)}


@pytest.mark.parametrize("text", [text for text in CASES if text not in KNOWN and text not in DEVIATIONS])
def test_the_same_expression_comes_to_the_same_value(text: str) -> None:
    assert ours(text) == googles(text)


# -- generated -------------------------------------------------------------------------------------------------------

ATOMS = st.sampled_from(
    [*DATA, "zz", "1", "0", "-2", "2.5", '"a"', '""', "true", "false", "null", "[]", "[1, 2]", "{}", '{"a": 1}', "m.a", "m.zz",
     "l[0]", "l[9]", "rows[0].k", "steps", "m.b.c"]
)  # fmt: skip


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "&&", "||", "in"])
    method = st.sampled_from(
        ["size()", "trim()", "lowerAscii()", "contains(s)", "split(e)", 'join("-")', "map(x, x)", "filter(x, t)", "exists(x, x == 1)",
         "all(x, x != 1)", "reverse()", 'replace("a", "b")', "startsWith(e)", "indexOf(s)", "a", "?a.orValue(i)", "?a.hasValue()"]
    )  # fmt: skip
    function = st.sampled_from(["size", "string", "int", "double", "type", "dyn", "math.abs", "optional.of", "!", "-"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, binary, inner),
        st.builds("{}.{}".format, inner, method),
        st.builds("{}({})".format, function, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds('{{"k": {}}}.k'.format, inner),
        st.builds("[1, 2].map(x, {})".format, inner),
        st.builds("l.exists(x, {} == x)".format, inner),
        st.builds("{}[{}]".format, inner, inner),
    )


EXPRESSIONS = st.recursive(ATOMS, _grow, max_leaves=8)


def _deviates(text: str) -> bool:
    """Does it run into one of the deviations, somewhere inside? Then only that we did not crash is known."""
    mixed = (
        "2.5" in text or "f" in text.replace("false", "").replace("filter", "").replace("size", "")
    ) or "double" in text
    lists = "reverse()" in text
    nulls = "?a" in text
    return mixed or lists or nulls


@settings(max_examples=300, deadline=None, derandomize=True)
@given(EXPRESSIONS)
@example("(t ? 1 : zz)")
def test_generated_expressions_come_to_the_same_value(text: str) -> None:
    mine = ours(text)
    if not _deviates(text):
        assert mine == googles(text)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(st.sampled_from("ab1.\"'()[]{}?:+-!&|<>=, \\nxs"), max_size=24))
def test_what_we_read_is_read_as_cel_by_the_other_too(text: str) -> None:
    try:
        Expression.parse(text)
    except Mistake as mistake:
        if mistake.code != "function":  # read, and then not known
            return
    ENVIRONMENT.compile(text, disable_check=True)
