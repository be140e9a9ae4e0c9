"""Samples are evaluated with the model's predictions for their own rows."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.errors import CancelledError
from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.plugins.contract import TrainingTask
from ktrdr.core.strategy.model import CLASSES
from ktrdr.core.training import part_evaluation
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.training.part_evaluation import evaluate_part, judged_samples, predict_rows
from ktrdr.core.work import Cancellation


class MeanOfWindow:
    """A predictor that can be checked by hand: the mean of the first column over its window, on one symbol's bars."""

    input_size = 2

    def __init__(self, window, classes=0):
        self.window = window
        self.classes = classes
        self.calls = []

    def predict(self, features):
        self.calls.append(len(features))
        n = len(features)
        values = np.full(n, np.nan)
        for row in range(self.window - 1, n):
            values[row] = features[row - self.window + 1 : row + 1, 0].mean()
        if not self.classes:
            return values
        return np.stack([values, (1 - values) / 2, (1 - values) / 2], axis=1)


def features_of(n):
    return np.random.default_rng(n).random((n, 2)).astype(np.float32)


def label_set(values, classes=()):
    n = len(values)
    return LabelSet(np.array(values, float), np.minimum(np.arange(n) + 1, n - 1), 1, classes)


@pytest.mark.parametrize("window", [1, 3])
def test_rows_get_the_prediction_they_have_among_all_rows(window):
    features, rows = features_of(30), np.array([5, 6, 9, 20])
    predictor = MeanOfWindow(window)
    found = predict_rows(predictor, features, rows)
    np.testing.assert_allclose(found, MeanOfWindow(window).predict(features)[rows])
    # No more than it needs.
    assert predictor.calls == [20 - 5 + window]


def test_blocks_make_no_difference_and_cancellation_is_checked_between_them(monkeypatch):
    monkeypatch.setattr(part_evaluation, "_ROWS_AT_ONCE", 4)
    features, rows = features_of(30), np.arange(3, 30, 2)
    predictor = MeanOfWindow(3, classes=3)
    whole = MeanOfWindow(3, classes=3).predict(features)[rows]
    np.testing.assert_allclose(predict_rows(predictor, features, rows), whole)
    assert len(predictor.calls) == 4

    class Stopping(MeanOfWindow):
        def predict(self, features):
            cancellation.cancel("enough")
            return super().predict(features)

    cancellation, stopping = Cancellation(), Stopping(3)
    with pytest.raises(CancelledError, match="enough"):
        predict_rows(stopping, features, rows, cancellation)
    assert len(stopping.calls) == 1


def test_samples_keep_to_their_symbol():
    features = features_of(10)
    labels = {"A": label_set([0, 1, 2, 0, 1, np.nan], CLASSES), "B": label_set([2, 2, 2, np.nan], CLASSES)}
    rows = {"A": np.array([1, 4]), "B": np.array([0, 2])}
    a, b = judged_samples(features, {"A": 0, "B": 6}, rows, labels)
    np.testing.assert_array_equal(a.features, features[:6])
    np.testing.assert_array_equal(b.features, features[6:])
    assert (a.labels.tolist(), b.labels.tolist(), a.labels.dtype) == ([1, 1], [2, 2], np.int64)
    none = {"A": np.empty(0, np.int64), "B": np.array([0])}
    assert len(judged_samples(features, {"A": 0, "B": 6}, none, labels)) == 1


def task(output):
    return TrainingTask("m", {}, output, CLASSES if output == "classification" else (), ("a", "b"), {})


def test_metrics_are_over_the_samples_of_all_symbols():
    features = features_of(10)
    rows = {"A": np.array([1, 4]), "B": np.array([0, 2])}
    labels = {"A": label_set([0, 1, 2, 0, 1, np.nan], CLASSES), "B": label_set([2, 2, 2, np.nan], CLASSES)}
    predictor = MeanOfWindow(1, classes=3)
    found = evaluate_part(predictor, judged_samples(features, {"A": 0, "B": 6}, rows, labels), task("classification"))
    outputs = predictor.predict(features)[[1, 4, 6, 8]]
    assert found == evaluate_classification(np.array([1, 1, 2, 2]), outputs, CLASSES)

    values = {"A": label_set([0.1, 0.2, 0.3, 0.4, 0.5, np.nan]), "B": label_set([0.6, 0.7, 0.8, np.nan])}
    found = evaluate_part(MeanOfWindow(1), judged_samples(features, {"A": 0, "B": 6}, rows, values), task("regression"))
    assert found == evaluate_regression(np.array([0.2, 0.5, 0.6, 0.8]), features[[1, 4, 6, 8], 0].astype(np.float64))
