"""Secret inputs: a run carries references, and only a call that is about to be sent carries the values.

A reference is text that nobody outside the run can make: it holds a nonce of the run, so a server that answers with
something that looks like one gets nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import cast

from motet.calls import Json
from motet.errors import RunError
from motet.workflow.model import Workflow

_BEGIN, _END = "\ue000", "\ue001"


class Secrets:
    """The references of one run, and where their values are."""

    def __init__(self, nonce: str = "", values: Mapping[str, str] | None = None) -> None:
        self.nonce = nonce
        self._values: Mapping[str, str] = {} if values is None else values
        self._pattern = re.compile(f"{_BEGIN}{re.escape(nonce)}:([^{_END}]*){_END}")

    def referred(self, workflow: Workflow, inputs: Mapping[str, Json]) -> dict[str, Json]:
        """The inputs with secret ones as references. Raises `RunError` when a secret is not configured."""
        given = dict(inputs)
        for name, declared in workflow.inputs.items():
            if declared.secret and name in given:
                self._value(str(given[name]))
                given[name] = f"{_BEGIN}{self.nonce}:{given[name]}{_END}"
        return given

    def _value(self, name: str) -> str:
        value = self._values.get(name)
        if value is None:
            raise RunError(f"no secret is configured under the name `{name}`")
        return value

    def resolved(self, arguments: dict[str, Json]) -> dict[str, Json]:
        """The arguments as they are sent."""
        if not self.nonce:
            return arguments
        return cast("dict[str, Json]", self._walk(arguments, self._value))

    def shown(self, value: Json) -> Json:
        """The value as it may be shown: a reference by its name."""
        return self._walk(value, lambda name: f"<secret {name}>") if self.nonce else value

    def _walk(self, value: Json, put: Callable[[str], str]) -> Json:
        match value:
            case str() if _BEGIN in value:
                return self._pattern.sub(lambda found: put(found.group(1)), value)
            case dict():
                entries = cast("dict[str, Json]", value)
                return {key: self._walk(item, put) for key, item in entries.items()}
            case list():
                return [self._walk(item, put) for item in cast("list[Json]", value)]
            case _:
                return value
