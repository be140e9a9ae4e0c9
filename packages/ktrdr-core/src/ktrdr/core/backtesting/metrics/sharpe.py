"""The Sharpe ratio, and how much of it may be luck.

Ratios here are per bar, not annualized; the risk-free rate is zero.

Sources: W. F. Sharpe, "The Sharpe Ratio" (Journal of Portfolio Management, 1994); D. H. Bailey and M. Lopez de Prado,
"The Sharpe Ratio Efficient Frontier" (Journal of Risk, 2012) for the probabilistic ratio, and "The Deflated Sharpe
Ratio" (Journal of Portfolio Management, 2014); A. W. Lo, "The Statistics of Sharpe Ratios" (Financial Analysts Journal,
2002) for what serial correlation does to it, W. K. Newey and K. D. West (Econometrica, 1987) and D. W. K. Andrews and
J. C. Monahan (Econometrica, 1992) for how that is measured; D. N. Politis and J. P. Romano, "A Circular
Block-Resampling Procedure for Stationary Data" (1992) for the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = [
    "SharpeEvidence",
    "deflated_probability",
    "evidence_of",
    "expected_maximum",
    "long_run_variance",
    "sharpe_interval",
]

_NORMAL = NormalDist()
_RESAMPLES = 1000
_MOST_BLOCKS = 1000
_MOST_STARTS = 20_000
# Rows at a time: what is made of them stays in the processor's cache, however long the series.
_BLOCK = 1 << 16
# A spread of this share of a mean is what rounding leaves of none.
_ROUNDING = 1e-12
# Of first order: beyond it a series of this length cannot tell a correlation from a trend.
_MOST_CORRELATION = 0.97


@dataclass(frozen=True, slots=True)
class SharpeEvidence:
    """What a series of returns says about its own Sharpe ratio.

    Attributes:
        spread: standard deviation (n - 1) of the returns.
        ratio: mean by spread.
        deviation: standard error of the ratio: skewness, fat tails and serial correlation included.
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
    step = -(-n // _MOST_STARTS)
    places = n // step
    first, second = np.empty(places), np.empty(places)
    total = third = fourth = 0.0
    rows = max(1, _BLOCK // step)
    for place in range(0, places, rows):
        stop = min(place + rows, places)
        # The last bars, too few for a place of their own, count in the moments.
        deviations = returns[place * step : n if stop == places else stop * step] - mean
        squares = deviations * deviations
        total += float(squares.sum())
        # Not by `@`: for products of this size its threads cost more than they give.
        third += float(np.einsum("i,i->", squares, deviations))
        fourth += float(np.einsum("i,i->", squares, squares))
        used = (stop - place) * step
        first[place:stop] = np.einsum("ij->i", deviations[:used].reshape(-1, step))
        second[place:stop] = np.einsum("ij->i", squares[:used].reshape(-1, step))
    if total <= n * (_ROUNDING * mean) ** 2:
        return None
    variance = total / n
    skewness = third / n / variance**1.5
    kurtosis = fourth / n / variance**2
    spread = math.sqrt(total / (n - 1))
    ratio = mean / spread
    # Not negative, as kurtosis >= 1 + skewness^2, and 0 only for two values: then nothing is known of the error.
    error = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    # What each bar, or each few bars, moves the ratio by.
    influence = first / math.sqrt(variance) - ratio / 2 * (second / variance - step)
    error = max(error, long_run_variance(influence) / step, _ROUNDING)
    return SharpeEvidence(spread, ratio, math.sqrt(error / (n - 1)), skewness, kurtosis)


def long_run_variance(values: np.ndarray) -> float:
    """Return the variance of ``sqrt(n)`` times the mean of a series with serial correlation, float64 ``(n,)``.

    The autocorrelation of first order is taken out, what is left is weighed with Bartlett's kernel over as many lags as
    the cube root of ``n``, and the first is put back: Newey and West (1987) after the prewhitening of Andrews and
    Monahan (1992), with which noise of the first order comes out right in short series too.
    """
    n = len(values)
    whole = float(np.einsum("i,i->", values, values))
    if n < 3 or whole <= 0:
        return 0.0
    first = min(max(float(np.einsum("i,i->", values[1:], values[:-1])) / whole, -_MOST_CORRELATION), _MOST_CORRELATION)
    left = values[1:] - first * values[:-1]
    lags = max(1, round(n ** (1 / 3)))
    # The sum over the kernel is the mean square of the moving sums, which run over both ends.
    sums = np.zeros(len(left) + 2 * lags - 1)
    np.cumsum(left, out=sums[lags : lags + len(left)])
    sums[lags + len(left) :] = sums[lags + len(left) - 1]
    moving = sums[lags:] - sums[:-lags]
    return float(np.einsum("i,i->", moving, moving)) / lags / len(left) / (1 - first) ** 2


def expected_maximum(trials: int) -> float:
    """Return the largest of ``trials`` independent standard normal numbers that is to be expected; 0 for one."""
    if trials < 2:
        return 0.0
    gamma = 0.5772156649015329
    return (1 - gamma) * _NORMAL.inv_cdf(1 - 1 / trials) + gamma * _NORMAL.inv_cdf(1 - 1 / (trials * math.e))


def deflated_probability(ratio: float, error: float, trials: int, spread: float | None) -> float:
    """Return the probability that the true ratio is above what the best of ``trials`` worthless ones would show.

    Args:
        ratio: that was found.
        error: its standard error.
        trials: how many were tried.
        spread: standard deviation of their ratios, ``None`` where it is not known. The error counts where it is larger:
            trials that are alike say little of what luck can do.
    """
    threshold = max(error, spread or 0.0) * expected_maximum(trials)
    return _NORMAL.cdf((ratio - threshold) / error)


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
