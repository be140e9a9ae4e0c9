"""Local times to UTC: an hour that comes twice is told by the order of rows."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.vendor.local_times import to_utc

_MINUTE = 60_000_000_000


def _local(utc: np.ndarray, zone: str) -> np.ndarray:
    index = pd.DatetimeIndex(utc.view("datetime64[ns]")).tz_localize("UTC").tz_convert(zone)
    return index.tz_localize(None).to_numpy("datetime64[ns]").view(np.int64)


@given(
    st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Tokyo", "America/Sao_Paulo"]),
    st.sampled_from([1, 5, 15, 30, 60]),
    st.integers(2000, 2025),
)
def test_a_series_without_gaps_is_read_back_over_a_whole_year(zone, minutes, year):
    start = np.datetime64(f"{year}-01-01", "ns").astype(np.int64)
    utc = np.arange(start, start + 366 * 1440 * _MINUTE, max(minutes, 15) * _MINUTE)
    read, unclear = to_utc(_local(utc, zone), ZoneInfo(zone))
    assert not len(unclear)
    assert np.array_equal(read, utc)


@given(st.lists(st.booleans(), min_size=24, max_size=24), st.sampled_from([30, 60]))
def test_with_gaps_a_row_is_read_right_or_said_to_be_unclear(kept, minutes):
    # 2023-11-05, when clocks in New York went back from 06:00 UTC; a day of bars, some of them missing.
    start = np.datetime64("2023-11-05T00:00", "ns").astype(np.int64)
    utc = (start + np.arange(24) * minutes * _MINUTE)[np.array(kept)]
    local = _local(utc, "America/New_York")
    read, unclear = to_utc(local, ZoneInfo("America/New_York"))
    clear = np.setdiff1d(np.arange(len(utc)), unclear)
    inside = (utc >= start + 300 * _MINUTE) & (utc < start + 420 * _MINUTE)
    assert inside[unclear].all()
    # Alone in its hour, a row may be taken for the one that continues its neighbours; it is never out of order.
    wrong = clear[read[clear] != utc[clear]]
    assert inside[wrong].all()
    assert (np.diff(read[clear]) > 0).all()
    if sum(kept[10 if minutes == 30 else 5 : 14 if minutes == 30 else 7]) == (4 if minutes == 30 else 2):
        assert not len(wrong)
        assert not len(unclear)


@pytest.mark.parametrize("hour", ["2023-03-12T02:00", "2023-03-12T02:59"])
def test_a_time_that_never_comes_is_unclear(hour):
    local = np.array([hour, "2023-03-12T04:00", "2023-03-12T05:00"], dtype="datetime64[ns]").view(np.int64)
    assert to_utc(local, ZoneInfo("America/New_York"))[1].tolist() == [0]


def test_a_file_that_begins_in_the_second_hour():
    local = np.array([f"2023-11-05T0{hour}:00" for hour in (1, 2, 3, 4)], dtype="datetime64[ns]").view(np.int64)
    read, unclear = to_utc(local, ZoneInfo("America/New_York"))
    assert not len(unclear)
    assert str(read.view("datetime64[ns]")[0])[:16] == "2023-11-05T06:00"
