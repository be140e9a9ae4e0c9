"""Metrics of predictions on the test samples: of each fold and seed, of the baselines, and of all folds together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.plugins.contract import OutputKind
from ktrdr.core.training.baselines import BaselineOutputs, predict_baselines
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.validation.fold_plan import FoldPlan, FoldRows, Segment
from ktrdr.core.validation.fold_predictions import SymbolPredictions, rows_between

__all__ = ["Judge", "plain_numbers"]


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Computes metrics on test samples.

    Attributes:
        output: kind of the predictions.
        classes: of a classification.
        labels: labels of all bars, by symbol.
    """

    output: OutputKind
    classes: Sequence[str]
    labels: Mapping[str, LabelSet]

    def truth(self, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the labels of samples, symbol after symbol: int64 class numbers, or float64 values."""
        values = np.concatenate([self.labels[symbol].values[own] for symbol, own in rows.items()])
        return values.astype(np.int64) if self.output == "classification" else values

    def outputs(self, rows: Mapping[str, np.ndarray], predictions: Mapping[str, SymbolPredictions]) -> np.ndarray:
        """Return the predictions of samples, symbol after symbol."""
        return np.concatenate([predictions[symbol].at(own) for symbol, own in rows.items()])

    def metrics(self, truth: np.ndarray, outputs: np.ndarray, chosen: np.ndarray | None = None) -> dict[str, Any]:
        """Return the metrics of predictions, as plain numbers.

        Args:
            truth: result of :meth:`truth`.
            outputs: predictions of the same samples.
            chosen: predicted classes; by default the most probable ones.
        """
        if self.output == "classification":
            return plain_numbers(evaluate_classification(truth, outputs, self.classes, predicted=chosen))
        return plain_numbers(evaluate_regression(truth, outputs))

    def baselines(self, rows: FoldRows, judged: Mapping[str, np.ndarray]) -> dict[str, BaselineOutputs]:
        """Return the predictions of the baselines, fitted on the training samples of a fold.

        Args:
            rows: samples of the fold.
            judged: the samples to predict, by symbol.
        """
        return predict_baselines(self.labels, rows.train, judged)


def rows_of_segment(
    rows: FoldRows, plan: FoldPlan, segment: Segment, times: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the test samples of a fold that lie in a segment of a path, by symbol."""
    found = {}
    for symbol, own in rows.test.items():
        first, end = rows_between(plan, segment.start, segment.end, times[symbol])
        found[symbol] = own[np.searchsorted(own, first) : np.searchsorted(own, end)]
    return found


def plain_numbers(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of ``metrics``; tables and curves of all trainings would fill the stored file."""
    return {name: value for name, value in metrics.items() if isinstance(value, int | float)}
