"""Vectorized search for the first bar that leaves a price band."""

from __future__ import annotations

import numpy as np

from ktrdr.core.comparisons import highest_equal, lowest_equal

__all__ = ["first_touch"]

# Rows per block, which limits memory to a few tables of this many rows plus the look-ahead.
_CHUNK = 1 << 17


def first_touch(upper: np.ndarray, lower: np.ndarray, high: np.ndarray, low: np.ndarray, look_ahead: int) -> np.ndarray:
    """Return the first of the next ``look_ahead`` bars whose high reaches ``upper`` or whose low reaches ``lower``.

    A price that equals a limit (:mod:`ktrdr.core.comparisons`) reaches it. A bar with a NaN price touches nothing. The
    search takes O(n log look_ahead) time: running maxima over 1, 2, 4, ... bars tell how many bars can be skipped, with
    the largest power first.

    Args:
        upper: float64 ``(n,)``: upper limit of each row's band; NaN for no limit on that side.
        lower: float64 ``(n,)``: lower limit of each row's band; NaN for no limit on that side.
        high: float64 ``(n,)``: highs of the bars.
        low: float64 ``(n,)``: lows of the bars.
        look_ahead: number of bars to search after each row, at least 1.

    Returns:
        int64 ``(n,)``: position of the bar that touches. If none does, the position after the last bar searched:
        ``row + look_ahead + 1``, or ``n`` if the data ends before.
    """
    n = len(high)
    upper, lower = lowest_equal(upper), highest_equal(lower)
    result = np.empty(n, dtype=np.int64)
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        # The rows of this block need bars up to here.
        end = min(stop + look_ahead, n)
        untouched = _untouched(upper[start:stop], lower[start:stop], high[start:end], low[start:end], look_ahead)
        result[start:stop] = np.arange(start, stop) + 1 + untouched
    return result


def _untouched(upper: np.ndarray, lower: np.ndarray, high: np.ndarray, low: np.ndarray, look_ahead: int) -> np.ndarray:
    """Return the number of bars after each row before one touches, limited by ``look_ahead`` and the data."""
    rows, n = np.arange(len(upper)), len(high)
    cap = np.minimum(look_ahead, n - 1 - rows)
    highest, lowest = [high], [low]
    longest = int(cap.max(initial=0))
    while 2 ** len(highest) <= longest:
        half = 2 ** (len(highest) - 1)
        # fmax and fmin ignore NaN. Row t of a table covers the bars t to t + 2**k - 1.
        highest.append(np.fmax(highest[-1][:-half], highest[-1][half:]))
        lowest.append(np.fmin(lowest[-1][:-half], lowest[-1][half:]))
    passed = np.zeros(len(upper), dtype=np.int64)
    for power in reversed(range(len(highest))):
        length = 2**power
        fits = np.flatnonzero(passed + length <= cap)
        first = fits + passed[fits] + 1
        # The comparison is negated because a comparison with NaN is False, and NaN must not count as a touch.
        inside = ~((highest[power][first] >= upper[fits]) | (lowest[power][first] <= lower[fits]))
        passed[fits[inside]] += length
    return passed
