"""Worst drawdowns and rolling Sharpe ratio of an account."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ktrdr.core.backtesting.metrics.returns import drawdowns
from ktrdr.core.comparisons import TOLERANCE

__all__ = ["Drawdown", "rolling_sharpe", "rolling_window", "worst_drawdowns"]

_FEWEST_BARS = 20
_WINDOWS = {"year": 1.0, "half year": 0.5, "quarter": 0.25, "month": 1 / 12}


@dataclass(frozen=True, slots=True)
class Drawdown:
    """A drawdown, from a high of the equity to the bar that reaches it again.

    Attributes:
        depth: largest distance from the high, as a share of the high; below 0.
        start: open of the bar at whose close the high was; of the first bar, if the high is the capital.
        trough: open of the bar at whose close the equity was lowest.
        end: open of the bar at whose close the high was reached again; ``None`` if it was not reached.
        bars: number of bars below the high.
        days: days from the high to the end, or to the last bar.
        recovery_days: days from the trough to the end; ``None`` if there is no end.
    """

    depth: float
    start: np.datetime64
    trough: np.datetime64
    end: np.datetime64 | None
    bars: int
    days: float
    recovery_days: float | None


def worst_drawdowns(
    time: np.ndarray, equity: np.ndarray, capital: float, bar: np.timedelta64, most: int = 5
) -> list[Drawdown]:
    """Return the deepest drawdowns, the deepest first; of equal ones the earlier first.

    Args:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars.
        equity: float64 ``(n,)``: equity at the closes of the bars.
        capital: equity at the open of the first bar.
        bar: length of a bar.
        most: largest number of drawdowns to return.
    """
    below = drawdowns(equity, capital)
    bounds = np.flatnonzero(np.diff(below < -TOLERANCE, prepend=False, append=False))
    found = []
    for first, after in zip(bounds[::2].tolist(), bounds[1::2].tolist(), strict=True):
        lowest = first + int(below[first:after].argmin())
        ended = after < len(time)
        finish = time[after] if ended else time[-1]
        # Times between closes equal times between opens; the capital is the equity one bar before the first close.
        begin = time[first - 1] if first else time[0] - bar
        found.append(
            Drawdown(
                depth=float(below[lowest]),
                start=time[max(first - 1, 0)],
                trough=time[lowest],
                end=finish if ended else None,
                bars=after - first,
                days=_days(finish - begin),
                recovery_days=_days(finish - time[lowest]) if ended else None,
            )
        )
    return sorted(found, key=lambda each: each.depth)[:most]


def rolling_window(bars: int, periods_per_year: float) -> tuple[str, int] | None:
    """Return the name and the number of bars of the window for rolling metrics.

    It is the longest of a year, half a year, a quarter and a month that has at least 20 bars and at most half of
    ``bars``; ``None`` if there is none.
    """
    for name, share in _WINDOWS.items():
        window = round(periods_per_year * share)
        if _FEWEST_BARS <= window <= bars / 2:
            return name, window
    return None


def rolling_sharpe(returns: np.ndarray, window: int, periods_per_year: float) -> np.ndarray:
    """Return the rolling Sharpe ratio of the last ``window`` returns.

    It is the mean divided by the standard deviation (n - 1), annualized by the root of ``periods_per_year``, with a
    risk-free rate of 0: the definition of the metric ``sharpe`` (W. F. Sharpe, 1994).

    Args:
        returns: returns per bar, float64 ``(n,)``.
        window: number of returns.
        periods_per_year: bars in a year.

    Returns:
        float64 ``(n,)``; NaN where there are fewer returns than ``window`` and where they do not vary.
    """
    import pandas as pd

    rolled = pd.Series(returns).rolling(window)
    mean, spread = rolled.mean().to_numpy(), rolled.std(ddof=1).to_numpy()
    # Without trades the returns do not vary, but the running sums of pandas keep rounding errors of earlier returns.
    changed = (
        pd.Series(np.diff(returns, prepend=returns[:1]) != 0, dtype=np.float64).rolling(window - 1).sum().to_numpy()
    )
    known = (changed > 0.5) & (spread > 1e-12 * np.abs(mean))
    rolling: np.ndarray = np.divide(mean, spread, out=np.full(len(returns), np.nan), where=known)
    rolling *= math.sqrt(periods_per_year)
    return rolling


def _days(span: np.timedelta64) -> float:
    return float(span / np.timedelta64(1, "D"))
