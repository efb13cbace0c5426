"""Workflow text -> nodes that remember where they stand.

YAML 1.2 core schema on libyaml's event stream: `no` is text, `0o17` is 15, `1_000` and `2026-01-02` are text. What
a workflow has no use for (duplicate keys, tags, anchors, second documents) is refused with its place, and so is
what would cost much: more than 8 MiB, or nesting deeper than 64. A file that is JSON is read by JSON's own rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import yaml

from motet.calls import Json
from motet.workflow.problems import Problem, Source

MAX_BYTES = 8 << 20
MAX_DEPTH = 64

Plain: TypeAlias = bool | int | float | str | None
Style = Literal["plain", "single", "double", "literal", "folded", "json", ""]
_STYLES: dict[object, Style] = {None: "plain", "": "plain", "'": "single", '"': "double", "|": "literal", ">": "folded"}


@dataclass(slots=True)
class Node:
    """One value with its place; `start` and `end` are offsets into the file, in characters."""

    value: Plain | list[Node] | dict[str, tuple[Node, Node]]
    """A scalar, a list of nodes, or each key's own node and its value's."""
    start: int
    end: int
    style: Style = ""

    def plain(self) -> Json:
        """The bare JSON."""
        match self.value:
            case dict(fields):
                return {name: one.plain() for name, (_, one) in fields.items()}
            case list(items):
                return [item.plain() for item in items]
            case scalar:
                return scalar


class Unreadable(Exception):
    """The text is no document; `problem` says where and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read(source: Source) -> Node:
    """The one document in a text. Raises `Unreadable`."""
    if len(source.text) > MAX_BYTES or (len(source.text) > MAX_BYTES // 4 and len(source.text.encode()) > MAX_BYTES):
        raise Unreadable(source.problem(f"the file is larger than {MAX_BYTES >> 20} MiB", 0, 0, code="size"))
    if source.path.endswith(".json") or source.text.lstrip()[:1] == "{":
        try:
            return _Json(source).document()
        except Unreadable:
            if source.path.endswith(".json"):
                raise
    return _Yaml(source).document()


# -- YAML ------------------------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"[-+]?[0-9]+\Z", re.ASCII)
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z", re.ASCII)
_WORDS: dict[str, Plain] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMERIC = frozenset("0123456789+-.")


def core(text: str) -> Plain:
    """A plain scalar by the YAML 1.2 core schema. Infinity and NaN are no JSON, and stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMERIC and len(text) <= 300:
        if _INTEGER.match(text):
            return int(text)
        if _BASED.match(text):
            return int(text, 0)
        if _FLOAT.match(text) and abs(number := float(text)) != float("inf"):
            return number
    return text


_PARSE: Any = getattr(yaml, "parse")  # noqa: B009 - its types are unknown
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Yaml:
    def __init__(self, source: Source) -> None:
        self.source = source

    def wrong(self, message: str, start: int, end: int, hint: str = "", code: str = "yaml") -> Unreadable:
        return Unreadable(self.source.problem(message, start, end, hint=hint, code=code))

    def document(self) -> Node:
        try:
            events: Iterator[yaml.Event] = _PARSE(self.source.text, Loader=_LOADER)
            return self.whole(events)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.broken(error, mark.index if mark else 0) from None
        except yaml.reader.ReaderError as error:
            at = self.source.text.find(chr(error.character)) if isinstance(error.character, int) else 0
            raise self.wrong(f"not valid YAML: {error.reason}", max(at, 0), max(at, 0) + 1) from None

    def whole(self, events: Iterator[yaml.Event]) -> Node:
        next(events)  # the stream's start
        if not isinstance(next(events), yaml.DocumentStartEvent):
            raise self.wrong("the file is empty", 0, 0, "a workflow begins with `motet: 1`")
        node = self.node(next(events), events, 0)
        next(events)  # the document's end
        extra = next(events)
        if not isinstance(extra, yaml.StreamEndEvent):
            raise self.wrong("a workflow file holds one document", extra.start_mark.index, extra.start_mark.index + 3)
        return node

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self.refuse_anchor(start, end)
        if (tag := getattr(event, "tag", None)) is not None and tag != "!":
            raise self.tagged(start)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, start, end)
        if depth >= MAX_DEPTH:
            raise self.wrong(f"nested deeper than {MAX_DEPTH} levels", start, start + 1)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(events), yaml.SequenceEndEvent):
                items.append(self.node(event, events, depth + 1))
            return Node(items, start, max((item.end for item in items), default=event.end_mark.index))
        return self.mapping(events, start, depth)

    def mapping(self, events: Iterator[yaml.Event], start: int, depth: int) -> Node:
        pairs: dict[str, tuple[Node, Node]] = {}
        last = 0
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.node(event, events, depth + 1)
            if not isinstance(key.value, str):
                if isinstance(key.value, dict) and self.source.text.startswith("{", key.start):
                    raise self.unquoted(
                        key.start - 2 if self.source.text[max(0, key.start - 2) : key.start] == "${" else key.start
                    )
                shown = "text" if key.value is None or isinstance(key.value, dict | list) else f'text: "{key.plain()}"'
                raise self.wrong(f"a key must be {shown}", key.start, key.end, "quote it", "form")
            if key.value in pairs:
                first = self.source.place(pairs[key.value][0].start, 0)
                raise self.wrong(
                    f"the key `{key.value}` comes twice",
                    key.start,
                    key.end,
                    f"the first is in line {first.line}",
                    "key",
                )
            value = self.node(next(events), events, depth + 1)
            pairs[key.value] = key, value
            last = value.end
        return Node(pairs, start, last or event.end_mark.index)

    def scalar(self, event: yaml.ScalarEvent, start: int, end: int) -> Node:
        style = _STYLES.get(event.style, "plain")
        if style != "plain":
            return Node(event.value, start, end, style)
        value = core(event.value)
        if event.value == "":
            self.refuse_comment(start)
        return Node(value, start, end, "plain")

    # -- the mistakes people make, each with its own words

    def refuse_anchor(self, start: int, end: int) -> None:
        char = self.source.text[start : start + 1]
        hint = f"a text that begins with `{char}` wants quotes; to share a value use a `set` step"
        raise self.wrong("anchors and aliases are not allowed", start, end, hint)

    def tagged(self, start: int) -> Unreadable:
        text = self.source.text
        end = start
        while end < len(text) and text[end] not in " \n,]}":
            end += 1
        written = text[start:end]
        hint = f'for an expression, quote it: "{written.rstrip()} …"' if written[:1] == "!" else ""
        return self.wrong(f"`{written}` reads as a YAML tag: a value cannot begin with `!` unquoted", start, end, hint)

    def refuse_comment(self, start: int) -> None:
        """`channel: #releases` is null and a comment, which nobody means."""
        text = self.source.text
        at = start
        while at < len(text) and text[at] in " \t":
            at += 1
        if text[at : at + 1] != "#" or not re.match(r"#\w", text[at : at + 2]):
            return
        end = text.find("\n", at)
        written = text[at : end if end >= 0 else len(text)].rstrip()
        word = re.split(r"[\s,}\]]", written)[0]
        raise self.wrong(f"`{word}` begins a comment, so the value is null", at, at + len(word), f'quote it: "{word}"')

    def unquoted(self, at: int) -> Unreadable:
        end = self.source.text.find("}}", at)
        end = at + 3 if end < 0 or "\n" in self.source.text[at:end] else end + 2
        written = self.source.text[at:end]
        quote = "'" if '"' in written else '"'
        return self.wrong(
            "an expression inside `{…}` or `[…]` wants quotes", at, end, f"write {quote}{written}{quote}", "quote"
        )

    def broken(self, error: yaml.MarkedYAMLError, at: int) -> Unreadable:
        """What libyaml complains of, or, when an unquoted expression stands just before it, that."""
        text = self.source.text
        first = text.rfind("\n", 0, at) + 1
        line_end = text.find("\n", at)
        line = text[first : line_end if line_end >= 0 else len(text)]
        begin = line.rfind("${{", 0, at - first + 1)
        if begin < 0 and (begin := line.find("${{")) < 0:
            begin = -1
        if begin >= 0 and (before := line[:begin].rstrip()[-1:]) not in ("'", '"'):
            if before in ("{", "[", ",") or re.search(r"[\[{][^\]}]*$", line[:begin]):
                return self.unquoted(first + begin)
            end = line.find("}}", begin)
            written = line[begin : end + 2 if end >= 0 else len(line)]
            quote = "'" if '"' in written else '"'
            hint = f"write {quote}{written}{quote}"
            return self.wrong(
                "an expression that holds `: ` or ` #` wants quotes",
                first + begin,
                first + begin + len(written),
                hint,
                "quote",
            )
        why = ", ".join(part for part in (error.problem, error.context) if part)
        hint = ""
        char = text[at : at + 1]
        if char == "\t":
            hint = "indent with spaces: YAML takes no tabs"
        elif char and char in "@`%":
            hint = f"a text that begins with `{char}` wants quotes"
        return self.wrong(f"not valid YAML: {why}", at, at + 1, hint)


# -- JSON ------------------------------------------------------------------------------------------------------------

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
_JSON_WORDS: dict[str, Plain] = {"true": True, "false": False, "null": None}


_DECODE = json.JSONDecoder()


def _string(text: str, at: int) -> tuple[str, int]:
    """The JSON string that begins at `at`, and where it ends. Raises JSONDecodeError."""
    return cast("tuple[str, int]", _DECODE.raw_decode(text, at))


class _Json:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text

    def wrong(self, message: str, at: int, hint: str = "", code: str = "json") -> Unreadable:
        return Unreadable(self.source.problem(message, at, at + 1, hint=hint, code=code))

    def skip(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        return found.end() if found else at

    def document(self) -> Node:
        node = self.node(self.skip(0), 0)
        end = self.skip(node.end)
        if end < len(self.text):
            raise self.wrong("not valid JSON: something follows the document", end)
        return node

    def node(self, at: int, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.wrong(f"nested deeper than {MAX_DEPTH} levels", at)
        char = self.text[at : at + 1]
        if char == "{":
            return self.mapping(at, depth)
        if char == "[":
            return self.sequence(at, depth)
        if char == '"':
            return self.string(at)
        for word, value in _JSON_WORDS.items():
            if self.text.startswith(word, at):
                return Node(value, at, at + len(word), "json")
        if (found := _NUMBER.match(self.text, at)) is not None and found.end() - at <= 300:
            whole = found[1] is None and found[2] is None
            return Node(int(found[0]) if whole else float(found[0]), at, found.end(), "json")
        raise self.wrong("not valid JSON: a value is expected", at)

    def string(self, at: int) -> Node:
        try:
            value, end = _string(self.text, at)
        except json.JSONDecodeError as error:
            raise self.wrong(f"not valid JSON: {error.msg}", error.pos) from None
        return Node(value, at, end, "json")

    def sequence(self, at: int, depth: int) -> Node:
        items: list[Node] = []
        here = self.skip(at + 1)
        while self.text[here : here + 1] != "]":
            items.append(self.node(here, depth + 1))
            here = self.after(items[-1].end, "]")
        return Node(items, at, here + 1)

    def mapping(self, at: int, depth: int) -> Node:
        pairs: dict[str, tuple[Node, Node]] = {}
        here = self.skip(at + 1)
        while self.text[here : here + 1] != "}":
            if self.text[here : here + 1] != '"':
                raise self.wrong("not valid JSON: a key in double quotes is expected", here)
            key = self.string(here)
            if (name := str(key.value)) in pairs:
                first = self.source.place(pairs[name][0].start, 0)
                raise self.wrong(f"the key `{name}` comes twice", here, f"the first is in line {first.line}", "key")
            colon = self.skip(key.end)
            if self.text[colon : colon + 1] != ":":
                raise self.wrong("not valid JSON: `:` is expected", colon)
            value = self.node(self.skip(colon + 1), depth + 1)
            pairs[name] = key, value
            here = self.after(value.end, "}")
        return Node(pairs, at, here + 1)

    def after(self, end: int, close: str) -> int:
        """Where the next item begins, or the closing bracket."""
        here = self.skip(end)
        if self.text[here : here + 1] == close:
            return here
        if self.text[here : here + 1] != ",":
            raise self.wrong(f"not valid JSON: `,` or `{close}` is expected", here)
        following = self.skip(here + 1)
        if self.text[following : following + 1] == close:
            raise self.wrong("not valid JSON: a comma before the closing bracket", here)
        return following


# -- offsets ---------------------------------------------------------------------------------------------------------


def offsets(node: Node, source: Source) -> list[int]:
    """For each character of a text node's value, and for its end, the offset in the file where it is written.

    Quoted text is followed escape by escape and fold by fold; in block text white space is matched run by run.
    """
    raw = source.text[node.start : node.end]
    value = cast("str", node.value)
    match node.style:
        case "literal" | "folded":
            found = _block_offsets(value, raw)
        case _:
            found = _flow_offsets(raw, node.style)
    if len(found) != len(value):
        return [node.start] * (len(value) + 1)
    ends = found[-1] + 1 if found else 0
    return [node.start + at for at in (*found, ends)]


def _flow_offsets(raw: str, style: Style) -> list[int]:
    escapes = style in ("double", "json")
    at, end = (0, len(raw)) if style == "plain" else (1, len(raw) - 1)
    found: list[int] = []
    while at < end:
        char = raw[at]
        if escapes and char == "\\":
            at = _escape_offsets(raw, at, found, joins=style == "json")
        elif style == "single" and char == "'":
            found.append(at)
            at += 2
        elif char in " \t\n\r" and style != "json":
            at = _fold_offsets(raw, at, end, found)
        else:
            found.append(at)
            at += 1
    return found


def _escape_offsets(raw: str, at: int, found: list[int], *, joins: bool) -> int:
    kind = raw[at + 1 : at + 2]
    if kind in ("\n", "\r"):
        run = re.compile(r"\s*").match(raw, at + 1)
        return run.end() if run else at + 2
    length = {"x": 4, "u": 6, "U": 10}.get(kind, 2)
    found.append(at)
    if joins and re.match(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]", raw[at : at + 10]):
        return at + 12
    return at + length


def _fold_offsets(raw: str, at: int, end: int, found: list[int]) -> int:
    stop = at
    while stop < end and raw[stop] in " \t\n\r":
        stop += 1
    breaks = raw.count("\n", at, stop)
    if not breaks:
        found.extend(range(at, stop))
    else:
        found.extend([at] * max(1, breaks - 1))
    return stop


_WHITE = re.compile(r"\s*")


def _block_offsets(value: str, raw: str) -> list[int]:
    header = raw.find("\n") + 1
    at, here = header, 0
    found: list[int] = []
    while here < len(value):
        if value[here].isspace():
            run, written = _end(value, here), _end(raw, at)
            same = raw[at:written] == value[here:run]
            found.extend(
                range(at, written) if same else [min(at + step, max(at, written - 1)) for step in range(run - here)]
            )
            here, at = run, written
        else:
            if at < len(raw) and raw[at].isspace():
                at = _end(raw, at)
            found.append(at)
            here, at = here + 1, at + 1
    return found


def _end(text: str, at: int) -> int:
    found = _WHITE.match(text, at)
    return found.end() if found else at
