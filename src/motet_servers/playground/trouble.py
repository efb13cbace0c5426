"""Trouble on demand: what may go wrong between a request and its answer, and the count of what was done for good.

| kind | what happens |
|---|---|
| `down` | nothing listens: connections are refused |
| `slow` | `seconds` pass, then the request is served |
| `rate_limited` | 429 with `Retry-After`, nothing done |
| `error_before` | `status` (503 unless said), nothing done |
| `error_after` | it is done and counted, then `status` |
| `cut_before` | the connection is cut, nothing done |
| `cut_after` | it is done and counted, then the connection is cut |

The two `after` kinds wait for a request that changes something; reads pass. `path` and `method` narrow any kind, and
`times` ends it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from motet_servers.playground.http import Handler, Refused, Request, Response, json_response, text

Kind = Literal["none", "down", "slow", "rate_limited", "error_before", "error_after", "cut_before", "cut_after"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong next, and how often."""

    kind: Kind = "none"
    seconds: float = 1.0
    """For `slow`: how long; for `rate_limited`: what Retry-After says."""
    status: int = 503
    times: int | None = None
    """How many requests it strikes; None: until it is lifted."""
    path: str = ""
    """Strikes only requests whose path holds this."""
    method: str = ""
    """Strikes only this HTTP method."""

    def strikes(self, request: Request) -> bool:
        """Is this request hit?"""
        return (
            self.kind not in ("none", "down")
            and (self.times is None or self.times > 0)
            and self.path in request.path
            and self.method in ("", request.method)
        )

    def once_less(self) -> Trouble:
        """What is left after one strike."""
        return self if self.times is None else replace(self, times=self.times - 1)


def trouble_from(found: Mapping[str, object]) -> Trouble:
    """The trouble a control request asks for.

    Raises Refused: 422, naming the field.
    """
    kind = text(found, "kind", "none")
    if kind not in get_args(Kind):
        raise Refused(422, f"kind must be one of {', '.join(get_args(Kind))}")
    match found.get("seconds", 1.0), found.get("status", 503), found.get("times"):
        case (int() | float()) as seconds, int() as status, (int() | None) as times:
            return Trouble(kind, float(seconds), status, times, text(found, "path"), text(found, "method"))  # pyright: ignore[reportArgumentType] - `kind` was checked against the literal's own values
        case _:
            raise Refused(422, "seconds must be a number, status and times whole numbers")


class Troubled:
    """A handler with trouble in front of it; counts the effects that really happened."""

    def __init__(self, inner: Handler, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._inner = inner
        self._sleep = sleep
        self.trouble = Trouble()
        self.effects: Counter[str] = Counter()
        self.requests = 0

    async def __call__(self, request: Request) -> Response | None:
        self.requests += 1
        trouble = self.trouble
        if not trouble.strikes(request):
            return await self._serve(request)
        if trouble.kind in ("error_after", "cut_after"):
            response = await self._serve(request)
            if response is None or not response.effect:
                return response
            self.trouble = trouble.once_less()
            return _failure(trouble.status) if trouble.kind == "error_after" else None
        self.trouble = trouble.once_less()
        match trouble.kind:
            case "slow":
                await self._sleep(trouble.seconds)
                return await self._serve(request)
            case "rate_limited":
                return json_response(
                    {"ok": False, "error": "ratelimited", "message": "API rate limit exceeded"},
                    429,
                    headers={"retry-after": f"{trouble.seconds:g}"},
                )
            case "error_before":
                return _failure(trouble.status)
            case _:
                return None

    async def _serve(self, request: Request) -> Response | None:
        response = await self._inner(request)
        if response is not None and response.effect:
            self.effects[response.effect] += 1
        return response


def _failure(status: int) -> Response:
    return json_response({"ok": False, "error": "fatal_error", "message": "Server Error"}, status)
