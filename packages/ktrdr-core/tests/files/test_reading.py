"""JSON of unknown origin: strict, encodable, and bounded before it is parsed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.files import reading
from ktrdr.core.files.reading import FileError, most_values, parse_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def number_of(value) -> int:
    """Count values one by one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(number_of(item) for item in inner)


@given(JSON)
def test_what_is_json_is_read(value):
    for ensure_ascii in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ensure_ascii).encode(), "a.json") == value


@given(JSON)
def test_the_bound_of_values_is_never_too_low(value):
    assert most_values(json.dumps(value).encode()) + 1 >= number_of(value)


@given(JSON, st.integers(0xD800, 0xDFFF), st.booleans())
def test_half_a_character_is_refused_wherever_it_stands(value, half, as_key):
    text = "x" + chr(half)
    held = {text: value} if as_key else [value, {"a": text}]
    with pytest.raises(FileError, match="half a character"):
        parse_json(json.dumps(held).encode(), "a.json")


def test_a_whole_character_of_two_halves_is_read():
    assert parse_json(rb'["\ud83d\ude00", "\\ud800"]', "a.json") == ["\U0001f600", "\\ud800"]


def test_more_values_than_allowed_are_not_parsed(monkeypatch):
    monkeypatch.setattr(json, "loads", lambda *arguments, **more: pytest.fail("it was parsed"))
    with pytest.raises(FileError, match=r"a\.json holds more than 10 values"):
        parse_json(b"[" + b"1," * 20 + b"1]", "a.json", most=10)


@pytest.mark.parametrize("digits", [40, 41, 4000, 5000])
def test_a_number_has_forty_digits_at_most(digits):
    content = b"[" + b"9" * digits + b"]"
    if digits <= 40:
        assert parse_json(content, "a.json") == [10**digits - 1]
        return
    with pytest.raises(FileError, match="a number has more than 40 digits"):
        parse_json(content, "a.json")


def test_depth_is_bounded(monkeypatch):
    monkeypatch.setattr(reading, "DEEPEST_JSON", 3)
    assert parse_json(b"[[[1]]]", "a.json") == [[[1]]]
    with pytest.raises(FileError, match="nested more than 3 deep"):
        parse_json(b"[[[[1]]]]", "a.json")
