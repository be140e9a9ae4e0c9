"""Metrics against an independent library, against slow definitions, and where they are not defined."""

from __future__ import annotations

import math
from itertools import pairwise

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ktrdr.core.backtesting.metrics import (
    METRICS,
    AccountCurve,
    account_metrics,
    format_metric,
    sharpe,
    trade_metrics,
)
from ktrdr.core.backtesting.metrics.returns import drawdowns, longest_drawdown, monthly_returns
from ktrdr.core.backtesting.metrics.sharpe import deflated_probability, evidence_of, expected_maximum, sharpe_interval
from ktrdr.core.data.calendars import bars_per_year
from ktrdr.core.data.sample import sample_bars

HOURS = 6220.0


def hourly(n: int, start: str = "2020-01-06") -> np.ndarray:
    return np.datetime64(start, "ns") + np.arange(n) * np.timedelta64(1, "h")


def curve_of(returns: np.ndarray, periods: float = HOURS) -> AccountCurve:
    return AccountCurve(hourly(len(returns)), 1000.0 * np.cumprod(1 + returns), 1000.0, periods)


series = st.tuples(
    st.integers(0, 10_000), st.integers(30, 2000), st.floats(-0.0003, 0.0003), st.sampled_from([1e-4, 0.01])
).map(lambda given: np.random.default_rng(given[0]).standard_t(4, given[1]) * given[3] + given[2])


class TestAgainstEmpyrical:
    @given(returns=series, periods=st.sampled_from([HOURS, 252.0, 52.18]))
    def test_figures_of_returns(self, returns, periods):
        periods_given = {"annualization": periods}
        ours = account_metrics(curve_of(returns, periods), benchmark=(other := returns[::-1] * 0.5 + 1e-5))
        theirs = {
            "total_return": empyrical.cum_returns_final(returns),
            "annual_return": empyrical.annual_return(returns, **periods_given),
            "volatility": empyrical.annual_volatility(returns, **periods_given),
            "sharpe": empyrical.sharpe_ratio(returns, **periods_given),
            "sortino": empyrical.sortino_ratio(returns, **periods_given),
            "calmar": empyrical.calmar_ratio(returns, **periods_given),
            "max_drawdown": empyrical.max_drawdown(returns),
            "value_at_risk_95": empyrical.value_at_risk(returns),
            "conditional_value_at_risk_95": empyrical.conditional_value_at_risk(returns),
            "beta": empyrical.beta(returns, other),
            "alpha": empyrical.alpha(returns, other, **periods_given),
        }
        for name, value in theirs.items():
            # What they call infinite or not a number (no loss at all, say) is not defined here.
            expected = pytest.approx(value, rel=1e-6, abs=1e-9) if math.isfinite(value) else None
            assert ours[name] == expected, name

    def test_monthly_table(self):
        returns = np.random.default_rng(1).normal(0, 0.001, 5000)
        curve = curve_of(returns)
        frame = pd.Series(returns, index=pd.DatetimeIndex(curve.time))
        theirs = empyrical.aggregate_returns(frame, "monthly")
        ours = monthly_returns(curve.time, curve.equity, curve.capital)
        assert list(ours) == [f"{year}-{month:02d}" for year, month in theirs.index]
        np.testing.assert_allclose(list(ours.values()), theirs.to_numpy(), rtol=1e-9)


class TestAnnualization:
    def test_hours_are_not_annualized_as_days(self):
        """The predecessor took 252 for hourly bars."""
        bars = sample_bars()
        periods = bars_per_year("EURUSD", "1h", bars.time)
        assert 6100 < periods < 6300
        returns = np.diff(bars.close) / bars.close[:-1]
        ours = account_metrics(AccountCurve(bars.time[1:], bars.close[1:], bars.close[0], periods))
        per_bar = returns.mean() / returns.std(ddof=1)
        assert ours["sharpe"] == pytest.approx(per_bar * math.sqrt(periods))
        assert ours["sharpe"] != pytest.approx(per_bar * math.sqrt(252), rel=0.5)
        # A year of hours is a year: its annual return is its total return, nearly.
        assert ours["annual_return"] == pytest.approx(ours["total_return"], rel=0.02)


