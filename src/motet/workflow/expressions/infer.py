"""The shape an expression comes to, and everything wrong with it before it runs.

Operators follow CEL: nothing is converted silently, but an int meets a double as a double. Guards narrow: `has(x.f)
? x.f : …`, `x.f != null && …`, `list.filter(x, has(x.f))`. What may be missing or null and is used without a guard
is a warning; what can never be is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motet.workflow.expressions.compiling import forms_of
from motet.workflow.expressions.library import Function
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
    path_of,
    text_of,
)
from motet.workflow.shapes import (
    BOOL,
    DURATION,
    DYN,
    INT,
    LIST,
    MAP,
    NULL,
    NUMBER,
    STRING,
    TIMESTAMP,
    TYPE,
    Array,
    Dyn,
    Maybe,
    Object,
    Scalar,
    Shape,
    arms,
    kind,
    literal,
    mismatch,
    nearby,
    say,
    seen,
    union,
    without_null,
)

Path: TypeAlias = tuple[str, ...]
Known = Literal["present", "not null"]
Facts: TypeAlias = Mapping[Path, Known]
"""What a condition established: a path that is there, or that is there and not null."""

_WORDS = {
    "None": "null",
    "nil": "null",
    "undefined": "null",
    "NULL": "null",
    "True": "true",
    "False": "false",
    "TRUE": "true",
    "FALSE": "false",
}
_OTHERS = {
    "secrets": "secrets are inputs: `inputs: {token: {type: string, secret: true}}`",
    "env": "an expression sees only the data of the run: give it as an input",
    "github": "name the step whose data it is",
    "self": "a step's own data has the step's name",
    "this": "a step's own data has the step's name",
    "now": "an expression has no clock: give the time as an input, or have a step fetch it",
    "input": "did you mean `inputs`?",
    "step": "did you mean `steps`?",
    "output": "name the step whose data it is",
    "outputs": "name the step whose data it is",
    "workflow": "did you mean `run`?",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with an expression; `at` and `width` are characters of its text."""

    message: str
    at: int
    width: int = 1
    hint: str = ""
    severity: Literal["error", "warning"] = "error"
    code: str = "type"


def inferred(
    tree: Expr, names: Mapping[str, Shape], known: Facts, *, suggest: bool = True
) -> tuple[Shape, list[Finding]]:
    """The shape of a tree where these names stand for these shapes, and what is wrong with it.

    `suggest`: look for the names that were probably meant, which takes time.
    """
    checker = _Checker(names, known, suggest=suggest)
    return checker.shape(tree), checker.findings


