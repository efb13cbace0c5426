"""JSON over HTTP to one vendor: typed errors, no redirect that carries credentials away, caps.

Guards: the base URL is checked (see `addresses`); an absolute URL in an answer (a next page, an upload) must have the
base URL's origin; redirects are followed for GET and HEAD only, within that origin, at most three times. The
environment's proxies and .netrc are not consulted.

What an error means for the caller: a request that never left, or was refused before the vendor acted, is safe to repeat
(`Unavailable`, `RateLimited`); a write whose answer was lost is `OutcomeUnknown`. The client itself repeats nothing.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from ssl import SSLCertVerificationError, SSLContext
from typing import Any, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import httpx2
import msgspec

from motet_servers.kit.addresses import base_url, origin
from motet_servers.kit.errors import (
    Conflict,
    DomainError,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TooLarge,
    Unavailable,
)
from motet_servers.kit.redaction import Redactor

T = TypeVar("T")
MIB = 1 << 20
READS = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"})
REDIRECTS = 3
ERROR_TEXT = 500
"""At most so many characters of a vendor's error text are passed on."""

Explain = Callable[["Answer"], str]
"""Takes the vendor's own words out of an error answer ("" for none)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read whole."""

    status: int
    headers: httpx2.Headers
    content: bytes
    url: str

    @property
    def text(self) -> str:
        """The body as text, undecodable bytes replaced."""
        return self.content.decode("utf-8", "replace")


