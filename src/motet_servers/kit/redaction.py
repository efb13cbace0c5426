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
    """Replaces known secret values in text, bytes and JSON; also as URLs, JSON and base64 spell them."""

    __slots__ = ("_raw", "_values")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            if len(secret) >= SHORTEST:
                spellings |= {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
                spellings |= {json.dumps(secret, ensure_ascii=escaped)[1:-1] for escaped in (True, False)}
                spellings |= _inside_base64(secret.encode())
        self._values = tuple(sorted(spellings, key=len, reverse=True))
        self._raw = tuple(value.encode() for value in self._values)

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

    def data(self, data: bytes) -> bytes:
        """The bytes without the secrets."""
        for value in self._raw:
            data = data.replace(value, PLACEHOLDER.encode())
        return data

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


def _inside_base64(secret: bytes) -> set[str]:
    """How base64 spells the secret in the middle of something (`user:password`, a file).

    That depends on where it starts in a group of three bytes; kept are the characters that it alone decides. Of a short
    one too few are left to tell it from chance.
    """
    if len(secret) < 2 * SHORTEST:
        return set()
    found: set[str] = set()
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(bytes(before) + secret).decode()[skipped : (before + len(secret)) * 8 // 6]
        found |= {text, text.replace("+", "-").replace("/", "_")}
    return found
