"""Comparisons of prices with a tolerance for rounding.

A price is a decimal number, and float64 stores the nearest binary number; values computed from prices have rounding
errors. Whether 1.1 + 0.1 reaches 1.2 must not depend on the last bit, nor on whether a market is quoted in dollars or
cents. Two values are therefore equal if they differ by at most :data:`TOLERANCE` times one of them: far more than
rounding (1e-16 per operation), and far less than the tick size of any market.

Prices that were only read, not computed, can be compared exactly: the same text gives the same float.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

__all__ = ["TOLERANCE", "equal", "highest_equal", "lowest_equal", "slack", "steady"]

TOLERANCE = 1e-9
"""Relative difference up to which two values are equal."""

_Number = TypeVar("_Number", float, np.ndarray)


def slack(scale: _Number) -> _Number:
    """Return the tolerance of a result that was computed from values as large as ``scale``.

    It is for differences, whose rounding error is relative to the operands and not to the result.
    """
    return TOLERANCE * abs(scale)


def lowest_equal(level: _Number) -> _Number:
    """Return the lowest value that is equal to ``level`` within the tolerance.

    ``value >= lowest_equal(level)``: at or above the level, which is reached from below.
    ``value < lowest_equal(level)``: below it. The result is NaN for infinity, which stands for no level, and for NaN:
    no value reaches it.
    """
    return level - slack(level)


def highest_equal(level: _Number) -> _Number:
    """Return the highest value that is equal to ``level`` within the tolerance.

    ``value <= highest_equal(level)``: at or below the level, which is reached from above.
    ``value > highest_equal(level)``: above it. The result is NaN for minus infinity, which stands for no level, and for
    NaN: no value reaches it.
    """
    return level + slack(level)


def equal(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two float64 arrays ``(n,)`` are equal in tolerance: bool ``(n,)``, False for NaN and infinity."""
    with np.errstate(invalid="ignore"):
        return np.abs(a - b) <= slack(np.minimum(np.abs(a), np.abs(b)))


def steady(values: np.ndarray) -> np.ndarray:
    """Return ``values``, float64 ``(n,)``, with every value replaced by the one before if both are equal.

    It is for means of prices, which otherwise change in the last bit while the price does not. Row ``t`` depends only
    on rows up to ``t``.
    """
    if len(values) < 2:
        return values
    same = equal(values[1:], values[:-1])
    if not (same & (values[1:] != values[:-1])).any():
        return values
    source = np.arange(len(values))
    source[1:][same] = 0
    return values[np.maximum.accumulate(source)]
