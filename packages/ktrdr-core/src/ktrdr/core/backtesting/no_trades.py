"""The reason why a backtest has no trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ktrdr.core.backtesting.results import SymbolResult
from ktrdr.core.backtesting.signals import passed_in_words
from ktrdr.core.backtesting.simulation import OrderCounts
from ktrdr.core.strategy.model import Decisions

__all__ = ["why_no_trades"]


def why_no_trades(
    decisions: Decisions,
    symbols: Sequence[SymbolResult],
    outputs: Sequence[np.ndarray],
    orders: OrderCounts,
) -> str:
    """Return two sentences: how many bars passed each filter, and what stopped the last of them.

    Args:
        decisions: the strategy's ``decisions``.
        symbols: result of each symbol.
        outputs: outputs of the model, per symbol.
        orders: counts of filled and refused orders.
    """
    total: dict[str, int] = {}
    for symbol in symbols:
        for name, count in symbol.passed.items():
            total[name] = total.get(name, 0) + count
    steps = passed_in_words({name: count for name, count in total.items() if name != "executed"})
    return f"The model never traded: {steps}. {_cause(decisions, total, symbols, outputs, orders)}"


def _cause(
    decisions: Decisions,
    total: Mapping[str, int],
    symbols: Sequence[SymbolResult],
    outputs: Sequence[np.ndarray],
    orders: OrderCounts,
) -> str:
    if total.get("buy or sell") == 0:
        return "It always predicts HOLD."
    if total.get("confidence_threshold") == 0:
        highest = max(float(np.nanmax(each[:, [0, 2]])) for each in outputs)
        return (
            f"The highest probability it gives to BUY or SELL is {highest:.3f}, and decisions.confidence_threshold is"
            f" {decisions.confidence_threshold:g}."
        )
    if total.get("cost_model") == 0:
        largest = max(float(np.nanmax(np.abs(each))) for each in outputs)
        edge = decisions.cost_model.round_trip_cost * decisions.cost_model.min_edge_multiplier
        return f"The largest value it predicts is {largest:.3g}, and decisions.cost_model requires {edge:.3g}."
    if total.get("volume_filter") == 0:
        return "decisions.filters.volume_filter stops all signals."
    refused = {
        "no cash was free": orders.refused_no_cash,
        "their size is below one lot (risk.lot_size)": orders.refused_lot,
        "the ATR or the volatility that the order depends on was not known yet": orders.refused_unknown,
    }
    if reason := ", ".join(f"{count:,} because {why}" for why, count in refused.items() if count):
        return f"Orders were refused: {reason}."
    # Signals on the last bar have no next bar to fill at.
    signals = [symbol.positions["signal"][:-1] for symbol in symbols]
    if not any((each > 0).any() for each in signals) and any((each < 0).any() for each in signals):
        return "All signals are SELL, which opens a position only if decisions.allow_short_from_flat is true."
    return "The only signals are on the last bar, and there is no later bar to fill them."
