"""Label source ``zigzag``: which of two levels around a bar's own close the closes after it reach first.

A first-passage label. It is named after the zigzag, whose turns are those of :mod:`ktrdr.core.labels.turning_points`.
"""

from __future__ import annotations

import numpy as np

from ktrdr.core.comparisons import lowest_equal
from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.first_touch import first_touch
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import CLASSES

__all__ = ["zigzag_labels"]


def zigzag_labels(bars: Bars, *, zigzag_threshold: float, label_lookahead: int) -> LabelSet:
    """Label each bar by the first of the closes after it that is far enough from its own close.

    With ``c`` the close of bar ``t``, and ``j`` the first of the bars ``t + 1`` to ``t + label_lookahead`` whose close
    is at least ``c * (1 + zigzag_threshold)`` or at most ``c * (1 - zigzag_threshold)``: BUY if it is the former, SELL
    if the latter; ``j`` settles the label. HOLD if there is no such bar, settled by the last of them.

    A bar without such a close so far, and with fewer than ``label_lookahead`` bars after it, has no label.
    """
    close, n = bars.close, len(bars)
    upper, lower = close * (1.0 + zigzag_threshold), close * (1.0 - zigzag_threshold)
    touch = first_touch(upper, lower, close, close, label_lookahead)
    rows = np.arange(n, dtype=np.int64)
    reached = (touch < n) & (touch - rows <= label_lookahead)
    values = np.full(n, float(CLASSES.index("HOLD")))
    values[reached] = np.where(
        close[touch[reached]] >= lowest_equal(upper[reached]), float(CLASSES.index("BUY")), float(CLASSES.index("SELL"))
    )
    values[~reached & (rows + label_lookahead >= n)] = np.nan
    values[np.isnan(close)] = np.nan
    end = np.where(reached, touch, np.minimum(rows + label_lookahead, max(n - 1, 0)))
    return LabelSet(values, end, label_lookahead, CLASSES)
