"""Every sample has its own symbol's features and its own symbol's label."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.labels.label_set import LabelSet
from ktrdr.core.strategy.model import CLASSES
from ktrdr.core.training.preparation import make_part, weigh_samples


def label_set(values, ahead=1, classes=CLASSES):
    n = len(values)
    return LabelSet(np.array(values, float), np.minimum(np.arange(n) + ahead, n - 1), ahead, classes)


@pytest.fixture
def labels():
    return {"A": label_set([0, 1, 2, 1, np.nan]), "B": label_set([2, 2, np.nan])}


def test_rows_are_offset_and_labels_are_not_mixed_up(labels):
    part = make_part({"A": np.array([1, 3]), "B": np.array([0, 1])}, labels, {"A": 0, "B": 5})
    assert part.rows.tolist() == [1, 3, 5, 6]
    assert part.labels.tolist() == [1, 1, 2, 2]
    assert part.weights.tolist() == [1, 1, 1, 1]
    assert (part.rows.dtype, part.labels.dtype, part.weights.dtype) == (np.int64, np.int64, np.float32)


def test_values_are_float32_and_weights_follow_their_sample():
    labels = {"A": label_set([0.01, -0.02, np.nan], classes=()), "B": label_set([0.03, np.nan], classes=())}
    rows = {"A": np.array([0, 1]), "B": np.array([0])}
    part = make_part(rows, labels, {"A": 0, "B": 3}, {"A": np.array([1.0, 2.0]), "B": np.array([3.0])})
    assert part.labels.dtype == np.float32
    np.testing.assert_allclose(part.labels, [0.01, -0.02, 0.03], rtol=1e-6)
    assert part.weights.tolist() == [1, 2, 3]


def test_a_part_may_be_empty(labels):
    part = make_part({"A": np.empty(0, np.int64), "B": np.empty(0, np.int64)}, labels, {"A": 0, "B": 5})
    assert len(part) == 0


def test_weights_have_mean_one_and_overlapping_labels_weigh_less():
    labels = {"A": label_set([0] * 8 + [np.nan], ahead=1), "B": label_set([1] * 8 + [np.nan] * 4, ahead=4)}
    weights = weigh_samples({"A": np.arange(8), "B": np.arange(8)}, labels)
    assert np.concatenate(list(weights.values())).mean() == pytest.approx(1)
    assert weights["A"].min() > weights["B"].max()
