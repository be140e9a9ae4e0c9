"""Which figures may be shown as good: none that is worse than its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ktrdr.core.backtesting.metrics import worse_than

__all__ = ["Tone", "tone_of"]

Tone = Literal["good", "bad", ""]

# What an account has that does nothing.
_NEUTRAL = {"total_return": 0.0, "net_profit": 0.0, "sharpe": 0.0, "profit_factor": 1.0}


def tone_of(name: str, metrics: Mapping[str, Any], baselines: Iterable[Mapping[str, Any]]) -> Tone:
    """Return how the metric ``name`` is shown: ``bad`` if it is worse than that of doing nothing or of any of the
    ``baselines``, ``good`` if it is better than that of doing nothing and worse than no baseline's, else plain."""
    value = metrics.get(name)
    if value is None or name not in _NEUTRAL:
        return ""
    neutral = _NEUTRAL[name]
    if worse_than(name, value, neutral) or any(worse_than(name, value, each.get(name)) for each in baselines):
        return "bad"
    return "good" if worse_than(name, neutral, value) else ""
