"""Reading answers, as a table; and large ones, that must not hold the loop."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.calls import (
    Call,
    Done,
    Failed,
    InputRequired,
    Json,
    PromptResult,
    Question,
    Reply,
    ResourceResult,
    ToolResult,
    looked_at,
)
from motet.catalog.tool import Tool
from motet.config.model import Limits
from motet.errors import CallError, OutputSchemaMismatch, ToolError, UnusableAnswer
from motet.upstream import answers, checker
from motet.upstream.answers import Reader
from upstream.bench import Bench, soon

READER = Reader("s", secrets=("hunter2",), depth=16)
ROWS = {"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "object"}}}, "required": ["rows"]}


def read(result: Json, method: Any = "tools/call", **more: Any) -> object:
    raw = result if isinstance(result, bytes) else orjson.dumps(result)
    return READER.reply(Call(server="s", name="t", method=method, **more), msgspec.Raw(raw))


def deep(levels: int) -> Json:
    value: Json = {"type": "text", "text": "x"}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("method", "result", "kind"),
    [
        ("tools/call", {"content": []}, ToolResult),
        ("tools/call", {"content": [], "resultType": "complete"}, ToolResult),
        ("tools/call", {"structuredContent": {"a": 1}}, ToolResult),
        ("resources/read", {"contents": []}, ResourceResult),
        ("prompts/get", {"messages": []}, PromptResult),
    ],
)
def test_good_answers_are_typed(method: str, result: Json, kind: type) -> None:
    assert type(read(result, method)) is kind


@pytest.mark.parametrize(
    ("method", "result", "error"),
    [
        ("tools/call", [], "unusable_answer"),
        ("tools/call", {}, "unusable_answer"),
        ("tools/call", {"content": "text"}, "unusable_answer"),
        ("tools/call", {"content": ["text"]}, "unusable_answer"),
        ("tools/call", {"content": [], "resultType": "task"}, "unusable_answer"),
        ("tools/call", {"content": [deep(20)]}, "unusable_answer"),
        ("tools/call", {"content": [deep(9), deep(9)]}, None),
        ("tools/call", b'{"content": [', "unusable_answer"),
        ("tools/call", b'{"content": [{"type":"text","text":"\xff"}]}', None),
        ("tools/call", {"content": None}, "unusable_answer"),
        ("tools/call", {"content": [], "isError": True}, "tool_error"),
        ("tools/call", {"content": [], "isError": "true"}, "unusable_answer"),
        ("tools/call", b'{"content": [], "structuredContent": {"x": 1e999}}', "unusable_answer"),
        ("tools/call", {"resultType": "input_required"}, "unusable_answer"),
        ("tools/call", {"resultType": "input_required", "requestState": 7}, "unusable_answer"),
        ("tools/call", {"resultType": "input_required", "requestState": "s" * 300_000}, "unusable_answer"),
        ("tools/call", {"resultType": "input_required", "inputRequests": []}, "unusable_answer"),
        ("tools/call", {"resultType": "input_required", "inputRequests": {"q": {"method": "x"}}}, "unusable_answer"),
        ("resources/read", {}, "unusable_answer"),
        ("resources/read", {"contents": [7]}, "unusable_answer"),
        ("prompts/get", {"messages": {}}, "unusable_answer"),
    ],
)
def test_bad_answers_are_named(method: str, result: Json, error: str | None) -> None:
    if error is None:
        read(result, method)
        return
    with pytest.raises(CallError) as caught:
        read(result, method)
    assert (caught.value.kind, caught.value.sent, caught.value.transient) == (error, "yes", False)


@pytest.mark.parametrize(
    ("error", "sent", "transient", "health", "wait"),
    [
        ({"code": -32700, "message": "m"}, "no", False, "success", None),
        ({"code": -32600, "message": "m"}, "no", False, "success", None),
        ({"code": -32601, "message": "m"}, "no", False, "success", None),
        ({"code": -32602, "message": "m"}, "no", False, "success", None),
        ({"code": -32603, "message": "m"}, "yes", True, "neutral", None),
        ({"code": -32000, "message": "m"}, "yes", True, "neutral", None),
        ({"code": -32099, "message": "m", "data": {"retryAfter": 2}}, "yes", True, "neutral", 2.0),
        ({"code": "x", "message": None}, "yes", True, "neutral", None),
        ({"code": -32000, "message": "m", "data": {"retryAfter": -1}}, "yes", True, "neutral", None),
    ],
)
def test_json_rpc_errors_by_code(error: Json, sent: str, transient: bool, health: str, wait: float | None) -> None:
    made = READER.protocol_error(msgspec.Raw(orjson.dumps(error)))
    assert (made.sent, made.transient, made.health, made.retry_after) == (sent, transient, health, wait)


@pytest.mark.parametrize("error", [None, msgspec.Raw(b"7"), msgspec.Raw(b"[]"), msgspec.Raw(b"{")])
def test_what_is_no_error_object_is_an_unusable_answer(error: Json) -> None:
    assert isinstance(READER.protocol_error(error), UnusableAnswer)


@pytest.mark.parametrize(
    ("meta", "wait"),
    [
        ({"motet/error": {"kind": "rate_limited", "retry_after": 7}}, 7.0),
        ({"motet/error": {"kind": "refused"}}, None),
        ({"motet/error": {"retry_after": -1}}, None),
        ({"motet/error": 7}, None),
        (7, None),
    ],
)
def test_a_failed_tool_may_say_when_to_ask_again(meta: Json, wait: float | None) -> None:
    with pytest.raises(ToolError) as caught:
        read({"content": [], "isError": True, "_meta": meta})
    assert caught.value.retry_after == wait


def test_errors_hide_secrets_and_escapes() -> None:
    said = {"code": -32000, "message": "\x1b[2Jtoken hunter2"}
    assert str(READER.protocol_error(msgspec.Raw(orjson.dumps(said)))) == "s: token [hidden] (code -32000)"
    with pytest.raises(CallError) as caught:
        read({"content": [{"type": "text", "text": "hunter2 \x1b]0;x\x07no"}], "isError": True})
    assert str(caught.value) == "s: t failed: [hidden] no"


def test_questions_of_every_kind() -> None:
    requests: Json = {
        "a": {"method": "elicitation/create", "params": {"message": "who?", "requestedSchema": {"type": "object"}}},
        "b": {"method": "elicitation/create", "params": {"mode": "url", "message": "go", "url": "https://x/\x1b[1m"}},
        "c": {"method": "sampling/createMessage", "params": {"messages": []}},
        "d": {"method": "roots/list"},
    }
    with pytest.raises(InputRequired) as caught:
        read({"resultType": "input_required", "requestState": "st", "inputRequests": requests})
    assert caught.value.asked.state == "st"
    assert caught.value.asked.questions == (
        Question("s", "elicitation", "who?", {"type": "object"}, None, "a"),
        Question("s", "url", "go", None, "https://x/", "b"),
        Question("s", "sampling", "wants a language model's answer", {"messages": []}, None, "c"),
        Question("s", "roots", "wants to know the workspace roots", None, None, "d"),
    )


def large(rows: int, **more: Json) -> bytes:
    listed = [{"id": n, "name": f"name {n}"} for n in range(rows)]
    return orjson.dumps({"content": [], "structuredContent": {"rows": listed}, **more})


def test_a_large_answer_is_not_decoded_until_somebody_looks() -> None:
    reply = read(large(40_000))
    assert isinstance(reply, ToolResult)
    assert reply.undecoded
    assert reply.body["structuredContent"]["rows"][-1]["id"] == 39_999


@pytest.mark.parametrize(
    "result",
    [
        b'{"content": {}, "x": "' + b"y" * answers.LARGE + b'"}',
        b'{"content": [], "x": "' + b"\xff" * answers.LARGE + b'"}',
        b'{"content": [], "x": ' + b"y" * answers.LARGE,
        b'{"content": [], "isError": true, "x": "' + b"y" * answers.LARGE + b'"}',
        b'{"resultType": "input_required", "requestState": "' + b"y" * answers.LARGE * 5 + b'"}',
    ],
    ids=["shape", "utf-8", "json", "error", "question"],
)
def test_a_large_bad_answer_is_named_too(result: bytes) -> None:
    with pytest.raises(CallError):
        read(result)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["text", "type", "a", "uri"]), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = [
    "content", "contents", "messages", "structuredContent", "isError", "resultType", "requestState", "inputRequests",
    "_meta",
]  # fmt: skip
TOOL = Tool(server="s", name="t", output_schema={"type": "object", "properties": {"a": {"type": "integer"}}})


@pytest.mark.parametrize("padding", [0, answers.LARGE], ids=["small", "large"])
@pytest.mark.parametrize("method", ["tools/call", "resources/read", "prompts/get", "completion/complete"])
@given(result=st.dictionaries(st.sampled_from(KEYS), JSONS, max_size=5), typed=st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_comes_is_an_answer_or_one_error(method: str, padding: int, result: Json, typed: bool) -> None:
    try:
        reply = read({**result, "pad": "x" * padding}, method, definition=TOOL if typed else None)
    except (CallError, InputRequired):
        return
    assert isinstance(reply, Reply)
    outcome = looked_at(Done(reply))
    if isinstance(outcome, Done):
        orjson.dumps([outcome.data, reply.meta, getattr(reply, "text", ""), getattr(reply, "structured", None)])


LONG = b'"' + b"y" * answers.LARGE + b'"'


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("tools/call", b'{"content": [], "structuredContent": {"x": 1e999}, "y": %b}' % LONG),
        ("tools/call", b'{"content": [], "structuredContent": %b%b, "y": %b}' % (b"[" * 20, b"]" * 20, LONG)),
        ("tools/call", b'{"content": [%b]}' % LONG),
        ("resources/read", b'{"contents": [%b]}' % LONG),
        ("prompts/get", b'{"messages": [%b]}' % LONG),
        ("completion/complete", b'{"completion": {"total": 1e999}, "y": %b}' % LONG),
    ],
)
def test_a_large_bad_answer_that_a_scan_lets_pass_is_named_when_somebody_looks(method: str, result: bytes) -> None:
    reply = read(result, method)
    assert isinstance(reply, Reply)
    with pytest.raises(UnusableAnswer) as caught:
        _ = reply.body
    assert (caught.value.server, caught.value.sent) == ("s", "yes")
    looked = looked_at(Done(reply, attempts=2))
    assert isinstance(looked, Failed)
    assert (looked.attempts, looked.error.kind) == (2, "unusable_answer")


_LARGE = """
import json, sys
rows = [{"id": n, "name": f"name {n}"} for n in range(40000)]
for line in sys.stdin:
    m = json.loads(line)
    if m["method"] == "server/discover":
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
    else:
        name = m["params"]["name"]
        structured = {"rows": rows if name == "good" else rows + [7]}
        result = {"content": [], "resultType": "complete"}
        if name != "without":
            result["structuredContent"] = structured
        else:
            result["content"] = [{"type": "text", "text": "x" * 1000000}]
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": result}), flush=True)
"""


async def test_a_large_answer_is_held_against_its_schema_elsewhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from motet.config.model import StdioTransport

    def never(*_: object) -> str:
        raise AssertionError("checked in the event loop")

    script = bench.script("large.py", _LARGE)
    transport = StdioTransport(sys.executable, (str(script),), {"NASTY_RUN": bench.run})
    config = replace(bench.config("s00"), transport=transport, limits=Limits())
    connection = await bench.open(config)
    tool = Tool("nasty", "good", output_schema=ROWS)

    def request(name: str) -> Call:
        return Call(server="nasty", name=name, definition=tool, attempt_deadline=soon(15))

    with pytest.raises(OutputSchemaMismatch, match="missing"):
        await connection.send(request("without"))
    monkeypatch.setattr(Tool, "mismatch", never)
    reply = await connection.send(request("good"))
    assert isinstance(reply, ToolResult)
    with pytest.raises(OutputSchemaMismatch, match="rows/40000"):
        await connection.send(request("bad"))


@pytest.mark.parametrize(
    ("schema", "value", "wrong"),
    [
        (ROWS, b'{"rows": []}', None),
        (ROWS, b"{}", "required"),
        ({"$ref": "http://127.0.0.1:1/x"}, b"{}", "leaves the document"),
        ({"type": "string", "pattern": "^(a+)+$"}, b'"' + b"a" * 5000 + b'!"', "match"),
        ({"type": "nonsense"}, b"{}", ""),
    ],
)
def test_the_helper_gives_its_verdict(schema: Json, value: bytes, wrong: str | None) -> None:
    verdict = checker.verdict(schema, value)
    assert (verdict is None) == (wrong is None)
    assert wrong is None or wrong in str(verdict)
