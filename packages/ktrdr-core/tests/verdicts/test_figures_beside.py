"""Figures beside a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.verdicts.figures_beside import beside, probability_beside


@pytest.mark.parametrize(
    ("value", "limit", "form", "digits", "text"),
    [
        (1.2345, 3.0, "f", 2, "1.23"),
        (2.9999, 3.0, "f", 2, "2.9999"),
        (3.0, 3.0, "f", 2, "3.00"),
        (0.0500001, 0.05, "%", 1, "5.00001%"),
        (-0.00004, 0.0, "%", 1, "-0.004%"),
        (1234.5, 1.0, "f", 1, "1,234.5"),
    ],
)
def test_as_many_digits_as_tell_it_from_the_limit(value: float, limit: float, form: str, digits: int, text: str):
    assert beside(value, limit, form, digits) == text


@given(st.floats(-10, 10), st.floats(-10, 10) | st.sampled_from([1e-6, -1e-6, 1e-9]))
def test_a_figure_never_looks_like_a_limit_that_it_differs_from(limit: float, apart: float):
    value = limit + apart
    text = beside(value, limit)
    digits = len(text.partition(".")[2])
    assert digits >= 2
    assert float(text) == pytest.approx(value, abs=0.51 * 10**-digits)
    if abs(value - limit) > 1e-10:
        assert text != f"{limit:.{digits}f}"
    # No digit more than that takes.
    if digits > 2:
        assert f"{abs(value):.{digits - 1}f}" == f"{abs(limit):.{digits - 1}f}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.71, "71.0%"), (0.99999, "over 99.9%"), (0.0, "under 0.1%"), (0.95, "95.0%"), (0.9499, "94.99%")],
)
def test_a_probability_is_never_shown_as_certain(value: float, text: str):
    assert probability_beside(value, 0.95) == text
