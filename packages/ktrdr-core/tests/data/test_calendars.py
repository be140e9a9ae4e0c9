from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import bars_per_year, calendar_for
from ktrdr.core.data.gaps import GAP_KINDS, find_gaps, outside_hours
from ktrdr.core.data.resample import resample
from ktrdr.core.data.sample import sample_bars
from ktrdr.core.errors import BadInputError


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("EURUSD", "FX"), ("EUR-USD", "FX"), ("EURUSD=X", "FX"), ("USDJPY", "FX"), ("eurusd", "FX"), ("XAUUSD", "FX"),
        ("BTCUSDT", "24/7"), ("BTC-USD", "24/7"), ("ETHBTC", "24/7"), ("DOGEUSD", "24/7"), ("SOLEUR", "24/7"),
        ("AAPL", "XNYS"), ("BRK.B", "XNYS"), ("^GSPC", "XNYS"), ("T", "XNYS"), ("F", "XNYS"), ("USDT", "XNYS"),
        ("VOD.L", "XLON"), ("7203.T", "XTKS"), ("SAP.DE", "XETR"),
    ],
)  # fmt: skip
def test_symbol_tells_the_calendar(symbol, name):
    assert calendar_for(symbol).name == name


def test_given_calendar_wins():
    assert calendar_for("EURUSD", "24/7").name == "24/7"
    assert calendar_for("AAPL", "24/5").name == "FX"
    assert calendar_for("AAPL", "xtks").name == "XTKS"
    with pytest.raises(BadInputError, match=r"unknown calendar `XNYX`, did you mean `XNYS`\?"):
        calendar_for("AAPL", "xnyx")
    with pytest.raises(BadInputError, match="unknown calendar `MOON`; use FX, 24/7 or a market identifier code"):
        calendar_for("AAPL", "moon")


def test_a_year_of_real_fx_has_no_unexpected_gap():
    gaps = find_gaps(sample_bars(), calendar_for("EURUSD"))
    assert {kind: gaps.count(kind) for kind in GAP_KINDS} == {
        "weekend": 50,  # 52 in the year, of which Christmas takes one, and the data end before the last
        "holiday": 2,
        "session_break": 0,
        "unexpected": 0,
    }
    assert outside_hours(sample_bars(), calendar_for("EURUSD")).tolist() == []


def _without(bars: Bars, rows: list[int]) -> Bars:
    keep = np.ones(len(bars), dtype=bool)
    keep[rows] = False
    columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return Bars(bars.symbol, bars.timeframe, *(column[keep] for column in columns))


def test_every_missing_bar_is_counted():
    bars = sample_bars()
    generator = np.random.default_rng(1)
    weekday = [int(r) for r in generator.choice(np.arange(2, 6000), 200, replace=False)]
    gaps = find_gaps(_without(bars, weekday), calendar_for("EURUSD"))
    assert int(gaps.missing.sum()) == 200


def test_hours_follow_new_york_through_the_year():
    bars = sample_bars()
    shifted = Bars("EURUSD", bars.timeframe, bars.time + np.timedelta64(3, "h"), bars.open, bars.high, bars.low,
                   bars.close, bars.volume)  # fmt: skip
    assert len(outside_hours(shifted, calendar_for("EURUSD"))) >= 3 * 50


@pytest.mark.parametrize("timeframe", ["2h", "4h", "1d", "1w"])
def test_resampled_fx_has_no_unexpected_gap(timeframe):
    bars = resample(sample_bars(), timeframe)
    gaps = find_gaps(bars, calendar_for("EURUSD"))
    assert gaps.count("unexpected") == 0
    if timeframe == "1d":
        tuesday = int(np.searchsorted(bars.time, np.datetime64("2017-03-14")))
        friday = int(np.searchsorted(bars.time, np.datetime64("2017-03-17")))
        assert find_gaps(_without(bars, [tuesday, friday]), calendar_for("EURUSD")).missing.sum() == 2


def test_crypto_never_closes(make_bars):
    bars = make_bars(24 * 14, timeframe="1h", symbol="BTCUSDT")
    gaps = find_gaps(_without(bars, [5, 6, 7, 150]), calendar_for("BTCUSDT"))
    assert gaps.missing.tolist() == [3, 1]
    assert gaps.count("unexpected") == 2


def _new_york_hours(bars_at) -> Bars:
    """Half-hour bars of the New York session (EST, 14:30 to 21:00 UTC), 2 to 20 January 2017."""
    days = [2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20]
    days = [day for day in days if day not in (2, 16)]  # New Year observed, Martin Luther King's birthday
    opens = [
        np.datetime64(f"2017-01-{day:02}T14:30", "s") + np.timedelta64(30 * i, "m") for day in days for i in range(13)
    ]
    return bars_at(np.array(opens), "30m", symbol="AAPL")


