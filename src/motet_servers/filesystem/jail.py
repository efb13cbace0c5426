"""Roots as jails: every path is walked from a root's open directory, one component at a time.

No step follows a symlink by itself: each component is opened relative to its already open parent (`openat`) with
`O_NOFOLLOW`; a symlink is read and its target walked under the same rule, so it may point anywhere inside its root and
nowhere else. `..` steps back along the directories that were opened, never above the root. What was checked is what is
used, so renaming or swapping a component during the walk cannot lead out (no time of check, time of use).

Hard links and mounts are not told apart from what they stand for: only whoever owns the disk can put them there. A
write replaces the name it is given, so a file's other hard links keep what they hold.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from motet_servers.kit.errors import Conflict, DomainError, InvalidInput, NotFound, Refused, TooLarge, Unavailable

MOST_LINKS = 40
LONGEST_PATH = 4096
DEEPEST = 128
"""Directories below a root that a walk may hold open."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Escape(Refused):
    """A path leads out of its root."""


@dataclass(frozen=True, slots=True)
class Root:
    """One directory that may be used."""

    name: str
    path: Path
    """Its real path."""
    fd: int = field(repr=False)
    """Open for as long as the jail lives."""
    spelled: Path = Path()
    """As the operator wrote it, made absolute."""

    @property
    def uri(self) -> str:
        """Its address."""
        return f"files://{quote(self.name, safe='')}"


