"""A server that costs next to nothing: one resource, one tool; `stub_server.py NAME [DELAY | dead | silent]`."""

import json
import sys
import time
from typing import Any

NAME, MODE = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "0"
BOUNDARY = {"motet/boundary": {"domain": NAME, "uris": [NAME + "://**"]}}
CAPABILITIES = {"tools": {}, "resources": {}, "experimental": BOUNDARY}
TOOL = {"name": "echo", "inputSchema": {"type": "object"}}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result of one request."""
    if method == "server/discover":
        info = {"name": NAME, "version": "1"}
        return {"supportedVersions": ["2026-07-28"], "capabilities": CAPABILITIES, "serverInfo": info}
    if method == "resources/read":
        time.sleep(float(MODE))  # noqa: TID251 - a server of its own, and being slow is its job
        return {"contents": [{"uri": params["uri"], "text": NAME}]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": "ok"}]}
    key = {"tools/list": "tools", "resources/list": "resources", "resources/templates/list": "resourceTemplates"}
    return {key.get(method, "prompts"): [TOOL] if method == "tools/list" else [], "ttlMs": 0, "cacheScope": "private"}


if MODE == "dead":
    sys.exit(3)
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and MODE != "silent":
        result = {"resultType": "complete", **answer(message["method"], message.get("params") or {})}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}) + "\n")
        sys.stdout.flush()
