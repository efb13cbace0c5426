# ruff: noqa: E501 - tables: one case, one line
"""Expressions: what each function gives, what is absent, what is refused, and the words that are said then."""

from __future__ import annotations

import pytest

from motet.workflow.expressions.expression import Expression
from motet.workflow.expressions.library import ALL, MACROS, Function
from motet.workflow.expressions.runtime import Fault, Missing, Spent
from motet.workflow.expressions.tree import Mistake

DATA = {
    "release": {
        "tag_name": "v1",
        "draft": False,
        "id": 7,
        "score": 3,
        "name": None,
        "assets": [{"name": "a", "size": 5}, {"name": "b", "size": 9}],
        "author": {"login": "bo"},
    },
    "steps": {"ticket": {"ok": False, "status": "failed"}},
    "inputs": {"repo": "org/app"},
    "numbers": [1, 2.5, 3],
}


def value(text: str, **names: object) -> object:
    return Expression.parse(text).evaluate({**DATA, **names})


@pytest.mark.parametrize("function", ALL, ids=lambda one: one.example)
def test_every_function_does_what_its_example_says(function: Function) -> None:
    assert value(function.example) == function.result


@pytest.mark.parametrize("macro", MACROS)
def test_every_macro_does_what_its_example_says(macro: str) -> None:
    _, example, result = MACROS[macro]
    assert value(example) == result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("release.tag_name", "v1"),
        ("release['tag_name']", "v1"),
        ("release.assets[1].name", "b"),
        ("release.draft ? 'draft' : release.tag_name", "v1"),
        ("release.score * 1.5", 4.5),
        ("release.score * 2.0", 6),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("-7 % 3", -1),
        ("7 / 2.0", 3.5),
        ("1 == 1.0", True),
        ("1 == true", False),
        ("'a' == 1", False),
        ("[1, [2]] == [1.0, [2.0]]", True),
        ("{'a': 1}.a + size([1, 2])", 3),
        ("has(release.body)", False),
        ("has(release.name)", True),
        ("release.?body.orValue('none')", "none"),
        ("release.?author.?login.orValue('none')", "bo"),
        ("release.?author.login.orValue('none')", "bo"),
        ("release.?name.orValue('none')", None),
        ("release.assets[?7].hasValue()", False),
        ("release.assets.filter(a, a.size > 5).map(a, a.name)", ["b"]),
        ("release.assets.map(a, numbers.map(n, n + a.size).size())", [3, 3]),
        ("numbers.map(release, release)", [1, 2.5, 3]),
        ("cel.bind(x, 2, cel.bind(y, x * 3, x + y))", 8),
        ("[?optional.of(1), ?optional.none()]", [1]),
        ("{?'a': optional.none(), 'b': 1}", {"b": 1}),
        ("timestamp('2026-11-22T10:00:00Z') + duration('1h30m')", "2026-11-22T11:30:00Z"),
        ("timestamp('2026-11-22T10:00:00Z') - timestamp('2026-11-21T10:00:00Z')", "86400s"),
        ("duration('2m') > duration('90s')", True),
        ("timestamp('2026-06-01T12:00:00Z').getHours('-05:30')", 6),
        ("'%.2f and %s'.format([1, ['a', 1, {'b': null}]])", "1.00 and [a, 1, {b: null}]"),
        (r"r'\d' + '\u00e9\x41\n'", "\\d" + "éA\n"),
        ("'''a\nb'''", "a\nb"),
        ("type(release.id) == int && type(release) == map && type(null) == null_type", True),
        ("'PROJ-42'.matches('^[A-Z]+-[0-9]+$')", True),
        ("inputs.repo.split('/')[0]", "org"),
        ("steps.ticket.ok ? '' : '; ticket update pending'", "; ticket update pending"),
    ],
)
def test_expressions_come_to(text: str, expected: object) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "nothing.ok || true",
        "true || nothing.ok",
        "nothing.x && false",
        "false && nothing.x",
        "release.draft ? nothing : true",
    ],
)
def test_absent_data_is_not_needed_where_the_rest_decides(text: str) -> None:
    assert value(text) is not None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nothing", "nothing"),
        ("nothing.x.y", "nothing"),
        ("nothing.ok || false", "nothing"),
        ("has(nothing.x)", "nothing"),
        ("nothing.?x.orValue(1)", "nothing"),
        ("steps.later.ok", "later"),
        ("inputs.other", "inputs.other"),
        ("release.body || nothing", "nothing"),
        ("[1].map(x, nothing)", "nothing"),
    ],
)
def test_absent_data_that_is_needed_is_named(text: str, name: str) -> None:
    with pytest.raises(Missing) as raised:
        value(text)
    assert raised.value.name == name


