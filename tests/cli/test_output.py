import json

from motet.cli import output
from motet.errors import ConfigError, ConnectionLost, WorkflowError


def test_piped_rows_stand_in_plain_columns():
    assert output.columns_text(["server", "state"], [["jira", "ready"], ["github-ent", "down"]]) == [
        "SERVER      STATE",
        "jira        ready",
        "github-ent  down",
    ]


def test_json_holds_nothing_that_moves_a_cursor_and_still_reads_back():
    value = {"text": "a\x1b[2Jb\u202ec\x9bd\U000e0041é"}
    shown = output.json_text(value)
    assert json.loads(shown) == value
    assert not any(mark in shown for mark in ("\x1b", "\u202e", "\x9b", "\U000e0041"))
    assert "é" in shown


def test_an_error_says_what_happened_and_what_to_try():
    assert output.error_lines(ConfigError("x.toml:3: no", hint="motet init")) == [
        "error: x.toml:3: no",
        "try: motet init",
    ]


def test_an_unknown_outcome_is_said_in_plain_words():
    assert output.error_lines(ConnectionLost("connection lost", server="jira")) == [
        "error: jira: connection lost",
        "note: the request was sent and may have acted; look before you repeat it",
    ]


def test_every_problem_of_a_workflow_is_shown():
    error = WorkflowError("2 problems", problems=("a.yaml:1:1: one", "a.yaml:2:1: two"))
    assert output.error_lines(error) == [
        "error: 2 problems",
        "a.yaml:1:1: one",
        "a.yaml:2:1: two",
        "try: motet check FILE shows all there is",
    ]
    assert output.error_json(error) == {
        "kind": "workflow",
        "message": "2 problems",
        "hint": "",
        "problems": ["a.yaml:1:1: one", "a.yaml:2:1: two"],
    }


def test_what_a_server_wrote_into_an_error_reaches_no_terminal_raw():
    assert output.error_lines(ConnectionLost("bad \x1b]0;title\x07\u202etxet", server="jira"))[0] == (
        "error: jira: bad txet"
    )
