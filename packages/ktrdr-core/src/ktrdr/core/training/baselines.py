"""Baseline predictions that a model must beat.

They are fitted on the training samples of all symbols, and evaluated on the same samples by the same metrics as the
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.training.split import SymbolSplit

__all__ = ["BaselineOutputs", "evaluate_baselines", "last_settled", "predict_baselines"]

_EVALUATED = ("validation", "test")


@dataclass(frozen=True, slots=True, eq=False)
class BaselineOutputs:
    """Predictions of a baseline.

    Attributes:
        outputs: float64 ``(m, classes)`` probabilities or ``(m,)`` values.
        chosen: int64 ``(m,)`` predicted classes; ``None`` where they are the most probable ones, or for values.
    """

    outputs: np.ndarray
    chosen: np.ndarray | None = None


def evaluate_baselines(
    labels: Mapping[str, LabelSet], splits: Mapping[str, SymbolSplit]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the metrics of the baselines.

    Baselines of a classification:

    - ``majority`` predicts the most frequent class of the training samples, with the frequencies of the classes as
      probabilities.
    - ``last_value`` predicts the class of the most recent label that is known at the time. Its probability is the
      fraction of training samples for which this is right (each outcome counted once more, so that it is never
      certain); the rest is divided among the other classes by their frequency.

    Baselines of a regression:

    - ``mean`` predicts the mean label of the training samples.
    - ``last_value`` predicts the most recent label that is known at the time: the last return of that length.

    Before any label is known, ``last_value`` predicts the same as the other baseline.

    Args:
        labels: labels of all bars, by symbol.
        splits: samples of each part, by symbol.

    Returns:
        name of the baseline -> ``validation`` and ``test`` -> metrics, as :func:`evaluate_classification` or
        :func:`evaluate_regression` returns them. A part without samples is absent.
    """
    classes = next(iter(labels.values())).classes
    train = {symbol: own.train for symbol, own in splits.items()}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for part in _EVALUATED:
        rows = {symbol: getattr(own, part) for symbol, own in splits.items()}
        if not any(len(own) for own in rows.values()):
            continue
        truth, _ = _collect(labels, rows)
        for name, predicted in predict_baselines(labels, train, rows).items():
            if classes:
                metrics = evaluate_classification(
                    truth.astype(np.int64), predicted.outputs, classes, predicted=predicted.chosen
                )
            else:
                metrics = evaluate_regression(truth, predicted.outputs)
            found.setdefault(name, {})[part] = metrics
    return found


def predict_baselines(
    labels: Mapping[str, LabelSet], train: Mapping[str, np.ndarray], judged: Mapping[str, np.ndarray]
) -> dict[str, BaselineOutputs]:
    """Return the predictions of the baselines of :func:`evaluate_baselines`, by name.

    Args:
        labels: labels of all bars, by symbol.
        train: int64 rows of the training samples, by symbol.
        judged: int64 rows of the samples to predict, by symbol; the predictions are symbol after symbol.
    """
    classes = next(iter(labels.values())).classes
    predict = _classification if classes else _regression
    return predict(_collect(labels, train), _collect(labels, judged), classes)


def last_settled(labels: LabelSet) -> np.ndarray:
    """Return the most recent label known at the close of each bar: float64 ``(n,)``, NaN before the first.

    This is the label of the latest row among the labels whose span has ended.
    """
    n = len(labels)
    rows = np.flatnonzero(labels.labelled)
    latest = np.full(n, -1)
    np.maximum.at(latest, labels.span_end[rows], rows)
    np.maximum.accumulate(latest, out=latest)
    return np.where(latest >= 0, labels.values[np.maximum(latest, 0)], np.nan)


_Samples = tuple[np.ndarray, np.ndarray]  # labels, and the most recent label known at each of them


def _collect(labels: Mapping[str, LabelSet], rows: Mapping[str, np.ndarray]) -> _Samples:
    values, known = [], []
    for symbol, own in rows.items():
        values.append(labels[symbol].values[own])
        known.append(last_settled(labels[symbol])[own])
    return np.concatenate(values), np.concatenate(known)


def _classification(train: _Samples, evaluated: _Samples, classes: tuple[str, ...]) -> dict[str, BaselineOutputs]:
    frequencies = np.bincount(train[0].astype(np.int64), minlength=len(classes)) / len(train[0])
    majority = int(frequencies.argmax())
    right = _hit_rate(*train, majority)
    chosen = np.where(np.isnan(evaluated[1]), majority, evaluated[1]).astype(np.int64)
    # Row c has the probabilities if class c is the last known label.
    by_last = np.empty((len(classes), len(classes)))
    for last in range(len(classes)):
        others = frequencies.copy()
        others[last] = 0.0
        rest = others.sum()
        by_last[last] = (1.0 - right) * (others / rest if rest else np.full(len(classes), 1 / (len(classes) - 1)))
        by_last[last, last] = right
    return {
        "majority": BaselineOutputs(np.tile(frequencies, (len(chosen), 1))),
        "last_value": BaselineOutputs(by_last[chosen], chosen),
    }


def _hit_rate(truth: np.ndarray, known: np.ndarray, default: int) -> float:
    """Return the probability that the last known class is right, by Laplace's rule of succession."""
    hits = int((np.where(np.isnan(known), default, known) == truth).sum())
    return (hits + 1) / (len(truth) + 2)


def _regression(train: _Samples, evaluated: _Samples, classes: tuple[str, ...]) -> dict[str, BaselineOutputs]:
    mean = float(train[0].mean())
    return {
        "mean": BaselineOutputs(np.full(len(evaluated[0]), mean)),
        "last_value": BaselineOutputs(np.where(np.isnan(evaluated[1]), mean, evaluated[1])),
    }
