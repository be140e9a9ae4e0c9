"""Filled-in bars and copied blocks are found and named, and equal prices by chance are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.verdicts import stale_and_copied
from ktrdr.core.verdicts.stale_and_copied import check_copied_bars, check_stale_prices

Market = Callable[..., Bars]

PRICES = ("open", "high", "low", "close")


def taken_from(bars: Bars, source: np.ndarray) -> Bars:
    """Return the bars with the prices of other positions."""
    return replace(bars, **{name: getattr(bars, name)[source] for name in PRICES})


def frozen(bars: Bars, first: int, length: int) -> Bars:
    source = np.arange(len(bars))
    source[first : first + length] = first
    return taken_from(bars, source)


def copied(bars: Bars, source: int, first: int, length: int) -> Bars:
    place = np.arange(len(bars))
    place[first : first + length] = np.arange(source, source + length)
    return taken_from(bars, place)


def test_real_bars_are_neither_stale_nor_copied():
    assert check_stale_prices([sample_bars()]).clean
    assert check_copied_bars([sample_bars()]).clean


def test_filled_in_bars_are_found_above_one_percent(market: Market):
    assert check_stale_prices([frozen(market(), 700, 21)]).clean
    finding = check_stale_prices([market(symbol="AAA"), frozen(market(symbol="BBB"), 700, 22)])
    assert not finding.clean
    assert finding.sentence.startswith("BBB 1h: 21 bars (1.1%) repeat all four prices of the bar before")
    assert "21 in a row from 2018-01-30 05:00 on" in finding.sentence
    assert "AAA" not in finding.sentence


def ticks(number: int, moves: float, *, volume: np.ndarray | None = None, seed: int = 3, quiet: bool = False) -> Bars:
    """Return minutes in which the price makes a few moves of a whole tick."""
    random = np.random.default_rng(seed)
    time = np.datetime64("2018-01-01", "ns") + np.arange(number) * np.timedelta64(1, "m")
    rate = np.full(number, moves)
    if quiet:
        rate[time.astype("datetime64[h]").astype(np.int64) % 24 < 12] *= 0.5
    steps = random.choice([-1, 1], size=(number, 12)) * (np.arange(12) < random.poisson(rate)[:, None])
    path = np.concatenate((np.zeros((number, 1)), np.cumsum(steps, axis=1)), axis=1)
    path += np.concatenate(([0.0], np.cumsum(path[:, -1])[:-1]))[:, None]
    prices = 1.2 + np.stack((path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]), axis=1) / 10_000
    amounts = np.full(number, np.nan) if volume is None else volume
    return Bars("EURUSD", Timeframe("1m"), time, *np.round(prices, 4).T.copy(), amounts)


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("volumes", ["missing", "ticks", "shares"])
@pytest.mark.parametrize("moves", [0.5, 1.2, 2.0])
def test_repeats_that_ticks_explain_are_clean(moves: float, volumes: str, quiet: bool):
    random = np.random.default_rng(8)
    volume = {"missing": None, "ticks": 1.0 + random.poisson(4, 20_000), "shares": random.lognormal(9, 1, 20_000)}
    bars = ticks(20_000, moves, volume=volume[volumes], quiet=quiet)
    finding = check_stale_prices([bars])
    assert finding.clean
    assert "no more than their ticks and volumes explain" in finding.sentence


@pytest.mark.parametrize(("moves", "length"), [(0.5, 12_000), (1.2, 6_000), (2.0, 1_000)])
@pytest.mark.parametrize("untraded", [0.0, np.nan])
def test_bars_filled_in_between_such_bars_are_found(moves: float, length: int, untraded: float):
    volume = np.random.default_rng(8).lognormal(9, 1, 20_000)
    bars = ticks(20_000, moves, volume=volume)
    amounts = bars.volume.copy()
    amounts[5_001 : 5_000 + length] = untraded
    filled = replace(frozen(bars, 5_000, length), volume=amounts)
    assert not check_stale_prices([filled]).clean


def test_bars_filled_in_without_volume_are_found_where_ticks_explain_fewer():
    assert not check_stale_prices([frozen(ticks(20_000, 1.2), 5_000, 6_000)]).clean


def test_each_bar_twice_is_stale(market: Market):
    bars = market()
    finding = check_stale_prices([taken_from(bars, np.arange(len(bars)) // 2)])
    assert "1,000 bars (50.0%)" in finding.sentence


def test_stale_bars_are_not_called_copied(market: Market):
    assert check_copied_bars([frozen(market(), 700, 600)]).clean


def test_a_copied_block_is_found_with_both_places(market: Market):
    assert check_copied_bars([copied(market(), 100, 1000, 23)]).clean
    finding = check_copied_bars([copied(market(), 100, 1000, 48)])
    assert not finding.clean
    assert (
        "EURUSD 1h: at least 48 bars, from 2018-02-11 16:00 on, have the prices of EURUSD from 2018-01-05 04:00 on"
        in finding.sentence
    )


def test_the_same_series_under_two_names_is_found(market: Market):
    twin = replace(market(), symbol="GBPUSD")
    finding = check_copied_bars([market(), market(symbol="USDJPY", seed=9), twin])
    assert "GBPUSD 1h: at least 2,000 bars" in finding.sentence
    assert "prices of EURUSD" in finding.sentence
    assert "USDJPY" not in finding.sentence


def test_of_very_many_bars_a_part_is_compared_that_finds_long_copies(market: Market, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stale_and_copied, "_MOST_BLOCKS", 100)
    twin = replace(market(), symbol="GBPUSD")
    assert not check_copied_bars([market(), twin]).clean
    assert check_copied_bars([market(), market(symbol="GBPUSD", seed=9)]).clean


@given(arrays.arrays(np.int64, st.integers(0, 80), elements=st.integers(0, 2)))
def test_copies_are_those_of_the_slow_search(levels: np.ndarray):
    """Few levels and a short block, so that copies are frequent."""
    time = np.datetime64("2018-01-01", "ns") + np.arange(len(levels)) * np.timedelta64(1, "h")
    close = 1.0 + levels
    bars = Bars("EURUSD", Timeframe("1h"), time, close, close, close, close, close)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stale_and_copied, "_BLOCK", 4)
        found = not check_copied_bars([bars]).clean
    blocks = [tuple(levels[row : row + 4].tolist()) for row in range(len(levels) - 3)]
    repeats = [0, *(int(one == other) for one, other in zip(levels[1:], levels[:-1], strict=True))]
    again = [blocks[row] in blocks[:row] and 2 * sum(repeats[row : row + 4]) < 4 for row in range(len(blocks))]
    assert found == any(again)


def test_few_bars_are_clean(market: Market):
    assert check_copied_bars([market()[:5]]).clean
    assert check_stale_prices([market()[:0]]).clean
