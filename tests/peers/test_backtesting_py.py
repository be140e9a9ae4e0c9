"""backtesting.py makes the same trades of the same orders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ktrdr.core.backtesting.fills import EXIT_REASONS
from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs
from ktrdr.core.data.bars import Bars
from ktrdr.core.strategy.model import PriceDistance, Risk, Sizing

UNITS = Sizing(type="fixed_units", value=5000)
COSTS = [
    Costs(0.0, 0.0),
    Costs(commission=0.0002, slippage=0.0),
    Costs(commission=0.0, slippage=0.0001),
    Costs(commission=0.0002, slippage=0.0001),
]


def percent(value: float) -> PriceDistance:
    return PriceDistance(kind="percent", value=value)


RISKS = {
    "signals": {},
    "stop": {"stop_loss": percent(0.3)},
    "target": {"take_profit": percent(0.4)},
    "both": {"stop_loss": percent(0.2), "take_profit": percent(0.3)},
    "trailing": {"trailing_stop": percent(0.35)},
    "trailing and stop": {"trailing_stop": percent(0.35), "stop_loss": percent(0.25)},
    "holding": {"max_holding_period": 24},
    "all": {
        "stop_loss": percent(0.25),
        "take_profit": percent(0.5),
        "trailing_stop": percent(0.35),
        "max_holding_period": 40,
    },
}


@pytest.mark.parametrize("costs", COSTS, ids=lambda costs: f"{costs.commission:g}-{costs.slippage:g}")
@pytest.mark.parametrize("bounds", RISKS.values(), ids=RISKS)
def test_every_kind_of_exit(
    bars: Bars, signals: np.ndarray, bounds: dict, costs: Costs, ours: Callable, backtesting_book: Callable
) -> None:
    """Long and short, exits by signal, stop, target, trailing stop and time, alone and together."""
    risk = Risk(sizing=UNITS, **bounds)
    result, mine = ours(bars, signals, risk=risk, costs=costs)
    reasons = {EXIT_REASONS[reason] for reason in result.trades.reason}
    assert (result.trades.side > 0).any()
    assert (result.trades.side < 0).any()
    assert len(reasons - {"end_of_data"}) >= 1
    mine.assert_equal(backtesting_book(bars, signals, risk=risk, costs=costs))


@pytest.mark.parametrize("commission", [0.0, 0.0002, 0.001])
def test_share_of_equity_in_whole_units(
    bars: Bars, signals: np.ndarray, commission: float, ours: Callable, backtesting_book: Callable
) -> None:
    """Its orders of a share of the equity are rounded down to whole units, which is our lot size of 1."""
    risk = Risk(sizing=Sizing(type="fixed_fraction", value=0.3), lot_size=1.0)
    costs = Costs(commission=commission)
    _, mine = ours(bars, signals, risk=risk, costs=costs)
    mine.assert_equal(backtesting_book(bars, signals, risk=risk, costs=costs))


def test_long_only(bars: Bars, signals: np.ndarray, ours: Callable, backtesting_book: Callable) -> None:
    risk, costs = Risk(sizing=UNITS, stop_loss=percent(0.3)), Costs(commission=0.0002)
    result, mine = ours(bars, signals, risk=risk, costs=costs, rules=SignalRules(allow_short_from_flat=False))
    assert (result.trades.side > 0).all()
    mine.assert_equal(backtesting_book(bars, signals, risk=risk, costs=costs, shorts=False))
