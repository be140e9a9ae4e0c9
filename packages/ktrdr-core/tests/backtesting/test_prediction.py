"""Which rows are predicted, and what a window needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.backtesting.prediction import predict
from ktrdr.core.errors import BadInputError
from ktrdr.core.features.columns import FeatureColumn, FeatureMatrix

COLUMNS = tuple(FeatureColumn(f"1h_{name}", "raw", "1h", name) for name in "ab")


class Summing:
    """Predicts the sum of the first column over its window."""

    input_size = 2

    def __init__(self, window: int) -> None:
        self.window = window
        self.calls: list[int] = []

    def predict(self, features: np.ndarray) -> np.ndarray:
        self.calls.append(len(features))
        outputs = np.full(len(features), np.nan)
        for row in range(self.window - 1, len(features)):
            outputs[row] = features[row - self.window + 1 : row + 1, 0].astype(np.float64).sum()
        return outputs


def matrix_of(values: np.ndarray) -> FeatureMatrix:
    time = np.datetime64("2020-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "h")
    return FeatureMatrix("EURUSD", time, values.astype(np.float32), COLUMNS)


@given(
    seed=st.integers(0, 1000), n=st.integers(5, 60), window=st.integers(1, 6), share=st.sampled_from([0.0, 0.05, 0.3])
)
def test_rows_are_complete_where_their_window_is(seed, n, window, share):
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (n, 2)).astype(np.float32)
    values[random.random(n) < share] = np.nan
    first = int(random.integers(0, n))
    wanted = [row >= window - 1 and not np.isnan(values[row - window + 1 : row + 1]).any() for row in range(first, n)]
    predictor = Summing(window)
    if not any(wanted):
        with pytest.raises(BadInputError, match="too short for its warm-up"):
            predict(predictor, matrix_of(values), first, "m/1")
        return
    outputs, complete = predict(predictor, matrix_of(values), first, "m/1")
    assert complete.tolist() == wanted
    assert np.isnan(outputs).tolist() == [not known for known in wanted]
    for row in np.flatnonzero(complete):
        at = first + row
        assert outputs[row] == pytest.approx(values[at - window + 1 : at + 1, 0].astype(np.float64).sum(), abs=1e-9)
    # One batch, and no more than it needs.
    assert predictor.calls == [n - max(first - window + 1, 0)]


def test_outputs_are_kept_if_a_plugin_uses_its_array_again():
    class Reusing(Summing):
        kept = np.zeros(9)

        def predict(self, features):
            self.kept[:] = super().predict(features)
            return self.kept

    predictor, values = Reusing(1), np.ones((9, 2))
    first, _ = predict(predictor, matrix_of(values), 0, "m/1")
    predict(predictor, matrix_of(2 * values), 0, "m/1")
    assert first.tolist() == [1.0] * 9
