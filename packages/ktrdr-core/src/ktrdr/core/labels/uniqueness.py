"""Sample weights for overlapping labels: labels that share prices are not independent observations."""

from __future__ import annotations

import numpy as np

__all__ = ["uniqueness_weights"]


def uniqueness_weights(span_end: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the average uniqueness of each sample's label among the labels of all samples.

    The label of row ``t`` depends on the returns of bars ``t + 1`` to ``span_end[t]``. A return that ``c`` labels
    depend on counts ``1 / c`` for each of them; the uniqueness of a sample is the mean of this over its returns.
    Formula: López de Prado, Advances in Financial Machine Learning (2018), sections 4.3 and 4.4, with concurrency as
    section 4.3 defines it, by common returns. O(n) by running sums.

    Args:
        span_end: int64 ``(n,)``, from the symbol's :class:`~ktrdr.core.labels.label_set.LabelSet`.
        rows: int64 ``(m,)`` distinct rows of the samples, in any order.

    Returns:
        float64 ``(m,)`` in (0, 1]; 1 for a label that shares no return with another. Weights are comparable between
        symbols; to make them sum to the number of samples, divide by the mean over all symbols.

    Raises:
        ValueError: a label ends at or before its row, or after the last bar.
    """
    if not len(rows):
        return np.empty(0)
    n = len(span_end)
    first, end = rows + 1, span_end[rows] + 1
    if (end <= first).any() or end.max() > n:
        raise ValueError("every sample's label must end after its row, and within the data")
    change = np.bincount(first, minlength=n + 1) - np.bincount(end, minlength=n + 1)
    labels_at = np.cumsum(change)[:n]
    shares = np.zeros(n + 1)
    np.divide(1.0, labels_at, out=shares[1:], where=labels_at > 0)
    np.cumsum(shares, out=shares)
    # Rounding of the running sums may give slightly more than 1.
    return np.minimum((shares[end] - shares[first]) / (end - first), 1.0)
