"""Buy and hold: what an account would have gone through that bought at the start and did nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.data.bars import Bars

__all__ = ["buy_and_hold"]


def buy_and_hold(bars: Sequence[Bars], time: np.ndarray, capital: float, costs: Costs) -> np.ndarray:
    """Return the equity at each of ``time``, float64 ``(n,)``.

    An equal part of the capital buys each symbol at the open of its first bar, and it is sold at the close of its last;
    both pay commission and slippage as the strategy's orders do. Fractions of units are bought.

    Args:
        bars: of each symbol; not empty.
        time: ``datetime64[ns]``: opens of the bars of all symbols together.
        capital: at the start.
        costs: of each side.
    """
    equity = np.zeros(len(time))
    part = capital / len(bars)
    for each in bars:
        price = float(each.open[0]) * (1 + costs.slippage)
        units = part / (price * (1 + costs.commission))
        value = units * each.close
        value[-1] = units * float(each.close[-1]) * (1 - costs.slippage) * (1 - costs.commission)
        if len(value) == len(time):
            equity += value
        else:
            row = np.searchsorted(each.time, time, side="right") - 1
            equity += np.where(row < 0, part, value[row])
    return equity
