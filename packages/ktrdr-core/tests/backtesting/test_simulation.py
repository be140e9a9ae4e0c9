"""The fast simulation equals the slow one on random cases, and the account adds up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.fills import EXIT_REASONS
from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, Trades, idle_simulation, simulate
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import CancelledError
from ktrdr.core.strategy.model import PriceDistance, Risk, Sizing
from ktrdr.core.work.cancellation import Cancellation

HOURS_PER_YEAR = 6220.0

distances = st.none() | st.builds(
    PriceDistance, kind=st.sampled_from(["percent", "atr"]), value=st.sampled_from([0.3, 1.0, 2.0, 4.0])
)


@st.composite
def risks(draw: st.DrawFn) -> Risk:
    stop, trail = draw(distances), draw(distances)
    kinds = ["fixed_fraction", "fixed_units", "fixed_cash", "volatility_target"]
    if stop is not None or trail is not None:
        kinds.append("risk_per_trade")
    kind = draw(st.sampled_from(kinds))
    value = draw(
        st.sampled_from(
            {
                "fixed_fraction": [0.1, 0.95, 1.0],
                "fixed_units": [1.0, 7.5, 1000.0],
                "fixed_cash": [500.0, 50_000.0],
                "volatility_target": [0.1, 2.0],
                "risk_per_trade": [0.01, 0.5],
            }[kind]
        )
    )
    return Risk(
        sizing=Sizing(type=kind, value=value, window=draw(st.sampled_from([2, 20]))),
        lot_size=draw(st.sampled_from([0.0, 0.1, 10.0])),
        stop_loss=stop,
        take_profit=draw(distances),
        trailing_stop=trail,
        max_holding_period=draw(st.none() | st.integers(1, 30)),
    )


rules_of_any_kind = st.builds(
    SignalRules,
    position_awareness=st.booleans(),
    allow_short_from_flat=st.booleans(),
    min_separation=st.integers(0, 8),
)
costs_of_any_kind = st.builds(
    Costs, commission=st.sampled_from([0.0, 0.0002, 0.01]), slippage=st.sampled_from([0.0, 0.0001, 0.02])
)


def slow_atr(bars: Bars) -> np.ndarray:
    """Something like an ATR that is unknown at first and zero once; what it is does not matter here."""
    values = (bars.high - bars.low) + 0.2
    values[:14] = np.nan
    values[len(values) // 2] = 0.0
    return values


def market(make_bars: Callable[..., Bars], make_signals: Callable[..., np.ndarray], seed: int, n: int, **more: Any):
    density = more.pop("density")
    bars = make_bars(seed, n, **more)
    return Market(bars, make_signals(seed, n, density), slow_atr(bars), HOURS_PER_YEAR)


def assert_equal(simulation: Any, slow: Any) -> None:
    trades = simulation.trades
    assert [EXIT_REASONS[reason] for reason in trades.reason] == [trade["reason"] for trade in slow.trades]
    for name, values in {
        "market": trades.market,
        "side": trades.side,
        "decision": trades.entry_decision,
        "entry_bar": trades.entry_bar,
        "exit_bar": trades.exit_bar,
    }.items():
        assert values.tolist() == [trade[name] for trade in slow.trades], name
    for name, values in {
        "units": trades.units,
        "entry": trades.entry_price,
        "exit": trades.exit_price,
        "net": trades.net,
    }.items():
        np.testing.assert_allclose(values, [trade[name] for trade in slow.trades], rtol=1e-9, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(simulation.equity, slow.equity, rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(simulation.cash, slow.cash, rtol=1e-9, atol=1e-7)
    counts = simulation.counts
    assert counts.entries == len(slow.trades)
    assert counts.reduced == slow.reduced
    assert counts.refused_no_cash + counts.refused_lot + counts.refused_unknown == slow.refused


class TestAgainstTheSlowOne:
    @given(
        seed=st.integers(0, 10_000),
        n=st.integers(1, 400),
        density=st.sampled_from([0.02, 0.2, 1.0]),
        rules=rules_of_any_kind,
        risk=risks(),
        costs=costs_of_any_kind,
    )
    def test_one_symbol(self, make_bars, make_signals, reference, identities, seed, n, density, rules, risk, costs):
        markets = [market(make_bars, make_signals, seed, n, density=density)]
        simulation = simulate(markets, rules=rules, risk=risk, capital=10_000.0, costs=costs)
        assert_equal(simulation, reference(markets, rules=rules, risk=risk, capital=10_000.0, costs=costs))
        identities(markets, simulation)

    @given(
        seed=st.integers(0, 10_000),
        spans=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 150)), min_size=2, max_size=4),
        density=st.sampled_from([0.05, 0.5]),
        rules=rules_of_any_kind,
        risk=risks(),
        costs=costs_of_any_kind,
    )
    def test_several_symbols_with_one_cash(
        self, make_bars, make_signals, reference, identities, seed, spans, density, rules, risk, costs
    ):
        markets = [
            market(make_bars, make_signals, seed + k, n, density=density, symbol=f"S{k}", first=first)
            for k, (first, n) in enumerate(spans)
        ]
        simulation = simulate(markets, rules=rules, risk=risk, capital=10_000.0, costs=costs)
        assert_equal(simulation, reference(markets, rules=rules, risk=risk, capital=10_000.0, costs=costs))
        identities(markets, simulation)

    @pytest.mark.parametrize("risk", [Risk(), Risk(stop_loss=PriceDistance(kind="percent", value=8))])
    def test_long_positions_over_many_blocks(self, make_bars, make_signals, reference, risk):
        markets = [market(make_bars, make_signals, 3, 5000, density=0.003)]
        arguments = {"rules": SignalRules(), "risk": risk, "capital": 10_000.0, "costs": Costs(0.0002, 0.0001)}
        assert_equal(simulate(markets, **arguments), reference(markets, **arguments))


HOUR = np.timedelta64(3_600_000_000_000, "ns")


def bars_of(rows: list[tuple[float, float, float, float]]) -> Bars:
    opened, high, low, close = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    time = np.datetime64("2020-01-01", "ns") + np.arange(len(rows)) * HOUR
    return Bars("X", Timeframe("1h"), time, opened, high, low, close, np.full(len(rows), np.nan))


def run(rows: list[tuple[float, float, float, float]], signals: list[int], **more: Any):
    arguments = {
        "rules": SignalRules(allow_short_from_flat=True),
        "risk": Risk(sizing=Sizing(type="fixed_units", value=1.0)),
        "capital": 1000.0,
        "costs": Costs(),
    } | more
    return simulate([Market(bars_of(rows), np.array(signals, dtype=np.int8))], **arguments)


def fixed_units(**more: Any) -> Risk:
    return Risk(sizing=Sizing(type="fixed_units", value=1.0), **more)


FLAT = (100.0, 101.0, 99.0, 100.0)


class TestByHand:
    def test_decided_at_the_close_filled_at_the_next_open(self):
        simulation = run([FLAT, (102, 103, 101, 102), (105, 106, 104, 105), FLAT], [1, -1, 0, 0])
        trades = simulation.trades
        assert (trades.entry_bar[0], trades.entry_price[0]) == (1, 102)
        assert (trades.exit_bar[0], trades.exit_price[0]) == (2, 105)
        assert simulation.equity.tolist() == [1000, 1000, 1003, 1003]
        assert simulation.units[0].tolist() == [0, 1, 0, 0]

    def test_costs_of_both_legs(self):
        trades = run([FLAT, FLAT, FLAT, FLAT], [1, -1, 0, 0], costs=Costs(commission=0.01, slippage=0.02)).trades
        assert trades.entry_price[0] == pytest.approx(102)
        assert trades.exit_price[0] == pytest.approx(98)
        assert trades.entry_commission[0] == pytest.approx(1.02)
        assert trades.exit_commission[0] == pytest.approx(0.98)
        assert trades.entry_slippage[0] == pytest.approx(2)
        assert trades.exit_slippage[0] == pytest.approx(2)
        assert trades.gross[0] == 0
        assert trades.net[0] == pytest.approx(-6)

    def test_a_short_pays_slippage_the_other_way(self):
        trades = run([FLAT, FLAT, FLAT, FLAT], [-1, 1, 0, 0], costs=Costs(slippage=0.02)).trades
        assert trades.side[0] == -1
        assert (trades.entry_price[0], trades.exit_price[0]) == (pytest.approx(98), pytest.approx(102))
        assert trades.net[0] == pytest.approx(-4)

    def test_the_stop_comes_first_when_a_bar_touches_both(self):
        risk = fixed_units(
            stop_loss=PriceDistance(kind="percent", value=5), take_profit=PriceDistance(kind="percent", value=5)
        )
        trades = run([FLAT, FLAT, (100, 110, 90, 100), FLAT], [1, 0, 0, 0], risk=risk).trades
        assert EXIT_REASONS[trades.reason[0]] == "stop_loss"
        assert trades.exit_price[0] == 95

    @pytest.mark.parametrize(
        ("bar", "price", "reason"), [((90, 91, 89, 90), 90, "stop_loss"), ((110, 111, 80, 90), 110, "take_profit")]
    )
    def test_gaps_fill_at_the_open(self, bar, price, reason):
        risk = fixed_units(
            stop_loss=PriceDistance(kind="percent", value=5), take_profit=PriceDistance(kind="percent", value=5)
        )
        trades = run([FLAT, FLAT, bar, FLAT], [1, 0, 0, 0], risk=risk).trades
        assert (trades.exit_price[0], EXIT_REASONS[trades.reason[0]]) == (price, reason)

    def test_a_stop_can_be_hit_in_the_bar_of_the_entry(self):
        risk = fixed_units(stop_loss=PriceDistance(kind="percent", value=5))
        trades = run([FLAT, (100, 101, 94, 100), FLAT], [1, 0, 0], risk=risk).trades
        assert (trades.entry_bar[0], trades.exit_bar[0], trades.exit_price[0]) == (1, 1, 95)

    def test_a_trailing_stop_does_not_know_the_high_of_its_own_bar(self):
        risk = fixed_units(trailing_stop=PriceDistance(kind="percent", value=5))
        rows = [FLAT, FLAT, (100, 120, 96, 118), (118, 119, 113, 115), FLAT]
        trades = run(rows, [1, 0, 0, 0, 0], risk=risk).trades
        # Bar 2 rises to 120 and falls to 96: the stop is still that of the high of 101. Bar 3 has 114.
        assert (trades.exit_bar[0], trades.exit_price[0]) == (3, pytest.approx(114))
        assert EXIT_REASONS[trades.reason[0]] == "trailing_stop"

    def test_atr_is_that_of_the_decision_bar(self):
        atr = np.array([2.0, 50.0, 50.0, 50.0])
        risk = fixed_units(stop_loss=PriceDistance(kind="atr", value=1.5))
        market = Market(bars_of([FLAT, FLAT, (100, 101, 96, 100), FLAT]), np.array([1, 0, 0, 0], np.int8), atr)
        trades = simulate([market], rules=SignalRules(), risk=risk, capital=1000.0, costs=Costs()).trades
        assert trades.exit_price[0] == 97

    def test_max_holding_counts_bars_from_the_entry(self):
        trades = run([FLAT] * 8, [1, 0, 0, 0, 0, 0, 0, 0], risk=fixed_units(max_holding_period=3)).trades
        assert (trades.entry_bar[0], trades.exit_bar[0], trades.exit_decision[0]) == (1, 4, 3)

    def test_a_repeated_signal_refreshes_the_holding_period_without_position_awareness(self):
        signals = [1, 0, 1, 0, 0, 0, 0, 0]
        for aware, exit_bar in ((True, 4), (False, 6)):
            rules = SignalRules(position_awareness=aware)
            simulation = run([FLAT] * 8, signals, risk=fixed_units(max_holding_period=3), rules=rules)
            assert simulation.trades.exit_bar.tolist() == [exit_bar]
            assert simulation.refreshed[0].tolist() == ([] if aware else [2])

    def test_what_is_open_at_the_end_is_closed_at_the_last_close(self):
        simulation = run([FLAT, FLAT, (100, 101, 99, 101)], [1, 0, 0])
        assert EXIT_REASONS[simulation.trades.reason[0]] == "end_of_data"
        assert simulation.trades.exit_price[0] == 101
        assert simulation.equity[-1] == simulation.cash[-1] == 1001

    def test_an_opposite_signal_closes_and_does_not_turn_round(self):
        simulation = run([FLAT] * 6, [1, -1, 0, -1, 0, 0])
        assert simulation.trades.side.tolist() == [1, -1]
        assert simulation.trades.entry_bar.tolist() == [1, 4]

    def test_no_short_from_flat_unless_allowed(self):
        assert len(run([FLAT] * 4, [-1, -1, 0, 0], rules=SignalRules()).trades) == 0

    def test_separation_counts_from_the_last_executed_signal(self):
        simulation = run([FLAT] * 10, [1, -1, -1, -1, 1, 1, 1, 1, 0, 0], rules=SignalRules(min_separation=3))
        # Bought at 0; the sells of 1 and 2 come too early, that of 3 counts; the buys of 4 and 5 come too early.
        assert simulation.trades.entry_decision.tolist() == [0, 6]
        assert simulation.trades.exit_bar.tolist() == [4, 9]

    def test_bars_without_volume_trade(self):
        assert len(run([FLAT] * 3, [1, 0, 0]).trades) == 1

    def test_no_leverage(self):
        simulation = run([FLAT] * 4, [1, 0, 0, 0], risk=Risk(sizing=Sizing(type="fixed_units", value=50.0)))
        assert simulation.trades.units[0] == pytest.approx(10)
        assert simulation.cash.min() >= -1e-9
        assert simulation.counts.reduced == 1

    def test_lots_are_rounded_down(self):
        risk = Risk(sizing=Sizing(type="fixed_units", value=0.3), lot_size=0.1)
        assert run([FLAT] * 3, [1, 0, 0], risk=risk).trades.units[0] == pytest.approx(0.3)
        risk = Risk(sizing=Sizing(type="fixed_units", value=0.39), lot_size=0.1)
        assert run([FLAT] * 3, [1, 0, 0], risk=risk).trades.units[0] == pytest.approx(0.3)
        risk = Risk(sizing=Sizing(type="fixed_units", value=0.39), lot_size=1.0)
        simulation = run([FLAT] * 3, [1, 0, 0], risk=risk)
        assert simulation.counts.refused_lot == 1
        assert len(simulation.trades) == 0

    def test_a_short_locks_its_notional(self):
        rows = [FLAT] * 6
        markets = [
            Market(bars_of(rows), np.array([-1, 0, 0, 0, 0, 0], np.int8)),
            Market(bars_of(rows), np.array([0, 1, 0, 0, 0, 0], np.int8)),
        ]
        simulation = simulate(
            markets,
            rules=SignalRules(allow_short_from_flat=True),
            risk=Risk(sizing=Sizing(type="fixed_fraction", value=0.8)),
            capital=1000.0,
            costs=Costs(),
        )
        # 800 are bound by the short, so the second order gets 200 instead of 800.
        assert simulation.trades.units.tolist() == [pytest.approx(8), pytest.approx(2)]
        assert simulation.counts.reduced == 1

    def test_risk_per_trade_loses_that_share_at_the_stop(self):
        risk = Risk(sizing=Sizing(type="risk_per_trade", value=0.02), stop_loss=PriceDistance(kind="percent", value=5))
        simulation = run([FLAT, FLAT, (100, 101, 90, 92), FLAT], [1, 0, 0, 0], risk=risk)
        assert simulation.trades.net[0] == pytest.approx(-20)


class TestEdges:
    def test_an_idle_account_is_one_without_signals(self, make_bars, make_signals):
        risk, given = Risk(), {"rules": SignalRules(), "capital": 1234.56, "costs": Costs(0.001, 0.001)}
        traded = [market(make_bars, make_signals, seed, n, density=0.2) for seed, n in ((1, 300), (2, 200))]
        quiet = [replace(each, direction=np.zeros_like(each.direction)) for each in traded]
        found, expected = idle_simulation(simulate(traded, risk=risk, **given)), simulate(quiet, risk=risk, **given)
        assert (found.counts, found.capital) == (expected.counts, expected.capital)
        for name in ("time", "cash", "equity"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes()
        for own, other in zip((*found.units, *found.refreshed), (*expected.units, *expected.refreshed), strict=True):
            assert (own.dtype, own.tobytes()) == (other.dtype, other.tobytes())
        for column in fields(Trades):
            assert getattr(found.trades, column.name).dtype == getattr(expected.trades, column.name).dtype
        assert len(found.trades) == len(expected.trades) == 0

    def test_no_bars(self):
        empty = Bars("X", Timeframe("1h"), np.empty(0, "datetime64[ns]"), *(np.empty(0) for _ in range(5)))
        market = Market(empty, np.empty(0, np.int8))
        risk = Risk(stop_loss=PriceDistance(kind="percent", value=5))
        simulation = simulate([market], rules=SignalRules(), risk=risk, capital=1.0, costs=Costs())
        assert len(simulation.trades) == len(simulation.equity) == 0

    def test_timeframes_must_agree(self, make_bars):
        one = make_bars(0, 5)
        other = Bars("Y", Timeframe("1d"), one.time, one.open, one.high, one.low, one.close, one.volume)
        signals = np.zeros(5, np.int8)
        with pytest.raises(ValueError, match="one timeframe"):
            simulate(
                [Market(one, signals), Market(other, signals)],
                rules=SignalRules(),
                risk=Risk(),
                capital=1.0,
                costs=Costs(),
            )

    def test_cancellation(self, make_bars):
        cancellation = Cancellation()
        cancellation.cancel()
        n = 20_000
        signals = np.tile(np.array([1, -1], np.int8), n // 2)
        with pytest.raises(CancelledError):
            simulate(
                [Market(make_bars(0, n, volatility=0.0001), signals)],
                rules=SignalRules(),
                risk=Risk(),
                capital=1.0,
                costs=Costs(),
                cancellation=cancellation,
            )
