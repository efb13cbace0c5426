"""What every link over HTTP shares: a pool of connections, headers, bodies read within a cap, the table of failures.

    401, 403 ........................ NeedsAuth, after the credentials had their chance to renew themselves
    404 with a session .............. the session is gone: ServerUnavailable, and the link is closed
    429 ............................. RateLimited
    other 4xx ....................... ProtocolError: refused, nothing was done
    5xx, others, cut stream, reset .. ConnectionLost, unknown
    no connection, TLS, redirects ... ServerUnavailable, nothing was sent
    over the cap, no JSON, HTML ..... ResultTooLarge, UnusableAnswer

What other clients lose is kept: the status, `Retry-After`, `WWW-Authenticate`, and whether the request can have reached
the server. aiohttp stays behind this module and the links that use it.
"""

from __future__ import annotations

import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from email.utils import parsedate_to_datetime
from time import time  # noqa: TID251 - `Retry-After` may be a date
from typing import Any, cast
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from motet.calls import Call
from motet.config.model import HttpTransport, ServerConfig
from motet.errors import CallError, ConnectionLost, NeedsAuth, ProtocolError, RateLimited, ServerUnavailable
from motet.upstream.answers import Reader, repaired
from motet.upstream.credentials import Auth
from motet.upstream.link import Envelope, read_envelope
from motet.upstream.sanitise import clean_line

CONNECT_PATIENCE = 10.0
"""Seconds for TCP and TLS of one connection."""
KEPT_ALIVE = 4.0
"""Seconds an idle connection is kept: below the 5 s of common servers, so that a POST does not race their close."""
REDIRECTS = 5
ERROR_BODY = 64 * 1024
INFLATE_SLICE = 64 * 1024

_ACCEPT = "application/json, text/event-stream"
SESSION = "mcp-session-id"


class Mark:
    """Stands in for a `Call` where a request is no call."""

    written = False


