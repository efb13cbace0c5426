"""A server for runs that are killed: `deploy_server.py FOLDER NAME`, an MCP server of both eras on stdio.

`deploy`, `rollback` and `move` change something: one fsynced line in FOLDER/effects. `check` only reads, and answers
once FOLDER/gate is there. `ask` wants to know a region first. While FOLDER/NAME.down is there, it cannot be started.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "nasty"))
base: Any = __import__("_base")

FOLDER, NAME = Path(sys.argv[1]), sys.argv[2]
REGION = {"type": "object", "properties": {"region": {"type": "string", "enum": ["eu", "us"]}}, "required": ["region"]}


class Deploy(base.Server):
    name = NAME

    def tools(self) -> list[Any]:
        writes = [base.tool(name, read_only=False) for name in ("deploy", "rollback", "move", "ask")]
        return [*writes, base.tool("check", read_only=True)]

    def call(self, name: str, args: dict[str, Any], params: dict[str, Any], rid: Any) -> Any:
        if name == "check":
            (FOLDER / "checking").touch()
            while not (FOLDER / "gate").exists():
                time.sleep(0.01)  # noqa: TID251 - a process of its own, without an event loop
        elif name == "ask" and "inputResponses" not in params:
            question = {"mode": "form", "message": "Which region?", "requestedSchema": REGION}
            asked = {"where": {"method": "elicitation/create", "params": question}}
            return {"resultType": "input_required", "requestState": "opaque", "inputRequests": asked}
        else:
            self.effect(name)
        return base.text(json.dumps({**args, "state": params.get("requestState"), **self.said(params)}))

    def said(self, params: dict[str, Any]) -> dict[str, Any]:
        return dict(params.get("inputResponses", {}).get("where", {}).get("content") or {})

    def effect(self, what: str) -> None:
        handle = os.open(FOLDER / "effects", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(handle, f"{what}\n".encode())
        os.fsync(handle)
        os.close(handle)


if __name__ == "__main__":
    if not (FOLDER / f"{NAME}.down").exists():
        Deploy().run()
