"""The part of JQL the playground understands: comparisons joined by AND, then ORDER BY.

`field = value`, `!=`, `~`, `in (…)`, `not in (…)`, `is empty`, `is not empty`, `>=`, `<=`, `>`, `<`, and
`sprint in openSprints()`. Anything else is refused, as Jira would, rather than answered wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from motet_servers.playground.http import Refused

Fields = Mapping[str, Sequence[str]]
"""A record's searchable fields, lower-case names; text values as they are."""

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<op>!=|>=|<=|=|~|>|<|\(|\)|,)|(?P<word>[^\s"'=!<>~(),]+))"""
)


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: every test must hold; ordered by the named fields."""

    tests: tuple[Callable[[Fields], bool], ...]
    order: tuple[tuple[str, bool], ...]
    """Field and whether it descends."""

    def matches(self, fields: Fields) -> bool:
        return all(test(fields) for test in self.tests)


def parse(jql: str) -> Query:
    """The query `jql` says.

    Raises Refused: 400, it is outside this subset.
    """
    tokens = _tokens(jql)
    tests: list[Callable[[Fields], bool]] = []
    while tokens and tokens[0].lower() != "order":
        if tests and tokens.pop(0).lower() != "and":
            raise Refused(400, "Error in the JQL Query: expecting 'AND'.")
        tests.append(_test(tokens))
    return Query(tuple(tests), _order(tokens))


def _tokens(jql: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(jql.rstrip()):
        match = _TOKEN.match(jql, at)
        if match is None:
            raise Refused(400, f"Error in the JQL Query: unexpected character at {at + 1}.")
        tokens.append(match.group().strip())
        at = match.end()
    return tokens


def _next(tokens: list[str]) -> str:
    if not tokens:
        raise Refused(400, "Error in the JQL Query: it ends too early.")
    return tokens.pop(0)


def _value(token: str) -> str:
    if token[:1] in "\"'" and len(token) > 1:
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    return token


def _test(tokens: list[str]) -> Callable[[Fields], bool]:
    field = _value(_next(tokens)).lower()
    operator = _next(tokens).lower()
    if operator == "not" and tokens and tokens[0].lower() == "in":
        tokens.pop(0)
        inner = _among(field, _values(tokens))
        return lambda fields: not inner(fields)
    if operator == "in":
        return _among(field, _values(tokens))
    if operator == "is":
        negated = bool(tokens) and tokens[0].lower() == "not"
        if negated:
            tokens.pop(0)
        if _next(tokens).lower() not in ("empty", "null"):
            raise Refused(400, "Error in the JQL Query: expecting EMPTY.")
        return lambda fields: bool(fields.get(field)) == negated
    return _comparison(field, operator, _value(_next(tokens)))


def _comparison(field: str, operator: str, value: str) -> Callable[[Fields], bool]:
    wanted = value.lower()
    match operator:
        case "=":
            return _among(field, [value])
        case "!=":
            return lambda fields: wanted not in _lower(fields, field)
        case "~":
            return lambda fields: any(wanted.strip("*") in found for found in _lower(fields, field))
        case ">=":
            return lambda fields: any(found >= wanted for found in _lower(fields, field))
        case "<=":
            return lambda fields: any(found <= wanted for found in _lower(fields, field))
        case ">":
            return lambda fields: any(found > wanted for found in _lower(fields, field))
        case "<":
            return lambda fields: any(found < wanted for found in _lower(fields, field))
        case _:
            raise Refused(400, f"Error in the JQL Query: unknown operator {operator!r}.")


def _values(tokens: list[str]) -> list[str]:
    opening = _next(tokens)
    if opening.lower() == "opensprints" and tokens[:2] == ["(", ")"]:
        del tokens[:2]
        return ["opensprints()"]
    if opening != "(":
        raise Refused(400, "Error in the JQL Query: expecting '('.")
    values: list[str] = []
    while (token := _next(tokens)) != ")":
        if token != ",":
            values.append(_value(token))
    return values


def _among(field: str, values: Sequence[str]) -> Callable[[Fields], bool]:
    wanted = {value.lower() for value in values}
    return lambda fields: not wanted.isdisjoint(_lower(fields, field))


def _lower(fields: Fields, field: str) -> list[str]:
    if field not in fields:
        raise Refused(400, f"Field '{field}' does not exist or you do not have permission to view it.")
    return [value.lower() for value in fields[field]]


def _order(tokens: list[str]) -> tuple[tuple[str, bool], ...]:
    if not tokens:
        return ()
    del tokens[0]
    if not tokens or tokens.pop(0).lower() != "by":
        raise Refused(400, "Error in the JQL Query: expecting 'BY'.")
    order: list[tuple[str, bool]] = []
    while tokens:
        field = _value(tokens.pop(0)).lower()
        descends = bool(tokens) and tokens[0].lower() == "desc"
        if tokens and tokens[0].lower() in ("asc", "desc"):
            tokens.pop(0)
        order.append((field, descends))
        if tokens and tokens.pop(0) != ",":
            raise Refused(400, "Error in the JQL Query: expecting ','.")
    return tuple(order)
