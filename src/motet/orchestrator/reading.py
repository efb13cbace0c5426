"""What one read of many URIs gives: what was found, what is missing and why, and both as text for a language model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from motet.calls import ResourceResult
from motet.errors import CallError

_TICKS = re.compile(r"`{3,}")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Reading:
    """The resources that were asked for, by URI, in the order asked."""

    found: Mapping[str, ResourceResult]
    missing: Mapping[str, CallError]
    servers: Mapping[str, str] = field(default_factory=dict[str, str])
    """URI -> the server it was read from, or would have been."""

    @property
    def complete(self) -> bool:
        """Is nothing missing?"""
        return not self.missing

    def looked_at(self) -> Reading:
        """The same with every resource decoded: a large one that turns out to be unusable is missing."""
        found: dict[str, ResourceResult] = {}
        missing = dict(self.missing)
        for uri, result in self.found.items():
            try:
                _ = result.body
            except CallError as error:
                missing[uri] = error
            else:
                found[uri] = result
        return Reading(found, missing, self.servers)

    def as_context(self, max_bytes: int = 100_000) -> str:
        """One text for a language model: each resource fenced and labelled by server and URI, the missing ones named.

        At most `max_bytes` bytes of UTF-8. When the resources do not fit, the long ones are cut, each saying so; when
        not even the labels fit, the text ends early and says how many are left out. No content can close its own fence.
        """
        whole = self.looked_at()
        missing = "".join(f"Missing: {_line(uri)} ({_line(str(error))})\n" for uri, error in whole.missing.items())
        texts = {uri: result.text or _binary(result) for uri, result in whole.found.items()}
        sizes = {uri: len(text.encode()) for uri, text in texts.items()}
        frames = sum(
            len(self._part(uri, text, total=sizes[uri] + 1).encode()) - sizes[uri] for uri, text in texts.items()
        )
        room = _shared_out(sizes, max(0, max_bytes - frames - len(missing.encode())))
        parts = [self._part(uri, _cut(text, room[uri]), total=sizes[uri]) for uri, text in texts.items()]
        return _fitted([*parts, missing], max_bytes)

    def _part(self, uri: str, text: str, *, total: int) -> str:
        fence = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
        size = len(text.encode())
        cut = f"[cut: {size} of {total} bytes]\n" if size < total else ""
        return f"Resource {_line(uri)} from server {self.servers.get(uri, '?')}:\n{fence}\n{text}\n{fence}\n{cut}\n"


def _line(text: str) -> str:
    return _CONTROLS.sub(" ", text.replace("\n", " "))


def _binary(result: ResourceResult) -> str:
    blobs = [part for part in result.contents if "blob" in part]
    return "\n".join(f"[binary: {part.get('mimeType', 'unknown type')}]" for part in blobs)


def _cut(text: str, size: int) -> str:
    """At most `size` bytes of the text, never half a character."""
    data = text.encode()
    return text if len(data) <= size else data[:size].decode("utf-8", "ignore")


def _shared_out(sizes: Mapping[str, int], room: int) -> dict[str, int]:
    """Bytes for each: the short ones whole, the long ones equal shares of what is left."""
    out: dict[str, int] = {}
    left = room
    for done, (uri, size) in enumerate(sorted(sizes.items(), key=lambda pair: pair[1])):
        out[uri] = min(size, left // (len(sizes) - done))
        left -= out[uri]
    return out


def _fitted(parts: list[str], max_bytes: int) -> str:
    """As many whole parts as fit, and a last line that counts the rest."""
    text = "".join(parts).rstrip("\n") + "\n" if any(parts) else ""
    if len(text.encode()) <= max_bytes:
        return text
    kept: list[str] = []
    note = "[{} more left out: no room]\n"
    room = max_bytes - len(note.format(len(parts)).encode())
    for part in parts:
        room -= len(part.encode())
        if room < 0:
            break
        kept.append(part)
    return _cut("".join(kept) + note.format(len(parts) - len(kept)), max_bytes)
