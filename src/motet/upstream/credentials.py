"""What a link over HTTP needs of the thing that logs it in: an `Auth`. The one we have is in `oauth`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from motet.errors import NeedsAuth


class Auth(Protocol):
    """Credentials for one server; never shared, never logged."""

    async def headers(self) -> Mapping[str, str]:
        """What to send along. Raises CallError."""
        ...

    async def renew(self, status: int, challenge: str, used: Mapping[str, str], *, in_place: bool) -> bool:
        """After a 401 or 403: True when it is worth trying again with fresh `headers()`.

        Raises CallError; LoginNeeded when it takes a person, unless the login may happen `in_place`.
        """
        ...

    async def login(self) -> None:
        """Ask somebody to log in, after LoginNeeded; bounded by a person's patience, not by a connection's.

        Raises:
            NeedsAuth: nobody did.

        """
        ...

    @property
    def asking(self) -> bool:
        """Is somebody being asked to log in right now?"""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class LoginNeeded(NeedsAuth):
    """Somebody has to log in before there can be a connection: `auth.login()`, and then open it again."""

    def __init__(self, server: str, auth: Auth) -> None:
        super().__init__("it wants you to log in", server=server, hint=login_hint(server))
        self.auth = auth


def login_hint(server: str) -> str:
    """What to do about it."""
    return f"log in, on a terminal: motet login {server}"
