"""Bars per year, beside a count of bars on the UTC grid over real years of sessions."""

from __future__ import annotations

import datetime as dt

import exchange_calendars
import numpy as np
import pytest

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import MarketCalendar, calendar_for
from ktrdr.core.data.exchange_sessions import exchange_sessions
from ktrdr.core.data.resample import resample
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.errors import BadInputError

ALL = exchange_calendars.get_calendar_names(include_aliases=False)
# New York, a break at noon (two), nearly around the clock (two), a short history and Sundays (one), what has no end.
SAMPLE = ["XNYS", "XTKS", "XHKG", "CMES", "IEPA", "24/7", "24/5", "XSAU"]
YEAR = 365.2425
DAY = dt.timedelta(days=1)
MONDAY, SUNDAY = dt.date(2014, 12, 29), dt.date(2024, 12, 29)
FIRST = {"AIXK": dt.date(2017, 1, 2), "XSAU": dt.date(2021, 1, 4)}  # the first Mondays that these can tell of
RESTING = ("CMES", "us_futures")


def parts_of(name: str, first: dt.date) -> list[tuple[dt.date, dt.datetime, dt.datetime]]:
    """Each session's date, and opens and closes of its parts, in UTC."""
    if name in ("24/5", "24/7"):
        return own_parts(name, first)
    exchange_sessions("XNYS", 16433, 16440)  # what makes `exchange_calendars` work with the installed pandas
    start = max(first - 31 * DAY, dt.date(2021, 1, 1) if name == "XSAU" else dt.date(2014, 1, 1))
    start = max(start, dt.date(2017, 1, 1) if name == "AIXK" else start)
    calendar = exchange_calendars.get_calendar(name, str(start), "2025-01-31")
    parts = []
    for row in calendar.schedule.itertuples():
        date = row.Index.date()
        if not first <= date <= SUNDAY:
            continue
        close = row.close
        if name in RESTING and row.close - row.open == dt.timedelta(hours=24):
            close -= dt.timedelta(hours=1)  # the market rests for the last hour
        if row.break_start == row.break_start:  # not NaT
            parts += [(date, row.open, row.break_start), (date, row.break_end, close)]
        else:
            parts.append((date, row.open, close))
    return parts


def own_parts(name: str, first: dt.date) -> list[tuple[dt.date, dt.datetime, dt.datetime]]:
    """Those of the calendars that are not an exchange's."""
    from zoneinfo import ZoneInfo

    def five(date: dt.date) -> dt.datetime:
        return dt.datetime.combine(date, dt.time(17), ZoneInfo("America/New_York"))

    dates = [first + i * DAY for i in range((SUNDAY - first).days + 1)]
    if name == "24/7":
        midnights = [dt.datetime.combine(date, dt.time(0), dt.UTC) for date in dates]
        return [(date, midnight, midnight + DAY) for date, midnight in zip(dates, midnights, strict=True)]
    holidays = {(1, 1), (12, 25)}
    return [
        (date, five(date - DAY), five(date))
        for date in dates
        if date.weekday() < 5 and (date.month, date.day) not in holidays
    ]


def counted(name: str, timeframe: str) -> float:
    """Bars in a mean year: one in each slot of the grid that a session reaches into."""
    first = FIRST.get(name, MONDAY)
    days = (SUNDAY - first).days + 1
    parts = parts_of(name, first)
    dates = {date for date, _, _ in parts}
    if timeframe == "1d":
        return len(dates) / days * YEAR
    if timeframe == "1w":
        return len({date - date.weekday() * DAY for date in dates}) / days * YEAR
    length = Timeframe(timeframe).seconds
    origin = int(dt.datetime.combine(first - 2 * DAY, dt.time(0), dt.UTC).timestamp())
    slots = np.zeros((days + 4) * 86400 // length, dtype=bool)
    for _, open_, close in parts:
        slots[int(open_.timestamp() - origin) // length : -(-int(close.timestamp() - origin) // length)] = True
    return int(slots.sum()) / days * YEAR


@pytest.mark.parametrize("name", SAMPLE)
def test_bars_per_year_are_those_of_real_years(name):
    for timeframe in TIMEFRAMES:
        mine = calendar_for("ACME", name).bars_per_year(Timeframe(timeframe))
        assert mine == pytest.approx(counted(name, timeframe), rel=1e-12), timeframe


@pytest.mark.slow
def test_bars_per_year_of_every_calendar():
    assert {*SAMPLE} < {*ALL}
    differ = {
        (name, timeframe)
        for name in ALL
        for timeframe in TIMEFRAMES
        if calendar_for("ACME", name).bars_per_year(Timeframe(timeframe))
        != pytest.approx(counted(name, timeframe), rel=1e-12)
    }
    assert differ == set()


@pytest.mark.parametrize("name", ["XNYS", "XHKG", "FX"])
@pytest.mark.parametrize("timeframe", ["5m", "1h"])
def test_resampling_makes_as_many_bars(name, timeframe):
    # Two weeks without a holiday, by the minute.
    start, end = np.datetime64("2023-02-06", "ns"), np.datetime64("2023-02-17T23:59", "ns")
    sessions = MarketCalendar(name).sessions(start, end, Timeframe("1m"))
    minutes = np.arange(start, end + np.timedelta64(1, "m"), np.timedelta64(60, "s")).astype("datetime64[ns]")
    opens = minutes.astype(np.int64)
    minutes = minutes[sessions.covered(opens, opens + 60_000_000_000) > 0]
    price = np.ones(len(minutes))
    bars = resample(Bars("ACME", Timeframe("1m"), minutes, price, price, price, price, price), timeframe,
                    data_end=end + np.timedelta64(1, "D"))  # fmt: skip
    # As many in a year as a year has weeks like these; holidays make a few per cent.
    expected = len(bars) / 2 * YEAR / 7
    assert MarketCalendar(name).bars_per_year(Timeframe(timeframe)) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("name", ["ASEX", "XBEL", "XBSE", "XCYS", "XTAE"])
def test_calendars_that_pandas_alone_would_break(name):
    days, opens, closes = exchange_sessions(name, 19723, 20088)  # 2024
    assert 240 < len(days) < 262
    assert (opens < closes).all()


def test_a_calendar_is_used_up_to_its_ends():
    days, _, _ = exchange_sessions("XSHG", 20788, 20819)  # to a day behind 2026, where it ends
    assert len(days) > 20
    with pytest.raises(BadInputError, match="the calendar XSHG does not reach from 2026-12-31 to 2027-01-02"):
        exchange_sessions("XSHG", 20818, 20820)
    assert len(exchange_sessions("AIXK", 17166, 17180)[0]) > 5  # from a day before 2017, where it begins
