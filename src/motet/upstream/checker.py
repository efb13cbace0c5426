"""Holding a large answer against its output schema in a process of its own, so that nobody else waits for it.

Decoding and checking 16 MiB of rows takes most of a second and holds the interpreter's lock throughout. A short-lived
helper does it: this very file, run as a script, reads a schema and a value and says what is wrong, if anything.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, cast

import orjson

if TYPE_CHECKING:
    import msgspec

    from motet.calls import Call, Json
    from motet.upstream.answers import Reader

_SLICE = 1 << 20
_AT_ONCE = 2
_running: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = {}


async def check_large(reader: Reader, call: Call, raw: msgspec.Raw, *, until: float) -> None:
    """Check the structured content of a large result that has not been decoded, by loop time `until`.

    Raises:
        OutputSchemaMismatch: it breaks the schema, is missing, or could not be checked in time.

    """
    import msgspec

    definition = call.definition
    assert definition is not None
    structured = reader.structured(raw)
    schema = cast("object", getattr(definition, "output_schema", None))
    if structured is msgspec.UNSET:
        reader.check(call, msgspec.UNSET)
        return
    try:
        async with asyncio.timeout_at(until):
            why = await _elsewhere(schema, memoryview(structured))
    except TimeoutError:
        raise reader.mismatch(call, "it is too large to be checked in time") from None
    if why is not None:
        raise reader.mismatch(call, why)


async def _elsewhere(schema: object, value: memoryview) -> str | None:
    loop = asyncio.get_running_loop()
    for other in [known for known in _running if known.is_closed()]:
        del _running[other]
    async with _running.setdefault(loop, asyncio.Semaphore(_AT_ONCE)):
        helper = await asyncio.create_subprocess_exec(
            sys.executable, "-I", __file__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={}
        )
        assert helper.stdin is not None
        assert helper.stdout is not None
        try:
            with suppress(ConnectionError):
                helper.stdin.write(orjson.dumps(schema) + b"\n")
                for at in range(0, len(value), _SLICE):
                    helper.stdin.write(bytes(value[at : at + _SLICE]))
                    await helper.stdin.drain()
                helper.stdin.close()
            said = await helper.stdout.read()
            await helper.wait()
        finally:
            if helper.returncode is None:
                with suppress(ProcessLookupError):
                    helper.kill()
                await asyncio.shield(helper.wait())
    return cast("str | None", orjson.loads(said)) if said else "the check itself failed"


def verdict(schema: Json, value: bytes) -> str | None:
    """Why `value` breaks `schema`, or None."""
    import jsonschema_rs

    def refuse(uri: str) -> NoReturn:
        raise ValueError(f"$ref leaves the document: {uri}")

    try:
        options = jsonschema_rs.RegexOptions()  # linear time
        validator = jsonschema_rs.validator_for(schema, retriever=refuse, pattern_options=options, mask="the value")
        validator.validate(orjson.loads(value))
    except jsonschema_rs.ValidationError as error:
        return f"{error.message[:400]} at {'/'.join(map(str, error.instance_path)) or 'the top'}"
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        return f"it cannot be checked: {error}"[:500]
    return None


def main() -> None:
    """Read a schema (one line) and a value (the rest) from stdin; write why the value breaks it, as JSON."""
    schema = orjson.loads(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(orjson.dumps(verdict(schema, sys.stdin.buffer.read())))


if __name__ == "__main__":
    main()
