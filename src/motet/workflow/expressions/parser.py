"""Text -> tree: a Pratt parser for the subset, bounded in length, nesting and operators in a row.

The grammar is CEL's (cel-spec, doc/langdef.md). Left out on purpose: comments (a folded YAML text would let one
swallow the rest), unsigned integers, bytes and messages. People and models write other languages' words: those are
answered with CEL's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from motet.workflow.expressions.tree import (
    NAMESPACES,
    RESERVED,
    Binary,
    Call,
    Const,
    Expr,
    Ident,
    Index,
    ListOf,
    Macro,
    MapOf,
    Mistake,
    Select,
    Ternary,
    Unary,
    measure,
    text_of,
)

MAX_LENGTH = 8192
"""Characters of one expression."""
MAX_NESTING = 32
MAX_DEPTH = 110
"""Levels of one tree: a long `a + b + …` is a deep tree to its left."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+|\.\d+(?:[eE][-+]?\d+)?|0[xX][0-9a-fA-F]+|\d+)(?P<suffix>[A-Za-z_]\w*)?
   |(?P<string>[rR](?:'''.*?'''|\"\"\".*?\"\"\"|'[^'\n]*'|"[^"\n]*")
             |'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
   |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
   |`(?P<quoted>[A-Za-z0-9_./ -]+)`
   |(?P<op>\.\?|\[\?|&&|\|\||<=|>=|==|!=|[-+*/%<>!?:.,()\[\]{}])
   )""",
    re.VERBOSE | re.DOTALL,
)
_LEVELS = {
    **dict.fromkeys(("||",), 2),
    **dict.fromkeys(("&&",), 3),
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 4),
    **dict.fromkeys(("+", "-"), 5),
    **dict.fromkeys(("*", "/", "%"), 6),
}
_MACROS = {
    "map": (2, 3),
    "filter": (2,),
    "all": (2,),
    "exists": (2,),
    "exists_one": (2,),
    "existsOne": (2,),
    "sortBy": (2,),
    "optMap": (2,),
    "optFlatMap": (2,),
}
_STRANGE = {
    "===": "CEL writes `==`",
    "!==": "CEL writes `!=`",
    "=>": "a function over items is written `list.map(x, …)`",
    "**": "there is no power operator",
    "??": "CEL writes `x.?field.orValue(default)`",
    "?.": "CEL writes `.?`",
    "++": "join texts with `+`",
    "<>": "CEL writes `!=`",
    "//": "there are no comments here, and `/` already divides integers without a remainder",
    ":=": "nothing is assigned in an expression",
}
_WORDS = {
    "and": "CEL writes `&&`",
    "or": "CEL writes `||`",
    "not": "CEL writes `!x`",
    "is": "CEL writes `==`",
    "if": "CEL writes `condition ? yes : no`",
    "else": "CEL writes `condition ? yes : no`",
    "for": "CEL writes `list.map(x, …)`",
    "lambda": "CEL writes `list.map(x, …)`",
    "let": "CEL writes `cel.bind(name, value, …)`",
    "then": "CEL writes `condition ? yes : no`",
}
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "`": "`",
    "?": "?",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}


def parse(text: str) -> Expr:
    """The tree of an expression. Raises `Mistake`."""
    if len(text) > MAX_LENGTH:
        raise Mistake(f"the expression has {len(text):,} characters; the limit is {MAX_LENGTH:,}", 0)
    if not text.strip():
        raise Mistake("the expression is empty", 0, hint="write a value, such as `inputs.name`")
    tree = _Parser(_tokens(text)).whole()
    _, depth = measure(tree)
    if depth > MAX_DEPTH:
        raise Mistake(
            f"the expression is more than {MAX_DEPTH} levels deep",
            0,
            hint='put long texts together with `[…].join("")`',
        )
    return tree


@dataclass(slots=True)
class _Token:
    kind: str
    """number, string, name, quoted, op, end."""
    text: str
    at: int

    @property
    def shown(self) -> str:
        return self.text if self.kind == "end" else f"`{self.text}`"


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    end, size = 0, len(text)
    while True:
        match = _TOKEN.match(text, end)
        if match is None:
            at = size - len(text[end:].lstrip())
            if at >= size:
                break
            raise _stray(text, at)
        kind = match.lastgroup or "op"
        if kind == "suffix":
            _refuse_suffix(match["suffix"], match.start("suffix"))
        value, at = match[kind], match.start(kind)
        if kind == "op":
            _refuse_strange(text, at)
        tokens.append(_Token(kind, value, at))
        end = match.end()
    tokens.append(_Token("end", "the end", size))
    return tokens


def _refuse_strange(text: str, at: int) -> None:
    """Operators of other languages that begin like one of ours."""
    for width in (3, 2):
        written = text[at : at + width]
        # `a ?.5 : b` is CEL; `?.` is not unless a number follows
        if written in _STRANGE and not (written == "?." and text[at + 2 : at + 3].isdigit()):
            raise Mistake(f"`{written}` is not an operator", at, width=width, hint=_STRANGE[written])


def _refuse_suffix(suffix: str, at: int) -> None:
    if suffix in ("u", "U"):
        raise Mistake("unsigned numbers are not part of this subset", at, hint="leave the `u` out")
    raise Mistake(f"`{suffix}` follows a number", at, width=len(suffix), hint='durations are written `duration("30s")`')


def _stray(text: str, at: int) -> Mistake:
    char = text[at]
    for width in (3, 2):
        if hint := _STRANGE.get(text[at : at + width]):
            return Mistake(f"`{text[at : at + width]}` is not an operator", at, width=width, hint=hint)
    if char in "'\"":
        return Mistake("the string is not closed", at, hint=f"add the closing {char}")
    hints = {
        "&": "CEL writes `&&`",
        "|": "CEL writes `||`; filters such as `x | upper` are methods: `x.upperAscii()`",
        "=": "CEL writes `==`",
        "$": "an expression is already inside `${{ }}`: write the name alone",
        "“": 'use straight quotes: "',
        "”": 'use straight quotes: "',
        "\u2018": "use straight quotes: '",
        "\u2019": "use straight quotes: '",
        ";": "an expression has one value and no statements",
        "`": "strings are written \"…\" or '…'",
        "~": "there is no `~`; `x.matches(pattern)` tests a pattern",
        "@": "",
        "#": "",
    }
    return Mistake(f"unexpected `{char}`", at, hint=hints.get(char, ""))


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.nesting = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.position]

    def take(self, *operators: str) -> _Token | None:
        token = self.tokens[self.position]
        if token.kind == "op" and token.text in operators:
            self.position += 1
            return token
        return None

    def need(self, operator: str) -> _Token:
        if (token := self.take(operator)) is not None:
            return token
        raise self.unexpected(f"expected `{operator}`, found {self.next.shown}")

    def unexpected(self, message: str) -> Mistake:
        token = self.next
        before = self.tokens[self.position - 1] if self.position else None
        for word in (token, before):
            if word is not None and word.kind == "name" and word.text in _WORDS:
                return Mistake(
                    f"`{word.text}` is not a word of the language",
                    word.at,
                    width=len(word.text),
                    hint=_WORDS[word.text],
                )
        width = len(token.text) if token.kind in ("name", "number") else 1
        hint = f"items are written `x[{token.text[1:]}]`" if token.kind == "number" and token.text[0] == "." else ""
        return Mistake(message, token.at, width=width, hint=hint)

    def whole(self) -> Expr:
        tree = self.ternary()
        if self.next.kind != "end":
            raise self.unexpected(f"unexpected {self.next.shown}")
        return tree

    def deeper(self) -> None:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise Mistake(f"nested deeper than {MAX_NESTING}", self.next.at)

    def ternary(self) -> Expr:
        self.deeper()
        condition = self.binary(2)
        if (mark := self.take("?")) is not None:
            yes = self.binary(2)
            self.need(":")
            condition = Ternary(condition, yes, self.ternary(), mark.at)
        self.nesting -= 1
        return condition

    def binary(self, level: int) -> Expr:
        left = self.unary()
        while True:
            token = self.next
            if token.kind not in ("op", "name") or _LEVELS.get(token.text, 0) < level:
                return left
            self.position += 1
            left = Binary(token.text, left, self.binary(_LEVELS[token.text] + 1), token.at)

    def unary(self) -> Expr:
        if (token := self.take("!", "-")) is None:
            return self.postfix(self.primary())
        self.deeper()
        if token.text == "-" and self.next.kind == "number":
            number = self.primary(negative=True)
            self.nesting -= 1
            return self.postfix(number)
        other = self.tokens[self.position + 1].kind if self.next.text == "-" else "number"
        if self.next.kind == "op" and self.next.text in "!-" and self.next.text != token.text and other != "number":
            raise Mistake(f"`{self.next.text}` cannot follow `{token.text}`", self.next.at, hint="use parentheses")
        if token.text == "-" and self.next.text == "!" and self.next.kind == "op":
            raise Mistake("`-` takes a number", token.at)
        made = Unary(token.text, self.unary(), token.at)
        self.nesting -= 1
        return made

    def postfix(self, tree: Expr) -> Expr:
        while True:
            if (token := self.take(".", ".?")) is not None:
                tree = self.member(tree, token.text)
            elif (token := self.take("[", "[?")) is not None:
                key = self.ternary()
                self.need("]")
                tree = Index(tree, key, token.at, token.text == "[?")
            else:
                return tree

    def member(self, owner: Expr, dot: str) -> Expr:
        token = self.next
        if token.kind not in ("name", "quoted"):
            hint = f"items are written `{text_of(owner)}[{token.text}]`" if token.kind == "number" else ""
            raise Mistake(f"expected a field name, found {token.shown}", token.at, hint=hint)
        self.position += 1
        if dot == ".?":
            return Select(owner, token.text, token.at, "maybe")
        if token.kind == "quoted" or self.take("(") is None:
            return Select(owner, token.text, token.at)
        return self.called(owner, token)

    def called(self, owner: Expr, name: _Token) -> Expr:
        args = self.items(")")[0]
        if isinstance(owner, Ident) and owner.name in NAMESPACES:
            whole = f"{owner.name}.{name.text}"
            if whole == "cel.bind":
                return self.bind(args, owner.at)
            return Call(whole, None, args, owner.at)
        if name.text in _MACROS:
            return self.macro(owner, name, args)
        return Call(name.text, owner, args, name.at)

    def macro(self, owner: Expr, name: _Token, args: list[Expr]) -> Expr:
        kind = "exists_one" if name.text == "existsOne" else name.text
        first = args[0] if args else None
        if len(args) not in _MACROS[name.text] or not isinstance(first, Ident):
            raise Mistake(
                f"`.{name.text}()` takes a name for the item and what to do with it",
                name.at,
                width=len(name.text),
                hint=f"such as `{text_of(owner)}.{name.text}(x, x.size)`",
            )
        return Macro(kind, first.name, owner, args[1:], name.at, first.at)

    def bind(self, args: list[Expr], at: int) -> Expr:
        if len(args) != 3 or not isinstance(args[0], Ident):
            raise Mistake("`cel.bind` takes a name, its value and an expression", at, width=8)
        return Macro("bind", args[0].name, args[1], [args[2]], at, args[0].at)

    def items(self, close: str) -> tuple[list[Expr], frozenset[int]]:
        made: list[Expr] = []
        optional: set[int] = set()
        while self.take(close) is None:
            if close == "]" and self.take("?"):
                optional.add(len(made))
            made.append(self.ternary())
            if self.take(",") is None:
                self.need(close)
                break
        return made, frozenset(optional)

    def primary(self, *, negative: bool = False) -> Expr:
        token = self.next
        self.position += 1
        match token.kind, token.text:
            case "number", text:
                return Const(_number(text, token.at, negative), token.at)
            case "string", text:
                return Const(_unquoted(text, token.at), token.at)
            case "name", _:
                return self.named(token)
            case "op", "(":
                tree = self.ternary()
                self.need(")")
                return tree
            case "op", "[" | "[?" as bracket:
                if bracket == "[?":  # one token with an index in mind: here it opens a list
                    self.tokens[self.position - 1] = _Token("op", "?", token.at + 1)
                    self.position -= 1
                items, optional = self.items("]")
                return ListOf(items, token.at, optional)
            case "op", "{":
                return self.map(token.at)
            case _:
                self.position -= 1
                raise self.unexpected(f"expected a value, found {token.shown}")

    def map(self, at: int) -> Expr:
        entries: list[tuple[Expr, Expr]] = []
        optional: set[int] = set()
        while self.take("}") is None:
            if self.take("?"):
                optional.add(len(entries))
            key = self.ternary()
            self.need(":")
            entries.append((key, self.ternary()))
            if self.take(",") is None:
                self.need("}")
                break
        return MapOf(entries, at, frozenset(optional))

    def named(self, token: _Token) -> Expr:
        name, at = token.text, token.at
        if name in ("true", "false", "null"):
            return Const({"true": True, "false": False, "null": None}[name], at)
        if name in ("not", "lambda") and self.next.kind in ("name", "number", "string"):
            raise Mistake(f"`{name}` is not a word of the language", at, width=len(name), hint=_WORDS[name])
        if name in RESERVED or name == "in":
            raise Mistake(f"`{name}` is reserved and cannot be a name", at, width=len(name), hint=_WORDS.get(name, ""))
        if self.take("(") is None:
            return Ident(name, at)
        args = self.items(")")[0]
        return self.has(args, at) if name == "has" else Call(name, None, args, at)

    def has(self, args: list[Expr], at: int) -> Expr:
        if len(args) == 1 and isinstance(args[0], Select) and args[0].mode == "get":
            return Select(args[0].operand, args[0].field, args[0].at, "has")
        hint = "such as `has(release.body)`"
        if len(args) == 1 and isinstance(args[0], Index):
            hint = f"for an entry write `{text_of(args[0].key)} in {text_of(args[0].operand)}`"
        raise Mistake("`has()` takes a field", at, width=3, hint=hint)


def _number(text: str, at: int, negative: bool) -> int | float:  # noqa: FBT001 - private, one caller
    sign = -1 if negative else 1
    if text[:2] in ("0x", "0X"):
        value: int | float = sign * int(text, 16)
    elif any(mark in text for mark in ".eE"):
        return sign * float(text)
    else:
        if len(text) > 19:
            raise Mistake("the integer does not fit 64 bits", at, width=len(text))
        value = sign * int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise Mistake("the integer does not fit 64 bits", at, width=len(text))
    return value


def _unquoted(text: str, at: int) -> str:
    raw = text[0] in "rR"
    body = text[1:] if raw else text
    body = body[3:-3] if body[:3] in ("'''", '"""') and len(body) >= 6 else body[1:-1]
    return body if raw or "\\" not in body else _ESCAPE.sub(lambda found: _escaped(found, at), body)


_ESCAPE = re.compile(
    r"\\(x[0-9a-fA-F]{2}|X[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.|$)", re.DOTALL
)


def _escaped(found: re.Match[str], at: int) -> str:
    code = found[1]
    if code in _ESCAPES:
        return _ESCAPES[code]
    if len(code) > 1:
        point = int(code[1:], 16) if code[0] in "xXuU" else int(code, 8)
        if point <= 0x10FFFF and not 0xD800 <= point < 0xE000:
            return chr(point)
    raise Mistake(
        f"unknown escape `\\{code}` in a string", at, hint=r"write `\\` for a backslash, or a raw string: r'\d+'"
    )
