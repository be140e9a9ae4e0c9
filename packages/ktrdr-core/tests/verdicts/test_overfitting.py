"""The probability of backtest overfitting by CSCV."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrdr.core.verdicts.overfitting import BLOCKS, overfitting_of


def sharpe(values):
    if len(set(values)) < 2:
        return 0.0
    return statistics.mean(values) / statistics.pstdev(values)


def slow(returns, blocks):
    """Every split with lists of days."""
    days, trials = returns.shape
    sizes = [days // blocks + (block < days % blocks) for block in range(blocks)]
    parts = [list(range(sum(sizes[:block]), sum(sizes[: block + 1]))) for block in range(blocks)]
    bad = splits = 0
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        inside = [day for block in chosen for day in parts[block]]
        outside = [day for block in range(blocks) if block not in chosen for day in parts[block]]
        here = [sharpe(returns[inside, trial].tolist()) for trial in range(trials)]
        there = [sharpe(returns[outside, trial].tolist()) for trial in range(trials)]
        best = there[here.index(max(here))]
        rank = sum(each < best for each in there) + (sum(each == best for each in there) + 1) / 2
        relative = rank / (trials + 1)
        bad += math.log(relative / (1 - relative)) <= 1e-12
        splits += 1
    return bad / splits, splits


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    blocks=st.sampled_from([2, 4, 6]),
    more=st.integers(0, 9),
    trials=st.integers(2, 6),
    idle=st.booleans(),
)
def test_the_probability_is_that_of_every_split(seed, blocks, more, trials, idle):
    returns = np.random.default_rng(seed).normal(0, 0.01, (2 * blocks + more, trials))
    if idle:
        returns[:, 0] = 0
    found = overfitting_of(returns, blocks)
    probability, splits = slow(returns, blocks)
    assert (found.probability, found.splits) == (pytest.approx(probability), splits)
    assert (found.trials, found.days, found.blocks) == (trials, len(returns), blocks)


def test_sixteen_blocks_have_the_splits_of_the_source():
    returns = np.random.default_rng(0).normal(0, 0.01, (320, 100))
    assert overfitting_of(returns).splits == math.comb(BLOCKS, BLOCKS // 2) == 12_870


def test_a_trial_that_is_better_everywhere_is_not_overfitted():
    returns = np.random.default_rng(0).normal(0, 0.01, (320, 20))
    returns[:, 7] += 0.01
    assert overfitting_of(returns).probability == 0


def test_a_trial_that_is_good_in_one_half_only_is():
    """What is won on some days is lost on the others, so the best one is bad in the other half."""
    random = np.random.default_rng(1)
    returns = random.normal(0, 0.01, (320, 20))
    returns -= returns.mean(axis=0)
    assert overfitting_of(returns).probability > 0.9


def test_without_skill_it_is_about_a_half():
    random = np.random.default_rng(2)
    found = [overfitting_of(random.normal(0, 0.01, (200, 10)), 8).probability for _ in range(40)]
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.std(found) / math.sqrt(40))


def test_equal_trials_are_at_the_median_which_counts():
    returns = np.repeat(np.random.default_rng(3).normal(0, 0.01, (64, 1)), 4, axis=1)
    assert overfitting_of(returns).probability == 1


def test_the_middle_of_three_trials_counts():
    """Three trials on two halves: the best of one half is last, first or in the middle in the other."""
    up, down, flat = [0.03, 0.01], [-0.03, -0.01], [0.001, -0.001]
    last = np.array([up * 4 + down * 4, down * 4 + up * 4, flat * 8]).T
    assert overfitting_of(last, 2).probability == 1
    middle = np.array([up * 8, flat * 8, down * 8]).T
    assert overfitting_of(middle, 2).probability == 0
    # The best of the first half is in the middle of the second one, and the best of the second in that of the first.
    halves = np.array([up * 4 + flat * 4, flat * 4 + up * 4, down * 8]).T
    assert overfitting_of(halves, 2).probability == 1


@pytest.mark.parametrize("shape", [(0, 0), (500, 0), (500, 1), (31, 10)])
def test_without_two_trials_or_enough_days_there_is_none(shape):
    assert overfitting_of(np.random.default_rng(0).normal(0, 0.01, shape)) is None


def test_a_trial_that_trades_on_a_few_days_has_no_ratio_elsewhere():
    """Differences of sums would leave rounding errors there, and a ratio of them."""
    returns = np.zeros((64, 3))
    returns[:3, 0] = [0.1, 0.3, -0.7]
    returns[1:4, 1] = [0.3, -0.1, 0.7]
    returns[60:, 2] = [0.1, 0.3, 0.1, -0.2]
    found = overfitting_of(returns, 4)
    assert found.probability == slow(returns, 4)[0]
