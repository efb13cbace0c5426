"""Changing files: write, edit, create, move, delete. Plain blocking functions; the server runs them in threads.

A file's new content is written beside it, synced, then renamed over it, so that a reader sees the old or the new, never
a half. Everything happens relative to the open directory of the jail's walk, which is locked from looking at a file's
hash to replacing it: of two calls that expect the same hash, in whichever processes of this server, one finds another.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import secrets
import stat as st
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from motet_servers.filesystem.jail import DIRECTORY, Jail, Place, told
from motet_servers.filesystem.model import Deleted, Directory, Edited, Kind, Moved, Written
from motet_servers.filesystem.reading import content, kind_of, look, sha256, uri, whole
from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound, Refused, TooLarge, Unavailable
from motet_servers.kit.threads import Stop

LONGEST_PASSAGE = 1 << 20
DEEPEST_REMOVED = 256
LOCKED_WITHIN = 10.0
"""Seconds to wait for another writer in the same directory."""
LOCK_POLL = 0.005
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


Passage = Annotated[str, Field(max_length=LONGEST_PASSAGE)]


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement: `old` must occur exactly once, unless `all`."""

    old: Annotated[Passage, Field(min_length=1)]
    new: Passage
    all: bool = False


def write(jail: Jail, place: Place, data: bytes, *, expected_hash: str | None, parents: bool, limit: int) -> Written:
    """Make the file hold exactly this. With `expected_hash`, only if it holds what the caller last saw."""
    _not_a_root(place)
    if parents:
        make_directory(jail, Place(place.root, place.parts[:-1]))
    with jail.parent(place) as (directory, name), told(place.shown), _alone(directory, place.shown):
        before, mode = _current(directory, name, place, limit)
        previous = None if before is None else sha256(before)
        if before == data:
            return Written(place.shown, uri(place), len(data), sha256(data), previous, created=False, changed=False)
        if expected_hash is not None and expected_hash != previous:
            raise Conflict(
                f"{place.shown} "
                + ("does not exist" if previous is None else f"has hash {previous}")
                + ", not the expected one. Read it again and decide."
            )
        _replace(directory, name, data, mode)
    return Written(place.shown, uri(place), len(data), sha256(data), previous, created=before is None, changed=True)


