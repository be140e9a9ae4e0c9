"""What a column, a row or a tree of results is in JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.files.json_values import plain_json

INFINITE = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_numbers_that_are_not_finite_are_null(dtype):
    assert plain_json(np.array([1.5, *INFINITE], dtype=dtype)) == [1.5, None, None, None]
    assert plain_json(np.array([[1.5, math.nan], [math.inf, 0.0]], dtype=dtype)) == [[1.5, None], [None, 0.0]]
    assert plain_json([dtype(1.5), dtype("nan"), dtype("inf")]) == [1.5, None, None]
    assert plain_json(np.array(math.nan, dtype=dtype)) is None
    assert plain_json(np.array([], dtype=dtype)) == []


def test_a_tree_is_plain_to_its_leaves():
    tree = {1: (np.int64(2), np.bool_(True)), "a": {"b": [*INFINITE, 0.1]}, "c": np.array(["x", None], dtype=object)}
    plain = plain_json(tree)
    assert plain == {"1": [2, True], "a": {"b": [None, None, None, 0.1]}, "c": ["x", None]}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert [type(value) for value in plain["1"]] == [int, bool]
    assert type(plain_json(np.float64(0.1))) is float


def test_what_is_no_number_stays():
    assert plain_json({"path": Path("x"), "none": None, "text": "nan", "yes": True}) == {
        "path": Path("x"),
        "none": None,
        "text": "nan",
        "yes": True,
    }
    assert plain_json(np.arange(3)) == [0, 1, 2]
