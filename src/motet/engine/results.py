"""What the outcomes of calls mean for steps: plain functions from `calls.Outcome` to `entries.Result`."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import orjson

from motet.calls import Asked, Call, Done, Failed, Json, Outcome, ResourceResult, looked_at
from motet.errors import CallCancelled, CallError, UnusableAnswer
from motet.workflow.entries import Result, came_of, error_info


def dropped(call: Call) -> Result:
    """What a call comes to that was ended with its run: nothing, unless its first byte had just been written."""
    if call.read_only or not call.written:
        return Result(status="cancelled", reason="stopped", attempts=call.attempts)
    error = CallCancelled("the run ended while it was in flight", server=call.server, sent="unknown")
    return came_of(error_info(error), repeatable=call.repeatable, attempts=call.attempts)


def came(
    outcome: Done | Failed, *, repeatable: bool, parse_json: bool = False, failures: Sequence[CallError] = ()
) -> Result:
    """What a call's outcome means for its step. `failures` are those of its attempts, the final one included."""
    result = _came(outcome, repeatable=repeatable, parse_json=parse_json)
    before = failures[:-1] if isinstance(outcome, Failed) else failures
    return msgspec.structs.replace(result, tried=tuple(map(error_info, before))) if before else result


def _came(outcome: Done | Failed, *, repeatable: bool, parse_json: bool) -> Result:
    outcome = looked_at(outcome)
    if isinstance(outcome, Failed):
        return came_of(error_info(outcome.error), repeatable=repeatable, attempts=outcome.attempts, took=outcome.took)
    data = outcome.data
    if parse_json and isinstance(data, str) and data.lstrip()[:1] in ("{", "["):
        with suppress(orjson.JSONDecodeError):
            data = orjson.loads(data)
    return Result(status="done", data=data, attempts=outcome.attempts, took=outcome.took)


def read_result(found: Mapping[str, tuple[str, str, Outcome]], form: str) -> Result:
    """What came of reading one or several addresses (key -> server, URI, outcome): whole, with gaps, or nothing."""
    data: dict[str, Json] = {}
    records: list[dict[str, Json]] = []
    first: CallError | None = None
    attempts, took = 0, 0.0
    for key, (server, uri, outcome) in found.items():
        error: CallError | None = None
        match outcome:
            case Done():
                try:
                    data[key] = resource_data(outcome, server)
                except UnusableAnswer as unusable:
                    error = unusable
            case Failed():
                error = outcome.error
            case Asked():
                question = outcome.questions[0]
                error = CallError(f"asks: {question.message}", server=question.server)
        first = first or error
        attempts += outcome.attempts
        took = max(took, outcome.took)
        info = None if error is None else error_info(error)
        records.append(
            {
                "key": key,
                "uri": uri,
                "ok": info is None,
                "status": "done" if info is None else "failed",
                "reason": None if info is None else info.message,
                "error": None if info is None else info.record(),
                "attempts": outcome.attempts,
            }
        )
    missing = tuple(key for key in found if key not in data)
    if form == "one":
        if first is not None:
            return came_of(error_info(first), repeatable=True, attempts=attempts, took=took)
        return Result(status="done", data=data.get(""), attempts=attempts, took=took)
    if first is not None and not data:
        failed = came_of(error_info(first), repeatable=True, attempts=attempts, took=took)
        return msgspec.structs.replace(failed, missing=missing, items=tuple(records))
    return Result(
        status="partial" if missing else "done",
        data=data,
        reason=None if first is None else str(first),
        attempts=attempts,
        took=took,
        missing=missing,
        items=tuple(records),
    )


def resource_data(outcome: Done, server: str) -> Json:
    """A resource's data; binary parts as `{mime_type, size, sha256, blob}` (SEMANTICS §3). Raises UnusableAnswer."""
    reply = outcome.reply
    if not isinstance(reply, ResourceResult) or not any("blob" in part for part in reply.contents):
        return outcome.data
    values = [_part(part, server) for part in reply.contents]
    return values[0] if len(values) == 1 else values


def _part(part: dict[str, Json], server: str) -> Json:
    blob = part.get("blob")
    if not isinstance(blob, str):
        return part.get("text", part)
    try:
        raw = b64decode(blob)
    except ValueError:
        raise UnusableAnswer("its blob is not base64", server=server) from None
    return {
        "mime_type": part.get("mimeType", "application/octet-stream"),
        "size": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "blob": blob,
    }
