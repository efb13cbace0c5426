"""The door: one parsed expression, which can be checked against shapes and evaluated against data.

`Language` is the port: another language would be another class with these two methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from motet.calls import Json
from motet.workflow.expressions.applying import Finding
from motet.workflow.expressions.compiling import compiled
from motet.workflow.expressions.infer import Facts, inferred
from motet.workflow.expressions.parser import parse
from motet.workflow.expressions.runtime import BUDGET, Frame, Run, plain
from motet.workflow.expressions.tree import Expr, points, reads_of
from motet.workflow.shapes import Shape

_PASSING = frozenset((dict, list, str, int, bool, type(None)))


class Language(Protocol):
    """What workflows need of an expression language."""

    def check(self, names: Mapping[str, Shape], known: Facts | None = None) -> tuple[Shape, list[Finding]]:
        """The shape it comes to, and everything wrong with it; `known` is what a condition already established."""
        ...

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """The JSON it comes to. Raises `Fault`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """One expression of the CEL subset."""

    text: str
    tree: Expr = field(repr=False)
    reads: frozenset[tuple[str, ...]]
    """Paths of what it may read."""
    slots: int
    run: Run = field(repr=False)
    passes: bool
    """It only points at data, which passes through untouched."""

    @staticmethod
    @lru_cache(maxsize=8192)
    def parse(text: str) -> Expression:
        """Raises `Mistake`: it cannot be read, or names a function that does not exist. The same text is read once."""
        tree = parse(text)
        run, slots = compiled(tree)
        return Expression(text, tree, reads_of(tree), slots, run, points(tree))

    def check(
        self, names: Mapping[str, Shape], known: Facts | None = None, *, suggest: bool = True
    ) -> tuple[Shape, list[Finding]]:
        """The shape it comes to, and everything wrong with it; `suggest`: also what was probably meant."""
        return inferred(self.tree, names, known or {}, suggest=suggest)

    def evaluate(self, scope: Mapping[str, Json], *, budget: int = BUDGET) -> Json:
        """The JSON it comes to, times as text. Raises `Fault`; `Missing` when it needs data that is absent."""
        frame = Frame(scope, slots=self.slots, budget=budget)
        return self.value(frame)

    def value(self, frame: Frame) -> Json:
        """The same within a frame that others share."""
        return self.finished(self.run(frame), frame)

    def finished(self, made: Json, frame: Frame) -> Json:
        """The JSON of what `run` gave. Data that is only pointed at passes through untouched, whatever its size."""
        return made if self.passes and type(made) in _PASSING else plain(made, frame)
