"""The playground's part of JQL."""

from __future__ import annotations

import pytest

from motet_servers.playground.http import Refused
from motet_servers.playground.jql import parse

FIELDS = {
    "key": ["PROJ-42"],
    "project": ["PROJ", "Project"],
    "summary": ["Session lookup is too slow"],
    "status": ["In Review"],
    "labels": ["customer", "motet-1"],
    "assignee": [],
    "created": ["2026-11-02"],
    "sprint": ["11", "opensprints()"],
}


@pytest.mark.parametrize(
    ("jql", "matches"),
    [
        ("", True),
        ("project = PROJ", True),
        ("project=proj AND status = 'In Review'", True),
        ('status = "in review" and labels = motet-1', True),
        ("status != Done", True),
        ("status in (Done, 'In Review')", True),
        ("status not in (Done, 'In Review')", False),
        ("summary ~ lookup", True),
        ('summary ~ "too fast"', False),
        ("assignee is EMPTY", True),
        ("labels is not empty", True),
        ("created >= 2026-11-01 AND created < 2026-12-01", True),
        ("created > 2026-11-02", False),
        ("created <= 2026-11-02", True),
        ("sprint in openSprints()", True),
        ('summary ~ "a \\" b"', False),
    ],
)
def test_a_query_matches(jql: str, matches: bool) -> None:
    assert parse(jql).matches(FIELDS) is matches


def test_the_order_is_read() -> None:
    assert parse("project = PROJ ORDER BY created DESC, key").order == (("created", True), ("key", False))


@pytest.mark.parametrize(
    "jql",
    [
        "project",
        "project =",
        "project PROJ",
        "project = PROJ OR key = X",
        "project = PROJ ORDER created",
        "status in Done",
        "status in (Done",
        "assignee is nobody",
        "planet = Mars",
        'summary ~ "open',
    ],
)
def test_what_it_does_not_understand_is_refused_not_guessed(jql: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(jql).matches(FIELDS)
    assert refused.value.status == 400
