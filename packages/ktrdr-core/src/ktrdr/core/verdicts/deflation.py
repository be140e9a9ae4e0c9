"""How much of a Sharpe ratio the number of trials explains, and how long the data would have to be.

Sources: D. H. Bailey and M. Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (Journal of Risk, 2012) for the
minimum track record length, and "The Deflated Sharpe Ratio" (Journal of Portfolio Management, 2014).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from ktrdr.core.backtesting.metrics.sharpe import (
    deflated_probability,
    evidence_of,
    expected_best,
    expected_maximum,
    sharpe_interval,
)
from ktrdr.core.trials.trial_count import TrialCount
from ktrdr.core.validation.intervals import SHARE
from ktrdr.core.verdicts.verdict_result import Deflation

__all__ = ["LEAST_PROBABILITY", "deflated", "deflation_of", "needed_growth", "upper_reach"]

LEAST_PROBABILITY = 0.95
"""Deflated Sharpe ratio from which on the trials do not explain a result."""

# Standard errors from the ratio to the ends of an interval of a normal distribution.
_QUANTILE = NormalDist().inv_cdf((1 + SHARE) / 2)
# A standard deviation below this share of the sums is rounding error of equal sums.
_ROUNDING = 1e-12


def deflation_of(
    returns: np.ndarray, periods_per_year: float, years: float, count: TrialCount, *, seed: int = 0
) -> Deflation | None:
    """Return the Sharpe ratio of an account beside what the best of its trials would have without an edge.

    The interval contains that of the block bootstrap and that of the standard error: of few trades, which resamples may
    miss, either alone is too narrow. Its upper end is further away where returns are skewed to large profits, see
    :func:`upper_reach`.

    Args:
        returns: returns of the account per bar, float64 ``(n,)``, up to a total loss.
        periods_per_year: bars in a year.
        years: length of the tested bars.
        count: trials that looked at them, the account's own among them.
        seed: seed of the interval's resampling.

    Returns:
        The ratio, its interval and its probability. ``None`` if the returns do not vary, as those of an account that
        never trades, or are fewer than 20.
    """
    evidence, interval = evidence_of(returns), sharpe_interval(returns, seed, SHARE)
    if evidence is None or interval is None:
        return None
    root = math.sqrt(periods_per_year)
    sharpe, error = evidence.ratio * root, evidence.deviation * root
    low = min(interval[0] * root, sharpe - _QUANTILE * error)
    high = max(interval[1] * root, sharpe + upper_reach(returns) * error)
    return deflated(sharpe, error, (low, high), years, count)


def upper_reach(returns: np.ndarray) -> float:
    """Return how many standard errors above the ratio the upper end of its 90 % interval is.

    If large profits are rare, a series with few of them has a small mean *and* a small standard error, so that the
    interval of a normal distribution ends too low too often. The distribution of the ratio of a mean to its error is
    ``N(x) + a (2 x^2 + 1) n(x) / 6``, to the order of ``a``, the skewness of the mean: P. Hall, "The Bootstrap and
    Edgeworth Expansion" (1992), section 2.6; N. J. Johnson, "Modified t Tests and Confidence Intervals for Asymmetrical
    Populations" (Journal of the American Statistical Association, 1978). Its quantile of 5 % is
    ``a (2 z^2 + 1) / 6`` further away than ``z``, that of the normal distribution.

    The skewness is the largest of those of bars and of blocks of bars as long as the cube root and as the square root
    of their number, because a profit may run over many bars. Negative skewness does not make the interval narrower.

    Args:
        returns: returns per bar, float64 ``(n,)``, at least 20 that vary.

    Returns:
        The number of errors, at least the quantile of the normal distribution.
    """
    n = len(returns)
    skewness = 0.0
    for length in (1, round(n ** (1 / 3)), math.isqrt(n)):
        sums = returns[: n // length * length].reshape(-1, length).sum(axis=1)
        deviations = sums - sums.mean()
        squares = deviations * deviations
        variance = float(squares.mean())
        if variance > (_ROUNDING * float(np.abs(sums).max())) ** 2:
            third = float(np.einsum("i,i->", squares, deviations)) / len(sums)
            skewness = max(skewness, third / variance**1.5 / math.sqrt(len(sums)))
    return _QUANTILE + skewness * (2 * _QUANTILE**2 + 1) / 6


def deflated(sharpe: float, error: float, interval: tuple[float, float], years: float, count: TrialCount) -> Deflation:
    """Return a known Sharpe ratio beside what the best of its trials would have without an edge.

    Args:
        sharpe: annual ratio of the account.
        error: its standard error.
        interval: its 90 % interval.
        years: length of the tested bars.
        count: trials that looked at them, the account's own among them.

    Returns:
        The ratio, its interval and its probability.
    """
    trials = max(count.number, 1)
    growth = needed_growth(sharpe, error, trials, count.spread)
    return Deflation(
        sharpe=sharpe,
        low=interval[0],
        high=interval[1],
        years=years,
        trials=trials,
        other_trials=trials - 1,
        expected_best=expected_best(error, trials, count.spread),
        probability=deflated_probability(sharpe, error, trials, count.spread),
        needed_years=None if growth is None else years * growth,
    )


def needed_growth(sharpe: float, error: float, trials: int, spread: float | None) -> float | None:
    """Return by which factor more data would give this ratio a deflated Sharpe ratio of 95 %.

    The standard error falls with the square root of the length. Ratio, number and spread of the trials stay.

    Args:
        sharpe: the ratio.
        error: its standard error.
        trials: number of trials.
        spread: standard deviation of their ratios; ``None`` if it is not known.

    Returns:
        The factor, below 1 if less data would do; ``None`` if no length would: the ratio is not above 0, or not above
        the best that trials with this spread are expected to have.
    """
    quantile, best = NormalDist().inv_cdf(LEAST_PROBABILITY), expected_maximum(trials)
    above = sharpe - (spread or 0.0) * best
    if sharpe <= 0 or above <= 0:
        return None
    # Either the spread of the trials or the error sets the expected best: both have to be passed.
    ratio = max(quantile / above, (quantile + best) / sharpe) * error
    growth = ratio * ratio
    return growth if math.isfinite(growth) else None
