"""Random phases and blocks, against definitions."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ktrdr.core.synthetic.market import synthetic_market
from ktrdr.core.verdicts.linear_worlds import block_bootstrap, block_size, normal_scores, order_like, random_phases

SERIES = arrays(np.float64, st.integers(1, 60), elements=st.floats(-100, 100).map(lambda value: round(value, 1)))


def circular_covariance(one: np.ndarray, other: np.ndarray) -> list[float]:
    return [float((one * np.roll(other, lag)).sum()) for lag in range(len(one))]


@given(SERIES, st.integers(0, 1_000))
def test_random_phases_keep_every_covariance(values: np.ndarray, seed: int) -> None:
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(values) // 2 + 1)
    other = np.sin(values) + 0.1 * values
    one_world, other_world = random_phases(values, phases), random_phases(other, phases)
    size = 1e-9 * (1 + float((values**2).sum()))
    assert circular_covariance(one_world, one_world) == pytest.approx(circular_covariance(values, values), abs=size)
    assert circular_covariance(one_world, other_world) == pytest.approx(circular_covariance(values, other), abs=size)
    assert one_world.mean() == pytest.approx(values.mean(), abs=1e-9)


def test_random_phases_change_the_series() -> None:
    values = np.random.default_rng(1).normal(size=1_001)
    phases = np.random.default_rng(2).uniform(0, 2 * np.pi, 501)
    assert abs(np.corrcoef(values, random_phases(values, phases))[0, 1]) < 0.15


@given(SERIES)
def test_normal_scores_are_quantiles_of_the_mean_ranks(values: np.ndarray) -> None:
    expected = []
    for value in values:
        below, equal = int((values < value).sum()), int((values == value).sum())
        expected.append(NormalDist().inv_cdf((below + equal / 2) / len(values)))
    assert normal_scores(values) == pytest.approx(np.array(expected), abs=1e-12)


@given(SERIES, st.integers(0, 1_000))
def test_the_order_is_that_of_the_series(values: np.ndarray, seed: int) -> None:
    series = np.random.default_rng(seed).normal(size=len(values))
    order = order_like(series, values)
    assert sorted(order.tolist()) == list(range(len(values)))
    assert np.array_equal(values[order][np.argsort(series)], np.sort(values))


@given(st.integers(1, 100), st.integers(1, 40), st.integers(0, 1_000))
def test_blocks_are_successive_times(times: int, length: int, seed: int) -> None:
    uniform = 1 - np.random.default_rng(seed).random(times)
    found = block_bootstrap(uniform, times, length).tolist()
    expected = []
    for place in range(times):
        block, inside = divmod(place, length)
        expected.append((int(np.ceil(times * uniform[block])) - 1 + inside) % times)
    assert found == expected
    assert all(0 <= time < times for time in found)


def test_each_time_is_as_likely_as_any_other() -> None:
    random = np.random.default_rng(1)
    counts = np.bincount(
        np.concatenate([block_bootstrap(1 - random.random(50), 50, 7) for _ in range(2_000)]), minlength=50
    )
    assert counts == pytest.approx(np.full(50, 2_000), rel=0.15)


def test_blocks_are_as_long_as_the_dependence_asks() -> None:
    def size(process: str) -> int:
        return block_size([np.diff(synthetic_market(process, 7).path(5_000).log_price)], 4_999)

    walk, clusters = size("walk"), size("garch")
    assert 5 <= walk < 40
    assert clusters > 2 * walk
    assert clusters <= 4_999 // 8


@pytest.mark.parametrize("n", [1, 2, 19, 20, 21])
def test_few_returns_have_blocks(n: int) -> None:
    returns = np.random.default_rng(1).normal(size=n)
    assert 1 <= block_size([returns, np.zeros(n)], n + 1) <= max(n, 1)
