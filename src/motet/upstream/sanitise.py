"""Text from servers, made harmless: the one door between what a server wrote and what people, logs and terminals see.

A server may put terminal escapes (colours, cursor moves, OSC 52 clipboard writes), control characters, bidirectional
overrides, zero-width and tag characters into any text. Whatever goes into an error, an event, a log line or a view
passes `clean` first. The answers themselves are data and stay as they came; whoever shows them cleans them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from motet.calls import Json

MESSAGE_LIMIT = 2000
"""Characters of server text that an error message or an event may hold."""

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b\x9c]{0,8192}(?:\x07|\x1b\\|\x9c)?"  # OSC: titles, links, clipboard
    r"|\x1b[P^_X][^\x1b\x9c]{0,8192}(?:\x1b\\|\x9c)?"  # DCS, PM, APC, SOS
    r"|(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]?"  # CSI: colours, cursor moves
    r"|\x1b[ -/]{0,4}[0-~]?"  # the two-character ones
    r"|\x9d[^\x07\x9c]{0,8192}[\x07\x9c]?"  # C1 OSC
)
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, C1 included; tab and newline stay
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners, fillers
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f"  # zero width, line separators, bidi
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"  # fillers, variation selectors, byte order mark
    "\ud800-\udfff"  # lone surrogates
    "\U000e0000-\U000e0fff\U0001d173-\U0001d17a]"  # tags, invisible music
)
HIDDEN = "[hidden]"
_NAMED_CREDENTIAL = re.compile(
    r"(?i)((?:token|secret|password|passwd|api[_-]?key|authorization)[\"']?\s{0,3}[=:]\s{0,3}[\"']?(?:bearer\s{1,3})?)"
    r"[^\s\"'&,;)]{4,}"
)
_SHAPED_CREDENTIAL = re.compile(
    r"\b(?:gh[pousr]_|github_pat_|xox[a-z]-|glpat-|sk-|AKIA)[A-Za-z0-9_-]{8,}"
    r"|(?<=://)[^\s/@:]{1,200}:[^\s/@]{1,200}(?=@)"
    r"|(?i:\bbearer\s{1,3})[A-Za-z0-9._~+/=-]{8,}"
)


def clean(text: object, *, secrets: tuple[str, ...] = (), limit: int = MESSAGE_LIMIT) -> str:
    """`text` fit to be shown: no escapes, controls or invisible characters, no `secrets`, at most `limit` characters.

    Newlines and tabs stay. A cut text ends in an ellipsis. Takes any value; what is no string is shown by `str`.
    """
    shown = text if isinstance(text, str) else str(text)
    if len(shown) > 4 * limit + 8192:
        shown = shown[: 4 * limit + 8192]
    for secret in secrets:
        if secret:
            shown = shown.replace(secret, HIDDEN)
    if not (shown.isascii() and shown.isprintable()):
        shown = _HIDDEN.sub("", _ESCAPES.sub("", shown.replace("\r\n", "\n")))
        for secret in secrets:  # a secret that was laced with invisible characters
            if secret:
                shown = shown.replace(secret, HIDDEN)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def without_credentials(text: str) -> str:
    """The text with what looks like a credential hidden: named as one (`token=…`), or in a well-known shape.

    For words that a server says of itself (its last lines of stderr), where secrets turn up that nobody configured.
    """
    return _SHAPED_CREDENTIAL.sub(HIDDEN, _NAMED_CREDENTIAL.sub(rf"\1{HIDDEN}", text))


def clean_line(text: object, *, secrets: tuple[str, ...] = (), limit: int = 200) -> str:
    """Like `clean`, on one line."""
    return " ".join(clean(text, secrets=secrets, limit=limit).split())


def clean_tree(value: Json, *, secrets: tuple[str, ...] = (), limit: int = MESSAGE_LIMIT, depth: int = 16) -> Json:
    """A JSON value with every text in it, keys too, made harmless; what lies deeper than `depth` is cut off."""
    if isinstance(value, str):
        return clean(value, secrets=secrets, limit=limit)
    if isinstance(value, Mapping):
        if depth == 0:
            return {}
        items = cast("Mapping[str, Json]", value).items()
        return {clean_line(key): clean_tree(item, secrets=secrets, limit=limit, depth=depth - 1) for key, item in items}
    if isinstance(value, list):
        parts = cast("list[Json]", value)
        return [clean_tree(item, secrets=secrets, limit=limit, depth=depth - 1) for item in parts] if depth else []
    return value
