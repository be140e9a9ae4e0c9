"""The axis of time has no room for closed markets, and thinning keeps what a person looks for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.report.figures import monthly_figure, plain
from ktrdr.core.report.timeline import Timeline


def opens(n: int, seed: int, step: str = "1h") -> np.ndarray:
    """Return opens of bars with gaps between them, as weekends and holidays leave them."""
    gaps = np.random.default_rng(seed).choice([1, 1, 1, 1, 49], n)
    return np.datetime64("2020-01-01", "ns") + np.cumsum(gaps) * np.timedelta64(int(step[:-1]), step[-1])


@given(n=st.integers(1, 3000), most=st.integers(4, 400), seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_thinning_keeps_end_and_extremes_of_every_place(n: int, most: int, seed: int, share: float):
    random = np.random.default_rng(seed)
    values = random.normal(size=n)
    values[random.random(n) < share / 2] = np.nan
    timeline = Timeline.of(opens(n, seed), most)
    kept = timeline.thin(values)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 3 * most + 1 or timeline.width == 1
    assert kept[:1].tolist() == np.flatnonzero(~np.isnan(values))[:1].tolist()
    assert not np.isnan(values[kept]).any()
    for start in range(0, n, timeline.width):
        known = start + np.flatnonzero(~np.isnan(values[start : start + timeline.width]))
        if len(known):
            inside = kept[kept // timeline.width == start // timeline.width]
            assert values[inside].min() == values[known].min()
            assert values[inside].max() == values[known].max()
            assert inside[-1] == known[-1]


@given(n=st.integers(1, 2000), most=st.integers(1, 500), seed=st.integers(0, 1000))
def test_bars_follow_each_other_without_room_for_a_weekend(n: int, most: int, seed: int):
    """A line from one bar to the next never crosses time in which there is no bar."""
    time = opens(n, seed)
    timeline = Timeline.of(time, most)
    places = timeline.places(time)
    assert places[0] == 0
    assert set(np.diff(places).tolist()) <= {0, 1}
    assert places[-1] + 1 == len(timeline.labels) <= most
    assert len(set(timeline.labels)) == len(timeline.labels)
    assert np.bincount(places)[:-1].tolist() == [timeline.width] * (len(timeline.labels) - 1)


@given(n=st.integers(1, 800), most=st.integers(1, 100), seed=st.integers(0, 1000), share=st.floats(0.05, 1))
def test_candles_equal_the_slow_ones(n: int, most: int, seed: int, share: float):
    """Of a symbol that has some of the bars of all symbols together."""
    random = np.random.default_rng(seed)
    timeline = Timeline.of(opens(n, seed), most)
    rows = np.flatnonzero(random.random(n) < share) if share < 1 else np.arange(n)
    rows = rows if len(rows) else np.array([0])
    prices = {name: random.normal(100, 5, len(rows)) for name in ("open", "high", "low", "close")}
    places, candles = timeline.candles({"time": timeline.time[rows], **prices})
    assert places.tolist() == sorted(set((rows // timeline.width).tolist()))
    for place, *candle in zip(places, *candles.values(), strict=True):
        own = np.flatnonzero(rows // timeline.width == place)
        ends = (prices["open"][own[0]], prices["high"][own].max(), prices["low"][own].min(), prices["close"][own[-1]])
        assert tuple(candle) == ends


def test_daily_bars_have_no_hour():
    time = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]").astype("datetime64[ns]")
    assert Timeline.of(time, 100).labels == ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]
    assert Timeline.of(time + np.timedelta64(90, "m"), 2).labels == ["2020-01-01 01:30", "2020-01-03 01:30"]


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
