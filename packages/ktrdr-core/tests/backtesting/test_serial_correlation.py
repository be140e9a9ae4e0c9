"""The error of a Sharpe ratio where neighbouring bars are alike: against the definition, and by what it lets pass."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from ktrdr.core.backtesting.metrics.sharpe import SharpeEvidence, evidence_of, long_run_variance

MOST_BARS_AS_THEY_ARE = 20_000


def noise(seed: int, bars: int, correlation: float, *, mean: float = 0.0, series: int = 1) -> np.ndarray:
    """Return ``(series, bars)`` of first-order noise: each value ``correlation`` times the one before, and news."""
    news = np.random.default_rng(seed).standard_normal((series, bars + 200))
    return lfilter([1.0], [1.0, -correlation], news, axis=1)[:, 200:] * 0.01 + mean


def slow_long_run_variance(values: np.ndarray) -> float:
    """Return what :func:`long_run_variance` is by its definition: a sum over autocovariances, weighed by their lag."""
    own = [float(value) for value in values]
    n = len(own)
    whole = sum(value * value for value in own)
    if n < 3 or whole == 0:
        return 0.0
    first = sum(one * two for one, two in pairwise(own)) / whole
    first = min(max(first, -0.97), 0.97)
    left = [two - first * one for one, two in pairwise(own)]
    lags = max(1, round(n ** (1 / 3)))

    def covariance(lag: int) -> float:
        return sum(left[place] * left[place - lag] for place in range(lag, len(left))) / len(left)

    total = covariance(0) + 2 * sum((1 - lag / lags) * covariance(lag) for lag in range(1, lags))
    return total / (1 - first) ** 2


class TestLongRunVariance:
    @given(
        seed=st.integers(0, 10_000),
        bars=st.integers(0, 400),
        correlation=st.floats(-0.95, 0.95),
        mean=st.sampled_from([0.0, 0.003]),
    )
    def test_equals_the_slow_one(self, seed, bars, correlation, mean):
        values = noise(seed, bars, correlation, mean=mean)[0]
        assert long_run_variance(values) == pytest.approx(slow_long_run_variance(values), rel=1e-9, abs=1e-15)

    @pytest.mark.parametrize("values", [np.arange(200.0), np.ones(50), np.array([1.0, -1.0] * 40)])
    def test_equals_the_slow_one_where_correlation_has_no_bounds(self, values):
        assert long_run_variance(values) == pytest.approx(slow_long_run_variance(values), rel=1e-9)

    @pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.3, 0.6])
    def test_it_is_that_of_theory(self, correlation):
        """The mean of first-order noise has the variance ``(1 / (1 - correlation)) ** 2`` of its news, by n."""
        values = noise(4, 4000, correlation, series=50) / 0.01
        found = np.mean([long_run_variance(own) for own in values])
        assert found == pytest.approx(1 / (1 - correlation) ** 2, rel=0.05)

    @pytest.mark.parametrize("values", [np.empty(0), np.ones(1), np.ones(2), np.zeros(30)])
    def test_of_nothing_it_is_nothing(self, values):
        assert long_run_variance(values) == 0


class TestLongSeries:
    @pytest.mark.parametrize("bars", [MOST_BARS_AS_THEY_ARE + 1, 61_234, 200_003])
    @pytest.mark.parametrize("correlation", [0.0, 0.3])
    def test_bars_that_are_put_together_say_nearly_the_same(self, bars, correlation, monkeypatch):
        returns = noise(5, bars, correlation, mean=0.0002)[0]
        together = evidence_of(returns)
        monkeypatch.setattr("ktrdr.core.backtesting.metrics.sharpe._MOST_STARTS", bars)
        apart = evidence_of(returns)
        assert together.deviation == pytest.approx(apart.deviation, rel=0.05)
        assert together.deviation != apart.deviation or correlation == 0
        for name in ("spread", "ratio", "skewness", "kurtosis"):
            assert getattr(together, name) == pytest.approx(getattr(apart, name), rel=1e-9), name

    def test_as_many_as_are_taken_as_they_are(self, monkeypatch):
        returns = noise(6, MOST_BARS_AS_THEY_ARE, 0.3)[0]
        found = evidence_of(returns)
        monkeypatch.setattr("ktrdr.core.backtesting.metrics.sharpe._MOST_STARTS", 10 * len(returns))
        assert evidence_of(returns) == found


BARS = 1545
"""As many as a quarter of a year has hours."""


@pytest.fixture(scope="module", params=[0.0, 0.3], ids=["white", "correlated"])
def evidence(request) -> tuple[float, list[SharpeEvidence]]:
    """That of 2,000 worthless series."""
    return request.param, [evidence_of(own) for own in noise(8, BARS, request.param, series=2000)]


class TestWhatPasses:
    """One in twenty worthless series may pass at 95 %."""

    def share(self, probabilities: list[float]) -> float:
        return float(np.mean([probability > 0.95 for probability in probabilities]))

    def test_one_in_twenty(self, evidence):
        _, found = evidence
        assert 0.035 < self.share([own.probability_above(0.0) for own in found]) < 0.065

    def test_an_error_that_knows_of_no_neighbours_lets_more_pass(self, evidence):
        """The formula without serial correlation, which was here before: of these 11.4 % are to be expected."""
        correlation, found = evidence

        def before(own: SharpeEvidence) -> float:
            error = 1 - own.skewness * own.ratio + (own.kurtosis - 1) / 4 * own.ratio**2
            return SharpeEvidence(
                own.spread, own.ratio, math.sqrt(error / (BARS - 1)), own.skewness, own.kurtosis
            ).probability_above(0.0)

        share = self.share([before(own) for own in found])
        assert share > 0.1 if correlation else 0.035 < share < 0.065

    def test_it_is_never_surer_than_without_neighbours(self, evidence):
        _, found = evidence
        for own in found:
            error = 1 - own.skewness * own.ratio + (own.kurtosis - 1) / 4 * own.ratio**2
            assert own.deviation >= math.sqrt(error / (BARS - 1)) * (1 - 1e-12)
