"""JSON Schema from strangers, made safe: compiled without network, checked in bounded time.

Three jobs. `compiled` turns a schema into a validator: no `$ref` leaves the document, patterns run in linear time (no
look-around, no back-references), and a schema whose checking could explode is refused. `data_schema` says what the data
of an answer looks like (SEMANTICS §6), a `Normaliser` gives numbers the type their schema names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, cast
from urllib.parse import unquote

import jsonschema_rs

from motet.calls import Json

Schema = Mapping[str, Json]

MAX_NODES = 200_000
"""JSON values one schema may consist of."""
MAX_DEPTH = 100
"""Nesting of one schema; the compiler itself gives up not far above."""
MAX_WORK = 20_000
"""Subschemas that checking one value may visit, references followed."""
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20)

MAX_VISITS = 10_000_000
"""Subschemas visited over a whole value that is held against a recursive schema."""
SHALLOW = 8
"""Depth of a value up to which recursion cannot add up."""

_IN_PLACE = ("allOf", "anyOf", "oneOf")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DIALECTS = ("https://json-schema.org/", "http://json-schema.org/")
"""The dialects' own schemas, which the validator carries."""
_IN_PLACE_ONE = ("not", "if", "then", "else")
WRAP_MARK = "x-fastmcp-wrap-result"


class BadSchema(ValueError):
    """A schema cannot be used; the message says why."""


def compiled(schema: Schema) -> jsonschema_rs.Validator:
    """A validator for `schema`. Raises `BadSchema`."""
    bounded(schema)
    _own_references(schema)
    work(schema)
    try:
        return jsonschema_rs.validator_for(dict(schema), pattern_options=_PATTERNS, offline=True)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as why:
        raise BadSchema(_first_line(str(why))) from None


def bounded(value: Json, *, nodes: int = MAX_NODES, depth: int = MAX_DEPTH) -> int:
    """How many JSON values `value` consists of. Raises `BadSchema` when it is larger or deeper than allowed."""
    seen, level = 0, [value]
    for _ in range(depth + 1):
        below: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(cast("dict[str, Json]", one).values())
            elif isinstance(one, list):
                below.extend(cast("list[Json]", one))
        seen += len(level)
        if seen > nodes:
            raise BadSchema(f"holds more than {nodes} values")
        if not below:
            return seen
        level = below
    raise BadSchema(f"is nested deeper than {depth}")


def work(schema: Schema) -> int:
    """How many subschemas checking one value visits at most. Raises `BadSchema` above `MAX_WORK`.

    References are followed, so a short chain of definitions that each name the next one twice is seen as the 2^n it is.
    """
    done: dict[int, int] = {}

    def visit(node: Json, depth: int) -> int:
        if not isinstance(node, dict):
            return 1
        if depth > 400:
            raise BadSchema("its references form too long a chain")
        known = done.get(id(cast("object", node)))
        if known is not None:
            return known
        done[id(cast("object", node))] = 1  # a cycle without progress counts once: the validator breaks it
        total = 1 + sum(visit(part, depth + 1) for part in in_place(cast("Schema", node), schema))
        if total > MAX_WORK:
            raise BadSchema("checking it could take exponential time")
        done[id(cast("object", node))] = total
        return total

    total = visit(schema, 0)
    stack: list[Json] = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            total = max(total, visit(node, 0))
            stack.extend(cast("dict[str, Json]", node).values())
        elif isinstance(node, list):
            stack.extend(cast("list[Json]", node))
    return total


def in_place(node: Schema, root: Schema) -> Iterator[Json]:
    """The subschemas that look at the same value as `node` does, its reference's target among them."""
    for word in _IN_PLACE:
        parts = node.get(word)
        if isinstance(parts, list):
            yield from cast("list[Json]", parts)
    for word in _IN_PLACE_ONE:
        if word in node:
            yield node[word]
    dependent = node.get("dependentSchemas")
    if isinstance(dependent, dict):
        yield from cast("dict[str, Json]", dependent).values()
    for word in _REFERENCES:
        reference = node.get(word)
        if isinstance(reference, str):
            target = resolved(reference, root)
            if target is not None:
                yield target


