"""A span of bars ends on the day of its last bar, wherever it is shown."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from ktrdr.core.data.times import format_end, last_day


@pytest.mark.parametrize(
    ("end", "shown", "day"),
    [
        # The last daily bar is that of 31 December: complete when the next day begins.
        ("2011-01-01T00:00", "2010-12-31 24:00", "2010-12-31"),
        ("2017-09-29T21:00", "2017-09-29 21:00", "2017-09-29"),
        ("2017-09-29T00:01", "2017-09-29 00:01", "2017-09-29"),
        ("2017-09-29T00:00:30", "2017-09-29 00:00:30", "2017-09-29"),
        ("2016-03-01T00:00", "2016-02-29 24:00", "2016-02-29"),
    ],
)
def test_midnight_is_the_end_of_the_day_before(end: str, shown: str, day: str):
    for unit in ("ns", "s"):
        assert format_end(np.datetime64(end, unit)) == shown
        assert last_day(np.datetime64(end, unit)) == day
    east = dt.timezone(dt.timedelta(hours=3))
    instant = dt.datetime.fromisoformat(end).replace(tzinfo=dt.UTC)
    for time in (instant, instant.astimezone(east)):
        assert (format_end(time), last_day(time)) == (shown, day)
