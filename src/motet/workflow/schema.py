"""The published JSON Schema of workflow files: what editors complete and validate with (`motet schema`).

It says what the loader says, as far as a schema can: keys, kinds, forms. References, types against tools and cycles are
`check`'s.
"""

from __future__ import annotations

from motet.calls import Json
from motet.workflow.format import (
    APPROVAL_KEYS,
    KINDS,
    MODIFIERS,
    ON_ERROR_KEYS,
    ON_UNAVAILABLE_KEYS,
    READ_KEYS,
    RECONCILE_KEYS,
    RESERVED_NAMES,
    RETRY_KEYS,
    TYPES,
    UNDO_KEYS,
    VERSION,
    WAIT_KEYS,
    WORKFLOW_KEYS,
)

URL = "https://json-schema.org/draft/2020-12/schema"
_EXPRESSION = r"^\s*\$\{\{[\s\S]*\}\}\s*$"
_DURATION = (
    r"^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(ms|us|ns|s|m|h|d)(\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(ms|us|ns|s|m|h|d))*\s*$"
)
_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}


def workflow_schema() -> dict[str, Json]:
    """The schema, as JSON Schema 2020-12."""
    return {
        "$schema": URL,
        "title": "motet workflow",
        "description": "Steps over MCP servers, in the order their data demands.",
        **_object({key: _TOP[key] for key in WORKFLOW_KEYS}, ["motet", "steps"]),
        "$defs": _definitions(),
    }


def _object(properties: dict[str, Json], required: list[str] | None = None) -> dict[str, Json]:
    made: dict[str, Json] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made


def _said(about: str, schema: Json) -> dict[str, Json]:
    return {**schema, "description": about}


def _ref(name: str) -> dict[str, Json]:
    return {"$ref": f"#/$defs/{name}"}


def _one_of(*schemas: Json) -> dict[str, Json]:
    return {"anyOf": list(schemas)}


_STEPS: Json = {
    "type": "object",
    "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$", "not": {"enum": sorted(RESERVED_NAMES)}},
    "additionalProperties": _ref("step"),
}
_TOP: dict[str, Json] = {
    "motet": _said("The version of the format.", {"const": VERSION}),
    "name": _said("What the workflow is called; else the file's name.", _TEXT),
    "description": _said("What it is for.", _TEXT),
    "inputs": _said(
        "What a run is given: a type's name, or a JSON Schema with `required` and `secret`.",
        {
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,127}$"},
            "additionalProperties": _ref("input"),
        },
    ),
    "steps": _said("The steps, by name.", {**_STEPS, "minProperties": 1}),
    "output": _said("What a run gives: any value.", {}),
    "timeout": _said("The longest a run may take.", _ref("duration")),
    "concurrency": _said("How many steps may run at once.", {"type": "integer", "minimum": 1, "maximum": 10_000}),
    "finally": _said("Steps that run after success, failure or cancellation.", _STEPS),
}
_STEP: dict[str, Json] = {
    "call": _said("Call a tool: SERVER.TOOL.", _ref("address")),
    "read": _said("Read one URI, or a list or map of them, side by side.", _ref("read")),
    "prompt": _said("Get a prompt: SERVER.PROMPT.", _ref("address")),
    "approval": _said("Ask a person.", _ref("approval")),
    "wait": _said("Wait for a time, or until an instant.", _ref("wait")),
    "run": _said("Run another workflow: its path, relative to this file.", _TEXT),
    "set": _said("Pure values.", {}),
    "with": _said("The arguments.", _ref("arguments")),
    "needs": _said(
        "Steps that come before, beside those whose data is read.", _one_of(_TEXT, {"type": "array", "items": _TEXT})
    ),
    "if": _said("Run only when this is true.", _one_of(_TEXT, _FLAG)),
    "foreach": _said("Once for each item of this list.", _one_of(_TEXT, {"type": "array"})),
    "as": _said("What the item is called; else `item`.", _TEXT),
    "concurrency": _said("How many items may run at once.", {"type": "integer", "minimum": 1, "maximum": 10_000}),
    "timeout": _said("The longest all attempts together may take.", _ref("duration")),
    "retry": _said("In place of the server's setting.", _ref("retry")),
    "on_error": _said("What a failure means.", _ref("on_error")),
    "on_unavailable": _said("What it means that the server cannot be reached.", _ref("on_unavailable")),
    "reconcile": _said("How to find out what became of a call whose answer was lost.", _ref("reconcile")),
    "undo": _said("How to take it back when the run fails.", _ref("undo")),
    "idempotency_key": _said("The key to send, in place of our own.", _one_of(_TEXT, {"type": "integer"})),
    "keep": _said("False: leave the data out of reports.", _FLAG),
    "parse": _said("`json`: a text answer that holds JSON is read as such.", {"enum": ["schema", "json"]}),
}


