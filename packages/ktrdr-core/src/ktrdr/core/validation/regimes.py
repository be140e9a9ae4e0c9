"""Kinds of market (regimes) of bars, each known when its bar opens.

The volatility of a bar is the standard deviation of the log returns of the last :func:`regime_window` bars before it;
its trend is the return over the same bars. A volatility is low, middle or high as it lies below the first, between the
two, or above the second tercile of the volatilities before it. The terciles are fitted anew every window, on at most
the last 20 windows before, and not before there is a window of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ktrdr.core.backtesting.metrics.returns import annual_return
from ktrdr.core.backtesting.metrics.sharpe import evidence_of
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.training.evaluation import correlation, ranks
from ktrdr.core.validation.evaluation_result import RegimeRow

__all__ = ["REGIMES", "UNKNOWN", "market_level", "regime_rows", "regime_window", "regimes_of"]

REGIMES = tuple(
    f"{volatility} volatility, {trend}" for volatility in ("low", "middle", "high") for trend in ("rising", "falling")
)
"""Names of the regimes, by number."""
UNKNOWN = -1
"""Number of the bars at the beginning, whose regime is not known."""

_DAYS = 5
_FEWEST_BARS = 20
_HISTORY = 20


def regime_window(timeframe: str) -> int:
    """Return the number of bars that volatility and trend look back: those of five whole days, at least 20."""
    return max(_DAYS * 86_400 // Timeframe(timeframe).seconds, _FEWEST_BARS)


def regimes_of(close: np.ndarray, timeframe: str) -> np.ndarray:
    """Return the regime of each bar, known at its open: no close of the bar itself or of a later one counts.

    Args:
        close: closes of successive bars, float64 ``(n,)``, above 0.
        timeframe: of the bars.

    Returns:
        int8 ``(n,)``: a position in :data:`REGIMES`, or :data:`UNKNOWN` in the first two windows.
    """
    n, window = len(close), regime_window(timeframe)
    regimes = np.full(n, UNKNOWN, dtype=np.int8)
    if n <= 2 * window:
        return regimes
    level = np.log(close)
    # Element i is of the bar window + 1 + i: the last return before it ends at the close before its open.
    volatility = _rolling_deviation(np.diff(level), window)[: n - window - 1]
    falling = level[window:-1] < level[: n - window - 1]
    kind = np.full(len(volatility), UNKNOWN, dtype=np.int8)
    for start in range(window, len(volatility), window):
        terciles = np.quantile(volatility[max(start - _HISTORY * window, 0) : start], [1 / 3, 2 / 3])
        part = slice(start, start + window)
        kind[part] = 2 * np.searchsorted(terciles, volatility[part], side="left") + falling[part]
    regimes[window + 1 :] = kind
    return regimes


def _rolling_deviation(values: np.ndarray, window: int) -> np.ndarray:
    """Return the standard deviation of each ``window`` successive values, the first that end with value window - 1."""
    # Scaled and centred, because squares of small returns would lose digits in the running sums.
    centred = values - values.mean()
    centred /= float(np.abs(centred).max()) or 1.0
    first, second = (np.concatenate(([0.0], np.cumsum(each))) for each in (centred, centred * centred))
    total, squares = first[window:] - first[:-window], second[window:] - second[:-window]
    deviation: np.ndarray = np.sqrt(np.maximum(squares - total * total / window, 0.0))
    return deviation


def market_level(closes: Mapping[str, tuple[np.ndarray, np.ndarray]], timeline: np.ndarray) -> np.ndarray:
    """Return the level of the market of several symbols: it starts at 1, and its log returns are the means of theirs.

    Args:
        closes: opens ``datetime64[ns]`` and closes float64 of the bars, by symbol.
        timeline: ``datetime64[ns]`` ``(n,)``: opens of the bars of all symbols together.

    Returns:
        float64 ``(n,)``. A symbol without a bar has a return of 0; its next bar has the whole return since its last.
    """
    returns = np.zeros(len(timeline))
    for time, close in closes.values():
        returns[np.searchsorted(timeline, time[1:])] += np.diff(np.log(close)) / len(closes)
    level: np.ndarray = np.exp(np.cumsum(returns))
    return level


def regime_rows(
    regimes: np.ndarray,
    returns: np.ndarray,
    held: np.ndarray,
    periods_per_year: float,
    *,
    position: np.ndarray,
    truth: np.ndarray,
    outputs: Sequence[np.ndarray] | np.ndarray,
    majority: np.ndarray | None,
) -> tuple[RegimeRow, ...]:
    """Return the results of accounts and predictions by regime.

    Args:
        regimes: int8 ``(n,)``: regime of each tested bar.
        returns: float64 ``(accounts, n)``: returns of the accounts over these bars; NaN after a total loss.
        held: float64 ``(n,)``: returns of buy and hold.
        periods_per_year: bars in a year of this market.
        position: int64 ``(m,)``: the tested bar of each sample.
        truth: ``(m,)`` labels.
        outputs: predictions of each model, float ``(m, k)`` probabilities or ``(m,)`` values of a regression.
        majority: ``(m,)`` class that the majority baseline predicts; ``None`` for a regression.

    Returns:
        A row for each regime that has bars, in the order of :data:`REGIMES`, and last one for the bars whose regime is
        not known.
    """
    rows = []
    of_samples = regimes[position]
    for number in (*range(len(REGIMES)), UNKNOWN):
        bars, own = regimes == number, of_samples == number
        if not bars.any():
            continue
        accounts = [each[bars & ~np.isnan(each)] for each in returns]
        sharpe = [value for value in (_sharpe(each, periods_per_year) for each in accounts) if value is not None]
        annual = [value for value in (_annual(each, periods_per_year) for each in accounts) if value is not None]
        rows.append(
            RegimeRow(
                regime=REGIMES[number] if number >= 0 else "not known yet",
                bars=int(bars.sum()),
                share=float(bars.mean()),
                accuracy=_quality(truth[own], [each[own] for each in outputs]),
                majority=None if majority is None or not own.any() else float((majority[own] == truth[own]).mean()),
                annual_return=float(np.mean(annual)) if annual else None,
                sharpe=float(np.median(sharpe)) if sharpe else None,
                buy_and_hold=_annual(held[bars], periods_per_year),
            )
        )
    return tuple(rows)


def _sharpe(returns: np.ndarray, periods_per_year: float) -> float | None:
    evidence = evidence_of(returns)
    return None if evidence is None else evidence.ratio * float(np.sqrt(periods_per_year))


def _annual(returns: np.ndarray, periods_per_year: float) -> float | None:
    return annual_return(float(np.prod(1 + returns)), 1.0, len(returns), periods_per_year)


def _quality(truth: np.ndarray, outputs: Sequence[np.ndarray]) -> float | None:
    """Return accuracy or information coefficient, the mean over the models; ``None`` without samples."""
    if not len(truth):
        return None
    if outputs[0].ndim == 2:
        return float(np.mean([(each.argmax(axis=1) == truth).mean() for each in outputs]))
    known = ranks(truth)
    return float(np.mean([correlation(known, ranks(each)) for each in outputs]))
