"""Values set and removed in the document of a strategy, against the same change made in plain Python data."""

from __future__ import annotations

import copy
import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError
from ktrdr.core.strategy.document import format_path, plain, read_document, write_document
from ktrdr.core.strategy.editing import node_of, parse_path, with_value

KEYS = st.sampled_from(["a", "b", "rsi_14", "nn-inputs", "1h"])
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def _set(data: object, path: tuple[str | int, ...], value: object) -> None:
    """The slow and obvious way, for paths that exist."""
    for step in path[:-1]:
        data = data[step]  # type: ignore[index]
    data[path[-1]] = value  # type: ignore[index]


def _paths(data: object, done: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found = []
    for step, inner in steps:
        found += [(*done, step), *_paths(inner, (*done, step))]
    return found


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), VALUES.filter(lambda value: value is not None), st.data())
def test_a_change_is_the_change_of_the_plain_data_and_nothing_else(before, value, data):
    root = node_of(before)
    path = data.draw(st.sampled_from(_paths(before)))
    expected = copy.deepcopy(before)
    _set(expected, path, value)
    changed = with_value(root, parse_path(format_path(path)), node_of(value))
    assert plain(changed) == expected
    assert plain(root) == before
    assert plain(read_document(write_document(changed)).root) == expected


@given(st.dictionaries(KEYS, VALUES, min_size=2, max_size=4), st.data())
def test_what_is_removed_is_gone_and_the_rest_stays(before, data):
    path = data.draw(st.sampled_from(_paths(before)))
    expected = copy.deepcopy(before)
    inner = expected
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    assert plain(with_value(node_of(before), path, None)) == expected


def test_maps_on_the_way_are_made_and_scalars_give_way():
    root = node_of({"risk": {"stop_loss": 2}})
    assert plain(with_value(root, parse_path("risk.stop_loss.atr"), node_of(3))) == {"risk": {"stop_loss": {"atr": 3}}}
    assert plain(with_value(root, parse_path("a.b.c"), node_of(1)))["a"] == {"b": {"c": 1}}


def test_numbers_of_numpy_dates_and_tuples_are_written_as_plain_ones():
    given_ = {"a": np.float64(0.5), "b": np.int64(3), "c": (1, 2), "d": dt.date(2017, 1, 31), "e": np.array([1, 2])}
    assert plain(node_of(given_)) == {"a": 0.5, "b": 3, "c": [1, 2], "d": "2017-01-31", "e": [1, 2]}


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[0", "a]0[", "a[-1]", "a b[1]c"])
def test_what_is_no_path_is_refused_with_an_example(text):
    with pytest.raises(BadInputError, match=r"no path in a strategy; write it like training.epochs or nn_inputs\[0\]"):
        parse_path(text)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nn_inputs[2].lags", r"there is no nn_inputs\[2\]: the list has 2 items, counted from 0"),
        ("nn_inputs.lags", r"`nn_inputs` is a list: write the position .* such as nn_inputs\[0\].lags"),
        ("model[0]", r"`model` is no list: write a key after it, not \[0\]"),
        ("[0]", "`the strategy` is no list"),
    ],
)
def test_a_path_that_does_not_fit_says_why(path, message):
    root = node_of({"nn_inputs": [{}, {}], "model": {"type": "mlp"}})
    with pytest.raises(BadInputError, match=message):
        with_value(root, parse_path(path), node_of(1))


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), {1, 2}, b"x", [1, [float("-inf")]]])
def test_what_no_file_can_hold_is_refused(value):
    with pytest.raises(BadInputError, match="cannot stand in a strategy"):
        node_of(value)


@pytest.mark.parametrize("key", [1, "", (1, 2), None])
def test_a_key_is_text(key):
    with pytest.raises(BadInputError, match="cannot be a key of a strategy"):
        node_of({"a": {"b": 1, key: 3}})


def test_what_is_nested_too_deep_is_refused():
    deep: object = 1
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(BadInputError, match="nested more than 16 deep"):
        node_of(deep)
