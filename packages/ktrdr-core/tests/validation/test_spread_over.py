"""The distribution of a metric, compared with the standard library."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.validation.spread import spread_over

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(values=st.lists(numbers | st.sampled_from([None, float("nan"), float("inf")]), min_size=1))
def test_equals_the_standard_library(values):
    known = [value for value in values if value is not None and abs(value) < 1e7]
    spread = spread_over(values)
    if not known:
        assert spread is None
        return
    assert spread is not None
    assert (spread.number, spread.min, spread.max) == (len(known), min(known), max(known))
    assert spread.mean == pytest.approx(statistics.fmean(known), abs=1e-6)
    assert spread.median == pytest.approx(statistics.median(known), abs=1e-6)
    if len(known) == 1:
        assert spread.sd == 0.0
        return
    assert spread.sd == pytest.approx(statistics.stdev(known), abs=1e-6)
    low, _, high = statistics.quantiles(known, n=4, method="inclusive")
    assert (spread.low, spread.high) == pytest.approx((low, high), abs=1e-6)
