"""Calendars in a folder of `.ics` files.

`team.ics` is the calendar "team" with all its items; a folder `team/` with one `.ics` file per item is one too (the
layout of vdirsyncer and others). Files are replaced whole (written beside, then renamed) under a lock that other
processes of this server respect; an etag is a hash of the item's text. Links that lead out of the folder are not
followed: a file is opened from the folder, step by step and never through a link, so that nothing swapped in meanwhile
leads out either.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import stat
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from motet_servers.calendar.drafts import PRODID
from motet_servers.calendar.items import Unreadable, components, may_touch, parsed, text_of
from motet_servers.calendar.store import Collection, Item
from motet_servers.calendar.times import Window
from motet_servers.kit.errors import Conflict, NotFound, Refused, TooLarge, Unavailable

if TYPE_CHECKING:
    import icalendar

LARGEST = 32 * 1024 * 1024
"""Bytes of one file."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LOCK = ".motet-calendar.lock"
UID = re.compile(r"^UID(?:;[^:\r\n]*)?:(.*)$", re.MULTILINE | re.IGNORECASE)
TZID = re.compile(r"^TZID(?:;[^:\r\n]*)?:(.*)$", re.MULTILINE | re.IGNORECASE)
ESCAPED = re.compile(r"[\\,;\n\r]")
PATIENCE = 10.0
"""Seconds to wait for another writer."""


