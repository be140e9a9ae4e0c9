"""Inputs that know the next bar are found by what they predict; trends, reversions and memberships are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.features.columns import FeatureColumn, FeatureMatrix
from ktrdr.core.synthetic.market import market_bars, synthetic_market
from ktrdr.core.verdicts import next_bar
from ktrdr.core.verdicts.next_bar import check_next_bar
from ktrdr.core.verdicts.verdict_result import ValidityFinding

Market = Callable[..., Bars]


def check(bars: Bars, horizon: int = 1, **inputs: np.ndarray) -> ValidityFinding:
    columns = tuple(FeatureColumn(name, "crisp", "1h", name) for name in inputs)
    values = np.stack(list(inputs.values()), axis=1).astype(np.float32)
    return check_next_bar(
        {bars.symbol: FeatureMatrix(bars.symbol, bars.time, values, columns)}, {bars.symbol: bars}, horizon
    )


def returns_of(bars: Bars) -> np.ndarray:
    return np.log(bars.close / bars.open)


def ahead(values: np.ndarray, steps: int = 1) -> np.ndarray:
    return np.append(values[steps:], np.full(steps, np.nan))


def test_the_next_return_is_found_and_the_present_one_is_not(market: Market):
    bars = market()
    finding = check(bars, now=returns_of(bars), next=ahead(returns_of(bars)))
    assert not finding.clean
    assert finding.sentence.startswith(
        "input `next` of EURUSD knows the next bar: its correlation with the return of that"
    )
    assert "1.00" in finding.sentence
    assert "`now`" not in finding.sentence


def test_a_level_that_is_one_bar_early_is_found_by_its_change(market: Market):
    bars = market()
    finding = check(bars, average=ahead(np.convolve(bars.close, (0.7, 0.3))[: len(bars)]), price=bars.close)
    assert "input `average`" in finding.sentence
    assert "`price`" not in finding.sentence


@pytest.mark.parametrize("process", ["walk", "garch", "regime_volatility", "mean_reversion", "momentum"])
def test_what_a_market_lets_predict_is_clean(market: Market, process: str):
    bars = market(process, 4000)
    mean = np.convolve(bars.close, np.full(20, 0.05))[: len(bars)]
    assert check(bars, move=returns_of(bars), distance=bars.close - mean, price=bars.close).clean


@pytest.mark.parametrize("bars_ahead", [2, 5, 7, 10, 14, 24, 30])
def test_a_return_over_several_bars_is_found(market: Market, bars_ahead: int):
    bars = market(bars=3000)
    close = np.log(bars.close)
    finding = check(bars, table=ahead(close, bars_ahead) - close, past=close - np.roll(close, 5))
    assert not finding.clean
    assert finding.sentence.startswith("input `table` of EURUSD knows the ")
    assert "`past`" not in finding.sentence


@pytest.mark.parametrize("bars_ahead", [2, 5, 12, 24, 40])
def test_a_bar_and_a_price_further_ahead_are_found(market: Market, bars_ahead: int):
    bars = market(bars=4000)
    inputs = {"move": ahead(returns_of(bars), bars_ahead), "price": ahead(bars.close, bars_ahead)}
    finding = check(bars, **inputs, horizon=40)
    assert f"input `move` of EURUSD knows the bar {bars_ahead} bars ahead" in finding.sentence
    assert f"input `price` of EURUSD knows the bar {bars_ahead} bars ahead" in finding.sentence


def test_the_horizon_of_the_labels_is_looked_at(market: Market):
    bars = market(bars=6000)
    close = np.log(bars.close)
    assert check(bars, table=ahead(close, 60) - close).clean
    finding = check(bars, table=ahead(close, 60) - close, horizon=60)
    assert "knows the next 60 bars: its correlation with the return of these bars is 1.00" in finding.sentence


@pytest.mark.parametrize("reversion", [0.9, 1.0])
def test_prices_that_return_at_once_are_clean(reversion: float):
    made = synthetic_market("mean_reversion", 3, {"reversion": reversion})
    bars = market_bars(made, "MEAN", Timeframe("1h"), np.datetime64("2018-01-01", "ns"), 4000)
    mean = np.convolve(bars.close, np.full(20, 0.05))[: len(bars)]
    assert check(bars, move=returns_of(bars), distance=bars.close - mean, price=bars.close).clean


def test_few_independent_returns_are_no_evidence(market: Market):
    """Over 24 bars, 150 rows have six independent returns, and the price is often correlated with them."""
    for seed in range(20):
        bars = market(bars=150, seed=seed)
        assert check(bars, price=bars.close, mean=np.cumsum(bars.close) / np.arange(1, 151), horizon=24).clean


def test_a_strong_trend_does_not_end_after_a_bar(market: Market):
    random = np.random.default_rng(4)
    bars = market()
    moves = np.zeros(len(bars))
    for row in range(1, len(bars)):
        moves[row] = 0.9 * moves[row - 1] + 1e-4 * random.normal()
    close = np.exp(np.cumsum(moves))
    trend = replace(bars, open=np.append(1.0, close[:-1]), close=close)
    assert check(trend, move=moves).clean


def test_the_bounce_between_bid_and_ask_is_clean(market: Market):
    """Prices that stay where they are, and trades at the bid or the ask: an autocorrelation of -0.5."""
    random = np.random.default_rng(4)
    bars = market()
    for noise in (random.integers(0, 2, len(bars)), random.normal(size=len(bars))):
        close = 1.0 + 1e-4 * noise
        bounce = replace(bars, open=np.append(1.0, close[:-1]), close=close)
        assert check(bounce, move=returns_of(bounce), distance=close - 1).clean


def test_few_rows_show_nothing(market: Market):
    bars = market()[:90]
    assert check(bars, next=ahead(returns_of(bars))).clean


def test_many_inputs_are_compared_on_fewer_rows(market: Market, monkeypatch: pytest.MonkeyPatch):
    rows: list[int] = []
    honest = next_bar.rank_scores

    def counted(values: np.ndarray) -> np.ndarray:
        rows.append(len(values))
        return honest(values)

    monkeypatch.setattr(next_bar, "rank_scores", counted)
    bars = sample_bars()
    assert not check(bars, next=ahead(returns_of(bars))).clean
    monkeypatch.setattr(next_bar, "_MOST_VALUES", 1000)
    assert not check(bars, next=ahead(returns_of(bars)), now=returns_of(bars)).clean
    assert max(rows[:3]) == 5_000
    assert max(rows[3:]) == 500
