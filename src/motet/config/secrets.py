"""Secrets out of sight: exact values are replaced before anyone, live or replaying, sees them.

Replacement is exact and needs no guess about what a secret looks like. Values shorter than six characters are left
alone: replacing them would tear innocent text apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from motet.calls import Json

SHORTEST = 6
MASK = "***"


class Redactor:
    """Replaces known secret values in text, bytes and JSON. Falsy when it knows none."""

    __slots__ = ("_bytes", "_text")

    def __init__(self, values: Iterable[str]) -> None:
        forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._text = re.compile("|".join(map(re.escape, longest_first))) if forms else None
        self._bytes = re.compile(b"|".join(re.escape(form.encode()) for form in longest_first)) if forms else None

    def __bool__(self) -> bool:
        return self._text is not None

    def __repr__(self) -> str:
        return f"Redactor({'some' if self else 'no'} values)"

    def text(self, text: str) -> str:
        """The text with every secret value replaced by `***`."""
        return text if self._text is None else self._text.sub(MASK, text)

    def raw(self, data: bytes) -> bytes:
        """The same for bytes, such as an answer's JSON; JSON stays JSON."""
        return data if self._bytes is None else self._bytes.sub(MASK.encode(), data)

    def json(self, value: Json) -> Json:
        """The same for every string (keys included) of a JSON value; the value itself is not changed."""
        if self._text is None:
            return value
        match value:
            case str():
                return self.text(value)
            case list():
                return [self.json(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
            case dict():
                return {self.text(str(k)): self.json(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON
            case _:
                return value


def _forms(value: str) -> set[str]:
    """The value as it is, and as it stands inside JSON text."""
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
