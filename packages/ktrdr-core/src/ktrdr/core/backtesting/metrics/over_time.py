"""How an account went over time: its worst drawdowns, and its Sharpe ratio as it would have been seen on the way."""

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
    """From a high of the equity to the bar that reaches it again.

    Attributes:
        depth: the largest distance from the high, as a share of it: below 0.
        start: open of the bar at whose close the high was; of the first bar, if the high is the capital.
        trough: open of the bar at whose close the equity was lowest.
        end: open of the bar at whose close the high was reached again; ``None`` if it was not.
        bars: below the high.
        days: from the high to the end, or to the last bar.
        recovery_days: from the trough to the end; ``None`` without one.
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
    """Return the deepest drawdowns, the deepest first, of equals the first.

    Args:
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars.
        equity: float64 ``(n,)``: at their closes.
        capital: before the first bar, held at its open.
        bar: length of a bar.
        most: how many.
    """
    below = drawdowns(equity, capital)
    bounds = np.flatnonzero(np.diff(below < -TOLERANCE, prepend=False, append=False))
    found = []
    for first, after in zip(bounds[::2].tolist(), bounds[1::2].tolist(), strict=True):
        lowest = first + int(below[first:after].argmin())
        ended = after < len(time)
        finish = time[after] if ended else time[-1]
        # The closes of two bars are as far apart as their opens; the capital was held a bar before the first close.
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
    """Return the name and the bars of the longest of a year, half a year, a quarter and a month that goes into ``bars``
    at least twice and has at least 20 of them; ``None`` if there is none."""
    for name, share in _WINDOWS.items():
        window = round(periods_per_year * share)
        if _FEWEST_BARS <= window <= bars / 2:
            return name, window
    return None


def rolling_sharpe(returns: np.ndarray, window: int, periods_per_year: float) -> np.ndarray:
    """Return the Sharpe ratio of the last ``window`` returns at each of them: float64 ``(n,)``, NaN before there are so
    many and where they do not vary.

    Mean by standard deviation (n - 1), annualized by the root of ``periods_per_year``, risk-free rate 0: the definition
    of the metric ``sharpe`` (W. F. Sharpe, 1994).
    """
    import pandas as pd

    rolled = pd.Series(returns).rolling(window)
    mean, spread = rolled.mean().to_numpy(), rolled.std(ddof=1).to_numpy()
    # Where an account rests nothing varies, but pandas' running sums keep what rounding left in them.
    changed = (
        pd.Series(np.diff(returns, prepend=returns[:1]) != 0, dtype=np.float64).rolling(window - 1).sum().to_numpy()
    )
    known = (changed > 0.5) & (spread > 1e-12 * np.abs(mean))
    return np.divide(mean, spread, out=np.full(len(returns), np.nan), where=known) * math.sqrt(periods_per_year)


def _days(span: np.timedelta64) -> float:
    return float(span / np.timedelta64(1, "D"))
