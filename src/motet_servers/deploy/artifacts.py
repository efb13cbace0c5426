"""Artifacts: `artifacts/<version>` as a directory or a tar file, their checksum, and unpacking without surprises.

The checksum is SHA-256 over the lines that `find . -type f | LC_ALL=C sort | xargs sha256sum` prints, so that a remote
host computes the same with its own tools. A file `<version>.sha256` beside the artifact, or the caller's `checksum`, is
compared with it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import tarfile
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import error as ZlibError  # noqa: N812 - a class like the others

from motet_servers.kit.errors import InvalidInput, NotFound, Refused, TooLarge, Unavailable
from motet_servers.kit.threads import Stop, never

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
TAR = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
MOST_BYTES = 2 << 30
MOST_FILES = 50_000


def checked_version(version: str) -> str:
    """The version; InvalidInput when it could be anything but one directory's name."""
    if not VERSION.fullmatch(version) or ".." in version:
        raise InvalidInput(f"version {version!r} is not a release name such as v2.1.0.")
    return version


def available(directory: Path) -> list[str]:
    """The versions there are, oldest first by number where they have numbers."""
    names: set[str] = set()
    if directory.is_dir():
        for entry in directory.iterdir():
            suffix = next((suffix for suffix in TAR if entry.name.endswith(suffix)), "")
            name = entry.name.removesuffix(suffix)
            if VERSION.fullmatch(name) and (suffix or entry.is_dir()):
                names.add(name)
    return sorted(names, key=version_order)


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders v2.9.0 before v2.10.0, and a pre-release (v2.0.0-rc1) before its release."""
    core, _, pre = version.lstrip("v").partition("-")
    parts = [*re.findall(r"\d+|[A-Za-z]+", core), *(["!", *re.findall(r"\d+|[A-Za-z]+", pre)] if pre else ["~"])]
    return tuple((1, int(part), "") if part.isdigit() else (0 if part == "!" else 2, 0, part) for part in parts)


def find(directory: Path, version: str) -> Path:
    """Where a version's artifact is; NotFound naming what there is."""
    checked_version(version)
    candidates = [directory / version, *(directory / f"{version}{suffix}" for suffix in TAR)]
    for path in candidates:
        if path.is_dir() or (path.is_file() and path.name != version):
            return path
    there = ", ".join(available(directory)[-5:]) or "none"
    raise NotFound(f"there is no release {version}; the latest ones are: {there}.")


@dataclass(frozen=True, slots=True)
class Staged:
    """An artifact as a directory to copy from, looked through and measured."""

    tree: Path
    checksum: str
    temporary: TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Remove what was unpacked."""
        if self.temporary is not None:
            self.temporary.cleanup()


class Stopped(Exception):
    """The call is over; nobody reads this."""


def stage(artifact: Path, stop: Stop) -> Staged:
    """The artifact, checked; a tar is unpacked to a temporary place, which is gone again when this fails."""
    if artifact.is_dir():
        check_tree(artifact, stop)
        return Staged(artifact, checksum(checksum_lines(artifact, stop)))
    temporary = TemporaryDirectory(prefix="motet-deploy-")
    try:
        directory = Path(temporary.name) / "release"
        directory.mkdir()
        _unpack(artifact, directory, stop)
        check_tree(directory, stop)
        return Staged(directory, checksum(checksum_lines(directory, stop)), temporary)
    except BaseException:
        temporary.cleanup()
        raise


def _unpack(artifact: Path, directory: Path, stop: Stop) -> None:
    try:
        with tarfile.open(artifact) as archive:
            size = count = 0
            for member in archive:
                _go_on(stop)
                size, count = size + member.size, count + 1
                if size > MOST_BYTES or count > MOST_FILES:
                    raise TooLarge(f"{artifact.name} unpacks to over {MOST_BYTES:,} bytes or {MOST_FILES:,} files.")
                archive.extract(member, directory, filter="data")
    except tarfile.FilterError as error:
        raise Refused(f"{artifact.name} holds an entry that would leave its directory: {error}") from None
    except (tarfile.TarError, EOFError, OSError, LZMAError, ZlibError) as error:
        raise InvalidInput(f"{artifact.name} is not a readable tar file: {error}") from None


def check_tree(directory: Path, stop: Stop = never) -> None:
    """Refuses what cannot be a release: links that lead out, devices, names that tools would misread."""
    base = directory.resolve()
    for count, path in enumerate(directory.rglob("*"), start=1):
        _go_on(stop)
        mode = path.lstat().st_mode
        shown = path.relative_to(directory)
        if "\n" in path.name or "\\" in path.name or "\r" in path.name:
            raise Refused(f"the release holds a file name with a line break or backslash: {shown!s}")
        if stat.S_ISLNK(mode) and not path.resolve().is_relative_to(base):
            raise Refused(f"the release holds a symlink that leads out of it: {shown}")
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            raise Refused(f"the release holds something that is neither file nor directory: {shown}")
        if count > MOST_FILES:
            raise TooLarge(f"the release holds over {MOST_FILES:,} files.")


def checksum_lines(directory: Path, stop: Stop = never) -> str:
    """What `find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum` prints in the directory."""
    names = (os.fsencode(path.relative_to(directory)) for path in directory.rglob("*") if _is_file(path))
    lines: list[str] = []
    for name in sorted(b"./" + name for name in names):
        _go_on(stop)
        with (directory / os.fsdecode(name)).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {os.fsdecode(name)}\n")
    return "".join(lines)


def _go_on(stop: Stop) -> None:
    if stop():
        raise Stopped


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def checksum(lines: str) -> str:
    """The checksum over those lines."""
    return hashlib.sha256(os.fsencode(lines)).hexdigest()


def promised(artifact: Path, version: str) -> str | None:
    """The checksum in `<version>.sha256` beside the artifact, if there is one."""
    path = artifact.parent / f"{version}.sha256"
    if not path.is_file():
        return None
    words = path.read_text("ascii", "replace").split()
    return words[0].lower() if words else None


def copy(source: Path, destination: Path, stop: Stop) -> None:
    """Copy a release tree: whole or not at all; symlinks stay symlinks. Stopped when the call is over."""

    def one(start: str, end: str) -> str:
        _go_on(stop)
        return shutil.copy2(start, end)

    temporary = destination.with_name(f".{destination.name}-{secrets.token_hex(4)}")
    try:
        shutil.copytree(source, temporary, symlinks=True, copy_function=one)
        _go_on(stop)
        temporary.rename(destination)
    except OSError as error:
        why = error.strerror or "some of its files cannot be copied"
        raise Unavailable(f"the release cannot be put to {destination.parent.name}: {why}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