def resolved(reference: str, root: Schema) -> Json | None:
    """What a reference within the document points at; None when it points elsewhere or nowhere."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return None
    at: Json = root
    for part in reference[2:].split("/"):
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(at, dict):
            at = cast("dict[str, Json]", at).get(name)
        elif isinstance(at, list) and name.isdigit() and int(name) < len(cast("list[Json]", at)):
            at = cast("list[Json]", at)[int(name)]
        else:
            return None
    return at


def _own_references(schema: Schema) -> None:
    """Raises `BadSchema` for a reference that `resolved` cannot follow, so that none escapes the counting in `work`."""
    nested = False
    stack: list[tuple[Json, bool]] = [(schema, True)]
    while stack:
        node, top = stack.pop()
        if isinstance(node, dict):
            parts = cast("dict[str, Json]", node)
            nested = nested or (not top and isinstance(parts.get("$id"), str))
            for word in _REFERENCES:
                reference = parts.get(word)
                if isinstance(reference, str) and not reference.startswith((*_DIALECTS, "#/")) and reference != "#":
                    raise BadSchema(f"its reference {reference[:100]!r} leaves the document or names an anchor")
            stack.extend((part, False) for part in parts.values())
        elif isinstance(node, list):
            stack.extend((part, False) for part in cast("list[Json]", node))
    if nested and str(schema).count("$ref"):
        raise BadSchema("it embeds other documents (`$id`) and has references")


def recursive(schema: Schema) -> bool:
    """Can checking a value come back to the same subschema further down in the value?"""
    on_path: set[int] = set()
    done: set[int] = set()
    stack: list[tuple[Json, bool]] = [(schema, False)]
    while stack:
        node, left = stack.pop()
        if not isinstance(node, dict | list):
            continue
        node = cast("Json", node)
        key = id(node)
        if left:
            on_path.discard(key)
            done.add(key)
        elif key in on_path:
            return True
        elif key not in done:
            on_path.add(key)
            stack.append((node, True))
            stack.extend((part, False) for part in _parts(node, schema))
    return False


def _parts(node: Json, root: Schema) -> Iterator[Json]:
    if isinstance(node, list):
        yield from cast("list[Json]", node)
        return
    parts = cast("dict[str, Json]", node)
    yield from parts.values()
    for word in _REFERENCES:
        reference = parts.get(word)
        if isinstance(reference, str):
            yield resolved(reference, root)


def too_costly(value: Json, schema: Schema) -> bool:
    """Could holding this value against this recursive schema take more than `MAX_VISITS` visits?

    A schema that applies itself twice to the same part of a value doubles the work with each level of the value. Counts
    what a validator would visit, each pair of value and subschema once, so the count itself stays small.
    """
    counted: dict[tuple[int, int], int] = {}

    def visits(value: Json, node: Json) -> int:
        if not isinstance(node, dict):
            return 1
        key = (id(cast("object", value)), id(cast("object", node)))
        known = counted.get(key)
        if known is not None:
            return known
        counted[key] = 1
        total = 1 + sum(visits(value, part) for part in in_place(cast("Schema", node), schema))
        for part, below in _below(value, cast("Schema", node)):
            total += visits(part, below)
            if total > MAX_VISITS:
                break
        counted[key] = total
        return total

    try:
        bounded(value, depth=SHALLOW)
        return False
    except BadSchema:
        pass
    try:
        return visits(value, schema) > MAX_VISITS
    except RecursionError:
        return True


def _below(value: Json, node: Schema) -> Iterator[tuple[Json, Json]]:
    """Each part of `value` with each subschema that this node holds it against."""
    if isinstance(value, dict):
        rest = [node[word] for word in ("additionalProperties", "unevaluatedProperties") if word in node]
        patterns: Json = node.get("patternProperties")
        rest += list(cast("dict[str, Json]", patterns).values()) if isinstance(patterns, dict) else []
        properties: Json = node.get("properties")
        for name, part in cast("dict[str, Json]", value).items():
            if isinstance(properties, dict) and name in properties:
                yield part, cast("dict[str, Json]", properties)[name]
            for below in rest:
                yield part, below
    elif isinstance(value, list):
        for index, part in enumerate(cast("list[Json]", value)):
            for word in ("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"):
                held: Json = node.get(word)
                if isinstance(held, dict):
                    yield part, held
                elif isinstance(held, list) and index < len(cast("list[Json]", held)):
                    yield part, cast("list[Json]", held)[index]


# ---- what the data looks like -----------------------------------------------------------------------------------


def wraps_result(output_schema: Schema) -> bool:
    """Does the schema say that the answer's data is under `result`: its only property, or FastMCP's mark?"""
    properties = output_schema.get("properties")
    if not isinstance(properties, dict) or "result" not in properties:
        return False
    return len(cast("dict[str, Json]", properties)) == 1 or output_schema.get(WRAP_MARK) is True


def data_schema(output_schema: Schema | None, *, parse: Literal["schema", "json"] = "schema") -> Schema | None:
    """The schema of the *data* of an answer (SEMANTICS §6); None: dynamic, nothing is known.

    `result` is unwrapped in the schema just as `Tool.read` does in the answer. With `parse: json`, a `result: string`
    may hold anything.
    """
    if output_schema is None:
        return None
    if not wraps_result(output_schema):
        return output_schema
    inner = output_schema["properties"]["result"]
    if not isinstance(inner, dict):
        return {}
    inner = cast("dict[str, Json]", inner)
    if parse == "json" and inner.get("type") == "string":
        return None
    shared = {word: output_schema[word] for word in ("$defs", "definitions", "$schema") if word in output_schema}
    return {**shared, **inner}


# ---- numbers take their type from the schema ---------------------------------------------------------------------

_State = tuple[int, ...]


class Normaliser:
    """Gives numbers the type their schema names: `3` under `number` is `3.0`, `3.0` under `integer` is `3`.

    Works like an automaton whose states are the subschemas that apply at one place, so it is linear in the data
    whatever the schema's unions and recursions. A number that the schema allows as both, or says nothing of, stays as
    it is. Values are never changed in place; parts without a change are shared.
    """

    def __init__(self, schema: Schema) -> None:
        self._root = schema
        self._nodes: dict[int, Schema] = {}
        self._kinds: dict[_State, Literal["integer", "number"] | None] = {}
        self._steps: dict[tuple[_State, str | int], _State] = {}
        self._start = self._state([schema])

    def __call__(self, value: Json) -> Json:
        """The value with its numbers as the schema says."""
        return self._value(value, self._start)

    def _value(self, value: Json, state: _State) -> Json:
        if not state or value is None or isinstance(value, (str, bool)):
            return value
        if isinstance(value, int):
            return float(value) if self._kind(state) == "number" and abs(value) < 1 << 1023 else value
        if isinstance(value, float):
            return int(value) if value.is_integer() and self._kind(state) == "integer" else value
        if isinstance(value, dict):
            return self._dict(cast("dict[str, Json]", value), state)
        if isinstance(value, list):
            return self._list(cast("list[Json]", value), state)
        return value

    def _dict(self, value: dict[str, Json], state: _State) -> Json:
        changed: dict[str, Json] = {}
        for name, item in value.items():
            better = self._value(item, self._below(state, name))
            if better is not item:
                changed[name] = better
        return {**value, **changed} if changed else value

    def _list(self, value: list[Json], state: _State) -> Json:
        changed: list[Json] | None = None
        for index, item in enumerate(value):
            better = self._value(item, self._below(state, min(index, 63)))
            if better is not item:
                changed = list(value) if changed is None else changed
                changed[index] = better
        return value if changed is None else changed

    def _state(self, schemas: list[Json]) -> _State:
        found: dict[int, None] = {}
        stack = schemas
        while stack:
            node = stack.pop()
            if isinstance(node, dict) and id(cast("object", node)) not in found:
                schema = cast("Schema", node)
                found[id(schema)] = None
                self._nodes[id(schema)] = schema
                stack.extend(
                    in_place({key: part for key, part in schema.items() if key not in ("not", "if")}, self._root)
                )
        return tuple(sorted(found))

    def _kind(self, state: _State) -> Literal["integer", "number"] | None:
        if state not in self._kinds:
            words: set[str] = set()
            for node in state:
                named = self._nodes[node].get("type")
                if isinstance(named, str):
                    words.add(named)
                elif isinstance(named, list):
                    words.update(cast("list[str]", named))
            numeric = words & {"integer", "number"}
            self._kinds[state] = cast('Literal["integer", "number"]', numeric.pop()) if len(numeric) == 1 else None
        return self._kinds[state]

    def _below(self, state: _State, step: str | int) -> _State:
        known = self._steps.get((state, step))
        if known is None:
            parts = [part for node in state for part in _children(self._nodes[node], step)]
            known = self._state(parts)
            if len(self._steps) < 10_000:
                self._steps[state, step] = known
        return known


def _children(node: Schema, step: str | int) -> Iterator[Json]:
    if isinstance(step, str):
        properties = node.get("properties")
        if isinstance(properties, dict) and step in properties:
            yield properties[step]
        elif isinstance(node.get("additionalProperties"), dict):
            yield node["additionalProperties"]
        return
    prefix = node.get("prefixItems", node.get("items") if isinstance(node.get("items"), list) else None)
    fixed = cast("list[Json]", prefix) if isinstance(prefix, list) else []
    if step < len(fixed):
        yield fixed[step]
    elif isinstance(node.get("items"), dict):
        yield node["items"]


# ---- problems, in words --------------------------------------------------------------------------------------------


def problems(
    check: Callable[[Json], Iterator[jsonschema_rs.ValidationError]], value: Json, *, limit: int = 20
) -> list[str]:
    """What is wrong with `value`, one sentence each, naming field and what was expected; never the value itself."""
    found: list[str] = []
    try:
        for error in check(value):
            if len(found) == limit:
                found.append("… and more")
                break
            found.append(_sentence(error))
    except (ValueError, TypeError, OverflowError) as why:
        found.append(f"cannot be sent as JSON: {_first_line(str(why))}")
    return found


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    where = field_name(error.instance_path)
    detail = error.kind.as_dict()
    match error.kind.name:
        case "required":
            return f"`{_join(where, str(detail['property']))}` is missing"
        case "additionalProperties" | "unevaluatedProperties":
            names = ", ".join(f"`{_join(where, str(name))}`" for name in detail["unexpected"][:10])
            return f"{names}: not known here"
        case "type":
            wanted = " or ".join(str(word) for word in detail["types"])
            return f"`{where}`: expected {wanted}, got {kind_of(error.instance)}"
        case "enum":
            options = detail["options"]
            shown = ", ".join(str(option) for option in options[:12]) + (", …" if len(options) > 12 else "")
            return f"`{where}`: expected one of {shown}"
        case "const":
            return f"`{where}`: expected {detail['expected_value']}"
        case "anyOf" | "oneOf":
            return f"`{where}`: {kind_of(error.instance)} fits none of the allowed forms{_forms(detail)}"
        case word:
            limits = ", ".join(str(part)[:100] for name, part in detail.items() if name in _LIMITS)
            return f"`{where}`: breaks `{word}`{f' {limits}' if limits else ''}"


_LIMITS = ("limit", "pattern", "format", "multiple_of")
"""What an error tells of the schema; everything else in it may repeat the value, and arguments may be secret."""


def _forms(detail: Mapping[str, Json]) -> str:
    wanted: list[str] = []
    for branch in cast("list[list[jsonschema_rs.ValidationError]]", detail.get("context") or []):
        for error in branch:
            if error.kind.name != "type":
                return ""
            wanted.extend(str(word) for word in error.kind.as_dict()["types"])
    return f" ({', '.join(dict.fromkeys(wanted))})" if wanted else ""


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where != "value" else name


def field_name(path: list[str | int]) -> str:
    """`items[2].name`, or `value` for the whole."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else str(part)
    return shown[:200] or "value"


def kind_of(value: Json) -> str:
    """The JSON Schema word for what `value` is."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case dict():
            return "object"
        case _:
            return "array"


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:300]
