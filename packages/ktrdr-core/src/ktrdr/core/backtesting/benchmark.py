"""Benchmarks of a strategy: buy and hold, and the majority class traded by the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.data.bars import Bars
from ktrdr.core.models.manifest import Manifest

__all__ = ["buy_and_hold", "buy_and_hold_value", "majority_class"]


def buy_and_hold(bars: Sequence[Bars], time: np.ndarray, capital: float, costs: Costs) -> np.ndarray:
    """Return the equity of buying and holding.

    An equal part of the capital buys each symbol at the open of its first bar and sells it at the close of its last.
    Both orders pay commission and slippage as the strategy's orders do. Fractions of units are bought.

    Args:
        bars: bars of each symbol; not empty.
        time: ``datetime64[ns]`` ``(n,)``: opens of the bars of all symbols together.
        capital: cash at the start.
        costs: costs of each side.

    Returns:
        Equity at the close of each bar, float64 ``(n,)``.
    """
    part = capital / len(bars)
    equity, *others = (_held(each, time, part, costs) for each in bars)
    for value in others:
        equity += value
    return equity


def _held(bars: Bars, time: np.ndarray, cash: float, costs: Costs) -> np.ndarray:
    """Return ``cash`` before the first of ``bars``, then the value of the symbol, float64 ``(len(time),)``."""
    value = buy_and_hold_value(float(bars.open[0]), bars.close, cash, costs)
    if len(value) == len(time):
        return value
    row = np.searchsorted(bars.time, time, side="right") - 1
    return np.where(row < 0, cash, value[row])


def buy_and_hold_value(first_open: float, close: np.ndarray, cash: float, costs: Costs) -> np.ndarray:
    """Return the value of one symbol that is bought at ``first_open`` and sold at the last close.

    Args:
        first_open: open of the first bar.
        close: float64 ``(n,)`` closes.
        cash: cash that is spent, commission included.
        costs: costs of each side.

    Returns:
        Value at each close, float64 ``(n,)``.
    """
    price = first_open * (1 + costs.slippage)
    units = cash / (price * (1 + costs.commission))
    value = units * close
    value[-1] = units * float(close[-1]) * (1 - costs.slippage) * (1 - costs.commission)
    return value


def majority_class(manifest: Manifest) -> str | None:
    """Return the most frequent class of the training samples.

    ``None`` if the manifest does not have it: the model is a regression, or was trained without validation and test
    samples.
    """
    judged = manifest.baselines.get("majority")
    if not isinstance(judged, Mapping):
        return None
    for metrics in judged.values():
        predicted = _predicted(metrics, manifest.classes)
        if predicted:
            return max(predicted, key=lambda name: predicted[name])
    return None


def _predicted(metrics: Any, classes: Sequence[str]) -> dict[str, int]:
    """Return how often the majority baseline predicted each class: only one count is above 0."""
    per_class = metrics.get("per_class") if isinstance(metrics, Mapping) else None
    if not isinstance(per_class, Mapping) or set(per_class) != set(classes):
        return {}
    counts = {name: per_class[name].get("predicted", 0) for name in classes}
    return counts if any(counts.values()) else {}
