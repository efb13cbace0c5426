"""The cheapest MCP server there can be: JSON in, JSON out, standard library only.

`python floor_server.py [stdio|http]`. It answers both protocol eras, so that what is measured is the client.
"""

import asyncio
import json
import sys
from typing import Any

ROW = {
    "type": "object",
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["id", "name"],
}
OUT = {"type": "object", "properties": {"rows": {"type": "array", "items": ROW}}, "required": ["rows"]}
ROWS = {"rows": [{"id": n, "name": f"name {n}", "tags": ["a", "b"]} for n in range(10)]}
TOOLS = [
    {"name": "echo", "inputSchema": {"type": "object"}},
    {"name": "rows", "inputSchema": {"type": "object"}, "outputSchema": OUT},
]
LIST = {"resultType": "complete", "ttlMs": 60000, "cacheScope": "public"}
INFO = {"name": "floor", "version": "1"}


def answer(message: dict[str, Any]) -> bytes:
    """The answer to one request."""
    method = message["method"]
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    if method == "tools/call":
        params = message["params"]
        text = {"type": "text", "text": params["arguments"].get("text", "")}
        result: dict[str, Any] = {"content": [text], "resultType": "complete"}
        if params["name"] == "rows":
            result["structuredContent"] = ROWS
        reply["result"] = result
    elif method == "tools/list":
        reply["result"] = {"tools": TOOLS, **LIST}
    elif method == "server/discover":
        meta = {"io.modelcontextprotocol/serverInfo": INFO}
        reply["result"] = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "_meta": meta, **LIST}
    elif method == "initialize":
        reply["result"] = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": INFO}
    else:
        reply["error"] = {"code": -32601, "message": "Method not found"}
    return json.dumps(reply, separators=(",", ":")).encode()


def stdio() -> None:
    """Serve on stdin and stdout."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" in message:
            sys.stdout.buffer.write(answer(message) + b"\n")
            sys.stdout.buffer.flush()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of plain HTTP/1.1, kept alive."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        message: dict[str, Any] = json.loads(await reader.readexactly(length)) if length else {}
        body = answer(message) if "id" in message else b""
        status = b"200 OK" if body else b"405 Method Not Allowed" if head.startswith(b"GET") else b"202 Accepted"
        writer.write(
            b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)
        )


async def http() -> None:
    """Serve on a free port, told on stdout."""

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        asyncio.run(http())
    else:
        stdio()
