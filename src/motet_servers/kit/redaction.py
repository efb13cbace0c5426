"""Secrets replaced by exact value, wherever text leaves the process.

Exact values, not patterns: a pattern misses the odd token and mangles innocent text.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import quote

PLACEHOLDER = "[redacted]"
SHORTEST = 4
"""Values shorter than this are not replaced: they would hit innocent text."""


class Redactor:
    """Replaces known secret values in text and in JSON; also as URLs, JSON and base64 spell them."""

    __slots__ = ("_values",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(secret) >= SHORTEST:
                spellings |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
                spellings |= {json.dumps(secret, ensure_ascii=escaped)[1:-1] for escaped in (True, False)}
        self._values = tuple(sorted(spellings, key=len, reverse=True))

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} spellings)"

    def text(self, text: str) -> str:
        """The text without the secrets."""
        for value in self._values:
            if value in text:
                text = text.replace(value, PLACEHOLDER)
        return text

    def found(self, text: str) -> bool:
        """Does the text hold a secret?"""
        return any(value in text for value in self._values)

    def json(self, value: Any) -> Any:
        """JSON (also its keys) without the secrets."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.json(key): self.json(item) for key, item in cast("dict[Any, Any]", value).items()}
            case list():
                return [self.json(item) for item in cast("list[Any]", value)]
            case _:
                return value
