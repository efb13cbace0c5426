"""An MCP server whose every effect is one fsynced line of a file, so that it outlives `kill -9`: `EFFECTS=FILE`.

`act` is unkeyed: whoever calls it twice acts twice. `keyed` acts once per key, as a server that honours keys would.
Both take as long as `seconds` says, and act in the middle of it; `act` also waits while there is a file `FILE.hold`.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
from typing import Any

PATH = os.environ["EFFECTS"]
FIELDS: dict[str, Any] = {"id": {"type": "string"}, "seconds": {"type": "number"}}
PLAIN: dict[str, Any] = {"type": "object", "properties": FIELDS, "required": ["id"]}
KEYED: dict[str, Any] = {**PLAIN, "properties": {**FIELDS, "key": {"type": "string"}}}
OUT = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
TOOLS = [
    {"name": "act", "inputSchema": PLAIN, "outputSchema": OUT},
    {"name": "keyed", "inputSchema": KEYED, "outputSchema": OUT},
    {"name": "look", "inputSchema": PLAIN, "outputSchema": OUT, "annotations": {"readOnlyHint": True}},
    {"name": "fail", "inputSchema": PLAIN},
    {"name": "kill_parent", "inputSchema": PLAIN},
]
LIST: dict[str, Any] = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def effect(word: str, ident: str, key: str) -> None:
    """One more line, unless the key is there already."""
    with open(PATH, "a+", encoding="utf-8") as file:  # noqa: PTH123 - appending under a lock
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if key and any(line.split("\t")[2].strip() == key for line in file):
            return
        file.write(f"{word}\t{ident}\t{key}\n")
        file.flush()
        os.fsync(file.fileno())


async def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of a tool call."""
    if name == "kill_parent":
        os.kill(os.getppid(), signal.SIGKILL)
    half = float(arguments.get("seconds", 0)) / 2
    await asyncio.sleep(half)
    while name == "act" and os.path.exists(PATH + ".hold"):  # noqa: ASYNC110, ASYNC240, PTH110 - another process's file
        await asyncio.sleep(0.02)
    if name == "fail":
        return {"content": [{"type": "text", "text": "no"}], "isError": True}
    if name != "look":
        effect(name, arguments["id"], arguments.get("key", ""))
    await asyncio.sleep(half)
    done = {"id": arguments["id"]}
    return {"content": [{"type": "text", "text": json.dumps(done)}], "structuredContent": done}


async def answer(message: dict[str, Any]) -> None:
    """Answer one request."""
    method: str = message["method"]
    params: dict[str, Any] = message.get("params") or {}
    if method == "tools/call":
        result: dict[str, Any] = {"resultType": "complete", **await call(params["name"], params.get("arguments") or {})}
    elif method == "server/discover":
        info = {"name": "effects", "version": "1"}
        result = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "serverInfo": info, **LIST}
    else:
        result = {"tools": TOOLS, **LIST}
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Serve until stdin is closed."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        message = json.loads(line)
        if "id" in message:
            task = loop.create_task(answer(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


asyncio.run(main())
