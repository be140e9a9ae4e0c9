from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.alignment import visible_index
from ktrdr.core.data.resample import divides, resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.errors import BadInputError

_PAIRS = [(a, b) for a in TIMEFRAMES for b in TIMEFRAMES if divides(Timeframe(a), Timeframe(b))]


def _slow_open(time: np.datetime64, timeframe: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(str(time.astype("datetime64[s]")))
    midnight = moment.replace(hour=0, minute=0, second=0)
    if timeframe == "1w":
        return midnight - dt.timedelta(days=moment.weekday())
    if timeframe == "1d":
        return midnight
    length = dt.timedelta(seconds=Timeframe(timeframe).seconds)
    return midnight + (moment - midnight) // length * length


def _slow_resample(bars, timeframe, end):
    """Walk bar by bar, keep one open coarse bar."""
    rows = {}
    for i in range(len(bars)):
        values = rows.setdefault(_slow_open(bars.time[i], timeframe), [bars.open[i], -math.inf, math.inf, 0.0, 0.0])
        values[1] = max(values[1], bars.high[i])
        values[2] = min(values[2], bars.low[i])
        values[3] = bars.close[i]
        values[4] += bars.volume[i]
    length = dt.timedelta(seconds=Timeframe(timeframe).seconds)
    last = dt.datetime.fromisoformat(str(end.astype("datetime64[s]")))
    return [(opened, *values) for opened, values in rows.items() if opened + length <= last]


@given(
    pair=st.sampled_from(_PAIRS),
    start=st.integers(0, 5000),
    steps=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    unknown=st.sets(st.integers(0, 59), max_size=3),
)
def test_equals_the_slow_walk(bars_at, pair, start, steps, unknown):
    fine, coarse = pair
    count = start + np.cumsum(np.array(steps))
    bars = bars_at((count * Timeframe(fine).seconds).astype("datetime64[s]"), fine)
    for row in unknown:
        if row < len(bars):
            bars.volume[row] = np.nan
    result = resample(bars, coarse)
    expected = _slow_resample(bars, coarse, bars.close_time[-1])
    assert [str(time.astype("datetime64[s]")) for time in result.time] == [row[0].isoformat() for row in expected]
    columns = (result.open, result.high, result.low, result.close, result.volume)
    for position, column in enumerate(columns, start=1):
        np.testing.assert_array_equal(column, [row[position] for row in expected])


@given(
    coarse=st.sampled_from([b for a, b in _PAIRS if a == "1h"]),
    cut=st.integers(1, 6225),
)
def test_no_bar_knows_what_comes_after_its_close(coarse, cut):
    bars = sample_bars()
    whole, part = resample(bars, coarse), resample(bars[:cut], coarse)
    for name in ("time", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[: len(part)])
    # What is visible at the last of the bars we have is the same, too.
    assert visible_index(bars[cut - 1 : cut], part).tolist() == visible_index(bars[cut - 1 : cut], whole).tolist()


def test_conventions(make_bars):
    hourly = make_bars(24 * 10 + 5, start="2017-01-01T22:00")  # a Sunday
    daily = resample(hourly, "1d")
    assert str(daily.time[0]) == "2017-01-01T00:00:00.000000000"
    assert daily.open[0] == hourly.open[0]
    assert daily.close[0] == hourly.close[1]
    assert len(daily) == 11  # the last day has three hours only
    weekly = resample(hourly, "1w")
    assert [str(time)[:10] for time in weekly.time] == ["2016-12-26", "2017-01-02"]


def test_last_bar_is_left_out_until_complete(make_bars):
    hourly = make_bars(8)
    assert len(resample(hourly, "4h")) == 2
    assert len(resample(hourly[:7], "4h")) == 1
    assert len(resample(hourly[:3], "4h")) == 0
    assert len(resample(hourly[:7], "4h", data_end=hourly.close_time[-1])) == 2


def test_nothing_is_made_where_nothing_is(bars_at):
    times = np.array(["2017-01-06T20", "2017-01-06T21", "2017-01-09T00", "2017-01-09T04"], dtype="datetime64[s]")
    assert [str(time)[:13] for time in resample(bars_at(times), "4h").time] == ["2017-01-06T20", "2017-01-09T00"]


@pytest.mark.parametrize(("fine", "coarse"), [("1h", "1h"), ("4h", "1h"), ("1h", "30m"), ("1w", "1d")])
def test_no_integer_multiple(make_bars, fine, coarse):
    with pytest.raises(BadInputError, match=f"EURUSD: {coarse} bars cannot be made of {fine} bars"):
        resample(make_bars(10, timeframe=fine), coarse)


def test_bars_that_reach_over_a_boundary_are_refused(make_bars):
    # Hourly bars of a market that opens at 14:30 UTC: the one of 15:30 holds prices from after 16:00.
    hourly = make_bars(20, start="2017-01-02T14:30")
    with pytest.raises(BadInputError, match="the one of 2017-01-02 15:30 UTC reaches over the end of a 4h bar"):
        resample(hourly, "4h")
    halves = make_bars(20, start="2017-01-02T14:30", timeframe="30m")
    assert len(resample(halves, "4h")) > 1


def test_empty(make_bars):
    assert len(resample(make_bars(0), "4h")) == 0
