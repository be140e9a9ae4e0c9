"""Sizes of orders."""

from __future__ import annotations

import math

import numpy as np

from ktrdr.core.comparisons import highest_equal
from ktrdr.core.strategy.model import Sizing

__all__ = ["realized_volatility", "round_down", "units_wanted"]


def units_wanted(
    sizing: Sizing,
    equity: float,
    price: float,
    commission: float,
    distances: tuple[float, float, float],
    volatility: float,
) -> float:
    """Return the units by a sizing rule, before rounding to lots and before the limit of free cash.

    ``fixed_fraction`` and ``fixed_cash`` are the cash to spend, commission included. ``volatility_target`` is the
    annual volatility of the position as a share of the equity. ``risk_per_trade`` is the loss before costs as a share
    of the equity if the stop fills at its own price.

    Args:
        sizing: the rule.
        equity: cash and positions, marked at their last close.
        price: price of the fill, slippage included.
        commission: share of the notional, of one side.
        distances: distances of the stop, the target and the trailing stop from the fill; ``inf`` for none.
        volatility: annualized volatility of the symbol.
    """
    match sizing.type:
        case "fixed_fraction":
            return sizing.value * equity / (price * (1 + commission))
        case "fixed_units":
            return sizing.value
        case "fixed_cash":
            return sizing.value / (price * (1 + commission))
        case "risk_per_trade":
            return sizing.value * equity / min(distances[0], distances[2])
        case "volatility_target":
            return sizing.value * equity / (volatility * price) if volatility > 0 else math.inf


def round_down(units: float, lot: float) -> float:
    """Return the largest multiple of ``lot`` that is not above ``units``; ``units`` itself if ``lot`` is 0."""
    if lot <= 0:
        return units
    lots = units / lot
    # 0.3 / 0.1 is 2.9999999999999996, which must count as 3 lots.
    whole = round(lots)
    return (whole if whole <= highest_equal(lots) else math.floor(lots)) * lot


def realized_volatility(close: np.ndarray, bar: int, window: int, periods_per_year: float) -> float:
    """Return the annualized standard deviation of the last ``window`` log returns up to ``bar``.

    NaN if there are fewer returns.
    """
    if bar < window:
        return math.nan
    returns = np.diff(np.log(close[bar - window : bar + 1]))
    return float(returns.std(ddof=1)) * math.sqrt(periods_per_year)
