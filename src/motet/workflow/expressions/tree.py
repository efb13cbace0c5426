"""The syntax tree of an expression. `at` is where a node stands: characters from the begin of the expression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from motet.calls import Json


@dataclass(slots=True)
class Const:
    """A literal."""

    value: Json
    at: int = 0


@dataclass(slots=True)
class Ident:
    """A name."""

    name: str
    at: int = 0


@dataclass(slots=True)
class Select:
    """`x.f`, `has(x.f)` or `x.?f`; `at` is the field's."""

    operand: Expr
    field: str
    at: int = 0
    mode: Literal["get", "has", "maybe"] = "get"


@dataclass(slots=True)
class Index:
    """`x[k]`, or `x[?k]` when `maybe`; `at` is the bracket's."""

    operand: Expr
    key: Expr
    at: int = 0
    maybe: bool = False


@dataclass(slots=True)
class Unary:
    """`!x` or `-x`."""

    op: str
    operand: Expr
    at: int = 0


@dataclass(slots=True)
class Binary:
    """Two operands; `at` is the operator's."""

    op: str
    left: Expr
    right: Expr
    at: int = 0


@dataclass(slots=True)
class Ternary:
    """`condition ? yes : no`; `at` is the question mark's."""

    condition: Expr
    yes: Expr
    no: Expr
    at: int = 0


@dataclass(slots=True)
class Call:
    """`name(…)`, or `target.name(…)`; names of namespaces are whole: `math.abs`. `at` is the name's."""

    name: str
    target: Expr | None
    args: list[Expr]
    at: int = 0


@dataclass(slots=True)
class ListOf:
    """`[a, ?b]`; `optional` holds the positions marked with `?`."""

    items: list[Expr]
    at: int = 0
    optional: frozenset[int] = frozenset()


@dataclass(slots=True)
class MapOf:
    """`{k: v, ?k: v}`."""

    entries: list[tuple[Expr, Expr]]
    at: int = 0
    optional: frozenset[int] = frozenset()


@dataclass(slots=True)
class Macro:
    """`over.kind(name, …)`: the arguments are evaluated with `name` bound to each item in turn."""

    kind: str
    """map, filter, all, exists, exists_one, sortBy, optMap, optFlatMap; `bind` binds `over` itself."""
    name: str
    over: Expr
    args: list[Expr]
    at: int = 0
    name_at: int = 0


Expr: TypeAlias = Const | Ident | Select | Index | Unary | Binary | Ternary | Call | ListOf | MapOf | Macro


class Mistake(Exception):
    """An expression that cannot be used: what is wrong, where, and what to write instead."""

    def __init__(self, message: str, at: int, *, width: int = 1, hint: str = "", code: str = "syntax") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.width = width
        self.hint = hint
        self.code = code


@dataclass(slots=True)
class _Weight:
    nodes: int = 0
    depth: int = 0
    stack: list[tuple[Expr, int]] = field(default_factory=list["tuple[Expr, int]"])


def children(node: Expr) -> list[Expr]:
    """What stands directly below a node."""
    match node:
        case Const() | Ident():
            return []
        case Select(operand) | Unary(_, operand):
            return [operand]
        case Index(operand, key):
            return [operand, key]
        case Binary(_, left, right):
            return [left, right]
        case Ternary(condition, yes, no):
            return [condition, yes, no]
        case Call(_, target, args):
            return args if target is None else [target, *args]
        case ListOf(items):
            return items
        case MapOf(entries):
            return [one for entry in entries for one in entry]
        case Macro(_, _, over, args):
            return [over, *args]


def measure(root: Expr) -> tuple[int, int]:
    """How many nodes there are, and how deep they lie. Does not recurse."""
    weight = _Weight(stack=[(root, 1)])
    while weight.stack:
        node, depth = weight.stack.pop()
        weight.nodes += 1
        weight.depth = max(weight.depth, depth)
        weight.stack.extend((child, depth + 1) for child in children(node))
    return weight.nodes, weight.depth


def path_of(node: Expr) -> tuple[str, ...] | None:
    """`a.b["c"]` as ("a", "b", "c"), or None when it is not such a path. An optional step belongs to the path."""
    names: list[str] = []
    while True:
        match node:
            case Ident(name):
                return (name, *reversed(names))
            case Select(operand, field_name):
                names.append(field_name)
                node = operand
            case Index(operand, Const(str() as key)):
                names.append(key)
                node = operand
            case _:
                return None


def points(node: Expr) -> bool:
    """Is it a literal, or a plain path into data (`a.b["c"]`, no `.?`, no `has`)?"""
    while True:
        match node:
            case Const() | Ident():
                return True
            case Select(operand, mode="get") | Index(operand, Const(str() | int()), maybe=False):
                node = operand
            case _:
                return False


def text_of(node: Expr) -> str:
    """How a small expression is written, for hints; `…` for what is long."""
    match node:
        case Ident(name):
            return name
        case Select(operand, name, _, mode):
            return f"{text_of(operand)}{'.?' if mode == 'maybe' else '.'}{name}"
        case Const(value):
            return f'"{value}"' if isinstance(value, str) else "null" if value is None else str(value).lower()
        case Index(operand, key):
            return f"{text_of(operand)}[{text_of(key)}]"
        case Call(name, target, []):
            return f"{name}()" if target is None else f"{text_of(target)}.{name}()"
        case _:
            return "…"


def reads_of(root: Expr) -> frozenset[tuple[str, ...]]:
    """The paths of data an expression may read: `a.b.c` reads that, not all of `a`. Macros' own names are left out."""
    found: set[tuple[str, ...]] = set()
    stack: list[tuple[Expr, frozenset[str]]] = [(root, frozenset())]
    while stack:
        node, bound = stack.pop()
        if isinstance(node, Ident | Select | Index) and (path := path_of(node)) is not None:
            if path[0] not in bound:
                found.add(path)
            continue
        if isinstance(node, Macro):
            stack.append((node.over, bound))
            inner = bound | {node.name}
            stack.extend((arg, inner) for arg in node.args)
            continue
        stack.extend((child, bound) for child in children(node))
    return frozenset(path for path in found if path[0] not in TYPE_NAMES)


TYPE_NAMES = frozenset(("bool", "double", "int", "list", "map", "null_type", "string", "type"))
"""Names of types: what `type(x)` gives and can be compared with."""
RESERVED = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while".split()  # noqa: SIM905 - reads as the list in the language definition
)
"""CEL's reserved identifiers."""
NAMESPACES = frozenset(("math", "optional", "lists", "cel", "strings", "base64"))
