"""Rank scores: their mean product is the rank correlation."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import spearmanr

from ktrdr.core.verdicts.rank_numbers import rank_scores

VALUES = arrays.arrays(np.float64, st.tuples(st.integers(3, 40), st.just(2)), elements=st.integers(-4, 4).map(float))


@given(VALUES)
def test_equal_those_of_scipy(values: np.ndarray):
    scores = rank_scores(values)
    mean_product = float(np.mean(scores[:, 0] * scores[:, 1]))
    if (np.ptp(values, axis=0) > 0).all():
        expected = float(spearmanr(values[:, 0], values[:, 1]).statistic)
        np.testing.assert_allclose(mean_product, expected, atol=1e-12)
    else:
        assert mean_product == 0


def test_of_no_rows_are_none():
    assert rank_scores(np.empty((0, 3))).shape == (0, 3)