def test_an_absent_field_of_present_data_is_an_error_not_absence() -> None:
    with pytest.raises(Fault) as raised:
        value("release.body")
    assert not isinstance(raised.value, Missing)
    assert raised.value.message == "there is no field `body`"
    assert raised.value.at == len("release.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "divided by zero"),
        ("9223372036854775807 + 1", "the integer does not fit 64 bits"),
        ("-(-9223372036854775808)", "the integer does not fit 64 bits"),
        ("'a' + 1", "`+` cannot take string and int; write `string(…)` around what is no text"),
        ("1 < 'a'", "`<` cannot take int and string"),
        ("release.assets[5]", "there is no item 5: the list has 2"),
        ("release.tag_name ? 1 : 2", "expected a condition (bool), got string"),
        ("1 && true", "expected a condition (bool), got int"),
        ("'abc'.substring(2, 1)", ".substring(): 2 to 1 is outside the text, which has 3 characters"),
        ("int('1_000')", 'int(): "1_000" is not an integer'),
        ("[1, 'a'].sort()", ".sort(): cannot sort number and string together"),
        ("[1].join(',')", ".join(): joins strings, and found int; write `.map(x, string(x))` first"),
        ("'a' in 'abc'", '`in` looks in a list or a map, not in string; write `text.contains("part")`'),
        ("{'a': 1, 'a': 2}", 'the key "a" comes twice'),
        ("1.0 / 0.0", "Infinity is not a JSON number"),
        ("optional.none()", "an empty optional is no value: end it with `.orValue(…)`"),
        ("timestamp('2026-02-30T00:00:00Z')", "timestamp(): day is out of range for month"),
        ("'a'.matches('(')", ".matches(): not a pattern: missing ): ("),
        ("lists.range(3).map(x, 6 / x)", "divided by zero"),
    ],
)
def test_failures_are_said_in_words(text: str, message: str) -> None:
    with pytest.raises(Fault) as raised:
        value(text)
    assert raised.value.message == message


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("len(release)", "there is no function `len()`", "write `size(x)`"),
        ("release.tag_name.upper()", "there is no function `.upper()`", "write `x.upperAscii()`"),
        ("release.get('x')", "there is no function `.get()`", "write `x.?field.orValue(default)`"),
        (
            "now()",
            "there is no function `now()`",
            "an expression sees only the data of the run: give it as an input, or have a step fetch it",
        ),
        ("trim(x)", "there is no function `trim()`", "it is a method: `x.trim()`".replace("()", "(…)")),
        ("x.starsWith('a')", "there is no function `.starsWith()`", "did you mean `startsWith`?"),
        ("'%s'.format(1, 2)", "`format` takes 1 argument, not 2", "the values are one list: `.format([a, b])`"),
        ("a and b", "`and` is not a word of the language", "CEL writes `&&`"),
        ("a or b", "`or` is not a word of the language", "CEL writes `||`"),
        ("not a", "`not` is not a word of the language", "CEL writes `!x`"),
        ("a if b else c", "`if` is not a word of the language", "CEL writes `condition ? yes : no`"),
        ("a = 1", "unexpected `=`", "CEL writes `==`"),
        ("a === 1", "`===` is not an operator", "CEL writes `==`"),
        ("a & b", "unexpected `&`", "CEL writes `&&`"),
        ("a ?? b", "`??` is not an operator", "CEL writes `x.?field.orValue(default)`"),
        ("a?.b", "`?.` is not an operator", "CEL writes `.?`"),
        ("x | upper", "unexpected `|`", "CEL writes `||`; filters such as `x | upper` are methods: `x.upperAscii()`"),
        (
            "a // b",
            "`//` is not an operator",
            "there are no comments here, and `/` already divides integers without a remainder",
        ),
        ("$a", "unexpected `$`", "an expression is already inside `${{ }}`: write the name alone"),
        ("“a”", "unexpected `“`", 'use straight quotes: "'),
        ("a.0", "unexpected `.0`", "items are written `x[0]`"),
        ("'abc", "the string is not closed", "add the closing '"),
        ("30s", "`s` follows a number", 'durations are written `duration("30s")`'),
        ("has(x['a'])", "`has()` takes a field", 'for an entry write `"a" in x`'),
        ("xs.map(1)", "`.map()` takes a name for the item and what to do with it", "such as `xs.map(x, x.size)`"),
        ("(a", "expected `)`, found the end", ""),
        ("a +", "expected a value, found the end", ""),
        ("for", "`for` is reserved and cannot be a name", "CEL writes `list.map(x, …)`"),
        ("", "the expression is empty", "write a value, such as `inputs.name`"),
        (r"'\q'", r"unknown escape `\q` in a string", r"write `\\` for a backslash, or a raw string: r'\d+'"),
        ("99999999999999999999", "the integer does not fit 64 bits", ""),
    ],
)
def test_other_languages_words_are_answered_with_the_right_one(text: str, message: str, hint: str) -> None:
    with pytest.raises(Mistake) as raised:
        Expression.parse(text)
    assert (raised.value.message, raised.value.hint) == (message, hint)


