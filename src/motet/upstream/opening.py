"""The one door to a server: `open_connection` starts or reaches it, agrees on a version, and returns a `Connection`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from motet.calls import Ask
from motet.config.model import HttpTransport, InProcessTransport, ServerConfig, StdioTransport
from motet.errors import CallError, ConnectionLost, DeadlineExceeded, NeedsAuth, RateLimited, ServerUnavailable
from motet.events import Emit, nobody
from motet.upstream.answers import Reader
from motet.upstream.connection import Connection, OnChanged
from motet.upstream.credentials import Auth, LoginNeeded
from motet.upstream.link import Link
from motet.upstream.negotiation import HANDSHAKE
from motet.upstream.session import Session
from motet.upstream.stdio import StdioLink

ABANDON_WITHIN = 2.0
"""Seconds for clearing away a connection that did not come about."""
_AFTERWARDS = 0.05


async def open_connection(
    config: ServerConfig,
    *,
    deadline: float,
    remembered: str | None = None,
    on_changed: OnChanged,
    emit: Emit = nobody,
    ask: Ask | None = None,
    memory: Path | None = None,
) -> Connection:
    """An open, negotiated connection to one server, by loop time `deadline`; whoever gets it closes it.

    Where somebody has to log in, the login has a bound of its own (`oauth.LOGIN_PATIENCE`), and what comes after it
    another `timeout.connect`.

    `remembered` is the version negotiated last time: it saves the probe. `ask` answers questions of servers of the
    initialize era in place, and logins. `memory` is a directory for tokens.

    Raises:
        ServerUnavailable: reason `spawn`, `connect`, `exited` or `handshake`; the message has the exit code and the
            last lines of stderr where there are any.
        NeedsAuth: it wants credentials that nobody here can give.

    """
    reader = Reader(config.name, secrets=config.secrets, depth=config.limits.depth)
    session = Session(config, reader, on_changed=on_changed, emit=emit, ask=ask)
    auth = _credentials(config, ask, memory)
    try:
        try:
            await _attempt(config, session, reader, deadline, remembered, auth)
        except _LeftAtTheProbe:
            # servers that know `initialize` only, and are strict about it, leave at anything else
            await _attempt(config, session, reader, deadline, HANDSHAKE[-1], auth)
        except LoginNeeded as need:
            await need.auth.login()
            anew = asyncio.get_running_loop().time() + config.timeout.connect
            await _attempt(config, session, reader, anew, remembered, auth)
    except BaseException:
        if auth is not None:
            await auth.close()
        raise
    return session


def _credentials(config: ServerConfig, ask: Ask | None, memory: Path | None) -> Auth | None:
    """How to log in, when the configuration says so. Raises NeedsAuth for settings that cannot."""
    if not isinstance(config.transport, HttpTransport) or config.transport.auth is None:
        return None
    from motet.upstream.oauth import SdkOAuth

    return SdkOAuth(config, ask=ask, memory=memory)


class _LeftAtTheProbe(ServerUnavailable):
    """The process read the modern era's question and left without a word."""


async def _attempt(
    config: ServerConfig,
    session: Session,
    reader: Reader,
    deadline: float,
    remembered: str | None,
    auth: Auth | None,
) -> None:
    """One link, negotiated or cleared away."""
    link: Link | None = None
    try:
        try:
            # the requests inside end at the deadline by themselves, and know more of what they were waiting for
            async with asyncio.timeout_at(deadline + _AFTERWARDS):
                link = await _link(config, session, reader, auth)
                session.carry(link)
                await session.negotiate(deadline=deadline, remembered=remembered)
        except TimeoutError:
            raise ServerUnavailable(
                _silence(config, link), server=config.name, reason="connect" if link is None else "handshake"
            ) from None
        except CallError as error:
            why = _unavailable(config, link, error)
            probed = config.era == "auto" and remembered not in HANDSHAKE
            if probed and isinstance(link, StdioLink) and link.read_everything and not link.received:
                raise _LeftAtTheProbe(why.message, server=config.name, reason=why.reason) from None
            raise why from error.__cause__
    except BaseException:  # whatever it was, nothing of the attempt may be left
        if link is not None:
            await session.close(within=ABANDON_WITHIN)
        raise


async def _link(config: ServerConfig, session: Session, reader: Reader, auth: Auth | None) -> Link:
    match config.transport:
        case StdioTransport():
            return await StdioLink.spawn(config, session, reader)
        case HttpTransport(kind=kind):
            # aiohttp takes a third of a second to import: only where a server is reached by HTTP
            if kind == "sse":
                from motet.upstream.legacy_sse import SseLink

                return await SseLink.connect(config, session, reader, auth)
            from motet.upstream.http import HttpLink

            return HttpLink(config, session, reader, auth)
        case InProcessTransport():
            from motet.upstream.inprocess import InProcessLink

            return await InProcessLink.start(config, session, reader)


def _silence(config: ServerConfig, link: Link | None) -> str:
    said = link.details.get("stderr") if link is not None else ""
    what = f"it did not answer the handshake within {config.timeout.connect:g} s"
    return f"{what}; its last words:\n{said}" if said else what


def _unavailable(config: ServerConfig, link: Link | None, error: CallError) -> ServerUnavailable:
    """Why there is no connection, as the one kind of error that opening raises."""
    name = config.name
    match error:
        case NeedsAuth():
            return error
        case DeadlineExceeded(sent="no"):
            why = "no connection in time" if isinstance(config.transport, HttpTransport) else error.message
            return ServerUnavailable(why, server=name, reason="connect")
        case DeadlineExceeded():
            return ServerUnavailable(_silence(config, link), server=name, reason="handshake")
        case ConnectionLost():
            reason = "exited" if isinstance(config.transport, StdioTransport) else "connect"
            return ServerUnavailable(error.message, server=name, reason=reason)
        case RateLimited():
            return ServerUnavailable(error.message, server=name, reason="connect", retry_after=error.retry_after)
        case ServerUnavailable():
            return error
        case _:
            return ServerUnavailable(error.message, server=name, reason="handshake", hint=error.hint)
