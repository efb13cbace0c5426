from typing import Any

import jsonschema_rs
import pytest

from motet.testing.samples import sample

TREE = {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
    "name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}}  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, "sample"),
        ({}, "sample"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": ["null", "number"]}, 1.0),
        ({"enum": ["open", "closed"]}, "open"),
        ({"const": 3}, 3),
        ({"type": "string", "format": "uri"}, "https://example.org/sample"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, "sample"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "object", "properties": {"tag_name": {"type": "string"}}}, {"tag_name": "tag_name"}),
        ({"allOf": [{"properties": {"a": {"type": "null"}}}, {"type": "object"}]}, {"a": None}),
    ],
)
def test_the_sample_is_the_plainest_value(schema: dict[str, Any] | None, value: object):
    assert sample(schema) == value
    assert jsonschema_rs.validator_for(schema or {}).is_valid(value)


def test_a_schema_that_holds_itself_has_a_bounded_sample():
    assert jsonschema_rs.validator_for(TREE).is_valid(sample(TREE))
