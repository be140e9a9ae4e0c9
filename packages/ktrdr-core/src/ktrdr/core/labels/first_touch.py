"""When a price first leaves a band, for every bar at once."""

from __future__ import annotations

import numpy as np

from ktrdr.core.comparisons import highest_equal, lowest_equal

__all__ = ["first_touch"]

# Rows worked on at a time: bounds memory to a few tables of this many rows plus the look-ahead.
_CHUNK = 1 << 17


def first_touch(upper: np.ndarray, lower: np.ndarray, high: np.ndarray, low: np.ndarray, look_ahead: int) -> np.ndarray:
    """Return the first of the next ``look_ahead`` bars whose high reaches ``upper`` or whose low reaches ``lower``.

    A price that equals a limit (:mod:`ktrdr.core.comparisons`) reaches it. A bar on which a price is NaN touches
    nothing. Takes O(n log look_ahead) time: running maxima over 1, 2, 4, ... bars tell how many bars ahead can be
    skipped, largest power first.

    Args:
        upper, lower: float64 ``(n,)``: the band of each row; a row whose limit is NaN is not touched on that side.
        high, low: float64 ``(n,)`` prices.
        look_ahead: at least 1.

    Returns:
        int64 ``(n,)``: position of the bar that touches; if none does, the position after the last bar looked at:
        ``row + look_ahead + 1``, or ``n`` where the data ends before.
    """
    n = len(high)
    upper, lower = lowest_equal(upper), highest_equal(lower)
    result = np.empty(n, dtype=np.int64)
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        # The rows of this chunk see bars up to this one.
        end = min(stop + look_ahead, n)
        untouched = _untouched(upper[start:stop], lower[start:stop], high[start:end], low[start:end], look_ahead)
        result[start:stop] = np.arange(start, stop) + 1 + untouched
    return result


def _untouched(upper: np.ndarray, lower: np.ndarray, high: np.ndarray, low: np.ndarray, look_ahead: int) -> np.ndarray:
    """Return how many bars after each row pass before one touches, capped by ``look_ahead`` and by the data."""
    rows, n = np.arange(len(upper)), len(high)
    cap = np.minimum(look_ahead, n - 1 - rows)
    highest, lowest = [high], [low]
    longest = int(cap.max(initial=0))
    while 2 ** len(highest) <= longest:
        half = 2 ** (len(highest) - 1)
        # fmax and fmin pass over NaN. Row t of a table covers the bars t to t + 2**k - 1.
        highest.append(np.fmax(highest[-1][:-half], highest[-1][half:]))
        lowest.append(np.fmin(lowest[-1][:-half], lowest[-1][half:]))
    passed = np.zeros(len(upper), dtype=np.int64)
    for power in reversed(range(len(highest))):
        length = 2**power
        fits = np.flatnonzero(passed + length <= cap)
        first = fits + passed[fits] + 1
        # Negated, because a comparison with NaN is False: what cannot be compared is not a touch.
        inside = ~((highest[power][first] >= upper[fits]) | (lowest[power][first] <= lower[fits]))
        passed[fits[inside]] += length
    return passed
