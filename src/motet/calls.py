"""One request type, one answer type, one interface.

A `Call` is one request to one server. A `Send` takes it and gives a `Reply` or raises one `CallError`; a `Layer`
wraps a `Send` into a `Send`. Above the host, what came of a call is a value: `Done`, `Failed` or `Asked`; `.result()`
is the one way back to exceptions. Times are seconds (`float`); deadlines are absolute, on the event loop's clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeAlias, cast, overload

import msgspec
import orjson

from motet.errors import CallError, Unanswered

Json: TypeAlias = Any
"""A decoded JSON value. The one place where `Any` is the honest type."""

Method = Literal["tools/call", "resources/read", "prompts/get", "completion/complete"]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often one call may be tried. A step's own `Retry` replaces its server's, never multiplies it."""

    attempts: int = 3
    base: float = 0.2
    """Upper bound of the first back-off; it doubles with each attempt (full jitter)."""
    cap: float = 8.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One `notifications/progress` of a call in flight."""

    progress: float
    total: float | None = None
    message: str | None = None


OnProgress = Callable[[Progress], None]
"""Told of the progress of a call. Must not block."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a server, or our own policy, wants to know before a call can go on."""

    server: str
    kind: Literal["elicitation", "url", "sampling", "roots", "approval"]
    message: str
    schema: Mapping[str, Json] | None = None
    """JSON Schema of the answer, when the asker gave one."""
    url: str | None = None
    key: str = ""
    """The asker's own name for this question within one round."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said to a `Question`."""

    action: Literal["accept", "decline", "cancel"]
    content: Mapping[str, Json] | None = None


Ask = Callable[[Question], Awaitable[Answer | None]]
"""Somebody who answers questions in place; None means nobody could."""


@dataclass(frozen=True, slots=True)
class Round:
    """Where a multi-round-trip request stands (MCP 2026-07-28): repeat the same call with these."""

    answers: Mapping[str, Json]
    state: str | None
    """The server's opaque `requestState`."""


class Definition(Protocol):
    """What a call needs to know of the tool it calls; the catalog's `Tool` is one."""

    def data(self, result: ToolResult) -> Json:
        """The answer's data, read by the tool's schema."""
        ...

    def mismatch(self, structured: Json) -> str | None:
        """Why this `structuredContent` breaks the output schema, or None. `msgspec.UNSET`: it is missing."""
        ...

    @property
    def checks_output(self) -> bool:
        """Has the tool an output schema?"""
        ...


class Call(msgspec.Struct, kw_only=True):
    """One request to one server. Made anew for every request; layers fill in `deadline` and `attempts`."""

    server: str
    method: Method = "tools/call"
    name: str
    """The tool, prompt or URI."""
    arguments: dict[str, Json] = {}
    definition: Definition | None = None
    repeatable: bool = False
    """May it be sent twice? By our configuration or an idempotency key, never by a hint of an untrusted server."""
    read_only: bool = False
    """Does it change nothing? Then ending it early is free. By our configuration or a trusted server's hint."""
    deadline: float | None = None
    """Loop time by which the call has ended, all attempts included. None: the server's setting decides."""
    timeout: float | None = None
    """Seconds one attempt may take. None: the server's setting for this tool decides."""
    attempt_deadline: float | None = None
    """Loop time by which the current attempt has ended: set for each attempt, read by the wire."""
    retry: Retry | None = None
    """In place of the server's setting."""
    attempts: int = 0
    """How many times it has been tried so far."""
    failures: list[CallError] | None = None
    """What came of the attempts that failed, oldest first; None: none did."""
    key: str | None = None
    """The idempotency key in the arguments, if there is one."""
    waits: bool = False
    """Wait for room in a full queue instead of failing (runs, `foreach`, `read_resources`)."""
    round: Round | None = None
    on_progress: OnProgress | None = None
    on_late: Callable[[Reply | CallError], None] | None = None
    """Told when an answer comes for an attempt that was given up. Must not block."""
    fence: Callable[[], bool] | None = None
    """Asked right before an attempt is written: may it still be sent? A run that another process took over says no."""
    written: bool = False
    """Set by the wire once this attempt may have reached the server: `sent` of a cancelled call depends on it."""
    meta: dict[str, Json] | None = None
    """More `_meta` for the request (`traceparent`, …)."""


Decode = Callable[[bytes | msgspec.Raw], dict[str, Json]]
"""Bytes in, a `result` object out; raises UnusableAnswer."""


class Reply:
    """The result of a request as it came: bytes, decoded when somebody looks.

    To look at a large one, for the first time, may raise UnusableAnswer: it was only scanned when it came.
    """

    __slots__ = ("_decode", "_decoded", "raw")

    def __init__(
        self, raw: bytes | msgspec.Raw, body: dict[str, Json] | None = None, *, decode: Decode | None = None
    ) -> None:
        self.raw = raw
        self._decoded = body
        self._decode = decode

    @property
    def body(self) -> dict[str, Json]:
        """The whole `result` object."""
        if self._decoded is None:
            decode = self._decode or cast("Decode", orjson.loads)
            self._decoded = decode(self.raw)
        return self._decoded

    def rewritten(self, raw: bytes) -> Self:
        """The same reply with other bytes."""
        return type(self)(raw, decode=self._decode)

    @property
    def undecoded(self) -> bool:
        """Has nobody looked at `body` yet (only large answers are not decoded at once)?"""
        return self._decoded is None

    @property
    def meta(self) -> dict[str, Json]:
        """The answer's `_meta`; empty when it has none."""
        meta = self.body.get("_meta")
        return cast("dict[str, Json]", meta) if isinstance(meta, dict) else {}

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return len(memoryview(self.raw))


