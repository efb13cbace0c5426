"""A stdio server that answers well `CLEAN` times and then mangles what it says, by the dice of `SEED`."""

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DICE = random.Random(int(os.environ["SEED"]))
RESULTS: dict[str, Any] = {
    "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"},
    "tools/list": {"tools": [{"name": "t", "inputSchema": {"type": "object"}}], "resultType": "complete"},
    "tools/call": {"content": [{"type": "text", "text": "done"}], "resultType": "complete"},
}


def somewhere(text: bytes) -> int:
    return DICE.randrange(len(text))


def other_byte(text: bytes) -> bytes:
    at = somewhere(text)
    return text[:at] + bytes([DICE.randrange(256)]) + text[at + 1 :]


def split(text: bytes) -> bytes:
    at = somewhere(text)
    return text[:at] + b"\n" + text[at:]


MANGLES: list[Callable[[bytes], bytes]] = [
    lambda text: text,
    lambda text: text,
    lambda text: text,
    other_byte,
    split,
    lambda text: text[: somewhere(text)],
    lambda text: text + text,
    lambda text: bytes(DICE.randrange(100)) + text,
    lambda text: DICE.randbytes(2000) + b"\n" + text,
    lambda text: text.replace(b'"result"', b'"error"'),
    lambda text: text.replace(b'"id": ', b'"id": "'),
    lambda text: text.replace(b"content", b"contents"),
]


def main() -> None:
    clean = int(os.environ["CLEAN"])
    for number, line in enumerate(sys.stdin):
        message = json.loads(line)
        if "id" not in message:
            continue
        if message["method"] == "tools/call":
            with Path(os.environ["NASTY_EFFECTS"]).open("a") as effects:
                effects.write(f"{message['params']['arguments']['n']}\n")
        said = {"result": RESULTS.get(message["method"], {})}
        text = json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}).encode()
        if number >= clean:
            text = DICE.choice(MANGLES)(text)
            if DICE.random() < 0.03:
                os._exit(3)
        os.write(1, text + b"\n")


main()
