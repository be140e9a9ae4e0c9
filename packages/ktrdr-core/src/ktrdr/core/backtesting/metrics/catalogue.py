"""Catalogue of metrics: names, labels, formats and which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["METRICS", "MetricInfo", "format_metric", "worse_than"]

Kind = Literal["percent", "per_bar", "probability", "ratio", "cash", "count", "bars", "days"]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """Description of a metric.

    Attributes:
        name: key of the metric.
        label: name that is shown to a person.
        kind: unit and format. ``percent``, ``per_bar`` (small shares) and ``probability`` are shares; ``cash`` is in
            the currency of the prices.
        better: ``higher`` or ``lower``; empty if neither is better.
        help: explanation, if the label is not enough.
    """

    name: str
    label: str
    kind: Kind
    better: Literal["higher", "lower", ""] = ""
    help: str = ""


METRICS: tuple[MetricInfo, ...] = (
    MetricInfo("total_return", "Total return", "percent", "higher"),
    MetricInfo("annual_return", "Annual return", "percent", "higher", "compound annual growth rate"),
    MetricInfo("volatility", "Volatility", "percent", "lower", "annualized standard deviation of returns per bar"),
    MetricInfo("sharpe", "Sharpe ratio", "ratio", "higher", "annualized, risk-free rate 0"),
    MetricInfo("sharpe_low", "Sharpe, 95% from", "ratio", "higher", "block bootstrap"),
    MetricInfo("sharpe_high", "Sharpe, 95% to", "ratio", "higher", "block bootstrap"),
    MetricInfo("sharpe_error", "Sharpe, error", "ratio", "lower", "standard error, serial correlation included"),
    MetricInfo(
        "probabilistic_sharpe",
        "Probabilistic Sharpe",
        "probability",
        "higher",
        "probability that the true ratio is above 0",
    ),
    MetricInfo(
        "deflated_sharpe",
        "Deflated Sharpe",
        "probability",
        "higher",
        "probability that the true ratio is above the best ratio that this many trials would show by luck",
    ),
    MetricInfo("trials", "Trials", "count", "", "trials on the same bars, this one included"),
    MetricInfo("sortino", "Sortino ratio", "ratio", "higher"),
    MetricInfo("calmar", "Calmar ratio", "ratio", "higher", "annual return divided by maximum drawdown"),
    MetricInfo("max_drawdown", "Maximum drawdown", "percent", "higher"),
    MetricInfo("longest_drawdown_days", "Longest drawdown", "days", "lower"),
    MetricInfo("longest_drawdown_bars", "Longest drawdown", "bars", "lower"),
    MetricInfo("value_at_risk_95", "Value at risk, 95%", "per_bar", "higher", "per bar, historical"),
    MetricInfo("conditional_value_at_risk_95", "Conditional VaR, 95%", "per_bar", "higher", "per bar, historical"),
    MetricInfo("skewness", "Skewness", "ratio", "", "of returns per bar"),
    MetricInfo("kurtosis", "Kurtosis", "ratio", "", "of returns per bar; 3 for a normal distribution"),
    MetricInfo("alpha", "Alpha", "percent", "higher", "annualized, against buy and hold"),
    MetricInfo("beta", "Beta", "ratio", "", "against buy and hold"),
    MetricInfo("exposure", "Exposure", "percent", "", "share of bars at whose close a position was open"),
    MetricInfo("trades", "Trades", "count"),
    MetricInfo("long_trades", "Long trades", "count"),
    MetricInfo("short_trades", "Short trades", "count"),
    MetricInfo("win_rate", "Win rate", "percent", "higher"),
    MetricInfo("profit_factor", "Profit factor", "ratio", "higher", "sum of wins divided by sum of losses"),
    MetricInfo("expectancy", "Expectancy", "cash", "higher", "mean net result of a trade"),
    MetricInfo(
        "average_trade_return", "Average trade", "percent", "higher", "net result divided by value at the entry"
    ),
    MetricInfo("sqn", "SQN", "ratio", "higher", "system quality number"),
    MetricInfo("average_win", "Average win", "cash", "higher"),
    MetricInfo("average_loss", "Average loss", "cash", "higher"),
    MetricInfo("largest_win", "Largest win", "cash", "higher"),
    MetricInfo("largest_loss", "Largest loss", "cash", "higher"),
    MetricInfo("average_holding_bars", "Average holding", "bars"),
    MetricInfo("median_holding_bars", "Median holding", "bars"),
    MetricInfo("longest_holding_bars", "Longest holding", "bars"),
    MetricInfo(
        "average_mae", "Average MAE", "percent", "lower", "largest move against the position, from the entry price"
    ),
    MetricInfo("worst_mae", "Worst MAE", "percent", "lower"),
    MetricInfo("average_mfe", "Average MFE", "percent", "higher", "largest move in favour, from the entry price"),
    MetricInfo("best_mfe", "Best MFE", "percent", "higher"),
    MetricInfo("gross_profit", "Profit before costs", "cash", "higher"),
    MetricInfo("commission", "Commission", "cash", "lower"),
    MetricInfo("slippage", "Slippage", "cash", "lower"),
    MetricInfo("costs", "Costs", "cash", "lower"),
    MetricInfo("turnover", "Turnover", "ratio", "lower", "traded value per year divided by mean equity, both sides"),
    MetricInfo("net_profit", "Net profit", "cash", "higher"),
    MetricInfo("final_equity", "Final equity", "cash", "higher"),
)
"""All metrics that are a single number, in the order in which they are shown."""

_BY_NAME = {info.name: info for info in METRICS}


def worse_than(name: str, value: float | None, other: float | None) -> bool:
    """Return True if ``value`` of the metric ``name`` is worse than ``other``.

    False if one of them is not defined, if neither direction is better, or if they differ only by rounding.
    """
    better = _BY_NAME[name].better
    if value is None or other is None or not better or math.isclose(value, other, rel_tol=1e-9):
        return False
    return value < other if better == "higher" else value > other


def format_metric(name: str, value: Any) -> str:
    """Return a value of the metric ``name`` as text, ``-`` for an undefined one."""
    if value is None:
        return "-"
    match _BY_NAME[name].kind:
        case "percent":
            return f"{value:.2%}"
        case "per_bar":
            return f"{value:.3%}"
        case "probability":
            return f"{value:.1%}"
        case "ratio":
            return f"{value:.2f}"
        case "cash":
            return f"{value:,.2f}"
        case "count":
            return f"{value:,}"
        case "bars":
            return f"{value:,.1f}".removesuffix(".0") + " bars"
        case "days":
            return f"{value:,.1f} days"
