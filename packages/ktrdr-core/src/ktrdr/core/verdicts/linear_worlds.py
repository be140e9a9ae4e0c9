"""Worlds of bars that keep the autocorrelation of returns: what a linear rule finds in a market, it finds in them.

They are shown beside the null worlds, and are no test of an edge. Both put the bars of the market in another order, so
sizes and forms of the bars are those of the market.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from ktrdr.core.training.evaluation import ranks
from ktrdr.core.validation.intervals import block_length, reach_of

__all__ = ["block_bootstrap", "block_size", "normal_scores", "order_like", "random_phases"]

# Fewer returns tell no reach of their dependence.
_FEWEST_RETURNS = 20


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Return numbers with the ranks of ``values`` and a normal distribution; equal values get equal numbers.

    Args:
        values: float64 ``(n,)``.

    Returns:
        float64 ``(n,)``.
    """
    distinct, places = np.unique((ranks(values) + 0.5) / len(values), return_inverse=True)
    return np.array([NormalDist().inv_cdf(share) for share in distinct.tolist()])[places]


def random_phases(scores: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Return a series with the same amplitude of each frequency, and other phases.

    Series that get the same phases keep their correlations with each other at every lag: D. Prichard and J. Theiler,
    "Generating Surrogate Data for Time Series with Several Simultaneously Measured Variables" (Physical Review Letters,
    1994).

    Args:
        scores: float64 ``(n,)``.
        phases: float64 ``(n // 2 + 1,)``: angles that are added, in radians. The first and, of an even number of
            values, the last one have no effect: the mean and the highest frequency have no phase.

    Returns:
        float64 ``(n,)``.
    """
    n = len(scores)
    turned = phases.copy()
    turned[0] = 0.0
    if n % 2 == 0:
        turned[-1] = 0.0
    return np.fft.irfft(np.fft.rfft(scores) * np.exp(1j * turned), n)


def order_like(series: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the order of bars in which their values have the ranks of ``series``.

    With a series of random phases of normal scores: J. Theiler, S. Eubank, A. Longtin, B. Galdrikian and J. D. Farmer,
    "Testing for Nonlinearity in Time Series: The Method of Surrogate Data" (Physica D, 1992).

    Args:
        series: float64 ``(n,)``.
        values: float64 ``(n,)``: the value of each bar.

    Returns:
        int64 ``(n,)``: the bar at each place.
    """
    order = np.empty(len(values), dtype=np.int64)
    order[np.argsort(series, kind="stable")] = np.argsort(values, kind="stable")
    return order


def block_size(returns: Sequence[np.ndarray], times: int) -> int:
    """Return the number of successive times of a block: see :mod:`ktrdr.core.validation.intervals`.

    The dependence is that of returns and that of their absolute values, whichever reaches further.

    Args:
        returns: float64 ``(n,)`` log returns of each symbol.
        times: number of times of the timeline.

    Returns:
        The length, at least 1.
    """
    long_enough = [values for values in returns if len(values) >= _FEWEST_RETURNS]
    reaches = [reach_of(each) for values in long_enough for each in (values, np.abs(values - values.mean()))]
    return block_length(times, 1, max(reaches, default=0.0))


def block_bootstrap(uniform: np.ndarray, times: int, length: int) -> np.ndarray:
    """Return the times of a circular block bootstrap: D. N. Politis and J. P. Romano (1992).

    Args:
        uniform: float64 random numbers in (0, 1], one for each block, so at least ``times / length``.
        times: number of times, at least 1.
        length: number of times of a block.

    Returns:
        int64 ``(times,)``: positions in ``0 <= position < times``; those of a block are successive, and the first
        follows the last.
    """
    starts = np.ceil(times * uniform[: math.ceil(times / length)]).astype(np.int64) - 1
    return (starts[:, None] + np.arange(length)).ravel()[:times] % times
