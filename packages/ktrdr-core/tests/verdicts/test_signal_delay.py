"""Signals that come later."""

from __future__ import annotations

import numpy as np
import pytest

from ktrdr.core.verdicts.signal_delay import delay_of, later_outputs


@pytest.mark.parametrize("shape", [(6,), (6, 3)])
@pytest.mark.parametrize("bars", [0, 1, 4, 6, 9])
def test_each_prediction_comes_as_many_bars_later(shape, bars):
    outputs = np.random.default_rng(0).random(shape)
    before = outputs.copy()
    found = later_outputs(outputs, bars)
    assert found.shape == shape
    for row in range(len(found)):
        expected = outputs[row - bars] if row >= bars else np.full(shape[1:], np.nan)
        np.testing.assert_array_equal(found[row], expected)
    np.testing.assert_array_equal(outputs, before)


def test_the_account_is_traded_with_a_delay_of_no_bar_and_of_one():
    found = delay_of({0: 1.5, 1: None}.__getitem__)
    assert (found.observed, found.later) == (1.5, None)
