"""Statistics of verdicts are those of arch and purgedcv.

Where they differ from us:

- arch takes the highest mean, where Hansen and we take the highest ratio of mean and error. So it is given returns that
  are divided by the errors that it computes itself.
- arch counts resampled maxima above the observed one; we also count equal ones and the observed one itself, so that no
  p-value is 0, and that of trials that all lost is 1. It draws other resamples, so the p-values agree up to chance.
- purgedcv's probability of backtest overfitting leaves out logits of 0, the middle of an odd number of trials. The
  source and we count them. Its minimum track record takes returns to be independent, and has no spread of the trials.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from arch.bootstrap import SPA
from purgedcv import min_track_record_length, probability_of_backtest_overfitting

from ktrdr.core.verdicts.deflation import needed_growth
from ktrdr.core.verdicts.overfitting import overfitting_of
from ktrdr.core.verdicts.superior_ability import superior_ability_of

RESAMPLES = 2000


@pytest.mark.parametrize(
    ("seed", "days", "means"),
    [(0, 250, [0.0]), (1, 250, [0.0005, -0.002, 0.0012]), (2, 400, [-0.003, 0.0008]), (3, 100, [0.001, 0.001, -0.02])],
)
def test_superior_ability_is_that_of_arch(seed, days, means):
    random = np.random.default_rng(seed)
    noise = random.normal(0, 0.01, (days + 2, 12))
    # Returns that are correlated over three days.
    returns = noise[2:] + 0.5 * noise[1:-1] + 0.3 * noise[:-2] + np.resize(means, 12)
    returns *= np.linspace(0.2, 3, 12)
    peers = []
    for scale in (1.0, None):
        scaled = returns / (np.sqrt(peers[0]._loss_diff_var) if scale is None else scale)
        peers.append(SPA(np.zeros(days), -scaled, block_size=round(days ** (1 / 3)), reps=RESAMPLES, seed=7))
        peers[-1].compute()
    peer = peers[-1]
    found = superior_ability_of(returns, seed=seed, resamples=RESAMPLES)
    for name in ("lower", "consistent", "upper"):
        p = float(peer.pvalues[name])
        # Two shares of resamples, within four standard errors of their difference.
        assert getattr(found, name) == pytest.approx(p, abs=4 * math.sqrt(2 * max(p * (1 - p), 0.01) / RESAMPLES))


@pytest.mark.parametrize(("days", "trials", "blocks"), [(64, 5, 4), (83, 6, 6), (120, 12, 8), (333, 3, 10)])
def test_overfitting_is_that_of_purgedcv(days, trials, blocks):
    returns = np.random.default_rng(days).standard_t(4, (days, trials)) * 0.01
    returns[:, 0] += 0.002
    peer = probability_of_backtest_overfitting(returns.T, blocks)
    found = overfitting_of(returns, blocks)
    assert (found.probability, found.splits) == (np.mean(peer.logits <= 0), peer.n_combos)


def test_needed_length_is_that_of_purgedcv():
    returns = np.random.default_rng(0).normal(0.0008, 0.01, 500)
    ratio = returns.mean() / returns.std()
    skewness, kurtosis = (float((((returns - returns.mean()) / returns.std()) ** power).mean()) for power in (3, 4))
    error = math.sqrt((1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2) / (len(returns) - 1))
    growth = needed_growth(ratio, error, 1, None)
    peer = min_track_record_length(ratio, 0.0, 0.05, skewness, kurtosis)
    assert math.ceil(growth * (len(returns) - 1)) + 1 == peer
