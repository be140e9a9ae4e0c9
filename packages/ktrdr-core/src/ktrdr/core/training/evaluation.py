"""How good predictions are, as plain numbers for the manifest.

Every metric is defined for every input of at least one sample: what would be 0 / 0 has the value its docstring gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ktrdr.core.training.calibration import calibration

__all__ = ["accuracy", "evaluate_classification", "evaluate_regression", "log_loss", "rmse"]


def evaluate_classification(
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    predicted: np.ndarray | None = None,
) -> dict[str, Any]:
    """Judge predicted probabilities of classes.

    Args:
        labels: ``(m,)`` class numbers, ``m`` at least 1.
        probabilities: float ``(m, k)``, rows sum to 1.
        classes: the ``k`` names, in label order.
        predicted: ``(m,)`` class numbers where they are not simply the most probable (of equals, the first).

    Returns:
        - ``samples``
        - ``accuracy``
        - ``balanced_accuracy``: mean recall of the classes that occur among the labels
        - ``macro_f1``: mean F1 of the classes that occur among labels or predictions
        - ``mcc``: correlation of labels and predictions, -1 to 1 (Gorodkin, Comparing two K-category assignments by a
          K-category correlation coefficient, 2004); 0 where either never changes
        - ``log_loss``: natural logarithm; probabilities below 2.2e-16 count as that
        - ``brier``: mean squared distance from the certain truth, summed over classes, 0 to 2 (Brier, 1950)
        - ``calibration``: see :func:`~ktrdr.core.training.calibration.calibration`
        - ``per_class``: per name ``precision`` (0 if never predicted), ``recall`` (0 if it never occurs), ``f1`` (0 if
          neither), ``samples`` (labels of this class) and ``predicted`` (how often)
        - ``confusion_matrix``: counts, a row per label and a column per prediction

    Raises:
        ValueError: there is no sample, a prediction is missing (NaN), or the shapes do not fit each other.
    """
    labels = np.asarray(labels, dtype=np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    m, k = len(labels), len(classes)
    if m == 0 or labels.shape != (m,) or probabilities.shape != (m, k):
        raise ValueError(f"cannot judge {probabilities.shape} probabilities of {k} classes by {labels.shape} labels")
    if np.isnan(probabilities).any():
        raise ValueError(f"{int(np.isnan(probabilities).any(axis=1).sum())} of {m} samples have no prediction")
    chosen = probabilities.argmax(axis=1) if predicted is None else np.asarray(predicted, dtype=np.int64)
    confusion = np.bincount(labels * k + chosen, minlength=k * k).reshape(k, k)
    hits, occur, given = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _share(hits, given), _share(hits, occur)
    f1 = _share(2 * hits, occur + given)
    at = np.arange(m)
    wrongness = (probabilities**2).sum(axis=1) - 2 * probabilities[at, labels] + 1
    return {
        "samples": m,
        "accuracy": float(hits.sum() / m),
        "balanced_accuracy": float(recall[occur > 0].mean()),
        "macro_f1": float(f1[occur + given > 0].mean()),
        "mcc": _mcc(confusion),
        "log_loss": log_loss(labels, probabilities),
        "brier": float(np.maximum(wrongness, 0.0).mean()),
        "calibration": calibration(np.clip(probabilities[at, chosen], 0.0, 1.0), labels == chosen),
        "per_class": {
            name: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "samples": int(occur[number]),
                "predicted": int(given[number]),
            }
            for number, name in enumerate(classes)
        },
        "confusion_matrix": confusion.tolist(),
    }


def evaluate_regression(labels: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """Judge predicted values.

    Args:
        labels: float ``(m,)``, ``m`` at least 1.
        predicted: float ``(m,)``.

    Returns:
        - ``samples``
        - ``mae``, ``rmse``: in units of the labels
        - ``r2``: share of the labels' variance that is explained; where they never vary, 1 if all are predicted
          exactly and 0 otherwise
        - ``directional_accuracy``: share of the labels that are not 0 whose sign is predicted; a prediction of 0 has no
          sign. 0 if all labels are 0
        - ``information_coefficient``: Spearman's rank correlation of labels and predictions, equals sharing their mean
          rank; 0 where either never varies
        - ``pearson``: linear correlation; 0 where either never varies

    Raises:
        ValueError: there is no sample, a prediction is missing (NaN), or the shapes do not fit each other.
    """
    labels = np.asarray(labels, dtype=np.float64)
    predicted = np.asarray(predicted, dtype=np.float64)
    m = len(labels)
    if m == 0 or labels.shape != (m,) or predicted.shape != (m,):
        raise ValueError(f"cannot judge {predicted.shape} predictions by {labels.shape} labels")
    if np.isnan(predicted).any():
        raise ValueError(f"{int(np.isnan(predicted).sum())} of {m} samples have no prediction")
    moved = labels != 0.0
    return {
        "samples": m,
        "mae": float(np.abs(predicted - labels).mean()),
        "rmse": rmse(labels, predicted),
        "r2": _r2(labels, predicted),
        "directional_accuracy": float((np.sign(predicted) == np.sign(labels))[moved].mean()) if moved.any() else 0.0,
        "information_coefficient": _correlation(_ranks(labels), _ranks(predicted)),
        "pearson": _correlation(labels, predicted),
    }


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean negative logarithm of the probability given to each label; see
    :func:`evaluate_classification`."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64, copy=False)
    # + 0.0: a perfect prediction costs 0, not -0.
    return float(-np.log(np.clip(given, np.finfo(np.float64).eps, 1.0)).mean()) + 0.0


def accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the share of labels that are the most probable class; see :func:`evaluate_classification`."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def rmse(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.square(predicted - labels, dtype=np.float64).mean()))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _mcc(confusion: np.ndarray) -> float:
    # In Python's integers: the products of the counts of a few million samples leave int64.
    m = int(confusion.sum())
    occur, given = confusion.sum(axis=1).tolist(), confusion.sum(axis=0).tolist()
    covariance = int(np.trace(confusion)) * m - sum(a * b for a, b in zip(occur, given, strict=True))
    spread = (m * m - sum(a * a for a in occur)) * (m * m - sum(b * b for b in given))
    return covariance / float(spread) ** 0.5 if spread else 0.0


def _r2(labels: np.ndarray, predicted: np.ndarray) -> float:
    error = float(np.square(predicted - labels).sum())
    # The mean of equal numbers need not be that number: they are compared, not their variance.
    spread = 0.0 if labels.min() == labels.max() else float(np.square(labels - labels.mean()).sum())
    if spread == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / spread


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if one.min() == one.max() or other.min() == other.max():
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    # Scaled before squaring: products of very small returns must not vanish.
    a, b = a / np.abs(a).max(), b / np.abs(b).max()
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0, equal values sharing the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[places]
