"""Baselines use only the training labels and the labels that are known at the time."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.sample import sample_bars
from ktrdr.core.labels.make import LabelSet, make_labels
from ktrdr.core.strategy.model import CLASSES, DataSplit, Labels
from ktrdr.core.training.baselines import evaluate_baselines, last_settled
from ktrdr.core.training.evaluation import evaluate_classification, evaluate_regression
from ktrdr.core.training.split import SymbolSplit, split_rows

ZIGZAG = Labels(source="zigzag", parameters={"zigzag_threshold": 0.004, "label_lookahead": 20})
RETURN = Labels(source="forward_return", parameters={"horizon": 5})


def split_of(train: list[int], validation: list[int], test: list[int]) -> SymbolSplit:
    parts = {"train": train, "validation": validation, "test": test}
    return SymbolSplit(**{part: np.array(rows, dtype=np.int64) for part, rows in parts.items()}, ranges={})


def labels_of(values: list[float], ahead: int = 1, classes: tuple[str, ...] = CLASSES) -> LabelSet:
    n = len(values)
    return LabelSet(np.array(values, dtype=np.float64), np.minimum(np.arange(n) + ahead, n - 1), ahead, classes)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), ahead=st.integers(1, 8))
def test_last_settled_equals_a_search_at_every_bar(seed: int, n: int, ahead: int):
    random = np.random.default_rng(seed)
    rows = np.arange(n)
    span_end = np.minimum(rows + random.integers(1, ahead + 1, n), n - 1)
    values = random.random(n)
    values[(span_end <= rows) | (random.random(n) < 0.2)] = math.nan
    known = last_settled(LabelSet(values, span_end, ahead, ()))
    for bar in range(n):
        settled = [row for row in range(n) if not math.isnan(values[row]) and span_end[row] <= bar]
        np.testing.assert_equal(known[bar], values[settled[-1]] if settled else math.nan)


@pytest.mark.parametrize("section", [ZIGZAG, RETURN])
def test_what_is_known_at_a_bar_does_not_change_with_later_bars(section: Labels):
    bars = sample_bars()[:1500]
    whole = last_settled(make_labels(section, bars))
    for cut in (0, 6, 300, 1234):
        np.testing.assert_array_equal(last_settled(make_labels(section, bars[: cut + 1])), whole[: cut + 1])


def test_the_last_known_return_is_that_of_the_bars_before():
    bars = sample_bars()[:200]
    known = last_settled(make_labels(RETURN, bars))
    np.testing.assert_allclose(known[5:], bars.close[5:] / bars.close[:-5] - 1, rtol=1e-12)
    assert np.isnan(known[:5]).all()


def test_classification_by_hand():
    # Trained on rows 0 to 6, judged on rows 9 to 11, and 13 to 14.
    values = [0, 1, 1, 1, 2, 1, 1, 1, math.nan, 1, 1, 2, math.nan, 0, 0, math.nan]
    labels, split = labels_of(values), split_of(list(range(7)), [9, 10, 11], [13, 14])
    found = evaluate_baselines({"X": labels}, {"X": split})
    assert list(found) == ["majority", "last_value"]
    frequencies = np.array([1, 5, 1]) / 7
    for part, truth in (("validation", [1, 1, 2]), ("test", [0, 0])):
        expected = evaluate_classification(np.array(truth), np.tile(frequencies, (len(truth), 1)), CLASSES)
        assert found["majority"][part] == expected
    # Before row 0 nothing is known: the majority, HOLD, is predicted, and wrong. After: right at rows 2, 3 and 6.
    assert found["last_value"]["validation"]["confusion_matrix"] == [[0, 0, 0], [0, 2, 0], [0, 1, 0]]
    assert found["last_value"]["test"]["confusion_matrix"] == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]
    right = (3 + 1) / (7 + 2)
    rest = (1 - right) * 1 / 2
    expected_loss = -(2 * math.log(right) + math.log(rest)) / 3
    assert found["last_value"]["validation"]["log_loss"] == pytest.approx(expected_loss)


def test_regression_by_hand():
    labels = labels_of([1.0, 2.0, 3.0, 4.0, 5.0, math.nan], 1, ())
    found = evaluate_baselines({"X": labels}, {"X": split_of([0, 1], [2, 3], [4])})
    assert list(found) == ["mean", "last_value"]
    assert found["mean"]["validation"] == evaluate_regression(np.array([3.0, 4.0]), np.array([1.5, 1.5]))
    assert found["last_value"]["validation"] == evaluate_regression(np.array([3.0, 4.0]), np.array([2.0, 3.0]))
    assert found["last_value"]["test"]["mae"] == 1.0


def test_several_symbols_are_judged_together_and_each_by_its_own_past():
    values = {"A": [0.0, 0.0, 0.0, 0.0, 0.0, math.nan], "B": [2.0, 2.0, 2.0, 2.0, math.nan]}
    splits = {"A": split_of([0, 1], [2], [3, 4]), "B": split_of([0, 1], [2], [3])}
    found = evaluate_baselines({name: labels_of(own) for name, own in values.items()}, splits)
    assert found["last_value"]["validation"]["confusion_matrix"] == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert found["last_value"]["test"]["accuracy"] == 1.0
    assert found["majority"]["test"]["samples"] == 3
    assert found["majority"]["test"]["log_loss"] == pytest.approx(math.log(2))


def test_a_part_without_samples_is_absent():
    labels = labels_of([0.0, 1.0, 2.0, 1.0, math.nan])
    assert set(evaluate_baselines({"X": labels}, {"X": split_of([0, 1], [2, 3], [])})["majority"]) == {"validation"}
    assert evaluate_baselines({"X": labels}, {"X": split_of([0, 1], [], [])}) == {}


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_training_labels_of_one_value_are_allowed(classes: tuple[str, ...]):
    labels = labels_of([1.0, 1.0, 1.0, 2.0, 0.0, math.nan], 1, classes)
    found = evaluate_baselines({"X": labels}, {"X": split_of([0, 1], [2, 3], [4])})
    json.dumps(found, allow_nan=False)
    assert all(part["samples"] > 0 for parts in found.values() for part in parts.values())


@pytest.mark.parametrize("section", [ZIGZAG, RETURN])
def test_on_the_sample(section: Labels):
    bars = sample_bars()
    labels = make_labels(section, bars)
    split = split_rows("EURUSD", np.ones(len(bars), dtype=np.bool_), labels, DataSplit(), embargo=0.01)
    found = evaluate_baselines({"EURUSD": labels}, {"EURUSD": split})
    json.dumps(found, allow_nan=False)
    for parts in found.values():
        assert parts["validation"]["samples"] == len(split.validation)
        assert parts["test"]["samples"] == len(split.test)
    if labels.classes:
        # Frequencies are the best constant probabilities, where the future is like the past.
        assert found["majority"]["validation"]["log_loss"] < math.log(3)
        assert found["majority"]["validation"]["mcc"] == 0.0
    else:
        # Nothing to be had from the last return: returns do not repeat.
        assert abs(found["mean"]["test"]["r2"]) < 0.05
        assert found["last_value"]["test"]["r2"] < found["mean"]["test"]["r2"]
