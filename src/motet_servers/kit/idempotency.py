"""Idempotency keys: checked, turned into marks a domain can store, and serialized within one process.

The key itself never leaves the server: what is stored at the vendor (a body marker, a label, a UID) is a hash of
domain, tool and key. The mark is found again by the domain's own means; that look-up is the server's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from motet_servers.kit.errors import Conflict, InvalidInput

LONGEST = 255
DIGITS = 32
_HEX = frozenset("0123456789abcdef")


def checked(key: str | None) -> str | None:
    """The key, or None for none; InvalidInput when it is empty, too long or not printable ASCII."""
    if key is None:
        return None
    if not 0 < len(key) <= LONGEST or not key.isascii() or not key.isprintable():
        raise InvalidInput(f"idempotency_key must be 1 to {LONGEST} printable ASCII characters.")
    return key


def mark(domain: str, tool: str, key: str) -> str:
    """32 hex digits that stand for this key of this tool, the same in every process."""
    text = json.dumps([domain, tool, key], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def fingerprint(arguments: Any) -> str:
    """32 hex digits of JSON arguments: the same key with other arguments is a mistake worth refusing."""
    text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def same(left: str, asked: str) -> None:
    """Conflict unless the fingerprint that a key left is that of what is asked now."""
    if left != asked:
        raise Conflict("this idempotency_key was used before with other arguments; nothing was done. Use a new key.")


@dataclass(frozen=True, slots=True)
class Ended:
    """A text without its hidden ending, and what that ending said; both empty when it had none."""

    text: str
    mark: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a mark and a fingerprint stand hidden at the end of a text: opening, mark, between, fingerprint, closing."""

    opening: str
    between: str
    closing: str

    def write(self, text: str, mark: str, said: str) -> str:
        """The text with the ending."""
        return f"{text}\n\n{self.opening}{mark}{self.between}{said}{self.closing}"

    def read(self, text: str) -> Ended:
        """The text taken apart, in linear time: anybody may have written it."""
        at = text.rfind(self.opening)
        if at < 0:
            return Ended(text)
        end = text[at + len(self.opening) :].rstrip()
        mark, said = end[:DIGITS], end[DIGITS + len(self.between) : 2 * DIGITS + len(self.between)]
        if end != f"{mark}{self.between}{said}{self.closing}" or not _HEX.issuperset(mark + said):
            return Ended(text)
        return Ended(text[:at].rstrip(), mark, said)


class KeyLocks:
    """One holder at a time per key, so that two concurrent calls with one key do not both find nothing and both write.

    A lock lives only while someone holds or awaits it.
    """

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str | None) -> AsyncGenerator[None]:
        """Hold the key's lock; no key, no lock."""
        if key is None:
            yield
            return
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)