def _definitions() -> dict[str, Json]:
    address: Json = {"type": "string", "pattern": r"^(?!.*\$\{\{)[^.]+\..+$"}
    call: dict[str, Json] = {"call": _ref("address"), "with": _ref("arguments")}
    uri: Json = {"type": "string", "pattern": r"(:|\$\{\{)"}
    one_uri = _object({key: _TEXT if key == "server" else uri for key in READ_KEYS}, list(READ_KEYS))
    durations = {
        "attempts": {"type": "integer", "minimum": 1, "maximum": 100},
        "base": _ref("duration"),
        "cap": _ref("duration"),
    }
    on_error: dict[str, Json] = {"value": {}, **call}
    reconcile: dict[str, Json] = {**call, "happened": _one_of(_TEXT, _FLAG), "data": {}}
    undo: dict[str, Json] = {**call, "when": {"enum": ["done", "maybe"]}}
    waits: dict[str, Json] = {"for": _ref("moment"), "until": _one_of(_TEXT, {"type": "number"})}
    approval: dict[str, Json] = {"message": _TEXT, "timeout": _ref("duration")}
    return {
        "duration": _one_of({"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": _DURATION}),
        "moment": _one_of(
            {"type": "number", "minimum": 0}, {"type": "string", "pattern": f"{_DURATION}|{_EXPRESSION}"}
        ),
        "address": address,
        "arguments": _one_of({"type": "object"}, {"type": "string", "pattern": _EXPRESSION}),
        "uri": _one_of(uri, one_uri),
        "read": _one_of(
            uri,
            one_uri,
            {"type": "array", "items": _ref("uri"), "minItems": 1},
            {"type": "object", "additionalProperties": _ref("uri"), "minProperties": 1},
        ),
        "approval": _one_of(_TEXT, _object({key: approval[key] for key in APPROVAL_KEYS}, ["message"])),
        "wait": _one_of(
            _ref("moment"), {**_object({key: waits[key] for key in WAIT_KEYS}), "minProperties": 1, "maxProperties": 1}
        ),
        "retry": _one_of(durations["attempts"], _object({key: durations[key] for key in RETRY_KEYS})),
        "on_error": _one_of(
            {"enum": ["fail", "continue"]},
            {
                **_object({key: on_error[key] for key in ON_ERROR_KEYS}),
                "oneOf": [{"required": ["value"], "not": {"required": ["with"]}}, {"required": ["call"]}],
            },
        ),
        "on_unavailable": _one_of(
            {"enum": ["fail", "continue"]}, _object({key: _ref("duration") for key in ON_UNAVAILABLE_KEYS}, ["defer"])
        ),
        "reconcile": _object({key: reconcile[key] for key in RECONCILE_KEYS}, ["call", "happened"]),
        "undo": _object({key: undo[key] for key in UNDO_KEYS}, ["call"]),
        "input": _one_of({"enum": list(TYPES)}, _input()),
        "step": _step(),
    }


def _input() -> dict[str, Json]:
    types: Json = {"enum": list(TYPES)}
    return {
        "type": "object",
        "properties": {
            "type": _one_of(types, {"type": "array", "items": types}),
            "description": _TEXT,
            "default": {},
            "required": _said("False: it may be left out, and is null then.", _FLAG),
            "secret": _said("The value names a configured secret.", _FLAG),
        },
        "propertyNames": {"type": "string"},
    }


def _step() -> dict[str, Json]:
    """Exactly one kind, and only the modifiers that belong to it."""
    kinds: list[Json] = []
    for kind in KINDS:
        others = [key for key in (*KINDS, *MODIFIERS) if key != kind and kind not in MODIFIERS.get(key, ())]
        kinds.append({"required": [kind], "properties": dict.fromkeys(others, False)})
    loops = {key: ["foreach"] for key in ("as", "concurrency")}
    return {**_object({key: _STEP[key] for key in (*KINDS, *MODIFIERS)}), "oneOf": kinds, "dependentRequired": loops}
