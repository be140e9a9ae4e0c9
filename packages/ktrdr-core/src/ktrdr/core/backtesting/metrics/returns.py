"""Metrics of a series of returns.

Returns are simple returns per bar, float64 ``(n,)``. ``periods_per_year`` is the number of bars in a year of that
market; metrics are annualized by it, never by an assumed number of days. The risk-free rate is 0.

Sources: F. A. Sortino and L. N. Price, "Performance Measurement in a Downside Risk Framework" (Journal of Investing,
1994); T. W. Young, "Calmar Ratio: A Smoother Tool" (Futures, 1991); R. T. Rockafellar and S. Uryasev, "Optimization of
Conditional Value-at-Risk" (Journal of Risk, 2000); M. C. Jensen, "The Performance of Mutual Funds in the Period
1945-1964" (Journal of Finance, 1968).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ktrdr.core.comparisons import TOLERANCE

__all__ = [
    "alpha_beta",
    "annual_return",
    "drawdowns",
    "longest_drawdown",
    "monthly_returns",
    "simple_returns",
    "sortino_ratio",
    "value_at_risk",
    "yearly_returns",
]

# Rows per block: intermediate arrays of this size stay in the processor's cache.
_BLOCK = 1 << 16
# A standard deviation below this share of the mean is rounding error of a constant series.
_ROUNDING = 1e-12


def simple_returns(equity: np.ndarray, capital: float) -> np.ndarray:
    """Return the change of equity over each bar as a share of the equity before it, float64 ``(n,)``.

    The first return is from ``capital``. All equities but the last must be above 0.
    """
    returns = np.empty(len(equity))
    if len(equity):
        returns[0] = equity[0] / capital - 1
        np.divide(equity[1:], equity[:-1], out=returns[1:])
        returns[1:] -= 1
    return returns


def annual_return(final: float, capital: float, bars: int, periods_per_year: float) -> float | None:
    """Return the compound annual growth rate from ``capital`` to ``final`` in ``bars``; -1 for a total loss."""
    if not bars:
        return None
    if final <= 0:
        return -1.0
    exponent = math.log(final / capital) * periods_per_year / bars
    # A high return over few bars can annualize to more than a float holds.
    return math.expm1(exponent) if exponent < 700 else None


def sortino_ratio(returns: np.ndarray, periods_per_year: float) -> float | None:
    """Return the mean divided by the downside deviation (root mean square of the losses), annualized."""
    if not len(returns):
        return None
    losses = np.minimum(returns, 0.0)
    downside = math.sqrt(float(np.einsum("i,i->", losses, losses)) / len(returns))
    return float(returns.mean()) / downside * math.sqrt(periods_per_year) if downside > 0 else None


def drawdowns(equity: np.ndarray, capital: float) -> np.ndarray:
    """Return the distance of the equity from its highest value so far, as a share of that value: float64 ``(n,)``.

    ``capital`` counts as the first value. Drawdowns are between 0 and -1, and below -1 where the equity is negative.
    """
    highest = np.maximum.accumulate(equity)
    np.maximum(highest, capital, out=highest)
    np.divide(equity, highest, out=highest)
    highest -= 1
    return highest


def longest_drawdown(time: np.ndarray, drawdown: np.ndarray, bar: np.timedelta64) -> tuple[int, float]:
    """Return the length of the longest drawdown in bars and in days.

    Bars are those below an earlier high. Days are from the high to the bar that reaches it again, or to the last bar.
    The two may be of different drawdowns. An equity that equals the high has reached it again.

    Args:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars.
        drawdown: float64 ``(n,)``: drawdown at the closes of the bars, as :func:`drawdowns` returns it.
        bar: length of a bar. A drawdown that begins with the first bar is from the capital, which is the equity at the
            open of that bar: one bar before its close.
    """
    # First bars of the drawdowns, and the first bars after them.
    bounds = np.flatnonzero(np.diff(drawdown < -TOLERANCE, prepend=False, append=False))
    starts, ends = bounds[::2], bounds[1::2]
    if not len(starts):
        return 0, 0.0
    # From the close of the bar of the high, the one before the drawdown, to the close of the bar that reaches it again.
    # Times between closes equal times between opens.
    begin = time[np.maximum(starts - 1, 0)]
    finish = time[np.minimum(ends, len(time) - 1)]
    length = finish - begin
    if starts[0] == 0:
        length[0] += bar
    return int((ends - starts).max()), float((length / np.timedelta64(1, "D")).max())


def value_at_risk(returns: np.ndarray, share: float = 0.05) -> tuple[float, float] | None:
    """Return the value at risk and the conditional value at risk, as returns per bar.

    The value at risk is the historical quantile of the returns at ``share``, interpolated linearly. The conditional
    value at risk is the mean of the worst ``share`` of the returns, at least of one.
    """
    n = len(returns)
    if not n:
        return None
    place = (n - 1) * share
    low = int(place)
    high = min(low + 1, n - 1)
    ordered = np.partition(returns, (low, high))
    quantile = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
    return float(quantile), float(ordered[: low + 1].mean())


def alpha_beta(
    returns: np.ndarray, benchmark: np.ndarray, periods_per_year: float
) -> tuple[float | None, float | None]:
    """Return Jensen's alpha, compounded to a year, and beta, the slope of the regression on the benchmark.

    Args:
        returns: returns per bar, float64 ``(n,)``.
        benchmark: returns of the benchmark over the same bars, float64 ``(n,)``.
        periods_per_year: bars in a year.
    """
    if len(returns) < 2:
        return None, None
    mean = float(benchmark.mean())
    variance = covariance = 0.0
    for start in range(0, len(returns), _BLOCK):
        deviations = benchmark[start : start + _BLOCK] - mean
        variance += float(deviations @ deviations)
        covariance += float(deviations @ returns[start : start + _BLOCK])
    if variance <= _ROUNDING**2 * float(benchmark @ benchmark):
        return None, None
    beta = covariance / variance
    per_bar = float(returns.mean()) - beta * mean
    exponent = math.log1p(per_bar) * periods_per_year if per_bar > -1 else -math.inf
    return (math.expm1(exponent) if exponent < 700 else None), beta


def monthly_returns(time: np.ndarray, equity: np.ndarray, capital: float) -> dict[str, float]:
    """Return ``{"2017-10": 0.012, ...}`` for each calendar month (UTC, by the opens of bars) with a bar in it."""
    return _returns_by(time, equity, capital, "M", "%Y-%m")


def yearly_returns(time: np.ndarray, equity: np.ndarray, capital: float) -> dict[str, float]:
    """Return ``{"2017": 0.04, ...}`` for each calendar year (UTC, by the opens of bars) with a bar in it."""
    return _returns_by(time, equity, capital, "Y", "%Y")


def _returns_by(
    time: np.ndarray, equity: np.ndarray, capital: float, unit: Literal["M", "Y"], form: str
) -> dict[str, float]:
    if not len(time):
        return {}
    spans = np.arange(time[0].astype(f"datetime64[{unit}]"), time[-1].astype(f"datetime64[{unit}]") + 1)
    bounds = np.searchsorted(time, spans[1:].astype(time.dtype))
    last = np.append(bounds, len(time)) - 1
    table: dict[str, float] = {}
    before, position = capital, -1
    for span, row in zip(spans.tolist(), last.tolist(), strict=True):
        # No bar in this span: the market was closed, or data are missing.
        if row == position:
            continue
        after = float(equity[row])
        if before > 0:
            table[f"{span:{form}}"] = after / before - 1
        before, position = after, row
    return table
