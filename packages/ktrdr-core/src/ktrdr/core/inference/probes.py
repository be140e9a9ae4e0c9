"""Rows of features on which a twin is compared with its backend."""

from __future__ import annotations

import numpy as np

__all__ = ["probe_rows"]

_MOST_VALUES = 1 << 18
_MOST_OF_A_KIND = 256
_ROWS_AT_ONCE = 4_096
_FAR = (-1.0, 0.0, 1.0, 2.0)


def probe_rows(features: np.ndarray, rows: np.ndarray, judged: np.ndarray, window: int) -> np.ndarray:
    """Return the rows to compare predictions on: ordinary, extreme and far ones.

    They are windows of evenly spaced samples of ``judged``; of the samples with the smallest and the largest value of
    each feature; and of samples whose features are all at their smallest or largest value, or as far beyond these as
    they are apart, where no rule may fire. A row of NaN stands behind each part, so that no window mixes two of them.

    Args:
        features: float32 ``(n, features)``.
        rows: int64 ``(m,)``: the last row of the window of every sample.
        judged: int64 ``(k,)``: those of the validation part; if there are none, ``rows`` are taken.
        window: number of rows of a sample.

    Returns:
        float32 ``(probes, features)``. With many features or a long window there are fewer samples: they take about 1
        MiB, or as much as six of them if that is more.
    """
    most = max(_MOST_VALUES // (2 * features.shape[1] * (window + 1)), 1)
    ordinary = _spaced(judged if len(judged) else rows, min(most, _MOST_OF_A_KIND))
    low_rows, high_rows = _extremes(features, rows)
    columns = np.arange(features.shape[1])
    low, high = features[low_rows, columns], features[high_rows, columns]
    extremes = _spaced(np.unique([low_rows, high_rows]), min(most, _MOST_OF_A_KIND))
    parts = [features[last - window + 1 : last + 1] for last in (*ordinary, *extremes)]
    for share in _FAR:
        # In float64: the span of float32 numbers may overflow.
        far = low + share * (high.astype(np.float64) - low)
        parts.append(np.broadcast_to(_finite(far), (window, features.shape[1])))
    gap = np.full((1, features.shape[1]), np.nan, np.float32)
    return np.concatenate([each for part in parts for each in (part, gap)], dtype=np.float32)


def _extremes(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples with the smallest and the largest value of each feature, int64 ``(features,)`` each."""
    columns = np.arange(features.shape[1])
    low = high = np.full(len(columns), rows[0])
    # In blocks: the features may take most of the memory.
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        own = rows[start : start + _ROWS_AT_ONCE]
        block = features[own]
        least, most = own[block.argmin(axis=0)], own[block.argmax(axis=0)]
        low = np.where(features[least, columns] < features[low, columns], least, low)
        high = np.where(features[most, columns] > features[high, columns], most, high)
    return low, high


def _spaced(values: np.ndarray, most: int) -> np.ndarray:
    """Return at most ``most`` of the values, evenly spaced."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).astype(np.int64))]


def _finite(values: np.ndarray) -> np.ndarray:
    limit = np.finfo(np.float32).max
    return np.clip(values, -limit, limit).astype(np.float32)
