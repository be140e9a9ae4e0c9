"""Samples: the arrays a backend takes, of the rows that the split has chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.labels.uniqueness import uniqueness_weights
from ktrdr.core.plugins.contract import Split

__all__ = ["make_part", "weigh_samples"]


def make_part(
    rows: Mapping[str, np.ndarray],
    labels: Mapping[str, LabelSet],
    first_row: Mapping[str, int],
    weights: Mapping[str, np.ndarray] | None = None,
) -> Split:
    """Return the samples of one part of the data, symbol after symbol, each in order of time.

    Args:
        rows: per symbol, int64 rows of its own matrix.
        labels: per symbol, for all of its rows.
        first_row: per symbol, where its matrix begins in the matrix of all.
        weights: per symbol, float64 one for each of ``rows``; ``None`` weighs all samples alike.
    """
    dtype = np.int64 if next(iter(labels.values())).classes else np.float32
    count = sum(len(each) for each in rows.values())
    part = Split(np.empty(count, np.int64), np.empty(count, dtype), np.ones(count, np.float32))
    start = 0
    for symbol, own in rows.items():
        place = slice(start, start + len(own))
        part.rows[place] = own + first_row[symbol]
        part.labels[place] = labels[symbol].values[own]
        if weights is not None:
            part.weights[place] = weights[symbol]
        start += len(own)
    return part


def weigh_samples(rows: Mapping[str, np.ndarray], labels: Mapping[str, LabelSet]) -> dict[str, np.ndarray]:
    """Return per symbol float64 weights, of mean 1 over all symbols: the uniqueness of each sample's label.

    Args:
        rows: per symbol, int64 rows of the training samples.
        labels: per symbol, for all of its rows.
    """
    unique = {symbol: uniqueness_weights(labels[symbol].span_end, own) for symbol, own in rows.items()}
    mean = np.concatenate(list(unique.values())).mean()
    return {symbol: weights / mean for symbol, weights in unique.items()}
