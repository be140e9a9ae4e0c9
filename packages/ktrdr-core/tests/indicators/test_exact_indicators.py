"""A market is the same market in dollars and in cents: what an indicator says is not up to the last bit of a price."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.indicators.computation import compute_indicator
from ktrdr.core.indicators.registry import get_indicator, indicator_names

# Outputs that are in the price's unit; all others are pure numbers.
PRICED = {
    "sma", "ema", "wma", "dema", "tema", "kama", "hma", "vwap", "momentum", "macd", "linreg_slope", "atr", "bbands",
    "keltner", "donchian", "stddev", "ichimoku", "parabolic_sar.sar", "supertrend.trend",
}  # fmt: skip
SHORT = {"period": 3, "atr_period": 3, "k_period": 3, "bb_period": 4, "kc_period": 4}

_Ticks = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def as_bars(ticks: _Ticks, exponent: int, volume: np.ndarray) -> Bars:
    """Return bars whose prices are ``ticks`` times a power of ten, each read from its decimal."""
    n = len(volume)
    columns = [np.array([float(f"{tick}e{exponent}") for tick in column.tolist()]) for column in ticks]
    time = np.datetime64("2020-01-06", "ns") + np.arange(n) * np.timedelta64(3_600_000_000_000, "ns")
    return Bars("X", Timeframe("1h"), time, *columns, volume)


def times(bars: Bars, factor: float) -> Bars:
    return Bars(
        bars.symbol,
        bars.timeframe,
        bars.time,
        *(column * factor for column in (bars.open, bars.high, bars.low, bars.close)),
        bars.volume,
    )


@st.composite
def coarse(draw: st.DrawFn, n: int = 160) -> tuple[_Ticks, np.ndarray]:
    """Prices of few ticks, as quiet markets have them: equal moves up and down, bars without range, whole stretches in
    which nothing moves, and stretches in which highs and lows move and their mean does not."""
    random = np.random.default_rng(draw(st.integers(0, 100_000)))
    level, step, still = draw(
        st.sampled_from([(12_345, 3, 0.3), (107_655, 12, 0.1), (5_000, 50, 0.0), (123, 1, 0.6), (10_000, 2, 0.8)])
    )
    moves = np.where(random.random(n) < still, 0, random.integers(-step, step + 1, n))
    first, length = int(random.integers(0, n)), int(random.integers(0, 20))
    moves[first : first + length] = 0
    close = np.abs(level + np.cumsum(moves)) + 4 * step + 1
    opened = np.concatenate((close[:1], close[:-1]))
    reach = random.integers(0, step + 1, (2, n)) * (random.random((2, n)) > still)
    # Where nothing moves, the range of a bar is as far above as below.
    reach[1, first : first + length] = reach[0, first : first + length]
    ticks = opened, np.maximum(opened, close) + reach[0], np.minimum(opened, close) - reach[1], close
    return ticks, random.integers(0, 50, n).astype(np.float64)


def compare(name: str, given: Mapping[str, Any], base: Bars, other: Bars, factor: float) -> None:
    found = compute_indicator(name, given, other)
    for output, expected in compute_indicator(name, given, base).items():
        unit = factor if name in PRICED or f"{name}.{output}" in PRICED else 1.0
        values = found[output] / unit
        known = np.isfinite(expected)
        np.testing.assert_array_equal(known, np.isfinite(values), err_msg=output)
        if known.any():
            width = np.ptp(expected[known])
            allowed = 1e-9 * width if width > 0 else 1e-12 * np.abs(expected[known]).max()
            np.testing.assert_allclose(
                values[known], expected[known], rtol=0, atol=allowed, err_msg=f"{output} {given}"
            )


def variants(name: str) -> list[dict[str, Any]]:
    """Return parameters: the defaults, short windows, and the means of prices that it may read."""
    names = {parameter.name: parameter for parameter in get_indicator(name).parameters}
    short = {key: value for key, value in SHORT.items() if key in names}
    found = [{}, short] if short else [{}]
    return found + ([{**short, "source": "hlc3"}] if "source" in names else [])


@pytest.mark.parametrize("name", indicator_names())
@given(market=coarse(), exponent=st.integers(-10, 4), data=st.data())
def test_prices_times_a_power_of_ten_change_nothing(name, market, exponent, data):
    ticks, volume = market
    base = as_bars(ticks, 0, volume)
    parameters = data.draw(st.sampled_from(variants(name)))
    compare(name, parameters, base, as_bars(ticks, exponent, volume), 10.0**exponent)
    power = data.draw(st.integers(-6, 6))
    compare(name, parameters, base, times(as_bars(ticks, -5, volume), 10.0**power), 10.0 ** (power - 5))


@pytest.mark.parametrize("exponent", [-8, -5, -2, -1, 1])
class TestTies:
    """Each at prices at which floats decide the other way at one of these exponents, at least."""

    def test_equal_directional_movements_count_for_neither(self, exponent):
        """Wilder: an outside bar that goes as far up as down has no directional movement."""
        random = np.random.default_rng(5)
        reach = np.cumsum(random.integers(1, 9, 40))
        close = np.full(40, 107_655)
        bars = as_bars((close, close + reach, close - reach, close), exponent, np.ones(40))
        found = compute_indicator("adx", {"period": 3}, bars)
        for output in ("adx", "plus_di", "minus_di"):
            assert (found[output][5:] == 0.0).all(), output

    @pytest.mark.parametrize(("start", "way"), [(69_577, 850), (42_116, 150), (38_358, 450), (23_731, 850)])
    def test_a_low_at_the_stop_turns_the_parabolic_round(self, exponent, start, way):
        """The stop of row 2 is the first low and 0.02 of the way to the high of row 1."""
        stop = start + way // 50
        for low, direction in ((stop, -1.0), (stop + 1, 1.0)):
            lows = np.array([start, stop + 5, low, stop + 9])
            highs = start + way + np.array([-3, 0, 0, 0])
            bars = as_bars((lows, highs, lows, highs), exponent, np.ones(4))
            assert compute_indicator("parabolic_sar", {}, bars)["direction"].tolist()[1:3] == [1.0, direction]

    def test_a_close_on_the_band_is_not_beyond_it(self, exponent):
        """Ten bars of a range of 10 around 10,000, and a band of 3 ranges: 30 below the middle of the last, 9,970."""
        for close, direction in ((9_970, 1.0), (9_969, -1.0)):
            n = 12
            closes = np.append(np.full(n, 10_000), close)
            highs, lows = np.append(np.full(n, 10_005), 10_005), np.append(np.full(n, 9_995), close)
            bars = as_bars((closes, highs, lows, closes), exponent, np.ones(n + 1))
            line = compute_indicator("supertrend", {"period": 10}, bars)["direction"]
            assert line[-1] == direction

    def test_means_of_prices_that_are_equal_rank_as_equal(self, exponent):
        reach = np.arange(1, 31) * 7
        close = np.full(30, 12_347)
        bars = as_bars((close, close + reach, close - reach, close), exponent, np.ones(30))
        for source in ("hl2", "hlc3", "ohlc4"):
            rank = compute_indicator("percentile_rank", {"period": 10, "source": source}, bars)["percentile_rank"]
            assert (rank[10:] == 0.0).all()

    @pytest.mark.parametrize(
        ("name", "middle"), [("rsi", 50.0), ("chande_momentum", 0.0), ("zscore", 0.0), ("roc", 0.0), ("stddev", 0.0)]
    )
    def test_a_mean_that_stands_still_has_not_moved(self, exponent, name, middle):
        reach = np.arange(1, 31) * 7
        close = np.full(30, 12_347)
        bars = as_bars((close, close + reach, close - reach, close), exponent, np.ones(30))
        values = compute_indicator(name, {"period": 5, "source": "hlc3"}, bars)[name]
        assert (values[5:] == middle).all()

    def test_a_typical_price_that_stands_still_has_no_deviation(self, exponent):
        reach = np.arange(1, 31) * 7
        close = np.full(30, 12_347)
        bars = as_bars((close, close + reach, close - reach, close), exponent, np.ones(30))
        assert (compute_indicator("cci", {"period": 5}, bars)["cci"][5:] == 0.0).all()
        assert (compute_indicator("mfi", {"period": 5}, bars)["mfi"][5:] == 50.0).all()


def exact_parabolic(high: list[int], low: list[int]) -> tuple[list[Fraction], list[int]]:
    """Wilder's parabolic stop of ticks, with TA-Lib's beginning, in fractions: nothing is rounded."""
    step, most = Fraction(2, 100), Fraction(20, 100)
    rising = not low[0] - low[1] > max(high[1] - high[0], 0)
    stop, extreme = (Fraction(low[0]), high[1]) if rising else (Fraction(high[0]), low[1])
    factor, stops, directions = step, [], []
    for row in range(1, len(high)):
        near = range(max(row - 1, 1), row + 1)
        if low[row] <= stop if rising else high[row] >= stop:
            rising, stop, factor = not rising, Fraction(extreme), step
            extreme = high[row] if rising else low[row]
            stop = min(stop, *(low[k] for k in near)) if rising else max(stop, *(high[k] for k in near))
        elif (high[row] > extreme) if rising else (low[row] < extreme):
            extreme, factor = high[row] if rising else low[row], min(factor + step, most)
        stops.append(stop)
        directions.append(1 if rising else -1)
        stop += factor * (extreme - stop)
        stop = min(stop, *(low[k] for k in near)) if rising else max(stop, *(high[k] for k in near))
    return stops, directions


def exact_supertrend(high: list[int], low: list[int], close: list[int], bars: int, width: int) -> list[int]:
    """Directions of the trailing band of ticks in fractions, from row ``bars`` on."""
    reaches = [max(high[k], close[k - 1]) - min(low[k], close[k - 1]) for k in range(1, len(high))]
    average, top, bottom = Fraction(0), None, None
    rising, directions = True, []
    for row in range(bars, len(high)):
        average = Fraction(sum(reaches[:bars]), bars) if row == bars else average + (reaches[row - 1] - average) / bars
        middle, before = Fraction(high[row] + low[row], 2), close[row - 1]
        upper, lower = middle + width * average, middle - width * average
        top = upper if top is None or upper < top or before > top else top
        bottom = lower if bottom is None or lower > bottom or before < bottom else bottom
        if close[row] < bottom if rising else close[row] > top:
            rising = not rising
        directions.append(1 if rising else -1)
    return directions


@given(market=coarse(n=40), exponent=st.integers(-10, 2))
def test_directions_are_those_of_exact_arithmetic(market, exponent):
    ticks, volume = market
    _, high, low, close = (column.tolist() for column in ticks)
    bars = as_bars(ticks, exponent, volume)
    stops, directions = exact_parabolic(high, low)
    found = compute_indicator("parabolic_sar", {}, bars)
    assert found["direction"][1:].tolist() == directions
    np.testing.assert_allclose(found["sar"][1:], [float(stop) * 10.0**exponent for stop in stops], rtol=1e-12)
    found = compute_indicator("supertrend", {"period": 3, "multiplier": 2.0}, bars)
    assert found["direction"][3:].tolist() == exact_supertrend(high, low, close, 3, 2)


def test_floats_tell_equal_movements_apart():
    """What all this is about: of 59 pairs of equal movements around 1.07655 floats take many for different ones."""
    decided = 0
    for move in range(1, 60):
        here, above, below = (float(f"{tick}e-5") for tick in (107_655, 107_655 + move, 107_655 - move))
        decided += above - here != here - below
    assert decided > 10
