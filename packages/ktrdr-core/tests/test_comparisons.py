"""What counts as equal: decimals that are, whatever floats they come to, and nothing that a market can tell apart."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.comparisons import TOLERANCE, equal, highest_equal, lowest_equal, slack, steady

ticks = st.integers(1, 10_000_000)
decimals = st.integers(0, 10)


@given(price=ticks, move=st.integers(-1000, 1000), places=decimals)
def test_a_decimal_sum_reaches_its_decimal_and_no_more(price: int, move: int, places: int):
    """The sum of two prices, as floats add it, beside the price that the decimals add up to and its neighbours."""
    one, other, exact, next_up, next_down = (
        float(Decimal(each).scaleb(-places)) for each in (price, move, price + move, price + move + 1, price + move - 1)
    )
    level = one + other
    if price + move <= 0:
        return
    assert lowest_equal(level) <= exact <= highest_equal(level)
    assert next_up > highest_equal(level)
    assert next_down < lowest_equal(level)
    assert equal(np.array([level]), np.array([exact])).all()
    assert not equal(np.array([level, level]), np.array([next_up, next_down])).any()


def test_the_faults_that_floats_have():
    total, product = 1.1 + 0.1, 1.1 * 1.1
    assert total > 1.2
    assert total <= highest_equal(1.2)
    assert product != 1.21
    assert equal(np.array([product]), np.array([1.21])).all()


def test_levels_below_zero_are_no_special_case():
    """As oil has had: what is at or above -37.63 is so for both signs."""
    level = -37.63
    assert lowest_equal(level) < level < highest_equal(level)
    assert highest_equal(level) == pytest.approx(level * (1 - TOLERANCE), abs=1e-15)
    assert lowest_equal(0.0) == highest_equal(0.0) == 0.0


@pytest.mark.parametrize("level", [math.inf, -math.inf, math.nan])
def test_a_level_that_is_none_is_reached_by_nothing(level: float):
    assert math.isnan(lowest_equal(abs(level)))
    assert math.isnan(highest_equal(-abs(level)))
    assert not equal(np.array([level]), np.array([1.0])).any()
    assert not equal(np.array([level]), np.array([level])).any()


def test_floats_and_arrays_are_answered_alike():
    values = np.array([1.5, -2.0, 0.0])
    for function in (slack, lowest_equal, highest_equal):
        assert function(values).tolist() == [function(value) for value in values.tolist()]


@given(values=st.lists(st.sampled_from([1.2, 1.1 + 0.1, 1.3, math.nan, math.inf]), max_size=30))
def test_steady_keeps_what_equals_the_one_before(values: list[float]):
    given_ = np.array(values)
    found = steady(given_)
    assert len(found) == len(values)
    for row, value in enumerate(found.tolist()):
        # Nothing but rounding has changed, and what is equal in a row is one number.
        assert value == pytest.approx(values[row], rel=1e-12, nan_ok=True)
        if row and math.isfinite(value) and value == pytest.approx(found[row - 1], rel=1e-12):
            assert value == found[row - 1]
        # Of the past alone.
        np.testing.assert_array_equal(steady(given_[: row + 1]), found[: row + 1])
