"""The shape an expression comes to, and everything wrong with it before it runs.

Names, fields, macros, and what a guard establishes: `has(x.f) ? x.f : …`, `x.f != null && …`, `list.filter(x,
has(x.f))`. What may be missing or null and is used without a guard is a warning; what can never be is an error. What
operators and functions make of shapes is in `applying`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from motet.workflow.expressions.applying import Finding, Findings, applied, condition, negative, operation, width_of
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
    Select,
    Ternary,
    Unary,
    path_of,
    text_of,
)
from motet.workflow.shapes import (
    BOOL,
    DYN,
    INT,
    LIST,
    MAP,
    STRING,
    TYPE,
    Array,
    Dyn,
    Maybe,
    Object,
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


def inferred(
    tree: Expr, names: Mapping[str, Shape], known: Facts, *, suggest: bool = True
) -> tuple[Shape, list[Finding]]:
    """The shape of a tree where these names stand for these shapes, and what is wrong with it.

    `suggest`: look for the names that were probably meant, which takes time.
    """
    checker = _Checker(names, known, suggest=suggest)
    return checker.shape(tree), checker.told.all


class _Checker:
    def __init__(self, names: Mapping[str, Shape], known: Facts, *, suggest: bool) -> None:
        self.names = names
        self.local: dict[str, Shape] = {}
        self.known = known
        self.suggest = suggest
        self.told = Findings()

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
                args = node.args if node.target is None else [node.target, *node.args]
                return applied(self.told, node, [self.shape(arg) for arg in args])
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
        return self.told.wrong(f"unknown name `{name}`", node.at, len(name), hint, "name")

    def select(self, node: Select) -> Shape:
        if isinstance(node.operand, Ident) and node.operand.name in ("steps", "inputs"):
            root = seen(self.shape(node.operand))
            if isinstance(root, Object) and root.extra is None and node.field not in root.fields:
                what = "step" if node.operand.name == "steps" else "input"
                hint = self.near(node.field, root.fields)
                return self.told.wrong(f"there is no {what} `{node.field}`", node.at, len(node.field), hint, "name")
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
            owner = self.told.nonnull(owner, node.operand, at, width)
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
            return self.told.wrong(f"`{text}` has no field `{field}`", at, width, hint, "field")
        return self.told.wrong(
            f"{say(owner)} has no field `{field}`", at, width, _not_a_field(text, field, owner), "field"
        )

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
        self.told.doubt(f"`{field}` may be missing", node.at, len(field), hint, "optional")

    def index(self, node: Index) -> Shape:
        owner, key = seen(self.shape(node.operand)), node.key
        given = self.shape(key)
        maybe = node.maybe or isinstance(owner, Maybe)
        owner = seen(owner.of) if isinstance(owner, Maybe) else owner
        if not maybe:
            owner = self.told.nonnull(owner, node.operand, node.at, 1)
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
                            return self.told.wrong(
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
            return self.told.wrong(f"{say(owner)} cannot be indexed with {say(given)}", node.at)
        return Maybe(union(found)) if maybe else union(found)

    # -- operators

    def unary(self, node: Unary) -> Shape:
        if node.op == "!":
            return self.truth(node.operand)
        return negative(self.told, node, self.shape(node.operand))

    def ternary(self, node: Ternary) -> Shape:
        self.truth(node.condition)
        yes = self.under(facts(node.condition, truth=True), node.yes)
        no = self.under(facts(node.condition, truth=False), node.no)
        return union([yes, no])

    def binary(self, node: Binary) -> Shape:
        if node.op in ("&&", "||"):
            so_far = len(self.told.all)
            self.truth(node.left, node.op)
            once = node.op if len(self.told.all) == so_far else None
            before, self.known = self.known, {**self.known, **facts(node.left, truth=node.op == "&&")}
            self.truth(node.right, node.op) if once else self.shape(node.right)
            self.known = before
            return BOOL
        if node.op == "-" and (name := self.hyphenated(node)):
            return self.told.wrong(
                f"`{name}` reads as a subtraction",
                node.at,
                1,
                f"names have no `-`: write `{name.replace('-', '_')}`",
                "name",
            )
        return operation(self.told, node, self.shape(node.left), self.shape(node.right))

    def truth(self, node: Expr, op: str = "") -> Shape:
        return condition(self.told, node, self.shape(node), op)

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

    # -- lists, maps, macros

    def map(self, node: MapOf) -> Shape:
        fields: dict[str, Shape] = {}
        required: set[str] = set()
        fixed = True
        for index, (key, value) in enumerate(node.entries):
            name, given = self.shape(key), self.item(value, index in node.optional)
            if mismatch(name, STRING) is not None:
                self.told.wrong(f"a key must be text, not {say(name)}", key.at, width_of(key))
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
            return self.told.optional(node.over)
        over = self.told.nonnull(over, node.over, node.at, len(node.kind))
        if not any(isinstance(arm, Array | Object | Dyn) for arm in arms(over)):
            return self.told.wrong(
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
                    self.told.wrong(f"cannot sort by {say(key)}", node.args[0].at, width_of(node.args[0]))
                return Array(item)
            case _:
                return BOOL

    def opt_map(self, node: Macro, over: Shape) -> Shape:
        if not isinstance(over, Maybe | Dyn):
            return self.told.wrong(
                f"`.{node.kind}()` is for optionals, not {say(over)}",
                node.at,
                len(node.kind),
                "an optional comes from `x.?field` or `x[?key]`",
            )
        made = self.bound(node.name, over.of if isinstance(over, Maybe) else DYN, node.args[0])
        return made if isinstance(made, Maybe) else Maybe(made)


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


def _not_a_field(text: str, field: str, owner: Shape) -> str:
    if field in ("length", "size", "count", "len"):
        return f"write `size({text})`"
    if kind(owner) == "list":
        return f"a list has items: `{text}[0].{field}`, or `{text}.map(x, x.{field})`"
    return ""


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
