"""Feature engineering: normalizers fitted on the training rows, and the matrices of all symbols in one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping

import numpy as np

from ktrdr.core.features.columns import FeatureMatrix
from ktrdr.core.features.pipeline import FeaturePipeline

__all__ = ["first_rows", "fit_normalizers", "stack_symbols"]


def fit_normalizers(
    pipeline: FeaturePipeline, matrices: Mapping[str, FeatureMatrix], train_rows: Mapping[str, np.ndarray], window: int
) -> None:
    """Fit each symbol's normalizers on what the model sees of it in training, and on nothing else.

    Args:
        pipeline: is fitted.
        matrices: per symbol, not normalized.
        train_rows: per symbol, int64 rows of the training samples.
        window: rows of a sample; those before its last count as seen.

    Raises:
        BadInputError: a symbol has no training row.
    """
    seen = {}
    for symbol, rows in train_rows.items():
        mask = np.zeros(len(matrices[symbol].time), dtype=bool)
        for lag in range(window):
            mask[rows - lag] = True
        seen[symbol] = mask
    pipeline.fit(matrices, seen)


def first_rows(matrices: Iterable[FeatureMatrix]) -> dict[str, int]:
    """Return where each symbol begins in the matrix of all."""
    starts: dict[str, int] = {}
    row = 0
    for matrix in matrices:
        starts[matrix.symbol] = row
        row += len(matrix.time)
    return starts


def stack_symbols(pipeline: FeaturePipeline, matrices: MutableMapping[str, FeatureMatrix]) -> np.ndarray:
    """Normalize and return all symbols' rows one after another, float32 C-contiguous ``(n, features)``.

    Takes each matrix out of ``matrices`` when it is copied, so that no more than one is held twice.
    """
    if len(matrices) == 1:
        _, only = matrices.popitem()
        return pipeline.normalize(only).values
    rows = sum(len(matrix.time) for matrix in matrices.values())
    stacked = np.empty((rows, len(pipeline.columns)), dtype=np.float32)
    start = 0
    for symbol in list(matrices):
        matrix = pipeline.normalize(matrices.pop(symbol))
        stacked[start : start + len(matrix.time)] = matrix.values
        start += len(matrix.time)
    return stacked
