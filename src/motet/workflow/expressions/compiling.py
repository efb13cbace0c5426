"""Tree -> closure: each node becomes one function of the frame, so that evaluating is calling.

Names, fields, calls and macros; what operators do is in `operators`. Failures are exceptions that know their place,
and `all` and `exists` absorb one that another item decides (cel-spec, "macros"). One deviation, on purpose:
`null.?field` is an empty optional.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from motet.calls import Json
from motet.workflow.expressions.functions import sort_pairs
from motet.workflow.expressions.library import FUNCTIONS, LIKELY, METHODS, NO_CLOCK, Function
from motet.workflow.expressions.operators import binary, unary
from motet.workflow.expressions.runtime import (
    NONE,
    Fault,
    Frame,
    Missing,
    Optional,
    Run,
    Spent,
    TypeName,
    is_list,
    is_map,
    kind_of,
    truth,
)
from motet.workflow.expressions.tree import (
    TYPE_NAMES,
    Binary,
    Call,
    Const,
    Expr,
    Ident,
    Index,
    ListOf,
    Macro,
    MapOf,
    Mistake,
    Select,
    Ternary,
    Unary,
    measure,
)
from motet.workflow.shapes import Scalar, Shape, arms, kind, nearby

_RECORDS = ("steps", "inputs")


def compiled(tree: Expr) -> tuple[Run, int]:
    """The evaluator of a tree, and how many slots its frame needs. Raises `Mistake`: a function does not exist."""
    compiler = _Compiler()
    return compiler.run(tree, {}), compiler.slots


class _Compiler:
    def __init__(self) -> None:
        self.slots = 0

    def run(self, node: Expr, bound: dict[str, int]) -> Run:  # noqa: C901 - one line for each kind of node
        match node:
            case Const(value):
                return lambda _: value
            case Ident(name, at):
                return _name(name, at, bound)
            case Select():
                return self.select(node, bound)
            case Index(operand, key, at, maybe):
                owner, index = self.run(operand, bound), self.run(key, bound)
                return (
                    (lambda f: _maybe_item(owner(f), index(f), at))
                    if maybe
                    else (lambda f: _item(owner(f), index(f), at))
                )
            case Unary(op, operand, at):
                return unary(op, self.run(operand, bound), at)
            case Binary(op, left, right, at):
                return binary(op, self.run(left, bound), self.run(right, bound), at)
            case Ternary(condition, yes, no, at):
                test, then, other = self.run(condition, bound), self.run(yes, bound), self.run(no, bound)
                return lambda f: then(f) if truth(test(f), at) else other(f)
            case Call():
                return self.call(node, bound)
            case ListOf(items, at, optional):
                return _list_of([self.run(item, bound) for item in items], optional, at)
            case MapOf(entries, at, optional):
                pairs = [(self.run(key, bound), self.run(value, bound)) for key, value in entries]
                return _map_of(pairs, optional, at)
            case Macro():
                return self.macro(node, bound)

    def select(self, node: Select, bound: dict[str, int]) -> Run:
        field, at = node.field, node.at
        root = node.operand.name if isinstance(node.operand, Ident) and node.operand.name not in bound else ""
        owner = self.run(node.operand, bound)
        if node.mode == "maybe":
            return lambda f: _maybe_field(owner(f), field, at)
        if node.mode == "has":
            return lambda f: _has(owner(f), field, at)
        record = root in _RECORDS

        def get(f: Frame) -> Json:
            value = owner(f)
            try:
                return value[field]
            except (KeyError, TypeError):
                pass  # absent, or no map: told below
            if record and is_map(value):
                raise Missing(field if root == "steps" else f"inputs.{field}", at)
            return _field(value, field, at)

        return get

    def call(self, node: Call, bound: dict[str, int]) -> Run:
        args = node.args if node.target is None else [node.target, *node.args]
        forms = forms_of(node)
        return _called(forms, [self.run(arg, bound) for arg in args], node)

    def macro(self, node: Macro, bound: dict[str, int]) -> Run:
        slot = self.slots
        self.slots += 1
        inner = {**bound, node.name: slot}
        over, args = self.run(node.over, bound), [self.run(arg, inner) for arg in node.args]
        cost = 1 + sum(measure(arg)[0] for arg in node.args) // 8
        return _MACROS[node.kind](over, args, slot, cost, node.at)


def forms_of(node: Call) -> tuple[Function, ...]:
    """The functions a call may mean. Raises `Mistake`: none has that name, or takes so many arguments."""
    name, method = node.name, node.target is not None
    forms = (METHODS if method else FUNCTIONS).get(name)
    width = len(name)
    if forms is None:
        shown = f".{name}()" if method else f"{name}()"
        raise Mistake(
            f"there is no function `{shown}`", node.at, width=width, hint=_instead(name, method=method), code="function"
        )
    given = len(node.args) + method
    fitting = tuple(form for form in forms if len(form.takes) <= given <= len(form.takes) + len(form.may_take))
    if not fitting:
        least, most = len(forms[0].takes) - method, len(forms[0].takes) + len(forms[0].may_take) - method
        count = f"{least}" if least == most else f"{least} to {most}"
        message = f"`{name}` takes {count} argument{'' if count == '1' else 's'}, not {len(node.args)}"
        hint = f"such as `{forms[0].example}`"
        if name == "format" and len(node.args) > 1:
            hint = "the values are one list: `.format([a, b])`"
        raise Mistake(message, node.at, width=width, hint=hint, code="function")
    return fitting


def _instead(name: str, *, method: bool) -> str:
    if name in LIKELY:
        what = LIKELY[name]
        return f"write {what}" if "`" in what else f"write `{what}`"
    if name in NO_CLOCK:
        return "an expression sees only the data of the run: give it as an input, or have a step fetch it"
    if not method and name in METHODS:
        return f"it is a method: `x.{name}(…)`"
    if method and name in FUNCTIONS:
        return f"it is a function: `{name}(x)`"
    return nearby(name, METHODS if method else FUNCTIONS)


def _name(name: str, at: int, bound: dict[str, int]) -> Run:
    if name in bound:
        slot = bound[name]
        return lambda f: f.slots[slot]

    def get(f: Frame) -> Json:
        try:
            return f.scope[name]
        except KeyError:
            if name in TYPE_NAMES:
                return TypeName(name)
            raise Missing(name, at) from None

    return get


def _field(value: Json, field: str, at: int) -> Json:
    if is_map(value):
        if field in value:
            return value[field]
        raise Fault(f"there is no field `{field}`", at)
    if isinstance(value, Optional):
        return _maybe_field(value, field, at)
    raise Fault(f"{kind_of(value)} has no field `{field}`", at)


def _has(value: Json, field: str, at: int) -> bool:
    if isinstance(value, Optional):
        value = value.value if value.present else {}
    if value is None:
        return False
    if not is_map(value):
        raise Fault(f"{kind_of(value)} has no fields", at)
    return field in value


def _maybe_field(value: Json, field: str, at: int) -> Optional:
    if isinstance(value, Optional):
        value = value.value if value.present else None
    if value is None:
        return NONE
    if not is_map(value):
        raise Fault(f"{kind_of(value)} has no fields", at)
    return Optional(value[field]) if field in value else NONE


def _position(key: Json) -> int | None:
    if type(key) is int:
        return key
    return int(key) if type(key) is float and key.is_integer() else None


def _item(value: Json, key: Json, at: int) -> Json:
    if isinstance(value, Optional):
        return _maybe_item(value, key, at)
    if is_list(value):
        position = _position(key)
        if position is None:
            raise Fault(f"a list is indexed with an integer, not {kind_of(key)}", at)
        if not 0 <= position < len(value):
            raise Fault(f"there is no item {position}: the list has {len(value)}", at)
        return value[position]
    if is_map(value):
        if not isinstance(key, str):
            raise Fault(f"a map is indexed with a string, not {kind_of(key)}", at)
        if key not in value:
            raise Fault(f'there is no entry "{key[:60]}"', at)
        return value[key]
    raise Fault(f"{kind_of(value)} cannot be indexed", at)


def _maybe_item(value: Json, key: Json, at: int) -> Optional:
    if isinstance(value, Optional):
        value = value.value if value.present else None
    if value is None:
        return NONE
    if is_map(value):
        return Optional(value[key]) if isinstance(key, str) and key in value else NONE
    if is_list(value):
        position = _position(key)
        return Optional(value[position]) if position is not None and 0 <= position < len(value) else NONE
    raise Fault(f"{kind_of(value)} cannot be indexed", at)


def _list_of(items: list[Run], optional: frozenset[int], at: int) -> Run:
    if not optional:
        return lambda f: [item(f) for item in items]

    def run(f: Frame) -> Json:
        made: list[Json] = []
        for position, item in enumerate(items):
            value = item(f)
            if position in optional:
                if not isinstance(value, Optional):
                    raise Fault(f"`?` stands before an optional, not {kind_of(value)}", at)
                if not value.present:
                    continue
                value = value.value
            made.append(value)
        return made

    return run


def _map_of(pairs: list[tuple[Run, Run]], optional: frozenset[int], at: int) -> Run:
    def run(f: Frame) -> Json:
        made: dict[str, Json] = {}
        for position, (key_run, value_run) in enumerate(pairs):
            key, value = key_run(f), value_run(f)
            if not isinstance(key, str):
                raise Fault(f"a key must be text, not {kind_of(key)}", at)
            if key in made:
                raise Fault(f'the key "{key[:60]}" comes twice', at)
            if position in optional:
                if not isinstance(value, Optional):
                    raise Fault(f"`?` stands before an optional, not {kind_of(value)}", at)
                if not value.present:
                    continue
                value = value.value
            made[key] = value
        return made

    return run


def _called(forms: tuple[Function, ...], args: list[Run], node: Call) -> Run:
    """The kinds of what is given decide between the forms, and whether there is one."""
    at, shown = node.at, f".{node.name}()" if node.target is not None else f"{node.name}()"
    tests = [(form.run, [_accepts(one) for one in (*form.takes, *form.may_take)]) for form in forms]

    def run(f: Frame) -> Json:
        given = [arg(f) for arg in args]
        for work, accepts in tests:
            for accept, value in zip(accepts, given, strict=False):
                if accept is not None and value.__class__ not in accept:
                    break
            else:
                try:
                    return work(f, *given)
                except (TypeError, ValueError, IndexError, OverflowError) as error:
                    raise Fault(f"{shown}: {error}", at) from None
                except Fault as fault:
                    fault.at = fault.at or at
                    raise
        kinds = [kind_of(value) for value in given]
        inside = f" with {', '.join(kinds[1:])}" if kinds[1:] else ""
        raise Fault(f"{shown} cannot be used on {kinds[0]}{inside}", at)

    return run


_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "number": (float, int),
    "bool": (bool,),
    "timestamp": (datetime,),
    "duration": (timedelta,),
    "list": (list,),
    "object": (dict,),
    "optional": (Optional,),
}


def _accepts(wanted: Shape) -> frozenset[type] | None:
    kinds = [arm.name if isinstance(arm, Scalar) else kind(arm) for arm in arms(wanted)]
    if "any" in kinds:
        return None
    return frozenset(one for name in kinds for one in _PYTHON.get(name, ()))


# -- macros ----------------------------------------------------------------------------------------------------------


def _looped(value: Json, at: int) -> list[Json]:
    if is_list(value):
        return value
    if is_map(value):
        return list(value)
    raise Fault(f"cannot go through {kind_of(value)} item by item", at)


def _map(over: Run, args: list[Run], slot: int, cost: int, at: int) -> Run:
    test, body = (args[0], args[1]) if len(args) == 2 else (None, args[0])

    def run(f: Frame) -> Json:
        made: list[Json] = []
        slots = f.slots
        for item in _looped(over(f), at):
            f.spend(cost, at)
            slots[slot] = item
            if test is None or truth(test(f), at):
                made.append(body(f))
        return made

    return run


def _filter(over: Run, args: list[Run], slot: int, cost: int, at: int) -> Run:
    (test,) = args

    def run(f: Frame) -> Json:
        made: list[Json] = []
        slots = f.slots
        for item in _looped(over(f), at):
            f.spend(cost, at)
            slots[slot] = item
            if truth(test(f), at):
                made.append(item)
        return made

    return run


def _quantified(*, stop: bool) -> Callable[[Run, list[Run], int, int, int], Run]:
    def make(over: Run, args: list[Run], slot: int, cost: int, at: int) -> Run:
        (test,) = args

        def run(f: Frame) -> bool:
            fault: Fault | None = None
            for item in _looped(over(f), at):
                f.spend(cost, at)
                f.slots[slot] = item
                try:
                    if truth(test(f), at) is stop:
                        return stop
                except Spent:
                    raise
                except Fault as found:
                    fault = fault or found
            if fault is not None:
                raise fault
            return not stop

        return run

    return make


def _exists_one(over: Run, args: list[Run], slot: int, cost: int, at: int) -> Run:
    (test,) = args

    def run(f: Frame) -> bool:
        found = 0
        for item in _looped(over(f), at):
            f.spend(cost, at)
            f.slots[slot] = item
            found += truth(test(f), at)
        return found == 1

    return run


def _sort_by(over: Run, args: list[Run], slot: int, cost: int, at: int) -> Run:
    (key,) = args

    def run(f: Frame) -> Json:
        pairs: list[tuple[Json, Json]] = []
        for item in _looped(over(f), at):
            f.spend(cost, at)
            f.slots[slot] = item
            pairs.append((key(f), item))
        try:
            return [item for _, item in sort_pairs(f, pairs)]
        except TypeError as error:
            raise Fault(f".sortBy(): {error}", at) from None

    return run


def _opt_map(*, flat: bool) -> Callable[[Run, list[Run], int, int, int], Run]:
    def make(over: Run, args: list[Run], slot: int, cost: int, at: int) -> Run:
        (body,) = args

        def run(f: Frame) -> Json:
            value = over(f)
            if not isinstance(value, Optional):
                raise Fault(f"an optional is needed here, not {kind_of(value)}", at)
            if not value.present:
                return NONE
            f.spend(cost, at)
            f.slots[slot] = value.value
            made = body(f)
            if not flat:
                return Optional(made)
            if not isinstance(made, Optional):
                raise Fault(f".optFlatMap(): the expression gives {kind_of(made)}, not an optional", at)
            return made

        return run

    return make


def _bind(over: Run, args: list[Run], slot: int, cost: int, at: int) -> Run:
    (body,) = args

    def run(f: Frame) -> Json:
        f.spend(cost, at)
        f.slots[slot] = over(f)
        return body(f)

    return run


_MACROS: dict[str, Callable[[Run, list[Run], int, int, int], Run]] = {
    "map": _map,
    "filter": _filter,
    "all": _quantified(stop=False),
    "exists": _quantified(stop=True),
    "exists_one": _exists_one,
    "sortBy": _sort_by,
    "optMap": _opt_map(flat=False),
    "optFlatMap": _opt_map(flat=True),
    "bind": _bind,
}
