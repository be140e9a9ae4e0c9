"""Label source ``triple_barrier``: which of a profit barrier, a loss barrier and a time limit comes first.

The method is described in López de Prado, Advances in Financial Machine Learning (2018), section 3.4. It differs from
the book in two ways: barriers are touched by highs and lows, as a stop or target order is, not by closes; and each
barrier has a class of its own.
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
    """Label each bar by the barrier of a long position that the bars after it touch first.

    BUY if it is the profit barrier above, SELL if it is the loss barrier below, HOLD if ``max_holding_period`` bars
    pass without a touch. The label depends on bars up to the one that touches, or up to the end of the holding period.
    A bar touches a barrier with its high or low. A bar that touches both is treated as in the backtest: its open
    decides if it is beyond one of the barriers, else it is a loss.

    SELL means that a long position would have been stopped out, not that a short position would have made a profit:
    with multipliers of 2 and 1, the loss barrier is half as far away and is touched first about twice as often.

    A bar has no label while its volatility is unknown or zero, or if the data ends before the label is known.
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
    """Return the prices of each bar's profit and loss barrier, float64 ``(n,)``; both are NaN if unknown.

    Their distance from the close is a multiple of the volatility. ``atr`` is Wilder's average true range of
    ``vol_span`` bars, in units of the price. ``close`` is the sample standard deviation of the last ``vol_span`` log
    returns of the closes, as a fraction of the price.
    """
    if vol_method == "atr":
        distance = computation.compute_indicator("atr", {"period": vol_span}, bars)["atr"]
    else:
        distance = computation.compute_indicator("volatility", {"period": vol_span}, bars)["volatility"] * bars.close
    # Without volatility, the barriers have no distance.
    distance = np.where(distance > 0.0, distance, np.nan)
    return bars.close + pt_multiplier * distance, bars.close - sl_multiplier * distance
