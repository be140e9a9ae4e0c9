"""The Sharpe ratio, its standard error and interval, and the probability that it is not luck.

Ratios here are per bar, not annualized; the risk-free rate is zero.

Sources: W. F. Sharpe, "The Sharpe Ratio" (Journal of Portfolio Management, 1994); D. H. Bailey and M. Lopez de Prado,
"The Sharpe Ratio Efficient Frontier" (Journal of Risk, 2012) for the probabilistic ratio, and "The Deflated Sharpe
Ratio" (Journal of Portfolio Management, 2014); A. W. Lo, "The Statistics of Sharpe Ratios" (Financial Analysts Journal,
2002) for the effect of serial correlation, W. K. Newey and K. D. West (Econometrica, 1987) and D. W. K. Andrews and
J. C. Monahan (Econometrica, 1992) for its estimate; D. N. Politis and J. P. Romano, "A Circular Block-Resampling
Procedure for Stationary Data" (1992) for the interval.
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
    "expected_best",
    "expected_maximum",
    "long_run_variance",
    "sharpe_interval",
]

_NORMAL = NormalDist()
_RESAMPLES = 1000
_MOST_BLOCKS = 1000
_MOST_STARTS = 20_000
# Rows per block: intermediate arrays of this size stay in the processor's cache.
_BLOCK = 1 << 16
# A standard deviation below this share of the mean is rounding error of a constant series.
_ROUNDING = 1e-12
# Limit of the first-order autocorrelation: above it, a series of this length does not tell correlation from a trend.
_MOST_CORRELATION = 0.97


@dataclass(frozen=True, slots=True)
class SharpeEvidence:
    """Sharpe ratio of a series of returns, with its standard error.

    Attributes:
        spread: standard deviation (n - 1) of the returns.
        ratio: mean divided by ``spread``.
        deviation: standard error of the ratio; it accounts for skewness, fat tails and serial correlation.
        skewness, kurtosis: moments of the returns; a normal distribution has 0 and 3.
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
    """Return Sharpe ratio and standard error of ``returns``, float64 ``(n,)``; ``None`` if they do not vary."""
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
        # The last bars, too few for another group of `step` bars, count in the moments only.
        deviations = returns[place * step : n if stop == places else stop * step] - mean
        squares = deviations * deviations
        total += float(squares.sum())
        # Not by `@`: for products of this size its threads take longer than they save.
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
    # Not negative, as kurtosis >= 1 + skewness^2. It is 0 only for two distinct values, which do not tell the error.
    error = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio**2
    # Influence of each bar, or group of bars, on the ratio.
    influence = first / math.sqrt(variance) - ratio / 2 * (second / variance - step)
    error = max(error, long_run_variance(influence) / step, _ROUNDING)
    return SharpeEvidence(spread, ratio, math.sqrt(error / (n - 1)), skewness, kurtosis)


def long_run_variance(values: np.ndarray) -> float:
    """Return the variance of ``sqrt(n)`` times the mean of a series with serial correlation.

    The estimate of Newey and West (1987), with the prewhitening of Andrews and Monahan (1992): the first-order
    autocorrelation is removed, the residuals are weighted with Bartlett's kernel over as many lags as the cube root of
    ``n``, and the first-order autocorrelation is put back. This is accurate for first-order noise in short series too.

    Args:
        values: the series, float64 ``(n,)``, with a mean of 0.
    """
    n = len(values)
    whole = float(np.einsum("i,i->", values, values))
    if n < 3 or whole <= 0:
        return 0.0
    first = min(max(float(np.einsum("i,i->", values[1:], values[:-1])) / whole, -_MOST_CORRELATION), _MOST_CORRELATION)
    left = values[1:] - first * values[:-1]
    lags = max(1, round(n ** (1 / 3)))
    # The sum over the kernel equals the mean square of moving sums that extend beyond both ends of the series.
    sums = np.zeros(len(left) + 2 * lags - 1)
    np.cumsum(left, out=sums[lags : lags + len(left)])
    sums[lags + len(left) :] = sums[lags + len(left) - 1]
    moving = sums[lags:] - sums[:-lags]
    variance: float = float(np.einsum("i,i->", moving, moving)) / lags / len(left) / (1 - first) ** 2
    return variance


def expected_maximum(trials: int) -> float:
    """Return the expected maximum of ``trials`` independent standard normal numbers; 0 for one."""
    if trials < 2:
        return 0.0
    gamma = 0.5772156649015329
    return (1 - gamma) * _NORMAL.inv_cdf(1 - 1 / trials) + gamma * _NORMAL.inv_cdf(1 - 1 / (trials * math.e))


def expected_best(error: float, trials: int, spread: float | None) -> float:
    """Return the expected best ratio of ``trials`` strategies whose true ratios are 0.

    Args:
        error: standard error of a ratio.
        trials: number of trials.
        spread: standard deviation of the ratios of the trials, ``None`` if it is not known. ``error`` is used instead
            if it is larger: the ratios of similar trials vary less than luck can make them.
    """
    return max(error, spread or 0.0) * expected_maximum(trials)


def deflated_probability(ratio: float, error: float, trials: int, spread: float | None) -> float:
    """Return the deflated Sharpe ratio.

    It is the probability that the true ratio is above that of :func:`expected_best`.

    Args:
        ratio: observed ratio.
        error: its standard error.
        trials: number of trials.
        spread: standard deviation of the ratios of the trials, see :func:`expected_best`.
    """
    return _NORMAL.cdf((ratio - expected_best(error, trials, spread)) / error)


def sharpe_interval(returns: np.ndarray, seed: int, share: float = 0.95) -> tuple[float, float] | None:
    """Return the interval that contains ``share`` of the ratios (per bar) of 1000 resampled series.

    Circular block bootstrap. The length of a block is the cube root of the number of bars, which keeps most of the
    serial correlation; it is larger if there would be more than 1000 blocks. Blocks begin at every bar. In a series of
    more than 20,000 bars they begin at up to 20,000 evenly spaced bars, so that the time hardly grows with the length.

    Args:
        returns: returns per bar, float64 ``(n,)``.
        seed: seed of the resampling.
        share: share of the resampled ratios inside the interval.

    Returns:
        Low and high end; ``None`` for fewer than 20 returns or returns that do not vary.
    """
    n = len(returns)
    if n < 20 or not returns.any():
        return None
    mean = float(returns.mean())
    step = -(-n // _MOST_STARTS)
    places = n // step
    # Centred on the mean, because rounding would dominate the squares of small returns.
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
    count = blocks * length * step
    totals, squares = np.empty(_RESAMPLES), np.empty(_RESAMPLES)
    of_first, of_second = _block_sums(first, length), _block_sums(second, length)
    random = np.random.default_rng(seed)
    for start in range(0, _RESAMPLES, rows := max(1, _BLOCK // blocks)):
        starts = random.integers(0, places, (min(rows, _RESAMPLES - start), blocks))
        totals[start : start + rows] = of_first[starts].sum(axis=1)
        squares[start : start + rows] = of_second[starts].sum(axis=1)
    means = totals / count
    variances = squares / count - means * means
    known = variances > 1e-12 * total / n
    if not known.any():
        return None
    ratios = (means[known] + mean) / np.sqrt(variances[known] * count / (count - 1))
    low, high = np.quantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def _block_sums(values: np.ndarray, length: int) -> np.ndarray:
    """Return the sums of ``length`` successive values from each position on; the series is circular."""
    sums: np.ndarray = np.cumsum(np.concatenate(([0.0], values, values[: length - 1])))
    blocks: np.ndarray = sums[length:] - sums[:-length]
    return blocks
