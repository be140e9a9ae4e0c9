"""Metrics of predictions on the test samples: of each fold, and of all folds together, beside the baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.training.baselines import BaselineOutputs, predict_baselines
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.validation.evaluation_result import Interval
from ktrdr.core.validation.fold_plan import FoldPlan, FoldRows, Segment
from ktrdr.core.validation.fold_predictions import SymbolPredictions, rows_between
from ktrdr.core.validation.intervals import metric_intervals

__all__ = ["Judge", "Samples", "common_samples", "outputs_at", "path_baselines"]

Rows = Mapping[str, np.ndarray]
"""Int64 ascending rows of each symbol's own base bars, by symbol."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples to judge predictions on, symbol after symbol.

    Attributes:
        rows: the samples, by symbol.
        truth: ``(m,)`` labels: int64 class numbers, or float64 values.
        position: int64 ``(m,)`` positions of their bars on the timeline.
    """

    rows: Rows
    truth: np.ndarray
    position: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Computes metrics on samples.

    Attributes:
        classes: of a classification; empty for a regression.
        labels: labels of all bars, by symbol.
        times: opens of the base bars, by symbol.
        timeline: opens of the bars of all symbols together.
        look_ahead: number of bars that a label looks ahead.
    """

    classes: Sequence[str]
    labels: Mapping[str, LabelSet]
    times: Mapping[str, np.ndarray]
    timeline: np.ndarray
    look_ahead: int

    def samples(self, rows: Rows) -> Samples:
        """Return the labels and positions of samples."""
        truth = np.concatenate([self.labels[symbol].values[own] for symbol, own in rows.items()])
        position = np.concatenate(
            [np.searchsorted(self.timeline, self.times[symbol][own]) for symbol, own in rows.items()]
        )
        return Samples(rows, truth.astype(np.int64) if self.classes else truth, position)

    def metrics(self, samples: Samples, predicted: BaselineOutputs) -> dict[str, Any]:
        """Return the metrics of predictions without tables and curves, which would fill the stored file."""
        if self.classes:
            found = evaluate_classification(samples.truth, predicted.outputs, self.classes, predicted=predicted.chosen)
        else:
            found = evaluate_regression(samples.truth, predicted.outputs)
        return {name: value for name, value in found.items() if isinstance(value, int | float)}

    def intervals(self, samples: Samples, outputs: Sequence[np.ndarray]) -> dict[str, Interval]:
        """Return the mean of the metrics of several models on the same samples, with intervals."""
        return metric_intervals(
            samples.truth, outputs, samples.position, classes=self.classes, look_ahead=self.look_ahead
        )


def outputs_at(rows: Rows, predictions: Mapping[str, SymbolPredictions]) -> np.ndarray:
    """Return the predictions of samples, symbol after symbol."""
    return np.concatenate([predictions[symbol].at(own) for symbol, own in rows.items()])


def common_samples(plan: FoldPlan, folds: Sequence[FoldRows], times: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the test samples that all paths predict, by symbol.

    The paths differ only where a symbol begins so late that some folds cannot train with it.

    Args:
        plan: the folds.
        folds: samples of each.
        times: opens of the base bars, by symbol.
    """
    common: dict[str, np.ndarray] = {}
    for path in plan.paths:
        parts = [_of_segment(folds[segment.fold - 1], plan, segment, times) for segment in path]
        for symbol in times:
            own = np.concatenate([part[symbol] for part in parts])
            common[symbol] = np.intersect1d(common[symbol], own, assume_unique=True) if symbol in common else own
    return common


def path_baselines(
    plan: FoldPlan,
    path: Sequence[Segment],
    folds: Sequence[FoldRows],
    samples: Rows,
    judge: Judge,
) -> dict[str, BaselineOutputs]:
    """Return the predictions of the baselines on a path: those of a bar are fitted on the training samples of its fold.

    Args:
        plan: the folds.
        path: segments of the path.
        folds: samples of each fold.
        samples: the samples to predict, by symbol.
        judge: labels and times.

    Returns:
        The predictions of each baseline, symbol after symbol.
    """
    outputs: dict[str, dict[str, list[np.ndarray]]] = {}
    chosen: dict[str, dict[str, list[np.ndarray]]] = {}
    for segment in path:
        own = {}
        for symbol, rows in samples.items():
            first, end = rows_between(plan, segment.start, segment.end, judge.times[symbol])
            own[symbol] = rows[np.searchsorted(rows, first) : np.searchsorted(rows, end)]
        if not any(len(rows) for rows in own.values()):
            continue
        for name, predicted in predict_baselines(judge.labels, folds[segment.fold - 1].train, own).items():
            for symbol, part in _split(predicted.outputs, own):
                outputs.setdefault(name, {}).setdefault(symbol, []).append(part)
            if predicted.chosen is not None:
                for symbol, part in _split(predicted.chosen, own):
                    chosen.setdefault(name, {}).setdefault(symbol, []).append(part)
    return {
        name: BaselineOutputs(_joined(found), _joined(chosen[name]) if name in chosen else None)
        for name, found in outputs.items()
    }


def _of_segment(
    rows: FoldRows, plan: FoldPlan, segment: Segment, times: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the test samples of a fold that lie in a segment of a path, by symbol."""
    found = {}
    for symbol, own in rows.test.items():
        first, end = rows_between(plan, segment.start, segment.end, times[symbol])
        found[symbol] = own[np.searchsorted(own, first) : np.searchsorted(own, end)]
    return found


def _split(values: np.ndarray, rows: Rows) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the values of each symbol."""
    start = 0
    for symbol, own in rows.items():
        yield symbol, values[start : start + len(own)]
        start += len(own)


def _joined(parts: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    return np.concatenate([part for own in parts.values() for part in own])
