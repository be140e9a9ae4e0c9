"""What can be found in a synthetic market at most: predictions and trades of somebody who sees its hidden state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.synthetic.market import SyntheticMarket

__all__ = ["Optimum", "optimum", "positions_at"]

_THRESHOLDS = 41
_LARGEST_THRESHOLD = 4.0


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best that the hidden state allows.

    Attributes:
        accuracy: share of the closes after which the price moves over the horizon as the state expects.
        threshold: expected log return of the next bar from which a position is worth its costs.
        sharpe: annual Sharpe ratio of the positions, after costs.
        trades: positions per year.
    """

    accuracy: float
    threshold: float
    sharpe: float
    trades: float


def positions_at(expected: np.ndarray, threshold: float) -> np.ndarray:
    """Return the position at each close: 1 where the expected return is above the threshold, -1 below minus it.

    In between the position before is kept; at first it is 0.

    Args:
        expected: float64 ``(n,)``, expected return of the next bar.
        threshold: at least 0.

    Returns:
        int64 ``(n,)``.
    """
    wanted = np.where(expected > threshold, 1, np.where(expected < -threshold, -1, 0))
    last = np.maximum.accumulate(np.where(wanted != 0, np.arange(len(wanted)), -1))
    return np.where(last >= 0, wanted[np.maximum(last, 0)], 0)


def optimum(market: SyntheticMarket, first: int, n: int, *, horizon: int, cost: float, bars_per_year: float) -> Optimum:
    """Return the optimum on bars ``first`` to ``n`` of a market, which must have as many.

    The position is that of :func:`positions_at` with the best of 41 thresholds, from 0 to 4 standard deviations of the
    expected return. It is chosen on the same bars, so that the Sharpe ratio is the largest that such a rule reaches.

    Args:
        market: process, seed and parameters.
        first: the first bar that is traded.
        n: number of bars of the market.
        horizon: bars ahead whose direction is predicted.
        cost: share of the traded value that a buy or a sale costs.
        bars_per_year: to annualize.
    """
    path = market.path(n)
    future = path.log_price[horizon:] - path.log_price[:-horizon]
    right = (path.expected(horizon)[first:-horizon] > 0) == (future[first:] > 0)
    expected, returns = path.expected(1)[first:], np.diff(path.log_price)[first:]
    found = [
        _traded(positions_at(expected, threshold)[:-1], returns, cost, bars_per_year, threshold)
        for threshold in np.linspace(0.0, _LARGEST_THRESHOLD * float(expected.std()), _THRESHOLDS)
    ]
    sharpe, trades, threshold = max(found)
    return Optimum(float(right.mean()), threshold, sharpe, trades)


def _traded(
    positions: np.ndarray, returns: np.ndarray, cost: float, bars_per_year: float, threshold: float
) -> tuple[float, float, float]:
    """Return Sharpe ratio, trades per year and threshold; position ``t`` earns return ``t``, of the bar after it."""
    traded = np.abs(np.diff(positions, prepend=0))
    net = positions * returns - cost * traded
    spread = float(net.std(ddof=1))
    sharpe = float(net.mean()) / spread * bars_per_year**0.5 if spread > 0 else 0.0
    return sharpe, float((np.diff(positions, prepend=0) != 0).mean()) * bars_per_year, float(threshold)