class TestDrawdown:
    def slow(
        self, time: np.ndarray, equity: np.ndarray, capital: float, bar: np.timedelta64
    ) -> tuple[float, int, float]:
        """The capital is held at the open of the first bar, every other equity at the close of its bar."""
        high, high_time, run, longest, deepest = capital, time[0], 0, 0, 0.0
        days = np.timedelta64(0, "ns")
        for close_time, value in zip(time + bar, equity.tolist(), strict=True):
            deepest = min(deepest, value / high - 1)
            if value >= high:
                days = max(days, close_time - high_time) if run else days
                high, high_time, run = value, close_time, 0
            else:
                run += 1
                longest = max(longest, run)
        if run:
            days = max(days, time[-1] + bar - high_time)
        return deepest, longest, days / np.timedelta64(1, "D")

    @given(
        seed=st.integers(0, 10_000),
        n=st.integers(1, 60),
        hours=st.sampled_from([1, 24, 168]),
        power=st.integers(-6, 6),
    )
    def test_equals_the_slow_one(self, seed, n, hours, power):
        random = np.random.default_rng(seed)
        # Whole numbers, so that highs are reached again exactly; and those numbers in another unit, where floats
        # would have them reached a little more or less.
        equity = 100.0 + np.cumsum(random.integers(-2, 3, n))
        bar = np.timedelta64(hours * 3_600_000_000_000, "ns")
        time = hourly(1)[0] + bar * np.sort(random.choice(400, n, replace=False))
        deepest, longest, days = self.slow(time, equity, 100.0, bar)
        unit = float(f"1e{power}") * 1.1
        drawdown = drawdowns(equity * unit, 100.0 * unit)
        assert drawdown.min(initial=0.0) == pytest.approx(deepest)
        assert longest_drawdown(time, drawdown, bar) == (longest, pytest.approx(days))

    @pytest.mark.parametrize(
        ("equity", "step", "days"),
        [([90, 75, 80], 1, 3.0), ([99, 98, 97], 7, 21.0), ([99, 100.5, 101], 1, 2.0), ([101, 99, 98, 97], 1, 3.0)],
    )
    def test_days_are_from_the_high_to_the_close(self, equity, step, days):
        """A drawdown from the first bar is from the capital at its open: whole bars, none left out."""
        time = hourly(1)[0] + np.arange(len(equity)) * np.timedelta64(step * 86_400_000_000_000, "ns")
        curve = AccountCurve(time, np.array(equity, dtype=np.float64), 100.0, 365.0 / step)
        assert account_metrics(curve)["longest_drawdown_days"] == days

    def test_one_bar_is_as_long_as_it_is_said_to_be(self):
        bar = np.timedelta64(4, "h")
        curve = AccountCurve(hourly(1), np.array([90.0]), 100.0, HOURS, bar)
        assert account_metrics(curve)["longest_drawdown_days"] == pytest.approx(4 / 24)
        # Where nothing says how long it is, nothing is made up.
        assert account_metrics(AccountCurve(hourly(1), np.array([90.0]), 100.0, HOURS))["longest_drawdown_days"] == 0.0

    def test_the_capital_is_the_first_high(self):
        assert drawdowns(np.array([90.0, 95.0]), 100.0).tolist() == pytest.approx([-0.1, -0.05])


