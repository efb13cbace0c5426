"""Looking at files: read, list, tree, search, stat. Plain blocking functions; the server runs them in threads.

What may take long takes `stop`, asked at every step: a cancelled call ends its thread.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import mimetypes
import os
import stat as st
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Literal, Protocol
from urllib.parse import quote

from motet_servers.filesystem.jail import DIRECTORY, Jail, Place, told
from motet_servers.filesystem.model import (
    Entry,
    FileFailure,
    Files,
    FileText,
    Kind,
    Listing,
    Match,
    Matches,
    Node,
    Stat,
    Tree,
)
from motet_servers.kit import paging
from motet_servers.kit.errors import DomainError, InvalidInput, TooLarge
from motet_servers.kit.threads import Stop, never

LINE_SHOWN = 400
LINES_A_STEP = 1000
TYPES = mimetypes.MimeTypes()
"""What Python knows by itself, and some more: the machine's own lists would make answers differ from place to place."""
for _ending, _kind in {
    ".md": "text/markdown",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".ics": "text/calendar",
}.items():
    TYPES.add_type(_kind, _ending)
DEEPEST = 64


@dataclass(frozen=True, slots=True)
class Look:
    """One entry as seen without following symlinks."""

    place: Place
    status: os.stat_result

    @property
    def kind(self) -> Kind:
        return kind_of(self.status.st_mode)


def uri(place: Place) -> str:
    """The address of a place."""
    return "/".join((place.root.uri, *(quote(part, safe="", errors="surrogateescape") for part in place.parts)))


def kind_of(mode: int) -> Kind:
    """The kind of an entry by its mode."""
    if st.S_ISREG(mode):
        return "file"
    if st.S_ISDIR(mode):
        return "directory"
    return "symlink" if st.S_ISLNK(mode) else "other"


def mime_type(name: str, *, text: bool) -> str:
    """The MIME type a name suggests, as far as what is in the file agrees; plain text or bytes otherwise."""
    guessed, packed = TYPES.guess_type(name)
    if text and (guessed is None or guessed.partition("/")[0] in {"audio", "font", "image", "video"}):
        return "image/svg+xml" if guessed == "image/svg+xml" else "text/plain"  # `.ts` is a video, they say
    if packed is not None:
        return f"application/{packed}" if packed == "gzip" else f"application/x-{packed}"
    return guessed or "application/octet-stream"


def content(jail: Jail, place: Place, *, limit: int) -> bytes:
    """The whole file; TooLarge over `limit` bytes."""
    with jail.file(place) as fd, told(place.shown):
        if os.fstat(fd).st_size > limit:
            raise TooLarge(f"{place.shown} is over {limit:,} bytes; read it in parts with first_line and lines.")
        return whole(fd, limit, place.shown)


def whole(fd: int, limit: int, shown: str) -> bytes:
    """All bytes of an open file, however it grows meanwhile."""
    chunks: list[bytes] = []
    size = 0
    while chunk := os.read(fd, 1 << 20):
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"{shown} is over {limit:,} bytes, the most in one call (FILESYSTEM_MAX_BYTES).")
        chunks.append(chunk)
    return b"".join(chunks)


def read(
    jail: Jail, place: Place, *, limit: int, first_line: int = 1, lines: int | None = None, stop: Stop = never
) -> FileText:
    """A file, or `lines` lines of it from `first_line`; binary content as base64."""
    if first_line == 1 and lines is None:
        data = content(jail, place, limit=limit)
        return _text(place, data, size=len(data), sha=sha256(data), first=1, more=False)
    chosen: list[bytes] = []
    taken, number, more = 0, 0, False
    with jail.file(place) as fd, told(place.shown), os.fdopen(os.dup(fd), "rb") as file:
        size = os.fstat(fd).st_size
        for number, line in enumerate(_lines(file.readline, limit, place.shown), start=1):
            if stop():
                break
            if number < first_line:
                continue
            if lines is not None and number >= first_line + lines:
                more = True
                break
            taken += len(line)
            if taken > limit:
                raise TooLarge(f"these lines of {place.shown} are over {limit:,} bytes; ask for fewer.")
            chosen.append(line)
    if first_line > max(number, 1):
        raise InvalidInput(f"{place.shown} has {number} lines; first_line {first_line} is behind its end.")
    return _text(place, b"".join(chosen), size=size, sha=None, first=first_line, more=more)


