"""What may be known of a value before it exists: JSON Schema, seen as a shape.

`Dyn` is the gradual type: where no schema speaks, nothing is complained of. Unions, optional fields and
enumerations stay what they are; `$ref` is followed when it is looked at, so recursive schemas cost nothing. A
schema that lists its properties and says nothing of others means these and no others: `additionalProperties: true`
says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeAlias, cast

from motet.calls import Json

_DEEPEST = 48
"""Nesting of one schema or one comparison; what lies deeper is not looked at."""


@dataclass(frozen=True, slots=True)
class Dyn:
    """Anything: nothing is known."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One kind of plain value; `values` are the only ones it can have (an enumeration or a literal), empty: any."""

    name: str
    """null bool int number string timestamp duration type."""
    values: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Array:
    """A list."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Object:
    """A map; `extra` is the shape of undeclared fields, None: there are none."""

    fields: Mapping[str, Shape] = field(hash=False)
    required: frozenset[str] = frozenset()
    extra: Shape | None = None


@dataclass(frozen=True, slots=True)
class Union:
    """One of several."""

    members: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Maybe:
    """CEL's optional: only inside expressions, and where an empty one leaves an argument out."""

    of: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Ref:
    """`$ref` into its own document, followed by `seen`."""

    root: Mapping[str, Json] = field(repr=False)
    pointer: str = "#"


Shape: TypeAlias = Dyn | Scalar | Array | Object | Union | Maybe | Ref

DYN, NULL, BOOL, INT, NUMBER = Dyn(), Scalar("null"), Scalar("bool"), Scalar("int"), Scalar("number")
STRING, TIMESTAMP, DURATION, TYPE = Scalar("string"), Scalar("timestamp"), Scalar("duration"), Scalar("type")
LIST, MAP = Array(DYN), Object({}, frozenset(), DYN)
_BY_NAME: dict[object, Shape] = {"null": NULL, "boolean": BOOL, "integer": INT, "number": NUMBER, "string": STRING}


