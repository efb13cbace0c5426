"""Agreeing on a protocol version over a link, under one total deadline.

`server/discover` is asked first unless the era is known (MCP 2026-07-28, "Versioning"). A JSON-RPC error or a plain 4xx
is a verdict: the server does not know the method, so it is of the initialize era. A 401, 403, 429, 5xx or a lost
connection is none. A server that stays silent is asked `initialize` as well; the first valid answer settles it.

    era known: modern ── discover ──► modern                 legacy ── initialize ──► legacy (-32022: discover)
    era unknown:  discover ──┬── names 2026-07-28 ──────────► modern
                             ├── refused, or names others ──► initialize ──► legacy
                             └── silent ──► initialize too ─► whichever answers first
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import orjson

from motet.calls import Json
from motet.config.model import ServerConfig
from motet.errors import ProtocolError, ServerUnavailable, UnusableAnswer
from motet.upstream.answers import Reader
from motet.upstream.link import Link, encode
from motet.upstream.sanitise import clean_line

MODERN = "2026-07-28"
HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
UNSUPPORTED_VERSION = -32022
PROBE_PATIENCE = 5.0
"""Seconds of silence after `server/discover` before `initialize` is sent as well."""

_META_VERSION = "io.modelcontextprotocol/protocolVersion"
_META_CLIENT = "io.modelcontextprotocol/clientInfo"
_META_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
_META_SERVER = "io.modelcontextprotocol/serverInfo"


@dataclass(frozen=True, slots=True)
class Agreed:
    """What came of a negotiation."""

    version: str
    server_info: Json
    capabilities: Mapping[str, Json]
    instructions: Json
    meta: dict[str, Json]
    """The `_meta` that every request of this session carries."""

    @property
    def modern(self) -> bool:
        """Is it 2026-07-28 or later?"""
        return self.version == MODERN


class Negotiation:
    """One attempt to agree with one server."""

    def __init__(self, config: ServerConfig, link: Link, reader: Reader, *, answers_questions: bool) -> None:
        self._config = config
        self._link = link
        self._reader = reader
        self._asks = 0
        self._client = {"name": "motet", "version": "0.1.0"}
        self._capabilities: dict[str, Json] = {"elicitation": {"form": {}, "url": {}}}
        self._legacy_capabilities = self._capabilities if answers_questions else {}

    async def agree(self, *, deadline: float, remembered: str | None) -> Agreed:
        """The version both speak, by loop time `deadline`. Raises CallError."""
        era = self._config.era
        if self._link.transport == "sse" and era == "auto":
            era = "legacy"  # that transport is older than the modern era
        if era == "legacy" or (era == "auto" and remembered in HANDSHAKE):
            try:
                return await self._initialize(deadline)
            except ProtocolError as error:
                if error.code != UNSUPPORTED_VERSION or era == "legacy":
                    raise
            return self._modern(await self._discover(deadline))
        if era == "modern":
            return self._modern(await self._discover(deadline))
        return await self._find_out(deadline)

    async def _find_out(self, deadline: float) -> Agreed:
        loop = asyncio.get_running_loop()
        # over HTTP every server answers something: there, silence says that it is slow
        patience = None if self._link.wants_headers else min(PROBE_PATIENCE, max(0.0, (deadline - loop.time()) / 2))
        probe = loop.create_task(self._discover(deadline))
        hello: asyncio.Task[Agreed] | None = None
        try:
            await asyncio.wait({probe}, timeout=patience)
            if not probe.done():
                hello = loop.create_task(self._initialize(deadline))
                await asyncio.wait({probe, hello}, return_when=asyncio.FIRST_COMPLETED)
                if not probe.done():
                    if hello.exception() is None:
                        return hello.result()
                    await asyncio.wait({probe})  # its request has the deadline
            found = self._verdict(probe)
            if found is not None:
                return self._modern(found)
            return await (hello or self._initialize(deadline))
        finally:
            for task in (probe, hello):
                if task is not None:
                    task.cancel()
                    if task.done() and not task.cancelled():
                        task.exception()  # seen: what it says was superseded

    def _verdict(self, probe: asyncio.Task[dict[str, Json]]) -> dict[str, Json] | None:
        """A modern server's answer, or None for the other era. Raises what is no verdict."""
        try:
            found = probe.result()
        except ProtocolError as error:
            named = _versions(error.data, "supported")
            if error.code == UNSUPPORTED_VERSION and named and not {MODERN, *HANDSHAKE} & set(named):
                raise self._incompatible(named) from None
            return None
        except UnusableAnswer:
            return None
        return found if MODERN in _versions(found, "supportedVersions") else None

    async def _discover(self, until: float) -> dict[str, Json]:
        headers = {"mcp-method": "server/discover", "mcp-protocol-version": MODERN}
        params: dict[str, Json] = {"_meta": self._stamp()}
        try:
            return await self._ask("server/discover", params, until, headers)
        except ProtocolError as error:
            if error.code != UNSUPPORTED_VERSION or MODERN not in _versions(error.data, "supported"):
                raise
        return await self._ask("server/discover", params, until, headers)  # it does name ours: once more

    async def _initialize(self, until: float) -> Agreed:
        self._link.adopt("", modern=False)
        params: dict[str, Json] = {
            "protocolVersion": HANDSHAKE[-1],
            "capabilities": self._legacy_capabilities,
            "clientInfo": self._client,
        }
        found = await self._ask("initialize", params, until, None)
        version = found.get("protocolVersion")
        if version not in HANDSHAKE:
            raise self._incompatible((version,))
        self._link.adopt(str(version), modern=False)
        await self._link.deliver(encode("notifications/initialized", None, None))
        return Agreed(
            str(version), found.get("serverInfo"), _mapping(found.get("capabilities")), found.get("instructions"), {}
        )

    def _modern(self, found: dict[str, Json]) -> Agreed:
        named = _versions(found, "supportedVersions")
        if MODERN not in named:
            raise self._incompatible(named)
        self._link.adopt(MODERN, modern=True)
        info = _mapping(found.get("_meta")).get(_META_SERVER) or found.get("serverInfo")
        return Agreed(MODERN, info, _mapping(found.get("capabilities")), found.get("instructions"), self._stamp())

    def _stamp(self) -> dict[str, Json]:
        return {_META_VERSION: MODERN, _META_CLIENT: self._client, _META_CAPABILITIES: self._capabilities}

    async def _ask(
        self, method: str, params: dict[str, Json], until: float, headers: Mapping[str, str] | None
    ) -> dict[str, Json]:
        self._asks += 1
        ident = f"hello-{self._asks}"
        try:
            raw = await self._link.exchange(ident, encode(method, params, ident), until, None, headers)
        except asyncio.CancelledError:
            self._link.abandon(ident, "cancelled")
            raise
        try:
            value = orjson.loads(memoryview(raw))
        except orjson.JSONDecodeError:
            raise self._reader.unusable(f"the answer to {method} cannot be read") from None
        if not isinstance(value, dict):
            raise self._reader.unusable(f"the answer to {method} is not an object")
        return cast("dict[str, Json]", value)

    def _incompatible(self, theirs: tuple[Json, ...]) -> ServerUnavailable:
        said = ", ".join(clean_line(version, limit=40) for version in theirs[:10]) or "none"
        why = f"it speaks protocol versions we do not know: {said}"
        return ServerUnavailable(why, server=self._config.name, reason="handshake", transient=False)


def _mapping(value: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", value) if isinstance(value, dict) else {}


def _versions(holder: Json, key: str) -> tuple[str, ...]:
    listed = _mapping(holder).get(key)
    return tuple(v for v in cast("list[Json]", listed) if isinstance(v, str)) if isinstance(listed, list) else ()