class FolderStore:
    """The calendars below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._turn = asyncio.Lock()

    async def aclose(self) -> None:
        """Nothing is kept open."""

    async def collections(self) -> Sequence[Collection]:
        """The folder's calendars, by name."""
        return await asyncio.to_thread(self._collections)

    async def state(self, collection: Collection) -> str:
        """The names, times and sizes of the calendar's files."""
        return await asyncio.to_thread(self._state, collection)

    async def items(self, collection: Collection, component: str, window: Window) -> Sequence[Item]:
        """The items that may touch the window, by a cheap look at their dates."""

        def look() -> list[Item]:
            return [
                item
                for item in self._items(collection)
                if f"BEGIN:{component}" in item.text.upper() and may_touch(item.text, window)
            ]

        return await asyncio.to_thread(look)

    async def find(self, collection: Collection, uid: str) -> Item | None:
        """The item with this UID."""
        return await asyncio.to_thread(self._find, collection, uid)

    async def create(self, collection: Collection, uid: str, text: str) -> Item | None:
        """The new item, unless the UID is taken."""
        async with self._alone():
            return await asyncio.to_thread(self._create, collection, uid, text)

    async def replace(self, item: Item, text: str) -> Item:
        """The item with its new text."""
        async with self._alone():
            await asyncio.to_thread(self._change, item, text)
        return Item(item.collection, item.place, _etag(text), text)

    async def delete(self, item: Item) -> bool:
        """Was it there to delete?"""
        async with self._alone():
            return await asyncio.to_thread(self._change, item, None)

    def _collections(self) -> list[Collection]:
        try:
            entries = sorted(self._root.iterdir())
        except OSError as error:
            raise NotFound(f"the calendar folder cannot be read: {error.strerror}.") from None
        found: dict[str, Collection] = {}
        for entry in entries:
            if entry.name.startswith(".") or not _within(self._root, entry):
                continue
            if entry.is_dir():
                found[entry.name] = Collection(entry.name, str(entry), entry.name)
            elif entry.suffix.lower() == ".ics":
                name = entry.stem if entry.stem not in found else entry.name
                found[name] = Collection(name, str(entry), name)
        return list(found.values())

    def _state(self, collection: Collection) -> str:
        seen: list[tuple[str, int, int, int]] = []
        with contextlib.suppress(OSError, Refused, NotFound):
            place = self._inside(Path(collection.place))
            for file in sorted(place.glob("*.ics")) if place.is_dir() else [place]:
                status = file.lstat()
                seen.append((file.name, status.st_ino, status.st_size, status.st_mtime_ns))
        return hashlib.sha256(repr(seen).encode()).hexdigest()

    def _items(self, collection: Collection) -> Iterator[Item]:
        place = self._inside(Path(collection.place))
        if not place.is_dir():
            for text in _split(_read(self._root, place)).values():
                yield Item(collection, str(place), _etag(text), text)
            return
        with _told(place, "read"):
            files = sorted(place.glob("*.ics"))
        for file in files:
            if file.is_file() and _within(self._root, file):
                text = _read(self._root, file)
                yield Item(collection, str(file), _etag(text), text)

    def _find(self, collection: Collection, uid: str) -> Item | None:
        for item in self._items(collection):
            # a UID with escapes looks different in the text, so only plain ones can be told apart before parsing
            if (ESCAPED.search(uid) or uid in _unfolded(item.text)) and uid in _uids(item.text):
                return item
        return None

    def _create(self, collection: Collection, uid: str, text: str) -> Item | None:
        if self._find(collection, uid) is not None:
            return None
        place = self._inside(Path(collection.place))
        if place.is_dir():
            place = place / f"{_file_name(uid)}.ics"
            _write(self._root, place, text)
        elif place.suffix.lower() != ".ics":
            raise NotFound(f"the calendar {collection.id} is gone; list_calendars shows what there is.")
        else:
            _write(self._root, place, _merged(_read(self._root, place, exactly=True), uid, text))
        return Item(collection, str(place), _etag(text), text)

    def _change(self, item: Item, text: str | None) -> bool:
        """Replace the item's text, or take it out (None); was it there?"""
        uid = next(iter(_uids(item.text)), "")
        current = self._find(item.collection, uid)
        if current is None:
            if text is None:
                return False
            raise Conflict("somebody else deleted this item meanwhile; nothing was written.")
        if current.etag != item.etag:
            raise Conflict(
                "somebody else changed this item meanwhile; nothing was written. Read it again, then decide."
            )
        place = self._inside(Path(current.place))
        if place == self._inside(Path(item.collection.place)):
            _write(self._root, place, _merged(_read(self._root, place, exactly=True), uid, text))
        elif text is None:
            with _told(place, "written"), _holding(self._root, place) as (folder, name):
                os.unlink(name, dir_fd=folder)
        else:
            _write(self._root, place, text)
        return True

    def _inside(self, place: Path) -> Path:
        with _told(place, "read"):  # what is swapped at this very moment cannot be resolved
            return _resolved(self._root, place)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        """Alone among those who write here, also in other processes of this server; waits at most `PATIENCE`."""
        async with self._turn:
            try:
                lock = os.fdopen(os.open(self._root / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")
            except OSError as error:
                raise Refused(f"the calendar folder cannot be written: {error.strerror}.") from None
            with lock:
                try:
                    async with asyncio.timeout(PATIENCE):
                        while not _take(lock.fileno()):  # noqa: ASYNC110 - another process holds it: nothing to wait on
                            await asyncio.sleep(0.02)
                except TimeoutError:
                    raise Unavailable(f"another process has been writing here for {PATIENCE:g} s; try again.") from None
                yield


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _resolved(root: Path, place: Path) -> Path:
    """Where the place really is; Refused when that is not below the root."""
    resolved = place.resolve()
    if not resolved.is_relative_to(root):
        raise Refused("this calendar lies outside the calendar folder.")
    return resolved


def _within(root: Path, place: Path) -> bool:
    try:
        return place.resolve().is_relative_to(root)
    except OSError:
        return False


@contextlib.contextmanager
def _holding(root: Path, place: Path) -> Generator[tuple[int, str]]:
    """The open folder that holds the file, reached without following a link, and the file's name in it."""
    resolved = _resolved(root, place)
    folder = os.open(root, FOLDER)
    try:
        for part in resolved.relative_to(root).parts[:-1]:
            below = os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder, resolved.name
    finally:
        os.close(folder)


@contextlib.contextmanager
def _told(place: Path, what: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        kind = NotFound if what == "read" else Refused
        raise kind(f"{place.name} cannot be {what}: {error.strerror}.") from None


def _read(root: Path, place: Path, *, exactly: bool = False) -> str:
    """The file's text, "" when it is gone; `exactly`: refused when it is not UTF-8, for it would be written back."""
    data = b""
    with (
        _told(place, "read"),
        contextlib.suppress(FileNotFoundError),
        _holding(root, place) as (folder, name),
        os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb") as file,
    ):
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{place.name} is not a file.")
        if status.st_size > LARGEST:
            raise TooLarge(f"{place.name} is over {LARGEST:,} bytes.")
        data = file.read(LARGEST + 1)
    try:
        return data.decode("utf-8-sig", "strict" if exactly else "replace")
    except UnicodeDecodeError:
        raise Refused(f"{place.name} is not UTF-8, and would be damaged; nothing was written.") from None


def _write(root: Path, place: Path, text: str) -> None:
    """Whole or not at all, also when the machine stops in between."""
    temporary = f".{secrets.token_hex(8)}.tmp"
    with _told(place, "written"), _holding(root, place) as (folder, name):
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise


def _etag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _file_name(uid: str) -> str:
    name = quote(uid, safe="@")
    return name if len(name) <= 200 and not name.startswith(".") else hashlib.sha256(uid.encode()).hexdigest()


def _uids(text: str) -> set[str]:
    try:
        return {text_of(component, "UID") for component in components(parsed(text))}
    except Unreadable:
        return set()


def _split(text: str) -> dict[str, str]:
    """A calendar file as one text per UID, cut without parsing it; what is no calendar is one unreadable text."""
    if not text.strip():
        return {}
    zones: list[str] = []
    groups: dict[str, list[str]] = {}
    try:
        for kind, block in _blocks(text):
            if kind == "VTIMEZONE":
                zones.append(block)
            elif kind in {"VEVENT", "VTODO"}:
                groups.setdefault(_first(UID, block), []).append(block)
    except ValueError:
        return {"": text}
    named = {_first(TZID, zone): zone for zone in zones}
    return {uid: _calendar_text(named, "".join(blocks)) for uid, blocks in groups.items()}


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """The components directly in the calendar, by kind, as they are written; ValueError when they do not nest."""
    inside: list[str] = []
    lines: list[str] = []
    for line in re.split(r"\r?\n", text):
        name, _, kind = line.strip().upper().partition(":")
        if name == "BEGIN":
            inside.append(kind)
        if len(inside) > 1:
            lines.append(line)
        if name == "END":
            if not inside or inside.pop() != kind:
                raise ValueError("components do not nest")
            if len(inside) == 1:
                yield kind, "".join(f"{line}\r\n" for line in lines)
                lines = []
    if inside:
        raise ValueError("a component does not end")


def _first(pattern: re.Pattern[str], block: str) -> str:
    found = pattern.search(_unfolded(block))
    return found[1].strip() if found else ""


def _unfolded(text: str) -> str:
    return text.replace("\r\n ", "").replace("\r\n\t", "")


def _calendar_text(zones: Mapping[str, str], blocks: str) -> str:
    plain = _unfolded(blocks)
    used = "".join(zone for name, zone in zones.items() if name in plain)
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:{PRODID}\r\n{used}{blocks}END:VCALENDAR\r\n"


def _merged(text: str, uid: str, item: str | None) -> str:
    """The calendar file with this UID's components replaced by the item's, or taken out."""
    import icalendar

    try:
        whole = parsed(text) if text.strip() else icalendar.Calendar({"PRODID": PRODID, "VERSION": "2.0"})
    except Unreadable as error:
        raise Refused(f"the calendar file is not valid iCalendar ({error}); nothing was written.") from error
    kept = [part for part in whole.subcomponents if part.name not in {"VEVENT", "VTODO"} or text_of(part, "UID") != uid]
    new = parsed(item).subcomponents if item is not None else []
    known = {text_of(part, "TZID") for part in kept if part.name == "VTIMEZONE"}
    zones = [part for part in new if part.name == "VTIMEZONE" and text_of(part, "TZID") not in known]
    return _calendar(whole, [*zones, *kept, *(part for part in new if part.name != "VTIMEZONE")])


def _calendar(like: icalendar.Calendar, parts: Sequence[icalendar.Component]) -> str:
    """A calendar with the properties of another and these parts."""
    import icalendar

    made = icalendar.Calendar()
    made.update(like)
    made.subcomponents = list(parts)
    return made.to_ical().decode()
