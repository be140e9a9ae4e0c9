"""Evaluation of a model on one part of the data, with predictions made as in a backtest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.plugins.contract import Predictor, TrainingTask
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.training.importance import JudgedSamples
from ktrdr.core.work.cancellation import Cancellation

__all__ = ["evaluate_part", "judged_samples", "predict_rows"]

# Small enough to react to a cancellation soon, large enough that checking for it costs nothing.
_ROWS_AT_ONCE = 1 << 14


def judged_samples(
    features: np.ndarray,
    first_row: Mapping[str, int],
    rows: Mapping[str, np.ndarray],
    labels: Mapping[str, LabelSet],
) -> tuple[JudgedSamples, ...]:
    """Return the samples of one part, one entry per symbol; symbols without samples are left out.

    Args:
        features: float32 ``(n, columns)``, rows of all symbols one after another.
        first_row: row of ``features`` at which each symbol begins.
        rows: int64 ``(m,)`` ascending rows of each symbol's own bars.
        labels: labels of all bars, by symbol.
    """
    found = []
    for symbol, own in rows.items():
        if not len(own):
            continue
        start, values = first_row[symbol], labels[symbol].values
        truth = values[own].astype(np.int64) if labels[symbol].classes else values[own]
        found.append(JudgedSamples(features[start : start + len(values)], own, truth))
    return tuple(found)


def predict_rows(
    predictor: Predictor, features: np.ndarray, rows: np.ndarray, cancellation: Cancellation | None = None
) -> np.ndarray:
    """Return the predictions for some rows of one symbol, made in blocks.

    Args:
        predictor: the model.
        features: float32 ``(n, columns)``, consecutive base bars of the symbol.
        rows: int64 ``(m,)`` ascending rows, at least one.
        cancellation: checked before each block.

    Returns:
        float64 ``(m, classes)`` probabilities or ``(m,)`` values.
    """
    found = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        if cancellation is not None:
            cancellation.raise_if_requested()
        block = rows[start : start + _ROWS_AT_ONCE]
        first, last = int(block[0]) - (predictor.window - 1), int(block[-1])
        found.append(predictor.predict(features[first : last + 1])[block - first])
    return np.concatenate(found)


def evaluate_part(
    predictor: Predictor,
    samples: Sequence[JudgedSamples],
    task: TrainingTask,
    cancellation: Cancellation | None = None,
) -> dict[str, Any]:
    """Return the metrics of one part over all symbols; ``samples`` must not be empty."""
    truth = np.concatenate([part.labels for part in samples])
    outputs = np.concatenate([predict_rows(predictor, part.features, part.rows, cancellation) for part in samples])
    if task.output == "classification":
        return evaluate_classification(truth, outputs, task.classes)
    return evaluate_regression(truth, outputs)
