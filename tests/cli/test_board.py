from motet.cli.board import Board, Row, line, seconds
from motet.events import AttemptFailed, StepChanged, StepProgress


def board() -> Board:
    return Board("demo", {"ticket": Row("ticket", "jira.get_issue"), "issue": Row("issue", "github.create_issue")})


def changed(step: str, status: str, *, message: str = "", took: float = 0.0, item: int | None = None) -> StepChanged:
    return StepChanged(at=0, run="r", step=step, status=status, message=message, took=took, item=item)


def test_a_step_that_settles_is_one_line():
    seen = board()
    assert seen.tell(changed("ticket", "running")) is None
    row = seen.tell(changed("ticket", "done", took=0.0123))
    assert row is not None
    assert line(row, seen) == "  done     ticket  jira.get_issue         12 ms"


def test_the_line_of_a_failure_holds_its_reason_on_one_line():
    seen = board()
    row = seen.tell(changed("issue", "failed", message="github: down\nfor now \x1b[31m", took=1.5))
    assert row is not None
    assert line(row, seen) == "  failed   issue   github.create_issue    1.5 s  github: down for now"


def test_a_retry_is_seen_at_the_step_that_waits_for_it():
    seen = board()
    seen.tell(changed("ticket", "running"))
    seen.tell(AttemptFailed(0, "jira", "get_issue", 1, "timeout", "no answer", "unknown", again_in=0.4))
    assert [row.note for row in seen.rows.values()] == ["trying again: no answer", ""]


def test_progress_is_seen_at_its_step():
    seen = board()
    seen.tell(StepProgress(0, "r", "ticket", 1, 2, "half way"))
    assert seen.rows["ticket"].note == "half way"


def test_undo_gets_its_own_row():
    seen = board()
    row = seen.tell(StepChanged(at=0, run="r", step="ticket", status="done", phase="undo"))
    assert row is not None
    assert (row.step, row.what) == ("undo ticket", "jira.get_issue")


def test_items_of_a_foreach_do_not_settle_their_step():
    seen = board()
    assert seen.tell(changed("ticket", "done", item=3)) is None
    assert seen.rows["ticket"].status == "pending"


def test_times_are_short():
    assert [seconds(took) for took in (None, 0.0004, 0.25, 3.44)] == ["", "0 ms", "250 ms", "3.4 s"]
