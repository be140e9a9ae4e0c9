"""Colours of metrics: green only if a metric is not worse than doing nothing and than every baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ktrdr.core.backtesting.metrics import worse_than

__all__ = ["Tone", "tone_of"]

Tone = Literal["good", "bad", ""]

# Metrics of an account that never trades.
_NEUTRAL = {"total_return": 0.0, "net_profit": 0.0, "sharpe": 0.0, "profit_factor": 1.0}


def tone_of(name: str, metrics: Mapping[str, Any], baselines: Iterable[Mapping[str, Any]]) -> Tone:
    """Return how a metric is shown.

    Args:
        name: name of the metric.
        metrics: metrics of the strategy.
        baselines: metrics of each baseline.

    Returns:
        ``bad`` if the metric is worse than that of an account that never trades, or of any baseline; ``good`` if it is
        better than that of an account that never trades and not worse than any baseline; empty otherwise.
    """
    value = metrics.get(name)
    if value is None or name not in _NEUTRAL:
        return ""
    neutral = _NEUTRAL[name]
    if worse_than(name, value, neutral) or any(worse_than(name, value, each.get(name)) for each in baselines):
        return "bad"
    return "good" if worse_than(name, neutral, value) else ""
