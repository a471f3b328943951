import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.options.yaml_file import dump_yaml, parse_yaml
from twostagealign.runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("-1.5e3", -1500.0), (".5e+1", 5.0), ("1.e2", 100.0), ("2.5", 2.5), ("3", 3)],
)
def test_numbers(text: str, value: float) -> None:
    assert parse_yaml(text, "here") == value
    assert type(parse_yaml(text, "here")) is type(value)


@pytest.mark.parametrize("text", ["2026-01-01", "e4", "1e", "1e-4x", "e-4", "1.5.2e3"])
def test_texts(text: str) -> None:
    assert parse_yaml(text, "here") == text


def test_a_key_stands_once_but_a_merge_may_be_overridden() -> None:
    with pytest.raises(UserError, match=r"^here: line 2: found the key 'b' a second time, expected each key once$"):
        parse_yaml("a: {b: 1,\n b: 2}", "here")
    merged = parse_yaml("x: {y: &y {<<: &z {a: 1, b: 2}, a: 3}}\nw: {<<: *y, b: 4}", "here")
    assert merged["w"] == {"a": 3, "b": 4}


@pytest.mark.parametrize("text", ["a: b: c", "{", "0x_", "!!python/object:a.b c", "a\n---\nb", "[" * 500, "\x07"])
def test_what_is_no_yaml_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"\Ahere: .+\Z"):
        parse_yaml(text, "here")


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), plain | st.lists(plain, max_size=3), max_size=4))
def test_round_trip(value: dict) -> None:
    assert parse_yaml(dump_yaml(value), "here") == value


@pytest.mark.parametrize("text", ["1e-4", "2026-01-01", "no", "012", "1:30", "null", "~", ".inf", "1_0", "a: b", "#"])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert parse_yaml(dump_yaml([text]), "here") == [text]