class ToolResult(Reply):
    """What a tool answered. `.data` is read by the tool's schema; `.text` and `.content` are always there."""

    __slots__ = ("_data", "definition")

    def __init__(
        self,
        raw: bytes | msgspec.Raw,
        definition: Definition | None = None,
        body: dict[str, Json] | None = None,
        *,
        decode: Decode | None = None,
    ) -> None:
        self.raw = raw
        self._decoded = body
        self._decode = decode
        self.definition = definition
        self._data: Json = msgspec.UNSET

    def rewritten(self, raw: bytes) -> Self:
        """The same reply with other bytes."""
        return type(self)(raw, self.definition, decode=self._decode)

    @property
    def content(self) -> list[dict[str, Json]]:
        """The content blocks, as they came."""
        return self.body.get("content") or []

    @property
    def text(self) -> str:
        """The text blocks, joined by newlines."""
        return "\n".join(str(block.get("text", "")) for block in self.content if block.get("type") == "text")

    @property
    def structured(self) -> Json:
        """`structuredContent`, or None."""
        return self.body.get("structuredContent")

    @property
    def is_error(self) -> bool:
        """Did the tool report failure?"""
        return self.body.get("isError") is True

    @property
    def data(self) -> Json:
        """JSON: `structuredContent` if the tool promises it, else the text, parsed if it is a JSON object or array."""
        if self._data is msgspec.UNSET:
            self._data = plain_data(self) if self.definition is None else self.definition.data(self)
        return self._data


class ResourceResult(Reply):
    """What `resources/read` answered."""

    __slots__ = ()

    @property
    def contents(self) -> list[dict[str, Json]]:
        """The content parts: `uri`, `mimeType`, and `text` or base64 `blob`."""
        return self.body.get("contents") or []

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(str(part["text"]) for part in self.contents if "text" in part)

    @property
    def data(self) -> Json:
        """Parsed JSON when it is one text part holding a JSON object or array, else the text or a list of parts."""
        return blocks_data([part for part in self.contents if "text" in part or "blob" in part])


class PromptResult(Reply):
    """What `prompts/get` answered."""

    __slots__ = ()

    @property
    def messages(self) -> list[dict[str, Json]]:
        """The messages: `role` and `content`."""
        return self.body.get("messages") or []

    @property
    def data(self) -> Json:
        """The messages."""
        return self.messages


def plain_data(result: ToolResult) -> Json:
    """The data of an answer nobody promised a schema for."""
    return blocks_data(result.content)


def blocks_data(blocks: list[dict[str, Json]]) -> Json:
    """One text block that is a JSON object or array is parsed, else text; several blocks become a list."""
    values = [_block(block) for block in blocks]
    return values[0] if len(values) == 1 else values if values else ""


def _block(block: dict[str, Json]) -> Json:
    text = block.get("text")
    if not isinstance(text, str):
        return block
    if text.lstrip()[:1] in ("{", "["):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
    return text


Send = Callable[[Call], Awaitable[Reply]]
"""`Call` in, `Reply` out, or one `CallError`."""
Layer = Callable[[Send], Send]


class Done(msgspec.Struct, frozen=True):
    """The call was answered."""

    reply: Reply
    attempts: int = 1
    took: float = 0.0
    """Seconds, all attempts and back-offs included."""

    def result(self) -> Reply:
        """The reply."""
        return self.reply

    @property
    def data(self) -> Json:
        """The reply's data, decoded on first use: UnusableAnswer when a large one cannot be (see `looked_at`)."""
        return cast("Json", getattr(self.reply, "data", self.reply.body))


class Failed(msgspec.Struct, frozen=True):
    """The call failed; `error` says whose fault, what happened, what to do, and `sent`."""

    error: CallError
    attempts: int = 0
    took: float = 0.0

    def result(self) -> Reply:
        """Raises the error."""
        raise self.error


class Asked(msgspec.Struct, frozen=True):
    """The call waits for answers. Send it again with `round` holding them, or give it up."""

    questions: tuple[Question, ...]
    state: str | None = None
    """The server's `requestState`, to be sent back as it is."""
    attempts: int = 0
    took: float = 0.0

    def result(self) -> Reply:
        """Raises `Unanswered`."""
        first = self.questions[0]
        raise Unanswered(f"asks: {first.message}", server=first.server, hint="answer with an `ask` callback")


Outcome: TypeAlias = Done | Failed | Asked


@overload
def looked_at(outcome: Done | Failed) -> Done | Failed: ...
@overload
def looked_at(outcome: Outcome) -> Outcome: ...
def looked_at(outcome: Outcome) -> Outcome:
    """The same outcome with its data decoded; `Failed` when a large answer turns out to be unusable."""
    if isinstance(outcome, Done):
        try:
            _ = outcome.data
        except CallError as error:
            return Failed(error, outcome.attempts, outcome.took)
    return outcome


class InputRequired(Exception):
    """How a `Send` says `Asked`: the one thing besides `CallError` that may come out of it. Never leaves the host."""

    def __init__(self, asked: Asked) -> None:
        super().__init__("input required")
        self.asked = asked
