"""What the tools answer: flat, stable fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["file", "directory", "symlink", "other"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a directory."""

    path: str
    """`root/sub/name`."""
    name: str
    kind: Kind
    size: int
    """Bytes; 0 for anything but a file."""
    modified: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known about one path."""

    path: str
    uri: str
    kind: Kind
    size: int
    modified: str
    mode: str
    """Permissions as in `ls -l`, such as `-rw-r--r--`."""
    mime_type: str
    target: str | None
    """Where a symlink points, as written."""
    hash: str | None
    """SHA-256 of the content, when asked for."""


@dataclass(frozen=True, slots=True)
class FileText:
    """A file's content, or the part of it that was asked for."""

    path: str
    uri: str
    content: str
    encoding: Literal["utf-8", "base64"]
    size: int
    """Bytes of the whole file."""
    hash: str | None
    """SHA-256 of the whole file; for `write` and `edit` as `expected_hash`. None when only a part was read."""
    first_line: int
    last_line: int
    truncated: bool
    """Is there more after what is shown?"""
    mime_type: str


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be read, and why."""

    path: str
    kind: str
    error: str


@dataclass(frozen=True, slots=True)
class Files:
    """Several files; one that cannot be read costs only itself."""

    files: list[FileText]
    missing: list[FileFailure]


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a directory, sorted by name."""

    path: str
    entries: list[Entry]
    total: int
    next_cursor: str | None
    """Pass as `cursor` for the next page; null on the last."""


@dataclass(frozen=True, slots=True)
class Node:
    """One entry of a tree; its depth below the start."""

    path: str
    kind: Kind
    depth: int
    size: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory and what is below it, depth first."""

    path: str
    entries: list[Node]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Match:
    """One hit: a path, and for content the line."""

    path: str
    line: int | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Matches:
    """What a search found."""

    matches: list[Match]
    searched: int
    """Files looked at."""
    skipped: int
    """Files left out: binary, over the size limit, or unreadable."""
    truncated: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a file."""

    path: str
    uri: str
    size: int
    hash: str
    """SHA-256 of the new content."""
    previous_hash: str | None
    """SHA-256 of what was there; null for a new file."""
    created: bool
    changed: bool
    """False: it held exactly this already; nothing was written."""


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did."""

    path: str
    uri: str
    diff: str
    """Unified diff."""
    hash: str
    previous_hash: str
    replacements: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """Where something went."""

    source: str
    destination: str
    uri: str
    replaced: bool


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was removed."""

    path: str
    existed: bool
    """False: there was nothing (any more); nothing was done."""
    kind: Kind | None
    entries: int
    """How many entries, itself included."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory that exists now."""

    path: str
    uri: str
    created: bool


@dataclass(frozen=True, slots=True)
class RootInfo:
    """One root."""

    name: str
    uri: str
    writable: bool


@dataclass(frozen=True, slots=True)
class Roots:
    """The roots that may be used."""

    roots: list[RootInfo]
