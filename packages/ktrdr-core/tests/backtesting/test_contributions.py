"""Shares are asked for one window per row, whatever else lies between."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.backtesting.reasons import _contributions


class Sums:
    """Explains a row by the sums of the features over its window."""

    def __init__(self, window):
        self.window = window
        self.computed = 0

    def contributions(self, features):
        assert features.flags.c_contiguous
        assert features.dtype == np.float32
        shares = np.full((*features.shape, 2), np.nan)
        for row in range(self.window - 1, len(features)):
            window = features[row - self.window + 1 : row + 1]
            if np.isfinite(window).all():
                self.computed += 1
                shares[row] = window.sum(axis=0)[:, None] * [1, -1]
        return shares


@pytest.mark.parametrize("window", [1, 2, 20])
def test_every_row_has_its_own_window_and_no_other_is_computed(window):
    values = np.random.default_rng(0).random((300, 3), dtype=np.float32)
    rows = np.array([window - 1, window, 57, 58, 58, 200, 299])
    model = Sums(window)
    found = _contributions(model, window, values, rows)
    expected = [values[row - window + 1 : row + 1].sum(axis=0) for row in rows]
    np.testing.assert_allclose(found[:, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[:, :, 1], -np.array(expected), rtol=1e-6)
    assert model.computed == len(rows)
