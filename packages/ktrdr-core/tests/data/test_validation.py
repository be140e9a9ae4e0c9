from __future__ import annotations

import json

import numpy as np
import pytest

from ktrdr.core.data.consistency import check_bars, find_inconsistencies
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.data.validation import validate_bars
from ktrdr.core.errors import BadInputError


def test_real_data_are_clean():
    report = validate_bars(sample_bars())
    assert report.ok
    assert report.findings == ()
    assert report.rows == 6225


@pytest.mark.parametrize(
    ("kind", "column", "value", "message"),
    [
        ("missing_price", "close", np.nan, "has no finite close"),
        ("missing_price", "high", np.inf, "has no finite high"),
        ("non_positive_price", "low", 0.0, "has low 0, which is not above 0"),
        ("non_positive_price", "low", -1.5, "has low -1.5, which is not above 0"),
        ("high_below_low", "high", 1.0, "has its high 1 below its low"),
        ("open_outside", "open", 500.0, "has its open 500 outside low"),
        ("close_outside", "close", 1.0, "has its close 1 outside low"),
        ("negative_volume", "volume", -3.0, "has volume -3"),
    ],
)
def test_each_error_of_a_bar_is_found_and_named(make_bars, kind, column, value, message):
    bars = make_bars(20)
    getattr(bars, column)[[4, 9]] = value
    found = {error.kind: error for error in find_inconsistencies(bars)}
    assert found[kind].rows.tolist() == [4, 9]
    assert "the bar of 2017-01-01 04:00" in found[kind].message
    assert message in found[kind].message
    assert "(and 1 more)" in found[kind].message
    with pytest.raises(BadInputError, match="EURUSD 1h: the bar of 2017-01-01 04:00"):
        check_bars(bars)
    report = validate_bars(bars)
    assert not report.ok
    assert kind in {finding.kind for finding in report.findings}


@pytest.mark.parametrize(
    ("kind", "times", "message"),
    [
        ("unordered", [0, 2, 1], "the bar of 2017-01-01 01:00 comes after the one of 2017-01-01 02:00"),
        ("duplicate", [0, 1, 1], "the bar of 2017-01-01 01:00 occurs twice"),
        ("overlap", [0, 1, 1.5], "the bar of 2017-01-01 01:30 opens before the one of 2017-01-01 01:00 has closed"),
    ],
)
def test_disorder(bars_at, kind, times, message):
    bars = bars_at(np.datetime64("2017-01-01", "s") + (np.array(times) * 3600).astype("timedelta64[s]"))
    errors = list(find_inconsistencies(bars))
    assert [error.kind for error in errors] == [kind]
    assert message in errors[0].message


def test_missing_time(make_bars):
    bars = make_bars(5)
    bars.time[3] = np.datetime64("NaT")
    assert [error.kind for error in find_inconsistencies(bars)] == ["missing_time"]


def test_daily_labels_may_move_with_daylight_saving(bars_at):
    times = np.array(["2017-03-10T22", "2017-03-11T22", "2017-03-12T21", "2017-03-13T21"], dtype="datetime64[s]")
    check_bars(bars_at(times, "1d"))
    with pytest.raises(BadInputError, match="opens before"):
        check_bars(bars_at(times - np.array([0, 0, 3600, 0], dtype="timedelta64[s]"), "1d"))


def test_gaps_are_reported_not_filled(make_bars):
    bars = make_bars(200, symbol="BTCUSDT")
    holed = type(bars)("BTCUSDT", bars.timeframe, *(np.delete(getattr(bars, n), slice(50, 60)) for n in
                       ("time", "open", "high", "low", "close", "volume")))  # fmt: skip
    report = validate_bars(holed)
    assert report.ok
    assert report.gaps == {"weekend": 0, "holiday": 0, "session_break": 0, "unexpected": 1}
    assert report.missing_bars == 10
    assert report.findings[0].message == (
        "10 bars are missing in 1 gap while 24/7 was open; the largest lacks 10, "
        "from 2017-01-03 02:00 to 2017-01-03 12:00"
    )
    assert report.findings[0].times == (np.datetime64("2017-01-03T02:00"),)


def test_no_volume_is_said(make_bars):
    bars = make_bars(10)
    bars.volume[:] = np.nan
    assert [finding.message for finding in validate_bars(bars, "24/7").findings] == ["no bar has a volume"]
    bars.volume[2:] = 5
    assert [finding.message for finding in validate_bars(bars, "24/7").findings] == ["2 bars have no volume"]
    bars.volume[1] = 5
    assert [finding.message for finding in validate_bars(bars, "24/7").findings] == ["1 bar has no volume"]


def test_a_volume_that_is_0_throughout_is_said(make_bars):
    bars = make_bars(10)
    bars.volume[:] = 0
    (finding,) = validate_bars(bars, "24/7").findings
    assert (finding.kind, finding.severity, finding.count) == ("zero_volume", "warning", 10)
    assert finding.message.startswith("the volume of every bar is 0, so indicators and filters")
    bars.volume[3:5] = np.nan
    missing, zero = validate_bars(bars, "24/7").findings
    assert (missing.kind, missing.count) == ("no_volume", 2)
    assert (zero.kind, zero.count) == ("zero_volume", 8)
    assert "the volume of each of the 8 bars that have one is 0" in zero.message
    bars.volume[7] = 1
    assert [finding.kind for finding in validate_bars(bars, "24/7").findings] == ["no_volume"]
    bars.volume[:] = np.nan
    assert [finding.kind for finding in validate_bars(bars, "24/7").findings] == ["no_volume"]


def test_jumps_are_said_once_each(make_bars):
    bars = make_bars(100, timeframe="1d", symbol="AAPL")
    for first, factor in ((30, 2.0), (60, 904 / 1.05)):
        for name in ("open", "high", "low", "close"):
            getattr(bars, name)[first:] /= factor
    split, large = validate_bars(bars, "24/7").findings
    assert (split.kind, split.severity, split.count) == ("split_like_jump", "warning", 1)
    assert (large.kind, large.severity, large.count) == ("large_jump", "warning", 1)
    assert large.times == (bars.time[60],)


def test_bars_outside_hours_are_said(make_bars):
    saturday = make_bars(24, start="2017-01-07", symbol="EURUSD")
    report = validate_bars(saturday)
    assert [finding.kind for finding in report.findings] == ["outside_hours"]
    assert report.findings[0].count == 24


def test_json(make_bars):
    bars = make_bars(48, start="2017-01-06T12")
    text = json.dumps(validate_bars(bars).to_json())
    assert json.loads(text)["findings"][0]["times"][0] == "2017-01-06T22:00:00Z"


def test_empty(make_bars):
    report = validate_bars(make_bars(0))
    assert (report.rows, report.ok, report.findings) == (0, True, ())
