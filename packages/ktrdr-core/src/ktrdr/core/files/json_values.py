"""Conversion of values to JSON-ready data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["plain_json"]


def plain_json(value: Any) -> Any:
    """Return JSON-ready data: numpy scalars and arrays as numbers and lists, numbers that are not finite as None.

    Other values, such as a path, are returned unchanged.
    """
    if type(value) is float:  # not numpy.float64, which is a subclass
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_json(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain_array(value)
    return value


def _plain_array(array: Any) -> Any:
    if array.dtype.kind in "biuU":
        return array.tolist()
    if array.dtype.kind != "f" or not array.shape:
        return plain_json(array.tolist())
    # A column of a table may have a million rows.
    finite = abs(array) < math.inf
    values = array.astype(object)
    values[~finite] = None
    return values.tolist()
