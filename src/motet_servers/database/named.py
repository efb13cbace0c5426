"""Named queries: what the operator prepared, in a TOML file.

[queries.open_orders]
description = "Orders not yet shipped"
sql = "select * from orders where shipped_at is null and region = :region"
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from motet_servers.database import sql
from motet_servers.kit.errors import DomainError
from motet_servers.kit.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Prepared:
    """One named query."""

    name: str
    description: str
    statement: sql.Statement


def load(path: Path) -> dict[str, Prepared]:
    """The file's queries; SettingsError naming file and query."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"DATABASE_QUERIES: {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"DATABASE_QUERIES: {path} is not TOML: {error}.") from None
    entries: Any = raw.get("queries", {})
    if not isinstance(entries, dict) or set(raw) - {"queries"}:
        raise SettingsError(f"DATABASE_QUERIES: {path} must hold [queries.NAME] tables and nothing else.")
    return {name: _prepared(path, name, entry) for name, entry in cast("dict[str, Any]", entries).items()}


def _prepared(path: Path, name: str, entry: Any) -> Prepared:
    where = f"DATABASE_QUERIES: {path}: queries.{name}"
    if not isinstance(entry, dict):
        raise SettingsError(f"{where} must be a table with `sql`.")
    fields = cast("dict[str, Any]", entry)
    if set(fields) - {"sql", "description"} or not isinstance(fields.get("sql"), str):
        raise SettingsError(f"{where} must have `sql` and may have `description`, nothing else.")
    try:
        return Prepared(name, str(fields.get("description", "")), sql.statement(fields["sql"]))
    except DomainError as error:
        raise SettingsError(f"{where}: {error}") from None
