"""Every requirement of the specification is proved by at least one test, and no test claims one that does not exist."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REQUIREMENTS = {
    "FR-ORCH-001": "each server declares clear capability boundaries",
    "FR-ORCH-002": "resources from different servers are combinable",
    "FR-ORCH-003": "tools from different servers are usable together",
    "FR-ORCH-004": "one server's failure leaves the others working",
    "FR-ORCH-005": "servers never access other servers",
    "CP-04": "separation of concerns: one domain per server",
}

TESTS = Path(__file__).parent


def claims(path: Path) -> Iterator[tuple[str, str]]:
    """(requirement, test) for every `@pytest.mark.proves(...)` on a test function that asserts something."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        asserts = any(isinstance(part, ast.Assert) or "raises" in ast.dump(part) for part in ast.walk(node))
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.proves" and asserts:
                for argument in mark.args:
                    yield ast.literal_eval(argument), f"{path.relative_to(TESTS)}::{node.name}"


def proofs() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for requirement, test in claims(path):
            found.setdefault(requirement, []).append(test)
    return found


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_the_requirement_is_proved(requirement: str):
    assert proofs().get(requirement), f"no test proves {requirement}: {REQUIREMENTS[requirement]}"


def test_no_test_claims_an_unknown_requirement():
    unknown = {key: tests for key, tests in proofs().items() if key.startswith(("FR-", "CP-"))}
    assert set(unknown) <= set(REQUIREMENTS), unknown
