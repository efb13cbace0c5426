"""One tool of one server: its definition, and everything about a call that does not depend on its arguments.

A `Tool` checks arguments before they are sent, checks what the output schema promises, and reads the data of an answer
(SEMANTICS §6). Validators are compiled on first use and kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Literal, cast

import jsonschema_rs
import msgspec
import orjson

from motet.calls import Json, ToolResult, plain_data
from motet.catalog.model import Annotations
from motet.catalog.schema import (
    Normaliser,
    Schema,
    compiled,
    data_schema,
    problems,
    recursive,
    too_costly,
    wraps_result,
)

NO_HINTS = Annotations()


@dataclass(frozen=True)
class Tool:
    """A usable tool definition. Equal when its definition is."""

    server: str
    name: str
    title: str = ""
    description: str = ""
    input_schema: Schema = field(default_factory=dict[str, Json], repr=False)
    output_schema: Schema | None = field(default=None, repr=False)
    annotations: Annotations = NO_HINTS
    meta: Mapping[str, Json] = field(default_factory=dict[str, Json], repr=False)
    digest: str = ""
    """SHA-256 of the definition as it was listed, `_meta` left out."""
    parse: Literal["schema", "json"] = "schema"
    """`json`: a `result: string` that holds a JSON object or array is parsed."""

    @property
    def address(self) -> str:
        """`SERVER.TOOL`."""
        return f"{self.server}.{self.name}"

    def problems(self, arguments: Mapping[str, Json]) -> list[str]:
        """What is wrong with these arguments, one sentence each naming field and what was expected; empty: nothing.

        Values are never repeated: they may be secret.
        """
        checker = self._input
        given = cast("dict[str, Json]", arguments) if type(arguments) is dict else dict(arguments)
        if self._input_recursive and too_costly(given, self.input_schema):
            return ["nested too deeply to be held against the tool's recursive schema"]
        try:
            if checker.is_valid(given):
                return []
        except (ValueError, TypeError, OverflowError):
            pass  # told below, with the field
        return [self._suggest(problem) for problem in problems(checker.iter_errors, given)]

    @property
    def checks_output(self) -> bool:
        """Has the tool an output schema?"""
        return self.output_schema is not None

    def mismatch(self, structured: Json) -> str | None:
        """Why this `structuredContent` breaks the output schema, or None. `msgspec.UNSET`: it is missing."""
        if self.output_schema is None:
            return None
        if structured is msgspec.UNSET:
            return "structuredContent is missing though the tool has an output schema"
        if self._output_recursive and too_costly(structured, self.output_schema):
            return "structuredContent is nested too deeply to be held against the recursive output schema"
        try:
            if self._output.is_valid(structured):
                return None
        except (ValueError, TypeError, OverflowError) as why:
            return f"structuredContent cannot be checked: {str(why)[:200]}"
        found = problems(self._output.iter_errors, structured, limit=3)
        return f"structuredContent breaks the output schema: {'; '.join(found)}"

    def data(self, result: ToolResult) -> Json:
        """The answer's data, read by this tool's schema."""
        if self.output_schema is None or result.is_error or "structuredContent" not in result.body:
            return plain_data(result)
        return self.read(result.structured)

    def read(self, structured: Json) -> Json:
        """The data in this `structuredContent`: unwrapped when the schema says so, numbers as the schema says."""
        if self.output_schema is None:
            return structured
        if not wraps_result(self.output_schema):
            return self._normalise(structured)
        inner = cast("dict[str, Json]", structured).get("result") if isinstance(structured, dict) else structured
        if self.data_schema is None and isinstance(inner, str):
            return _parsed(inner)
        return self._normalise(inner)

    @cached_property
    def data_schema(self) -> Schema | None:
        """The schema of the data of an answer; None: dynamic."""
        return data_schema(self.output_schema, parse=self.parse)

    def compile(self) -> None:
        """Compile both schemas now. Raises `BadSchema`."""
        _ = self._input, self._output

    @cached_property
    def _input(self) -> jsonschema_rs.Validator:
        return compiled(self.input_schema)

    @cached_property
    def _output(self) -> jsonschema_rs.Validator:
        return compiled(self.output_schema if self.output_schema is not None else {})

    @cached_property
    def _input_recursive(self) -> bool:
        return recursive(self.input_schema)

    @cached_property
    def _output_recursive(self) -> bool:
        return self.output_schema is not None and recursive(self.output_schema)

    @cached_property
    def _normalise(self) -> Normaliser:
        return Normaliser(self.data_schema or {})

    def _suggest(self, problem: str) -> str:
        """The same sentence with the nearest argument name, or with what the missing argument is."""
        properties: Json = self.input_schema.get("properties")
        names = list(cast("dict[str, Json]", properties)) if isinstance(properties, dict) else []
        if problem.endswith("not known here"):
            wrong = problem.split("`")[1]
            near = get_close_matches(wrong, names, n=1)
            tail = f"did you mean `{near[0]}`?" if near else f"it takes {', '.join(names[:12]) or 'no arguments'}"
            return f"{problem}; {tail}"
        if problem.endswith("is missing"):
            about: Json = cast("dict[str, Json]", properties).get(problem.split("`")[1]) if names else None
            kind: Json = cast("dict[str, Json]", about).get("type") if isinstance(about, dict) else None
            return f"{problem} (expected {kind})" if isinstance(kind, str) else problem
        return problem


def digest_of(definition: Mapping[str, Json]) -> str:
    """SHA-256 over the canonical JSON of a listed definition; `_meta` may change without meaning."""
    told = {key: part for key, part in definition.items() if key != "_meta"}
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _parsed(text: str) -> Json:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text
