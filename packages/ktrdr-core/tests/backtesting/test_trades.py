"""Trades in words, and how far the price went while they were open."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, simulate
from ktrdr.core.backtesting.trades import trade_table
from ktrdr.core.strategy.model import PriceDistance, Risk


def slow_excursions(trades, k: int, bars, reason: str) -> tuple[float, float]:
    """Go through the bars one by one, and take of the last of them what may be at its worst."""
    side, price = int(trades.side[k]), float(trades.entry_price[k])
    exit_price, exit_bar = float(trades.exit_reference_price[k]), int(trades.exit_bar[k])
    against = along = 0.0

    def see(bad: float, good: float) -> None:
        nonlocal against, along
        against = max(against, (price - bad) / price * side)
        along = max(along, (good - price) / price * side)

    for bar in range(int(trades.entry_bar[k]), exit_bar + 1):
        extremes = (float(bars.low[bar]), float(bars.high[bar]))
        bad, good = extremes if side > 0 else extremes[::-1]
        if bar < exit_bar or reason == "end_of_data":
            see(bad, good)
        elif reason == "take_profit" and exit_price != float(bars.open[bar]):
            see(bad, exit_price)
    see(exit_price, exit_price)
    return against, along


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
        entry, exit_bar = int(trades.entry_bar[k]), int(trades.exit_bar[k])
        reason = table["exit_reason"][k]
        assert table["symbol"][k] == bars.symbol
        assert table["side"][k] == ("long" if trades.side[k] > 0 else "short")
        assert table["entry_time"][k] == bars.time[entry]
        assert table["exit_time"][k] == bars.time[exit_bar]
        assert table["entry_decision_time"][k] == bars.time[entry - 1]
        assert np.isnat(table["exit_decision_time"][k]) == (reason not in ("signal", "max_holding_period"))
        assert (table["mae"][k], table["mfe"][k]) == slow_excursions(trades, k, bars, reason)
        assert table["bars"][k] == exit_bar - entry + (reason not in ("signal", "max_holding_period"))
        assert table["return"][k] == table["net"][k] / (trades.units[k] * trades.entry_price[k])


def test_the_bar_of_the_exit_is_taken_at_its_worst(make_bars, make_signals):
    """A long at 100 with a stop and a target 2 % away: its last bar spans 98.5 to 103."""
    bars = make_bars(0, 4)
    for name, values in {
        "open": (100, 100, 100, 101), "high": (100, 101, 103, 101), "low": (100, 99, 98.5, 101),
        "close": (100, 100, 101, 101),
    }.items():  # fmt: skip
        getattr(bars, name)[:] = values
    signals = np.array([1, 0, 0, 0], dtype=np.int8)
    found = {}
    for reason, risk in {
        "take_profit": Risk(take_profit=PriceDistance(kind="percent", value=2.0)),
        "stop_loss": Risk(stop_loss=PriceDistance(kind="percent", value=1.2)),
        "end_of_data": Risk(),
    }.items():
        done = simulate([Market(bars, signals)], rules=SignalRules(), risk=risk, capital=1000.0, costs=Costs())
        table = trade_table(done.trades, [bars])
        assert table["exit_reason"].tolist() == [reason]
        found[reason] = (round(table["mae"][0], 9), round(table["mfe"][0], 9))
    assert found == {"take_profit": (0.015, 0.02), "stop_loss": (0.012, 0.01), "end_of_data": (0.015, 0.03)}
