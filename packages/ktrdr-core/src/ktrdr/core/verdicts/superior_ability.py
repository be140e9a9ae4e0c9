"""Hansen's test of superior predictive ability: whether the best of several trials is better than holding cash.

Source: P. R. Hansen, "A Test for Superior Predictive Ability" (Journal of Business & Economic Statistics, 2005), with
the stationary bootstrap of D. N. Politis and J. P. Romano (Journal of the American Statistical Association, 1994). Of
the three p-values, the upper one takes every trial to be as good as cash, the lower one takes those that lost to be as
bad as they were, and the consistent one does so with the clearly bad ones only.
"""

from __future__ import annotations

import math

import numpy as np

from ktrdr.core.synthetic.random_streams import uniforms
from ktrdr.core.verdicts.verdict_result import SuperiorAbility

__all__ = ["stationary_weights", "superior_ability_of"]

_RESAMPLES = 1_000
_FEWEST_DAYS = 20
# A variance below this share of the mean square is rounding error of a constant series.
_ROUNDING = 1e-12


def superior_ability_of(returns: np.ndarray, *, seed: int, resamples: int = _RESAMPLES) -> SuperiorAbility | None:
    """Return the three p-values of the best trial, for the hypothesis that none is better than cash.

    Args:
        returns: daily returns after costs, float64 ``(days, trials)``. Trials whose returns do not vary do not count.
        seed: seed of the bootstrap.
        resamples: number of resampled series.

    Returns:
        The p-values, ``(1 + resamples at least as good) / (1 + resamples)`` each. ``None`` for fewer than 20 days, or
        without a trial whose returns vary.
    """
    days = len(returns)
    if days < _FEWEST_DAYS:
        return None
    mean = returns.mean(axis=0)
    varied = returns.var(axis=0) > _ROUNDING * np.square(returns).mean(axis=0)
    length = round(days ** (1 / 3))
    # Standard error of each mean.
    error = np.sqrt(_resampled_variance(returns - mean, length) / days)
    varied &= error > 0
    if not varied.any():
        return None
    returns, mean, error = returns[:, varied], mean[varied], error[varied]
    best = max(float((mean / error).max()), 0.0)
    # Not by `@`: its last bits depend on the processor and its threads.
    resampled = np.einsum("ij,jk->ik", stationary_weights(days, length, seed, resamples), returns) / days
    clearly_bad = mean < -error * math.sqrt(2 * math.log(math.log(days)))
    centres = {"lower": np.maximum(mean, 0.0), "consistent": np.where(clearly_bad, 0.0, mean), "upper": mean}
    found = {}
    for name, centre in centres.items():
        highest = np.maximum(((resampled - centre) / error).max(axis=1), 0.0)
        found[name] = (1 + int(np.count_nonzero(highest >= best))) / (1 + resamples)
    return SuperiorAbility(trials=len(mean), days=days, **found)


def _resampled_variance(centred: np.ndarray, length: int) -> np.ndarray:
    """Return the variance of ``sqrt(days)`` times the mean of a resampled series, float64 ``(trials,)``.

    It is known without resampling: the circular autocovariances of the days, weighted by the probability that the
    bootstrap keeps two days together (Politis and Romano, lemma 1).

    Args:
        centred: float64 ``(days, trials)`` with means of 0.
        length: mean length of a block.
    """
    days = len(centred)
    spectrum = np.fft.rfft(centred, axis=0)
    covariance = np.fft.irfft(spectrum * spectrum.conj(), days, axis=0) / days
    lags = np.arange(days)
    weights = 2 * (1 - lags / days) * (1 - 1 / length) ** lags
    weights[0] = 1
    variance: np.ndarray = np.einsum("i,ij->j", weights, covariance)
    return variance


def stationary_weights(days: int, length: int, seed: int, resamples: int) -> np.ndarray:
    """Return how often each resample takes each day, float64 ``(resamples, days)``.

    A resample is as long as the series. It goes on from day to day, after the last one with the first, and jumps to a
    day at random with a probability of ``1 / length``.

    Args:
        days: number of days.
        length: mean length of a block.
        seed: seed of the bootstrap.
        resamples: number of resamples.
    """
    shape = (resamples, days)
    jumps = uniforms(seed, 0, resamples * days).reshape(shape) <= 1 / length
    jumps[:, 0] = True
    starts = np.ceil(uniforms(seed, 1, resamples * days).reshape(shape) * days).astype(np.int64) - 1
    position = np.arange(days)
    last = np.maximum.accumulate(np.where(jumps, position, 0), axis=1)
    taken = (np.take_along_axis(starts, last, axis=1) + position - last) % days
    taken += days * np.arange(resamples)[:, np.newaxis]
    return np.bincount(taken.ravel(), minlength=resamples * days).reshape(shape).astype(np.float64)
