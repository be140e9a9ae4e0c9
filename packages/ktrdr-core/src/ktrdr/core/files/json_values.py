"""Values as JSON can say them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["plain_json"]


def plain_json(value: Any) -> Any:
    """Return JSON-ready data: numpy scalars and arrays as numbers and lists, numbers that are not finite as None.

    What is none of that, such as a path, is returned as it is.
    """
    if type(value) is float:  # and not of numpy, which is a subclass
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
