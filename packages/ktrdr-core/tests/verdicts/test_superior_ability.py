"""Hansen's test of superior predictive ability."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrdr.core.synthetic.random_streams import uniforms
from ktrdr.core.verdicts.superior_ability import stationary_weights, superior_ability_of


def drawn(days, length, seed, resamples):
    """Each resample, day by day."""
    jumps, places = uniforms(seed, 0, resamples * days), uniforms(seed, 1, resamples * days)
    for resample in range(resamples):
        taken = []
        for day in range(days):
            at = resample * days + day
            if day == 0 or jumps[at] <= 1 / length:
                taken.append(math.ceil(places[at] * days) - 1)
            else:
                taken.append((taken[-1] + 1) % days)
        yield taken


def slow(returns, seed, resamples):
    """The test as the source writes it down, with loops."""
    days, trials = returns.shape
    length = round(days ** (1 / 3))
    p = 1 / length
    means, errors = [], []
    for trial in range(trials):
        values = returns[:, trial] - returns[:, trial].mean()
        variance = (values @ values) / days
        for lag in range(1, days):
            kappa = (1 - lag / days) * (1 - p) ** lag + lag / days * (1 - p) ** (days - lag)
            variance += 2 * kappa * (values[:-lag] @ values[lag:]) / days
        means.append(returns[:, trial].mean())
        errors.append(math.sqrt(variance / days))
    best = max(0.0, *(mean / error for mean, error in zip(means, errors, strict=True)))
    counts = [0, 0, 0]
    for taken in drawn(days, length, seed, resamples):
        highest = [0.0, 0.0, 0.0]
        for trial in range(trials):
            mean, error = means[trial], errors[trial]
            resampled = returns[taken, trial].mean()
            bound = -error * math.sqrt(2 * math.log(math.log(days)))
            for number, centre in enumerate((max(mean, 0), mean if mean >= bound else 0.0, mean)):
                highest[number] = max(highest[number], (resampled - centre) / error)
        for number in range(3):
            counts[number] += highest[number] >= best
    return [(1 + count) / (1 + resamples) for count in counts]


def trials_of(seed, days, trials, means):
    random = np.random.default_rng(seed)
    return random.standard_t(4, (days, trials)) * 0.01 + np.resize(means, trials)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    days=st.integers(20, 60),
    means=st.lists(st.floats(-0.01, 0.01), min_size=1, max_size=4),
)
def test_the_p_values_are_those_of_loops(seed, days, means):
    returns = trials_of(seed, days, len(means), means)
    found = superior_ability_of(returns, seed=seed, resamples=40)
    np.testing.assert_allclose([found.lower, found.consistent, found.upper], slow(returns, seed, 40))
    assert found.lower <= found.consistent <= found.upper
    assert (found.trials, found.days) == (len(means), days)


@given(days=st.integers(1, 40), length=st.integers(1, 10), seed=st.integers(0, 100))
def test_weights_count_the_days_of_each_resample(days, length, seed):
    found = stationary_weights(days, length, seed, 5)
    for row, taken in zip(found, drawn(days, length, seed, 5), strict=True):
        np.testing.assert_array_equal(row, np.bincount(taken, minlength=days))


def test_one_good_trial_among_bad_ones_is_found():
    returns = trials_of(0, 500, 40, [-0.001])
    returns[:, 17] += 0.004
    found = superior_ability_of(returns, seed=0)
    assert found.upper < 0.01
    returns[:, 17] -= 0.004
    assert superior_ability_of(returns, seed=0).lower > 0.1


def test_p_values_without_any_skill_are_not_too_small():
    p = [
        superior_ability_of(trials_of(seed, 250, 10, [0.0]), seed=seed, resamples=199).consistent for seed in range(80)
    ]
    # A share of 80 tests at 10 %, within four standard errors.
    assert np.mean(np.array(p) <= 0.1) < 0.1 + 4 * math.sqrt(0.09 / 80)
    assert np.mean(p) == pytest.approx(0.5, abs=0.15)


def test_bad_trials_do_not_hide_a_good_one_from_the_consistent_p_value():
    good = trials_of(3, 400, 1, [0.0012])
    bad = trials_of(4, 400, 200, [-0.05])
    alone = superior_ability_of(good, seed=0)
    among = superior_ability_of(np.hstack((good, bad)), seed=0)
    assert among.consistent == alone.consistent < among.upper


def test_trials_that_never_trade_do_not_count():
    returns = trials_of(1, 100, 3, [0.001])
    idle = np.hstack((returns, np.zeros((100, 2)), np.full((100, 1), 0.1)))
    assert superior_ability_of(idle, seed=2) == superior_ability_of(returns, seed=2)


def test_where_every_trial_lost_the_p_values_are_1():
    found = superior_ability_of(trials_of(1, 100, 3, [-0.01]), seed=0)
    assert found.lower == found.consistent == found.upper == 1


@pytest.mark.parametrize(
    "returns", [np.zeros((0, 0)), np.zeros((100, 0)), np.zeros((100, 3)), trials_of(0, 19, 3, [0])]
)
def test_without_enough_returns_there_is_no_test(returns):
    assert superior_ability_of(returns, seed=0) is None
