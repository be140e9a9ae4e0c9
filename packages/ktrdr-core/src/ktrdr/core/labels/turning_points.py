"""Label source ``turning_points``: the lows and highs at which the zigzag of the closes turns."""

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
    """Label each bar by whether the zigzag of the closes turns at it.

    The zigzag alternates between up and down. The first close that is at least ``1 + reversal`` times the low confirms
    the low and ends the move down; the first close that is at most ``1 - reversal`` times the high confirms the high
    and ends the move up. Until then, a lower close replaces the low, and a higher close replaces the high. At the
    beginning, where the direction is unknown, both are tracked.

    BUY at a low that is confirmed within ``max_span`` bars, SELL at such a high; the label is known at the bar that
    confirms it. HOLD at every other bar:

    - at a low or high that another one replaces, known at the bar that replaces it;
    - at a low or high that is neither confirmed nor replaced within ``max_span`` bars, known at the last of these bars,
      even if a later bar confirms it and the zigzag turns there;
    - at a bar that is neither a low nor a high, known at the next bar.

    A low or high has no label if the data ends before its label is known. The last bar has no label.
    """
    n = len(bars)
    values = np.full(n, _HOLD)
    # A bar that is neither a low nor a high at its close never becomes one; a label depends on at least one later bar.
    end = np.minimum(np.arange(n, dtype=np.int64) + 1, max(n - 1, 0))
    values[n - 1 :] = np.nan

    def settle(row: int, bar: int, label: float) -> None:
        """Set the label of a low or high, known at ``bar`` if that is within ``max_span``."""
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
        # No bar confirmed or replaced it: treated as if a bar after `max_span` did.
        settle(row, row + max_span + 1, _HOLD)
    values[np.isnan(bars.close)] = np.nan
    return LabelSet(values, end, max_span, CLASSES)
