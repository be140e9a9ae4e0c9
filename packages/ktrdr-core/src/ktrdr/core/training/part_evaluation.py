"""Evaluation's first half: the model's predictions for the samples it is judged by, made as a backtest makes them."""

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

# So few that a request to stop is soon heard, so many that asking costs nothing.
_ROWS_AT_ONCE = 1 << 14


def judged_samples(
    features: np.ndarray,
    first_row: Mapping[str, int],
    rows: Mapping[str, np.ndarray],
    labels: Mapping[str, LabelSet],
) -> tuple[JudgedSamples, ...]:
    """Return the samples of one part per symbol; a symbol without any is absent.

    Args:
        features: float32, of all symbols one after another.
        first_row: per symbol, where it begins there.
        rows: per symbol, int64 rows of its own bars, ascending.
        labels: per symbol, of all its bars.
    """
    judged = []
    for symbol, own in rows.items():
        if not len(own):
            continue
        start, values = first_row[symbol], labels[symbol].values
        truth = values[own].astype(np.int64) if labels[symbol].classes else values[own]
        judged.append(JudgedSamples(features[start : start + len(values)], own, truth))
    return tuple(judged)


def predict_rows(
    predictor: Predictor, features: np.ndarray, rows: np.ndarray, cancellation: Cancellation | None = None
) -> np.ndarray:
    """Return predictions for ``rows``, ascending and at least one, of one symbol: float64 ``(m, classes)`` or ``(m,)``.

    Made in blocks; ``cancellation`` is looked at before each.
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
    """Return the metrics of one part, over all symbols; ``samples`` is not empty."""
    truth = np.concatenate([part.labels for part in samples])
    outputs = np.concatenate([predict_rows(predictor, part.features, part.rows, cancellation) for part in samples])
    if task.output == "classification":
        return evaluate_classification(truth, outputs, task.classes)
    return evaluate_regression(truth, outputs)
