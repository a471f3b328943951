import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.yaml_file import dump_yaml, parse_yaml, read_yaml


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
    with pytest.raises(UserError, match=r"^here: line 2: the key 'b' appears twice in one mapping; remove one$"):
        parse_yaml("a: {b: 1,\n b: 2}", "here")
    merged = parse_yaml("x: {y: &y {<<: &z {a: 1, b: 2}, a: 3}}\nw: {<<: *y, b: 4}", "here")
    assert merged["w"] == {"a": 3, "b": 4}


@pytest.mark.parametrize("text", ["a: b: c", "{", "!!python/object:a.b c", "a\n---\nb", "\x07"])
def test_what_is_no_yaml_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"\Ahere: .+\Z"):
        parse_yaml(text, "here")


def grown(innermost: str, layer: str) -> str:
    """Nine lines, each of which holds the line before ten times."""
    lines = [f"a: &a {innermost}"]
    for below, key in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{key}: &{key} {layer.replace('*', ','.join([f'*{below}'] * 10))}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 0x_", "line 1: '0x_' is not an integer"),
        ("a: !!bool maybe", "line 1: 'maybe' is not true or false"),
        ("a: !!int ''", "line 1: '' is not an integer"),
        ("\na: !!float much", "line 2: 'much' is not a number"),
        ("a: !!timestamp now", "line 1: the tag tag:yaml.org,2002:timestamp is not accepted"),
        ("a: !!binary AQ==", "line 1: the tag tag:yaml.org,2002:binary is not accepted"),
        ("a: !!set {b, c}", "line 1: the tag tag:yaml.org,2002:set is not accepted"),
        ("a: " + "9" * 5000, "line 1: a number of 5000 characters, the limit is 100"),
        ("a: 0x" + "f" * 5000, "line 1: a number of 5002 characters, the limit is 100"),
        ("a: 1" + ":1" * 50_000, "line 1: a number of 100001 characters, the limit is 100"),
        ("[" * 500, "line 1: nested more than 20 levels deep"),
        ("{a: " * 500, "line 1: nested more than 20 levels deep"),
        ("x" * 300_000, "300000 characters, the limit is 262144"),
        ("? !!binary AQ==\n: 1", "line 1: the key AQ== is not a string; put it in quotes"),
        ("? [a]\n: 1", "line 1: the key a sequence is not a string; put it in quotes"),
        ("on: 1", "line 1: the key on is not a string; put it in quotes"),
        ("3: 1", "line 1: the key 3 is not a string; put it in quotes"),
        ("a: &a [*a]", "line 1: an alias is part of what it refers to"),
        ("a: &a {<<: *a}", "line 1: an alias is part of what it refers to"),
        (grown("[x,x,x,x,x,x,x,x,x,x]", "[*]"), "line 5: more than 20000 values, each alias counted as often as used"),
        (grown("{x: 1}", "{<<: [*]}"), "line 5: more than 20000 values, each alias counted as often as used"),
    ],
)
def test_what_no_file_needs_is_refused_at_once(text: str, problem: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "here")
    assert str(caught.value) == f"here: {problem}"
    assert time.monotonic() - start < 5


def test_aliases_stand_for_what_they_refer_to() -> None:
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "here") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """Without waiting for a pipe's other end, or reading a device without end."""
    os.mkfifo(tmp_path / "pipe.yml")
    for path, problem in (
        (tmp_path / "pipe.yml", "is a pipe, a device or a socket"),
        (Path("/dev/zero"), "is a pipe, a device or a socket"),
        (tmp_path / "none.yml", "no such file"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(UserError) as caught:
            read_yaml(path)
        assert str(caught.value) == f"{path}: {problem}, expected a YAML file"


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), plain | st.lists(plain, max_size=3), max_size=4))
def test_round_trip(value: dict) -> None:
    assert parse_yaml(dump_yaml(value), "here") == value


@pytest.mark.parametrize("text", ["1e-4", "2026-01-01", "no", "012", "1:30", "null", "~", ".inf", "1_0", "a: b", "#"])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert parse_yaml(dump_yaml([text]), "here") == [text]
