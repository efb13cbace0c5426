"""Reading answers: bytes in, a typed `Reply` or one `CallError` out (SEMANTICS §4). Pure functions.

Small answers are decoded whole, at once, so that nothing unreadable leaves this module. Large ones are only scanned (a
sixteenth of the cost) and decoded when somebody looks, so that no answer holds the event loop for long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec
import orjson

from motet.calls import (
    Answer,
    Asked,
    Call,
    Decode,
    InputRequired,
    Json,
    PromptResult,
    Question,
    Reply,
    ResourceResult,
    ToolResult,
)
from motet.errors import CallError, OutputSchemaMismatch, ProtocolError, ResultTooLarge, ToolError, UnusableAnswer
from motet.upstream.sanitise import clean, clean_line

LARGE = 1 << 20
"""Bytes above which an answer is scanned instead of decoded. Up to it, to decode and check one takes 10 to 30 ms."""
STATE_LIMIT = 256 * 1024
"""Bytes of `requestState` that a server may make us carry from round to round."""
QUESTIONS_LIMIT = 32
TOOL_ERROR_META = "motet/error"
"""Where a failed tool may say `kind` and `retry_after` (seconds)."""

_EMPTY_LIST = msgspec.Raw(b"[]")
_KINDS: Mapping[str, type[Reply]] = {"resources/read": ResourceResult, "prompts/get": PromptResult}


class _Head(msgspec.Struct, rename="camel", gc=False):
    """The parts of a large result that decide what it is."""

    content: msgspec.Raw = _EMPTY_LIST
    contents: msgspec.Raw = _EMPTY_LIST
    messages: msgspec.Raw = _EMPTY_LIST
    structured_content: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    is_error: bool = False
    result_type: str = "complete"


_read_head = msgspec.json.Decoder(_Head).decode


class Reader:
    """Reads the answers of one server."""

    __slots__ = ("_depth", "_secrets", "_server")

    def __init__(self, server: str, *, secrets: tuple[str, ...], depth: int) -> None:
        self._server = server
        self._secrets = secrets
        self._depth = depth

    # -- results ------------------------------------------------------------------------------------------------------

    def reply(self, call: Call, raw: msgspec.Raw) -> Reply:
        """The reply to `call`.

        Raises:
            ToolError: the tool says `isError`.
            OutputSchemaMismatch: the answer breaks the tool's output schema.
            UnusableAnswer: it cannot be read, is nested too deeply, or is of an unknown kind.
            InputRequired: the server asks something first.

        """
        view = memoryview(raw)
        if view.nbytes > LARGE:
            return self._large(call, raw)
        body = self._loaded(view)
        kind = body.get("resultType")
        if kind is not None and kind != "complete":
            self._other_kind(call, kind, body)
        if call.method == "tools/call":
            self._tool_shaped(body)
            return self._tool(call, raw, body)
        self._shaped(call.method, body)
        return _KINDS.get(call.method, Reply)(raw, body)

    def _loaded(self, view: memoryview) -> dict[str, Json]:
        """The decoded result: an object, nested no deeper than we allow."""
        try:
            body: Json = orjson.loads(view)
        except orjson.JSONDecodeError:
            body = self._repaired(view)
        if body.__class__ is not dict:  # as `type(body)`, which would want a cast: a call, for every answer
            raise self.unusable("the result is not an object")
        if view.nbytes > 2 * self._depth and _maybe_deep(view, self._depth) and _deeper_than(body, self._depth):
            raise self.unusable(f"the answer is nested deeper than {self._depth}")
        return body

    def _shaped(self, method: str, body: dict[str, Json]) -> None:
        """Hold the parts everybody relies on against what they must be."""
        if method == "tools/call":
            self._tool_shaped(body)
        elif method == "resources/read":
            self._objects(body.get("contents"), "contents")
        elif method == "prompts/get":
            self._objects(body.get("messages"), "messages")
        elif method == "completion/complete":
            completion: Json = body.get("completion")
            values: Json = cast("dict[str, Json]", completion).get("values") if isinstance(completion, dict) else None
            if not isinstance(values, list):
                raise self.unusable("the answer has no list of values")

    def _tool_shaped(self, body: dict[str, Json]) -> None:
        content = body.get("content")
        if content is None and "structuredContent" in body and "content" not in body:
            body["content"] = content = []
        self._objects(content, "content")
        failed = body.get("isError")
        if failed is not None and failed is not True and failed is not False:
            raise self.unusable("isError is neither true nor false")

    def _later(self, method: str) -> Decode:
        """How a large result is decoded once somebody looks."""

        def decode(raw: bytes | msgspec.Raw) -> dict[str, Json]:
            body = self._loaded(memoryview(raw))
            self._shaped(method, body)
            return body

        return decode

    def _tool(self, call: Call, raw: msgspec.Raw, body: dict[str, Json]) -> ToolResult:
        if body.get("isError"):
            raise self.tool_error(call, body)
        definition = call.definition
        if definition is not None and definition.checks_output:
            self.check(call, body.get("structuredContent", msgspec.UNSET))
        return ToolResult(raw, definition, body)

    def check(self, call: Call, structured: Json) -> None:
        """Hold `structured` (UNSET: missing) against the tool's output schema.

        Raises:
            OutputSchemaMismatch: it does not fit.

        """
        assert call.definition is not None
        if (why := call.definition.mismatch(structured)) is not None:
            raise self.mismatch(call, why)

    def mismatch(self, call: Call, why: str) -> OutputSchemaMismatch:
        """The error for an answer that breaks its promise."""
        return OutputSchemaMismatch(
            f"{clean_line(call.name)} answered what its output schema does not allow: {self.text(why, 500)}",
            server=self._server,
        )

    def tool_error(self, call: Call, body: Mapping[str, Json]) -> ToolError:
        """The error for an answer with `isError`."""
        blocks = tuple(cast("list[dict[str, object]]", body.get("content") or []))
        said = "\n".join(str(block.get("text", "")) for block in blocks if block.get("type") == "text")
        return ToolError(
            f"{clean_line(call.name)} failed: {self.text(said) or 'it did not say why'}",
            server=self._server,
            tool=call.name,
            content=blocks,
            data=body.get("structuredContent"),
            retry_after=_retry_after(body.get("_meta")),
        )

    def _objects(self, parts: Json, what: str) -> None:
        if parts.__class__ is not list:
            raise self.unusable(f"the answer has no list of {what}")
        for part in parts:
            if type(part) is not dict:
                raise self.unusable(f"one entry of {what} is not an object")

    def _repaired(self, view: memoryview) -> Json:
        """The same JSON with what strict parsers refuse (broken UTF-8, lone surrogates) replaced."""
        better = repaired(bytes(view))
        if better is None:
            raise self.unusable("the answer cannot be read as JSON")
        return orjson.loads(better)

    # -- large answers ------------------------------------------------------------------------------------------------

    def _large(self, call: Call, raw: msgspec.Raw) -> Reply:
        try:
            head = _read_head(raw)
            str(memoryview(raw), "utf-8")  # what was skipped was not checked for it
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as why:
            raise self.unusable(f"the answer cannot be read: {why}") from None
        if head.result_type != "complete":
            if memoryview(raw).nbytes > 4 * STATE_LIMIT:
                raise self.unusable("the server asks something in more text than we carry")
            self._other_kind(call, head.result_type, orjson.loads(memoryview(raw)))
        parts = {"tools/call": head.content, "resources/read": head.contents, "prompts/get": head.messages}
        if call.method in parts and bytes(memoryview(parts[call.method])[:1]) != b"[":
            raise self.unusable("the answer has no list of content")
        if call.method != "tools/call":
            return _KINDS.get(call.method, Reply)(raw, decode=self._later(call.method))
        if head.is_error:
            raise self.tool_error(call, {"content": [{"type": "text", "text": "it failed with a very long message"}]})
        return ToolResult(raw, call.definition, decode=self._later(call.method))

    @staticmethod
    def structured(raw: msgspec.Raw) -> msgspec.Raw | msgspec.UnsetType:
        """The undecoded `structuredContent` of a large result that `reply` has accepted."""
        return _read_head(raw).structured_content

    # -- questions ----------------------------------------------------------------------------------------------------

    def _other_kind(self, call: Call, kind: object, body: dict[str, Json]) -> None:
        if kind != "input_required":
            raise self.unusable(f"the answer is of an unknown kind: {clean_line(kind, limit=40)}")
        state = body.get("requestState")
        if state is not None and not isinstance(state, str):
            raise self.unusable("requestState is not text")
        if state is not None and len(state) > STATE_LIMIT:
            raise self.unusable(f"requestState is longer than {STATE_LIMIT} bytes")
        listed: Json = body.get("inputRequests", {})
        requests = cast("dict[str, Json]", listed) if isinstance(listed, dict) else None
        if requests is None or len(requests) > QUESTIONS_LIMIT:
            raise self.unusable("inputRequests is not an object of a few questions")
        if not requests and state is None:
            raise self.unusable("the server asks for input and does not say which")
        questions = tuple(self.question(key, request) for key, request in requests.items())
        raise InputRequired(Asked(questions, state, attempts=call.attempts))

    def question(self, key: str, request: Json) -> Question:
        """One entry of `inputRequests`, or a server's own request before 2026-07-28.

        Raises:
            UnusableAnswer: it is no question we know.

        """
        asked = cast("dict[str, Json]", request) if isinstance(request, dict) else {}
        raw = asked.get("params")
        params = cast("dict[str, Json]", raw) if isinstance(raw, dict) else {}
        message = self.text(params.get("message") or "")
        match asked.get("method"):
            case "elicitation/create" if params.get("mode") == "url" or (
                "url" in params and "requestedSchema" not in params
            ):
                url = clean_line(params.get("url", ""), limit=4000)
                return Question(self._server, "url", message or "wants you to visit a page", None, url, key)
            case "elicitation/create":
                schema = params.get("requestedSchema")
                shown = cast("dict[str, Json]", schema) if isinstance(schema, dict) else None
                return Question(self._server, "elicitation", message or "wants to know something", shown, None, key)
            case "sampling/createMessage":
                return Question(self._server, "sampling", "wants a language model's answer", params, None, key)
            case "roots/list":
                return Question(self._server, "roots", "wants to know the workspace roots", None, None, key)
            case other:
                raise self.unusable(f"the server asks in an unknown way: {clean_line(other, limit=60)}")

    # -- errors -------------------------------------------------------------------------------------------------------

    def protocol_error(self, raw: msgspec.Raw | Json) -> CallError:
        """The error for the `error` of a JSON-RPC answer, whatever it holds."""
        error = _mapping(raw)
        if error is None:
            return self.unusable("the answer has neither result nor error")
        try:
            code = int(error.get("code", -32603))
        except (TypeError, ValueError, OverflowError):
            code = -32603
        data: Json = error.get("data")
        wait: Json = cast("dict[str, Json]", data).get("retryAfter") if isinstance(data, dict) else None
        return ProtocolError(
            f"{self.text(error.get('message') or 'error')} (code {code})",
            server=self._server,
            code=code,
            data=cast("object", data),
            retry_after=_seconds(wait),
        )

    def unusable(self, why: str) -> UnusableAnswer:
        """The error for an answer that cannot be read."""
        return UnusableAnswer(self.text(why, 300), server=self._server)

    def too_large(self, cap: int) -> ResultTooLarge:
        """The error for an answer over the cap."""
        return ResultTooLarge(
            f"the answer is longer than {cap} bytes",
            server=self._server,
            hint=f"raise limits.answer of {self._server}, or ask for less",
        )

    def text(self, said: object, limit: int = 2000) -> str:
        """Server text fit for an error or an event."""
        return clean(said, secrets=self._secrets, limit=limit)


def _retry_after(meta: Json) -> float | None:
    """When a failed tool wants to be asked again: the bundled servers say so in `_meta`."""
    told: Json = cast("dict[str, Json]", meta).get(TOOL_ERROR_META) if isinstance(meta, dict) else None
    return _seconds(cast("dict[str, Json]", told).get("retry_after")) if isinstance(told, dict) else None


def _seconds(wait: Json) -> float | None:
    return float(wait) if isinstance(wait, int | float) and 0 <= wait < 1e6 else None


def _mapping(raw: Any) -> dict[str, Json] | None:
    if isinstance(raw, msgspec.Raw):
        view = memoryview(raw)
        if view.nbytes > LARGE:
            return {"message": "an error with a very long description"}
        try:
            raw = orjson.loads(view)
        except orjson.JSONDecodeError:
            better = repaired(bytes(view))
            raw = None if better is None else orjson.loads(better)
    return cast("dict[str, Json]", raw) if isinstance(raw, dict) else None


def repaired(text: bytes) -> bytes | None:
    """The same JSON with what strict parsers refuse (lone surrogates, broken UTF-8) replaced; None if it is no JSON."""
    try:
        value = json.loads(text.decode("utf-8", "replace"))
        fixed = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        orjson.loads(fixed)
    except (ValueError, RecursionError):
        return None
    return fixed


def _maybe_deep(view: memoryview, depth: int) -> bool:
    text = bytes(view)
    return text.count(b"[") + text.count(b"{") > depth


def _deeper_than(value: dict[str, Json], depth: int) -> bool:
    """Is it nested deeper than `depth`? Level by level, so flat data costs one pass over its containers."""
    level: list[Json] = [value]
    for _ in range(depth):
        level = [item for container in level for item in _items(container) if isinstance(item, dict | list)]
        if not level:
            return False
    return True


def _items(container: Json) -> Iterable[Json]:
    return cast("dict[str, Json]", container).values() if isinstance(container, dict) else cast("list[Json]", container)


def response(value: Answer | Json) -> Json:
    """What goes on the wire for one answered question: an `Answer`, or the response object itself."""
    if not isinstance(value, Answer):
        return value
    said: dict[str, Json] = {"action": value.action}
    if value.content is not None and value.action == "accept":
        said["content"] = dict(value.content)
    return said
