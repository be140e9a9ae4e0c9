"""The comparison of a twin with its backend, and the rows that it is made on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.errors import BadInputError
from ktrdr.core.inference.comparison import TOLERANCE, compare
from ktrdr.core.inference.portable_predictor import portable_predictor
from ktrdr.core.inference.probes import probe_rows
from ktrdr.core.inference.twin_error import TwinError


@dataclass
class Fixed:
    """Predicts what it is told to."""

    outputs: np.ndarray
    input_size: int = 2
    window: int = 1

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.outputs[: len(features)]


ROWS = np.zeros((3, 2), np.float32)
PROBABILITIES = np.array([[0.2, 0.8], [0.5, 0.5], [np.nan, np.nan]])
VALUES = np.array([1e-4, -3e-4, np.nan])


def test_equal_predictions_differ_by_nothing():
    found = compare(Fixed(PROBABILITIES), Fixed(PROBABILITIES), ROWS)
    assert (found.rows, found.difference) == (2, 0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_difference_of_a_probability_counts(sign):
    other = PROBABILITIES + np.array([[0, 0], [0.9e-6 * sign, 0], [0, 0]])
    assert compare(Fixed(PROBABILITIES), Fixed(other), ROWS).difference == pytest.approx(0.9e-6)
    other = PROBABILITIES + np.array([[0, 0], [1.1e-6 * sign, 0], [0, 0]])
    with pytest.raises(TwinError, match=r"a prediction differs by 1.1e-06 from the backend's, and 1e-06 is allowed"):
        compare(Fixed(PROBABILITIES), Fixed(other), ROWS)


def test_a_difference_of_values_is_relative_to_their_size():
    spread = 2e-4  # the standard deviation of the two values
    assert compare(Fixed(VALUES), Fixed(VALUES + [0.9e-6 * spread, 0, 0]), ROWS).difference == pytest.approx(0.9e-6)
    with pytest.raises(TwinError, match="differs by"):
        compare(Fixed(VALUES), Fixed(VALUES + [1.1e-6 * spread, 0, 0]), ROWS)
    # Relative to the value itself where that is larger.
    assert compare(Fixed(VALUES), Fixed(VALUES * [1, 1 + 0.9e-6, 1]), ROWS).difference == pytest.approx(0.9e-6)
    same = np.array([0.0, 0.0, 0.0])
    assert compare(Fixed(same), Fixed(same), ROWS).difference == 0
    with pytest.raises(TwinError, match="differs by inf"):
        compare(Fixed(same), Fixed(same + 1e-9), ROWS)


@pytest.mark.parametrize("other", [np.nan_to_num(PROBABILITIES), PROBABILITIES * [[1], [np.nan], [1]]])
def test_nan_elsewhere_is_refused(other):
    with pytest.raises(TwinError, match="2 of 6 outputs are missing in"):
        compare(Fixed(PROBABILITIES), Fixed(other), ROWS)


def test_another_shape_and_infinite_predictions_are_refused():
    with pytest.raises(TwinError, match=r"of shape \(3, 2\), the twin of \(3,\)"):
        compare(Fixed(PROBABILITIES), Fixed(VALUES), ROWS)
    with pytest.raises(TwinError, match="differs by inf"):
        compare(Fixed(VALUES), Fixed(np.array([1e-4, np.inf, np.nan])), ROWS)


def test_the_tolerance_is_that_of_the_documentation():
    assert TOLERANCE == 1e-6


@given(
    samples=st.integers(1, 400),
    judged=st.floats(0, 1),
    width=st.integers(1, 9),
    window=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_probes_are_windows_of_samples_with_extremes_and_far_rows(samples, judged, width, window, seed):
    features = np.random.default_rng(seed).normal(size=(samples + window - 1, width)).astype(np.float32)
    rows = np.arange(window - 1, len(features))
    part = rows[len(rows) - int(judged * len(rows)) :]
    probes = probe_rows(features, rows, part, window)
    assert probes.dtype == np.float32
    assert probes.nbytes <= 2**20
    gaps = np.flatnonzero(np.isnan(probes).all(axis=1))
    windows = np.split(probes, gaps + 1)[:-1]
    assert {len(each) - 1 for each in windows} == {window}
    last = np.array([each[-2] for each in windows])
    assert np.isfinite(last).all()
    # The samples of both ends of each feature are there, and all features at their ends and beyond.
    low, high = features[rows].min(axis=0), features[rows].max(axis=0)
    ordinary = last[:-4]
    np.testing.assert_array_equal(ordinary.min(axis=0), low)
    np.testing.assert_array_equal(ordinary.max(axis=0), high)
    span = high.astype(np.float64) - low
    np.testing.assert_array_equal(last[-4:], np.array([low - span, low, high, high + span]).astype(np.float32))
    # Every other window stands in the features as it is, and some are of the part that judges.
    starts = {features[at - window + 1 : at + 1].tobytes() for at in rows}
    assert all(each[:-1].tobytes() in starts for each in windows[:-4])
    if len(part):
        own = {features[at - window + 1 : at + 1].tobytes() for at in part}
        assert windows[0][:-1].tobytes() in own


def test_probes_of_many_features_and_a_long_window_stay_small():
    features = np.random.default_rng(1).normal(size=(3000, 500)).astype(np.float32)
    rows = np.arange(199, 3000)
    probes = probe_rows(features, rows, rows[:5], 200)
    assert probes.nbytes < 4 * 2**20
    assert np.isfinite(probes[:200]).all()


def test_far_probes_of_huge_features_are_finite():
    features = np.array([[-3e38, 0], [3e38, 0]], np.float32)
    probes = probe_rows(features, np.arange(2), np.arange(0), 1)
    assert np.isinf(probes).sum() == 0


def test_values_of_a_network_are_compared_in_units_of_the_labels(twins):
    graph, arrays = twins["gru"]()
    predictor = portable_predictor(graph, arrays)
    rows = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    predicted = predictor.predict(rows)
    assert predictor.unit == graph.nodes[-1].factor == 2.0
    size = np.maximum(np.maximum(np.abs(predicted), np.nanstd(predicted)), 2.0)
    found = compare(Fixed(predicted + 0.9e-6 * size, window=4), predictor, rows)
    assert found.difference == pytest.approx(0.9e-6, rel=1e-3)
    with pytest.raises(TwinError, match="differs by"):
        compare(Fixed(predicted + 1.1e-6 * size, window=4), predictor, rows)


def test_a_twin_does_not_decide_how_far_off_it_may_be(twins):
    graph, arrays = twins["gru"]()
    *layers, last = graph.nodes
    for name in ("score.weights", "score.bias"):
        arrays[name] = np.zeros_like(arrays[name])
    hostile = graph.model_copy(update={"nodes": (*layers, last.model_copy(update={"factor": 1e12, "offset": 5.0}))})
    rows = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    honest = np.where(np.arange(40) < 3, np.nan, np.random.default_rng(2).normal(0, 0.001, 40))
    with pytest.raises(TwinError, match="a prediction differs by"):
        compare(Fixed(honest, window=4), portable_predictor(hostile, arrays), rows)


@pytest.mark.parametrize("rows", [ROWS[:0], np.full((3, 2), np.nan, np.float32)])
def test_a_comparison_of_nothing_is_refused(rows):
    nothing = np.full((3, 2), np.nan)
    with pytest.raises(TwinError, match="none of the rows to compare on has a prediction"):
        compare(Fixed(nothing), Fixed(nothing), rows)


def test_a_twin_that_cannot_predict_is_refused():
    class Overflowing(Fixed):
        def predict(self, features):
            raise BadInputError("a prediction is not finite")

    with pytest.raises(
        TwinError, match="the twin cannot predict what the backend predicts: a prediction is not finite"
    ):
        compare(Fixed(PROBABILITIES), Overflowing(PROBABILITIES), ROWS)
