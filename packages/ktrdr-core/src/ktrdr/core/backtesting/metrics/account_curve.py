"""Metrics of an account, computed from its equity at each bar."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.backtesting.metrics.returns import (
    alpha_beta,
    annual_return,
    drawdowns,
    longest_drawdown,
    monthly_returns,
    simple_returns,
    sortino_ratio,
    value_at_risk,
)
from ktrdr.core.backtesting.metrics.sharpe import deflated_probability, evidence_of, sharpe_interval

__all__ = ["AccountCurve", "account_metrics", "deflate"]


@dataclass(frozen=True, slots=True, eq=False)
class AccountCurve:
    """Equity over time.

    Attributes:
        time: ``datetime64[ns]`` ``(n,)``, opens of the bars.
        equity: float64 ``(n,)``, equity at the closes of the bars.
        capital: equity before the first bar.
        periods_per_year: bars in a year of this market.
        bar: length of a bar; ``None`` for the shortest time between two opens.
    """

    time: np.ndarray
    equity: np.ndarray
    capital: float
    periods_per_year: float
    bar: np.timedelta64 | None = None

    def __repr__(self) -> str:
        final = self.equity[-1] if len(self.equity) else self.capital
        return f"<AccountCurve {len(self.equity):,} bars, equity {self.capital:,.2f} to {final:,.2f}>"

    @property
    def bar_length(self) -> np.timedelta64:
        """Length of a bar; 0 if it is not given and there is only one bar."""
        if self.bar is not None:
            return self.bar
        return np.diff(self.time).min() if len(self.time) > 1 else np.timedelta64(0, "ns")

    @property
    def drawdown(self) -> np.ndarray:
        """Drawdown from the highest equity so far, float64 ``(n,)``: 0 to -1."""
        return drawdowns(self.equity, self.capital)

    @property
    def returns(self) -> np.ndarray:
        """Returns per bar, float64, up to and including the first bar on which the equity is 0 or below."""
        spent = self.equity <= 0
        return simple_returns(self.equity[: int(spent.argmax()) + 1] if spent.any() else self.equity, self.capital)


def account_metrics(
    curve: AccountCurve,
    *,
    benchmark: np.ndarray | None = None,
    seed: int = 0,
    brief: bool = False,
    drawdown: np.ndarray | None = None,
    returns: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the metrics of an account as if it were the only trial; :func:`deflate` counts other trials in.

    Args:
        curve: equity of the account.
        benchmark: returns of another account over the same bars, float64 ``(n,)``, for alpha and beta.
        seed: seed of the bootstrap.
        brief: leave out the metrics that a sweep does not show: the interval of the Sharpe ratio, which takes longer
            than everything else, value at risk, alpha and beta, the longest drawdown, and the returns of months.
        drawdown: drawdown of the curve, if it is computed already.
        returns: returns of the curve, if they are computed already.

    Returns:
        Metrics by name; undefined ones are ``None``.
    """
    periods, bars = curve.periods_per_year, len(curve.equity)
    if not (curve.equity != curve.capital).any():
        # The equity never changes: two bars give the same metrics as a million.
        drawdown, returns, benchmark = np.zeros(0), np.zeros(min(bars, 2)), None if benchmark is None else benchmark[:2]
    drawdown = curve.drawdown if drawdown is None else drawdown
    returns = curve.returns if returns is None else returns
    final = float(curve.equity[-1]) if bars else curve.capital
    per_year = annual_return(final, curve.capital, bars, periods)
    deepest = float(drawdown.min(initial=0.0))
    evidence = evidence_of(returns)
    above_zero = None if evidence is None else evidence.probability_above(0.0)
    root = math.sqrt(periods)
    costly: dict[str, Any] = {"sharpe_low": None, "sharpe_high": None}
    if not brief:
        interval = sharpe_interval(returns, seed)
        alpha, beta = (None, None) if benchmark is None else alpha_beta(returns, benchmark[: len(returns)], periods)
        risk = value_at_risk(returns)
        longest_bars, longest_days = longest_drawdown(curve.time, drawdown, curve.bar_length)
        costly = {
            "sharpe_low": None if interval is None else interval[0] * root,
            "sharpe_high": None if interval is None else interval[1] * root,
            "longest_drawdown_bars": longest_bars,
            "longest_drawdown_days": longest_days,
            "value_at_risk_95": None if risk is None else risk[0],
            "conditional_value_at_risk_95": None if risk is None else risk[1],
            "alpha": alpha,
            "beta": beta,
            "monthly_returns": monthly_returns(curve.time, curve.equity, curve.capital),
        }
    return {
        "bars": bars,
        "periods_per_year": periods,
        "initial_equity": curve.capital,
        "final_equity": final,
        "net_profit": final - curve.capital,
        "total_return": final / curve.capital - 1,
        "annual_return": per_year,
        "volatility": evidence.spread * root if evidence is not None else 0.0 if len(returns) > 1 else None,
        "sharpe": None if evidence is None else evidence.ratio * root,
        "sharpe_error": None if evidence is None else evidence.deviation * root,
        "probabilistic_sharpe": above_zero,
        "deflated_sharpe": above_zero,
        "trials": 1,
        "sortino": sortino_ratio(returns, periods),
        "calmar": per_year / -deepest if per_year is not None and deepest < 0 else None,
        "max_drawdown": deepest,
        "skewness": None if evidence is None else evidence.skewness,
        "kurtosis": None if evidence is None else evidence.kurtosis,
        **costly,
    }


def deflate(metrics: Mapping[str, Any], trials: int, spread: float | None) -> dict[str, Any]:
    """Return metrics of an account with the deflated Sharpe ratio for a number of trials.

    Metrics without ``sharpe_error``, from old results, are returned unchanged.

    Args:
        metrics: metrics of the account.
        trials: number of trials that the account was chosen among.
        spread: standard deviation of the trials' annualized Sharpe ratios; ``None`` if it is not known.
    """
    sharpe, error = metrics.get("sharpe"), metrics.get("sharpe_error")
    if sharpe is None:
        return {**metrics, "trials": trials}
    if error is None:
        return dict(metrics)
    return {**metrics, "deflated_sharpe": deflated_probability(sharpe, error, trials, spread), "trials": trials}
