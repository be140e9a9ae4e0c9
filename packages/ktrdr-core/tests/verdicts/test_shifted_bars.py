"""Longer bars that are seen early and symbols with other clocks are found; late and independent ones are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.verdicts.shifted_bars import check_clocks, check_longer_bars

Market = Callable[..., Bars]


def moved(bars: Bars, steps: int) -> Bars:
    """Return the bars with labels that many bars later."""
    return replace(bars, time=bars.time + steps * np.timedelta64(bars.timeframe.nanoseconds, "ns"))


def without(bars: Bars, keep: np.ndarray) -> Bars:
    columns = (getattr(bars, name)[keep] for name in ("time", "open", "high", "low", "close", "volume"))
    return Bars(bars.symbol, bars.timeframe, *columns, calendar=bars.calendar)


@pytest.mark.parametrize("timeframe", ["2h", "4h", "1d", "1w"])
def test_resampled_and_late_bars_are_clean(timeframe: str):
    base = sample_bars()
    longer = resample(base, timeframe)
    for own in (longer, moved(longer, 1)):
        assert check_longer_bars({"EURUSD": {"1h": base, timeframe: own}}).clean


@pytest.mark.parametrize(("timeframe", "early"), [("2h", 2), ("4h", 4), ("1d", 24)])
def test_bars_labelled_one_bar_early_are_found(market: Market, timeframe: str, early: int):
    base = market(bars=4000)
    longer = moved(resample(base, timeframe), -1)
    finding = check_longer_bars({"EURUSD": {"1h": base, timeframe: longer}})
    assert not finding.clean
    assert f"the {timeframe} bars of EURUSD are labelled too early" in finding.sentence
    assert f"1h bars that close {early} bars later" in finding.sentence


@pytest.mark.parametrize(
    ("base", "longer", "bars"), [("5m", "1d", 9000), ("15m", "1d", 4000), ("1m", "1h", 4000), ("1h", "1w", 5000)]
)
def test_one_longer_bar_early_is_found_however_many_base_bars_that_is(
    market: Market, base: str, longer: str, bars: int
):
    own = market(bars=bars, timeframe=base)
    # A tenth of the bars is absent, so the lag is no constant number of rows.
    own = without(own, np.random.default_rng(2).random(len(own)) > 0.1)
    made = resample(own, longer)
    assert check_longer_bars({"EURUSD": {base: own, longer: made}}).clean
    assert not check_longer_bars({"EURUSD": {base: own, longer: moved(made, -1)}}).clean


@pytest.mark.parametrize("part", [slice(0, 0.4), slice(0.3, 0.7)])
def test_a_part_of_the_history_that_is_early_is_found(market: Market, part: slice):
    base = market(bars=9000)
    longer = resample(base, "1d")
    early, late = int(part.start * len(longer)), int(part.stop * len(longer))
    closes = longer.close.copy()
    one_hour = np.searchsorted(base.close_time, longer.close_time[early:late] + np.timedelta64(1, "h"))
    closes[early:late] = base.close[one_hour]
    finding = check_longer_bars({"EURUSD": {"1h": base, "1d": replace(longer, close=closes)}})
    assert finding.sentence.startswith("40% of the 1d bars of EURUSD are labelled too early")
    assert "1h bars that close 1 bar later" in finding.sentence


def test_closes_of_another_vendor_on_a_coarse_grid_are_clean(market: Market):
    """Prices in ticks are often the same as some later ones by chance, and as often as earlier ones."""
    base = market(bars=9000)
    rounded = {name: np.round(getattr(base, name), 3) for name in ("open", "high", "low", "close")}
    base = replace(base, **rounded)
    longer = resample(base, "4h")
    ticks = np.random.default_rng(5).integers(-1, 2, len(longer))
    closes = np.round(longer.close + 0.001 * ticks, 3)
    assert check_longer_bars({"EURUSD": {"1h": base, "4h": replace(longer, close=closes)}}).clean


def test_a_part_that_is_late_is_clean(market: Market):
    base = market(bars=9000)
    longer = resample(base, "4h")
    closes = longer.close.copy()
    closes[500:1500] = closes[499:1499]
    assert check_longer_bars({"EURUSD": {"1h": base, "4h": replace(longer, close=closes)}}).clean


def test_real_bars_labelled_early_are_found():
    base = sample_bars()
    assert not check_longer_bars({"EURUSD": {"1h": base, "4h": moved(resample(base, "4h"), -1)}}).clean


def test_bars_of_another_vendor_are_clean(market: Market):
    base = market(bars=4000)
    longer = resample(base, "4h")
    spread = replace(longer, close=longer.close * (1 + 1e-4))
    assert check_longer_bars({"EURUSD": {"1h": base, "4h": spread}}).clean


def test_few_longer_bars_show_nothing(market: Market):
    base = market(bars=200)
    longer = moved(resample(base, "1d"), -1)
    assert check_longer_bars({"EURUSD": {"1h": base, "1d": longer}}).clean


def following(bars: Bars, other: Bars, *, noise: float, symbol: str) -> Bars:
    """Return bars that make the moves of others, and moves of their own."""
    own = np.diff(np.log(other.close), prepend=np.log(other.close[0]))
    close = 1.5 * np.exp(np.cumsum(np.diff(np.log(bars.close), prepend=np.log(bars.close[0])) + noise * own))
    return replace(bars, symbol=symbol, open=close, high=close, low=close, close=close)


@pytest.fixture
def correlated(market: Market) -> list[Bars]:
    return [following(market(), market(seed=seed), noise=0.5, symbol=f"S{seed}") for seed in (21, 22, 23)]


def test_correlated_symbols_on_one_clock_are_clean(correlated: list[Bars]):
    assert check_clocks(correlated).clean
    assert check_clocks(correlated[:1]).clean


@pytest.mark.parametrize("steps", [-3, 1])
def test_the_symbol_with_another_clock_is_named(correlated: list[Bars], steps: int):
    finding = check_clocks([correlated[0], moved(correlated[1], steps), correlated[2]])
    assert not finding.clean
    assert f"{abs(steps)} bar" in finding.sentence
    assert "so the clock of S22 is wrong:" in finding.sentence


@pytest.mark.parametrize(
    ("timeframe", "steps", "said"),
    [("5m", 60, "5 hours"), ("15m", -22, "5.5 hours"), ("1h", 13, "13 hours"), ("1h", -24, "24 hours")],
)
def test_a_clock_of_another_time_zone_is_found(market: Market, timeframe: str, steps: int, said: str):
    one, other = (
        following(market(timeframe=timeframe), market(timeframe=timeframe, seed=seed), noise=0.5, symbol=f"S{seed}")
        for seed in (21, 22)
    )
    assert check_clocks([one, other]).clean
    finding = check_clocks([one, moved(other, steps)])
    assert not finding.clean
    assert f" {said} later (correlation 0." in finding.sentence


def test_of_two_symbols_either_clock_may_be_wrong(correlated: list[Bars]):
    finding = check_clocks([correlated[0], moved(correlated[1], 1)])
    assert "S22 makes the moves of S21 1 bar later" in finding.sentence
    assert "the clock of S21 is wrong or that of S22" in finding.sentence


def test_independent_symbols_are_clean(market: Market):
    assert check_clocks([market(symbol=f"S{seed}", seed=seed) for seed in range(12)]).clean
    assert check_clocks([market(), market(symbol="B", seed=9)[:3]]).clean


def test_symbols_of_different_times_are_clean(market: Market):
    late = moved(market(symbol="B"), 5000)
    assert check_clocks([market(), late]).clean
