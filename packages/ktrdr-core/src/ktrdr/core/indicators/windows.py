"""Building blocks of formulas: moving windows, and division that handles windows without movement.

Arrays are float64 ``(n,)``. The value of a window at row ``t`` covers rows ``t - period + 1`` to ``t``; it is NaN
before the first full window.
"""

from __future__ import annotations

import numpy as np

from ktrdr.core.comparisons import equal
from ktrdr.core.indicators import ta

__all__ = [
    "all_zero",
    "anchored",
    "flat",
    "highest",
    "lagged",
    "lowest",
    "mean",
    "ratio",
    "settled",
    "total",
    "true_range",
    "unbroken",
]


def highest(values: np.ndarray, period: int) -> np.ndarray:
    """Return the maximum of each window."""
    return values if period == 1 else ta.MAX(values, period)


def lowest(values: np.ndarray, period: int) -> np.ndarray:
    """Return the minimum of each window."""
    return values if period == 1 else ta.MIN(values, period)


def total(values: np.ndarray, period: int) -> np.ndarray:
    """Return the sum of each window."""
    return values if period == 1 else ta.SUM(values, period)


def mean(values: np.ndarray, period: int) -> np.ndarray:
    """Return the mean of each window."""
    return values if period == 1 else ta.SMA(values, period)


def settled(values: np.ndarray, start: int) -> np.ndarray:
    """Return ``values`` from row ``start`` on, contiguous, so that TA-Lib gets no NaN of a warm-up."""
    return np.ascontiguousarray(values[start:])


def lagged(values: np.ndarray, bars: int) -> np.ndarray:
    """Return the value ``bars`` rows earlier, NaN for the first rows."""
    earlier = np.full(len(values), np.nan)
    earlier[bars:] = values[: len(values) - bars]
    return earlier


def flat(values: np.ndarray, period: int) -> np.ndarray:
    """Return a mask of the windows with equal values: bool ``(n,)``, False before the first full window.

    The deviation of a flat window may differ from zero, because running sums contain rounding errors of earlier bars.
    Formulas that divide by it use this mask.
    """
    result = np.ones(len(values), dtype=np.bool_)
    if period > 1:
        result[:1] = False
        result[1:] = unbroken(equal(values[1:], values[:-1]), period - 1)
    return result


def all_zero(values: np.ndarray, period: int) -> np.ndarray:
    """Return a mask of the windows with zeros only, bool ``(n,)``; False before the first full window."""
    return unbroken(values == 0.0, period)


def unbroken(flags: np.ndarray, period: int) -> np.ndarray:
    """Return a mask of the windows in which every flag (bool ``(n,)``) is set; False before the first full window."""
    result = np.zeros(len(flags), dtype=np.bool_)
    if np.count_nonzero(flags) >= period:
        count = np.concatenate(([0], np.cumsum(flags, dtype=np.int64)))
        result[period - 1 :] = count[period:] - count[:-period] == period
    return result


def ratio(over: np.ndarray, under: np.ndarray, *, neutral: float | np.ndarray) -> np.ndarray:
    """Return ``over / under``; ``neutral`` where both are zero, and NaN where only ``under`` is.

    Zero over zero is a market that did not move, for which an oscillator has its middle value. Any other number over
    zero has no meaningful value.
    """
    result = np.empty(len(under))
    zero = under == 0.0
    if not zero.any():
        np.divide(over, under, out=result)
        return result
    np.divide(over, under, out=result, where=~zero)
    result[zero] = np.where(over == 0.0, neutral, np.nan)[zero]
    return result


def anchored(values: np.ndarray) -> np.ndarray:
    """Return ``values`` minus the first value, for formulas that do not depend on the level.

    Running sums of prices have rounding errors relative to the price, which would be large relative to small changes.
    """
    return values - values[0] if len(values) else values


def true_range(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Return Wilder's true range; the first row, which has no previous close, is ``high - low``."""
    result = high - low
    previous = close[:-1]
    np.maximum(high[1:], previous, out=result[1:])
    result[1:] -= np.minimum(low[1:], previous)
    return result
