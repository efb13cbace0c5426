"""Secrets stay at this edge: exact values are replaced in whatever leaves the host, before anyone sees it.

Replies, errors, questions, late answers and events pass here. Only a host that knows secrets pays for it, and a reply
without any is handed on as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import msgspec

from motet.calls import Asked, Question, Reply
from motet.config.secrets import Redactor
from motet.errors import CallError, ProtocolError, ToolError
from motet.events import AttemptFailed, Emit, Noticed, ServerChanged

SLICE = 1 << 20
"""Bytes of a large reply that are looked through before others get a turn."""
OVERLAP = 1 << 16
"""Bytes two slices share, so that no secret falls between them; no secret is longer."""


async def plain_reply(reply: Reply, redactor: Redactor) -> Reply:
    """The same reply without any secret in it; the very object when it holds none."""
    raw = memoryview(reply.raw)
    if raw.nbytes > SLICE and not await _found(raw, redactor):
        return reply
    return _plain(reply, redactor)


async def _found(raw: memoryview, redactor: Redactor) -> bool:
    for at in range(0, raw.nbytes, SLICE):
        piece = bytes(raw[at : at + SLICE + OVERLAP])
        if redactor.raw(piece) != piece:
            return True
        await asyncio.sleep(0)
    return False


def _plain(reply: Reply, redactor: Redactor) -> Reply:
    raw = bytes(memoryview(reply.raw))
    plain = redactor.raw(raw)
    if plain == raw:
        return reply
    return reply.rewritten(plain)


def plain_error(error: CallError, redactor: Redactor) -> CallError:
    """The same error without any secret in it."""
    error.message, error.hint = redactor.text(error.message), redactor.text(error.hint)
    error.args = (error.message,)
    if isinstance(error, ToolError):
        error.content = tuple(cast("list[dict[str, object]]", redactor.json(list(error.content))))
        error.data = redactor.json(error.data)
    elif isinstance(error, ProtocolError):
        error.data = redactor.json(error.data)
    return error


def plain_asked(asked: Asked, redactor: Redactor) -> Asked:
    """The same questions without any secret in them; the server's own state goes back as it came."""

    def plain(question: Question) -> Question:
        url = None if question.url is None else redactor.text(question.url)
        return replace(
            question, message=redactor.text(question.message), url=url, schema=redactor.json(question.schema)
        )

    return msgspec.structs.replace(asked, questions=tuple(plain(question) for question in asked.questions))


def plain_late(told: Callable[[Reply | CallError], None], redactor: Redactor) -> Callable[[Reply | CallError], None]:
    """The same listener for late answers, told no secrets."""

    def listen(late: Reply | CallError) -> None:
        told(_plain(late, redactor) if isinstance(late, Reply) else plain_error(late, redactor))

    return listen


def plain_events(emit: Emit, redactor: Redactor) -> Emit:
    """The same observer, told no secrets."""

    def told(event: object) -> None:
        if isinstance(event, AttemptFailed | Noticed):
            event = msgspec.structs.replace(event, message=redactor.text(event.message))
        elif isinstance(event, ServerChanged):
            event = msgspec.structs.replace(event, reason=redactor.text(event.reason))
        emit(event)

    return told