def _lines(readline: Callable[[int], bytes], limit: int, shown: str) -> Generator[bytes]:
    while line := readline(limit + 1):
        if len(line) > limit:
            raise TooLarge(f"a line of {shown} is over {limit:,} bytes.")
        yield line


def _text(place: Place, data: bytes, *, size: int, sha: str | None, first: int, more: bool) -> FileText:
    text = text_in(data)
    encoding: Literal["utf-8", "base64"] = "base64" if text is None else "utf-8"
    count = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    return FileText(
        path=place.shown,
        uri=uri(place),
        content=base64.b64encode(data).decode("ascii") if text is None else text,
        encoding=encoding,
        size=size,
        hash=sha,
        first_line=first,
        last_line=max(first, first + count - 1),
        truncated=more,
        mime_type=mime_type(place.shown, text=text is not None),
    )


def text_in(data: bytes) -> str | None:
    """The text that a file's bytes are; None when they are none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def read_many(jail: Jail, paths: list[str], *, limit: int) -> Files:
    """Several files, together at most `limit` bytes."""
    files: list[FileText] = []
    missing: list[FileFailure] = []
    left = limit
    for path in paths:
        try:
            file = read(jail, jail.place(path), limit=max(left, 1))
            left -= file.size
            files.append(file)
        except DomainError as error:
            missing.append(FileFailure(path, error.kind, str(error)))
    return Files(files, missing)


def look(jail: Jail, place: Place, *, follow: bool) -> Look:
    """The entry's status, of the symlink itself unless `follow`."""
    with jail.parent(place, follow=follow) as (directory, name), told(place.shown):
        return Look(place, os.stat(name, dir_fd=directory, follow_symlinks=False))


def stat(jail: Jail, place: Place, *, with_hash: bool, limit: int) -> Stat:
    """What is known about a path; a symlink is described, not followed."""
    seen = look(jail, place, follow=False)
    target = None
    if seen.kind == "symlink":
        with jail.parent(place, follow=False) as (directory, name), told(place.shown):
            target = os.readlink(name, dir_fd=directory)
    digest = sha256(content(jail, place, limit=limit)) if with_hash and seen.kind == "file" else None
    status = seen.status
    return Stat(
        path=place.shown,
        uri=uri(place),
        kind=seen.kind,
        size=status.st_size if seen.kind == "file" else 0,
        modified=when(status.st_mtime),
        mode=st.filemode(status.st_mode),
        mime_type="inode/directory" if seen.kind == "directory" else mime_type(place.shown, text=False),
        target=target,
        hash=digest,
    )


def listing(jail: Jail, place: Place, *, limit: int, cursor: str | None) -> Listing:
    """One page of a directory by name; only the page's entries are looked at."""
    after = paging.decode(cursor).get("after", "")
    if not isinstance(after, str):
        raise InvalidInput("cursor is not one this server gave; leave it out to start at the beginning.")
    with jail.directory(place) as fd, told(place.shown):
        names = sorted(os.listdir(fd))  # noqa: PTH208 - by descriptor, which pathlib cannot
        page = [name for name in names if name > after][: limit + 1]
        entries = [entry for name in page[:limit] if (entry := _entry(fd, place, name)) is not None]
    more = paging.encode({"after": page[limit - 1]}) if len(page) > limit else None
    return Listing(place.shown, entries, len(names), more)


def _entry(fd: int, place: Place, name: str) -> Entry | None:
    try:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    kind = kind_of(status.st_mode)
    size = status.st_size if kind == "file" else 0
    return Entry(f"{place.shown}/{_safe(name)}", _safe(name), kind, size, when(status.st_mtime))


