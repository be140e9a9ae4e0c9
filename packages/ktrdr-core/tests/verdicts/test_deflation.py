"""The deflated Sharpe ratio of a verdict, and the length of data that would be enough."""

from __future__ import annotations

import math
import statistics
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from ktrdr.core.backtesting.metrics import AccountCurve, account_metrics, deflate
from ktrdr.core.backtesting.metrics.sharpe import deflated_probability, evidence_of, expected_maximum
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.verdicts.deflation import LEAST_PROBABILITY, deflation_of, needed_growth, upper_reach

HOURS = 8766.0


def count_of(known, spread=None, elsewhere=0):
    return TrialCount(known, "0123456789ab", spread=spread, elsewhere=elsewhere)


def account(seed=0, n=2000, mean=5e-5):
    """An account on hours: its curve."""
    returns = np.random.default_rng(seed).normal(mean, 1e-3, n)
    time = np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(1, "h")
    return AccountCurve(time, 10_000 * np.cumprod(1 + returns), 10_000.0, HOURS)


@pytest.mark.parametrize("count", [count_of(1), count_of(9), count_of(5, 3.5, 4), count_of(9, 0.2)])
def test_it_has_the_figures_of_a_backtest(count):
    curve = account()
    expected = deflate(account_metrics(curve), count.number, count.spread)
    found = deflation_of(curve.returns, HOURS, len(curve.time) / HOURS, count)
    assert found.sharpe == expected["sharpe"]
    assert found.probability == expected["deflated_sharpe"]
    assert (found.trials, found.other_trials) == (count.number, count.number - 1)
    luck = max(expected["sharpe_error"], count.spread or 0.0)
    assert found.expected_best == pytest.approx(luck * expected_maximum(count.number))
    # The interval of 90 % is inside that of 95 %.
    assert expected["sharpe_low"] < found.low < found.sharpe < found.high < expected["sharpe_high"]


def test_more_trials_never_improve_it():
    curve = account()
    found = [deflation_of(curve.returns, HOURS, 0.23, count_of(known)) for known in (1, 2, 10, 200)]
    assert [each.probability for each in found] == sorted((each.probability for each in found), reverse=True)
    assert [each.needed_years for each in found] == sorted(each.needed_years for each in found)
    assert found[0].expected_best == 0


def test_the_needed_years_are_those_of_the_source():
    """Bailey and Lopez de Prado (2012): 2.73 years of days tell an annual ratio of 2 from 1 at 95 %."""
    error = math.sqrt((1 + 0.5 * 4 / 252) / (252 - 1) * 252)
    # Two trials with this spread are expected to have a best ratio of 1.
    assert needed_growth(2.0, error, 2, 1 / expected_maximum(2)) == pytest.approx(2.73, abs=0.01)


@given(
    sharpe=st.floats(-3, 10),
    error=st.floats(0.01, 10),
    trials=st.integers(1, 10_000),
    spread=st.none() | st.floats(0, 5),
)
def test_with_the_needed_length_the_ratio_passes_and_with_less_it_does_not(sharpe, error, trials, spread):
    growth = needed_growth(sharpe, error, trials, spread)

    def after(factor):
        return deflated_probability(sharpe, error / math.sqrt(factor), trials, spread)

    if growth is None:
        assert after(1e12) < LEAST_PROBABILITY
    else:
        assert after(growth) == pytest.approx(LEAST_PROBABILITY)
        assert after(growth * 0.99) < LEAST_PROBABILITY < after(growth * 1.01)


@pytest.mark.parametrize("returns", [np.zeros(500), np.full(500, 0.001), np.empty(0), np.full(1, 0.1)])
def test_returns_that_do_not_vary_tell_nothing(returns):
    assert deflation_of(returns, HOURS, 1.0, count_of(1)) is None


def test_a_total_loss_has_no_length_that_would_be_enough():
    returns = np.concatenate((np.random.default_rng(1).normal(0, 1e-3, 300), [-1.0]))
    found = deflation_of(returns, HOURS, 1.0, count_of(1))
    assert found.sharpe < 0
    assert found.needed_years is None


