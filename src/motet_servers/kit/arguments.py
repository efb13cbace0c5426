"""Arguments that tools of several servers take, each with its bounds, so that nothing oversized gets further."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import Field

from motet_servers.kit import idempotency, paging
from motet_servers.kit.errors import InvalidInput, TooLarge

Cursor = Annotated[
    str | None, Field(min_length=1, max_length=paging.LONGEST, description="next_cursor of the page before.")
]
Key = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=idempotency.LONGEST,
        description="Repeat the call with the same key and it still happens only once (1-255 characters).",
    ),
]
Encoding = Annotated[Literal["utf-8", "base64"], Field(description="What `content` is: text, or bytes in base64.")]


def base64_length(most: int) -> int:
    """Characters that so many bytes take in base64."""
    return -(-most // 3) * 4


def decoded(content: str, encoding: Encoding, *, most: int) -> bytes:
    """The bytes that `content` stands for; InvalidInput when it is not base64, TooLarge over `most` bytes."""
    try:
        raw = content.encode() if encoding == "utf-8" else base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("content is not valid base64.") from None
    if len(raw) > most:
        raise TooLarge(f"the file is over {most:,} bytes; nothing was sent.")
    return raw
