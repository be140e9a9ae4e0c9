"""Trades in words, and how far the price went while they were open."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, simulate
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.strategy.model import PriceDistance, Risk


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=3),
    density=st.sampled_from([0.05, 0.5]),
    stop=st.none() | st.just(PriceDistance(kind="percent", value=1.0)),
)
def test_equals_the_slow_one(make_bars, make_signals, seed, sizes, density, stop):
    markets = [
        Market(make_bars(seed + k, n, symbol=f"S{k}", first=7 * k), make_signals(seed + k, n, density))
        for k, n in enumerate(sizes)
    ]
    rules = SignalRules(allow_short_from_flat=True)
    risk = Risk(stop_loss=stop, take_profit=stop)
    trades = simulate(markets, rules=rules, risk=risk, capital=1000.0, costs=Costs(0.001, 0.001)).trades
    table = trade_table(trades, [market.bars for market in markets])
    assert table["number"].tolist() == list(range(1, len(trades) + 1))
    for k in range(len(trades)):
        bars = markets[trades.market[k]].bars
        entry, leave = int(trades.entry_bar[k]), int(trades.exit_bar[k])
        reason = table["exit_reason"][k]
        assert table["symbol"][k] == bars.symbol
        assert table["side"][k] == ("long" if trades.side[k] > 0 else "short")
        assert table["entry_time"][k] == bars.time[entry]
        assert table["exit_time"][k] == bars.time[leave]
        assert table["entry_decision_time"][k] == bars.time[entry - 1]
        assert np.isnat(table["exit_decision_time"][k]) == (reason not in ("signal", "max_holding_period"))
        seen = slice(entry, leave + 1) if reason == "end_of_data" else slice(entry, leave)
        low = min([*bars.low[seen].tolist(), float(trades.exit_reference_price[k])])
        high = max([*bars.high[seen].tolist(), float(trades.exit_reference_price[k])])
        price = float(trades.entry_price[k])
        down, up = max((price - low) / price, 0.0), max((high - price) / price, 0.0)
        wanted = (down, up) if trades.side[k] > 0 else (up, down)
        assert (table["mae"][k], table["mfe"][k]) == wanted
        assert table["bars"][k] == leave - entry + (reason not in ("signal", "max_holding_period"))
        assert table["return"][k] == table["net"][k] / (trades.units[k] * price)
