"""One tool: arguments checked, answers read by schema (SEMANTICS §6), hostile schemas refused in bounded time."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.calls import ToolResult
from motet.catalog.schema import BadSchema, Normaliser, Schema, bounded, compiled, data_schema
from motet.catalog.tool import Tool, digest_of


def tool(input_schema: Schema | None = None, output: Schema | None = None, **more: Any) -> Tool:
    return Tool("jira", "get", input_schema=input_schema or {"type": "object"}, output_schema=output, **more)


ISSUE: Schema = {
    "type": "object",
    "properties": {
        "key": {"type": "string", "maxLength": 8},
        "count": {"type": "integer"},
        "kind": {"enum": ["bug", "task"]},
        "parent": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "fields": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
    "required": ["key"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({"key": "A-1"}, []),
        ({}, ["`key` is missing (expected string)"]),
        ({"key": 1}, ["`key`: expected string, got integer"]),
        ({"key": "A", "count": "7"}, ["`count`: expected integer, got string"]),
        ({"key": "A", "kind": "epic"}, ["`kind`: expected one of bug, task"]),
        ({"key": "A", "parent": 3}, ["`parent`: integer fits none of the allowed forms (string, null)"]),
        ({"key": "A", "fields": [{"name": 3}]}, ["`fields[0].name`: expected string, got integer"]),
        ({"key": "A", "coutn": 1}, ["`coutn`: not known here; did you mean `count`?"]),
        ({"key": "A", "zzzz": 1}, ["`zzzz`: not known here; it takes key, count, kind, parent, fields"]),
        ({"key": "A", "count": {1}}, ["cannot be sent as JSON: Unsupported type: 'set'"]),
    ],
)
def test_a_problem_names_the_field_and_what_was_expected(arguments: dict[str, Any], problems: list[str]) -> None:
    assert tool(ISSUE).problems(arguments) == problems


def test_several_problems_are_told_at_once() -> None:
    assert len(tool(ISSUE).problems({"count": "x", "kind": 1})) == 3


def test_values_are_never_repeated_because_they_may_be_secret() -> None:
    for arguments in ({"key": "hunter2-hunter2"}, {"key": ["hunter2"]}, {"key": "A", "kind": "hunter2"}):
        assert "hunter2" not in str(tool(ISSUE).problems(arguments))


def answer(**body: Any) -> ToolResult:
    return ToolResult(orjson.dumps({"content": [], **body}))


def text(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": one} for one in texts]


WRAPPED: Schema = {"type": "object", "properties": {"result": {"type": "array", "items": {"type": "integer"}}}}
MARKED: Schema = {
    "type": "object",
    "properties": {"result": {"type": "string"}, "more": {"type": "string"}},
    "x-fastmcp-wrap-result": True,
}
OBJECT: Schema = {"type": "object", "properties": {"result": {"type": "string"}, "n": {"type": "integer"}}}
TEXTED: Schema = {"type": "object", "properties": {"result": {"type": "string"}}}


@pytest.mark.parametrize(
    ("output", "parse", "body", "data"),
    [
        (None, "schema", {"content": text('{"a": 1}')}, {"a": 1}),
        (None, "schema", {"content": text("[1, 2]")}, [1, 2]),
        (None, "schema", {"content": text("plain")}, "plain"),
        (None, "schema", {"content": text("12")}, "12"),
        (None, "schema", {"content": text('{"a"')}, '{"a"'),
        (None, "schema", {"content": text('{"a": 1}', "b")}, [{"a": 1}, "b"]),
        (None, "schema", {"content": text("x"), "structuredContent": {"a": 1}}, "x"),
        (OBJECT, "schema", {"structuredContent": {"result": "x", "n": 1}}, {"result": "x", "n": 1}),
        (WRAPPED, "schema", {"structuredContent": {"result": [1, 2]}}, [1, 2]),
        (MARKED, "schema", {"structuredContent": {"result": "x"}}, "x"),
        (TEXTED, "schema", {"structuredContent": {"result": '{"a": 1}'}}, '{"a": 1}'),
        (TEXTED, "json", {"structuredContent": {"result": '{"a": 1}'}}, {"a": 1}),
        (TEXTED, "json", {"structuredContent": {"result": "plain"}}, "plain"),
        (OBJECT, "json", {"structuredContent": {"result": '{"a": 1}', "n": 1}}, {"result": '{"a": 1}', "n": 1}),
        (OBJECT, "schema", {"content": text("no structure")}, "no structure"),
        (OBJECT, "schema", {"structuredContent": {"n": 3.0}}, {"n": 3}),
        ({"type": "array", "items": {"type": "number"}}, "schema", {"structuredContent": [1, 2]}, [1.0, 2.0]),
    ],
)
def test_data_is_read_by_the_schema_and_by_nothing_else(
    output: Schema | None, parse: Any, body: dict[str, Any], data: Any
) -> None:
    found = tool(output=output, parse=parse).data(answer(**body))
    assert found == data
    assert type(found) is type(data)


@pytest.mark.parametrize(
    ("output", "parse", "schema"),
    [
        (None, "schema", None),
        (OBJECT, "schema", OBJECT),
        (WRAPPED, "schema", {"type": "array", "items": {"type": "integer"}}),
        (MARKED, "schema", {"type": "string"}),
        (TEXTED, "schema", {"type": "string"}),
        (TEXTED, "json", None),
    ],
)
def test_the_checker_sees_the_same_rule(output: Schema | None, parse: Any, schema: Schema | None) -> None:
    assert data_schema(output, parse=parse) == schema


def test_definitions_stay_reachable_when_the_result_is_unwrapped() -> None:
    output: Schema = {
        "$defs": {"Row": {"type": "object", "properties": {"n": {"type": "number"}}}},
        "type": "object",
        "properties": {"result": {"type": "array", "items": {"$ref": "#/$defs/Row"}}},
    }
    one = tool(output=output)
    assert one.data(answer(structuredContent={"result": [{"n": 1}]})) == [{"n": 1.0}]
    assert one.data_schema == {"$defs": output["$defs"], **output["properties"]["result"]}


def test_what_breaks_the_output_schema_is_named() -> None:
    one = tool(output={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    assert one.checks_output
    assert one.mismatch({"n": 1}) is None
    assert one.mismatch({"n": "x"}) == "structuredContent breaks the output schema: `n`: expected integer, got string"
    assert one.mismatch({}) == "structuredContent breaks the output schema: `n` is missing"
    assert one.mismatch(msgspec.UNSET) == "structuredContent is missing though the tool has an output schema"
    assert tool().mismatch(msgspec.UNSET) is None


NUMBERS: Schema = {
    "type": "object",
    "properties": {
        "float": {"type": "number"},
        "int": {"type": ["integer", "null"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        "rows": {"type": "array", "items": {"$ref": "#"}},
        "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "integer"}]},
    },
    "additionalProperties": {"type": "number"},
}


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ({"float": 3}, {"float": 3.0}),
        ({"int": 3.0}, {"int": 3}),
        ({"int": 3.5}, {"int": 3.5}),
        ({"int": None}, {"int": None}),
        ({"either": 3}, {"either": 3}),
        ({"rows": [{"float": 1}, {"rows": [{"int": 2.0}]}]}, {"rows": [{"float": 1.0}, {"rows": [{"int": 2}]}]}),
        ({"pair": [1, 2.0]}, {"pair": [1.0, 2]}),
        ({"other": 7}, {"other": 7.0}),
        ({"float": True}, {"float": True}),
    ],
)
def test_numbers_take_their_type_from_the_schema(value: Any, normal: Any) -> None:
    before = orjson.dumps(value)
    assert repr(Normaliser(NUMBERS)(value)) == repr(normal)
    assert orjson.dumps(value) == before


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["float", "int", "rows", "x"]), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON)
def test_normalising_changes_no_value(value: Any) -> None:
    assert Normaliser(NUMBERS)(value) == value


def deep(levels: int) -> Schema:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def doubling(levels: int) -> Schema:
    """Each definition names the next one twice: 2^levels visits."""
    parts: dict[str, Any] = {
        f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}, {"$ref": f"#/$defs/d{level + 1}"}]}
        for level in range(levels)
    }
    return {"$defs": {**parts, f"d{levels}": {"type": "string"}}, "$ref": "#/$defs/d0"}


HOSTILE: dict[str, Schema] = {
    "a type that is none": {"type": "objekt"},
    "a remote reference": {"$ref": "http://127.0.0.1:9/evil.json"},
    "a file": {"$ref": "file:///etc/passwd"},
    "a reference to nothing": {"$ref": "#/$defs/none"},
    "a remote dialect": {"$schema": "http://127.0.0.1:9/meta"},
    "look-ahead": {"pattern": "(?=a)b"},
    "a back-reference": {"pattern": "(a)\\1"},
    "a huge automaton": {"pattern": "(a{1000}){1000}"},
    "an anchor": {"$defs": {"a": {"$anchor": "x"}}, "$ref": "#x"},
    "a document within": {"$defs": {"a": {"$id": "b", "$ref": "#"}}, "$ref": "#/$defs/a"},
    "deep": deep(60),
    "deeper than the stack": deep(2000),
    "2^30 visits": doubling(30),
    "2^2000 visits": doubling(2000),
    "too many values": {"enum": list(range(300_000))},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_what_is_broken_or_hostile_is_refused_in_words(schema: Schema) -> None:
    with pytest.raises(BadSchema) as refused:
        compiled(schema)
    assert 5 < len(str(refused.value)) <= 300


ODD: dict[str, Schema] = {
    "itself": {"$ref": "#"},
    "itself within": {"allOf": [{"$ref": "#"}]},
    "a property that is itself": {"properties": {"a": {"$ref": "#/properties/a"}}},
    "a long enum": {"enum": list(range(50_000))},
    "a pattern that runs away elsewhere": {"pattern": "^(a+)+$"},
    "the dialect itself": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    "rather deep": deep(40),
    "1024 visits": doubling(10),
}


@pytest.mark.parametrize("schema", ODD.values(), ids=ODD)
def test_what_is_odd_but_sound_is_taken(schema: Schema) -> None:
    assert isinstance(compiled(schema).is_valid("a" * 10_000 + "!"), bool)


TWICE: Schema = {
    "$defs": {
        "n": {"allOf": [{"properties": {"a": {"$ref": "#/$defs/n"}}}, {"properties": {"a": {"$ref": "#/$defs/n"}}}]}
    },
    "type": "object",
    "$ref": "#/$defs/n",
}
TREE: Schema = {
    "$defs": {"n": {"type": "object", "properties": {"a": {"$ref": "#/$defs/n"}, "n": {"type": "integer"}}}},
    "$ref": "#/$defs/n",
}


def nested(levels: int) -> Any:
    value: Any = {"n": 1}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_schema_that_applies_itself_twice_cannot_be_made_to_run_for_ever() -> None:
    hostile = tool(TWICE, output=TWICE)
    assert hostile.mismatch(nested(10)) is None
    assert "nested too deeply" in str(hostile.mismatch(nested(100)))
    assert "nested too deeply" in str(hostile.problems(nested(100)))
    honest = tool(TREE, output=TREE)
    assert honest.mismatch(nested(100)) is None
    assert honest.problems(nested(100)) == []


def test_size_and_depth_of_anything_are_counted_without_recursion() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadSchema, match="nested deeper"):
        bounded(value)
    assert bounded({"a": [1, 2, {"b": 3}]}) == 6


def test_a_definitions_digest_is_of_its_meaning_not_of_its_order() -> None:
    one = {"name": "a", "description": "b", "_meta": {"x": 1}}
    assert digest_of(one) == digest_of({"description": "b", "name": "a", "_meta": {"x": 2}})
    assert digest_of(one) != digest_of({**one, "description": "B"})
    assert digest_of(one) != digest_of({**one, "annotations": {"readOnlyHint": True}})