@dataclass(frozen=True, slots=True)
class Place:
    """A root and the components below it, not yet walked."""

    root: Root
    parts: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The path as callers see it: `root/sub/file`."""
        return "/".join((self.root.name, *self.parts))


class Jail:
    """The roots, and the only way to reach anything below them."""

    def __init__(self, roots: Iterable[tuple[str | None, Path]]) -> None:
        """Open the roots, given as (name or None, directory). ValueError when one is no directory or clashes."""
        self.roots: tuple[Root, ...] = ()
        for name, path in roots:
            self.roots += (self._opened(name, path),)
        if not self.roots:
            raise ValueError("no root given; name at least one directory.")

    def _opened(self, name: str | None, path: Path) -> Root:
        chosen = name or path.resolve().name or "root"
        if "/" in chosen or chosen in {".", ".."}:
            raise ValueError(f"root name {chosen!r} must be one path segment.")
        if any(root.name == chosen for root in self.roots):
            raise ValueError(f"two roots are named {chosen!r}; name one with NAME=DIRECTORY.")
        try:
            real = path.resolve(strict=True)
            fd = os.open(real, DIRECTORY)
        except OSError as error:
            raise ValueError(f"root {path}: {error.strerror}.") from None
        return Root(chosen, real, fd, Path(os.path.abspath(path)))  # noqa: PTH100 - resolve() would follow links

    def close(self) -> None:
        """Close the roots' directories."""
        for root in self.roots:
            os.close(root.fd)
        self.roots = ()

    def place(self, path: str) -> Place:
        """Where a caller's path points: absolute inside a root, `root/…`, or relative when there is one root.

        Only text is looked at here; the walk decides what may be reached.
        """
        if "\0" in path:
            raise InvalidInput("a path cannot contain a NUL character.")
        if len(path.encode("utf-8", "surrogateescape")) > LONGEST_PATH:
            raise InvalidInput(f"a path is at most {LONGEST_PATH} bytes.")
        if path.startswith("/"):
            return self._absolute(path)
        parts = tuple(part for part in path.split("/") if part not in {"", "."})
        for root in self.roots:
            if parts and parts[0] == root.name and (len(self.roots) > 1 or not self._exists(root, parts)):
                return Place(root, parts[1:])
        if len(self.roots) == 1:
            return Place(self.roots[0], parts)
        raise NotFound(f"{path!r} starts with no root's name; the roots are {self._names()}.")

    def _absolute(self, path: str) -> Place:
        parts = tuple(part for part in path.split("/") if part not in {"", "."})
        best: Place | None = None
        for root in self.roots:
            for base in (root.path, root.spelled):
                prefix = base.parts[1:]
                if parts[: len(prefix)] == prefix and (best is None or len(parts) - len(prefix) < len(best.parts)):
                    best = Place(root, parts[len(prefix) :])
        if best is None:
            raise Escape(f"{path!r} is not below a root; the roots are {self._names()}.")
        return best

    def _exists(self, root: Root, parts: tuple[str, ...]) -> bool:
        """In a single root, is there an entry of the root's own name? Then the path means that entry."""
        try:
            os.stat(parts[0], dir_fd=root.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _names(self) -> str:
        return ", ".join(root.name for root in self.roots)

    @contextmanager
    def parent(self, place: Place, *, follow: bool = True) -> Generator[tuple[int, str]]:
        """The open directory that holds the place, and the entry's name in it ("." for the directory itself).

        With `follow`, the last component is resolved when it is a symlink. The entry need not
        exist; its directory must.
        """
        with _Walk(place) as walk:
            name = walk.to_entry(place.parts, follow=follow)
            yield walk.top, name

    @contextmanager
    def directory(self, place: Place) -> Generator[int]:
        """The place, opened as a directory."""
        with _Walk(place) as walk, told(place.shown):
            name = walk.to_entry(place.parts, follow=True)
            fd = os.open(name, DIRECTORY, dir_fd=walk.top)
            try:
                yield fd
            finally:
                os.close(fd)

    @contextmanager
    def file(self, place: Place) -> Generator[int]:
        """The place, opened for reading; refused unless it is a regular file."""
        with self.parent(place) as (directory, name), told(place.shown):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            try:
                mode = os.fstat(fd).st_mode
                if stat.S_ISDIR(mode):
                    raise InvalidInput(f"{place.shown} is a directory; use list.")
                if not stat.S_ISREG(mode):
                    raise Refused(f"{place.shown} is not a regular file.")
                yield fd
            finally:
                os.close(fd)


class _Walk:
    """The directories opened on the way down; the last one is where we are."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._stack: list[int] = [os.dup(place.root.fd)]
        self._links = 0

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._stack:
            os.close(fd)
        self._stack.clear()

    @property
    def top(self) -> int:
        return self._stack[-1]

    def to_entry(self, parts: Sequence[str], *, follow: bool) -> str:
        """Walk to the directory of the last component and give that component's name."""
        with told(self._place.shown):
            pending = deque(parts)
            while pending:
                part = pending.popleft()
                if part in {"", "."}:
                    continue
                if part == "..":
                    self._up()
                elif pending:
                    self._down(part, pending)
                elif follow and self._is_link(part):
                    self._expand(part, pending)
                else:
                    return part
            return "."

    def _up(self) -> None:
        if len(self._stack) == 1:
            raise Escape(f"{self._place.shown} leads out of its root.")
        os.close(self._stack.pop())

    def _down(self, part: str, pending: deque[str]) -> None:
        try:
            fd = os.open(part, DIRECTORY, dir_fd=self.top)
        except OSError as error:
            if error.errno in {errno.ENOTDIR, errno.ELOOP} and self._is_link(part):
                self._expand(part, pending)
                return
            raise
        self._stack.append(fd)
        if len(self._stack) > DEEPEST:
            raise InvalidInput(f"{self._place.shown[:200]} goes more than {DEEPEST} directories deep.")

    def _is_link(self, part: str) -> bool:
        try:
            return stat.S_ISLNK(os.stat(part, dir_fd=self.top, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def _expand(self, part: str, pending: deque[str]) -> None:
        self._links += 1
        if self._links > MOST_LINKS:
            raise Refused(f"{self._place.shown} goes through more than {MOST_LINKS} symlinks.")
        target = os.readlink(part, dir_fd=self.top)
        components = target.split("/")
        if target.startswith("/"):
            base = self._place.root.path.parts[1:]
            components = [item for item in components if item not in {"", "."}]
            if tuple(components[: len(base)]) != base:
                raise Escape(f"{self._place.shown} is a symlink that leads out of its root.")
            components = components[len(base) :]
            while len(self._stack) > 1:
                os.close(self._stack.pop())
        pending.extendleft(reversed(components))


@contextmanager
def told(shown: str) -> Generator[None]:
    """Turns an OSError about a path into the error the caller should read."""
    try:
        yield
    except OSError as error:
        raise explained(error, shown) from error


def explained(error: OSError, shown: str) -> DomainError:
    """What an OSError means for the caller."""
    match error.errno:
        case errno.ENOENT:
            return NotFound(f"{shown} does not exist.")
        case errno.EEXIST | errno.ENOTEMPTY:
            return Conflict(f"{shown} already exists or is not empty.")
        case errno.ENOTDIR:
            return InvalidInput(f"{shown} is not a directory, or goes through a file.")
        case errno.EISDIR:
            return InvalidInput(f"{shown} is a directory.")
        case errno.ELOOP:
            return Escape(f"{shown} became a symlink while it was opened; refused.")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Refused(f"{shown}: the system forbids it ({os.strerror(error.errno)}).")
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return TooLarge(f"{shown}: {os.strerror(error.errno)}.")
        case errno.ENAMETOOLONG | errno.EINVAL:
            return InvalidInput(
                f"{shown[:200]}: the file system takes no such name (255 bytes at most), "
                "or a directory would go into itself."
            )
        case errno.EXDEV:
            return InvalidInput(f"{shown} is on another file system; copy it with read and write, then delete.")
        case _:
            return Unavailable(f"{shown}: {error.strerror or 'input/output error'}.")
