"""The trades of an account at other times."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrdr.core.backtesting.account import Account
from ktrdr.core.backtesting.fills import EXIT_REASONS
from ktrdr.core.backtesting.metrics.sharpe import evidence_of
from ktrdr.core.backtesting.signals import SignalRules
from ktrdr.core.backtesting.simulation import Costs, Market, simulate
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import CancelledError
from ktrdr.core.strategy.model import PriceDistance, Risk
from ktrdr.core.synthetic.random_streams import uniforms
from ktrdr.core.verdicts.permuted_entries import permuted_entries_of
from ktrdr.core.work.cancellation import Cancellation

HOURS = 8766.0
STOPS = Risk(
    stop_loss=PriceDistance(kind="percent", value=1.0),
    take_profit=PriceDistance(kind="percent", value=1.5),
)
CLOSED_AT_OPEN = {"signal", "max_holding_period"}


def made_bars(seed, n, symbol="EURUSD", first=0, volatility=0.003, drift=0.0):
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(drift, volatility, n)))
    opened = np.concatenate(([100.0], close[:-1])) * np.exp(random.normal(0, volatility / 5, n))
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    time = np.datetime64("2020-01-01", "ns") + (first + np.arange(n)) * np.timedelta64(1, "h")
    return Bars(symbol, Timeframe("1h"), time, opened, high, low, close, np.full(n, np.nan))


def account_of(bars, signals, cost=0.0, risk=None):
    """An account that trades these signals, long and short."""
    markets = [Market(own, np.asarray(direction, dtype=np.int8)) for own, direction in zip(bars, signals, strict=True)]
    simulation = simulate(
        markets,
        rules=SignalRules(allow_short_from_flat=True),
        risk=Risk() if risk is None else risk,
        capital=10_000.0,
        costs=Costs(cost, 0.0),
    )
    return Account((), markets, simulation, HOURS)


def random_signals(seed, n, share=0.1):
    random = np.random.default_rng(seed)
    return np.where(random.random(n) < share, random.choice([-1, 1], n), 0)


def slow(account, cost, seed, orders):
    """Every order bar by bar: a list of segments per symbol is put in order, and walked through."""
    simulation, trades = account.simulation, account.simulation.trades
    segments = []
    for number, market in enumerate(account.markets):
        own, at = [], 0
        for trade in range(len(trades)):
            if trades.market[trade] != number:
                continue
            start, end = int(trades.entry_bar[trade]), int(trades.exit_bar[trade])
            if EXIT_REASONS[trades.reason[trade]] not in CLOSED_AT_OPEN:
                end += 1
            earlier = [
                value
                for time, value in zip(simulation.time, simulation.equity, strict=True)
                if time < market.bars.time[start]
            ]
            equity = earlier[-1] if earlier else simulation.capital
            if start > at:
                own.append((0.0, start - at))
            own.append((trades.side[trade] * trades.units[trade] * trades.entry_price[trade] / equity, end - start))
            at = end
        if not own:
            continue
        if at < len(market.bars):
            own.append((0.0, len(market.bars) - at))
        segments.append((market.bars, own))

    def ratio(numbers):
        earned = dict.fromkeys(simulation.time, 0.0)
        for (bars, own), order in zip(segments, numbers, strict=True):
            at = 0
            for place in order:
                share, length = own[place]
                for bar in range(at, at + length):
                    after = bars.open[bar + 1] if bar + 1 < len(bars) else bars.close[bar]
                    earned[bars.time[bar]] += share * (after / bars.open[bar] - 1)
                earned[bars.time[at]] -= abs(share) * cost
                earned[bars.time[at + length - 1]] -= abs(share) * cost
                at += length
        values = list(earned.values())
        return statistics.mean(values) / statistics.stdev(values) * math.sqrt(HOURS)

    observed = ratio([range(len(own)) for _, own in segments])
    ratios = []
    for number in range(orders):
        drawn = [
            sorted(range(len(own)), key=uniforms(seed, number * len(segments) + place, len(own)).__getitem__)
            for place, (_, own) in enumerate(segments)
        ]
        ratios.append(ratio(drawn))
    return observed, ratios


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(20, 120),
    first=st.integers(-30, 30),
    symbols=st.integers(1, 2),
    cost=st.sampled_from([0.0, 0.0005]),
    stops=st.booleans(),
)
def test_every_order_is_that_of_walking_through_its_bars(seed, n, first, symbols, cost, stops):
    bars = [made_bars(seed, n), made_bars(seed + 1, n + 7, "GBPUSD", first)][:symbols]
    signals = [random_signals(seed + place, len(own), 0.3) for place, own in enumerate(bars)]
    account = account_of(bars, signals, cost, STOPS if stops else None)
    found = permuted_entries_of(account, cost, seed=seed, orders=20)
    if found is None:
        assert not len(account.simulation.trades)
        return
    observed, ratios = slow(account, cost, seed, 20)
    assert found.observed == pytest.approx(observed, abs=1e-6)
    np.testing.assert_allclose(found.quantiles, np.quantile(ratios, np.linspace(0, 1, 101)), atol=1e-6)
    assert found.p == (1 + sum(each >= observed - 1e-6 for each in ratios)) / 21
    assert found.permutations == 20


def test_trades_at_their_times_are_nearly_those_of_the_account():
    bars = made_bars(3, 3000)
    account = account_of([bars], [random_signals(4, 3000)], 0.0002)
    equity = account.simulation.equity
    real = evidence_of(np.diff(equity, prepend=10_000.0) / np.append(10_000.0, equity[:-1])).ratio * math.sqrt(HOURS)
    found = permuted_entries_of(account, 0.0002, seed=0, orders=1)
    assert abs(real) > 1
    assert found.observed == pytest.approx(real, rel=0.05)


def test_a_trader_who_knows_the_next_bars_is_better_than_every_order():
    bars = made_bars(5, 2000)
    signals = np.zeros(2000)
    signals[:-5:5] = np.sign(bars.close[5::5] - bars.close[:-5:5])
    found = permuted_entries_of(account_of([bars], [signals]), 0.0, seed=1, orders=199)
    assert found.p == 1 / 200
    assert found.observed > found.quantiles[-1]


def test_p_values_of_random_entries_are_even():
    values = []
    for seed in range(60):
        bars = made_bars(seed, 300, drift=0.001)
        account = account_of([bars], [np.maximum(random_signals(seed + 999, 300), -1)])
        values.append(permuted_entries_of(account, 0.0, seed=seed, orders=59).p)
    # Mean and share below a fifth of 60 even values, each within four standard errors.
    assert np.mean(values) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / 60))
    assert np.mean(np.array(values) <= 0.2) == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 60))


def test_costs_are_the_same_in_every_order():
    bars = made_bars(7, 400, volatility=1e-9)
    account = account_of([bars], [random_signals(8, 400)])
    found = permuted_entries_of(account, 0.001, seed=0, orders=50)
    assert found.observed < 0
    np.testing.assert_allclose(found.quantiles, found.observed, rtol=0.2)


def test_one_long_position_after_a_pause_of_a_bar_has_two_orders_and_proves_nothing():
    account = account_of([made_bars(9, 200)], [np.eye(1, 200)[0]])
    assert account.simulation.trades.entry_bar.tolist() == [1]
    found = permuted_entries_of(account, 0.0, seed=0, orders=99)
    assert len(set(found.quantiles)) <= 3
    assert found.p > 0.3


def test_prices_that_never_move_have_a_ratio_of_zero():
    bars = made_bars(1, 100, volatility=0.0)
    found = permuted_entries_of(account_of([bars], [random_signals(1, 100)]), 0.0, seed=0, orders=20)
    assert (found.observed, found.p) == (0, 1)


def test_without_a_trade_there_is_nothing_to_permute():
    account = account_of([made_bars(1, 100)], [np.zeros(100)])
    assert permuted_entries_of(account, 0.001, seed=0) is None


def test_it_is_the_same_each_time_and_another_with_another_seed():
    account = account_of([made_bars(1, 300)], [random_signals(2, 300)])
    one, again, other = (permuted_entries_of(account, 0.0, seed=seed, orders=30) for seed in (4, 4, 5))
    assert one == again != other


def test_it_stops_on_request():
    cancellation = Cancellation()
    cancellation.cancel()
    account = account_of([made_bars(1, 300)], [random_signals(2, 300)])
    with pytest.raises(CancelledError):
        permuted_entries_of(account, 0.0, seed=0, cancellation=cancellation)
