"""Labels of decimal prices equal those of exact arithmetic, in any unit of the prices."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.make import make_labels
from ktrdr.core.strategy.model import Labels

Section = Callable[..., Labels]
BarsOf = Callable[..., Bars]
Ticks = tuple[list[int], list[int], list[int], list[int]]

BUY, HOLD, SELL = 0.0, 1.0, 2.0

SCALED: dict[str, dict[str, float]] = {
    "direction": {"horizon": 2, "threshold": 0.01},
    "zigzag": {"zigzag_threshold": 0.02, "label_lookahead": 8},
    "turning_points": {"reversal": 0.02, "max_span": 8},
    "triple_barrier": {"pt_multiplier": 2.0, "sl_multiplier": 1.0, "max_holding_period": 8, "vol_span": 3},
}


@st.composite
def coarse_ticks(draw: st.DrawFn) -> Ticks:
    """Open, high, low and close in whole steps of a price: returns of exactly 1 % and levels met exactly are common."""
    random = np.random.default_rng(draw(st.integers(0, 100_000)))
    n = draw(st.integers(0, 50))
    step = draw(st.sampled_from([1, 50, 100]))
    close = 10_000 + step * np.cumsum(random.integers(-2, 3, n))
    opened = close + step * random.integers(-1, 2, n)
    reach = step * random.integers(0, 3, (2, n))
    high, low = np.maximum(opened, close) + reach[0], np.minimum(opened, close) - reach[1]
    return opened.tolist(), high.tolist(), low.tolist(), close.tolist()


def quoted(ticks: Ticks, exponent: int, bars_of: BarsOf) -> Bars:
    """Return bars with each price read from its decimal."""
    opened, high, low, close = ([float(f"{tick}e{exponent}") for tick in column] for column in ticks)
    return bars_of(close, opened, high, low)


def exact_direction(close: list[int], horizon: int, threshold: Fraction) -> list[float]:
    found = [math.nan] * len(close)
    for t in range(len(close) - horizon):
        change = Fraction(close[t + horizon], close[t]) - 1
        found[t] = BUY if change > threshold else SELL if change < -threshold else HOLD
    return found


def exact_first_passage(close: list[int], threshold: Fraction, look_ahead: int) -> list[float]:
    found = []
    for t, now in enumerate(close):
        label = HOLD if t + look_ahead < len(close) else math.nan
        for later in close[t + 1 : t + look_ahead + 1]:
            if later >= now * (1 + threshold) or later <= now * (1 - threshold):
                label = BUY if later > now else SELL
                break
        found.append(label)
    return found


def exact_triple_barrier(ticks: Ticks, profit: int, loss: int, bars: int, span: int) -> list[float]:
    opened, high, low, close = ticks
    found, average = [], Fraction(0)
    reaches = [
        max(high[k], close[k - 1]) - min(low[k], close[k - 1]) if k else high[0] - low[0] for k in range(len(close))
    ]
    for t, now in enumerate(close):
        if t < span:
            found.append(math.nan)
            continue
        average = Fraction(sum(reaches[1 : span + 1]), span) if t == span else average + (reaches[t] - average) / span
        above, below = now + profit * average, now - loss * average
        label = HOLD if t + bars < len(close) else math.nan
        for j in range(t + 1, min(t + bars + 1, len(close))):
            if opened[j] >= above or (high[j] >= above and low[j] > below):
                label = BUY
            elif low[j] <= below:
                label = SELL
            else:
                continue
            break
        found.append(label if average else math.nan)
    return found


@given(ticks=coarse_ticks(), exponent=st.integers(-10, 2), threshold=st.sampled_from(["0.0", "0.005", "0.01", "0.02"]))
def test_labels_are_those_of_exact_arithmetic(
    ticks: Ticks, exponent: int, threshold: str, bars_of: BarsOf, labels_section: Section
):
    bars, exact = quoted(ticks, exponent, bars_of), Fraction(Decimal(threshold))
    close = ticks[3]

    def made(source: str, **parameters: float) -> list[float]:
        return make_labels(labels_section(source, **parameters), bars).values.tolist()

    for horizon in (1, 4):
        found = made("direction", horizon=horizon, threshold=float(threshold))
        np.testing.assert_array_equal(found, exact_direction(close, horizon, exact))
    if exact:
        found = made("zigzag", zigzag_threshold=float(threshold), label_lookahead=6)
        np.testing.assert_array_equal(found, exact_first_passage(close, exact, 6))
    for profit, loss in ((2, 1), (1, 1), (1, 3)):
        found = made("triple_barrier", pt_multiplier=profit, sl_multiplier=loss, max_holding_period=6, vol_span=2)
        np.testing.assert_array_equal(found, exact_triple_barrier(ticks, profit, loss, 6, 2))


def assert_same(one: LabelSet, other: LabelSet) -> None:
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.span_end[one.labelled], other.span_end[other.labelled])


@given(ticks=coarse_ticks(), power=st.integers(-6, 6), source=st.sampled_from(sorted(SCALED)))
def test_prices_times_a_power_of_ten_change_no_label(
    ticks: Ticks, power: int, source: str, bars_of: BarsOf, labels_section: Section
):
    bars = quoted(ticks, -4, bars_of)
    columns = (bars.close, bars.open, bars.high, bars.low)
    section = labels_section(source, **SCALED[source])
    assert_same(
        make_labels(section, bars), make_labels(section, bars_of(*(column * 10.0**power for column in columns)))
    )


@pytest.mark.parametrize("exponent", [-5, -4, -3, -2, -1, 0])
def test_a_return_of_the_threshold_is_not_more_than_it(exponent: int, bars_of: BarsOf, labels_section: Section):
    """1.111 / 1.1 - 1 is 0.01 exactly, and 0.010000000000000009 in floats."""
    section = labels_section("direction", horizon=1, threshold=0.01)
    for start in range(10_000, 12_000, 100):
        up, down = start + start // 100, start - start // 100
        for end, label in ((up, HOLD), (up + 1, BUY), (down, HOLD), (down - 1, SELL)):
            close = [float(f"{tick}e{exponent}") for tick in (start, end)]
            assert make_labels(section, bars_of(close)).values[0] == label, (start, end)