class _Body(aiohttp.Payload):
    """A request body that tells when it goes out: the line between `sent: no` and `sent: unknown`."""

    def __init__(self, value: bytes, mark: Call | Mark) -> None:
        super().__init__(value, content_type="application/json")
        self._size = len(value)
        self._mark = mark

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return cast("bytes", self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._mark.written = True
        await writer.write(cast("bytes", self._value))

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:  # noqa: ARG002
        await self.write(writer)


class Refused(Exception):
    """HTTP 401 or 403."""

    def __init__(self, status: int, challenge: str) -> None:
        super().__init__(status)
        self.status = status
        self.challenge = challenge


class SessionEnded(ServerUnavailable):
    """The server no longer knows our session; a new connection makes a new one."""


class HttpDoor:
    """One server's pool of connections and its credentials."""

    def __init__(self, config: ServerConfig, reader: Reader, auth: Auth | None) -> None:
        transport = cast("HttpTransport", config.transport)
        self._name = config.name
        self._secrets = config.secrets
        self._reader = reader
        self.url = URL(transport.url, encoded=True)
        self._static = {name.lower(): value for name, value in transport.headers.items()}
        self.auth = auth
        self._proxy = _proxy_for(self.url)
        self.session: str | None = None
        """The session id of a server of the session era."""
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_PATIENCE),  # the call's own deadline rules
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=1 << 18,
            auto_decompress=False,  # a few bytes may become gigabytes: see `chunks`
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_ALIVE, socket_factory=_kept_alive_socket),
        )

    @property
    def shown_url(self) -> str:
        """The URL without what may be secret in it."""
        return str(self.url.with_query(None).with_user(None).with_fragment(None))

    async def close(self) -> None:
        """Close every connection."""
        if self.auth is not None:
            await self.auth.close()
        await self._http.close()

    async def post(
        self, message: bytes, mark: Call | Mark, headers: Mapping[str, str], url: URL | None = None
    ) -> aiohttp.ClientResponse:
        """The response, after redirects that stay on the server's own origin (its credentials go nowhere else)."""
        url = url or self.url
        for _ in range(REDIRECTS):
            response = await self._http.post(
                url, data=_Body(message, mark), headers=headers, allow_redirects=False, proxy=self._proxy
            )
            if response.status not in (301, 302, 303, 307, 308):
                session = response.headers.get(SESSION)
                if session is not None and self.session is None and response.status < 300:
                    self.session = session
                return response
            response.close()
            mark.written = False
            to = _target(url, response.headers.get("location"))
            if to is None or response.status not in (307, 308):
                shown = clean_line(response.headers.get("location", "nowhere"), secrets=self._secrets)
                raise self._unreachable(f"it redirects to {shown}, which is not followed", transient=False)
            url = to
        raise self._unreachable(f"more than {REDIRECTS} redirects", transient=False)

    async def headers(self, stamped: Mapping[str, str] | None) -> dict[str, str]:
        headers = {
            "accept": _ACCEPT,
            "content-type": "application/json",
            "accept-encoding": "gzip, deflate",
            **self._static,
        }
        if self.session is not None:
            headers[SESSION] = self.session
        if stamped:
            headers.update(stamped)
        if self.auth is not None:
            headers.update(await self.auth.headers())
        return headers

    def ask(self, method: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The response to a request without a body; redirects are not followed."""
        return self._http.request(method, self.url, headers=headers, allow_redirects=False, proxy=self._proxy)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def read(self, response: aiohttp.ClientResponse, cap: int) -> bytes:
        announced = response.content_length
        if announced is not None:
            if announced > cap:
                raise self._reader.too_large(cap)
            if "content-encoding" not in response.headers and "transfer-encoding" not in response.headers:
                return await response.content.read()  # as long as it says, and no longer
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks(response):
            parts.append(chunk)
            size += len(chunk)
            if size > cap:
                raise self._reader.too_large(cap)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The body as it comes, inflated in slices."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("identity", ""):
            async for chunk in response.content.iter_any():
                yield chunk
            return
        if encoding not in ("gzip", "deflate", "x-gzip"):
            raise self._reader.unusable(f"the answer is in an encoding we did not ask for: {clean_line(encoding)}")
        inflate = zlib.decompressobj(47)
        async for chunk in response.content.iter_any():
            rest = chunk
            while rest:
                try:
                    out = inflate.decompress(rest, INFLATE_SLICE)
                except zlib.error as why:
                    raise self._reader.unusable(f"the answer is not {encoding}: {why}") from None
                if out:
                    yield out
                rest = inflate.unconsumed_tail

    def envelope(self, body: bytes) -> Envelope:
        try:
            return read_envelope(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as why:
            better = repaired(body) if len(body) < ERROR_BODY else None
            if better is not None:
                with suppress(msgspec.MsgspecError, RecursionError):
                    return read_envelope(better)
            raise self._reader.unusable(f"the answer cannot be read as JSON-RPC: {why}") from None

    # -- what went wrong ----------------------------------------------------------------------------------------------

    async def complaint(self, response: aiohttp.ClientResponse, kind: str) -> CallError | Refused:
        """The error that a response other than an answer stands for."""
        status = response.status
        if status in (401, 403):
            return Refused(status, response.headers.get("www-authenticate", ""))
        if 200 <= status < 300:
            what = f"HTTP {status} with {clean_line(kind, limit=60) or 'no content type'} is no answer to a request"
            return self._reader.unusable(what)
        wait = retry_after(response.headers.get("retry-after"), time())
        if status == 429:
            return RateLimited("it says: too many requests (HTTP 429)", server=self._name, retry_after=wait)
        if status == 404 and self.session is not None:
            return SessionEnded("the server has ended the session (HTTP 404)", server=self._name, reason="down")
        told = await self._told(response)
        if told is not None:
            return told
        if not 400 <= status < 500:  # a number nobody knows says nothing about what was done
            transient = status not in (501, 505)
            return ConnectionLost(f"HTTP {status}", server=self._name, transient=transient, retry_after=wait)
        code = -32601 if status in (404, 405) else -32600
        return ProtocolError(f"HTTP {status}", server=self._name, code=code, retry_after=wait)

    async def _told(self, response: aiohttp.ClientResponse) -> CallError | None:
        """The JSON-RPC error in the body of an HTTP error, if there is one: it says more than the status."""
        try:
            message = read_envelope(await self.read(response, ERROR_BODY))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, CallError, aiohttp.ClientError, OSError):
            return None
        return self._reader.protocol_error(message.error) if message.error is not msgspec.UNSET else None

    def needs_auth(self, refused: Refused) -> NeedsAuth:
        what = "wants credentials" if refused.status == 401 else "says these credentials are not enough"
        hint = f"correct what the configuration of {self._name} sends: `headers`, or `auth`"
        return NeedsAuth(f"it {what} (HTTP {refused.status})", server=self._name, hint=hint)

    def _unreachable(self, why: str, *, transient: bool = True) -> ServerUnavailable:
        return ServerUnavailable(why, server=self._name, reason="connect", transient=transient)

    def broken(self, why: Exception, mark: Call | Mark) -> CallError:
        """A failure below HTTP."""
        said = clean_line(why) or type(why).__name__
        if isinstance(why, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
            if not mark.written:
                return self._unreachable(f"no secure connection: {said}")
        elif isinstance(why, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return self._unreachable(f"cannot connect: {said}")
        elif isinstance(why, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            return self._unreachable(f"no such URL: {said}", transient=False)
        if not mark.written:
            return self._unreachable(f"cannot connect: {said}")
        return ConnectionLost(f"the connection broke: {said}", server=self._name)


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait, from a number or an HTTP date (RFC 9110 §10.2.3); `now` is wall-clock time."""
    if header is None:
        return None
    with suppress(ValueError):
        seconds = float(header)
        return seconds if 0 <= seconds < 1e6 else None
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(header).timestamp() - now)
    return None


def _target(url: URL, location: str | None) -> URL | None:
    """Where a redirect leads, when it stays on the same origin."""
    if not location:
        return None
    try:
        to = url.join(URL(location))
    except ValueError:
        return None
    return to if to.origin() == url.origin() and to.user is None else None


def _proxy_for(url: URL) -> str | None:
    """The proxy that this process's environment names for a URL; never for the loopback, never from `.netrc`."""
    host = url.host or ""
    if host == "localhost" or host.startswith("127.") or host == "::1" or proxy_bypass(host):
        return None
    return getproxies().get(url.scheme)


def _kept_alive_socket(address: Any) -> socket.socket:
    """A socket that notices within a minute or two that its peer has vanished."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
