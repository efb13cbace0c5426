"""Durations, sizes and variables, as people write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|KiB|MB|MiB|GB|GiB)?")
_BYTES = {
    None: 1,
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "KiB": 1 << 10,
    "MB": 10**6,
    "MiB": 1 << 20,
    "GB": 10**9,
    "GiB": 1 << 30,
}
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def duration(value: object) -> float:
    """Seconds from a number, or from text such as `"500ms"`, `"30s"`, `"1h30m"`, `"1d"`. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and value.strip() and not _DURATION.sub("", value).strip():
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(value))
    else:
        raise ValueError(f"{value!r} is no duration: write seconds, or text such as '500ms', '30s', '1h30m', '1d'")
    if not 0 <= seconds < 1e10:
        raise ValueError(f"{value!r} is out of range for a duration")
    return seconds


def size(value: object) -> int:
    """Bytes from a number, or from text such as `"64KiB"` or `"16MiB"`. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
        return int(float(found[1]) * _BYTES[found[2]])
    raise ValueError(f"{value!r} is no size: write bytes, or text such as '64KiB', '16MiB'")


def expand(text: str, variables: Mapping[str, str], *, folder: Path) -> str:
    """Fill `${NAME}`, `${NAME:-default}`, `${env:NAME}`, `${userHome}` and `${workspaceFolder}`.

    Raises LookupError naming a variable that is not set, or that only another host can ask for.
    """

    def fill(found: re.Match[str]) -> str:
        inner = found[1]
        if inner == "userHome":
            return str(Path.home())
        if inner in ("workspaceFolder", "workspaceRoot"):
            return str(folder)
        if inner.startswith("input:"):
            raise LookupError(f"${{{inner}}} is a question that another host asks its user")
        name, has_default, default = inner.removeprefix("env:").partition(":-")
        value = variables.get(name)
        if value is None or (has_default and not value):
            if has_default:
                return default
            raise LookupError(f"the variable {name} is not set")
        return value

    return _VARIABLE.sub(fill, text)


def secret(text: str, variables: Mapping[str, str], *, folder: Path) -> str:
    """The value a secret reference stands for: `env:NAME` or `file:PATH` (relative to the configuration).

    Raises LookupError saying what is missing; never repeats `text`, which may be the secret itself.
    """
    kind, _, where = text.partition(":")
    if kind == "env" and where:
        if not (value := variables.get(where, "")):
            raise LookupError(f"the variable {where} is not set")
        return value
    if kind == "file" and where:
        path = folder / where
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as why:
            raise LookupError(f"cannot read {path}: {type(why).__name__}") from None
    raise LookupError("a secret is written as 'env:NAME' or 'file:PATH', never as the value itself")


def line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """The line (from 1) on which the last key of `path` stands in TOML or JSON text; None if it cannot be told."""
    at, line = 0, None
    for key in path:
        if isinstance(key, int):
            continue
        found = _key(key).search(text, at)
        if found is None:
            break
        at = found.start("key")
        line = text.count("\n", 0, at) + 1
    return line


def _key(name: str) -> re.Pattern[str]:
    quoted = re.escape(name)
    return re.compile(rf'(?P<key>"{quoted}"\s*[:=\].]|(?<![\w"-]){quoted}(?=\s*=|\.|\s*\]))')
