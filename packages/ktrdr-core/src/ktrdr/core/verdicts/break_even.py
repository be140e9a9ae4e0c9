"""The cost at which nothing is left of an account's profit, and its Sharpe ratio over costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ktrdr.core.verdicts.verdict_result import BreakEven

__all__ = ["break_even_of"]

_POINTS = 13
# Where nothing else tells how far the curve should reach: ten basis points.
_LEAST_REACH = 0.001
_FIRST_GUESS = 0.0001
# A commission of the whole traded value leaves no profit to anybody.
_HIGHEST = 0.999
_ACCURACY = 1e-4
_MOST_STEPS = 60


def break_even_of(sharpe_and_profit_at: Callable[[float], tuple[float | None, float]], paid: float) -> BreakEven | None:
    """Return the cost at which an account ends without profit, and its Sharpe ratio at costs below and above.

    Args:
        sharpe_and_profit_at: returns annual Sharpe ratio (``None`` where it is not defined) and profit in cash of the
            account at a cost: commission and slippage together, as a share of the traded value per side.
        paid: the cost that was paid.

    Returns:
        The cost, accurate to 0.01 %, and the curve from 0 to beyond both costs, with the paid one among its points.
        ``None`` if the ratio is not defined at any cost, as that of an account that never trades.
    """
    known: dict[float, tuple[float | None, float]] = {}

    def profit(cost: float) -> float:
        if cost not in known:
            known[cost] = sharpe_and_profit_at(cost)
        return known[cost][1]

    cost = _root(profit, max(paid, _FIRST_GUESS))
    reach = max(2 * paid, 1.5 * (cost or 0.0)) or _LEAST_REACH
    costs = sorted({*np.linspace(0.0, min(reach, _HIGHEST), _POINTS).tolist(), paid})
    for each in costs:
        profit(each)
    sharpe = tuple(known[each][0] for each in costs)
    if all(each is None for each in sharpe):
        return None
    return BreakEven(paid=paid, cost=cost, costs=tuple(costs), sharpe=sharpe)


def _root(profit: Callable[[float], float], guess: float) -> float | None:
    """Return the cost at which the profit passes 0; ``None`` if there is none without costs.

    By false position with the correction of M. Dowell and P. Jarratt, "A Modified Regula Falsi Method for Computing the
    Root of an Equation" (BIT, 1971), known as the Illinois algorithm: a profit is nearly linear in the cost.
    """
    low, left = 0.0, profit(0.0)
    if left <= 0:
        return None
    high = guess
    while (right := profit(high)) > 0:
        if high >= _HIGHEST:
            return high
        low, left, high = high, right, min(4 * high, _HIGHEST)
    side = 0
    for step in range(_MOST_STEPS):
        if high - low <= _ACCURACY * high:
            break
        # Every third step halves the interval: where profits compound for long, a line says little.
        share = 0.5 if step % 3 == 2 else min(max(left / (left - right), _ACCURACY / 4), 1 - _ACCURACY / 4)
        middle = low + share * (high - low)
        value = profit(middle)
        if value > 0:
            low, left = middle, value
            right = right / 2 if side > 0 else right
            side = 1
        else:
            high, right = middle, value
            left = left / 2 if side < 0 else left
            side = -1
    return (low + high) / 2
