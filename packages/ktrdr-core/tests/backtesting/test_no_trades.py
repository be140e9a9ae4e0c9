"""A model that never trades says why: each cause, and only that one."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.backtesting.no_trades import why_no_trades
from ktrdr.core.backtesting.results import SymbolResult
from ktrdr.core.backtesting.simulation import OrderCounts
from ktrdr.core.strategy.model import CostModel, Decisions, Filters

NOW = np.datetime64("2020-01-01", "ns")
HOLD = np.tile([0.2, 0.6, 0.2], (4, 1))
BUY = np.tile([0.6, 0.3, 0.1], (4, 1))


def symbol(passed: dict[str, int], signals: list[int]) -> SymbolResult:
    return SymbolResult("EURUSD", 4, NOW, NOW, {"bars": 4, "predicted": 4, **passed}, {"signal": np.array(signals)})


@pytest.mark.parametrize(
    ("passed", "signals", "outputs", "decisions", "orders", "cause"),
    [
        ({"buy or sell": 0, "confidence_threshold": 0}, [0] * 4, HOLD, Decisions(), {}, "It always predicts HOLD."),
        (
            {"buy or sell": 4, "confidence_threshold": 0},
            [0] * 4,
            BUY,
            Decisions(confidence_threshold=0.7),
            {},
            "gives to BUY or SELL is 0.600, and decisions.confidence_threshold is 0.7.",
        ),
        (
            {"buy or sell": 4, "confidence_threshold": 4, "volume_filter": 0},
            [0] * 4,
            BUY,
            Decisions(filters=Filters(volume_filter=2.0)),
            {},
            "decisions.filters.volume_filter stops all signals.",
        ),
        (
            {"cost_model": 0},
            [0] * 4,
            np.full(4, -0.001),
            Decisions(output_format="regression", cost_model=CostModel()),
            {},
            "The largest value it predicts is 0.001, and decisions.cost_model requires 0.0045.",
        ),
        (
            {"buy or sell": 2, "confidence_threshold": 2},
            [1, 0, 1, 0],
            BUY,
            Decisions(),
            {"refused_lot": 2},
            "Orders were refused: 2 because their size is below one lot (risk.lot_size).",
        ),
        (
            {"buy or sell": 2, "confidence_threshold": 2},
            [-1, 0, -1, 0],
            BUY[:, ::-1],
            Decisions(),
            {},
            "All signals are SELL, which opens a position only if decisions.allow_short_from_flat is true.",
        ),
        (
            {"buy or sell": 1, "confidence_threshold": 1},
            [0, 0, 0, 1],
            BUY,
            Decisions(),
            {},
            "The only signals are on the last bar, and there is no later bar to fill them.",
        ),
    ],
)
def test_each_cause(passed, signals, outputs, decisions, orders, cause):
    said = why_no_trades(decisions, [symbol(passed, signals)], [outputs], OrderCounts(**orders))
    assert said.startswith("The model never traded: 4 bars, 4 with a prediction, ")
    assert said.endswith(cause)


def test_counts_of_several_symbols_are_added():
    symbols = [symbol({"buy or sell": 0, "confidence_threshold": 0}, [0] * 4)] * 2
    assert "8 bars, 8 with a prediction" in why_no_trades(Decisions(), symbols, [HOLD, HOLD], OrderCounts())
