"""A label depends on no bar after its ``span_end``; and a label that does is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.make import make_labels
from ktrdr.core.strategy.model import CLASSES, Labels

Section = Callable[..., Labels]
BarsOf = Callable[..., Bars]
Maker = Callable[[Bars], LabelSet]

SOURCES: dict[str, dict[str, Any]] = {
    "zigzag": {"zigzag_threshold": 0.02, "label_lookahead": 8},
    "turning_points": {"reversal": 0.02, "max_span": 8},
    "forward_return": {"horizon": 5},
    "triple_barrier": {"pt_multiplier": 1.5, "max_holding_period": 8, "vol_span": 4, "vol_method": "atr"},
    "direction": {"horizon": 3, "threshold": 0.01},
}


def changed_by_later_bars(maker: Maker, bars: Bars, other: Bars, cut: int) -> list[int]:
    """Rows whose label, known at bar ``cut`` or before, changes if ``other`` or nothing follows after ``cut``."""
    mixed = replace(
        bars,
        **{
            name: np.concatenate((getattr(bars, name)[: cut + 1], getattr(other, name)[cut + 1 :]))
            for name in ("open", "high", "low", "close", "volume")
        },
    )
    whole, rows = maker(bars), []
    for made in (maker(mixed), maker(bars[: cut + 1])):
        for row in range(cut + 1):
            settled = [labels for labels in (whole, made) if labels.labelled[row] and labels.span_end[row] <= cut]
            if settled and (whole.values[row] != made.values[row] or whole.span_end[row] != made.span_end[row]):
                rows.append(row)
    return rows


@st.composite
def two_futures(draw: st.DrawFn) -> tuple[list[np.ndarray], int]:
    n = draw(st.integers(1, 50))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    columns = []
    for _ in range(2):
        close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.01, n))), draw(st.sampled_from([0, 1, 6])))
        columns += [close, close * (1 + random.random(n) * 0.01), close * (1 - random.random(n) * 0.01)]
    return columns, draw(st.integers(0, n - 1))


def _bars(bars_of: BarsOf, columns: list[np.ndarray]) -> tuple[Bars, Bars]:
    return (
        bars_of(columns[0], high=columns[1], low=columns[2]),
        bars_of(columns[3], high=columns[4], low=columns[5]),
    )


@pytest.mark.parametrize("source", SOURCES)
@given(futures=two_futures())
def test_no_label_depends_on_bars_after_its_span(
    source: str, futures: tuple[list[np.ndarray], int], bars_of: BarsOf, labels_section: Section
):
    section = labels_section(source, **SOURCES[source])
    bars, other = _bars(bars_of, futures[0])
    assert changed_by_later_bars(lambda part: make_labels(section, part), bars, other, futures[1]) == []


@pytest.mark.parametrize("source", SOURCES)
def test_no_label_depends_on_bars_after_its_span_in_real_data(source: str, eurusd: Bars, labels_section: Section):
    scaled = {
        "zigzag": {"zigzag_threshold": 0.003},
        "turning_points": {"reversal": 0.003},
        "direction": {"threshold": 0.001},
    }
    section = labels_section(source, **SOURCES[source] | scaled.get(source, {}))
    bars, other = eurusd[:600], eurusd[3000:3600]
    for cut in (50, 299, 480):
        assert changed_by_later_bars(lambda part: make_labels(section, part), bars, other, cut) == []


def understated(bars: Bars) -> LabelSet:
    """The class of the return over five bars, with a declared look-ahead of four."""
    n = len(bars)
    values = np.full(n, np.nan)
    values[: max(n - 5, 0)] = np.where(bars.close[5:] > bars.close[: max(n - 5, 0)], 0.0, 2.0)
    return LabelSet(values, np.minimum(np.arange(n) + 4, max(n - 1, 0)), 4, CLASSES)


def standardized(bars: Bars) -> LabelSet:
    """The next return in units of the deviation of all returns, those of years later too."""
    n = len(bars)
    values = np.full(n, np.nan)
    values[: max(n - 1, 0)] = np.diff(bars.close)
    if n > 2:
        values /= np.diff(bars.close).std() + 1e-9
    return LabelSet(values, np.minimum(np.arange(n) + 1, max(n - 1, 0)), 1, ())


@pytest.mark.parametrize("maker", [understated, standardized])
def test_a_label_that_reaches_further_than_it_says_is_found(maker: Maker, eurusd: Bars):
    bars, other = eurusd[:200], eurusd[3000:3200]
    assert changed_by_later_bars(maker, bars, other, 120)


def test_each_symbol_has_labels_of_its_own_prices(stocks: dict[str, Bars], labels_section: Section):
    section = labels_section("zigzag", zigzag_threshold=0.03)
    apple = make_labels(section, stocks["AAPL"])
    make_labels(section, stocks["FB"])
    again = make_labels(section, stocks["AAPL"])
    np.testing.assert_array_equal(apple.values, again.values)
    assert len(apple) == len(stocks["AAPL"])
    assert len(make_labels(section, stocks["FB"])) == len(stocks["FB"]) != len(apple)
