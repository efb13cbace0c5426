"""Logging in to a server behind OAuth, with the SDK's providers and without their lock.

The SDK's flow is written as an `httpx2.Auth` generator that holds a lock while it waits for the answer to the *real*
request, so under its own transport all calls of one server run one after another. Here the flow never sees a real call:
it is run only to learn the Authorization header, or to digest a 401 or 403 that a call has already got. On a 401 it is
first told that the token has expired, so that a refresh token is used before anybody has to log in again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import socket
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import AnyUrl, ValidationError

from motet.calls import Ask, Question
from motet.config.model import HttpTransport, OAuth, ServerConfig
from motet.errors import CallError, NeedsAuth, ServerUnavailable
from motet.upstream.credentials import LoginNeeded, login_hint
from motet.upstream.sanitise import clean, clean_line

logging.getLogger("mcp.client.auth").addHandler(logging.NullHandler())  # it also raises what it logs
LOGIN_PATIENCE = 300.0
"""Seconds a person has for logging in."""
REQUEST_PATIENCE = 30.0
_LOOPBACK = "127.0.0.1"
_LONG_AGO = 1.0


class TokenFile:
    """Tokens and registration of one server: in memory, and in a file of mode 0600 when there is a directory for it."""

    def __init__(self, config: ServerConfig, memory: Path | None) -> None:
        url = cast("HttpTransport", config.transport).url
        digest = hashlib.sha256(f"{config.name}\0{url}".encode()).hexdigest()[:24]
        self._path = memory / f"tokens-{digest}.json" if memory is not None else None
        self._held: dict[str, object] = {}
        self.registered: OAuthClientInformationFull | None = None
        """A client that was registered beforehand, by configuration."""
        if self._path is not None:
            with suppress(OSError, ValueError):
                held = json.loads(self._path.read_text())
                self._held = cast("dict[str, object]", held) if isinstance(held, dict) else {}

    async def get_tokens(self) -> OAuthToken | None:
        with suppress(ValidationError):
            return OAuthToken.model_validate(self._held["tokens"]) if self._held.get("tokens") else None
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._held["tokens"] = tokens.model_dump(mode="json", exclude_none=True)
        self._write()

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        if self.registered is not None:
            return self.registered
        with suppress(ValidationError):
            return OAuthClientInformationFull.model_validate(self._held["client"]) if self._held.get("client") else None
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._held["client"] = client_info.model_dump(mode="json", exclude_none=True)
        self._write()

    def redirect_port(self) -> int:
        """The loopback port of the stored registration; 0 when there is none."""
        client = cast("Mapping[str, object]", self._held.get("client") or {})
        for uri in cast("list[str]", client.get("redirect_uris") or []):
            with suppress(ValueError):
                return urlsplit(uri).port or 0
        return 0

    def _write(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._path.with_suffix(f".{os.getpid()}.tmp")
        with suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(self._held, file)
        fresh.replace(self._path)


class SdkOAuth:
    """The `Auth` of one server; never shared, never logged."""

    def __init__(self, config: ServerConfig, *, ask: Ask | None, memory: Path | None) -> None:
        transport = cast("HttpTransport", config.transport)
        assert transport.auth is not None
        self._config = config
        self._settings: OAuth = transport.auth
        self._url = transport.url
        self._ask = ask
        self._tokens = TokenFile(config, memory)
        self._door: socket.socket | None = None
        self._port = 0
        self._desk: asyncio.Server | None = None
        self._came: asyncio.Future[AuthorizationCodeResult] | None = None
        self._provider = self._make_provider()
        self._bearer: dict[str, str] = {}
        self._tried = False
        self._refreshed: str | None = None
        self._wanted: tuple[int, str] = (401, "")
        """The refusal that somebody has to log in for."""
        self.asking = False
        """Is somebody being asked to log in, or was when the time was over?"""
        self._lock = asyncio.Lock()

    # -- the interface ------------------------------------------------------------------------------------------------

    async def headers(self) -> Mapping[str, str]:
        """The Authorization header, refreshed when it is known to have expired; empty before the first login."""
        if not self._fresh():
            async with self._lock:
                if not self._fresh():
                    self._bearer = await self._drive(None, "")
                    self._tried = True
        return self._bearer

    async def renew(self, status: int, challenge: str, used: Mapping[str, str], *, in_place: bool) -> bool:
        """After a 401 or 403: refresh, else log in. True when it is worth trying again."""
        if status == 403 and "insufficient_scope" not in challenge:
            return False
        async with self._lock:
            before = used.get("authorization")
            if self._bearer and self._bearer.get("authorization") != before:
                return True  # another call has renewed it meanwhile
            context = self._provider.context
            if status == 401 and context.can_refresh_token() and (before is None or self._refreshed != before):
                context.token_expiry_time = _LONG_AGO
                self._bearer = await self._drive(None, "")
                if self._bearer and self._bearer.get("authorization") != before:
                    self._refreshed = self._bearer["authorization"]
                    return True
            if self._settings.grant != "client_credentials":
                if self._ask is None:
                    raise self._needs_auth("it takes a person, and nobody is there")
                if not in_place:
                    self._wanted = (status, challenge)
                    raise LoginNeeded(self._config.name, self)
            self._bearer = await self._drive(status, challenge)
            return bool(self._bearer)

    async def login(self) -> None:
        """Ask somebody to log in."""
        async with self._lock:
            self._bearer = await self._drive(*self._wanted)
            self._tried = True

    async def close(self) -> None:
        """Let go of the port that a login would come back to."""
        if self._door is not None:
            self._door.close()
            self._door = None

    def _fresh(self) -> bool:
        if not self._tried:
            return False
        return not self._bearer or self._provider.context.is_token_valid()

    # -- the flow -----------------------------------------------------------------------------------------------------

    async def _drive(self, status: int | None, challenge: str) -> dict[str, str]:
        """Run the flow once: the real request is answered from memory, everything else over the network."""
        original = httpx2.Request("POST", self._url, headers={"mcp-protocol-version": "2025-11-25"})
        flow = self._provider.async_auth_flow(original)
        answered = self.asking = False
        try:
            async with asyncio.timeout(LOGIN_PATIENCE), httpx2.AsyncClient(timeout=REQUEST_PATIENCE) as client:
                outgoing = await anext(flow)
                while True:
                    if outgoing is not original:
                        response = await client.send(outgoing, follow_redirects=False)
                    elif status is None or answered:
                        break
                    else:
                        answered = True
                        said = {"www-authenticate": challenge} if challenge else {}
                        response = httpx2.Response(status, headers=said, request=original)
                    outgoing = await flow.asend(response)
        except StopAsyncIteration:
            pass
        except (OAuthFlowError, ValueError) as why:  # ValueError: what it was told is not what the standards say
            raise self._needs_auth(clean_line(why, secrets=self._config.secrets)) from None
        except TimeoutError:
            raise self._needs_auth("nobody logged in in time") from None
        except httpx2.HTTPError as why:
            said = f"cannot reach its authorization server: {clean_line(why) or type(why).__name__}"
            raise ServerUnavailable(said, server=self._config.name, reason="connect") from None
        finally:
            if self._desk is not None:
                self._desk.close()
                self._desk = None
            await flow.aclose()  # in the task that began it: the provider's lock is owned by a task
        bearer = original.headers.get("authorization")
        return {"authorization": bearer} if bearer else {}

    def _needs_auth(self, why: str) -> NeedsAuth:
        return NeedsAuth(f"cannot log in: {why}", server=self._config.name, hint=login_hint(self._config.name))

    # -- providers ----------------------------------------------------------------------------------------------------

    def _make_provider(self) -> OAuthClientProvider:
        settings = self._settings
        scope = " ".join(settings.scopes) or None
        if settings.grant == "client_credentials":
            if settings.client_id is None or settings.client_secret is None:
                raise self._needs_auth("client_credentials wants a client_id and a client_secret")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MCPDeprecationWarning)  # the issuer is whom discovery names
                return ClientCredentialsOAuthProvider(
                    self._url,
                    self._tokens,
                    settings.client_id,
                    settings.client_secret,
                    scope=scope,
                    issuer=settings.issuer,
                )
        redirect = self._redirect_uri()
        metadata = OAuthClientMetadata(
            redirect_uris=[AnyUrl(redirect)],
            client_name="motet",
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            scope=scope,
        )
        provider = OAuthClientProvider(
            self._url,
            metadata,
            self._tokens,
            redirect_handler=self._send_there if self._ask is not None else None,
            callback_handler=self._come_back if self._ask is not None else None,
            client_metadata_url=settings.client_metadata_url,
        )
        if settings.client_id is not None:
            self._tokens.registered = OAuthClientInformationFull(
                client_id=settings.client_id,
                client_secret=settings.client_secret,
                redirect_uris=[AnyUrl(redirect)],
                token_endpoint_auth_method="none" if settings.client_secret is None else "client_secret_basic",
                issuer=settings.issuer,
            )
        return provider

    def _redirect_uri(self) -> str:
        """Where a login comes back to. The port is taken now, so that it is ours when somebody logs in."""
        if self._ask is None:
            return f"http://{_LOOPBACK}:{self._settings.redirect_port or self._tokens.redirect_port() or 1}/callback"
        wanted = self._settings.redirect_port or self._tokens.redirect_port()
        try:
            self._take_port(wanted)
        except NeedsAuth:
            if self._settings.redirect_port:
                raise
            self._take_port(0)
        return f"http://{_LOOPBACK}:{self._port}/callback"

    def _take_port(self, port: int) -> socket.socket:
        """Bind the loopback port that a login comes back to, unless it is ours already. Raises NeedsAuth."""
        if self._door is None:
            door = socket.socket()
            try:
                door.bind((_LOOPBACK, port))
            except OSError as why:
                door.close()
                raise self._needs_auth(f"port {port} is not free for the login to come back to: {why}") from None
            self._door, self._port = door, door.getsockname()[1]
        return self._door

    # -- a person logs in ---------------------------------------------------------------------------------------------

    async def _send_there(self, url: str) -> None:
        """Ask somebody to open the login page."""
        assert self._ask is not None
        door = self._take_port(self._port)
        self._came = asyncio.get_running_loop().create_future()
        self.asking = True
        # it listens before anybody is asked: a quick browser is back before the answer
        self._desk = await asyncio.start_server(self._meet_browser, sock=door.dup())
        question = Question(self._config.name, "url", "wants you to log in", url=clean(url, limit=8000))
        try:
            answer = await self._ask(question)
        except CallError as why:
            raise OAuthFlowError(clean_line(why)) from None
        if answer is None or answer.action != "accept":
            raise OAuthFlowError("nobody is there to log in")

    async def _come_back(self) -> AuthorizationCodeResult:
        """Wait for the browser to come back with the code (RFC 8252 §7.3)."""
        assert self._came is not None
        result = await self._came
        self.asking = False
        return result

    async def _meet_browser(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(10):
                line = await reader.readline()
                while (await reader.readline()).strip():
                    pass
                found = parse_qs(urlsplit(line.split(b" ")[1].decode("ascii", "replace")).query) if b" " in line else {}
                good = "code" in found
                text = b"Logged in. You can close this page." if good else b"This is no answer to a login."
                head = b"HTTP/1.1 %d\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
                writer.write(head % (200 if good else 400, len(text)) + text)
                await writer.drain()
                self._came_back(found)
        writer.close()

    def _came_back(self, found: dict[str, list[str]]) -> None:
        if self._came is None or self._came.done():
            return
        first = {name: values[0] for name, values in found.items()}
        if "code" in first:
            result = AuthorizationCodeResult(code=first["code"], state=first.get("state"), iss=first.get("iss"))
            self._came.set_result(result)
        elif "error" in first:
            self._came.set_exception(OAuthFlowError(f"the login was refused: {clean_line(first['error'])}"))
