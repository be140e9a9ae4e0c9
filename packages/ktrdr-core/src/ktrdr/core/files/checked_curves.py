"""Curves over time in safetensors files of unknown origin: written, and read with every check."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.files.reading import FileError
from ktrdr.core.short_texts import quoted

__all__ = ["LARGEST_VALUE", "curve_in", "halves_of_times", "times_in", "values_in"]

LARGEST_VALUE = 1e100
"""Larger values cannot be drawn: the differences of float64 numbers near the largest are infinite."""


def halves_of_times(time: np.ndarray) -> np.ndarray:
    """Return times as int32 ``(n, 2)``: the two halves of each, as the format has no longer integers."""
    halves: np.ndarray = np.ascontiguousarray(time.astype("<M8[ns]")).view("<i4").reshape(-1, 2)
    return halves


def times_in(arrays: Mapping[str, np.ndarray], name: str, file: str) -> np.ndarray:
    """Return the ascending times that :func:`halves_of_times` wrote, ``datetime64[ns]``.

    Args:
        arrays: of the file, by name.
        name: of the times.
        file: its name, for messages.

    Raises:
        FileError: there are no such times.
    """
    halves = arrays.get(name)
    if halves is None or halves.dtype != np.dtype("<i4") or halves.ndim != 2 or halves.shape[1] != 2:
        raise FileError(f"{file} has no times {quoted(name)}")
    number = np.ascontiguousarray(halves).view("<i8").reshape(-1)
    if len(number) and (number[0] < 0 or (np.diff(number) <= 0).any()):
        raise FileError(f"{file}: the times {quoted(name)} are not ascending")
    time: np.ndarray = number.view("<M8[ns]")
    return time


def values_in(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], file: str) -> np.ndarray:
    """Return float64 values of a shape; the rest as in :func:`times_in`.

    Raises:
        FileError: there are no such values.
    """
    found = arrays.get(name)
    if found is None or found.dtype != np.float64 or found.shape != shape:
        raise FileError(f"{file} has no array {quoted(name)} of shape {shape}")
    return found


def curve_in(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], file: str) -> np.ndarray:
    """Return float64 values of a shape that can be drawn; the rest as in :func:`times_in`.

    Raises:
        FileError: there are no such values.
    """
    found = values_in(arrays, name, shape, file)
    if not np.isfinite(found).all():
        raise FileError(f"{file}: {quoted(name)} has values that are not numbers")
    if (np.abs(found) > LARGEST_VALUE).any():
        raise FileError(f"{file}: {quoted(name)} has values above {LARGEST_VALUE:g}")
    return found
