"""The Sharpe ratio, and how much of it may be luck.

Ratios here are per bar, not annualized; the risk-free rate is zero.

Sources: W. F. Sharpe, "The Sharpe Ratio" (Journal of Portfolio Management, 1994); D. H. Bailey and M. Lopez de Prado,
"The Sharpe Ratio Efficient Frontier" (Journal of Risk, 2012) for the probabilistic ratio, and "The Deflated Sharpe
Ratio" (Journal of Portfolio Management, 2014); D. N. Politis and J. P. Romano, "A Circular Block-Resampling Procedure
for Stationary Data" (1992) for the interval.
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
_MOST_STARTS = 20_000
# Rows at a time: what is made of them stays in the processor's cache, however long the series.
_BLOCK = 1 << 16
# A spread of this share of a mean is what rounding leaves of none.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class SharpeEvidence:
    """What a series of returns says about its own Sharpe ratio.

    Attributes:
        spread: standard deviation (n - 1) of the returns.
        ratio: mean by spread.
        deviation: standard error of the ratio, skewness and fat tails included.
        skewness, kurtosis: of the returns; a normal distribution has 0 and 3.
    """

    spread: float
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
    if n < 2 or not returns.any():
        return None
    mean = float(returns.mean())
    total = third = fourth = 0.0
    for start in range(0, n, _BLOCK):
        deviations = returns[start : start + _BLOCK] - mean
        squares = deviations * deviations
        total += float(squares.sum())
        third += float(squares @ deviations)
        fourth += float(squares @ squares)
    if total <= n * (_ROUNDING * mean) ** 2:
        return None
    variance = total / n
    skewness = third / n / variance**1.5
    kurtosis = fourth / n / variance**2
    spread = math.sqrt(total / (n - 1))
    ratio = mean / spread
    # Not negative, as kurtosis >= 1 + skewness^2, and 0 only for two values: then nothing is known of the error.
    error = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    return SharpeEvidence(spread, ratio, math.sqrt(max(error, _ROUNDING) / (n - 1)), skewness, kurtosis)


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
    neighbours have in common, and longer where a series would have more than 1000 of them. They begin at every bar, or
    at 20,000 places at even distances in a longer series, so that the cost hardly grows with its length.
    """
    n = len(returns)
    if n < 20 or not returns.any():
        return None
    mean = float(returns.mean())
    step = -(-n // _MOST_STARTS)
    places = n // step
    # Around the mean, or the squares of small returns drown in rounding.
    first, second = np.empty(places), np.empty(places)
    for start in range(0, places, rows := max(1, _BLOCK // step)):
        stop = min(start + rows, places)
        centred = returns[start * step : stop * step].reshape(-1, step) - mean
        first[start:stop] = centred.sum(axis=1)
        second[start:stop] = np.einsum("ij,ij->i", centred, centred)
    total = float(second.sum())
    if total <= n * (_ROUNDING * mean) ** 2:
        return None
    length = max(round(n ** (1 / 3) / step), -(-places // _MOST_BLOCKS), 1)
    blocks = max(places // length, 1)
    starts = np.random.default_rng(seed).integers(0, places, (_RESAMPLES, blocks))
    count = blocks * length * step
    means = _block_sums(first, length)[starts].sum(axis=1) / count
    variances = _block_sums(second, length)[starts].sum(axis=1) / count - means * means
    known = variances > 1e-12 * total / n
    if not known.any():
        return None
    ratios = (means[known] + mean) / np.sqrt(variances[known] * count / (count - 1))
    low, high = np.quantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _block_sums(values: np.ndarray, length: int) -> np.ndarray:
    """Return the sum of ``length`` values from each place on, going on at the beginning after the end."""
    sums = np.cumsum(np.concatenate(([0.0], values, values[: length - 1])))
    return sums[length:] - sums[:-length]
