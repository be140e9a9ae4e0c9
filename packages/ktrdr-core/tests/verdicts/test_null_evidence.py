"""The p-value is that of a randomization test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.verdicts.null_evidence import linear_worlds, null_worlds, observed_ratio, p_value

VALUES = st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=30)


@given(st.floats(-5, 5), VALUES)
def test_it_counts_the_worlds_that_are_at_least_as_good_and_the_real_one(observed, worlds):
    known = [5.1 if value is None else value for value in worlds]
    assert p_value(observed, worlds) == pytest.approx(np.mean([observed <= value for value in [observed, *known]]))


def test_it_is_uniform_where_the_real_bars_are_one_more_world():
    random = np.random.default_rng(0)
    draws = random.normal(size=(4000, 20))
    found = np.array([p_value(own[0], own[1:].tolist()) for own in draws])
    counts = np.bincount(np.round(found * 20).astype(int), minlength=21)[1:]
    assert ((counts - 200) ** 2 / 200).sum() < 43.8  # 99.9 % quantile of chi-squared with 19 degrees


def test_a_tie_and_a_failed_world_count_against_the_strategy():
    assert p_value(0.0, [0.0, -1.0, None, 1.0]) == 4 / 5


def test_a_world_whose_ratio_is_not_a_number_counts_against_the_strategy():
    assert p_value(1.0, [0.0, float("nan"), 0.5]) == 2 / 4


def test_each_family_has_its_own_p_value_and_kinds_without_worlds_are_left_out():
    first, second = null_worlds(1.0, {"sign_flips": [0.0, 2.0], "garch": [0.0, 0.5, 0.6]})
    assert (first.family, first.p, second.family, second.p) == ("sign_flips", 2 / 3, "garch", 1 / 4)
    assert linear_worlds(1.0, {"random_phases": [], "block_bootstrap": []}) == ()
    (only,) = linear_worlds(1.0, {"random_phases": [], "block_bootstrap": [0.5]})
    assert (only.kind, only.observed, only.values) == ("block_bootstrap", 1.0, (0.5,))


def test_the_real_bars_have_the_median_of_their_seeds_and_a_failed_seed_is_the_worst():
    assert observed_ratio([2.0]) == 2.0
    assert observed_ratio([9.0, 1.0, 2.0, 3.0, -4.0]) == 2.0
    assert observed_ratio([9.0, None, 2.0, None, 3.0]) == 2.0
    # Of an even number the lower one of the two in the middle.
    assert observed_ratio([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 3.0


@pytest.mark.parametrize(("lucky", "most"), [(0.01, 0.05), (0.04, 0.05), (0.3, 0.05)])
def test_a_lucky_seed_in_some_trainings_makes_no_false_alarms(lucky, most):
    """Most trainings have a ratio of -0.5, some one of 3.5: a mean of five seeds would pass in some 10 % of worlds."""
    random = np.random.default_rng(1)

    def ratios(worlds, seeds):
        return np.where(random.random((worlds, seeds)) < lucky, 3.5, -0.5) + 0.3 * random.normal(size=(worlds, seeds))

    found = [
        p_value(observed_ratio(own.tolist()), nulls.tolist())
        for own, nulls in zip(ratios(3_000, 5), ratios(3_000, 100).reshape(3_000, 100), strict=True)
    ]
    assert np.mean(np.array(found) <= 0.05) <= most + 0.012


def test_a_mean_of_seeds_would_make_false_alarms_of_lucky_trainings():
    """Why it is a median: figures of `docs/explanation/verdict.md`."""
    random = np.random.default_rng(2)
    draws = np.where(random.random((4_000, 105)) < 0.04, 3.5, -0.5) + 0.3 * random.normal(size=(4_000, 105))
    means = [p_value(float(own[:5].mean()), own[5:].tolist()) for own in draws]
    assert 0.08 < np.mean(np.array(means) <= 0.05) < 0.12


def test_who_could_add_worlds_until_the_p_value_is_small_would_find_more_than_one_in_twenty():
    """Why the number of worlds is no setting: a figure of `docs/explanation/verdict.md`."""
    random = np.random.default_rng(3)
    better = np.cumsum(random.random((4_000, 1_000)) < random.random((4_000, 1)), axis=1)
    numbers = np.arange(1, 1_001)
    small = (1 + better) / (1 + numbers) <= 0.05
    assert abs(small[:, 99].mean() - 0.05) < 0.012
    assert 0.055 < small[:, 99:].any(axis=1).mean() < 0.08