class ApiClient:
    """One vendor's API. Close it with `aclose()`, or use it as a context manager."""

    def __init__(
        self,
        service: str,
        base: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float = 30.0,
        total: float = 300.0,
        max_bytes: int = 16 * MIB,
        allow_http: bool = False,
        explain: Explain | None = None,
        secrets: Iterable[str] = (),
        tls: SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """A client for `base` (ValueError for an unsafe one).

        `timeout` is in seconds, per connect, read and write; `total` for a request and its whole answer. `secrets` are
        replaced in the vendor's words, before these are cut to length. `tls` says which authorities are trusted: the
        system's when left out.
        """
        self.service = service
        self.base = base_url(base, allow_http=allow_http)
        self._origin = origin(self.base)
        self._max_bytes = max_bytes
        self._total = total
        self._explain = explain or _plain_words
        self._redactor = Redactor(secrets)
        self._open: httpx2.AsyncClient | None = None
        self._make = lambda: httpx2.AsyncClient(
            headers={"User-Agent": "motet", **(headers or {})},
            auth=auth,
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
            verify=tls or True,
            transport=transport,
        )
        self._elsewhere = partial(ApiClient, timeout=timeout, tls=tls, transport=transport)

    def __repr__(self) -> str:
        return f"ApiClient({self.service!r}, {self.base!r})"

    async def __aenter__(self) -> ApiClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def elsewhere(self, service: str, base: str) -> ApiClient:
        """A client for another host that belongs to the vendor, without any credential."""
        return self._elsewhere(service, base)

    async def aclose(self) -> None:
        """Close the connections. A later request opens new ones: a server object may be served more than once."""
        client, self._open = self._open, None
        if client is not None:
            await client.aclose()

    @property
    def _client(self) -> httpx2.AsyncClient:
        if self._open is None:
            self._open = self._make()
        return self._open

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
        read_only: bool | None = None,
    ) -> Answer:
        """Send one request to a path below the base URL, or to an absolute URL of the same origin.

        A 2xx answer and the statuses in `accept` are given back; anything else raises a DomainError. `read_only` says
        that a lost answer is harmless (default: by method).
        """
        harmless = method in READS if read_only is None else read_only
        try:
            request = self._client.build_request(
                method,
                self._target(path),
                params={key: value for key, value in (params or {}).items() if value is not None} or None,
                json=json,
                content=content,
                data=data,
                headers=dict(headers or {}),
            )
        except httpx2.InvalidURL as error:
            raise InvalidInput(f"{self.service} cannot be asked this ({error}); give shorter arguments.") from None
        answer = await self._send(request, harmless=harmless)
        for _ in range(REDIRECTS):
            if answer.status not in {301, 302, 303, 307, 308} or answer.status in accept:
                break
            answer = await self._follow(request, answer)
        if 200 <= answer.status < 300 or answer.status in accept:
            return answer
        raise self._failure(answer, harmless=harmless)

    def _target(self, path: str) -> str:
        if "://" not in path.partition("?")[0]:
            return self.base + path
        try:
            same = origin(path) == self._origin
        except ValueError:
            same = False
        if not same:
            raise Refused(f"{self.service} pointed to another host; credentials are not sent there.")
        return path

    async def _follow(self, request: httpx2.Request, answer: Answer) -> Answer:
        target = urljoin(answer.url, answer.headers.get("location", ""))
        if request.method not in {"GET", "HEAD"}:
            raise Refused(
                f"{self.service} redirected a {request.method} request; nothing was repeated. Check the base URL.",
                status=answer.status,
            )
        return await self._send(self._client.build_request(request.method, self._target(target)), harmless=True)

    async def _send(self, request: httpx2.Request, *, harmless: bool) -> Answer:
        try:
            async with asyncio.timeout(self._total):
                response = await self._client.send(request, stream=True)
                try:
                    content = await self._read(response, harmless=harmless)
                finally:
                    await response.aclose()
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol) as error:
            raise Unavailable(
                f"{self.service} cannot be reached at {self.base}: {_reason(error)}. Nothing was sent."
            ) from error
        except (httpx2.RequestError, TimeoutError) as error:
            if harmless:
                raise Unavailable(f"{self.service} did not answer ({type(error).__name__}); try again.") from error
            raise OutcomeUnknown(
                f"{self.service} did not answer a write ({type(error).__name__}): it may have happened. "
                "Look before repeating it, or repeat it with the same idempotency_key."
            ) from error
        return Answer(response.status_code, response.headers, content, str(request.url))

    async def _read(self, response: httpx2.Response, *, harmless: bool) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > self._max_bytes:
                done = "" if harmless else " The request itself was carried out."
                raise TooLarge(
                    f"{self.service}'s answer is over {self._max_bytes:,} bytes; ask for less.{done}",
                    status=response.status_code,
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _failure(self, answer: Answer, *, harmless: bool) -> DomainError:
        words = " ".join(self._redactor.text(self._explain(answer)).split())[:ERROR_TEXT]
        where = self._redactor.text(urlsplit(answer.url).path)[:ERROR_TEXT]
        return failure(self.service, answer, words, where=where, harmless=harmless)


def _reason(error: BaseException) -> str:
    """Why no connection came about, by what the error was raised from."""
    link: BaseException | None = error
    while link is not None:
        match link:
            case SSLCertVerificationError():
                said = link.verify_message or "it cannot be verified"
                return f"its certificate is not trusted ({said}); SSL_CERT_FILE names the authorities that are"
            case socket.gaierror():
                return "there is no host of that name"
            case ConnectionRefusedError():
                return "nothing listens there"
            case TimeoutError() | httpx2.TimeoutException():
                return "it did not answer in time"
            case _:
                link = link.__cause__ or link.__context__
    return type(error).__name__


_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")

_MEANINGS: Mapping[int, tuple[type[DomainError], str]] = {
    401: (Refused, "refused the credential{said}. Check that it is right and not expired."),
    403: (Refused, "forbids this{said}. The credential lacks a permission."),
    404: (NotFound, "has nothing at {where}, or the credential may not see it{said}."),
    409: (Conflict, "found another state than expected{said}. Read it again."),
    410: (NotFound, "has nothing at {where} any longer{said}."),
    412: (Conflict, "found another state than expected{said}. Read it again."),
    413: (TooLarge, "says this is too large{said}."),
    423: (Conflict, "has it locked{said}. Try again later."),
    429: (RateLimited, "limits requests{said}.{when}"),
}
_LIMITED = (RateLimited, "limits requests{said}.{when}")
_DOWN = (Unavailable, "failed with {status}{said}.{when}")
_LOST = (
    OutcomeUnknown,
    (
        "failed with {status} while writing{said}: it may have happened. "
        "Look before repeating it, or repeat it with the same idempotency_key."
    ),
)
_REDIRECTED = (Refused, "redirected too often ({status}). Check the base URL.")
_WRONG = (InvalidInput, "refused the request with {status}{said}.")


def failure(
    service: str, answer: Answer, words: str, *, where: str, harmless: bool, now: datetime | None = None
) -> DomainError:
    """The error that an HTTP answer means (RFC 9110 §15), with what to do about it; `where` is what was asked for."""
    status = answer.status
    wait = retry_after(answer.headers, now or datetime.now(UTC))
    limited = wait is not None or answer.headers.get("x-ratelimit-remaining") == "0"
    if status == 403 and (limited or "rate limit" in words.lower()):  # GitHub's secondary limit has words only
        kind, text = _LIMITED
    elif status in _MEANINGS:
        kind, text = _MEANINGS[status]
    elif status >= 500 or status == 408:
        refused_first = status == 503 and wait is not None
        kind, text = _DOWN if harmless or refused_first else _LOST
    else:
        kind, text = _REDIRECTED if 300 <= status < 400 else _WRONG
    when = " Try again later." if wait is None else f" Try again in {wait:g} s."
    message = text.format(said=f": {words}" if words else "", when=when, status=status, where=where)
    return kind(f"{service} {message}", retry_after=wait, status=status)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by `Retry-After` (a number or a date) or GitHub's `X-RateLimit-Reset`; None when not said."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if text:
        try:
            date = email.utils.parsedate_to_datetime(text)
        except ValueError:
            return None
        return max(0.0, (date - now).total_seconds()) if date.tzinfo else None
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and _SECONDS.fullmatch(reset):
        return max(0.0, float(reset) - now.timestamp())
    return None


def next_link(answer: Answer) -> str | None:
    """The URL of `Link: <…>; rel="next"`, or None."""
    for part in answer.headers.get("link", "").split(","):
        target, _, attributes = part.strip().partition(">")
        if target.startswith("<") and 'rel="next"' in attributes.replace(" ", ""):
            return urljoin(answer.url, target[1:])
    return None


def decoded(answer: Answer, kind: type[T], *, service: str, setting: str) -> T:
    """The answer's JSON as `kind`; Unavailable when it is something else, asking whether `setting` is right."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unavailable(
            f"{service}'s answer is not what its API documents ({error}); is {setting} right?", status=answer.status
        ) from None


def _plain_words(answer: Answer) -> str:
    """The usual places where JSON APIs put their words."""
    try:
        body: Any = json.loads(answer.content)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    said = cast("dict[str, Any]", body)
    return next((said[key] for key in ("message", "error", "detail") if isinstance(said.get(key), str)), "")
