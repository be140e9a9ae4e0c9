"""Baseline predictions that a model must beat.

They are fitted on the training samples of all symbols, and evaluated on the same samples by the same metrics as the
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.training.split import SymbolSplit

__all__ = ["evaluate_baselines", "last_settled"]

_EVALUATED = ("validation", "test")


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
    parts = {part: _collect(labels, splits, part) for part in ("train", *_EVALUATED)}
    evaluate = _classification if classes else _regression
    evaluated = {part: evaluate(parts["train"], parts[part], classes) for part in _EVALUATED if len(parts[part][0])}
    names = next(iter(evaluated.values()), {})
    return {name: {part: metrics[name] for part, metrics in evaluated.items()} for name in names}


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


def _collect(labels: Mapping[str, LabelSet], splits: Mapping[str, SymbolSplit], part: str) -> _Samples:
    values, known = [], []
    for symbol, label_set in labels.items():
        rows = getattr(splits[symbol], part)
        values.append(label_set.values[rows])
        known.append(last_settled(label_set)[rows])
    return np.concatenate(values), np.concatenate(known)


def _classification(train: _Samples, evaluated: _Samples, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    frequencies = np.bincount(train[0].astype(np.int64), minlength=len(classes)) / len(train[0])
    majority = int(frequencies.argmax())
    right = _hit_rate(*train, majority)
    truth = evaluated[0].astype(np.int64)
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
        "majority": evaluate_classification(truth, np.tile(frequencies, (len(truth), 1)), classes),
        "last_value": evaluate_classification(truth, by_last[chosen], classes, predicted=chosen),
    }


def _hit_rate(truth: np.ndarray, known: np.ndarray, default: int) -> float:
    """Return the probability that the last known class is right, by Laplace's rule of succession."""
    hits = int((np.where(np.isnan(known), default, known) == truth).sum())
    return (hits + 1) / (len(truth) + 2)


def _regression(train: _Samples, evaluated: _Samples, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    mean = float(train[0].mean())
    return {
        "mean": evaluate_regression(evaluated[0], np.full(len(evaluated[0]), mean)),
        "last_value": evaluate_regression(evaluated[0], np.where(np.isnan(evaluated[1]), mean, evaluated[1])),
    }
