"""Average uniqueness against the definition, return by return."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.labels.make import make_labels
from ktrdr.core.labels.uniqueness import uniqueness_weights
from ktrdr.core.strategy.model import Labels

Section = Callable[..., Labels]


def slow_uniqueness(span_end: np.ndarray, rows: np.ndarray) -> list[float]:
    concurrent = {bar: sum(row < bar <= span_end[row] for row in rows) for bar in range(len(span_end))}
    return [float(np.mean([1 / concurrent[bar] for bar in range(row + 1, span_end[row] + 1)])) for row in rows]


@given(data=st.data())
def test_equals_the_definition(data: st.DataObject):
    n = data.draw(st.integers(2, 40))
    ends = np.array([data.draw(st.integers(row + 1, n - 1)) if row < n - 1 else n - 1 for row in range(n)])
    rows = np.array(data.draw(st.lists(st.integers(0, n - 2), unique=True)), dtype=np.int64)
    weights = uniqueness_weights(ends, rows)
    np.testing.assert_allclose(weights, slow_uniqueness(ends, rows), rtol=1e-12)
    assert ((weights > 0) & (weights <= 1)).all()


def test_equals_the_definition_on_real_labels(eurusd: Bars, labels_section: Section):
    made = make_labels(labels_section("zigzag", zigzag_threshold=0.003), eurusd[:800])
    rows = np.flatnonzero(made.labelled)
    np.testing.assert_allclose(
        uniqueness_weights(made.span_end, rows), slow_uniqueness(made.span_end, rows), rtol=1e-12
    )


def test_labels_that_share_no_return_are_unique():
    # Next-bar labels: row t is made from the return of bar t + 1 alone.
    np.testing.assert_array_equal(uniqueness_weights(np.array([1, 2, 3, 3]), np.array([0, 1, 2])), 1.0)
    # Every third row of labels of three bars: they touch, and do not overlap.
    ends = np.minimum(np.arange(12) + 3, 11)
    np.testing.assert_allclose(uniqueness_weights(ends, np.array([0, 3, 6])), 1.0, rtol=1e-15)


def test_labels_of_a_fixed_horizon_share_every_return():
    horizon, n = 5, 60
    weights = uniqueness_weights(np.minimum(np.arange(n) + horizon, n - 1), np.arange(n - horizon))
    np.testing.assert_allclose(weights[horizon:-horizon], 1 / horizon, rtol=1e-12)
    # At the ends there are fewer neighbours to share with.
    assert weights[0] == pytest.approx(np.mean([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]))


def test_only_the_samples_count():
    ends = np.minimum(np.arange(10) + 4, 9)
    assert uniqueness_weights(ends, np.array([2]))[0] == 1.0
    assert uniqueness_weights(ends, np.array([], dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize("end", [1, 3])
def test_an_invalid_span_is_refused(end: int):
    with pytest.raises(ValueError, match="end after its row, and within the data"):
        uniqueness_weights(np.array([1, end, 2]), np.array([1]))
