import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.cli.arguments import address, pairs


def test_equals_gives_text_and_colon_equals_gives_json():
    assert pairs(["key=PROJ-42", "limit:=5", 'labels:=["a"]', "url=http://x/?a:=1", "empty=", "n=5", "x:=null"]) == {
        "key": "PROJ-42",
        "limit": 5,
        "labels": ["a"],
        "url": "http://x/?a:=1",
        "empty": "",
        "n": "5",
        "x": None,
    }


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="=:"), min_size=1))
def test_any_text_comes_through_as_it_is(value: str, key: str):
    assert pairs([f"{key}={value}"]) == {key: value}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("key", "'key' is no argument: write key=text, or key:=json for numbers, booleans and lists"),
        ("=5", "'=5' is no argument: write key=text, or key:=json for numbers, booleans and lists"),
        (":=5", "':=5' is no argument: write key=text, or key:=json for numbers, booleans and lists"),
        ("n:=five", "n:=five is not valid JSON"),
        ("n:=" + "[" * 100_000, "is not valid JSON"),
    ],
)
def test_what_is_no_argument_is_said_with_the_right_form(text: str, says: str):
    with pytest.raises(click.BadParameter) as caught:
        pairs([text])
    assert says in caught.value.message


def test_an_argument_given_twice_is_refused():
    with pytest.raises(click.BadParameter, match="'a' is given twice"):
        pairs(["a=1", "a:=2"])


def test_an_address_splits_at_the_first_dot():
    assert address("github.repos.get") == ("github", "repos.get")


@pytest.mark.parametrize("text", ["github", ".tool", "github.", ""])
def test_what_is_no_address_says_where_to_find_them(text: str):
    with pytest.raises(click.BadParameter, match="write SERVER"):
        address(text)