def create(jail: Jail, place: Place, data: bytes, *, parents: bool, limit: int) -> Written:
    """A new file; Conflict when something else is there already (decided by the file system, not by a look before)."""
    _not_a_root(place)
    if parents:
        make_directory(jail, Place(place.root, place.parts[:-1]))
    with (
        jail.parent(place, follow=False) as (directory, name),
        told(place.shown),
        _beside(directory, data, None) as tmp,
    ):
        try:
            os.link(tmp, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            if not _holds(directory, name, place, data, limit):
                raise Conflict(
                    f"{place.shown} already exists and holds something else; read it, then decide."
                ) from None
            return Written(place.shown, uri(place), len(data), sha256(data), sha256(data), created=False, changed=False)
    return Written(place.shown, uri(place), len(data), sha256(data), None, created=True, changed=True)


def _holds(directory: int, name: str, place: Place, data: bytes, limit: int) -> bool:
    """Is that name a file with exactly this content?"""
    try:
        return _current(directory, name, place, limit)[0] == data
    except (DomainError, OSError):
        return False


def edit(
    jail: Jail, place: Place, edits: Sequence[Edit], *, expected_hash: str | None, dry_run: bool, limit: int
) -> Edited:
    """Replace passages of a text file, all or none."""
    _not_a_root(place)
    before = content(jail, place, limit=limit)
    previous = sha256(before)
    if expected_hash is not None and expected_hash != previous:
        raise Conflict(f"{place.shown} has hash {previous}, not the expected one. Read it again and decide.")
    try:
        text = before.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{place.shown} is not UTF-8 text; use write with encoding base64.") from None
    after, count = _edited(text, edits, place.shown)
    data = after.encode("utf-8")
    if len(data) > limit:
        raise TooLarge(f"{place.shown} would be over {limit:,} bytes.")
    if not dry_run and data != before:
        write(jail, place, data, expected_hash=previous, parents=False, limit=limit)
    return Edited(
        path=place.shown,
        uri=uri(place),
        diff="".join(
            difflib.unified_diff(
                text.splitlines(keepends=True), after.splitlines(keepends=True), place.shown, place.shown, n=3
            )
        ),
        hash=sha256(data),
        previous_hash=previous,
        replacements=count,
        changed=data != before and not dry_run,
    )


def _edited(text: str, edits: Sequence[Edit], shown: str) -> tuple[str, int]:
    total = 0
    for number, change in enumerate(edits, start=1):
        count = text.count(change.old)
        if count == 0:
            raise Conflict(f"edit {number}: old does not occur in {shown}; nothing was changed. Read it again.")
        if count > 1 and not change.all:
            raise InvalidInput(
                f"edit {number}: old occurs {count} times in {shown}; nothing was changed. "
                "Give more context around it, or set all."
            )
        text = text.replace(change.old, change.new)
        total += count
    return text, total


def make_directory(jail: Jail, place: Place) -> Directory:
    """A directory with its parents; fine when it is there."""
    created = False
    for depth in range(1, len(place.parts) + 1):
        here = Place(place.root, place.parts[:depth])
        with jail.parent(here) as (directory, name), told(here.shown):
            try:
                if name != ".":
                    os.mkdir(name, dir_fd=directory)
                    created = True
            except FileExistsError:
                if not st.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                    raise Conflict(f"{here.shown} exists and is not a directory.") from None
    return Directory(place.shown, uri(place), created)


def move(jail: Jail, source: Place, destination: Place, *, overwrite: bool) -> Moved:
    """Rename a file or directory, also from root to root on one file system."""
    _not_a_root(source)
    _not_a_root(destination)
    seen = look(jail, source, follow=False)
    with (
        jail.parent(source, follow=False) as (from_directory, from_name),
        jail.parent(destination, follow=False) as (to_directory, to_name),
        told(destination.shown),
    ):
        there = _kind_or_none(to_directory, to_name)
        if there is not None and not overwrite:
            raise Conflict(f"{destination.shown} exists; set overwrite to replace it.")
        if there == "directory" or (there is not None and seen.kind == "directory"):
            raise Conflict(f"{destination.shown} exists and a directory is involved; delete it first.")
        if overwrite or seen.kind == "directory":
            os.rename(from_name, to_name, src_dir_fd=from_directory, dst_dir_fd=to_directory)
        else:
            os.link(from_name, to_name, src_dir_fd=from_directory, dst_dir_fd=to_directory, follow_symlinks=False)
            os.unlink(from_name, dir_fd=from_directory)
    return Moved(source.shown, destination.shown, uri(destination), replaced=there is not None)


def delete(jail: Jail, place: Place, *, recursive: bool, expected_hash: str | None, limit: int, stop: Stop) -> Deleted:
    """Remove a file, a symlink (never what it points to) or, with `recursive`, a directory and all below it.

    What is not there is fine: then it is as asked.
    """
    _not_a_root(place)
    try:
        with jail.parent(place, follow=False) as (directory, name), told(place.shown):
            if name == ".":
                raise InvalidInput(f"{place.shown} does not name an entry.")
            with _alone(directory, place.shown):
                kind = _expected(directory, name, place, expected_hash, limit)
                if kind != "directory":
                    os.unlink(name, dir_fd=directory)
                    return Deleted(place.shown, existed=True, kind=kind, entries=1)
                if not recursive:
                    os.rmdir(name, dir_fd=directory)
                    return Deleted(place.shown, existed=True, kind=kind, entries=1)
            return Deleted(place.shown, existed=True, kind=kind, entries=_remove(directory, name, place, stop))
    except NotFound:
        return Deleted(place.shown, existed=False, kind=None, entries=0)


def _expected(directory: int, name: str, place: Place, expected_hash: str | None, limit: int) -> Kind:
    """What is there; NotFound when there is nothing, Conflict when it has not the hash."""
    kind = _kind_or_none(directory, name)
    if kind is None:
        raise NotFound(f"{place.shown} does not exist.")
    if expected_hash is not None:
        before, _ = _current(directory, name, place, limit)
        if before is None or sha256(before) != expected_hash:
            raise Conflict(f"{place.shown} does not have the expected hash. Read it again and decide.")
    return kind


def _remove(directory: int, name: str, place: Place, stop: Stop, depth: int = 1) -> int:
    """Remove a directory with all below it; how many entries that were. Ends early when the call is over.

    Each directory is opened from its open parent and never through a symlink, so that nothing swapped in meanwhile
    leads out.
    """
    if depth > DEEPEST_REMOVED:
        raise TooLarge(f"{place.shown} goes more than {DEEPEST_REMOVED} directories deep; delete from below.")
    fd = os.open(name, DIRECTORY, dir_fd=directory)
    count = 1
    try:
        for entry in os.listdir(fd):  # noqa: PTH208 - by descriptor, which pathlib cannot
            if stop():
                return count
            here = Place(place.root, (*place.parts, entry))
            with told(here.shown):
                if _kind_or_none(fd, entry) == "directory":
                    count += _remove(fd, entry, here, stop, depth + 1)
                else:
                    with suppress(FileNotFoundError):
                        os.unlink(entry, dir_fd=fd)
                        count += 1
    finally:
        os.close(fd)
    if not stop():
        os.rmdir(name, dir_fd=directory)
    return count


@contextmanager
def _alone(directory: int, shown: str) -> Generator[None]:
    """No other call of this server, in any process, looks and then writes in the directory meanwhile."""
    fd = os.open(".", DIRECTORY, dir_fd=directory)
    until = time.monotonic() + LOCKED_WITHIN
    try:
        while not _taken(fd):
            if time.monotonic() > until:
                raise Unavailable(f"{shown}: another writer holds its directory; try again.")
            time.sleep(LOCK_POLL)  # noqa: TID251 - in a thread, and the system has no waiting for a lock with a bound
        yield
    finally:
        os.close(fd)


def _taken(fd: int) -> bool:
    """Is the lock ours now? Where the file system has no locks, nothing is waited for."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _not_a_root(place: Place) -> None:
    if not place.parts:
        raise Refused(f"{place.shown} is a root; it stays.")


def _current(directory: int, name: str, place: Place, limit: int) -> tuple[bytes | None, int | None]:
    """The file's bytes and mode; None for no file."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None, None
    try:
        mode = os.fstat(fd).st_mode
        if not st.S_ISREG(mode):
            raise Refused(f"{place.shown} is not a regular file.")
        return whole(fd, limit, place.shown), mode & 0o1777  # never what runs as somebody else: the content is new
    finally:
        os.close(fd)


def _replace(directory: int, name: str, data: bytes, mode: int | None) -> None:
    with _beside(directory, data, mode) as tmp:
        os.rename(tmp, name, src_dir_fd=directory, dst_dir_fd=directory)


@contextmanager
def _beside(directory: int, data: bytes, mode: int | None) -> Generator[str]:
    """A synced file with the data in the same directory, with this mode or the usual one for new files.

    Gone afterwards unless it was renamed.
    """
    tmp = f".motet-{secrets.token_hex(8)}"
    fd = os.open(tmp, NEW_FILE, 0o666 if mode is None else 0o600, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        yield tmp
        os.fsync(directory)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(tmp, dir_fd=directory)


def _kind_or_none(directory: int, name: str) -> Kind | None:
    try:
        return kind_of(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None
