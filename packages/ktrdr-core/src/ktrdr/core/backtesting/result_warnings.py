"""Warnings about a result: it is below its baselines, or has too few trades to judge it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ktrdr.core.backtesting.metrics import format_metric, worse_than
from ktrdr.core.limits import FEWEST_TRADES
from ktrdr.core.models.model_warnings import most_error

__all__ = ["result_warnings"]


def result_warnings(metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Return one sentence per warning.

    Args:
        metrics: metrics of the strategy.
        baselines: metrics of each baseline, by its name.
    """
    warnings = []
    own = metrics.get("total_return")
    better = {name: each for name, each in baselines.items() if worse_than("total_return", own, each["total_return"])}
    if better:
        told = ", ".join(f"that of {name} {_return(each)}" for name, each in better.items())
        which = "a baseline" if len(better) < len(baselines) else "its baselines" if len(better) > 1 else "its baseline"
        warnings.append(f"the strategy is below {which}: its total return is {_return(metrics)}, {told}")
    trades = metrics.get("trades", 0)
    if 0 < trades < FEWEST_TRADES:
        counted = "1 trade is" if trades == 1 else f"{trades} trades are"
        warnings.append(
            f"{counted} too few to judge by: the win rate is uncertain by up to {100 * most_error(trades):.0f}"
            f" percentage points either way (95%); figures of trades need at least {FEWEST_TRADES}"
        )
    return warnings


def _return(metrics: Mapping[str, Any]) -> str:
    """Return total return and Sharpe ratio as text: a strategy may earn less at a lower risk."""
    sharpe = metrics.get("sharpe")
    told = "" if sharpe is None else f" (Sharpe ratio {format_metric('sharpe', sharpe)})"
    return format_metric("total_return", metrics["total_return"]) + told
