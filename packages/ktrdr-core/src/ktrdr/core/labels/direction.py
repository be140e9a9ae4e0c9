"""Label source ``direction``: sign of the return over a fixed number of bars."""

from __future__ import annotations

import numpy as np

from ktrdr.core.comparisons import highest_equal, lowest_equal
from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.horizon import horizon_end
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import CLASSES

__all__ = ["direction_labels"]


def direction_labels(bars: Bars, *, horizon: int, threshold: float) -> LabelSet:
    """Label each bar by its return over the next ``horizon`` bars, close to close.

    BUY if the return is above ``threshold``, SELL if it is below ``-threshold``, else HOLD. With a threshold of 0, HOLD
    means that the price did not change at all. The last ``horizon`` bars have no label.
    """
    n = len(bars)
    now, later = bars.close[: max(n - horizon, 0)], bars.close[horizon:]
    labels = np.full(len(now), float(CLASSES.index("HOLD")))
    # Prices are compared rather than returns, because a small return is too inexact to compare with the threshold.
    labels[later > highest_equal(now * (1.0 + threshold))] = CLASSES.index("BUY")
    labels[later < lowest_equal(now * (1.0 - threshold))] = CLASSES.index("SELL")
    labels[np.isnan(now) | np.isnan(later)] = np.nan
    values = np.full(n, np.nan)
    values[: len(now)] = labels
    return LabelSet(values, horizon_end(n, horizon), horizon, CLASSES)