class TestLuck:
    def test_moments_are_those_of_scipy(self):
        returns = np.random.default_rng(3).standard_t(5, 4000) * 0.01
        evidence = evidence_of(returns)
        assert evidence.skewness == pytest.approx(stats.skew(returns))
        assert evidence.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False))

    def test_published_example_of_the_deflated_ratio(self):
        """Bailey and Lopez de Prado (2014), section "A numerical example": 1250 daily returns with an annual ratio of
        2.5, skewness -3, kurtosis 10, the best of 100 trials whose annual ratios have a variance of 0.5: 0.9004."""
        ratio = 2.5 / math.sqrt(250)
        error = math.sqrt((1 + 3 * ratio + 9 / 4 * ratio**2) / 1249)
        spread = math.sqrt(0.5 / 250)
        assert spread > error
        assert spread * expected_maximum(100) == pytest.approx(0.1132, abs=5e-5)
        assert deflated_probability(ratio, error, 100, spread) == pytest.approx(0.9004, abs=5e-5)
        # The same in annual figures, which is how runs and sweeps ask.
        year = math.sqrt(250)
        annual = deflated_probability(2.5, error * year, 100, math.sqrt(0.5))
        assert annual == pytest.approx(deflated_probability(ratio, error, 100, spread), rel=1e-12)

    def test_expected_maximum_is_that_of_draws(self):
        draws = np.random.default_rng(2).standard_normal((4000, 100))
        assert expected_maximum(100) == pytest.approx(draws.max(axis=1).mean(), abs=0.03)
        assert expected_maximum(10) == pytest.approx(draws[:, :10].max(axis=1).mean(), abs=0.05)
        assert expected_maximum(1) == expected_maximum(0) == 0

    @given(ratio=st.floats(-3, 3), error=st.floats(0.05, 3), spread=st.floats(0, 3), trials=st.integers(2, 1_000_000))
    def test_the_larger_of_spread_and_error_counts(self, ratio, error, spread, trials):
        found = deflated_probability(ratio, error, trials, spread)
        assert found == deflated_probability(ratio, error, trials, max(spread, error))
        alone = deflated_probability(ratio, error, trials, None)
        assert found == alone if spread <= error else found <= alone

    @given(
        ratio=st.floats(-3, 3),
        error=st.floats(0.05, 3),
        spread=st.none() | st.floats(0, 3),
        numbers=st.tuples(st.integers(1, 1_000_000), st.integers(1, 1_000_000)),
    )
    def test_more_trials_never_make_it_more_probable(self, ratio, error, spread, numbers):
        fewer, more = (deflated_probability(ratio, error, trials, spread) for trials in sorted(numbers))
        assert more <= fewer <= stats.norm.cdf(ratio / error) + 1e-12
        if numbers[0] != numbers[1] and 1e-6 < fewer < 1 - 1e-6:
            assert expected_maximum(min(numbers)) < expected_maximum(max(numbers))

    def test_one_trial_more_counts(self):
        levels = [deflated_probability(1.0, 0.5, trials, 0.7) for trials in range(1, 50)]
        assert all(more < fewer for fewer, more in pairwise(levels))
        assert levels[0] == pytest.approx(stats.norm.cdf(2))

    def test_probability_is_half_at_the_ratio_itself_and_falls_with_trials(self):
        returns = np.random.default_rng(4).normal(0.0004, 0.01, 3000)
        evidence = evidence_of(returns)
        assert evidence.probability_above(evidence.ratio) == pytest.approx(0.5)
        ratio, error = evidence.ratio, evidence.deviation
        levels = [deflated_probability(ratio, error, trials, None) for trials in (1, 2, 10, 1000)]
        assert levels == sorted(levels, reverse=True)
        assert levels[0] == evidence.probability_above(0.0)

    def test_one_trial_of_many_worthless_ones_is_not_taken_for_skill(self):
        random = np.random.default_rng(5)
        best = max((random.normal(0, 0.01, 1000) for _ in range(100)), key=lambda r: r.mean() / r.std())
        evidence = evidence_of(best)
        assert evidence.probability_above(0.0) > 0.97
        assert deflated_probability(evidence.ratio, evidence.deviation, 100, None) < 0.9

    def test_interval_of_independent_returns_is_that_of_theory(self):
        returns = np.random.default_rng(6).normal(0.0005, 0.01, 20_000)
        low, high = sharpe_interval(returns, seed=0)
        ratio = returns.mean() / returns.std(ddof=1)
        assert low < ratio < high
        assert high - low == pytest.approx(2 * 1.96 / math.sqrt(20_000), rel=0.15)

    def test_interval_of_a_long_series(self):
        """Blocks begin at 20,000 of 300,000 places."""
        returns = np.random.default_rng(9).normal(0.0005, 0.01, 300_001)
        low, high = sharpe_interval(returns, seed=0)
        assert low < returns.mean() / returns.std(ddof=1) < high
        assert high - low == pytest.approx(2 * 1.96 / math.sqrt(300_000), rel=0.15)

    def test_interval_does_not_depend_on_the_size_of_blocks(self, monkeypatch):
        returns = np.random.default_rng(10).normal(0.0005, 0.01, 30_001)
        whole = sharpe_interval(returns, seed=2)
        monkeypatch.setattr(sharpe, "_BLOCK", 5_000)
        assert sharpe_interval(returns, seed=2) == whole

    def test_interval_knows_that_neighbours_are_alike(self):
        random = np.random.default_rng(7)
        independent = random.normal(0, 0.01, 20_000)
        # Every value three times: a third of the information.
        alike = np.repeat(independent[:6667], 3)[:20_000]
        width = [np.diff(sharpe_interval(returns, seed=0)).item() for returns in (independent, alike)]
        assert width[1] / width[0] == pytest.approx(math.sqrt(3), rel=0.2)

    def test_interval_equals_the_slow_one(self):
        returns = np.random.default_rng(8).normal(0.001, 0.01, 500)
        length, blocks = 8, 62
        starts = np.random.default_rng(11).integers(0, 500, (1000, blocks))
        ratios = []
        for row in starts:
            sample = np.concatenate([np.take(returns, range(start, start + length), mode="wrap") for start in row])
            ratios.append(sample.mean() / sample.std(ddof=1))
        assert sharpe_interval(returns, seed=11) == pytest.approx(np.quantile(ratios, [0.025, 0.975]))


