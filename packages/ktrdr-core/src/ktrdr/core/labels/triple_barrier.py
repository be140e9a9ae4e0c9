"""Label source ``triple_barrier``: which of a profit barrier, a loss barrier and a time limit comes first.

The method is that of López de Prado, Advances in Financial Machine Learning (2018), section 3.4; here with the highs
and lows that a stop or target order would meet, where the book has closes, and one class per barrier.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ktrdr.core.comparisons import highest_equal, lowest_equal
from ktrdr.core.data.bars import Bars
from ktrdr.core.indicators import computation
from ktrdr.core.labels.first_touch import first_touch
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import CLASSES

__all__ = ["barriers", "triple_barrier_labels"]

_BUY, _HOLD, _SELL = (float(CLASSES.index(name)) for name in ("BUY", "HOLD", "SELL"))


def triple_barrier_labels(
    bars: Bars,
    *,
    pt_multiplier: float,
    sl_multiplier: float,
    max_holding_period: int,
    vol_span: int,
    vol_method: Literal["atr", "close"],
) -> LabelSet:
    """Label each bar by the barrier that the bars after it touch first, as seen by a long position.

    BUY if it is the profit barrier above, SELL if it is the loss barrier below, HOLD if ``max_holding_period`` bars
    pass without either. The bar that touches settles the label, else the last of the holding period. A bar touches a
    barrier with its high or low. One that touches both counts as the backtest fills it: by its open if that is beyond
    one of them, else as a loss.

    SELL says that a long position would have been stopped out, not that a short one would have paid: at multipliers of
    2 and 1 the loss barrier is half as far away, and is touched first about twice as often.

    A bar has no label before its volatility is known, where that is zero, and where the data ends before the label is
    settled.
    """
    n = len(bars)
    rows = np.arange(n, dtype=np.int64)
    upper, lower = barriers(bars, pt_multiplier, sl_multiplier, vol_span, vol_method)
    touch = first_touch(upper, lower, bars.high, bars.low, max_holding_period)
    known = ~np.isnan(upper)
    touched = known & (touch < n) & (touch - rows <= max_holding_period)
    values = np.full(n, _HOLD)
    at = touch[touched]
    profit = (bars.open[at] >= lowest_equal(upper[touched])) | ~(bars.low[at] <= highest_equal(lower[touched]))
    values[touched] = np.where(profit, _BUY, _SELL)
    values[~touched & (rows + max_holding_period >= n)] = np.nan
    values[~known] = np.nan
    end = np.where(touched, touch, np.minimum(rows + max_holding_period, max(n - 1, 0)))
    return LabelSet(values, end, max_holding_period, CLASSES)


def barriers(
    bars: Bars, pt_multiplier: float, sl_multiplier: float, vol_span: int, vol_method: Literal["atr", "close"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the prices of the profit and of the loss barrier of each bar, float64 ``(n,)``, both NaN if not known.

    They lie at multiples of the volatility from the close. ``atr``: Wilder's average true range of ``vol_span`` bars,
    in the price's unit. ``close``: sample standard deviation of the last ``vol_span`` log returns of the closes, as a
    share of the price.
    """
    if vol_method == "atr":
        distance = computation.compute_indicator("atr", {"period": vol_span}, bars)["atr"]
    else:
        distance = computation.compute_indicator("volatility", {"period": vol_span}, bars)["volatility"] * bars.close
    # A market that did not move has no scale to measure in.
    distance = np.where(distance > 0.0, distance, np.nan)
    return bars.close + pt_multiplier * distance, bars.close - sl_multiplier * distance
