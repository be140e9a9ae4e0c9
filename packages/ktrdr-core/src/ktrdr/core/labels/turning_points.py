"""Label source ``turning_points``: the lows and highs at which the swings of a zigzag turn."""

from __future__ import annotations

import math

import numpy as np

from ktrdr.core.comparisons import highest_equal, lowest_equal
from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import CLASSES

__all__ = ["turning_points_labels"]

_BUY, _HOLD, _SELL = (float(CLASSES.index(name)) for name in ("BUY", "HOLD", "SELL"))


def turning_points_labels(bars: Bars, *, reversal: float, max_span: int) -> LabelSet:
    """Label each bar by whether a swing of the closes turns at it.

    The zigzag of the closes goes up and down in turns. A low is confirmed, and ends the way down, by the first close
    that is at least ``1 + reversal`` times the low; a high by the first close that is at most ``1 - reversal`` times
    the high. Until then a lower close takes the place of the low, and a higher one that of the high. At the beginning,
    where the way is not known, both are looked for.

    BUY at a low that is confirmed within ``max_span`` bars, SELL at such a high, settled by the bar that confirms it.
    HOLD at every other bar: at a low or high that another takes the place of, settled by that one; at one that is
    neither confirmed nor replaced within ``max_span`` bars, settled by the last of them, though the zigzag turns there
    if it is confirmed later; and at a bar that is none, settled by the next.

    A low or high has no label if the data end before it is settled, and the last bar has none.
    """
    n = len(bars)
    values = np.full(n, _HOLD)
    # What is neither a low nor a high when it closes is known not to be one; a label depends on one bar at least.
    end = np.minimum(np.arange(n, dtype=np.int64) + 1, max(n - 1, 0))
    values[n - 1 :] = np.nan

    def settle(row: int, bar: int, label: float) -> None:
        """Give a low or high its label, known at ``bar`` if that is soon enough."""
        last = row + max_span
        soon = bar <= last
        values[row] = label if soon else _HOLD if last < n else math.nan
        end[row] = min(bar, last, n - 1)

    low, high = -1, -1  # rows that may turn out to be a turning point; -1 for none
    bottom = top = 0.0
    for row, close in enumerate(bars.close.tolist()):
        if math.isnan(close):
            continue
        if low < 0 and high < 0:
            low = high = row
            bottom = top = close
        elif low >= 0 and close >= lowest_equal(bottom * (1.0 + reversal)):
            settle(low, row, _BUY)
            if high >= 0 and high != low:
                settle(high, row, _HOLD)
            low, high, top = -1, row, close
        elif high >= 0 and close <= highest_equal(top * (1.0 - reversal)):
            settle(high, row, _SELL)
            if low >= 0 and low != high:
                settle(low, row, _HOLD)
            high, low, bottom = -1, row, close
        elif low >= 0 and close < lowest_equal(bottom):
            if low != high:
                settle(low, row, _HOLD)
            low, bottom = row, close
        elif high >= 0 and close > highest_equal(top):
            if high != low:
                settle(high, row, _HOLD)
            high, top = row, close
    for row in {low, high} - {-1}:
        # Not settled by any bar: as if by one that never comes.
        settle(row, row + max_span + 1, _HOLD)
    values[np.isnan(bars.close)] = np.nan
    return LabelSet(values, end, max_span, CLASSES)
