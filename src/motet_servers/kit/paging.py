"""Opaque cursors for tools and resources that page, so that no answer balloons."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, cast

from motet_servers.kit.errors import InvalidInput

LONGEST = 4096


def encode(position: Mapping[str, Any]) -> str:
    """A cursor for a position (small JSON)."""
    text = json.dumps(dict(position), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> dict[str, Any]:
    """The position of a cursor; {} for none; InvalidInput when it is not one of ours. Check the types inside."""
    if not cursor:
        return {}
    position: Any = None
    try:
        if len(cursor) <= LONGEST:
            position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        position = None
    if not isinstance(position, dict):
        raise InvalidInput("cursor is not one this server gave; leave it out to start at the beginning.")
    return cast("dict[str, Any]", position)


def offset(cursor: str | None) -> int:
    """The offset in a cursor made by `encode({"offset": n})`; 0 for none."""
    value = decode(cursor).get("offset", 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InvalidInput("cursor is not one this server gave; leave it out to start at the beginning.")
    return value


def after(start: int, found: int, *, total: int | None, last: bool | None = None) -> str | None:
    """The cursor after `found` items from `start` on; None when they were the last, by `last` or else by `total`."""
    over = last if last is not None else total is None or start + found >= total
    return None if over or not found else encode({"offset": start + found})
