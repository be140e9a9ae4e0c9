"""Ranks of columns, for correlations that few large values do not decide."""

from __future__ import annotations

import numpy as np

__all__ = ["rank_scores"]


def rank_scores(values: np.ndarray) -> np.ndarray:
    """Return the ranks of each column with mean 0 and standard deviation 1; equal values have their mean rank.

    The mean product of two columns is their rank correlation: C. Spearman, The Proof and Measurement of Association
    between Two Things (1904).

    Args:
        values: float ``(n, columns)`` without NaN.

    Returns:
        float64 ``(n, columns)``; 0 in a column whose values are all equal.
    """
    n = len(values)
    scores = np.zeros(values.shape)
    for column in range(values.shape[1]):
        _, place, count = np.unique(values[:, column], return_inverse=True, return_counts=True)
        last = np.cumsum(count)
        ranks = (last - (count - 1) / 2)[place] - (n + 1) / 2
        size = np.sqrt(np.mean(ranks**2)) if n else 0.0
        scores[:, column] = ranks / size if size > 0 else 0.0
    return scores
