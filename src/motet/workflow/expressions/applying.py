"""Operators and functions on shapes: what they take, what they give, and what to say when that does not fit.

The operands' shapes are known already; finding those is `infer`. Operators follow CEL: nothing is converted silently,
but an int meets a double as a double.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from motet.workflow.expressions.compiling import forms_of
from motet.workflow.expressions.library import Function
from motet.workflow.expressions.tree import Binary, Call, Const, Expr, Ident, Mistake, Select, Unary, text_of
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
    kind,
    mismatch,
    say,
    seen,
    union,
    without_null,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with an expression; `at` and `width` are characters of its text."""

    message: str
    at: int
    width: int = 1
    hint: str = ""
    severity: Literal["error", "warning"] = "error"
    code: str = "type"


class Findings:
    """What is wrong with one expression, as it is found."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def wrong(self, message: str, at: int, width: int = 1, hint: str = "", code: str = "type") -> Shape:
        """Note an error; whatever was meant could be anything."""
        self.all.append(Finding(message, at, width, hint, "error", code))
        return DYN

    def doubt(self, message: str, at: int, width: int, hint: str, code: str) -> None:
        """Note a warning."""
        self.all.append(Finding(message, at, width, hint, "warning", code))

    def optional(self, node: Expr) -> Shape:
        """Note that an optional value is used as if it were there."""
        return self.wrong(
            "an optional value is used as a plain one", node.at, width_of(node), "end it with `.orValue(…)`"
        )

    def nonnull(self, given: Shape, node: Expr, at: int, width: int) -> Shape:
        """The shape without null, and a warning when null was possible."""
        alternatives = arms(given)
        if NULL not in alternatives or len(alternatives) == 1:
            return given
        self.doubt(f"`{text_of(node)}` may be null", at, width, f"test `{text_of(node)} != null` first", "null")
        return without_null(given)


def operation(told: Findings, node: Binary, left: Shape, right: Shape) -> Shape:
    """Any operator between two values; `&&` and `||`, which take conditions, are not among them."""
    for side, given in ((node.left, left), (node.right, right)):
        if isinstance(given, Maybe) and node.op not in ("==", "!="):
            return told.optional(side)
    if node.op == "in":
        return _within(told, node, left, right)
    if node.op in ("==", "!="):
        return _equality(told, node, left, right)
    return _arithmetic(told, node, left, right)


def negative(told: Findings, node: Unary, given: Shape) -> Shape:
    """`-` before one operand."""
    if mismatch(given, _NUMERIC) is not None:
        return told.wrong(f"`-` takes a number, not {say(given)}", node.at)
    return _unvalued(given)


def condition(told: Findings, node: Expr, given: Shape, op: str = "") -> Shape:
    """What has to be true or false; `op` is the operator that takes it."""
    if isinstance(given, Maybe):
        return told.optional(node)
    if mismatch(given, BOOL) is not None:
        hint = _as_condition(node, given)
        if op == "||" or (op == "&&" and kind(given) in ("string", "object", "list")):
            hint = (
                "for a default write `x.?field.orValue(default)`"
                if op == "||"
                else "to choose a value write `condition ? value : other`"
            )
        what = (
            f"`{op}` takes conditions (bool), not {say(given)}"
            if op
            else f"expected a condition (bool), got {say(given)}"
        )
        told.wrong(what, node.at, width_of(node), hint)
    return BOOL


def applied(told: Findings, node: Call, given: list[Shape]) -> Shape:
    """A function on these shapes, that of a method's target first."""
    args = node.args if node.target is None else [node.target, *node.args]
    try:
        forms = forms_of(node)
    except Mistake as mistake:
        return told.wrong(mistake.message, mistake.at, mistake.width, mistake.hint, mistake.code)
    fitting = [form for form in forms if _misfit(form, given) is None]
    if fitting:
        form = fitting[0] if len(fitting) == 1 or not isinstance(seen(given[0]), Dyn) else None
        given = [
            told.nonnull(one, arg, node.at, len(node.name)) if _needs_value(fitting[0], at) else one
            for at, (one, arg) in enumerate(zip(given, args, strict=True))
        ]
        results = [one.gives if not callable(one.gives) else one.gives(given) for one in ([form] if form else fitting)]
        return union(results)
    where = _misfit(forms[0], given)
    position, why = (0, "") if where is None else where
    return _misused(told, node, args, given, forms, position, why)


def _equality(told: Findings, node: Binary, left: Shape, right: Shape) -> Shape:
    """`==` and `!=`: two that can never be equal are a mistake."""
    left, right = (one.of if isinstance(one, Maybe) else one for one in (left, right))
    if not any(_equal(one, two) for one in arms(left) for two in arms(right)):
        why = mismatch(right, left) or ""
        hint = why.partition("; ")[2] or (
            "write `string(…)` around the number"
            if {kind(left), kind(right)} in ({"string", "int"}, {"string", "number"})
            else ""
        )
        told.wrong(f"`{node.op}` compares {say(left)} with {say(right)}, which are never equal", node.at, 2, hint)
    return BOOL


def _within(told: Findings, node: Binary, left: Shape, right: Shape) -> Shape:
    """`in`: what can never be there is a mistake."""
    fits = [arm for arm in arms(right) if isinstance(arm, Array | Object | Dyn)]
    if not fits:
        hint = f"write `{text_of(node.right)}.contains({text_of(node.left)})`" if kind(right) == "string" else ""
        told.wrong(f"`in` looks in a list or a map, not in {say(right)}", node.at, 2, hint)
    items = [arm.item if isinstance(arm, Array) else STRING if isinstance(arm, Object) else DYN for arm in fits]
    if items and not any(_equal(one, two) for one in arms(left) for item in items for two in arms(item)):
        told.wrong(f"{say(left)} is never in {say(right)}", node.at, 2)
    return BOOL