def test_what_an_expression_reads_is_known_before_it_runs() -> None:
    text = (
        "release.assets.filter(a, a.size > inputs.least).map(a, a.name).join(steps.other.status) + x['y'].?z.orValue(q)"
    )
    assert Expression.parse(text).reads == {
        ("release", "assets"),
        ("inputs", "least"),
        ("steps", "other", "status"),
        ("x", "y", "z"),
        ("q",),
    }


def test_a_macros_name_hides_data_of_the_same_name_only_inside() -> None:
    assert Expression.parse("[1].map(release, release.x) + release.y").reads == {("release", "y")}


def test_data_that_is_only_pointed_at_passes_through_whatever_its_size() -> None:
    data = {"rows": [{"text": "x" * 1000}] * 100_000}
    assert Expression.parse("big.rows").evaluate({"big": data}) is data["rows"]


# -- bounds ----------------------------------------------------------------------------------------------------------

BIG = {"x": {"l": list(range(8000)), "s": "a" * 600, "t": "a" * 1_000_000, "d": {"k": ["v"] * 1000}}}


@pytest.mark.parametrize(
    "text",
    [
        "x.l.map(a, x.l.map(b, x.l.map(c, 1)))",
        "x.l.map(a, x.s + x.s).join('')" + ".split('').map(a, x.t)",
        "x.s.replace('a', x.s).replace('a', x.s).replace('a', x.s).size()",
        "x.l.all(a, x.d == x.d)",
        "x.l.all(a, x.t == x.t + '')",
        "x.l.map(a, x.t.contains('b')).size()",
        "x.l.map(a, x.t.matches('(a*)*b')).size()",
        "x.l.map(a, x.l.sort()).size()",
        "x.l.map(a, 8000 in x.l).size()",
        "lists.range(900000000000)",
        "cel.bind(a, x.l + x.l, cel.bind(b, a + a, cel.bind(c, b + b, cel.bind(d, c + c, d + d + d + d))))",
        "x.l.map(a, x.l).map(a, a).flatten()",
        "x.l.map(a, '%s'.format([x.t])).size()",
        (
            "cel.bind(a, [x.s, x.s], cel.bind(b, [a, a, a, a, a, a, a, a], cel.bind(c, [b, b, b, b, b, b, b, b, b], [c, c, c, c,"
            " c, c, c, c, c, c].map(i, [i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i]))))"
            ".map(j, [j, j, j, j, j, j, j, j, j, j, j, j, j, j])"
        ),
    ],
)
def test_work_without_bound_ends_in_a_spent_budget(text: str) -> None:
    with pytest.raises(Spent):
        Expression.parse(text).evaluate(BIG)


def test_a_spent_budget_is_absorbed_by_nothing() -> None:
    with pytest.raises(Spent):
        Expression.parse("x.l.all(a, x.l.all(b, x.l.all(c, true))) || true").evaluate(BIG)
    with pytest.raises(Spent):
        Expression.parse("x.l.exists(q, x.l.map(a, x.l.map(b, 1)).size() < 0)").evaluate(BIG)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "1" + ")" * 3000,
        "(" * 60 + "1" + ")" * 60,
        "!" * 5000 + "true",
        "-" * 200 + "x",
        "[" * 100 + "]" * 100,
        "a" + ".b" * 4000,
        "a" + "[0]" * 2000,
        "x.s" + " + x.s" * 900,
        "a ? b : " * 900 + "c",
        "x" + ".map(a, a)" * 500,
        "a(" * 500 + ")" * 500,
        "1" * 100_000,
        "'" * 8000,
        "'''" * 2000 + "a",
    ],
)
def test_deep_or_long_expressions_are_refused(text: str) -> None:
    with pytest.raises(Mistake):
        Expression.parse(text)


def test_a_large_but_ordinary_list_is_no_trouble() -> None:
    assert Expression.parse("x.l.map(a, a + 1).filter(a, a % 2 == 0).size()").evaluate(BIG) == 4000


def test_a_pattern_that_ruins_other_engines_takes_linear_time() -> None:
    assert Expression.parse("t.matches('^(([a-z])+.)+[A-Z]([a-z])+$')").evaluate({"t": "a" * 20_000}) is False
