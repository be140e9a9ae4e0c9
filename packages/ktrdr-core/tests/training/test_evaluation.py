"""Metrics compared with scikit-learn and scipy, and their values where those libraries have none."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from ktrdr.core.strategy.model import CLASSES
from ktrdr.core.training.calibration import calibration
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression

Classified = tuple[np.ndarray, np.ndarray]


@st.composite
def classified(draw: st.DrawFn) -> Classified:
    """Labels and probabilities; of the three classes some may never occur, or never be predicted."""
    m = draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 100_000)))
    labels = random.choice(draw(st.sampled_from([[0], [1], [0, 2], [0, 1, 2]])), m)
    scores = random.random((m, 3)) ** draw(st.sampled_from([0, 1, 6])) + 1e-12
    if draw(st.booleans()):
        scores[:, draw(st.integers(0, 2))] = 1e-9
    if draw(st.booleans()):
        scores[np.arange(m), labels] += 1
    return labels, scores / scores.sum(axis=1, keepdims=True)


@given(case=classified())
def test_classification_equals_scikit_learn(case: Classified):
    labels, probabilities = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = evaluate_classification(labels, probabilities, CLASSES)
    chosen = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        # It warns of classes that only occur on one side, and of a single class.
        warnings.simplefilter("ignore")
        expected = {
            "accuracy": metrics.accuracy_score(labels, chosen),
            "balanced_accuracy": metrics.balanced_accuracy_score(labels, chosen),
            "macro_f1": metrics.f1_score(labels, chosen, average="macro", zero_division=0),
            "mcc": metrics.matthews_corrcoef(labels, chosen),
            "log_loss": metrics.log_loss(labels, probabilities, labels=[0, 1, 2]),
            "brier": sum(np.mean((probabilities[:, c] - (labels == c)) ** 2) for c in range(3)),
        }
        table = metrics.precision_recall_fscore_support(labels, chosen, labels=[0, 1, 2], zero_division=0)
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    for number, name in enumerate(CLASSES):
        own = ours["per_class"][name]
        assert [own["precision"], own["recall"], own["f1"], own["samples"]] == pytest.approx(
            [column[number] for column in table]
        )
        assert own["predicted"] == (chosen == number).sum()
    assert ours["confusion_matrix"] == metrics.confusion_matrix(labels, chosen, labels=[0, 1, 2]).tolist()
    assert ours["samples"] == len(labels)
    json.dumps(ours, allow_nan=False)


def slow_calibration(confidence: np.ndarray, correct: np.ndarray) -> tuple[float, list[tuple[int, float, float]]]:
    error, bins = 0.0, []
    for place in range(10):
        low, high = place / 10, (place + 1) / 10
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (place == 0 and c == 0)]
        if not inside:
            continue
        sure, right = confidence[inside].mean(), correct[inside].mean()
        error += len(inside) / len(confidence) * abs(sure - right)
        bins.append((len(inside), sure, right))
    return error, bins


@given(
    pairs=st.lists(
        st.tuples(st.one_of(st.floats(0, 1), st.integers(0, 10).map(lambda k: k / 10)), st.booleans()), min_size=1
    )
)
def test_calibration_equals_its_definition(pairs: list[tuple[float, bool]]):
    confidence, correct = np.array([c for c, _ in pairs]), np.array([r for _, r in pairs])
    ours = calibration(confidence, correct)
    error, bins = slow_calibration(confidence, correct)
    assert ours["ece"] == pytest.approx(error, abs=1e-12)
    assert [(b["samples"], b["confidence"], b["accuracy"]) for b in ours["bins"]] == [
        pytest.approx(expected) for expected in bins
    ]
    assert all(b["above"] <= b["confidence"] + 1e-12 and b["confidence"] <= b["up_to"] + 1e-12 for b in ours["bins"])


def test_true_probabilities_are_calibrated_and_overconfident_ones_are_not():
    random = np.random.default_rng(3)
    honest = random.dirichlet([1, 1, 1], 40_000)
    labels = (honest.cumsum(axis=1) < random.random((len(honest), 1))).sum(axis=1)
    boastful = honest**4 / (honest**4).sum(axis=1, keepdims=True)
    first, second = (evaluate_classification(labels, p, CLASSES) for p in (honest, boastful))
    assert first["calibration"]["ece"] < 0.01 < 0.1 < second["calibration"]["ece"]
    assert first["accuracy"] == second["accuracy"]
    assert first["brier"] < second["brier"]
    assert first["log_loss"] < second["log_loss"]


def _certain(numbers: list[int]) -> np.ndarray:
    return np.eye(3)[numbers]


@pytest.mark.parametrize(
    ("labels", "predicted", "expected"),
    [
        # One sample, right and wrong.
        ([1], [1], {"accuracy": 1, "balanced_accuracy": 1, "macro_f1": 1, "mcc": 0, "log_loss": 0, "brier": 0}),
        ([1], [2], {"accuracy": 0, "balanced_accuracy": 0, "macro_f1": 0, "mcc": 0, "log_loss": 36.04365, "brier": 2}),
        # A constant prediction.
        ([0, 1, 2, 1], [1, 1, 1, 1], {"accuracy": 0.5, "balanced_accuracy": 1 / 3, "macro_f1": 2 / 9, "mcc": 0}),
        # SELL never occurs and is never predicted: it is left out of the means.
        ([0, 1, 0, 1], [0, 1, 1, 1], {"balanced_accuracy": 0.75, "macro_f1": (2 / 3 + 0.8) / 2}),
        # SELL never occurs, and is predicted.
        ([0, 1], [0, 2], {"balanced_accuracy": 0.5, "macro_f1": 1 / 3}),
    ],
)
def test_edges_of_classification(labels: list[int], predicted: list[int], expected: dict[str, float]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = evaluate_classification(np.array(labels), _certain(predicted), CLASSES)
    assert {name: ours[name] for name in expected} == pytest.approx(expected)


def test_a_class_that_is_neither_there_nor_predicted_has_zeros():
    ours = evaluate_classification(np.array([0, 1]), _certain([0, 1]), CLASSES)
    assert ours["per_class"]["SELL"] == {"precision": 0, "recall": 0, "f1": 0, "samples": 0, "predicted": 0}
    assert math.copysign(1, ours["log_loss"]) == 1


def test_predictions_may_differ_from_the_most_probable_class():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    ours = evaluate_classification(np.array([1, 0]), probabilities, CLASSES, predicted=np.array([1, 1]))
    assert ours["accuracy"] == 0.5
    assert ours["confusion_matrix"] == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert [b["confidence"] for b in ours["calibration"]["bins"]] == [0.3]
    assert ours["log_loss"] == pytest.approx(-(math.log(0.3) + math.log(0.5)) / 2)


def test_mcc_of_many_samples_does_not_overflow():
    labels = np.arange(300_000) % 3
    ours = evaluate_classification(labels, np.eye(3, dtype=np.float32)[labels], CLASSES)
    assert ours["mcc"] == 1.0


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.empty((0, 3)), "cannot evaluate"),
        ([0, 1], np.full((3, 3), 1 / 3), "cannot evaluate"),
        ([0, 1], np.full((2, 2), 1 / 2), "cannot evaluate"),
        ([0, 1], np.array([[1.0, 0, 0], [np.nan] * 3]), "1 of 2 samples have no prediction"),
    ],
)
def test_unusable_probabilities_are_refused(labels: list[int], probabilities: np.ndarray, message: str):
    with pytest.raises(ValueError, match=message):
        evaluate_classification(np.array(labels), probabilities, CLASSES)


@st.composite
def predicted_values(draw: st.DrawFn) -> Classified:
    m = draw(st.integers(2, 40))
    random = np.random.default_rng(draw(st.integers(0, 100_000)))
    labels = np.round(random.normal(0, 0.01, m), draw(st.sampled_from([2, 3, 12])))
    predicted = np.round(draw(st.sampled_from([0.0, 0.3, -1.0])) * labels + random.normal(0, 0.01, m), 3)
    return labels, predicted


@given(case=predicted_values())
def test_regression_equals_scikit_learn_and_scipy(case: Classified):
    labels, predicted = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = evaluate_regression(labels, predicted)
    expected = {
        "mae": metrics.mean_absolute_error(labels, predicted),
        "rmse": metrics.root_mean_squared_error(labels, predicted),
        "r2": metrics.r2_score(labels, predicted),
        "information_coefficient": 0.0,
        "pearson": 0.0,
    }
    if len(set(labels)) > 1 and len(set(predicted)) > 1:
        expected["information_coefficient"] = stats.spearmanr(labels, predicted).statistic
        expected["pearson"] = stats.pearsonr(labels, predicted).statistic
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    moves = [(y, p) for y, p in zip(labels, predicted, strict=True) if y != 0]
    right = sum((y > 0) == (p > 0) and p != 0 for y, p in moves)
    assert ours["directional_accuracy"] == pytest.approx(right / len(moves) if moves else 0.0)
    json.dumps(ours, allow_nan=False)


@pytest.mark.parametrize(
    ("labels", "predicted", "expected"),
    [
        # One sample.
        ([0.5], [0.5], {"r2": 1, "information_coefficient": 0, "pearson": 0, "directional_accuracy": 1}),
        ([0.5], [-0.5], {"r2": 0, "information_coefficient": 0, "pearson": 0, "directional_accuracy": 0}),
        # Constant predictions; 0.1 summed up and divided again is not 0.1.
        ([1, 2, 3], [0.1] * 3, {"information_coefficient": 0, "pearson": 0, "directional_accuracy": 1}),
        # Constant labels.
        ([0.1] * 3, [1, 2, 3], {"r2": 0, "information_coefficient": 0, "pearson": 0}),
        # No label moves.
        ([0, 0], [1, -1], {"directional_accuracy": 0, "r2": 0}),
        # Labels of 0 do not count, predictions of 0 are wrong.
        ([0, 1, 1, -1], [1, 0, 1, -1], {"directional_accuracy": 2 / 3}),
        # Returns so small that their squares vanish.
        ([1e-170, 2e-170, -1e-170], [1e-170, 2e-170, -1e-170], {"pearson": 1, "information_coefficient": 1}),
        # Any rising function of the labels has their ranks.
        ([1, 2, 3, 4], [1, 10, 100, 1000], {"information_coefficient": 1}),
    ],
)
def test_edges_of_regression(labels: list[float], predicted: list[float], expected: dict[str, Any]):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = evaluate_regression(np.array(labels, dtype=np.float64), np.array(predicted, dtype=np.float64))
    assert {name: ours[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [
        ([], [], "cannot evaluate"),
        ([1.0], [[1.0]], "cannot evaluate"),
        ([1.0, 2.0], [1.0, math.nan], "1 of 2 samples have no prediction"),
    ],
)
def test_unusable_values_are_refused(labels: list[float], predicted: list[Any], message: str):
    with pytest.raises(ValueError, match=message):
        evaluate_regression(np.array(labels), np.array(predicted))
