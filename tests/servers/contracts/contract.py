"""A vendor's OpenAPI document as a check of requests and answers.

A problem is one sentence; nothing is raised here, so that a whole tour is heard before a test fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import jsonschema_rs

Json = dict[str, Any]
MULTIPLE = frozenset({"path"})
"""Path parameters that may hold slashes."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    name: str
    known: Json
    parameters: Mapping[str, str]
    """The path's own, as they were in the request."""


@dataclass
class Contract:
    """One vendor's document, as `fetch` cuts it down."""

    document: Json
    prefix: str = ""
    """What the base URL has in front of the document's paths."""
    gaps: Collection[str] = ()
    """`METHOD /path` (or a path's beginning) or `/path field` that the document is too old to know."""
    wrong: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parts of problems that are the document's own mistakes, and why."""
    formats: bool = True
    """Are formats (date-time, uri) checked?"""
    forms_for_queries: bool = False
    """Arguments that the document puts in the query may come as a form by POST, as Slack takes them."""
    met: set[str] = field(default_factory=set[str])
    """The operations that were checked."""
    unchecked: set[str] = field(default_factory=set[str])
    """Requests that the gaps let pass."""

    @cached_property
    def _paths(self) -> list[tuple[str, re.Pattern[str]]]:
        def pattern(match: re.Match[str]) -> str:
            return f"(?P<{match[1]}>{'.+' if match[1] in MULTIPLE else '[^/]+'})"

        found = [(path, re.sub(r"\\{(\w+)\\}", pattern, re.escape(path))) for path in self.document["paths"]]
        found.sort(key=lambda each: each[0].count("{"))
        return [(path, re.compile(text)) for path, text in found]

    def operation(self, method: str, url: str) -> Operation | None:
        """What the document says about this request; None when it does not know it."""
        path = urlsplit(url).path.removeprefix(self.prefix)
        for name, pattern in self._paths:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            item: Json = self.document["paths"][name]
            known = item.get(method.lower())
            if known is None and self.forms_for_queries and method == "POST":
                known = item.get("get")
            if known is not None:
                shared = item.get("parameters", [])
                known = {**known, "parameters": [*known.get("parameters", []), *shared]}
                return Operation(f"{method} {name}", known, match.groupdict())
        return None

    def unmet(self) -> set[str]:
        """Operations of the document that no request has met: it is cut to the paths in use, not to their methods."""
        return set(self.document["paths"]) - {name.partition(" ")[2] for name in self.met}

    def request_problems(self, method: str, url: str, content_type: str, body: bytes) -> Iterator[str]:
        """What is wrong with a request."""
        yield from self._really_wrong(self._request_problems(method, url, content_type, body))

    def answer_problems(self, method: str, url: str, status: int, content_type: str, body: bytes) -> Iterator[str]:
        """What is wrong with an answer. Limits and failures stand in no document: anything on the way may give them."""
        if status != 429 and status < 500:
            yield from self._really_wrong(self._answer_problems(method, url, status, content_type, body))

    def _really_wrong(self, problems: Iterator[str]) -> Iterator[str]:
        return (problem for problem in problems if not any(part in problem for part in self.wrong))

    def _request_problems(self, method: str, url: str, content_type: str, body: bytes) -> Iterator[str]:
        operation = self.operation(method, url)
        path = urlsplit(url).path.removeprefix(self.prefix)
        if operation is None:
            if any(f"{method} {path}".startswith(gap) for gap in self.gaps):
                self.unchecked.add(f"{method} {path}")
            else:
                yield f"{method} {path} is not in the document"
            return
        self.met.add(operation.name)
        query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        declared = [self._resolved(each) for each in operation.known.get("parameters", [])]
        known = {each["name"]: each for each in declared if each["in"] == "query"}
        form = self.forms_for_queries and method == "POST"
        if form and "urlencoded" in content_type:
            content = self._body_schema(operation, "application/x-www-form-urlencoded")
            properties: Json = (content or {}).get("properties", {})
            known |= {name: {"name": name, "schema": schema} for name, schema in properties.items()}
            query |= dict(parse_qsl(body.decode(), keep_blank_values=True))
        yield from self._parameter_problems(operation, known, query)
        in_path = {each["name"]: each for each in declared if each["in"] == "path"}
        values = {name: unquote(value) for name, value in operation.parameters.items()}
        yield from self._parameter_problems(operation, in_path, {n: v for n, v in values.items() if n in in_path})
        if not form:
            yield from self._json_body_problems(operation, content_type, body)

    def _answer_problems(self, method: str, url: str, status: int, content_type: str, body: bytes) -> Iterator[str]:
        operation = self.operation(method, url)
        if operation is None:
            return
        responses: Json = operation.known.get("responses", {})
        name = next((name for name in (str(status), f"{status // 100}XX", "default") if name in responses), None)
        if self.forms_for_queries and body.startswith(b'{"ok":false'):
            name = "default"
        if name is None:
            yield f"{operation.name} never answers {status}"
            return
        media: Json = self._resolved(responses[name]).get("content", {})
        schema = next((each.get("schema") for kind, each in media.items() if "json" in kind), None)
        if not schema:  # nothing is declared, or anything at all
            return
        if "json" not in content_type:
            yield f"{operation.name} answers {content_type or 'nothing'} where JSON is declared"
            return
        for problem in self._schema_problems(schema, json.loads(body)):
            yield f"{operation.name} answers {status}: {problem}"

    def _parameter_problems(
        self, operation: Operation, known: Mapping[str, Json], given: Mapping[str, str]
    ) -> Iterator[str]:
        path = operation.name.partition(" ")[2]
        for name, text in given.items():
            if name in known:
                schema = known[name].get("schema", {})
                for problem in self._schema_problems(schema, self._typed(schema, text)):
                    yield f"{operation.name} {name}: {problem}"
            elif f"{path} {name}" in self.gaps:
                self.unchecked.add(f"{path} {name}")
            else:
                yield f"{operation.name} has no parameter {name}"
        for name, each in known.items():
            if each.get("required") and name not in given and name != "token":
                yield f"{operation.name} lacks {name}"

    def _json_body_problems(self, operation: Operation, content_type: str, body: bytes) -> Iterator[str]:
        schema = self._body_schema(operation, "application/json")
        if schema is None:
            return
        if not body:
            required = self._resolved(operation.known.get("requestBody", {})).get("required", False)
            if required:
                yield f"{operation.name} lacks its body"
            return
        if "json" not in content_type:
            yield f"{operation.name} sends {content_type or 'no type'} where JSON is declared"
            return
        sent = json.loads(body)
        for problem in self._schema_problems(schema, sent):
            yield f"{operation.name} sends: {problem}"
        properties: Json = self._resolved(schema).get("properties") or {}
        for name in cast("Json", sent) if isinstance(sent, dict) and properties else ():
            if name not in properties:
                yield f"{operation.name} sends {name}, which is not declared"

    def _body_schema(self, operation: Operation, kind: str) -> Json | None:
        body: Json = self._resolved(operation.known.get("requestBody", {}))
        return body.get("content", {}).get(kind, {}).get("schema")

    def _resolved(self, value: Json) -> Json:
        while "$ref" in value:
            _, _, kind, name = value["$ref"].split("/")
            value = self.document["components"][kind][name]
        return value

    def _schema_problems(self, schema: Json, value: Any) -> Iterator[str]:
        whole = {**schema, "components": self.document.get("components", {})}
        checker = jsonschema_rs.Draft4Validator(whole, validate_formats=self.formats)
        for error in checker.iter_errors(value):
            place = "/".join(str(part) for part in error.instance_path)
            yield f"{place or 'the whole'}: {error.message[:200]}"

    def _typed(self, schema: Json, text: str) -> Any:
        """A parameter's text as the value it stands for."""
        kind = self._resolved(schema).get("type")
        if kind in {"integer", "number"} and re.fullmatch(r"-?\d+(\.\d+)?", text):
            return int(text) if "." not in text else float(text)
        if kind == "boolean" and text in {"true", "false"}:
            return text == "true"
        return text.split(",") if kind == "array" else text


def load(folder: Path, vendor: str, **options: Any) -> Contract:
    """A vendor's contract from the folder that `fetch` filled."""
    return Contract(json.loads((folder / f"{vendor}.json").read_text()), **options)