class _Checker:
    def __init__(self, names: Mapping[str, Shape], known: Facts, *, suggest: bool) -> None:
        self.names = names
        self.local: dict[str, Shape] = {}
        self.known = known
        self.suggest = suggest
        self.findings: list[Finding] = []

    def wrong(self, message: str, at: int, width: int = 1, hint: str = "", code: str = "type") -> Shape:
        self.findings.append(Finding(message, at, width, hint, "error", code))
        return DYN

    def doubt(self, message: str, at: int, width: int, hint: str, code: str) -> None:
        self.findings.append(Finding(message, at, width, hint, "warning", code))

    def found(self, name: str) -> Shape | None:
        return self.local.get(name) or self.names.get(name)

    def near(self, name: str, known: Iterable[str]) -> str:
        return nearby(name, known) if self.suggest else ""

    def under(self, known: Facts, node: Expr) -> Shape:
        before, self.known = self.known, {**self.known, **known}
        try:
            return self.shape(node)
        finally:
            self.known = before

    def bound(self, name: str, given: Shape, node: Expr, known: Facts | None = None) -> Shape:
        """The shape of a node in which a name stands for something else."""
        before, outer = self.known, self.local
        self.known = {path: fact for path, fact in before.items() if path[0] != name} | dict(known or {})
        self.local = {**outer, name: given}
        try:
            return self.shape(node)
        finally:
            self.known, self.local = before, outer

    def shape(self, node: Expr) -> Shape:  # noqa: C901 - one line for each kind of node
        match node:
            case Select():
                return self.sure(node, self.select(node))
            case Ident():
                return self.sure(node, self.ident(node))
            case Const(value):
                return literal(value)
            case Index():
                return self.sure(node, self.index(node))
            case Unary():
                return self.unary(node)
            case Binary():
                return self.binary(node)
            case Ternary():
                return self.ternary(node)
            case Call():
                return self.call(node)
            case ListOf(items, _, optional):
                return (
                    Array(union(self.item(one, index in optional) for index, one in enumerate(items)))
                    if items
                    else LIST
                )
            case MapOf():
                return self.map(node)
            case Macro():
                return self.macro(node)

    def item(self, node: Expr, optional: bool) -> Shape:  # noqa: FBT001 - private, two callers
        given = self.shape(node)
        return given.of if optional and isinstance(given, Maybe) else given

    def sure(self, node: Expr, given: Shape) -> Shape:
        if not self.known:
            return given
        path = path_of(node)
        return without_null(given) if path is not None and self.known.get(path) == "not null" else given

    # -- names and fields

    def ident(self, node: Ident) -> Shape:
        name = node.name
        found = self.found(name)
        if found is not None:
            return found
        if name in TYPE_NAMES:
            return TYPE
        hint = (
            f"CEL writes `{_WORDS[name]}`"
            if name in _WORDS
            else self.near(name, [*self.names, *self.local]) or _OTHERS.get(name, "")
        )
        return self.wrong(f"unknown name `{name}`", node.at, len(name), hint, "name")

    def select(self, node: Select) -> Shape:
        if isinstance(node.operand, Ident) and node.operand.name in ("steps", "inputs"):
            root = seen(self.shape(node.operand))
            if isinstance(root, Object) and root.extra is None and node.field not in root.fields:
                what = "step" if node.operand.name == "steps" else "input"
                hint = self.near(node.field, root.fields)
                return self.wrong(f"there is no {what} `{node.field}`", node.at, len(node.field), hint, "name")
        owner = seen(self.shape(node.operand))
        quiet = node.mode != "get"
        if isinstance(owner, Maybe):
            found = self.member(node, owner.of, quiet=True)
            return BOOL if node.mode == "has" else Maybe(found)
        found = self.member(node, owner, quiet=quiet)
        return BOOL if node.mode == "has" else Maybe(found) if node.mode == "maybe" else found

    def member(self, node: Select, owner: Shape, *, quiet: bool) -> Shape:
        """`quiet`: absence is being asked about, so only a name that can never be there is an error."""
        field, at, width = node.field, node.at, len(node.field)
        if isinstance(owner, Object) and (quiet or field in owner.required) and field in owner.fields:
            return owner.fields[field]
        if not quiet:
            owner = self.nonnull(owner, node.operand, at, width)
        results: list[Shape] = []
        objects: list[Object] = []
        for arm in arms(owner):
            if isinstance(arm, Dyn):
                results.append(DYN)
            elif isinstance(arm, Object):
                objects.append(arm)
                found = arm.fields.get(field, arm.extra)
                if found is not None:
                    results.append(found)
        if results:
            if not quiet and not any(isinstance(arm, Dyn) for arm in arms(owner)):
                self.presence(node, objects)
            return union(results)
        names = [name for one in objects for name in one.fields]
        text = text_of(node.operand)
        if objects:
            hint = (
                self.record_of(node)
                or self.near(field, names)
                or (f"it has {', '.join(dict.fromkeys(names[:8]))}" if names else "")
            )
            return self.wrong(f"`{text}` has no field `{field}`", at, width, hint, "field")
        return self.wrong(f"{say(owner)} has no field `{field}`", at, width, _not_a_field(text, field, owner), "field")

    def record_of(self, node: Select) -> str:
        """`ticket.ok`, where the record of the step was meant."""
        steps = seen(self.names.get("steps", DYN))
        if not isinstance(node.operand, Ident) or not isinstance(steps, Object):
            return ""
        record = seen(steps.fields.get(node.operand.name, DYN))
        known = isinstance(record, Object) and node.field in record.fields
        return f"the step's record has it: `steps.{node.operand.name}.{node.field}`" if known else ""

    def presence(self, node: Select, objects: list[Object]) -> None:
        field = node.field
        certain = all(field in one.required or (field not in one.fields and not one.fields) for one in objects)
        if certain or not any(field in one.fields for one in objects) or path_of(node) in self.known:
            return
        text = text_of(node.operand)
        hint = f"write `{text}.?{field}.orValue(…)`, or test `has({text}.{field})` first"
        self.doubt(f"`{field}` may be missing", node.at, len(field), hint, "optional")

    def nonnull(self, given: Shape, node: Expr, at: int, width: int) -> Shape:
        """The shape without null, and a warning when null was possible."""
        alternatives = arms(given)
        if NULL not in alternatives or len(alternatives) == 1:
            return given
        self.doubt(f"`{text_of(node)}` may be null", at, width, f"test `{text_of(node)} != null` first", "null")
        return without_null(given)

    def index(self, node: Index) -> Shape:
        owner, key = seen(self.shape(node.operand)), node.key
        given = self.shape(key)
        maybe = node.maybe or isinstance(owner, Maybe)
        owner = seen(owner.of) if isinstance(owner, Maybe) else owner
        if not maybe:
            owner = self.nonnull(owner, node.operand, node.at, 1)
        found: list[Shape] = []
        for arm in arms(owner):
            match arm:
                case Dyn():
                    found.append(DYN)
                case Array(item) if mismatch(given, INT) is None:
                    found.append(item)
                case Object(fields, _, extra) if mismatch(given, STRING) is None:
                    if isinstance(key, Const) and isinstance(key.value, str):
                        inner = fields.get(key.value, extra)
                        if inner is None and not node.maybe:
                            return self.wrong(
                                f"there is no entry `{key.value}`",
                                key.at,
                                len(key.value) + 2,
                                self.near(key.value, fields),
                                "field",
                            )
                        found.append(DYN if inner is None else inner)
                    else:
                        found.append(union([*fields.values(), *([extra] if extra is not None else [])]))
                case _:
                    continue
        if not found:
            return self.wrong(f"{say(owner)} cannot be indexed with {say(given)}", node.at)
        return Maybe(union(found)) if maybe else union(found)

    # -- operators

    def unary(self, node: Unary) -> Shape:
        if node.op == "!":
            return self.truth(node.operand)
        given = self.shape(node.operand)
        if mismatch(given, _NUMERIC) is not None:
            return self.wrong(f"`-` takes a number, not {say(given)}", node.at)
        return _unvalued(given)

    def ternary(self, node: Ternary) -> Shape:
        self.truth(node.condition)
        yes = self.under(facts(node.condition, truth=True), node.yes)
        no = self.under(facts(node.condition, truth=False), node.no)
        return union([yes, no])

    def binary(self, node: Binary) -> Shape:
        if node.op in ("&&", "||"):
            told = len(self.findings)
            self.truth(node.left, node.op)
            once = node.op if len(self.findings) == told else None
            before, self.known = self.known, {**self.known, **facts(node.left, truth=node.op == "&&")}
            self.truth(node.right, node.op) if once else self.shape(node.right)
            self.known = before
            return BOOL
        if node.op == "-" and (name := self.hyphenated(node)):
            return self.wrong(
                f"`{name}` reads as a subtraction",
                node.at,
                1,
                f"names have no `-`: write `{name.replace('-', '_')}`",
                "name",
            )
        left, right = self.shape(node.left), self.shape(node.right)
        for side, given in ((node.left, left), (node.right, right)):
            if isinstance(given, Maybe) and node.op not in ("==", "!="):
                return self.optional(side)
        if node.op == "in":
            return self.within(node, left, right)
        if node.op in ("==", "!="):
            return self.equality(node, left, right)
        return self.arithmetic(node, left, right)

    def hyphenated(self, node: Binary) -> str:
        """`open-pr` where there is no `open`, or no `pr`."""
        match node.left, node.right:
            case ((Ident(one) | Select(field=one)), Ident(two)) if (
                node.right.at == node.at + 1 and node.left.at + len(one) == node.at
            ):
                known = self.found(two) is not None and (
                    not isinstance(node.left, Ident) or self.found(one) is not None
                )
                return "" if known else f"{one}-{two}"
            case _:
                return ""

    def equality(self, node: Binary, left: Shape, right: Shape) -> Shape:
        left, right = (one.of if isinstance(one, Maybe) else one for one in (left, right))
        if not any(_equal(one, two) for one in arms(left) for two in arms(right)):
            why = mismatch(right, left) or ""
            hint = why.partition("; ")[2] or (
                "write `string(…)` around the number"
                if {kind(left), kind(right)} in ({"string", "int"}, {"string", "number"})
                else ""
            )
            self.wrong(f"`{node.op}` compares {say(left)} with {say(right)}, which are never equal", node.at, 2, hint)
        return BOOL

    def within(self, node: Binary, left: Shape, right: Shape) -> Shape:
        fits = [arm for arm in arms(right) if isinstance(arm, Array | Object | Dyn)]
        if not fits:
            hint = f"write `{text_of(node.right)}.contains({text_of(node.left)})`" if kind(right) == "string" else ""
            self.wrong(f"`in` looks in a list or a map, not in {say(right)}", node.at, 2, hint)
        items = [arm.item if isinstance(arm, Array) else STRING if isinstance(arm, Object) else DYN for arm in fits]
        if items and not any(_equal(one, two) for one in arms(left) for item in items for two in arms(item)):
            self.wrong(f"{say(left)} is never in {say(right)}", node.at, 2)
        return BOOL

    def arithmetic(self, node: Binary, left: Shape, right: Shape) -> Shape:
        op = node.op
        left = self.nonnull(left, node.left, node.left.at, 1)
        right = self.nonnull(right, node.right, node.right.at, 1)
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
        return self.wrong(f"`{op}` cannot take {say(left)} and {say(right)}", node.at, len(op), hint)

    def truth(self, node: Expr, op: str = "") -> Shape:
        given = self.shape(node)
        if isinstance(given, Maybe):
            return self.optional(node)
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
            self.wrong(what, node.at, _width(node), hint)
        return BOOL

    def optional(self, node: Expr) -> Shape:
        return self.wrong(
            "an optional value is used as a plain one", node.at, _width(node), "end it with `.orValue(…)`"
        )

    # -- calls

    def call(self, node: Call) -> Shape:
        args = node.args if node.target is None else [node.target, *node.args]
        given = [self.shape(arg) for arg in args]
        try:
            forms = forms_of(node)
        except Mistake as mistake:
            return self.wrong(mistake.message, mistake.at, mistake.width, mistake.hint, mistake.code)
        fitting = [form for form in forms if _misfit(form, given) is None]
        if fitting:
            form = fitting[0] if len(fitting) == 1 or not isinstance(seen(given[0]), Dyn) else None
            given = [
                self.nonnull(one, arg, node.at, len(node.name)) if _needs_value(fitting[0], at) else one
                for at, (one, arg) in enumerate(zip(given, args, strict=True))
            ]
            results = [
                one.gives if not callable(one.gives) else one.gives(given) for one in ([form] if form else fitting)
            ]
            return union(results)
        where = _misfit(forms[0], given)
        position, why = (0, "") if where is None else where
        return self.misused(node, args, given, forms, position, why)

    def misused(
        self, node: Call, args: list[Expr], given: list[Shape], forms: tuple[Function, ...], position: int, why: str
    ) -> Shape:
        wanted = (*forms[0].takes, *forms[0].may_take)[position]
        if isinstance(given[position], Maybe) and not isinstance(wanted, Maybe):
            return self.optional(args[position])
        shown = f".{node.name}()" if node.target is not None else f"{node.name}()"
        if position == 0 and node.target is not None:
            takers = " or ".join(dict.fromkeys(say(form.takes[0]) for form in forms))
            hint = "an optional comes from `x.?field` or `x[?key]`" if isinstance(wanted, Maybe) else ""
            if node.name in ("contains",) and kind(given[0]) == "list":
                hint = f"write `{text_of(node.args[0])} in {text_of(args[0])}`"
            elif takers == "string" and kind(given[0]) in ("int", "number", "bool", "timestamp"):
                hint = f"write `string({text_of(args[0])}).{node.name}(…)`"
            return self.wrong(f"`{shown}` is for {takers}, not {say(given[0])}", node.at, len(node.name), hint, "type")
        return self.wrong(f"`{shown}`: {why}", args[position].at, _width(args[position]))

    # -- lists, maps, macros

    def map(self, node: MapOf) -> Shape:
        fields: dict[str, Shape] = {}
        required: set[str] = set()
        fixed = True
        for index, (key, value) in enumerate(node.entries):
            name, given = self.shape(key), self.item(value, index in node.optional)
            if mismatch(name, STRING) is not None:
                self.wrong(f"a key must be text, not {say(name)}", key.at, _width(key))
            if isinstance(key, Const) and isinstance(key.value, str):
                fields[key.value] = given
                if index not in node.optional:
                    required.add(key.value)
            else:
                fixed = False
        return Object(fields, frozenset(required)) if fixed else MAP

    def macro(self, node: Macro) -> Shape:
        over = self.shape(node.over)
        if node.kind == "bind":
            return self.bound(node.name, over, node.args[0])
        if node.kind in ("optMap", "optFlatMap"):
            return self.opt_map(node, over)
        if isinstance(over, Maybe):
            return self.optional(node.over)
        over = self.nonnull(over, node.over, node.at, len(node.kind))
        if not any(isinstance(arm, Array | Object | Dyn) for arm in arms(over)):
            return self.wrong(
                f"`.{node.kind}()` goes through a list or a map, not {say(over)}", node.at, len(node.kind)
            )
        item = union(_item(arm) for arm in arms(over))
        return self.looped(node, item)

    def looped(self, node: Macro, item: Shape) -> Shape:
        test = node.args[0] if len(node.args) == 2 or node.kind in ("filter", "all", "exists", "exists_one") else None
        known: Facts = {}
        if test is not None:
            before, outer = self.known, self.local
            self.known = {path: fact for path, fact in before.items() if path[0] != node.name}
            self.local = {**outer, node.name: item}
            self.truth(test)
            self.known, self.local = before, outer
            known = facts(test, truth=True)
        match node.kind:
            case "filter":
                return Array(_narrowed(item, node.name, known))
            case "map":
                return Array(self.bound(node.name, item, node.args[-1], known))
            case "sortBy":
                key = self.bound(node.name, item, node.args[0])
                if any(isinstance(arm, Array | Object) for arm in arms(key)):
                    self.wrong(f"cannot sort by {say(key)}", node.args[0].at, _width(node.args[0]))
                return Array(item)
            case _:
                return BOOL

    def opt_map(self, node: Macro, over: Shape) -> Shape:
        if not isinstance(over, Maybe | Dyn):
            return self.wrong(
                f"`.{node.kind}()` is for optionals, not {say(over)}",
                node.at,
                len(node.kind),
                "an optional comes from `x.?field` or `x[?key]`",
            )
        made = self.bound(node.name, over.of if isinstance(over, Maybe) else DYN, node.args[0])
        return made if isinstance(made, Maybe) else Maybe(made)


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


