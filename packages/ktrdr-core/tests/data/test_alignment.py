from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.alignment import visible_index
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe


def _slow_visible_index(base, other):
    """Walk the base bars, and for each all bars of the other timeframe."""
    result = []
    for base_open in base.time.tolist():
        base_close = base_open + base.timeframe.nanoseconds
        visible = -1
        for row, other_open in enumerate(other.time.tolist()):
            if other_open + other.timeframe.nanoseconds <= base_close:
                visible = row
        result.append(visible)
    return result


_STEPS = st.lists(st.integers(1, 40), max_size=40)


@given(
    base_name=st.sampled_from(TIMEFRAMES),
    other_name=st.sampled_from(TIMEFRAMES),
    base_steps=_STEPS,
    other_steps=_STEPS,
    shift=st.integers(-10_000, 10_000),
)
def test_equals_the_slow_walk(bars_at, base_name, other_name, base_steps, other_steps, shift):
    def bars(name, steps, shift):
        # Steps in quarters of a timeframe past it: bars need not lie on any grid.
        length = Timeframe(name).seconds
        seconds = np.cumsum(np.array([length + (step - 1) * length // 4 for step in steps], dtype=np.int64))
        return bars_at((seconds + shift * 60).astype("datetime64[s]"), name)

    base, other = bars(base_name, base_steps, 0), bars(other_name, other_steps, shift)
    index = visible_index(base, other)
    assert index.dtype == np.int64
    assert index.tolist() == _slow_visible_index(base, other)


def test_a_bar_is_visible_from_its_close_and_not_before(make_bars):
    base, other = make_bars(9, timeframe="1h"), make_bars(2, timeframe="4h")
    assert visible_index(base, other).tolist() == [-1, -1, -1, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_a_timeframe_sees_its_own_bar(make_bars, timeframe):
    bars = make_bars(20, timeframe=timeframe)
    assert visible_index(bars, bars).tolist() == list(range(20))


def test_daily_bar_stays_visible_over_the_weekend(bars_at):
    daily = bars_at(np.array(["2017-01-05", "2017-01-06"], dtype="datetime64[s]"), "1d")
    hourly = bars_at(
        np.array(["2017-01-06T20", "2017-01-06T22", "2017-01-06T23", "2017-01-09T00"], dtype="datetime64[s]")
    )
    assert visible_index(hourly, daily).tolist() == [0, 0, 1, 1]


def test_empty(make_bars):
    some, none = make_bars(3), make_bars(0)
    assert visible_index(some, none).tolist() == [-1, -1, -1]
    assert visible_index(none, some).tolist() == []
