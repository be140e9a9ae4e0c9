"""When two prices are the same, and when one reaches another.

A price is a decimal number, of which float64 keeps the nearest binary one, and what is computed from prices carries
rounding. Whether 1.1 + 0.1 reaches 1.2 must not be up to the last bit, nor differ between a market quoted in dollars
and the same one quoted in cents. So two values count as equal where they differ by no more than :data:`TOLERANCE` of
one of them: far above rounding (1e-16 for each step), and far below the step that any market quotes in.

Prices that were only read, never computed with, compare exactly as they are: the same text gives the same float.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

__all__ = ["TOLERANCE", "equal", "highest_equal", "lowest_equal", "slack", "steady"]

TOLERANCE = 1e-9
"""Share of a value by which others may differ from it and still count as equal."""

_Number = TypeVar("_Number", float, np.ndarray)


def slack(scale: _Number) -> _Number:
    """Return by how much what was computed from values as large as ``scale`` may be off and still count as exact.

    For differences, whose rounding is a share of what was subtracted and not of what is left.
    """
    return TOLERANCE * abs(scale)


def lowest_equal(level: _Number) -> _Number:
    """Return the lowest value that counts as ``level``.

    ``value >= lowest_equal(level)``: at or above, reached from below. ``value < lowest_equal(level)``: below. Of
    infinity, which stands for no level, and of NaN it is NaN: no value reaches it.
    """
    return level - slack(level)


def highest_equal(level: _Number) -> _Number:
    """Return the highest value that counts as ``level``.

    ``value <= highest_equal(level)``: at or below, reached from above. ``value > highest_equal(level)``: above. Of
    minus infinity, which stands for no level, and of NaN it is NaN: no value reaches it.
    """
    return level + slack(level)


def equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two float64 arrays ``(n,)`` are equal: bool ``(n,)``, False where one is NaN or infinite."""
    with np.errstate(invalid="ignore"):
        return np.abs(a - b) <= slack(np.minimum(np.abs(a), np.abs(b)))


def steady(values: np.ndarray) -> np.ndarray:
    """Return ``values``, float64 ``(n,)``, with each that equals the one before it replaced by that one.

    For means of prices: a market that stands still then stands still to the last bit. Row ``t`` depends on rows up to
    ``t`` alone.
    """
    if len(values) < 2:
        return values
    same = equal(values[1:], values[:-1])
    if not (same & (values[1:] != values[:-1])).any():
        return values
    source = np.arange(len(values))
    source[1:][same] = 0
    return values[np.maximum.accumulate(source)]