def _item(arm: Shape) -> Shape:
    return arm.item if isinstance(arm, Array) else STRING if isinstance(arm, Object) else DYN


def _narrowed(item: Shape, name: str, known: Facts) -> Shape:
    """The item's shape, with what a test on it established."""
    found = {path[1]: fact for path, fact in known.items() if len(path) == 2 and path[0] == name}
    if (name,) in known:
        item = without_null(item)
    if not found:
        return item
    made: list[Shape] = []
    for arm in arms(item):
        if isinstance(arm, Object):
            fields = {
                key: without_null(part) if found.get(key) == "not null" else part for key, part in arm.fields.items()
            }
            made.append(Object(fields, arm.required | (found.keys() & fields.keys()), arm.extra))
        else:
            made.append(arm)
    return union(made)


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


def _not_a_field(text: str, field: str, owner: Shape) -> str:
    if field in ("length", "size", "count", "len"):
        return f"write `size({text})`"
    if kind(owner) == "list":
        return f"a list has items: `{text}[0].{field}`, or `{text}.map(x, x.{field})`"
    return ""


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


def _width(node: Expr) -> int:
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


def facts(node: Expr, *, truth: bool) -> dict[Path, Known]:
    """What holds where the condition is `truth`."""
    match node:
        case Select(operand, field, mode="has") if truth and (path := path_of(operand)) is not None:
            return {(*path, field): "present"}
        case Call("hasValue", Select(operand, field, mode="maybe")) if truth and (path := path_of(operand)) is not None:
            return {(*path, field): "present"}
        case Binary("!=" | "==" as op, operand, Const(None)) | Binary("!=" | "==" as op, Const(None), operand):
            path = path_of(operand)
            return {path: "not null"} if path is not None and (op == "!=") is truth else {}
        case Binary("==", operand, Const(value)) if (
            truth and value is not None and (path := path_of(operand)) is not None
        ):
            return {path: "not null"}
        case Binary("&&", left, right) if truth:
            return {**facts(left, truth=True), **facts(right, truth=True)}
        case Binary("||", left, right) if not truth:
            return {**facts(left, truth=False), **facts(right, truth=False)}
        case Unary("!", operand):
            return facts(operand, truth=not truth)
        case _:
            return {}
