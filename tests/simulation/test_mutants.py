"""Planted mistakes in breaker, retry, limiter and their drivers: each must be caught by the table tests.

A mutant is the source of one module with one thing changed. It takes the module's place while the tests of that module
are loaded and called, in this very process; the first one that fails catches it.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import motet.resilience

SOURCE = Path(motet.resilience.__file__).parent
TESTS = Path(__file__).parent.parent / "resilience"
ORDER = ("tally", "breaker", "retry", "limit", "restarts", "pipeline")
"""Modules, lowest first: those above a mutant are loaded anew over it."""
SLOW = ("test_whatever_happens", "test_no_place_is_lost")
"""Property tests: not needed here."""

MUTANTS: list[tuple[str, str, str, str]] = [
    # module, tests, what is there, what a mistake would make of it
    (
        "breaker",
        "test_breaker",
        "tally.marked >= self._settings.failure_rate",
        "tally.marked > self._settings.failure_rate",
    ),
    ("breaker", "test_breaker", "tally.all >= self._settings.calls", "tally.all > self._settings.calls"),
    ("breaker", "test_breaker", "if now < self._until:", "if now <= self._until:"),
    ("breaker", "test_breaker", "if permit != self._generation:", "if permit > self._generation:"),
    ("breaker", "test_breaker", "self._generation += 1", "self._generation += 0"),
    ("breaker", "test_breaker", "self._out -= 1", "self._out -= 0"),
    ("breaker", "test_breaker", "self._out += 1", "self._out += 0"),
    ("breaker", "test_breaker", 'elif verdict == "success":', 'elif verdict != "failure":'),
    ("breaker", "test_breaker", 'elif verdict != "none" and', "elif"),
    ("breaker", "test_breaker", "self._until = now + self._settings.open_for", "self._until = now"),
    (
        "breaker",
        "test_breaker",
        'if verdict == "failure":\n                self._open(now)',
        "if False:\n                pass",
    ),
    ("breaker", "test_breaker", "self._tally.clear()", "pass"),
    ("breaker", "test_breaker", "self._out < self._settings.probes", "self._out <= self._settings.probes"),
    ("breaker", "test_breaker", "self._out >= self._settings.probes", "self._out > self._settings.probes"),
    ("breaker", "test_breaker", "and self._settings.enabled", ""),
    ("tally", "test_retry", "self.all -= self._all[place]", "self.all -= 0"),
    ("tally", "test_breaker", "if at - self._at < SLICES else range(SLICES)", "if at - self._at < SLICES else ()"),
    ("tally", "test_retry", "self.marked -= self._marked[place]", "pass"),
    ("retry", "test_retry", "if not error.transient or", "if"),
    ("retry", "test_retry", "attempt >= policy.attempts", "attempt > policy.attempts"),
    (
        "retry",
        "test_retry",
        'if error.sent != "no" and not repeatable:',
        'if error.sent == "unknown" and not repeatable:',
    ),
    ("retry", "test_retry", 'if error.sent != "no" and not repeatable:', "if not repeatable:"),
    ("retry", "test_retry", 'if error.sent != "no" and not repeatable:', 'if error.sent == "yes" and not repeatable:'),
    ("retry", "test_retry", "min(policy.cap, ", "max(policy.cap, "),
    ("retry", "test_retry", "chance * min(", "min("),
    ("retry", "test_retry", "wait = max(wait, asked)", "wait = asked"),
    ("retry", "test_retry", "wait = max(wait, asked)", "wait = min(wait, asked)"),
    ("retry", "test_retry", "now + wait < deadline", "now + wait <= deadline + 1"),
    ("retry", "test_retry", "and isfinite(asked)", ""),
    ("retry", "test_retry", "self._share * (tally.all - retries)", "self._share * tally.all"),
    ("retry", "test_retry", "max(self._floor,", "min(self._floor,"),
    ("retry", "test_retry", "if retries >= max", "if retries > max"),
    ("retry", "test_retry", "tally.turn(now)", "pass"),
    ("retry", "test_retry", '{"no": 0, "unknown": 1, "yes": 2}', '{"no": 0, "unknown": 2, "yes": 1}'),
    ("limit", "test_limit", "if self.free > 0 and not self._waiting:", "if self.free > 0:"),
    ("limit", "test_limit", "if self.free > 0 and", "if self.free >= 0 and"),
    ("limit", "test_limit", "self._waiting.popleft()", "self._waiting.pop()"),
    ("limit", "test_limit", "len(self._waiting) >= self._queue", "len(self._waiting) > self._queue"),
    ("limit", "test_limit", "if not patient and", "if"),
    ("limit", "test_limit", "self.free += 1\n        return None", "return None"),
    ("restarts", "test_retry", "len(self._starts) == rules.most and", ""),
    ("restarts", "test_retry", "now - self._starts[0] < rules.within", "True"),
    ("restarts", "test_retry", "self._failures = self._parks = 0", "pass"),
    ("restarts", "test_retry", "self.parked or used_up", "used_up"),
    (
        "pipeline",
        "test_pipeline",
        "if not room.step_out(turn) and turn.done()",
        "room.step_out(turn)\n        if False and turn.done()",
    ),
    ("pipeline", "test_pipeline", "        finally:\n            _leave(room)", "        finally:\n            pass"),
    ("pipeline", "test_pipeline", "breaker.settle(permit, verdict, self._clock())", "pass"),
    (
        "pipeline",
        "test_pipeline",
        'except InputRequired:\n                verdict = "success"',
        "except InputRequired:\n                pass",
    ),
    ("pipeline", "test_pipeline", 'Verdict = "none"\n            try', 'Verdict = "failure"\n            try'),
    ("pipeline", "test_pipeline", "turn.set_exception(out_of_time", "(lambda error: None)(out_of_time"),
    ("pipeline", "test_pipeline", "raise _summed(error, failed) from None", "raise error"),
    (
        "pipeline",
        "test_pipeline",
        "            self._admitted(call)\n        if not room",
        "            pass\n        if not room",
    ),
    (
        "pipeline",
        "test_pipeline",
        "own if own < end else end",
        "own",
    ),
    ("pipeline", "test_pipeline", "wait is not None and self.budget.retry(now)", "wait is not None"),
    ("pipeline", "test_pipeline", "patient=call.waits", "patient=True"),
    ("pipeline", "test_pipeline", "error.transient = True", "pass"),
]


@contextmanager
def in_place_of(module: str, source: str) -> Generator[None]:
    """This source stands for the module, and the modules above are loaded anew over it."""
    names = [f"motet.resilience.{name}" for name in ORDER[ORDER.index(module) :]]
    before = {name: sys.modules.get(name) for name in names}
    try:
        for name in names:
            text = source if name.endswith(f".{module}") else (SOURCE / f"{name.rpartition('.')[2]}.py").read_text()
            made = ModuleType(name)
            sys.modules[name] = made
            exec(compile(text, name, "exec"), made.__dict__)
        yield
    finally:
        for name, known in before.items():
            if known is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = known


def loaded(tests: str) -> ModuleType:
    """The test module, loaded over whatever stands in `sys.modules` now."""
    name = f"over_a_mutant_{tests}"
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{tests}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def cases(test: Callable[..., None]) -> list[Mapping[str, Any]]:
    """The arguments pytest would call this test with."""
    rows: list[list[Mapping[str, Any]]] = [[{}]]
    for mark in getattr(test, "pytestmark", []):
        if mark.name == "parametrize":
            names = [mark.args[0]] if isinstance(mark.args[0], str) else mark.args[0]
            values = [row if len(names) > 1 else (row,) for row in mark.args[1]]
            rows.append([dict(zip(names, row, strict=True)) for row in values])
    return [{key: value for part in parts for key, value in part.items()} for parts in itertools.product(*rows)]


def failing(tests: str) -> str | None:
    """The first test of this module that fails, or None."""
    module = loaded(tests)
    for name, test in vars(module).items():
        if not name.startswith("test_") or name.startswith(SLOW):
            continue
        for arguments in cases(test):
            try:
                test(**arguments)
            except Exception:  # noqa: BLE001 - whatever a mutant breaks, it is caught
                return name
    return None


@pytest.mark.parametrize("tests", ["test_breaker", "test_retry", "test_limit", "test_pipeline"])
def test_nothing_fails_without_a_mutant(tests: str) -> None:
    with in_place_of("tally", (SOURCE / "tally.py").read_text()):
        assert failing(tests) is None


@pytest.mark.parametrize(
    ("module", "tests", "right", "wrong"),
    MUTANTS,
    ids=[f"{number:02}-{mutant[0]}" for number, mutant in enumerate(MUTANTS)],
)
def test_each_planted_mistake_is_caught(module: str, tests: str, right: str, wrong: str) -> None:
    source = (SOURCE / f"{module}.py").read_text()
    assert right in source
    with in_place_of(module, source.replace(right, wrong, 1)):
        assert failing(tests) is not None, f"nobody noticed `{wrong}` in place of `{right}`"
