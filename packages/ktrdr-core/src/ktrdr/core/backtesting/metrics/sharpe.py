"""How much of a Sharpe ratio may be luck.

Ratios here are per bar, not annualized.

Sources: D. H. Bailey and M. Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (Journal of Risk, 2012) for the
probabilistic ratio, and "The Deflated Sharpe Ratio" (Journal of Portfolio Management, 2014); D. N. Politis and J. P.
Romano, "A Circular Block-Resampling Procedure for Stationary Data" (1992) for the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["SharpeEvidence", "deflated_threshold", "evidence_of", "sharpe_interval"]

_NORMAL = NormalDist()
_RESAMPLES = 1000
_MOST_BLOCKS = 1000


@dataclass(frozen=True, slots=True)
class SharpeEvidence:
    """What a series of returns says about its own Sharpe ratio.

    Attributes:
        ratio: per bar.
        deviation: standard error of it, skewness and fat tails included.
        skewness, kurtosis: of the returns; a normal distribution has 0 and 3.
    """

    ratio: float
    deviation: float
    skewness: float
    kurtosis: float

    def probability_above(self, threshold: float) -> float:
        """Return the probability that the true ratio is above ``threshold`` (per bar)."""
        return _NORMAL.cdf((self.ratio - threshold) / self.deviation)


def evidence_of(returns: np.ndarray) -> SharpeEvidence | None:
    """Return the evidence in ``returns``, float64 ``(n,)``; ``None`` where they do not vary."""
    n = len(returns)
    if n < 3:
        return None
    mean = float(returns.mean())
    deviations = returns - mean
    squares = deviations * deviations
    variance = float(squares.mean())
    if variance <= 1e-24 * mean * mean:  # what rounding leaves of none
        return None
    skewness = float(squares @ deviations) / n / variance**1.5
    kurtosis = float(squares @ squares) / n / variance**2
    ratio = mean / math.sqrt(variance * n / (n - 1))
    # Never negative, as kurtosis >= 1 + skewness²; rounding may still bring it there.
    spread = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    if spread <= 0:
        return None
    return SharpeEvidence(ratio, math.sqrt(spread / (n - 1)), skewness, kurtosis)


def deflated_threshold(evidence: SharpeEvidence, trials: int) -> float:
    """Return the ratio (per bar) to be expected of the best of ``trials`` strategies that are all worth nothing.

    The variance of the ratio among the trials is taken to be the one this series shows for its own: the others are not
    at hand.
    """
    if trials < 2:
        return 0.0
    gamma = 0.5772156649015329
    expected = (1 - gamma) * _NORMAL.inv_cdf(1 - 1 / trials) + gamma * _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return evidence.deviation * expected


def sharpe_interval(returns: np.ndarray, seed: int, share: float = 0.95) -> tuple[float, float] | None:
    """Return the interval that holds ``share`` of the ratios (per bar) of 1000 resampled series.

    Circular block bootstrap. Blocks are as long as the cube root of the number of bars, which keeps most of what
    neighbours have in common, and longer where a series would have more than 1000 of them. Sums over a block come from
    running sums, so that the cost does not grow with the length of the series.
    """
    n = len(returns)
    if n < 20:
        return None
    length = max(round(n ** (1 / 3)), -(-n // _MOST_BLOCKS))
    blocks = max(n // length, 1)
    # Around the mean, or the squares of small returns drown in rounding.
    mean = float(returns.mean())
    centred = returns - mean
    wrapped = np.concatenate(([0.0], centred, centred[: length - 1]))
    first = _block_sums(wrapped, length)
    wrapped *= wrapped
    second = _block_sums(wrapped, length)
    random = np.random.default_rng(seed)
    starts = random.integers(0, n, (_RESAMPLES, blocks))
    count = blocks * length
    means = first[starts].sum(axis=1) / count
    variances = second[starts].sum(axis=1) / count - means * means
    known = variances > 1e-12 * float(centred @ centred) / n
    if not known.any() or not float(centred @ centred) > 0:
        return None
    ratios = (means[known] + mean) / np.sqrt(variances[known] * count / (count - 1))
    low, high = np.quantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _block_sums(values: np.ndarray, length: int) -> np.ndarray:
    sums = np.cumsum(values)
    return sums[length:] - sums[:-length]
