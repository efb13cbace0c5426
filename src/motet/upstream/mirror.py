"""What the 2026-07-28 HTTP wire mirrors from requests into headers, for proxies that route without reading bodies."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TypeAlias, cast

from motet.calls import Json

HeaderMap: TypeAlias = Mapping[tuple[str, ...], str]
"""Path of an argument -> the token its tool's `x-mcp-header` names."""

_SAFE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_NAMED = frozenset({"tools/call", "prompts/get", "resources/read"})


def encode_header(value: str) -> str:
    """`value` as a header field: as it is when it survives the way, else in the base64 form of the specification."""
    if (not value or _SAFE.fullmatch(value)) and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{base64.b64encode(value.encode('utf-8', 'replace')).decode('ascii')}?="


def call_headers(method: str, name: str, arguments: Mapping[str, Json], mirrored: HeaderMap | None) -> dict[str, str]:
    """The headers of one request: method, name, and the arguments its tool wants mirrored."""
    headers = {"mcp-method": method}
    if method in _NAMED:
        headers["mcp-name"] = encode_header(name)
    if mirrored and method == "tools/call":
        for path, token in mirrored.items():
            text = _scalar(_at(arguments, path))
            if text is not None:
                headers[f"mcp-param-{token}"] = encode_header(text)
    return headers


def _at(arguments: Json, path: tuple[str, ...]) -> Json:
    for key in path:
        if not isinstance(arguments, Mapping):
            return None
        arguments = cast("Mapping[str, Json]", arguments).get(key)
    return arguments


def _scalar(value: Json) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    try:
        return str(value)
    except ValueError:  # an integer with more digits than Python prints
        return None
