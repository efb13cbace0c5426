import pytest

from motet.cli import exits
from motet.errors import (
    Ambiguous,
    CallError,
    CircuitOpen,
    ConfigError,
    ConnectionLost,
    DeadlineExceeded,
    InvalidArguments,
    MotetError,
    NeedsAuth,
    PolicyRefused,
    ProtocolError,
    RunError,
    ServerUnavailable,
    ToolChanged,
    ToolError,
    Unanswered,
    UnknownAddress,
    WorkflowError,
)

LATE = DeadlineExceeded("no answer", server="jira")
GONE = ServerUnavailable("is down", server="jira")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (WorkflowError("x"), 2),
        (UnknownAddress("x", server="a"), 2),
        (Ambiguous("x", candidates=("a", "b")), 2),
        (InvalidArguments("x", server="a"), 2),
        (PolicyRefused("x", server="a"), 6),
        (ToolChanged("x", server="a"), 6),
        (NeedsAuth("x", server="a"), 5),
        (LATE, 124),
        (Unanswered("x", server="a"), 4),
        (GONE, 1),
        (CircuitOpen("x", server="a"), 1),
        (ToolError("x", server="a", tool="t"), 1),
        (ProtocolError("x", server="a", code=-32603), 1),
        (RunError("x"), 1),
    ],
)
def test_every_error_has_its_code(error: MotetError, code: int):
    assert exits.of_error(error) == code


@pytest.mark.parametrize(
    ("status", "code"), [("complete", 0), ("failed", 1), ("cancelled", 1), ("partial", 3), ("waiting", 4)]
)
def test_the_code_of_a_run_is_its_status(status: str, code: int):
    assert exits.of_status(status) == code


def test_a_call_that_may_have_acted_is_unknown_unless_it_may_be_repeated():
    lost = ConnectionLost("lost", server="jira")
    assert exits.of_call(lost, repeatable=False) == exits.WAITING
    assert exits.of_call(LATE, repeatable=False) == exits.WAITING
    assert exits.of_call(LATE, repeatable=True) == exits.TIMEOUT
    assert exits.of_call(DeadlineExceeded("late", server="a", sent="no"), repeatable=False) == exits.TIMEOUT


def test_of_several_failures_the_one_a_person_must_act_on_decides():
    assert [exits.worst(codes) for codes in ((3, 4), (4, 1), (1, 124), (124, 5), (5, 6), (6, 2), (0, 3), ())] == [
        4, 1, 124, 5, 6, 2, 3, 0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "errors", "code"),
    [(2, [], 0), (1, [GONE], 3), (1, [NeedsAuth("x", server="a")], 3), (0, [GONE, LATE], 124), (0, [GONE], 1)],
)
def test_reading_something_of_several_is_partial(found: int, errors: list[CallError], code: int):
    assert exits.of_reads(found, errors) == code
