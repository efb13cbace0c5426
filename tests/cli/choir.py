"""A small, well-behaved MCP server of nothing but the standard library (the protocol up to 2025-11-25), on stdio.

One voice of the tests' choir: `python choir.py NAME`. Its resources are `NAME://…`; its tools are below.
"""

import json
import os
import sys
from typing import Any

NAME = sys.argv[1] if len(sys.argv) > 1 else "choir"
TEXT = {"type": "string"}


def tool(name: str, properties: dict[str, Any], result: dict[str, Any] | None, *, reads: bool = True) -> dict[str, Any]:
    shape = {"inputSchema": {"type": "object", "properties": properties, "required": list(properties)[:1]}}
    if result is not None:
        shape["outputSchema"] = {"type": "object", "properties": result, "required": list(result)}
    return {"name": name, "description": f"{name} of {NAME}.", "annotations": {"readOnlyHint": reads}, **shape}


TOOLS = [
    tool("say", {"text": TEXT, "times": {"type": "integer"}}, {"said": TEXT}),
    tool("keep", {"text": TEXT}, {"kept": TEXT}, reads=False),
    tool("forget", {"text": TEXT}, {"forgotten": TEXT}, reads=False),
    tool("fail", {"why": TEXT}, None),
    tool("hang", {"text": TEXT}, None, reads=False),
    tool("paint", {"text": TEXT}, None),
]
if os.environ.get("CHOIR_CHANGED"):
    TOOLS[0]["description"] = "say, and tell others."
PAINT = "\x1b[31mred\x1b]0;title\x07 \u202etxet"


def call(name: str, given: dict[str, Any]) -> dict[str, Any] | None:
    match name:
        case "say":
            return structured({"said": " ".join([given["text"]] * given.get("times", 1))})
        case "keep":
            return structured({"kept": given["text"]})
        case "forget":
            return structured({"forgotten": given["text"]})
        case "fail":
            return {"content": [{"type": "text", "text": given["why"]}], "isError": True}
        case "paint":
            return {"content": [{"type": "text", "text": PAINT}]}
        case _:
            return None


def structured(value: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": json.dumps(value)}], "structuredContent": value}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    match method:
        case "initialize":
            boundary = {"domain": NAME, "description": f"The voice {NAME}.", "uris": [f"{NAME}://**"]}
            return {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}, "resources": {}, "experimental": {"motet/boundary": boundary}},
                "serverInfo": {"name": NAME, "version": "1"},
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return call(params["name"], params.get("arguments", {}))
        case "resources/list":
            return {"resources": [{"uri": f"{NAME}://part", "name": "part"}]}
        case "resources/templates/list":
            return {"resourceTemplates": []}
        case "resources/read":
            if params["uri"].endswith("/none"):
                raise LookupError
            return {"contents": [{"uri": params["uri"], "mimeType": "text/plain", "text": f"part of {NAME}"}]}
        case _:
            raise LookupError


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        try:
            result = answer(request["method"], request.get("params", {}))
            told = {"result": result}
        except LookupError:
            result, told = {}, {"error": {"code": -32601, "message": "no such thing"}}
        if result is not None:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **told}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
