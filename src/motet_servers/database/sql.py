"""Just enough SQL: where literals and comments are, `:name` placeholders, the first word. It decides no safety alone.

The read-only locks are the database's own (role, read-only transaction, single statement; SQLite: read-only file,
`query_only`, authorizer). What is refused here is what would step out of a transaction we opened, with a message that
says so.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from motet_servers.kit.errors import InvalidInput, Refused

LONGEST = 100_000

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* )
    | (?P<block> /\* )
    | (?P<string> [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' )
    | (?P<name> "(?:[^"]|"")*" | `[^`]*` )
    | (?P<dollar> \$(?P<tag>[A-Za-z_][A-Za-z0-9_]*)?\$ )
    | (?P<cast> :: | := )
    | (?P<bind> :(?P<key>[A-Za-z_][A-Za-z0-9_]*) )
    | (?P<word> [A-Za-z_][A-Za-z0-9_$]* )
    | (?P<semicolon> ; )
    | (?P<space> \s+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)

Token = Literal["comment", "string", "name", "cast", "bind", "word", "semicolon", "space", "other"]

WRITES = frozenset(
    {"insert", "update", "delete", "merge", "replace", "with", "select", "values", "call"}
    | {"create", "alter", "drop", "truncate", "comment", "refresh", "reindex", "analyze"}
)
"""First words `execute` takes. The rest controls transactions or sessions, or reaches outside the database."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, without a trailing semicolon."""

    text: str
    word: str
    """Its first word, lower case."""
    names: tuple[str, ...]
    """Its placeholders, in order of first use."""


def tokens(text: str) -> Generator[tuple[Token, str]]:
    """The text cut into tokens that together are the text."""
    position = 0
    while match := _TOKEN.match(text, position):
        kind = match.lastgroup
        position = match.end()
        if kind == "block":
            position = _block_end(text, match.start())
            yield "comment", text[match.start() : position]
        elif kind in {"dollar", "tag"}:
            end = text.find(match.group("dollar"), position)
            position = len(text) if end < 0 else end + len(match.group("dollar"))
            yield "string", text[match.start() : position]
        elif kind in {"bind", "key"}:
            yield "bind", match.group()
        else:
            yield kind, match.group()  # pyright: ignore[reportReturnType] - the groups are the tokens' names


def _block_end(text: str, start: int) -> int:
    """The end of a block comment; PostgreSQL nests them, and reading too much as comment hides nothing from it."""
    end = text.find("*/", start + 2)
    return len(text) if end < 0 else end + 2


def statement(text: str) -> Statement:
    """One statement; InvalidInput when there is none or more than one."""
    if len(text) > LONGEST:
        raise InvalidInput(f"sql is over {LONGEST:,} characters.")
    if "\0" in text:
        raise InvalidInput("sql contains a NUL character.")
    parts = list(tokens(text))
    while parts and parts[-1][0] in {"space", "comment", "semicolon"}:
        parts.pop()
    if any(kind == "semicolon" for kind, _ in parts):
        raise Refused("one statement only; use execute_batch for several, they run in one transaction.")
    word = next((part.lower() for kind, part in parts if kind not in {"space", "comment"} and part != "("), "")
    if not word:
        raise InvalidInput("sql is empty.")
    names = dict.fromkeys(part[1:] for kind, part in parts if kind == "bind")
    return Statement("".join(part for _, part in parts), word, tuple(names))


def positional(wanted: Statement) -> str:
    """The statement with `$1`, `$2`, … in place of its named placeholders."""
    numbers = {f":{name}": f"${number}" for number, name in enumerate(wanted.names, start=1)}
    return "".join(numbers[part] if kind == "bind" else part for kind, part in tokens(wanted.text))


def check_parameters(wanted: Statement, given: dict[str, object]) -> None:
    """InvalidInput when a placeholder has no value or a value no placeholder."""
    missing = [name for name in wanted.names if name not in given]
    extra = [name for name in given if name not in wanted.names]
    if missing:
        raise InvalidInput(f"parameters lacks {', '.join(missing)} (placeholders are written :name).")
    if extra:
        raise InvalidInput(f"parameters has {', '.join(extra)}, which sql does not use (as :name).")


def writable(text: str) -> Statement:
    """A statement for `execute`; Refused when it would leave the transaction or the database."""
    wanted = statement(text)
    if wanted.word not in WRITES:
        raise Refused(
            f"{wanted.word.upper()} is not for execute: it takes data and schema statements "
            "(INSERT, UPDATE, DELETE, CREATE, ALTER, …), each call being one transaction of its own."
        )
    return wanted
