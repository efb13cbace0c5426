# ruff: noqa: E501 - tables: one case, one line
"""The published schema and the loader say the same."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import jsonschema_rs
import pytest
import yaml

from motet.calls import Json
from motet.workflow.document import read
from motet.workflow.format import INPUT_KEYS, MODIFIERS, RESERVED_NAMES, STEP_KEYS, WORKFLOW_KEYS
from motet.workflow.loading import parsed
from motet.workflow.problems import Source
from motet.workflow.schema import workflow_schema

SCHEMA = workflow_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
DOCUMENTS = Path(__file__).parent.parent.parent / "docs" / "examples"
HEAD = "motet: 1\nsteps:\n  other: {set: 1}\n  s: "


def valid(text: str) -> bool:
    return VALIDATOR.is_valid(read(Source(text, "x.yaml")).plain())


def loads(text: str) -> bool:
    def reading(path: str) -> str:
        return "motet: 1\nsteps: {s: {set: 1}}\n"

    return not parsed(text, path="x.yaml", read=reading).problems


def test_the_schema_is_a_schema() -> None:
    jsonschema_rs.meta.validate(SCHEMA)


def test_every_key_of_the_loader_is_in_the_schema_and_the_other_way_round() -> None:
    step = SCHEMA["$defs"]["step"]["properties"]
    assert set(SCHEMA["properties"]) == set(WORKFLOW_KEYS)
    assert set(step) == set(STEP_KEYS)
    inputs = cast("dict[str, Json]", SCHEMA["$defs"]["input"]["anyOf"][1]["properties"])
    assert set(INPUT_KEYS) <= set(inputs)
    assert all(one.get("description") for one in [*SCHEMA["properties"].values(), *step.values()])


@pytest.mark.parametrize("path", sorted(DOCUMENTS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_of_the_documents_is_valid(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(read(Source(path.read_text(), str(path))).plain())] == []


GOOD = [
    "{call: a.b, with: {x: 1}, needs: other, if: true, timeout: 1h30m, retry: 3, on_error: continue, keep: false, parse: json}",
    "{call: a.b, with: '${{ other }}', foreach: '${{ other }}', as: one, concurrency: 3, retry: {attempts: 2, base: 1s, cap: 5}}",
    "{call: a.b.c, on_error: {value: 1}, on_unavailable: {defer: 1d}, idempotency_key: k}",
    "{call: a.b, on_error: {call: a.c, with: {}}, undo: {call: a.d, when: maybe}}",
    "{call: a.b, reconcile: {call: a.c, happened: result.x, data: {a: 1}}}",
    "{read: 'x://y'}",
    "{read: [x://y, {server: a, uri: 'x://y'}, 'a=x://y', '${{ other }}']}",
    "{read: {a: x://y, b: {server: a, uri: x://z}}}",
    "{read: {server: a, uri: 'x://y'}}",
    "{prompt: a.b, with: {x: 1}}",
    "{approval: Go?}",
    "{approval: {message: Go?, timeout: 1d}}",
    "{wait: 5}",
    "{wait: 1h}",
    "{wait: '${{ other }}'}",
    "{wait: {for: 1s}}",
    "{wait: {until: '2026-11-22T10:00:00Z'}}",
    "{run: x2.yaml, with: {a: 1}, undo: {call: a.b}, timeout: 3}",
    "{set: [1, {a: b}], foreach: [1, 2]}",
]
BAD = [
    "{call: a}",
    "{call: '${{ x }}.y'}",
    "{call: a.b, set: 1}",
    "{needs: other}",
    "{call: a.b, retries: 3}",
    "{call: a.b, retry: 0}",
    "{call: a.b, timeout: soon}",
    "{call: a.b, timeout: -1}",
    "{call: a.b, on_error: ignore}",
    "{call: a.b, on_error: {value: 1, call: a.b}}",
    "{call: a.b, on_unavailable: {wait: 1}}",
    "{call: a.b, undo: {with: {}}}",
    "{call: a.b, reconcile: {call: a.b}}",
    "{call: a.b, as: x}",
    "{call: a.b, concurrency: 2}",
    "{call: a.b, with: [1]}",
    "{call: a.b, keep: 1}",
    "{call: a.b, parse: yaml}",
    "{set: 1, undo: {call: a.b}}",
    "{set: 1, retry: 2}",
    "{read: nowhere}",
    "{read: []}",
    "{read: {}}",
    "{approval: {timeout: 1d}}",
    "{approval: Go?, foreach: [1]}",
    "{wait: {for: 1s, until: x}}",
    "{wait: soon}",
    "{run: 3}",
    "3",
]


@pytest.mark.parametrize("step", GOOD)
def test_what_the_loader_takes_the_schema_takes(step: str) -> None:
    assert (valid(HEAD + step), loads(HEAD + step)) == (True, True)


@pytest.mark.parametrize("step", BAD)
def test_what_the_loader_refuses_the_schema_refuses(step: str) -> None:
    assert (valid(HEAD + step), loads(HEAD + step)) == (False, False)


@pytest.mark.parametrize("kind", ["call", "read", "prompt", "approval", "wait", "run", "set"])
def test_they_agree_on_which_modifier_belongs_to_which_kind(kind: str) -> None:
    what = {
        "call": "a.b",
        "read": "x://y",
        "prompt": "a.b",
        "approval": "Go?",
        "wait": "1s",
        "run": "x2.yaml",
        "set": "1",
    }[kind]
    given = {
        "with": "{a: 1}", "needs": "other", "if": "true", "foreach": "[1]", "as": "x, foreach: [1]", "concurrency": "2, foreach: [1]",
        "timeout": "1s", "retry": "2", "on_error": "continue", "on_unavailable": "continue", "keep": "false", "parse": "json",
        "reconcile": "{call: a.b, happened: true}", "undo": "{call: a.b}", "idempotency_key": "k",
    }  # fmt: skip
    assert set(given) == set(MODIFIERS)
    for modifier, value in given.items():
        text = (
            f"{HEAD}{{{kind}: '{what}', {modifier}: {value}}}"
            if kind != "set"
            else f"{HEAD}{{set: 1, {modifier}: {value}}}"
        )
        expected = kind in MODIFIERS[modifier]
        assert (valid(text), loads(text)) == (expected, expected), text


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_they_agree_on_reserved_names(name: str) -> None:
    text = f"motet: 1\nsteps:\n  '{name}': {{set: 1}}\n"
    assert (valid(text), loads(text)) == (False, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "motet: 1\ninputs: {a: string, b: {type: string, secret: true, required: false}, c: {type: [string, 'null']}}\nsteps: {s: {set: 1}}",
            True,
        ),
        ("motet: 1\ninputs: {a: str}\nsteps: {s: {set: 1}}", False),
        ("motet: 1\nsteps: {}", False),
        ("motet: 2\nsteps: {s: {set: 1}}", False),
        ("steps: {s: {set: 1}}", False),
        (
            "motet: 1\nsteps: {s: {set: 1}}\ntimeout: 1d\nconcurrency: 3\nfinally: {f: {set: 2}}\noutput: 1\nname: x\ndescription: y",
            True,
        ),
        ("motet: 1\nsteps: {s: {set: 1}}\nconcurrency: 0", False),
    ],
)
def test_they_agree_on_the_whole(text: str, expected: bool) -> None:
    assert (valid(text), loads(text)) == (expected, expected)


def test_the_schema_is_plain_json_and_yaml_readers_agree_about_it() -> None:
    assert yaml.safe_load(yaml.safe_dump(SCHEMA)) == SCHEMA
