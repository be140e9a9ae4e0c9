"""Labels compared with slow ones that follow the docstrings bar by bar."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels import first_touch as touching
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.make import make_labels
from ktrdr.core.labels.triple_barrier import barriers
from ktrdr.core.strategy.model import Labels

Section = Callable[..., Labels]
BarsOf = Callable[..., Bars]
Slow = tuple[list[float], list[int]]
"""Values, NaN for none, and the last bar each depends on (-1 for none)."""

NONE = (math.nan, -1)
BUY, HOLD, SELL = 0.0, 1.0, 2.0


def exact(number: float) -> Fraction:
    """The decimal that a float stands for."""
    return Fraction(repr(float(number)))


def reaches(price: float, level: float) -> bool:
    """At or above a level that was computed."""
    return price >= level or math.isclose(price, level, rel_tol=1e-9)


def slow_forward_return(bars: Bars, horizon: int) -> Slow:
    def label(t: int) -> tuple[float, int]:
        if t + horizon >= len(bars):
            return NONE
        return bars.close[t + horizon] / bars.close[t] - 1, t + horizon

    return each(label, bars)


def slow_direction(bars: Bars, horizon: int, threshold: float) -> Slow:
    def label(t: int) -> tuple[float, int]:
        if t + horizon >= len(bars):
            return NONE
        change = exact(bars.close[t + horizon]) / exact(bars.close[t]) - 1
        return (BUY if change > exact(threshold) else SELL if change < -exact(threshold) else HOLD), t + horizon

    return each(label, bars)


def slow_zigzag(bars: Bars, zigzag_threshold: float, label_lookahead: int) -> Slow:
    closes, threshold = [exact(close) for close in bars.close], exact(zigzag_threshold)

    def label(t: int) -> tuple[float, int]:
        for j in range(t + 1, t + label_lookahead + 1):
            if j >= len(bars):
                return NONE
            if closes[j] >= closes[t] * (1 + threshold):
                return BUY, j
            if closes[j] <= closes[t] * (1 - threshold):
                return SELL, j
        return HOLD, t + label_lookahead

    return each(label, bars)


def slow_triple_barrier(bars: Bars, upper: np.ndarray, lower: np.ndarray, max_holding_period: int) -> Slow:
    def label(t: int) -> tuple[float, int]:
        if math.isnan(upper[t]):
            return NONE
        for j in range(t + 1, t + max_holding_period + 1):
            if j >= len(bars):
                return NONE
            if reaches(bars.open[j], upper[t]):
                return BUY, j
            if reaches(-bars.low[j], -lower[t]):
                return SELL, j
            if reaches(bars.high[j], upper[t]):
                return BUY, j
        return HOLD, t + max_holding_period

    return each(label, bars)


def each(label: Callable[[int], tuple[float, int]], bars: Bars) -> Slow:
    made = [label(t) for t in range(len(bars))]
    return [value for value, _ in made], [end for _, end in made]


def assert_same(made: LabelSet, slow: Slow) -> None:
    values, ends = slow
    np.testing.assert_array_equal(made.values, np.array(values, dtype=np.float64))
    labelled = made.labelled
    np.testing.assert_array_equal(made.span_end[labelled], np.array(ends, dtype=np.int64)[labelled])


def assert_all_as_slow(bars: Bars, section: Section, parameters: dict[str, Any]) -> None:
    horizon, threshold, look_ahead = parameters["horizon"], parameters["threshold"], parameters["look_ahead"]
    assert_same(make_labels(section("forward_return", horizon=horizon), bars), slow_forward_return(bars, horizon))
    assert_same(
        make_labels(section("direction", horizon=horizon, threshold=threshold), bars),
        slow_direction(bars, horizon, threshold),
    )
    swing = max(threshold, 1e-4)
    assert_same(
        make_labels(section("zigzag", zigzag_threshold=swing, label_lookahead=look_ahead), bars),
        slow_zigzag(bars, swing, look_ahead),
    )
    profit, loss, span = parameters["profit"], parameters["loss"], parameters["span"]
    for method in ("atr", "close"):
        made = make_labels(
            section(
                "triple_barrier",
                pt_multiplier=profit,
                sl_multiplier=loss,
                max_holding_period=look_ahead,
                vol_span=span,
                vol_method=method,
            ),
            bars,
        )
        upper, lower = barriers(bars, profit, loss, span, method)
        assert_same(made, slow_triple_barrier(bars, upper, lower, look_ahead))


PARAMETERS = st.fixed_dictionaries(
    {
        "horizon": st.integers(1, 12),
        "threshold": st.sampled_from([0.0, 0.01, 0.03, 0.2]),
        "look_ahead": st.integers(1, 20),
        "profit": st.sampled_from([0.5, 1.0, 2.0]),
        "loss": st.sampled_from([0.5, 1.0, 3.0]),
        "span": st.integers(2, 6),
    }
)


@st.composite
def coarse_bars(draw: st.DrawFn) -> tuple[list[float], list[float], list[float], list[float]]:
    """Prices of few different values: ties, flat stretches, gaps, and bars that touch both sides."""
    price = st.integers(90, 110).map(float)
    closes = draw(st.lists(price, max_size=60))
    opens, highs, lows = [], [], []
    for close in closes:
        opened = draw(price)
        opens.append(opened)
        highs.append(max(opened, close) + draw(st.integers(0, 6)))
        lows.append(min(opened, close) - draw(st.integers(0, 6)))
    return closes, opens, highs, lows


@given(prices=coarse_bars(), parameters=PARAMETERS, chunk=st.sampled_from([1, 2, 7, 64]))
def test_equal_slow_labels_on_coarse_prices(
    prices: tuple[list[float], ...], parameters: dict[str, Any], chunk: int, bars_of: BarsOf, labels_section: Section
):
    with pytest.MonkeyPatch.context() as patch:
        # Where the work is cut into pieces must not show.
        patch.setattr(touching, "_CHUNK", chunk)
        assert_all_as_slow(bars_of(*prices), labels_section, parameters)


@pytest.mark.parametrize("look_ahead", [1, 16, 47])
def test_equal_slow_labels_on_a_year_of_eurusd(eurusd: Bars, labels_section: Section, look_ahead: int):
    parameters = {"horizon": 7, "threshold": 0.002, "look_ahead": look_ahead, "profit": 2.0, "loss": 1.0, "span": 20}
    assert_all_as_slow(eurusd, labels_section, parameters)


@pytest.mark.parametrize("ticker", ["AAPL", "FB"])
def test_equal_slow_labels_on_daily_stocks(stocks: dict[str, Bars], ticker: str, labels_section: Section):
    parameters = {"horizon": 5, "threshold": 0.01, "look_ahead": 20, "profit": 1.5, "loss": 1.5, "span": 14}
    assert_all_as_slow(stocks[ticker], labels_section, parameters)


def test_barriers_lie_at_multiples_of_the_average_true_range(eurusd: Bars):
    span, n = 20, 300
    bars = eurusd[:n]
    upper, lower = barriers(bars, 2.0, 1.0, span, "atr")
    true_range = [
        max(bars.high[t] - bars.low[t], abs(bars.high[t] - bars.close[t - 1]), abs(bars.low[t] - bars.close[t - 1]))
        for t in range(1, n)
    ]
    average = sum(true_range[:span]) / span
    for t in range(n):
        if t < span:
            assert math.isnan(upper[t])
            assert math.isnan(lower[t])
            continue
        if t > span:
            average += (true_range[t - 1] - average) / span
        assert upper[t] == pytest.approx(bars.close[t] + 2 * average, rel=1e-12)
        assert lower[t] == pytest.approx(bars.close[t] - average, rel=1e-12)


def test_barriers_lie_at_multiples_of_the_deviation_of_returns(eurusd: Bars):
    span, n = 20, 300
    bars = eurusd[:n]
    upper, lower = barriers(bars, 2.0, 1.0, span, "close")
    assert np.isnan(upper[:span]).all()
    for t in range(span, n):
        returns = np.log(bars.close[t - span + 1 : t + 1] / bars.close[t - span : t])
        deviation = returns.std(ddof=1)
        assert upper[t] == pytest.approx(bars.close[t] * (1 + 2 * deviation), rel=1e-9)
        assert lower[t] == pytest.approx(bars.close[t] * (1 - deviation), rel=1e-9)


def test_a_market_that_did_not_move_has_no_barriers(bars_of: BarsOf, labels_section: Section):
    bars = bars_of([100.0] * 10 + [130.0] * 10)
    for method in ("atr", "close"):
        section = labels_section("triple_barrier", max_holding_period=3, vol_span=4, vol_method=method)
        assert not make_labels(section, bars).labelled[:10].any()


def test_a_bar_without_prices_has_no_label_and_touches_nothing(bars_of: BarsOf, labels_section: Section):
    bars = bars_of([100, math.nan, 100, 104, 100, 96, 100, 100])
    made = make_labels(labels_section("zigzag", zigzag_threshold=0.03, label_lookahead=3), bars)
    np.testing.assert_array_equal(made.values, [BUY, math.nan, BUY, SELL, SELL, BUY, math.nan, math.nan])
    np.testing.assert_array_equal(made.span_end[:6], [3, 3 + 1, 3, 4, 5, 6])
    assert not make_labels(labels_section("direction", horizon=1), bars).labelled[[0, 1, 7]].any()


@given(data=st.data())
def test_first_touch_passes_over_missing_prices(data: st.DataObject):
    price = st.one_of(st.integers(0, 9).map(float), st.just(math.nan))
    n = data.draw(st.integers(0, 30))
    high, low, upper, lower = (np.array(data.draw(st.lists(price, min_size=n, max_size=n))) for _ in range(4))
    look_ahead = data.draw(st.integers(1, 12))
    found = touching.first_touch(upper, lower, high, low, look_ahead)
    for t in range(n):
        ahead = range(t + 1, min(t + look_ahead + 1, n))
        touches = [j for j in ahead if high[j] >= upper[t] or low[j] <= lower[t]]
        assert found[t] == (touches[0] if touches else min(t + look_ahead + 1, n))
