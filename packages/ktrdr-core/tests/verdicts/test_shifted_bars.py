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
