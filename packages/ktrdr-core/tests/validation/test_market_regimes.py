"""Regimes: against a slow definition, causal, and their rows in the result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.validation.regimes import (
    REGIMES,
    UNKNOWN,
    market_level,
    regime_rows,
    regime_window,
    regimes_of,
)


def closes(seed, n):
    """Closes whose volatility changes."""
    random = np.random.default_rng(seed)
    scale = np.exp(np.cumsum(random.normal(0, 0.05, n)))
    return 100 * np.exp(np.cumsum(random.normal(0, 1e-3, n) * scale / scale.mean()))


def slow_regimes(close, window):
    """Return the regimes from the definition, one bar after the other."""
    volatility = {}
    for bar in range(window + 1, len(close)):
        known = np.log(close[bar - window - 1 : bar])
        volatility[bar] = np.std(np.diff(known))
    regimes = []
    for bar in range(len(close)):
        fitted = window + 1 + (bar - window - 1) // window * window
        if fitted < 2 * window + 1 or bar < fitted:
            regimes.append(UNKNOWN)
            continue
        earlier = [volatility[each] for each in range(max(fitted - 20 * window, window + 1), fitted)]
        low, high = np.quantile(earlier, [1 / 3, 2 / 3])
        kind = "low" if volatility[bar] <= low else "middle" if volatility[bar] <= high else "high"
        trend = "falling" if close[bar - 1] < close[bar - 1 - window] else "rising"
        regimes.append(REGIMES.index(f"{kind} volatility, {trend}"))
    return regimes


@given(seed=st.integers(0, 1000), n=st.integers(1, 700))
def test_equal_the_slow_ones(seed, n):
    close = closes(seed, n)
    assert regimes_of(close, "1d").tolist() == slow_regimes(close, 20)


@given(seed=st.integers(0, 1000), cut=st.integers(1, 500))
def test_no_later_close_counts(seed, cut):
    close = closes(seed, 500)
    changed = close.copy()
    # Not even the close of the bar itself.
    changed[cut:] = closes(seed + 1, 500)[cut:] * 3
    assert regimes_of(changed, "1d")[: cut + 1].tolist() == regimes_of(close, "1d")[: cut + 1].tolist()


def test_window_is_five_days_and_at_least_20_bars():
    assert [regime_window(timeframe) for timeframe in ("1m", "1h", "4h", "1d")] == [7200, 120, 30, 20]


def test_a_market_that_does_not_move_is_calm():
    regimes = regimes_of(np.full(100, 5.0), "1d")
    assert set(regimes[41:].tolist()) == {0}


def test_market_level_is_the_mean_of_log_returns():
    hours = np.datetime64("2024-01-01", "ns") + np.arange(4) * np.timedelta64(1, "h")
    level = market_level(
        {"A": (hours, np.array([1.0, 2.0, 2.0, 2.0])), "B": (hours[[0, 2, 3]], np.array([4.0, 4.0, 1.0]))}, hours
    )
    assert level == pytest.approx([1.0, 2**0.5, 2**0.5, 2**0.5 / 2])


def test_rows_split_bars_and_samples():
    regimes = np.array([0, 0, 0, 3, 3, UNKNOWN], dtype=np.int8)
    returns = np.array([[0.01, 0.03, -0.01, 0.02, 0.02, 0.0], [0.0, 0.01, 0.02, -0.01, np.nan, np.nan]])
    held = np.array([0.01, 0.01, 0.01, -0.02, -0.02, 0.0])
    sharp = np.eye(3)
    rows = regime_rows(
        regimes,
        returns,
        held,
        250.0,
        position=np.array([0, 1, 3, 4]),
        truth=np.array([0, 1, 2, 2]),
        outputs=[sharp[[0, 1, 2, 0]], sharp[[0, 0, 2, 2]]],
        majority=np.array([0, 0, 2, 0]),
    )
    assert [row.regime for row in rows] == ["low volatility, rising", "middle volatility, falling", "not known yet"]
    first, second, last = rows
    assert (first.bars, first.share, first.accuracy, first.majority) == (3, 0.5, 0.75, 0.5)
    assert first.buy_and_hold == pytest.approx(1.01**250 - 1)
    growth = [1.01 * 1.03 * 0.99, 1.01 * 1.02]
    assert first.annual_return == pytest.approx(np.mean([each ** (250 / 3) - 1 for each in growth]))
    ratios = [np.mean(each) / np.std(each, ddof=1) * 250**0.5 for each in returns[:, :3]]
    assert first.sharpe == pytest.approx(np.median(ratios))
    assert (second.accuracy, second.majority) == (0.75, 0.5)
    # Returns that do not vary have no Sharpe ratio, nor has a single one.
    assert second.sharpe is None
    assert (last.accuracy, last.majority, last.sharpe) == (None, None, None)


def test_rows_of_a_regression_have_information_coefficients():
    random = np.random.default_rng(0)
    truth = random.normal(size=200)
    outputs = [truth, -truth]
    (row,) = regime_rows(
        np.zeros(200, dtype=np.int8),
        np.zeros((1, 200)),
        np.zeros(200),
        250.0,
        position=np.arange(200),
        truth=truth,
        outputs=outputs[:1],
        majority=None,
    )
    assert (row.accuracy, row.majority, row.sharpe, row.annual_return) == (pytest.approx(1.0), None, None, 0.0)
