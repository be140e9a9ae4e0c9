"""Metrics of predictions, as plain numbers for the manifest.

Every metric is defined for any input of at least one sample; where it would be 0 / 0, the docstring gives its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ktrdr.core.training.calibration import calibration

__all__ = [
    "accuracy",
    "confusion_scores",
    "correlation",
    "evaluate_classification",
    "evaluate_regression",
    "log_loss",
    "ranks",
    "rmse",
    "surprise",
]


def evaluate_classification(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    predicted: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the metrics of predicted class probabilities.

    Args:
        labels: ``(m,)`` class numbers, ``m`` at least 1.
        probabilities: float ``(m, k)``, rows sum to 1.
        classes: names of the ``k`` classes, in label order.
        predicted: ``(m,)`` predicted class numbers; by default the most probable class, the first of equals.

    Returns:
        - ``samples``: their number
        - ``accuracy``: fraction of right predictions
        - ``balanced_accuracy``: mean recall of the classes that occur among the labels
        - ``macro_f1``: mean F1 of the classes that occur among labels or predictions
        - ``mcc``: correlation of labels and predictions, -1 to 1 (Gorodkin, Comparing two K-category assignments by a
          K-category correlation coefficient, 2004); 0 if all labels or all predictions are equal
        - ``log_loss``: with the natural logarithm; a probability below 2.2e-16 counts as 2.2e-16
        - ``brier``: mean squared distance of the probabilities from 1 for the true class and 0 for the others, summed
          over classes, 0 to 2 (Brier, 1950)
        - ``calibration``: see :func:`~ktrdr.core.training.calibration.calibration`
        - ``per_class``: by class name ``precision`` (0 if never predicted), ``recall`` (0 if it never occurs), ``f1``
          (0 if neither), ``samples`` (number of labels) and ``predicted`` (number of predictions)
        - ``confusion_matrix``: counts, with a row per label and a column per prediction

    Raises:
        ValueError: there is no sample, a prediction is missing (NaN), or the shapes do not fit each other.
    """
    labels = np.asarray(labels, dtype=np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    m, k = len(labels), len(classes)
    if m == 0 or labels.shape != (m,) or probabilities.shape != (m, k):
        raise ValueError(
            f"cannot evaluate {probabilities.shape} probabilities of {k} classes with {labels.shape} labels"
        )
    if np.isnan(probabilities).any():
        raise ValueError(f"{int(np.isnan(probabilities).any(axis=1).sum())} of {m} samples have no prediction")
    chosen = probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted, dtype=np.int64)
    confusion = np.bincount(labels * k + chosen, minlength=k * k).reshape(k, k)
    scores = confusion_scores(confusion)
    hits, actual, chosen_count = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _share(hits, chosen_count), _share(hits, actual)
    f1 = _share(2 * hits, actual + chosen_count)
    at = np.arange(m)
    squared_distance = (probabilities**2).sum(axis=1) - 2 * probabilities[at, labels] + 1
    return {
        "samples": m,
        **{name: float(score) for name, score in scores.items()},
        "log_loss": log_loss(labels, probabilities),
        "brier": float(np.maximum(squared_distance, 0.0).mean()),
        "calibration": calibration(np.clip(probabilities[at, chosen], 0.0, 1.0), labels == chosen),
        "per_class": {
            name: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "samples": int(actual[number]),
                "predicted": int(chosen_count[number]),
            }
            for number, name in enumerate(classes)
        },
        "confusion_matrix": confusion.tolist(),
    }


def evaluate_regression(labels: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Return the metrics of predicted values.

    Args:
        labels: float ``(m,)``, ``m`` at least 1.
        predicted: float ``(m,)``.

    Returns:
        - ``samples``: their number
        - ``mae``, ``rmse``: mean absolute and root mean squared error, in units of the labels
        - ``r2``: fraction of the labels' variance that is explained; if all labels are equal, 1 if all predictions are
          exact and 0 otherwise
        - ``directional_accuracy``: fraction of the nonzero labels whose sign is predicted; a prediction of 0 has no
          sign. 0 if all labels are 0
        - ``information_coefficient``: Spearman's rank correlation of labels and predictions, with the mean rank for
          equal values; 0 if all labels or all predictions are equal
        - ``pearson``: linear correlation; 0 if all labels or all predictions are equal

    Raises:
        ValueError: there is no sample, a prediction is missing (NaN), or the shapes do not fit each other.
    """
    labels = np.asarray(labels, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    m = len(labels)
    if m == 0 or labels.shape != (m,) or predicted.shape != (m,):
        raise ValueError(f"cannot evaluate {predicted.shape} predictions with {labels.shape} labels")
    if np.isnan(predicted).any():
        raise ValueError(f"{int(np.isnan(predicted).sum())} of {m} samples have no prediction")
    moved = labels != 0.0
    return {
        "samples": m,
        "mae": float(np.abs(predicted - labels).mean()),
        "rmse": rmse(labels, predicted),
        "r2": _r2(labels, predicted),
        "directional_accuracy": float((np.sign(predicted) == np.sign(labels))[moved].mean()) if moved.any() else 0.0,
        "information_coefficient": correlation(ranks(labels), ranks(predicted)),
        "pearson": correlation(labels, predicted),
    }


def confusion_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics that follow from counts: ``accuracy``, ``balanced_accuracy``, ``macro_f1`` and ``mcc``.

    :func:`evaluate_classification` defines them.

    Args:
        confusion: ``(..., k, k)`` counts of any number of samples, with a row per label and a column per prediction;
            at least one sample in each matrix. Counts up to 90 million samples are exact.

    Returns:
        float64 ``(...)`` by name.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    actual, chosen = counts.sum(axis=-1), counts.sum(axis=-2)
    m, right = actual.sum(axis=-1), hits.sum(axis=-1)
    covariance = right * m - (actual * chosen).sum(axis=-1)
    spread = (m * m - (actual * actual).sum(axis=-1)) * (m * m - (chosen * chosen).sum(axis=-1))
    return {
        "accuracy": right / m,
        "balanced_accuracy": _share(hits, actual).sum(axis=-1) / (actual > 0).sum(axis=-1),
        "macro_f1": _share(2 * hits, actual + chosen).sum(axis=-1) / (actual + chosen > 0).sum(axis=-1),
        "mcc": _share(covariance, np.sqrt(spread)),
    }


def surprise(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the negative logarithm of the probability of each label, float64 ``(m,)``: its mean is the log loss."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64, copy=False)
    # + 0.0: a perfect prediction costs 0, not -0.
    logarithms: np.ndarray = -np.log(np.clip(given, np.finfo(np.float64).eps, 1.0)) + 0.0
    return logarithms


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative logarithm of the probability of each label; see :func:`evaluate_classification`."""
    return float(surprise(labels, probabilities).mean())


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the fraction of labels that are the most probable class; see :func:`evaluate_classification`."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def rmse(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root mean squared error, in units of the labels."""
    return float(np.sqrt(np.square(predicted - labels, dtype=np.float64).mean()))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


def _r2(labels: np.ndarray, predicted: np.ndarray) -> float:
    error = float(np.square(predicted - labels).sum())
    # Rounding may make the variance of equal numbers nonzero, so the numbers themselves are compared.
    spread = 0.0 if labels.min() == labels.max() else float(np.square(labels - labels.mean()).sum())
    if spread == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / spread


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the linear correlation; 0 if all values of one side are equal."""
    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    # Scaled before squaring, because products of very small returns would underflow.
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0; equal values get their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[places]
