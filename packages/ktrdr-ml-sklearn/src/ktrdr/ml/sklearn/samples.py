"""Samples in the form for scikit-learn, and metrics of predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.errors import BadInputError
from ktrdr.core.plugins import Split, TrainingData, TrainingTask

__all__ = ["Samples", "accuracy", "log_loss", "mean_squared_error", "prepare"]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Training and validation samples.

    Attributes:
        x, x_val: float32 ``(m, features)``.
        y, y_val: int64 positions in ``seen``, or float64 values.
        w, w_val: float64 ``(m,)`` weights, including the class weights.
        seen: class numbers that occur in training, ascending; empty for regression. Validation samples of other
            classes are left out: the model cannot predict them.
    """

    x: np.ndarray
    y: np.ndarray
    w: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    w_val: np.ndarray
    seen: tuple[int, ...]


def prepare(task: TrainingTask, data: TrainingData) -> Samples:
    """Return the samples of the training and the validation part.

    Raises:
        BadInputError: there are no samples, or all of them are of one class.
    """
    if not len(data.train):
        raise BadInputError("there are no training samples; choose a longer date range or a larger training part")
    if task.output == "regression":
        x, y, w = _gather(data.features, data.train)
        x_val, y_val, w_val = _gather(data.features, data.validation)
        return Samples(x, y.astype(np.float64), w, x_val, y_val.astype(np.float64), w_val, ())

    counts = np.bincount(data.train.labels, minlength=len(task.classes))
    seen = np.flatnonzero(counts)
    if len(seen) < 2:
        raise BadInputError(
            f"every training label is {task.classes[seen[0]]}: there is nothing to tell apart; "
            "change the parameters of `training.labels`"
        )
    per_class = np.ones(len(counts))
    if task.settings["class_weights"] == "balanced":
        per_class[seen] = len(data.train) / (len(seen) * counts[seen])
    x, labels, w = _gather(data.features, data.train)
    known = _only(data.validation, np.isin(data.validation.labels, seen))
    x_val, labels_val, w_val = _gather(data.features, known)
    return Samples(
        x,
        np.searchsorted(seen, labels),
        w * per_class[labels],
        x_val,
        np.searchsorted(seen, labels_val),
        w_val * per_class[labels_val],
        tuple(int(number) for number in seen),
    )


def _gather(features: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return features[split.rows], split.labels, split.weights.astype(np.float64)


def _only(split: Split, which: np.ndarray) -> Split:
    return Split(split.rows[which], split.labels[which], split.weights[which])


def log_loss(y: np.ndarray, probabilities: np.ndarray, w: np.ndarray) -> float:
    """Return the weighted mean of ``-log p`` of the true class."""
    p = probabilities[np.arange(len(y)), y]
    return float(np.average(-np.log(np.clip(p, np.finfo(np.float64).tiny, None)), weights=w))


def accuracy(y: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of samples whose true class has the highest score."""
    return float(np.mean(scores.argmax(axis=1) == y))


def mean_squared_error(y: np.ndarray, values: np.ndarray, w: np.ndarray) -> float:
    """Return the weighted mean of the squared differences."""
    return float(np.average((y - values) ** 2, weights=w))
