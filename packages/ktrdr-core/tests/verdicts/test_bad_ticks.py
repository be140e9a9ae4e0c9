"""Single bars far outside their neighbours are found; crashes and large moves that stay are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.verdicts.bad_ticks import check_bad_ticks

Market = Callable[..., Bars]


def changed(bars: Bars, row: int, **factors: float) -> Bars:
    columns = {name: getattr(bars, name).copy() for name in factors}
    for name, factor in factors.items():
        columns[name][row] *= factor
    return replace(bars, **columns)


def test_real_bars_are_clean():
    assert check_bad_ticks([sample_bars()]).clean


@pytest.mark.parametrize(
    "factors",
    [{"high": 1.05}, {"low": 0.95}, {"open": 1.05, "high": 1.05}, dict.fromkeys(("open", "high", "low", "close"), 0.1)],
)
def test_a_tick_is_found_with_symbol_time_and_prices(market: Market, factors: dict[str, float]):
    bars = changed(market(symbol="BBB"), 500, **factors)
    finding = check_bad_ticks([market(symbol="AAA"), bars])
    assert not finding.clean
    assert finding.sentence.startswith("BBB 1h: 1 bar reaches more than 20 times the usual range")
    assert f"at 2018-01-21 20:00 (high {bars.high[500]:g}, low {bars.low[500]:g}" in finding.sentence
    assert "AAA" not in finding.sentence


def test_a_move_that_stays_is_none(market: Market):
    bars = market()
    factors = np.where(np.arange(len(bars)) < 500, 1.0, 1.05)
    moved = replace(bars, **{name: getattr(bars, name) * factors for name in ("open", "high", "low", "close")})
    assert check_bad_ticks([moved]).clean


def test_a_crash_with_large_bars_after_it_is_none(market: Market):
    bars = changed(market(), 500, low=0.95)
    assert check_bad_ticks([changed(bars, 501, low=0.98)]).clean


def test_the_first_and_the_last_bars_are_compared_too(market: Market):
    bars = market()
    for row in (1, len(bars) - 2):
        assert not check_bad_ticks([changed(bars, row, high=1.1)]).clean


def test_bars_without_ranges_and_few_bars_are_clean(market: Market):
    bars = market()
    flat = replace(bars, open=bars.close, high=bars.close, low=bars.close)
    assert check_bad_ticks([flat]).clean
    assert check_bad_ticks([bars[:4]]).clean


def test_independent_moves_with_heavy_tails_are_clean(market: Market):
    random = np.random.default_rng(11)
    bars = market(bars=20_000)
    close = 1.1 * np.exp(np.cumsum(1e-3 * random.standard_t(4, len(bars))))
    opened = np.append(1.1, close[:-1])
    wick = np.exp(5e-4 * np.abs(random.standard_t(4, (2, len(bars)))))
    heavy = replace(
        bars,
        open=opened,
        close=close,
        high=np.maximum(opened, close) * wick[0],
        low=np.minimum(opened, close) / wick[1],
    )
    assert check_bad_ticks([heavy]).clean
