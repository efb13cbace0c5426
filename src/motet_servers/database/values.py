"""Values between JSON and the database."""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from motet_servers.kit.errors import InvalidInput

SAFE_INTEGER = 1 << 53
"""Beyond this a JSON number loses digits in many readers (RFC 8259 §6)."""


def to_json(value: Any) -> Any:
    """A value as JSON."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= SAFE_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            items = cast("Mapping[Any, Any]", value)
            return {str(key): to_json(item) for key, item in items.items()}
        case list() | tuple() | set() | frozenset():
            return [to_json(item) for item in cast("Iterable[Any]", value)]
        case _:
            return str(value)


def unique(names: Sequence[str]) -> list[str]:
    """Column names made distinct, so that no column hides another."""
    seen: dict[str, int] = {}
    result: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


_FROM_TEXT: Mapping[str, Callable[[str], Any]] = {
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timetz": time.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "timestamptz": datetime.fromisoformat,
    "uuid": uuid.UUID,
    "numeric": Decimal,
    "bytea": lambda text: base64.b64decode(text, validate=True),
    "inet": ipaddress.ip_interface,
    "cidr": ipaddress.ip_network,
    "int2": int,
    "int4": int,
    "int8": int,
    "float4": float,
    "float8": float,
}
_TEXTS = frozenset({"text", "varchar", "bpchar", "name", "unknown"})
_JSONS = frozenset({"json", "jsonb"})


def for_postgres(name: str, value: Any, kind: str) -> Any:
    """A JSON value as the type PostgreSQL inferred for its placeholder; InvalidInput when it cannot be."""
    if value is None:
        return None
    if kind in _JSONS:
        return value if isinstance(value, str) else json.dumps(value)
    if kind.endswith("[]") and isinstance(value, list):
        return [for_postgres(name, item, kind[:-2]) for item in cast("list[Any]", value)]
    if isinstance(value, dict | list):
        return json.dumps(value)
    if kind in _TEXTS:
        return value if isinstance(value, str) else json.dumps(value)
    try:
        if kind == "numeric" and isinstance(value, int | float) and not isinstance(value, bool):
            return Decimal(str(value))
        if isinstance(value, str) and kind in _FROM_TEXT:
            return _FROM_TEXT[kind](value)
    except (ValueError, InvalidOperation):
        raise InvalidInput(f"parameter {name}: {value!r} is not a {kind}.") from None
    return value


def for_sqlite(value: Any) -> Any:
    """A JSON value as SQLite stores it."""
    return json.dumps(value) if isinstance(value, dict | list) else value
