"""Thinning keeps what a person looks for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.report.figures import monthly_figure, plain, run_length, thin


@given(n=st.integers(1, 3000), most=st.integers(4, 400), seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_thinning_keeps_ends_and_extremes(n: int, most: int, seed: int, share: float):
    random = np.random.default_rng(seed)
    values = random.normal(size=n)
    values[random.random(n) < share / 2] = np.nan
    kept = thin(values, most)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= max(most, 4) or n <= most
    if n <= most:
        assert len(kept) == n
        return
    width = run_length(n, most)
    for start in range(0, n, width):
        run = values[start : start + width]
        if not np.isnan(run).all():
            inside = kept[(kept >= start) & (kept < start + width)]
            assert np.nanmin(values[inside]) == np.nanmin(run)
            assert np.nanmax(values[inside]) == np.nanmax(run)
            assert start in inside
            assert min(start + width, n) - 1 in inside


@pytest.mark.parametrize("text", ["a<b>", "<a href='https://example.org'>x</a>", "&lt;", "R&D"])
def test_labels_have_no_tags(text: str):
    import html

    assert "<" not in plain(text)
    assert html.unescape(plain(text)) == text


def test_months_of_several_years():
    figure = monthly_figure({"2016-12": 0.01, "2017-01": -0.02, "2017-03": 0.0})
    (table,) = figure["data"]
    assert table["y"] == ["2016", "2017"]
    assert table["z"][0] == [None] * 11 + [0.01]
    assert table["z"][1][:4] == [-0.02, None, 0.0, None]
    assert table["text"][1][:4] == ["-2.0", "", "+0.0", ""]
