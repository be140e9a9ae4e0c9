"""vectorbt makes the same trades of the same orders."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ktrdr.core.backtesting.fills import EXIT_REASONS
from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, simulate
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.strategy.model import PriceDistance, Risk, Sizing

STOCKS = Path(__file__).parents[2] / "packages/ktrdr-core/tests/data/files/US_stocks_1d_2000_2013.csv.gz"

# vectorbt compiles its programs anew in each process.
pytestmark = pytest.mark.slow

COSTS = [
    Costs(0.0, 0.0),
    Costs(commission=0.0002, slippage=0.0),
    Costs(commission=0.0, slippage=0.0001),
    Costs(commission=0.0002, slippage=0.0001),
    Costs(commission=0.001, slippage=0.0005),
]
SIZINGS = {
    "amount": Sizing(type="fixed_units", value=1234.5),
    "percent": Sizing(type="fixed_fraction", value=0.3),
    "everything": Sizing(type="fixed_fraction", value=1.0),
}


@pytest.mark.parametrize("costs", COSTS, ids=lambda costs: f"{costs.commission:g}-{costs.slippage:g}")
@pytest.mark.parametrize("shorts", [False, True], ids=["long", "long-and-short"])
@pytest.mark.parametrize("sizing", SIZINGS.values(), ids=SIZINGS)
def test_signals(
    bars: Bars,
    signals: np.ndarray,
    sizing: Sizing,
    shorts: bool,
    costs: Costs,
    ours: Callable,
    vectorbt_book: Callable,
) -> None:
    result, mine = ours(
        bars, signals, risk=Risk(sizing=sizing), costs=costs, rules=SignalRules(allow_short_from_flat=shorts)
    )
    assert len(result.trades) > 25
    assert (result.trades.side < 0).any() == shorts
    kind = "amount" if sizing.type == "fixed_units" else "percent"
    mine.assert_equal(vectorbt_book(bars, signals, size=sizing.value, size_type=kind, costs=costs, shorts=shorts))


@pytest.mark.parametrize("costs", COSTS, ids=lambda costs: f"{costs.commission:g}-{costs.slippage:g}")
@pytest.mark.parametrize("side", [1, -1], ids=["long", "short"])
@pytest.mark.parametrize(("stop", "target"), [(0.3, None), (0.7, 0.15), (0.3, 0.6), (0.4, 0.2)])
def test_stops_and_targets(
    bars: Bars,
    sparse: np.ndarray,
    stop: float | None,
    target: float | None,
    side: int,
    costs: Costs,
    ours: Callable,
    vectorbt_book: Callable,
) -> None:
    """Signals of one side enter, stops and targets exit.

    vectorbt does not look inside the bar of the entry, and lets a stop inside a bar go before an exit at its open
    (test_differences.py shows both); signals whose position would end in its first bar are left out for both.
    """
    risk = Risk(
        sizing=Sizing(type="fixed_fraction", value=0.5),
        stop_loss=None if stop is None else PriceDistance(kind="percent", value=stop),
        take_profit=None if target is None else PriceDistance(kind="percent", value=target),
    )
    given = np.where(sparse == side, sparse, 0).astype(np.int8)
    while True:
        result, mine = ours(bars, given, risk=risk, costs=costs)
        trades = result.trades
        short_lived = trades.entry_decision[trades.exit_bar == trades.entry_bar]
        if not len(short_lived):
            break
        given[short_lived] = 0
    reasons = {EXIT_REASONS[reason] for reason in trades.reason}
    assert len(trades) > (10 if stop and target else 0)
    assert ("stop_loss" in reasons) == (stop is not None)
    assert ("take_profit" in reasons) == (target is not None)
    mine.assert_equal(
        vectorbt_book(
            bars,
            given,
            size=0.5,
            size_type="percent",
            costs=costs,
            shorts=True,
            sl_stop=np.nan if stop is None else stop / 100,
            tp_stop=np.nan if target is None else target / 100,
        )
    )


@pytest.mark.parametrize("costs", COSTS, ids=lambda costs: f"{costs.commission:g}-{costs.slippage:g}")
def test_portfolio_with_shared_cash(costs: Costs) -> None:
    """Three stocks over 13 years, one account. Units are fixed: vectorbt's percent is of cash, ours of equity."""
    import vectorbt

    with gzip.open(STOCKS, "rt") as file:
        table = pd.read_csv(file, parse_dates=["Date"])
    stocks = []
    for symbol in ("AAPL", "IBM", "MSFT"):
        rows = table[table["Ticker"] == symbol].sort_values("Date")
        stocks.append(
            Bars(
                symbol,
                Timeframe("1d"),
                rows["Date"].to_numpy().astype("datetime64[ns]"),
                *(rows[name].to_numpy(dtype=np.float64) for name in ("Open", "High", "Low", "Close", "Volume")),
            )
        )
    random = np.random.default_rng(3)
    n = len(stocks[0])
    signals = [np.where(random.random(n) < 0.05, random.choice([-1, 1], n), 0).astype(np.int8) for _ in stocks]
    for own in signals:
        own[-1] = 0
    units = 100.0
    mine = simulate(
        [Market(bars, own) for bars, own in zip(stocks, signals, strict=True)],
        rules=SignalRules(),
        risk=Risk(sizing=Sizing(type="fixed_units", value=units)),
        capital=300_000.0,
        costs=costs,
    )
    assert mine.counts.reduced == 0
    assert mine.counts.refused_no_cash == 0

    def columns(arrays: list[np.ndarray]) -> np.ndarray:
        return np.stack(arrays, axis=1)

    end = [bars.close[-1:] for bars in stocks]
    shifted = columns([np.concatenate(([0], own)) for own in signals])
    last = np.arange(n + 1)[:, None] == n
    portfolio = vectorbt.Portfolio.from_signals(
        columns([np.concatenate((bars.close, close)) for bars, close in zip(stocks, end, strict=True)]),
        entries=shifted > 0,
        exits=(shifted < 0) | last,
        price=columns([np.concatenate((bars.open, close)) for bars, close in zip(stocks, end, strict=True)]),
        size=units,
        fees=costs.commission,
        slippage=costs.slippage,
        init_cash=300_000.0,
        direction="longonly",
        cash_sharing=True,
        group_by=True,
        freq="1D",
    )
    records = portfolio.trades.records
    trades = mine.trades
    order = np.lexsort((trades.entry_bar, trades.market))
    assert len(trades) > 100
    np.testing.assert_array_equal(records["col"], trades.market[order])
    np.testing.assert_array_equal(records["entry_idx"], trades.entry_bar[order])
    np.testing.assert_array_equal(np.minimum(records["exit_idx"], n - 1), trades.exit_bar[order])
    np.testing.assert_allclose(records["pnl"], trades.net[order], rtol=1e-6, atol=1e-6)
    # At every bar, not only at the end; the end itself is the peer's additional bar.
    np.testing.assert_allclose(portfolio.value().to_numpy()[: n - 1], mine.equity[:-1], rtol=1e-9)
    assert portfolio.final_value() == pytest.approx(mine.equity[-1], rel=1e-6)