def shape(schema: Json, root: Mapping[str, Json] | None = None, depth: int = 0) -> Shape:
    """What a JSON Schema says of its values. Never fails: what it does not understand is `Dyn`."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return DYN
    schema = cast("Mapping[str, Json]", schema)
    whole = schema if root is None else root
    if isinstance(ref := schema.get("$ref"), str):
        return Ref(whole, ref)
    if "const" in schema:
        return literal(schema["const"])
    if isinstance(values := schema.get("enum"), list):
        return union(literal(value) for value in cast("list[Json]", values))
    for key in ("anyOf", "oneOf"):
        if isinstance(members := schema.get(key), list):
            return union(shape(member, whole, depth + 1) for member in cast("list[Json]", members))
    if isinstance(parts := schema.get("allOf"), list):
        own = {key: value for key, value in schema.items() if key != "allOf"}
        wholes = [shape(part, whole, depth + 1) for part in cast("list[Json]", parts)]
        return _merged([*wholes, shape(own, whole, depth + 1)] if "properties" in own else wholes)
    return _typed(schema, whole, depth)


def _typed(schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Shape:
    kind = schema.get("type")
    if isinstance(kind, list):
        return union(shape({**schema, "type": one}, root, depth + 1) for one in cast("list[Json]", kind))
    if kind == "array" or (kind is None and "items" in schema):
        return Array(shape(schema.get("items"), root, depth + 1))
    if kind == "object" or (kind is None and isinstance(schema.get("properties"), Mapping)):
        properties: Json = schema.get("properties")
        known = cast("Mapping[str, Json]", properties) if isinstance(properties, Mapping) else dict[str, Json]()
        fields = {name: shape(value, root, depth + 1) for name, value in known.items()}
        more = schema.get("additionalProperties")
        closed = more is False or (more is None and bool(fields))
        needed = schema.get("required")
        required = frozenset(cast("list[str]", needed)) if isinstance(needed, list) else frozenset[str]()
        return Object(fields, required, None if closed else shape(more, root, depth + 1))
    return _BY_NAME.get(kind, DYN) if isinstance(kind, str) else DYN


def literal(value: Json) -> Shape:
    """The shape of one known value."""
    match value:
        case None:
            return NULL
        case bool():
            return Scalar("bool", (value,))
        case int():
            return Scalar("int", (value,))
        case float():
            return Scalar("number", (value,))
        case str():
            return Scalar("string", (value,))
        case list():
            items = cast("list[Json]", value)
            return Array(union(literal(item) for item in items) if items else DYN)
        case dict():
            fields = {str(key): literal(one) for key, one in cast("dict[str, Json]", value).items()}
            return Object(fields, frozenset(fields))
        case _:
            return DYN


def union(members: Iterable[Shape]) -> Shape:
    """One of these: literals of one kind are gathered into an enumeration, anything with `Dyn` is `Dyn`."""
    flat: list[Shape] = []
    seen_already: set[Shape] = set()
    for member in members:
        for one in member.members if isinstance(member, Union) else (member,):
            if isinstance(one, Dyn):
                return DYN
            if one in seen_already:
                continue
            if isinstance(one, Scalar) and one.values and _gather(one, flat):
                continue
            seen_already.add(one)
            flat.append(one)
    return flat[0] if len(flat) == 1 else Union(tuple(flat)) if flat else DYN


def _gather(one: Scalar, flat: list[Shape]) -> bool:
    for position, old in enumerate(flat):
        if isinstance(old, Scalar) and old.name == one.name:
            if old.values:
                flat[position] = Scalar(one.name, tuple(dict.fromkeys(old.values + one.values)))
            return True
    return False


def _merged(parts: list[Shape]) -> Shape:
    objects = [one for part in parts if isinstance(one := seen(part), Object)]
    if len(objects) != len(parts) or not objects:
        return DYN
    fields = {name: value for one in objects for name, value in one.fields.items()}
    extras = [one.extra for one in objects if one.extra is not None]
    return Object(fields, frozenset[str]().union(*(one.required for one in objects)), extras[0] if extras else None)


def seen(given: Shape) -> Shape:
    """The shape behind a `$ref`; a reference that leads nowhere, out of its document or in a circle is `Dyn`."""
    if given.__class__ is not Ref:
        return given
    for _ in range(16):
        if not isinstance(given, Ref):
            return given
        if not given.pointer.startswith("#"):
            return DYN
        node: Json = given.root
        for part in given.pointer[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            node = cast("Mapping[str, Json]", node).get(key) if isinstance(node, Mapping) else None
        given = shape(node, given.root)
    return DYN


def arms(given: Shape, depth: int = 0) -> tuple[Shape, ...]:
    """The alternatives, with no union or reference left at the top."""
    given = seen(given)
    if not isinstance(given, Union) or depth > 8:
        return (given,)
    return tuple(arm for member in given.members for arm in arms(member, depth + 1))


def without_null(given: Shape) -> Shape:
    """The same, known not to be null."""
    left = [arm for arm in arms(given) if arm != NULL]
    return union(left) if left else given


def say(given: Shape, depth: int = 0) -> str:
    """In words."""
    match seen(given):
        case Scalar(name, values):
            shown = ", ".join(_say_value(value) for value in values[:6]) + (", …" if len(values) > 6 else "")
            return name if not values else f"{name} {shown}" if len(values) == 1 else f"one of {shown}"
        case Array(item):
            return "list" if isinstance(item, Dyn) or depth > 2 else f"list of {say(item, depth + 1)}"
        case Object(fields):
            return (
                "object {" + ", ".join(list(fields)[:4]) + (", …" if len(fields) > 4 else "") + "}"
                if fields
                else "object"
            )
        case Union(members):
            return " or ".join(dict.fromkeys(say(member, depth + 1) for member in members[:6]))
        case Maybe(of):
            return f"optional {say(of, depth + 1)}"
        case _:
            return "anything"


def _say_value(value: Json) -> str:
    if isinstance(value, str):
        return f'"{value if len(value) <= 40 else value[:39] + "…"}"'
    return str(value).lower()


def kind(given: Shape) -> str:
    """Its kind in one word: `int`, `list`, `object`, `any`, …"""
    match seen(given):
        case Scalar(name):
            return name
        case Array():
            return "list"
        case Object():
            return "object"
        case Union(members):
            kinds = {kind(member) for member in members}
            return kinds.pop() if len(kinds) == 1 else "union"
        case Maybe():
            return "optional"
        case _:
            return "any"


def mismatch(given: Shape, wanted: Shape, path: str = "", depth: int = 0) -> str | None:
    """Why `given` can never be used as `wanted`, or None. A union passes when one arm may fit."""
    if given is wanted:
        return None
    given, wanted = seen(given), seen(wanted)
    if depth > _DEEPEST or isinstance(given, Dyn) or isinstance(wanted, Dyn):
        return None
    if isinstance(given, Maybe):
        return mismatch(given.of, wanted, path, depth + 1)
    if isinstance(given, Union):
        whys = [mismatch(arm, wanted, path, depth + 1) for arm in given.members]
        return None if None in whys else f"{_at(path)}expected {say(wanted)}, got {say(given)}"
    if isinstance(wanted, Union):
        whys = [mismatch(given, arm, path, depth + 1) for arm in wanted.members]
        return None if None in whys else _unlike(given, wanted, path)
    match given, wanted:
        case Scalar(), Scalar():
            return None if _scalar_fits(given, wanted) else _unlike(given, wanted, path)
        case Array(item), Array(target):
            return mismatch(item, target, f"{path}[]", depth + 1)
        case Object(), Object():
            return _object_mismatch(given, wanted, path, depth)
        case _:
            return _unlike(given, wanted, path)


def _scalar_fits(given: Scalar, wanted: Scalar) -> bool:
    name = given.name
    if name == "int" and wanted.name == "number":
        name = "number"
    if name == "number" and wanted.name == "int":
        # an integral double becomes an integer, so only a literal that is none can be refused beforehand
        if given.values and not any(isinstance(value, float) and value.is_integer() for value in given.values):
            return False
        name = "int"
    if name in ("timestamp", "duration") and wanted.name == "string":
        return True
    if name != wanted.name:
        return False
    return not (given.values and wanted.values) or any(value in wanted.values for value in given.values)


def _unlike(given: Shape, wanted: Shape, path: str) -> str:
    near = ""
    if isinstance(given, Scalar) and len(given.values) == 1 and given.name == "string":
        choices = [
            value for arm in arms(wanted) if isinstance(arm, Scalar) for value in arm.values if isinstance(value, str)
        ]
        near = nearby(str(given.values[0]), choices)
    return f"{_at(path)}expected {say(wanted)}, got {say(given)}" + (f"; {near}" if near else "")


def _object_mismatch(given: Object, wanted: Object, path: str, depth: int) -> str | None:
    for name, value in given.fields.items():
        target = wanted.fields.get(name, wanted.extra)
        if target is None:
            near = nearby(name, wanted.fields)
            return f"{_at(path)}unknown field `{name}`" + (f"; {near}" if near else "")
        if why := mismatch(value, target, f"{path}.{name}", depth + 1):
            return why
    missing = [] if given.extra is not None else sorted(wanted.required - given.fields.keys())
    return f"{_at(path)}missing `{missing[0]}`" if missing else None


def _at(path: str) -> str:
    return f"at `{path.lstrip('.')}`: " if path else ""


def nearby(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """`did you mean `x`?`, or nothing. Bounded: of very many names only those of about the same length are compared."""
    if len(name) > 100:
        return ""
    close = [one for one in known if abs(len(one) - len(name)) <= max(3, len(name) // 2)][:500]
    near = get_close_matches(name, close, 1, cutoff)
    return f"did you mean `{near[0]}`?" if near else ""
