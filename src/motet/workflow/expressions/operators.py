"""What operators do: the operands' evaluators made into the evaluator of the whole.

`&&` and `||` absorb a failure of one side that the other side decides (cel-spec, "logical operators"). Nothing is
converted silently, with one deviation, on purpose: an integer meets a double as a double. An integer that does not fit
64 bits is a fault.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime, timedelta

from motet.calls import Json
from motet.workflow.expressions.runtime import (
    INT_MAX,
    INT_MIN,
    Fault,
    Frame,
    Missing,
    Optional,
    Run,
    Spent,
    is_list,
    is_map,
    kind_of,
    same,
    truth,
)


def unary(op: str, operand: Run, at: int) -> Run:
    """The evaluator of `!` or `-` on an operand."""
    return _not(operand, at) if op == "!" else _negative(operand, at)


def binary(op: str, left: Run, right: Run, at: int) -> Run:
    """The evaluator of an operator between two operands."""
    match op:
        case "&&" | "||":
            return _either(left, right, at, stop=op == "||")
        case "==":
            return lambda f: _equal(left(f), right(f), f, at)
        case "!=":
            return lambda f: not _equal(left(f), right(f), f, at)
        case "in":
            return lambda f: _within(left(f), right(f), f, at)
        case "+":
            return _plus(left, right, at)
        case _:
            return _arithmetic(op, left, right, at)


def _not(operand: Run, at: int) -> Run:
    return lambda f: not truth(operand(f), at)


def _negative(operand: Run, at: int) -> Run:
    def run(f: Frame) -> Json:
        value = operand(f)
        if type(value) not in (int, float, timedelta):
            raise Fault(f"`-` takes a number, not {kind_of(value)}", at)
        return _bounded(-value, at)

    return run


def _either(left: Run, right: Run, at: int, *, stop: bool) -> Run:
    def run(f: Frame) -> bool:
        try:
            decided = truth(left(f), at)
        except Spent:
            raise
        except Fault as fault:
            try:
                other = truth(right(f), at)
            except Missing as missing:
                raise (fault if isinstance(fault, Missing) else missing) from None
            except Spent:
                raise
            except Fault:
                raise fault from None
            if other is stop:
                return stop
            raise
        return stop if decided is stop else truth(right(f), at)

    return run


def _equal(left: Json, right: Json, frame: Frame, at: int) -> bool:
    if isinstance(left, Optional) and isinstance(right, Optional):
        return left.present is right.present and same(left.value, right.value, frame, at)
    return same(left, right, frame, at)


def _within(item: Json, many: Json, frame: Frame, at: int) -> bool:
    if is_map(many):
        if not isinstance(item, str | int | float):
            raise Fault(f"{kind_of(item)} is no key of a map", at)
        return isinstance(item, str) and item in many
    if not is_list(many):
        hint = '; write `text.contains("part")`' if isinstance(many, str) else ""
        raise Fault(f"`in` looks in a list or a map, not in {kind_of(many)}{hint}", at)
    frame.spend(len(many) >> 3, at)
    return any(same(item, one, frame, at) for one in many)


def _bounded(value: Json, at: int) -> Json:
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        raise Fault("the integer does not fit 64 bits", at)
    return value


def _plus(left: Run, right: Run, at: int) -> Run:
    def run(f: Frame) -> Json:
        one, two = left(f), right(f)
        first, second = one.__class__, two.__class__
        if first is str and second is str:
            if len(one) + len(two) > 64:
                f.spend((len(one) + len(two)) >> 6, at)
            return one + two
        if first is list and second is list:
            f.spend(len(one) + len(two), at)
            return one + two
        if first in _NUMBERS and second in _NUMBERS:
            return _bounded(one + two, at)
        return _timed("+", one, two, at)

    return run


_NUMBERS = frozenset((int, float))


def _divide(one: Json, two: Json) -> Json:
    if type(one) is int and type(two) is int:
        if two == 0:
            raise ZeroDivisionError("divided by zero")
        quotient = abs(one) // abs(two)
        return quotient if (one < 0) == (two < 0) else -quotient
    if two == 0:
        return (
            float("nan")
            if one == 0 or one != one
            else float("inf")
            if (one > 0) == (str(float(two))[0] != "-")
            else float("-inf")
        )
    return one / two


def _remainder(one: Json, two: Json) -> Json:
    if type(one) is not int or type(two) is not int:
        raise TypeError("`%` takes integers")
    if two == 0:
        raise ZeroDivisionError("remainder of a division by zero")
    return one - two * _divide(one, two)


_OPERATORS: dict[str, Callable[[Json, Json], Json]] = {
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": _remainder,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDER = frozenset(("<", "<=", ">", ">="))
_ORDERED = frozenset((str, bool, datetime, timedelta))


def _arithmetic(op: str, left: Run, right: Run, at: int) -> Run:
    work, orders = _OPERATORS[op], op in _ORDER

    def run(f: Frame) -> Json:
        one, two = left(f), right(f)
        first, second = one.__class__, two.__class__
        if first in _NUMBERS and second in _NUMBERS:
            try:
                return _bounded(work(one, two), at)
            except (ZeroDivisionError, OverflowError, TypeError) as error:
                raise Fault(str(error), at) from None
        if orders and first is second and first in _ORDERED:
            return work(one, two)
        return _timed(op, one, two, at)

    return run


def _timed(op: str, one: Json, two: Json, at: int) -> Json:
    """`+` and `-` with instants and durations; anything else is a fault."""
    kinds = (kind_of(one), kind_of(two))
    fits = kinds in _TIMED[op] if op in _TIMED else False
    if fits:
        try:
            return one + two if op == "+" else one - two
        except OverflowError:
            raise Fault("the time is out of range", at) from None
    hint = ""
    if op == "+" and (isinstance(one, str) or isinstance(two, str)):
        hint = "; write `string(…)` around what is no text"
    raise Fault(f"`{op}` cannot take {kinds[0]} and {kinds[1]}{hint}", at)


_TIMED = {
    "+": (("timestamp", "duration"), ("duration", "timestamp"), ("duration", "duration")),
    "-": (("timestamp", "duration"), ("timestamp", "timestamp"), ("duration", "duration")),
}
