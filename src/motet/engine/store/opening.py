"""The one door: a journal by its place."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from motet.engine.store.postgres import postgres_store
from motet.engine.store.sql import Store
from motet.engine.store.sqlite import sqlite_store
from motet.errors import RunError

_DATABASE = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
_NO_FILE = re.compile(r"[a-z][a-z0-9+.-]*://|(?:.*\s)?(?:host|dbname|user|password)\s*=", re.IGNORECASE)


def is_database(where: str) -> bool:
    """Is it the URL of a PostgreSQL database, rather than a file?

    Raises `RunError`, without showing it, when it is the address of something else: it may hold a password.
    """
    if _DATABASE.match(where):
        return True
    if _NO_FILE.match(where):
        raise RunError(
            "a journal is a file, or a PostgreSQL database", hint="--database postgresql://ROLE@HOST/DATABASE"
        )
    return False


@asynccontextmanager
async def open_store(where: str) -> AsyncGenerator[Store]:
    """The journal in a file, or behind a `postgresql://` URL. Raises `RunError`."""
    if is_database(where):
        async with postgres_store(where) as store:
            yield store
    else:
        async with sqlite_store(where) as file:
            yield file
