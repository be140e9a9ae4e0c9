"""Trap suite: faults planted in bars are caught, and named by the right check and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError

Faults = Callable[..., dict[str, str]]
Market = Callable[..., Bars]

PRICES = ("open", "high", "low", "close")


def at(bars: Bars, rows: np.ndarray) -> Bars:
    """Return the bars at some positions."""
    columns = (getattr(bars, name)[rows] for name in ("time", *PRICES, "volume"))
    return Bars(bars.symbol, bars.timeframe, *columns, calendar=bars.calendar)


def prices_of(bars: Bars, rows: np.ndarray) -> Bars:
    """Return the bars with the prices of others."""
    return replace(bars, **{name: getattr(bars, name)[rows] for name in PRICES})


def times(bars: Bars, factors: np.ndarray, *names: str) -> Bars:
    return replace(bars, **{name: getattr(bars, name) * factors for name in names or PRICES})


def moved(bars: Bars, steps: int) -> Bars:
    return replace(bars, time=bars.time + steps * np.timedelta64(bars.timeframe.nanoseconds, "ns"))


def test_bars_without_a_fault(faults_on: Faults, market: Market):
    assert faults_on(market(bars=3000), market(symbol="GBPUSD", bars=3000, seed=8)) == {}


def test_real_bars_with_weekends_and_holidays(faults_on: Faults):
    assert faults_on(sample_bars()) == {}


def test_a_split_that_was_not_adjusted_for(faults_on: Faults, market: Market):
    faults = faults_on(times(market(), np.where(np.arange(2000) < 900, 1.0, 0.5)))
    assert set(faults) == {"unadjusted_jumps"}
    assert "EURUSD 1h: 1 jump looks like a split" in faults["unadjusted_jumps"]
    assert "2018-02-07 12:00 (2 to 1)" in faults["unadjusted_jumps"]


def test_a_decimal_sign_that_was_read_wrong_for_a_day(faults_on: Faults, market: Market):
    row = np.arange(2000)
    faults = faults_on(times(market(), np.where((row < 900) | (row >= 924), 1.0, 10.0)))
    assert set(faults) == {"unadjusted_jumps"}
    assert "10 to 1" in faults["unadjusted_jumps"]


def test_bars_of_another_symbol_in_between(faults_on: Faults, market: Market):
    row = np.arange(2000)
    faults = faults_on(times(market(), np.where((row < 900) | (row >= 950), 1.0, 137.0)))
    assert set(faults) == {"unadjusted_jumps"}


def test_a_bad_tick(faults_on: Faults, market: Market):
    bars = market()
    faults = faults_on(times(bars, np.where(np.arange(2000) == 900, 0.93, 1.0), "low"))
    assert set(faults) == {"bad_ticks"}
    assert "at 2018-02-07 12:00" in faults["bad_ticks"]


def test_a_spike_of_a_whole_bar(faults_on: Faults, market: Market):
    faults = faults_on(times(market(), np.where(np.arange(2000) == 900, 1.08, 1.0)))
    assert set(faults) == {"bad_ticks"}


def test_two_percent_of_the_bars_missing_here_and_there(faults_on: Faults, market: Market):
    kept = np.sort(np.random.default_rng(1).permutation(2000)[:1960])
    faults = faults_on(at(market(), kept))
    assert set(faults) == {"missing_bars"}
    assert "EURUSD 1h: " in faults["missing_bars"]
    assert "are missing while 24/7 was open" in faults["missing_bars"]


def test_a_week_missing(faults_on: Faults, market: Market):
    row = np.arange(2000)
    faults = faults_on(at(market(), row[(row < 700) | (row >= 868)]))
    assert set(faults) == {"missing_bars"}
    assert "168 bars" in faults["missing_bars"]


def test_times_in_another_zone(faults_on: Faults):
    """Ten hours late, so the end of the week is on Saturday and the beginning is missing."""
    faults = faults_on(moved(sample_bars(), 10))
    assert set(faults) == {"missing_bars"}
    assert "bars lie outside its hours" in faults["missing_bars"]


def test_a_price_that_stands_still(faults_on: Faults, market: Market):
    row = np.arange(2000)
    faults = faults_on(prices_of(market(), np.where((row >= 700) & (row < 800), 700, row)))
    assert set(faults) == {"stale_prices"}
    assert "99 in a row from 2018-01-30 05:00 on" in faults["stale_prices"]


def test_weekends_that_were_filled_in(faults_on: Faults):
    bars = sample_bars()
    hours = np.arange(bars.time[0], bars.time[-1] + 1, np.timedelta64(3600 * 10**9, "ns"))
    last = np.searchsorted(bars.time, hours, side="right") - 1
    filled = replace(at(bars, last), time=hours)
    closed = bars.time[last] != hours
    close = bars.close[last]
    flat = {name: np.where(closed, close, getattr(filled, name)) for name in PRICES}
    faults = faults_on(replace(filled, **flat))
    assert set(faults) == {"stale_prices"}


def test_every_bar_twice(faults_on: Faults, market: Market):
    """Hours made of two-hour bars."""
    faults = faults_on(prices_of(market(), np.arange(2000) // 2))
    assert set(faults) == {"stale_prices"}
    assert "(50.0%)" in faults["stale_prices"]


def test_two_bars_of_one_time_are_not_even_stored(market: Market, tmp_path: Path):
    twice = at(market(), np.sort(np.append(np.arange(2000), 900)))
    with pytest.raises(BadInputError, match="2018-02-07 12:00"):
        BarStore(tmp_path / "data").write(twice)


def test_a_week_that_was_copied_over_another(faults_on: Faults, market: Market):
    row = np.arange(2000)
    faults = faults_on(prices_of(market("mean_reversion"), np.where((row >= 900) & (row < 1068), row - 400, row)))
    assert set(faults) == {"copied_bars"}
    assert "EURUSD 1h: at least 168 bars, from 2018-02-07 12:00 on" in faults["copied_bars"]


def test_one_series_under_two_names(faults_on: Faults, market: Market):
    faults = faults_on(market(), replace(market(), symbol="GBPUSD"))
    assert set(faults) == {"copied_bars"}
    assert "GBPUSD" in faults["copied_bars"]


def test_longer_bars_without_a_fault(faults_on: Faults, market: Market):
    bars = market()
    longer = resample(bars, "4h")
    assert faults_on(bars, longer, timeframes=("1h", "4h")) == {}


def test_longer_bars_labelled_early(faults_on: Faults, market: Market):
    bars = market()
    faults = faults_on(bars, moved(resample(bars, "4h"), -1), timeframes=("1h", "4h"))
    assert set(faults) == {"longer_bars"}
    assert "the 4h bars of EURUSD are labelled too early" in faults["longer_bars"]


@pytest.fixture
def pair(market: Market) -> tuple[Bars, Bars]:
    """Two symbols that move together."""
    bars, own = market(), market(symbol="GBPUSD", seed=8)
    return bars, replace(times(bars, np.sqrt(own.close / own.close[0])), symbol="GBPUSD")


def test_symbols_that_move_together_without_a_fault(faults_on: Faults, pair: tuple[Bars, Bars]):
    assert faults_on(*pair) == {}


def test_a_symbol_read_in_another_zone(faults_on: Faults, pair: tuple[Bars, Bars]):
    faults = faults_on(pair[0], moved(pair[1], 2))
    assert set(faults) == {"shifted_clock"}
    assert "GBPUSD makes the moves of EURUSD 2 bars later" in faults["shifted_clock"]
