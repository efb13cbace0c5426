"""Entries as rows: each carries the hash of all before it, and a large one lies beside the table, under its own hash.

The chain detects accidents, not forgers: a row that was changed, lost, moved or cut off is found and named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from motet.engine.store.sql import Rows, Sql
from motet.errors import RunError
from motet.workflow.entries import Entry, decode

BLOB = 256 << 10
"""Bytes of one entry past which it lies in the blob table, under its hash."""
_ROWS = 500
"""Rows of one statement at most: SQLite and PostgreSQL bound its parameters."""
ENTRIES = "select seq, body, hash from entry where run = ?"
BLOBS = "select hash, body from blob where run = ?"


def chained(head: str, run: str, seq: int, body: str) -> str:
    """The hash of an entry, given that of the one before."""
    return hashlib.sha256(f"{head}\n{run}\n{seq}\n{body}".encode()).hexdigest()


def read_rows(run: str, rows: Rows, found: Rows, *, seq: int = 0, head: str = "") -> tuple[list[Entry], str]:
    """The entries of these rows, of which the first is number `seq`, and the last hash.

    Raises `RunError` naming the first row that is damaged.
    """
    blobs = {str(digest): str(body) for digest, body in found}
    entries = list[Entry]()
    for at, (number, body, digest) in enumerate(rows, start=seq):
        text = str(body)
        if number != at or chained(head, run, at, text) != digest:
            message = f"run {run}: entry {at} of its journal is not what was written"
            raise RunError(message, hint=f"motet verify {run}")
        head = str(digest)
        if text.startswith("blob:"):
            name, text = text[5:], blobs.get(text[5:], "")
            if hashlib.sha256(text.encode()).hexdigest() != name:
                raise RunError(f"run {run}: the data of entry {at} is missing or damaged")
        try:
            entries.append(decode(text))
        except msgspec.MsgspecError as error:
            message = f"run {run}: entry {at} cannot be read: {error}"
            raise RunError(message, hint="was it written by a newer motet?") from error
    return entries, head


def inserts(
    run: str, seq: int, head: str, bodies: Sequence[str], entries: Sequence[Entry]
) -> tuple[list[Sql], str, int]:
    """What writes these entries as rows from `seq` on, after the one with the hash `head`.

    Gives the statements, the last hash, and how many characters it is.
    """
    statements: list[Sql] = []
    values: list[object] = []
    size = 0
    for at, (body, entry) in enumerate(zip(bodies, entries, strict=True), start=seq):
        stored = body
        if len(body) > BLOB:
            digest = hashlib.sha256(body.encode()).hexdigest()
            text = "insert into blob(run, hash, body) values(?, ?, ?) on conflict do nothing"
            statements.append(Sql(text, (run, digest, body)))
            stored = f"blob:{digest}"
        head = chained(head, run, at, stored)
        size += len(body)
        values += (run, at, type(entry).__name__.lower(), getattr(entry, "key", ""), stored, head)
    for begin in range(0, len(values), 6 * _ROWS):
        some = values[begin : begin + 6 * _ROWS]
        rows = ", ".join(["(?, ?, ?, ?, ?, ?)"] * (len(some) // 6))
        statements.append(Sql(f"insert into entry(run, seq, event, act, body, hash) values{rows}", some))
    return statements, head, size
