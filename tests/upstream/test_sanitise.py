"""Texts of servers: what is taken out before anybody sees them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.upstream.sanitise import clean, clean_line, clean_tree, without_credentials


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text, with ümlauts and 日本", "plain text, with ümlauts and 日本"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]52;c;aGk=\x07copied", "copied"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x9b31mred", "red"),
        ("over\rwritten\b\b", "overwritten"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("tag\U000e0041\U000e0042s", "tags"),
        ("half \ud800 pair", "half  pair"),
        ("cut \x1b", "cut "),
    ],
    ids=ascii,
)
def test_what_hides_or_steers_is_taken_out(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_secrets_are_replaced_even_when_laced() -> None:
    assert clean("key=hunter2", secrets=("hunter2",)) == "key=[hidden]"
    assert clean("key=hun\u200bter2", secrets=("hunter2",)) == "key=[hidden]"
    assert clean("nothing", secrets=("",)) == "nothing"


def test_long_texts_are_cut() -> None:
    assert clean("x" * 5000, limit=10) == "x" * 9 + "…"
    assert clean("\x1b]" + "x" * 1_000_000, limit=10)[-1:] in ("…", "")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Error: GITHUB_TOKEN is not set (token=ghp_SECRETSECRET0000)",
            "Error: GITHUB_TOKEN is not set (token=[hidden])",
        ),
        ("using ghp_abcdefgh12345678 now", "using [hidden] now"),
        ('{"password": "hunter22", "user": "me"}', '{"password": "[hidden]", "user": "me"}'),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [hidden]"),
        ("connect postgresql://me:hush@db/app failed", "connect postgresql://[hidden]@db/app failed"),
        ("xoxb-123456789012-abc refused", "[hidden] refused"),
        ("the token is not set; password missing", "the token is not set; password missing"),
    ],
)
def test_what_looks_like_a_credential_is_hidden_in_a_servers_own_words(said: str, shown: str) -> None:
    assert without_credentials(said) == shown


def test_one_line_is_one_line() -> None:
    assert clean_line("a\n b\r\n\tc") == "a b c"


def test_trees_are_cleaned_all_over() -> None:
    assert clean_tree({"\x1b[1mk": ["\u202ev", {"n": 1, "b": None}]}) == {"k": ["v", {"n": 1, "b": None}]}


def test_deep_trees_are_cut_off() -> None:
    deep: object = "x"
    for _ in range(100):
        deep = [deep]
    assert str(clean_tree(deep)).count("[") <= 17


@given(st.text())
def test_nothing_unprintable_is_left(text: str) -> None:
    for shown in clean(text):
        assert shown in "\n\t" or not ("\x00" <= shown < "\x20" or "\x7f" <= shown <= "\x9f")
        assert shown not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff"


@given(st.text(), st.text("0123456789", min_size=4, max_size=8))
def test_a_secret_never_survives(text: str, secret: str) -> None:
    assert secret not in clean(text + secret + text, secrets=(secret,))
