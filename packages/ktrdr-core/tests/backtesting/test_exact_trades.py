"""Stops and targets of decimal prices are met as exact arithmetic says, in whatever unit the prices are quoted."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.fills import EXIT_REASONS
from ktrdr.core.backtesting.signals import SignalRules, decide
from ktrdr.core.backtesting.simulation import Costs, Market, Trades, simulate
from ktrdr.core.backtesting.sizing import round_down
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.strategy.model import CostModel, Decisions, Filters, PriceDistance, Risk, Sizing

_Ticks = tuple[list[int], list[int], list[int], list[int]]

percents = st.none() | st.sampled_from(["0.5", "1", "1.5", "2"])


def coarse_ticks(seed: int, n: int, step: int) -> _Ticks:
    """Open, high, low and close in whole steps of 0.5 % of the first price: levels in percent are met exactly."""
    random = np.random.default_rng(seed)
    close = 10_000 + step * np.cumsum(random.integers(-2, 3, n))
    close = np.maximum(close, 2_000)
    opened = np.concatenate((close[:1], close[:-1] + step * random.integers(-1, 2, n - 1)))
    reach = step * random.integers(0, 3, (2, n))
    high, low = np.maximum(opened, close) + reach[0], np.minimum(opened, close) - reach[1]
    return opened.tolist(), high.tolist(), low.tolist(), close.tolist()


def quoted(ticks: _Ticks, exponent: int) -> Bars:
    """Return bars with each price read from its decimal."""
    n = len(ticks[0])
    time = np.datetime64("2020-01-06", "ns") + np.arange(n) * np.timedelta64(3_600_000_000_000, "ns")
    columns = (np.array([float(f"{tick}e{exponent}") for tick in column]) for column in ticks)
    return Bars("X", Timeframe("1h"), time, *columns, np.ones(n))


def percent(value: str | None) -> PriceDistance | None:
    return None if value is None else PriceDistance(kind="percent", value=float(value))


def exact_exit(
    ticks: _Ticks, side: int, stop: str | None, target: str | None, trail: str | None
) -> tuple[int, Fraction, str]:
    """Bar, price and reason of the end of a position entered at the open of bar 1, in fractions of a tick."""
    opened, high, low, close = ticks
    entry = best = Fraction(opened[1])

    def away(price: Fraction, share: str, sign: int) -> Fraction:
        return price * (1 + sign * Fraction(Decimal(share)) / 100)

    for bar in range(1, len(opened)):
        levels = {"stop_loss": away(entry, stop, -side)} if stop else {}
        if trail and (not levels or (away(best, trail, -side) - levels["stop_loss"]) * side > 0):
            levels = {"trailing_stop": away(best, trail, -side)}
        adverse, favourable = (low[bar], high[bar]) if side > 0 else (high[bar], low[bar])
        goal = away(entry, target, side) if target else None
        for reason, level in levels.items():
            if (level - opened[bar]) * side >= 0:
                return bar, Fraction(opened[bar]), reason
        if goal is not None and (opened[bar] - goal) * side >= 0:
            return bar, Fraction(opened[bar]), "take_profit"
        for reason, level in levels.items():
            if (level - adverse) * side >= 0:
                return bar, level, reason
        if goal is not None and (favourable - goal) * side >= 0:
            return bar, goal, "take_profit"
        best = max(best, Fraction(high[bar])) if side > 0 else min(best, Fraction(low[bar]))
    return len(opened) - 1, Fraction(close[-1]), "end_of_data"


def nearly_touching(seed: int, n: int, side: int, levels: list[str | None], trail: str | None) -> _Ticks:
    """Bars whose extremes are at a level of the position entered at the open of bar 1, or one tick off it."""
    random = np.random.default_rng(seed)
    # Multiples of 200: every level in steps of 0.5 % is a whole number of ticks.
    entry = best = 200 * int(random.integers(5_000, 50_000))
    bars = [(entry, entry, entry, entry)] * 2
    for _ in range(n - 2):
        near = [entry + sign * entry * int(float(share) * 10) // 1000 for share in levels if share for sign in (1, -1)]
        near += [best - side * best * int(float(trail) * 10) // 1000] if trail else []
        inside = best - side * (best // 1_000)
        touched = int(random.choice(near or [entry])) + int(random.integers(-1, 2))
        opened = touched if random.random() < 0.1 else inside
        bars.append((opened, max(opened, inside, touched), min(opened, inside, touched), inside))
        if random.random() < 0.3:
            best += side * 200 * int(random.integers(0, 50))
            bars[-1] = (bars[-1][0], max(bars[-1][1], best), min(bars[-1][2], best), inside)
        best = max(best, bars[-1][1]) if side > 0 else min(best, bars[-1][2])
        best = best // 200 * 200
    opened, high, low, close = (list(column) for column in zip(*bars, strict=True))
    return opened, high, low, close


@given(
    seed=st.integers(0, 100_000),
    n=st.integers(3, 12),
    exponent=st.integers(-10, 2),
    side=st.sampled_from([1, -1]),
    stop=percents,
    target=percents,
    trail=percents,
)
def test_an_exit_is_that_of_exact_arithmetic(
    seed: int, n: int, exponent: int, side: int, stop: str | None, target: str | None, trail: str | None
):
    near = [nearly_touching(seed + k, n, side, [stop, target], trail) for k in range(10)]
    for ticks in (coarse_ticks(seed, n, 50), *near):
        direction = np.zeros(len(ticks[0]), dtype=np.int8)
        direction[0] = side
        trades = simulate(
            [Market(quoted(ticks, exponent), direction)],
            rules=SignalRules(allow_short_from_flat=True),
            risk=Risk(
                sizing=Sizing(type="fixed_fraction", value=1.0),
                stop_loss=percent(stop),
                take_profit=percent(target),
                trailing_stop=percent(trail),
            ),
            capital=10_000.0,
            costs=Costs(),
        ).trades
        bar, price, reason = exact_exit(ticks, side, stop, target, trail)
        assert (int(trades.exit_bar[0]), EXIT_REASONS[trades.reason[0]]) == (bar, reason), ticks
        assert trades.exit_reference_price[0] == pytest.approx(float(price) * 10.0**exponent, rel=1e-12)


sizings = st.sampled_from(
    [
        Sizing(type="fixed_fraction", value=0.95),
        Sizing(type="risk_per_trade", value=0.01),
        Sizing(type="volatility_target", value=0.3, window=5),
    ]
)
distances = st.none() | st.builds(
    PriceDistance, kind=st.sampled_from(["percent", "atr"]), value=st.sampled_from([0.5, 1.0, 2.0])
)


def columns_of(trades: Trades) -> dict[str, Any]:
    names = ("market", "side", "entry_decision", "entry_bar", "exit_decision", "exit_bar", "reason")
    return {name: getattr(trades, name).tolist() for name in names}


@given(
    seed=st.integers(0, 100_000),
    markets=st.integers(1, 3),
    step=st.sampled_from([1, 50]),
    sizing=sizings,
    stop=distances.filter(lambda found: found is not None),
    target=distances,
    trail=distances,
    costs=st.sampled_from([Costs(), Costs(commission=0.0002, slippage=0.0001)]),
    power=st.integers(-6, 6),
)
def test_prices_times_a_power_of_ten_change_no_trade(
    seed: int,
    markets: int,
    step: int,
    sizing: Sizing,
    stop: PriceDistance,
    target: PriceDistance | None,
    trail: PriceDistance | None,
    costs: Costs,
    power: int,
):
    """Signals and sizes by fraction given, prices read from decimals or multiplied as floats."""
    random = np.random.default_rng(seed)
    n = 120
    signals = [random.choice(np.array([-1, 0, 0, 1], dtype=np.int8), n) for _ in range(markets)]
    ticks = [coarse_ticks(seed + k, n, step) for k in range(markets)]
    risk = Risk(sizing=sizing, stop_loss=stop, take_profit=target, trailing_stop=trail, max_holding_period=20)

    def traded(bars: list[Bars]) -> dict[str, Any]:
        found = simulate(
            [
                Market(each, own, compute_indicator("atr", {"period": 3}, each)["atr"], 6220.0)
                for each, own in zip(bars, signals, strict=True)
            ],
            rules=SignalRules(allow_short_from_flat=True),
            risk=risk,
            capital=10_000.0,
            costs=costs,
        )
        return {**columns_of(found.trades), "orders": dataclasses.asdict(found.counts)}

    if markets == 1:
        shares = [f"{each.value:g}" for each in (stop, target) if each is not None and each.kind == "percent"]
        ticks = [nearly_touching(seed, n, 1, list(shares), None)]
    base = [quoted(each, -4) for each in ticks]
    expected = traded(base)
    assert traded([quoted(each, power - 4) for each in ticks]) == expected
    factor = 10.0**power
    multiplied = [
        Bars(
            each.symbol,
            each.timeframe,
            each.time,
            *(column * factor for column in (each.open, each.high, each.low, each.close)),
            each.volume,
        )
        for each in base
    ]
    assert traded(multiplied) == expected


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("reason", ["stop_loss", "take_profit"])
def test_a_bar_that_only_just_reaches_a_level_ends_the_position(side: int, reason: str):
    """Of entries in steps of 200 ticks a distance of 0.5 % is a whole number of ticks; floats miss it by a bit."""
    away = side if reason == "take_profit" else -side
    for places in (1, 2, 5):
        for entry in range(10_000, 16_000, 200):
            level = entry + away * entry // 200
            touched = ([entry] * 4, [entry, entry, max(entry, level), entry], [entry, entry, min(entry, level), entry])
            trades = simulate(
                [Market(quoted((*touched, [entry] * 4), -places), np.array([side, 0, 0, 0], dtype=np.int8))],
                rules=SignalRules(allow_short_from_flat=True),
                risk=Risk(sizing=Sizing(type="fixed_fraction", value=1.0), **{reason: percent("0.5")}),
                capital=10_000.0,
                costs=Costs(),
            ).trades
            assert (int(trades.exit_bar[0]), EXIT_REASONS[trades.reason[0]]) == (2, reason), (entry, places)


@pytest.mark.parametrize("share", ["2", "8"])
@pytest.mark.parametrize("places", [0, 1, 2, 5])
def test_a_stop_at_the_trailing_stop_is_the_stop(places: int, share: str):
    """Both at one distance from the entry, where the price never rose: floats put one of them a bit above the other."""
    for entry in range(10_000, 10_050):
        ticks = ([entry] * 3, [entry] * 3, [entry, entry, entry // 2], [entry, entry, entry // 2])
        trades = simulate(
            [Market(quoted(ticks, -places), np.array([1, 0, 0], dtype=np.int8))],
            rules=SignalRules(),
            risk=Risk(
                sizing=Sizing(type="fixed_fraction", value=1.0), stop_loss=percent(share), trailing_stop=percent(share)
            ),
            capital=10_000.0,
            costs=Costs(),
        ).trades
        assert EXIT_REASONS[trades.reason[0]] == "stop_loss", entry


def test_a_probability_at_the_threshold_is_not_above_it():
    """0.1 + 0.2 is 0.30000000000000004; a forest of ten trees gives such shares."""
    at, beyond = 0.1 + 0.2, 0.301
    outputs = np.array([[at, 0.2, 0.1], [beyond, 0.2, 0.1], [at, 0.3, 0.1], [0.1, 0.3, at], [0.1, 0.2, beyond]])
    assert decide(outputs, Decisions(confidence_threshold=0.3)).direction.tolist() == [0, 1, 0, 0, -1]
    assert decide(outputs, Decisions(confidence_threshold=0.0)).direction.tolist() == [1, 1, 0, 0, -1]


def test_a_value_at_the_edge_is_not_above_it():
    """0.003 * 1.1 is 0.0033000000000000004, and so is 0.0011 * 3, but not 0.0033."""
    decisions = Decisions(
        output_format="regression", cost_model=CostModel(round_trip_cost=0.003, min_edge_multiplier=1.1)
    )
    values = np.array([0.0033, 0.0011 * 3, 0.0034, -0.0033, -0.0034])
    assert decide(values, decisions).direction.tolist() == [0, 0, 1, 0, -1]


def test_a_volume_at_the_filter_passes():
    decisions = Decisions(filters=Filters(volume_filter=0.3))
    outputs = np.tile([0.9, 0.05, 0.05], (3, 1))
    ratio = np.array([0.3, np.nextafter(0.3, 0.0), 0.299])
    assert decide(outputs, decisions, ratio).direction.tolist() == [1, 1, 0]


@given(lots=st.integers(0, 10**7), lot=st.sampled_from(["1000", "1", "0.1", "0.01", "0.001"]))
def test_whole_lots_stay_whole(lots: int, lot: str):
    units = float(Decimal(lots) * Decimal(lot))
    assert round_down(units, float(lot)) == pytest.approx(units, rel=1e-12)
    assert round_down(units * (1 + 1e-12), float(lot)) == pytest.approx(units, rel=1e-12)
    below = float((Decimal(lots) + Decimal("0.9")) * Decimal(lot))
    assert round_down(below, float(lot)) == pytest.approx(units, rel=1e-12)
