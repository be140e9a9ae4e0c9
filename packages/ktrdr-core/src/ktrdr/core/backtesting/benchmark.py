"""What a strategy has to beat: buy and hold, and the same rules on a prediction that needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.data.bars import Bars
from ktrdr.core.models.manifest import Manifest

__all__ = ["buy_and_hold", "buy_and_hold_value", "majority_class"]


def buy_and_hold(bars: Sequence[Bars], time: np.ndarray, capital: float, costs: Costs) -> np.ndarray:
    """Return the equity at each of ``time``, float64 ``(n,)``.

    An equal part of the capital buys each symbol at the open of its first bar, and it is sold at the close of its last;
    both pay commission and slippage as the strategy's orders do. Fractions of units are bought.

    Args:
        bars: of each symbol; not empty.
        time: ``datetime64[ns]``: opens of the bars of all symbols together.
        capital: at the start.
        costs: of each side.
    """
    equity = np.zeros(len(time))
    part = capital / len(bars)
    for each in bars:
        value = buy_and_hold_value(float(each.open[0]), each.close, part, costs)
        if len(value) == len(time):
            equity += value
        else:
            row = np.searchsorted(each.time, time, side="right") - 1
            equity += np.where(row < 0, part, value[row])
    return equity


def buy_and_hold_value(first_open: float, close: np.ndarray, cash: float, costs: Costs) -> np.ndarray:
    """Return what ``cash`` is worth at each close, float64 ``(n,)``, that buys at ``first_open`` and sells at the last
    close."""
    price = first_open * (1 + costs.slippage)
    units = cash / (price * (1 + costs.commission))
    value = units * close
    value[-1] = units * float(close[-1]) * (1 - costs.slippage) * (1 - costs.commission)
    return value


def majority_class(manifest: Manifest) -> str | None:
    """Return the class that was the most frequent one in the training samples; ``None`` where the manifest does not
    tell: a regression, or a model that was trained without validation and test samples."""
    judged = manifest.baselines.get("majority")
    if not isinstance(judged, Mapping):
        return None
    for metrics in judged.values():
        predicted = _predicted(metrics, manifest.classes)
        if predicted:
            return max(predicted, key=lambda name: predicted[name])
    return None


def _predicted(metrics: Any, classes: Sequence[str]) -> dict[str, int]:
    """Return how often the baseline predicted each class: all of it falls on one."""
    per_class = metrics.get("per_class") if isinstance(metrics, Mapping) else None
    if not isinstance(per_class, Mapping) or set(per_class) != set(classes):
        return {}
    counts = {name: per_class[name].get("predicted", 0) for name in classes}
    return counts if any(counts.values()) else {}
