"""Frames with the same types with rows as without."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from ktrdr.core.typed_frame import typed_frame

COLUMNS = {"time": "datetime64[us, UTC]", "name": "str", "number": "Int64", "any": "object"}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(None, None, None, None)],
        [(dt.datetime(9999, 12, 31, tzinfo=dt.UTC), "a", 1, {"b": 2}), (None, None, None, None)],
    ],
    ids=["none", "missing", "both"],
)
def test_the_types_do_not_depend_on_the_rows(rows: list[tuple[Any, ...]]) -> None:
    frame = typed_frame(COLUMNS, rows, range(len(rows)), index="row", index_dtype="int64")
    expected = typed_frame(COLUMNS, [(dt.datetime.now(dt.UTC), "a", 1, {})], [0], index="row", index_dtype="int64")
    assert frame.dtypes.to_dict() == expected.dtypes.to_dict()
    assert (frame.index.name, frame.index.dtype) == ("row", expected.index.dtype)
    assert len(frame) == len(rows)


def test_the_cells_are_those_of_the_rows() -> None:
    time = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    frame = typed_frame(COLUMNS, [(time, "a", 1, {"b": 2}), (None,) * 4], ["x", "y"], index="row", index_dtype="str")
    assert frame.loc["x"].to_dict() == {"time": time, "name": "a", "number": 1, "any": {"b": 2}}
    assert frame.loc["y"].isna().all()