def _arithmetic(told: Findings, node: Binary, left: Shape, right: Shape) -> Shape:
    """`+ - * / %` and the orders."""
    op = node.op
    left = told.nonnull(left, node.left, node.left.at, 1)
    right = told.nonnull(right, node.right, node.right.at, 1)
    found = [one for a in arms(left) for b in arms(right) if (one := _combined(op, a, b)) is not None]
    if found:
        return BOOL if op in _ORDER else union(found)
    hint = ""
    kinds = {kind(left), kind(right)}
    if op == "+" and "string" in kinds:
        other = node.right if kind(left) == "string" else node.left
        hint = f"write `string({text_of(other)})`"
    elif op in _ORDER and kinds <= {"string", "int", "number"}:
        hint = "write `int(…)` around the text"
    return told.wrong(f"`{op}` cannot take {say(left)} and {say(right)}", node.at, len(op), hint)


def _misused(
    told: Findings,
    node: Call,
    args: list[Expr],
    given: list[Shape],
    forms: tuple[Function, ...],
    position: int,
    why: str,
) -> Shape:
    wanted = (*forms[0].takes, *forms[0].may_take)[position]
    if isinstance(given[position], Maybe) and not isinstance(wanted, Maybe):
        return told.optional(args[position])
    shown = f".{node.name}()" if node.target is not None else f"{node.name}()"
    if position == 0 and node.target is not None:
        takers = " or ".join(dict.fromkeys(say(form.takes[0]) for form in forms))
        hint = "an optional comes from `x.?field` or `x[?key]`" if isinstance(wanted, Maybe) else ""
        if node.name in ("contains",) and kind(given[0]) == "list":
            hint = f"write `{text_of(node.args[0])} in {text_of(args[0])}`"
        elif takers == "string" and kind(given[0]) in ("int", "number", "bool", "timestamp"):
            hint = f"write `string({text_of(args[0])}).{node.name}(…)`"
        return told.wrong(f"`{shown}` is for {takers}, not {say(given[0])}", node.at, len(node.name), hint, "type")
    return told.wrong(f"`{shown}`: {why}", args[position].at, width_of(args[position]))


_NUMERIC = union([INT, NUMBER])
_ORDER = frozenset(("<", "<=", ">", ">="))
_OPERATIONS: dict[tuple[str, str], tuple[str, Shape]] = {
    ("string", "string"): ("+<", STRING),
    ("int", "int"): ("+-*/%<", INT),
    ("number", "number"): ("+-*/<", NUMBER),
    ("int", "number"): ("+-*/<", NUMBER),
    ("number", "int"): ("+-*/<", NUMBER),
    ("timestamp", "duration"): ("+-", TIMESTAMP),
    ("duration", "timestamp"): ("+", TIMESTAMP),
    ("duration", "duration"): ("+-<", DURATION),
    ("timestamp", "timestamp"): ("-<", DURATION),
    ("bool", "bool"): ("<", BOOL),
}


def _combined(op: str, left: Shape, right: Shape) -> Shape | None:
    if isinstance(left, Dyn) or isinstance(right, Dyn):
        return DYN
    if op == "+" and isinstance(left, Array) and isinstance(right, Array):
        return Array(union([left.item, right.item]))
    symbol = "<" if op in _ORDER else op
    allowed, made = _OPERATIONS.get((kind(left), kind(right)), ("", DYN))
    return made if symbol in allowed else None


def _equal(left: Shape, right: Shape) -> bool:
    left, right = seen(left), seen(right)
    if isinstance(left, Dyn) or isinstance(right, Dyn):
        return True
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        numbers = {left.name, right.name} <= {"int", "number"}
        if left.name != right.name and not numbers:
            return False
        return not (left.values and right.values) or any(value in right.values for value in left.values)
    return kind(left) == kind(right)


def _unvalued(given: Shape) -> Shape:
    return union(Scalar(arm.name) if isinstance(arm, Scalar) else arm for arm in arms(given))


def _misfit(form: Function, given: list[Shape]) -> tuple[int, str] | None:
    """Which argument does not fit the function, and why."""
    wanted = (*form.takes, *form.may_take)
    for position, one in enumerate(given):
        target = wanted[position]
        if isinstance(target, Maybe):
            if not isinstance(one, Maybe | Dyn):
                return position, f"expected an optional, got {say(one)}"
        elif isinstance(one, Maybe) and not isinstance(target, Dyn):
            return position, "an optional value is used as a plain one"
        elif why := mismatch(one, target):
            return position, why
    return None


def _needs_value(form: Function, position: int) -> bool:
    wanted = (*form.takes, *form.may_take)[position]
    return not isinstance(wanted, Dyn | Maybe)


def _as_condition(node: Expr, given: Shape) -> str:
    text = text_of(node)
    match kind(given):
        case "string":
            return f'write `{text} != ""`'
        case "int" | "number":
            return f"write `{text} != 0`"
        case "list":
            return f"write `size({text}) > 0`"
        case "object" | "null":
            return f"write `{text} != null`, or test a field"
        case _:
            return ""


def width_of(node: Expr) -> int:
    """How many characters to underline."""
    match node:
        case Ident(name):
            return len(name)
        case Select(field=field):
            return len(field)
        case Const(value):
            return len(value) + 2 if isinstance(value, str) else len(str(value))
        case Call(name):
            return len(name)
        case _:
            return 1
