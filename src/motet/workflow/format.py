"""The format's own words: every key, where it may stand, and the names that a step may not have.

The loader, the published schema and the reference page are held to these tables by tests.
"""

from __future__ import annotations

import re

from motet.workflow.expressions.tree import NAMESPACES, RESERVED, TYPE_NAMES

VERSION = 1
WORKFLOW_KEYS = ("motet", "name", "description", "inputs", "steps", "output", "timeout", "concurrency", "finally")
KINDS = ("call", "read", "prompt", "approval", "wait", "run", "set")
_CALLS = ("call", "read", "prompt")
_LOOPS = ("call", "read", "prompt", "run", "set")
MODIFIERS: dict[str, tuple[str, ...]] = {
    "with": ("call", "prompt", "run"),
    "needs": KINDS,
    "if": KINDS,
    "foreach": _LOOPS,
    "as": _LOOPS,
    "concurrency": _LOOPS,
    "timeout": (*_CALLS, "run"),
    "retry": _CALLS,
    "on_error": KINDS,
    "on_unavailable": _CALLS,
    "reconcile": ("call",),
    "undo": ("call", "run"),
    "idempotency_key": ("call",),
    "keep": KINDS,
    "parse": ("call",),
}
"""Every modifier, and the kinds of step it can be given to."""
STEP_KEYS = (*KINDS, *MODIFIERS)
RETRY_KEYS = ("attempts", "base", "cap")
ON_ERROR_KEYS = ("value", "call", "with")
ON_UNAVAILABLE_KEYS = ("defer",)
RECONCILE_KEYS = ("call", "with", "happened", "data")
UNDO_KEYS = ("call", "with", "when")
APPROVAL_KEYS = ("message", "timeout")
WAIT_KEYS = ("for", "until")
READ_KEYS = ("server", "uri")
INPUT_KEYS = ("required", "secret")
"""Ours, beside the words of JSON Schema."""
SCHEMA_WORDS = frozenset(
    (
        "type", "description", "title", "default", "enum", "const", "format", "pattern", "minLength", "maxLength",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "items", "prefixItems", "minItems",
        "maxItems", "uniqueItems", "contains", "properties", "additionalProperties", "patternProperties",
        "minProperties", "maxProperties", "anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "examples", "deprecated",
    )
)  # fmt: skip
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z", re.ASCII)
RESULT = "result"
"""In `happened` and `data` of `reconcile`: what the look gave."""
RESERVED_NAMES = (
    RESERVED
    | TYPE_NAMES
    | NAMESPACES
    | frozenset(("true", "false", "null", "in", "bytes", "uint", "dyn", "timestamp", "duration"))
    | frozenset(("inputs", "steps", "run", "item", RESULT))
)
"""What a step or an item cannot be called."""
