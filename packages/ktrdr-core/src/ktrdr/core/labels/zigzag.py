"""Label source ``zigzag``: which of two levels around a bar's own close the closes after it reach first.

This is a first-passage label. The turns of the zigzag itself are in :mod:`ktrdr.core.labels.turning_points`.
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
    """Label each bar by the first later close that is far enough from its own close.

    Let ``c`` be the close of bar ``t``, and ``j`` the first of the bars ``t + 1`` to ``t + label_lookahead`` with a
    close of at least ``c * (1 + zigzag_threshold)`` or at most ``c * (1 - zigzag_threshold)``. The label is BUY in the
    first case and SELL in the second, known at bar ``j``. If there is no such bar, it is HOLD, known at the last of
    them.

    A bar has no label if no close has been far enough and fewer than ``label_lookahead`` bars follow it.
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
