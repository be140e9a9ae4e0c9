"""Label source ``direction``: which way the price goes."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.horizon import forward_returns, horizon_end
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import CLASSES

__all__ = ["direction_labels"]


def direction_labels(bars: Bars, *, horizon: int, threshold: float) -> LabelSet:
    """Label each bar by its return over the next ``horizon`` bars, close to close.

    BUY where it is more than ``threshold``, SELL where it is less than ``-threshold``, else HOLD: with a threshold of
    0, only a price that did not change at all. The last ``horizon`` bars have no label.
    """
    returns = forward_returns(bars.close, horizon)
    values = np.full(len(bars), float(CLASSES.index("HOLD")))
    values[returns > threshold] = CLASSES.index("BUY")
    values[returns < -threshold] = CLASSES.index("SELL")
    values[np.isnan(returns)] = np.nan
    return LabelSet(values, horizon_end(len(bars), horizon), horizon, CLASSES)