@pytest.mark.parametrize("result", [0.02, -0.02])
def test_a_single_trade_has_an_interval_around_its_ratio(result):
    """Resamples that miss the trade have no ratio, so those alone would end at the ratio itself."""
    returns = np.zeros(2000)
    returns[700] = result
    found = deflation_of(returns, HOURS, 2000 / HOURS, count_of(1))
    assert found.high - found.sharpe > 1 < found.sharpe - found.low


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_is_above_0_only_where_the_probability_of_one_trial_passes(seed):
    returns = np.random.default_rng(seed).standard_t(4, 3000) * 1e-3 + 6e-5
    returns[np.random.default_rng(seed).random(3000) < 0.9] = 0
    found = deflation_of(returns, HOURS, 3000 / HOURS, count_of(1))
    assert found.low <= 0 or found.probability >= LEAST_PROBABILITY


def test_the_interval_is_one_of_90_percent():
    """Of normal returns it is 1.645 errors wide on both sides; 80 % would be 1.28, and 95 % would be 1.96."""
    for seed in range(5):
        returns = account(seed).returns
        found, error = deflation_of(returns, HOURS, 1.0, count_of(1)), evidence_of(returns).deviation * math.sqrt(HOURS)
        assert (found.sharpe - found.low) / error == pytest.approx(1.70, abs=0.1)
        assert (found.high - found.sharpe) / error == pytest.approx(1.70, abs=0.1)


def slow_reach(returns):
    """The quantile of 5 % of a studentized mean, with lists."""
    normal = 1.6448536269514722
    n, skewness = len(returns), 0.0
    for length in (1, round(n ** (1 / 3)), math.isqrt(n)):
        sums = [math.fsum(returns[at : at + length]) for at in range(0, n - length + 1, length)]
        mean, deviation = statistics.fmean(sums), statistics.pstdev(sums)
        third = statistics.fmean((value - mean) ** 3 for value in sums)
        skewness = max(skewness, third / deviation**3 / math.sqrt(len(sums)))
    return normal + skewness * (2 * normal**2 + 1) / 6


@given(seed=st.integers(0, 10_000), n=st.integers(20, 400), traded=st.sampled_from([0.1, 0.5, 1.0]))
def test_the_reach_is_that_of_lists(seed, n, traded):
    random = np.random.default_rng(seed)
    returns = np.where(random.random(n) < traded, random.choice([-0.001, 0.01, 0.002], n), 0.0)
    returns[0] += 0.0005
    assert upper_reach(returns) == pytest.approx(slow_reach(returns.tolist()))


def test_only_profits_that_are_rare_move_the_upper_end():
    normal = NormalDist().inv_cdf(0.95)
    rare = np.where(np.random.default_rng(0).random(1000) < 0.025, 0.01, -0.0002)
    assert upper_reach(rare) > normal + 0.15
    assert upper_reach(-rare) == normal
    for seed in range(20):
        # Never narrower, and hardly wider where nothing is skewed.
        assert normal <= upper_reach(account(seed).returns) < normal + 0.15
    found = deflation_of(rare, HOURS, 1.0, count_of(1))
    error = evidence_of(rare).deviation * math.sqrt(HOURS)
    assert found.high - found.sharpe >= upper_reach(rare) * error * (1 - 1e-12)


def rare_profits(random, years, trades, wins, gain):
    """Daily returns of an account: trades on days at random that lose 0.1 %, or gain as many times this."""
    returns = np.zeros(365 * years)
    days = random.choice(len(returns), trades * years, replace=False)
    returns[days] = np.where(random.random(len(days)) < wins, gain, -1.0) * 0.001
    return returns


@pytest.mark.parametrize(
    ("years", "trades", "wins", "most"), [(1, 35, 0.4, 0.04), (3, 100, 0.05, 0.025), (1, 300, 0.5, 0.05)]
)
def test_an_edge_that_is_worth_trading_is_rarely_said_to_be_none(years, trades, wins, most):
    """Of strategies whose true ratio is 1.01, the upper end is below 1.0 in at most 5 % of cases.

    With the reach of a normal distribution it is in 5.2 %, 3.8 % and 4.3 % of these.
    """

    def ratio(gain):
        mean = trades / 365 * (wins * gain - (1 - wins))
        return mean / math.sqrt(trades / 365 * (wins * gain**2 + 1 - wins) - mean**2) * math.sqrt(365)

    gain = brentq(lambda gain: ratio(gain) - 1.01, 0, 1e4)
    random = np.random.default_rng(0)
    ends = [
        deflation_of(rare_profits(random, years, trades, wins, gain), 365.0, years, count_of(1)).high
        for _ in range(1000)
    ]
    assert np.mean(np.array(ends) < 1.0) <= most


def test_a_ratio_that_is_almost_zero_has_no_length():
    assert needed_growth(1e-300, 1.0, 1, None) is None
