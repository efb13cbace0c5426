"""A tiny authorization server in front of a protected MCP server, for tests of logging in."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from upstream.faulty_http import Answered, FaultyHttp, Request, done


@dataclass
class Authority:
    """Authorization server and protected resource on one origin."""

    good: set[str] = field(default_factory=set[str])
    granted: list[str] = field(default_factory=list[str])
    """The grant type of every token request."""
    refresh_works: bool = True
    offers_refresh: bool = True
    server: FaultyHttp | None = None
    issued: int = 0
    scope_needed: str | None = None

    @property
    def origin(self) -> str:
        assert self.server is not None
        return self.server.url.removesuffix("/mcp")

    async def before(self, r: Request) -> None:
        path = urlsplit(r.path)
        if path.path == "/mcp":
            await self._resource(r)
            return
        reply: dict[str, Any] | None = None
        if path.path.startswith("/.well-known/oauth-protected-resource"):
            reply = {"resource": f"{self.origin}/mcp", "authorization_servers": [self.origin]}
        elif path.path.startswith("/.well-known/oauth-authorization-server"):
            reply = {
                "issuer": self.origin,
                "authorization_endpoint": f"{self.origin}/authorize",
                "token_endpoint": f"{self.origin}/token",
                "registration_endpoint": f"{self.origin}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            }
        elif path.path == "/register":
            reply = {**r.body, "client_id": "registered", "token_endpoint_auth_method": "none"}
        elif path.path == "/token":
            reply = await self._token(r)
        elif path.path == "/authorize":
            asked = parse_qs(path.query)
            back = urlencode({"code": "c0de", "state": asked["state"][0]})
            await r.answer(b"", 302, location=f"{asked['redirect_uri'][0]}?{back}")
            raise Answered
        await r.answer(json.dumps(reply).encode(), 200 if reply is not None else 404)
        raise Answered

    async def _resource(self, r: Request) -> None:
        token = r.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.good:
            where = f'Bearer resource_metadata="{self.origin}/.well-known/oauth-protected-resource/mcp"'
            await r.answer(b"", 401, www_authenticate=where)
            raise Answered

    async def _token(self, r: Request) -> dict[str, Any]:
        grant = parse_qs(r.raw.decode())["grant_type"][0]
        self.granted.append(grant)
        if grant == "refresh_token" and not self.refresh_works:
            await r.answer(b'{"error": "invalid_grant"}', 400)
            raise Answered
        self.issued += 1
        token = f"token-{self.issued}"
        self.good = {token}
        reply: dict[str, Any] = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        if self.offers_refresh and grant != "client_credentials":
            reply["refresh_token"] = f"refresh-{self.issued}"
        return reply


@asynccontextmanager
async def authority(**more: Any) -> AsyncGenerator[tuple[Authority, FaultyHttp]]:
    rules = Authority(**more)
    async with FaultyHttp(done, before=rules.before) as server:
        rules.server = server
        yield rules, server