def walk(jail: Jail, place: Place, *, depth: int, stop: Stop) -> Generator[tuple[Look, int]]:
    """Everything below a directory, depth first, by name; symlinks are shown, never entered.

    Directories are opened from their open parents, so the walk stays inside whatever happens meanwhile.
    """
    with jail.directory(place) as fd:
        yield from _below(fd, place, 1, min(depth, DEEPEST), stop)


def _below(fd: int, place: Place, level: int, depth: int, stop: Stop) -> Generator[tuple[Look, int]]:
    with told(place.shown):
        names = sorted(os.listdir(fd))
    for name in names:
        if stop():
            return
        here = Place(place.root, (*place.parts, name))
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            continue
        yield Look(here, status), level
        if st.S_ISDIR(status.st_mode) and level < depth:
            try:
                child = os.open(name, DIRECTORY, dir_fd=fd)
            except OSError:
                continue
            try:
                yield from _below(child, here, level + 1, depth, stop)
            finally:
                os.close(child)


def tree(jail: Jail, place: Place, *, depth: int, limit: int, stop: Stop) -> Tree:
    """What is below a directory, at most `limit` entries."""
    nodes: list[Node] = []
    for seen, level in walk(jail, place, depth=depth, stop=stop):
        if len(nodes) == limit:
            return Tree(place.shown, nodes, truncated=True)
        size = seen.status.st_size if seen.kind == "file" else 0
        nodes.append(Node(_safe(seen.place.shown), seen.kind, level, size))
    return Tree(place.shown, nodes, truncated=False)


def search(
    jail: Jail,
    place: Place,
    *,
    pattern: str,
    inside: Literal["content", "name"],
    glob: str | None,
    ignore_case: bool,
    limit: int,
    file_limit: int,
    stop: Stop,
) -> Matches:
    """Lines (or names) that match a regular expression (RE2 syntax: linear time), in files whose name fits `glob`."""
    expression = _compiled(pattern, ignore_case=ignore_case)
    found: list[Match] = []
    searched = skipped = 0
    for seen, _ in walk(jail, place, depth=DEEPEST, stop=stop):
        name = seen.place.parts[-1]
        if glob is not None and not fnmatch.fnmatch(name, glob):
            continue
        if inside == "name":
            searched += 1
            if expression.search(_safe(name)):
                found.append(Match(_safe(seen.place.shown), None, None))
        elif seen.kind == "file":
            lines = _text_lines(jail, seen, file_limit)
            if lines is None:
                skipped += 1
                continue
            searched += 1
            shown = _safe(seen.place.shown)
            hits = ((number, line) for number, line in _numbered(lines, stop) if expression.search(line))
            for number, line in hits:
                found.append(Match(shown, number, line[:LINE_SHOWN]))
                if len(found) > limit:
                    break
        if len(found) > limit:
            return Matches(found[:limit], searched, skipped, truncated=True)
    return Matches(found, searched, skipped, truncated=False)


def _numbered(lines: list[str], stop: Stop) -> Generator[tuple[int, str]]:
    """The lines with their numbers, until the call is over."""
    for number, line in enumerate(lines, start=1):
        if number % LINES_A_STEP == 0 and stop():
            return
        yield number, line


class Expression(Protocol):
    """A compiled regular expression."""

    def search(self, text: str) -> object | None: ...


def _compiled(pattern: str, *, ignore_case: bool) -> Expression:
    re2: Any = import_module("re2")  # linear time, whatever the pattern; it has no type stubs
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise InvalidInput(f"pattern is not a regular expression in RE2's syntax: {error}") from None


def _text_lines(jail: Jail, seen: Look, limit: int) -> list[str] | None:
    """The lines of a text file; None when it is binary, too large or unreadable."""
    if seen.status.st_size > limit:
        return None
    try:
        data = content(jail, seen.place, limit=limit)
    except DomainError:
        return None
    if b"\0" in data[:8192]:
        return None
    return data.decode("utf-8", "replace").splitlines()


def sha256(data: bytes) -> str:
    """The hash that `expected_hash` is compared with."""
    return hashlib.sha256(data).hexdigest()


def when(timestamp: float) -> str:
    """A file time in ISO 8601, UTC."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _safe(text: str) -> str:
    """A name that was not UTF-8 on disk, as text that can be sent."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