def test_exchange_sessions(bars_at):
    bars = _new_york_hours(bars_at)
    market = calendar_for("AAPL")
    gaps = find_gaps(bars, market)
    assert {kind: gaps.count(kind) for kind in GAP_KINDS} == {
        "weekend": 1, "holiday": 1, "session_break": 10, "unexpected": 0,
    }  # fmt: skip
    assert outside_hours(bars, market).tolist() == []
    # A bar inside a session, the last of one and the first of the next, and a whole session.
    gaps = find_gaps(_without(bars, [3, 25, 26, *range(39, 52)]), market)
    assert gaps.missing[gaps.missing > 0].tolist() == [1, 2, 13]


def test_lunch_break_in_tokyo(bars_at):
    # 2017-01-10, 09:00 to 11:30 and 12:30 to 15:00 in Tokyo, UTC+9.
    opens = [f"2017-01-10T{h:02}:{m:02}" for h, m in
             [(0, 0), (0, 30), (1, 0), (1, 30), (2, 0), (3, 30), (4, 0), (4, 30), (5, 0), (5, 30)]]  # fmt: skip
    bars = bars_at(np.array(opens, dtype="datetime64[s]"), "30m", symbol="7203.T")
    gaps = find_gaps(bars, calendar_for("7203.T"))
    assert gaps.count("session_break") == 1
    assert len(gaps) == 1


def test_no_bars(make_bars):
    assert len(find_gaps(make_bars(0), calendar_for("EURUSD"))) == 0
    assert outside_hours(make_bars(0), calendar_for("EURUSD")).tolist() == []


def test_calendar_that_does_not_reach(bars_at):
    old = bars_at(np.array(["1950-01-03", "1950-02-03"], dtype="datetime64[s]"), "1d", symbol="005930.KS")
    with pytest.raises(BadInputError, match="the calendar XKRX does not reach"):
        find_gaps(old, calendar_for("005930.KS"))


@pytest.mark.parametrize(
    ("symbol", "timeframe", "expected", "tolerance"),
    [
        ("BTCUSDT", "1h", 8766, 0.001),
        ("BTCUSDT", "1d", 365.25, 0.001),
        ("EURUSD", "1h", 52.18 * 120, 0.01),
        ("EURUSD", "1d", 260, 0.01),
        ("AAPL", "1d", 252, 0.005),
        ("AAPL", "1h", 252 * 7, 0.01),
        ("AAPL", "1m", 252 * 390, 0.01),
        ("AAPL", "1w", 52.18, 0.001),
    ],
)
def test_bars_per_year_by_calendar(symbol, timeframe, expected, tolerance):
    assert bars_per_year(symbol, timeframe) == pytest.approx(expected, rel=tolerance)


def test_bars_per_year_by_the_data():
    bars = sample_bars()
    whole = bars_per_year("EURUSD", "1h", bars.time)
    assert whole == pytest.approx(6225, rel=0.01)
    # Neither where a range begins and ends nor a hole of two months changes it much.
    assert bars_per_year("EURUSD", "1h", bars.time[700:3333]) == pytest.approx(whole, rel=0.01)
    assert bars_per_year("EURUSD", "1h", np.delete(bars.time, slice(2000, 3000))) == pytest.approx(whole, rel=0.01)
    # Too short to tell: the calendar says it.
    assert bars_per_year("EURUSD", "1h", bars.time[:500]) == bars_per_year("EURUSD", "1h")


@given(seed=st.integers(0, 1000), start=st.integers(-(10**10), 10**10), unit=st.sampled_from(["s", "ns"]))
def test_bars_per_year_by_the_data_equal_a_count_of_weeks(seed, start, unit):
    random = np.random.default_rng(seed)
    days = np.cumsum(random.choice([0, 0, 0, 1, 2, 9], 400)) * 86_400
    seconds = np.unique(start + days + random.integers(0, 86_400, 400))
    times = seconds.astype("datetime64[s]").astype(f"datetime64[{unit}]")
    weeks, counts = np.unique((seconds - 4 * 86_400) // 604_800, return_counts=True)
    inner = [counts[k] for k in range(1, len(weeks) - 1) if weeks[k + 1] - weeks[k - 1] == 2]
    expected = np.mean(inner) * (365.2425 / 7) if len(inner) >= 8 else bars_per_year("EURUSD", "1h")
    assert bars_per_year("EURUSD", "1h", times) == expected


def test_hours_are_not_annualized_as_days():
    hourly = sample_bars()
    assert bars_per_year("EURUSD", "1h", hourly.time) > 6000
    assert bars_per_year("EURUSD", "4h", resample(hourly, "4h").time) == pytest.approx(1611, rel=0.02)