class TestNotDefined:
    def test_an_account_that_never_trades(self):
        metrics = account_metrics(curve_of(np.zeros(100)), benchmark=np.full(100, 0.001))
        assert metrics["total_return"] == metrics["max_drawdown"] == metrics["volatility"] == 0
        for name in ("sharpe", "sharpe_low", "sortino", "calmar", "probabilistic_sharpe"):
            assert metrics[name] is None, name

    def test_an_account_that_never_trades_is_like_one_that_hardly_does(self):
        """The short way for an account that stands still gives what the long way does."""
        still = curve_of(np.zeros(5000))
        moved = AccountCurve(still.time, still.equity + np.append(np.zeros(4999), 1e-13 * 1000), 1000.0, HOURS)
        short, long = (account_metrics(curve, benchmark=np.linspace(-0.01, 0.02, 5000)) for curve in (still, moved))
        assert short.keys() == long.keys()
        for name in ("bars", "total_return", "max_drawdown", "longest_drawdown_bars", "value_at_risk_95", "volatility"):
            assert short[name] == pytest.approx(long[name], abs=1e-9), name
        assert short["monthly_returns"] == pytest.approx(long["monthly_returns"], abs=1e-9)

    def test_no_bars(self):
        metrics = account_metrics(curve_of(np.empty(0)))
        assert metrics["total_return"] == 0
        assert metrics["annual_return"] is None

    def test_an_account_that_is_wiped_out(self):
        curve = AccountCurve(hourly(4), np.array([500.0, 100.0, -50.0, -80.0]), 1000.0, HOURS)
        metrics = account_metrics(curve)
        assert metrics["annual_return"] == -1.0
        assert metrics["total_return"] == pytest.approx(-1.08)
        assert curve.returns.tolist() == pytest.approx([-0.5, -0.8, -1.5])
        assert math.isfinite(metrics["sharpe"])

    def test_no_trades(self):
        table = {name: np.empty(0) for name in ("net", "return", "bars", "mae", "mfe", "gross", "commission")}
        table |= {name: np.empty(0) for name in ("slippage", "units", "entry_price", "exit_price")}
        metrics = trade_metrics(table | {"side": np.empty(0, dtype=object)})
        assert metrics["trades"] == 0
        assert metrics["win_rate"] is None
        assert metrics["costs"] == 0


class TestTrades:
    def test_by_hand(self):
        net = np.array([10.0, -5.0, 20.0, 0.0])
        metrics = trade_metrics(
            {
                "side": np.array(["long", "short", "long", "long"], dtype=object),
                "units": np.ones(4),
                "entry_price": np.full(4, 100.0),
                "exit_price": np.full(4, 110.0),
                "bars": np.array([1, 2, 3, 10]),
                "gross": net + 2,
                "commission": np.ones(4),
                "slippage": np.ones(4),
                "net": net,
                "return": net / 100,
                "mae": np.array([0.01, 0.02, 0.0, 0.03]),
                "mfe": np.array([0.1, 0.0, 0.2, 0.01]),
            }
        )
        assert metrics["win_rate"] == 0.5
        assert metrics["profit_factor"] == 6
        assert metrics["expectancy"] == 6.25
        assert metrics["sqn"] == pytest.approx(2 * net.mean() / net.std(ddof=1))
        assert (metrics["average_win"], metrics["average_loss"]) == (15, -5)
        assert (metrics["largest_win"], metrics["largest_loss"]) == (20, -5)
        assert (metrics["average_holding_bars"], metrics["longest_holding_bars"]) == (4, 10)
        assert (metrics["long_trades"], metrics["short_trades"]) == (3, 1)
        assert metrics["costs"] == 8
        assert metrics["traded_value"] == 840
        assert metrics["worst_mae"] == 0.03


def test_every_metric_can_be_shown():
    for info in METRICS:
        assert format_metric(info.name, None) == "-"
        assert format_metric(info.name, 1)
