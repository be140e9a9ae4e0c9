"""What the times of bars tell of a ticker that could be two things."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr.core.data.calendar_choice import calendar_name, calendar_of, choose_reading, either_or
from ktrdr.core.data.calendars import MarketCalendar
from ktrdr.core.data.timeframe import Timeframe

DAY = 86_400_000_000_000
HOUR = DAY // 24
NEW_YORK = ZoneInfo("America/New_York")


def days(first: str, count: int, *, weekends: bool) -> np.ndarray:
    start = np.datetime64(first, "D").astype(np.int64)
    every = np.arange(start, start + 2 * count + 4)
    return (every if weekends else every[(every + 3) % 7 < 5])[:count] * DAY


def hours(calendar: str, first: str, last: str, timeframe: str = "1h") -> np.ndarray:
    """Opens of the bars that ``calendar`` has, on the grid."""
    length = Timeframe(timeframe).nanoseconds
    start, end = (np.datetime64(text, "ns") for text in (first, last))
    opens = np.arange(start.astype(np.int64), end.astype(np.int64), length)
    sessions = MarketCalendar(calendar).sessions(start, end, Timeframe(timeframe))
    return opens[sessions.covered(opens, opens + length) > 0]


def chosen(symbol: str, time: np.ndarray, offset: np.ndarray | None = None) -> str | None:
    reading = choose_reading(symbol, time, offset)
    return None if reading is None else reading.calendar


def test_daily_bars_at_weekends_are_those_of_a_coin():
    assert chosen("SOL", days("2024-03-01", 3, weekends=True)) == "24/7"
    assert chosen("SOL", days("2024-03-01", 100, weekends=True)) == "24/7"


def test_enough_weekdays_without_a_weekend_are_those_of_a_share():
    assert chosen("SOL", days("2024-03-01", 10, weekends=False)) == "XNYS"
    assert chosen("SOL", days("2024-03-01", 9, weekends=False)) is None
    assert chosen("SOL", days("2024-03-04", 10, weekends=False)) is None  # two weeks with one weekend between
    assert chosen("SOL", np.empty(0, dtype=np.int64)) is None
    assert chosen("SOL", days("2024-03-01", 1, weekends=False)) is None


def test_midnight_in_new_york_is_how_vendors_label_shares():
    time = days("2024-03-05", 3, weekends=False)
    assert chosen("SOL", time) is None
    assert chosen("SOL", time, np.full(3, -300)) == "XNYS"
    assert chosen("SOL", time, np.full(3, 0)) is None
    assert chosen("SOL", time, np.full(3, 60)) is None
    # Over the change of clocks, and as an import made them when the symbol was taken for a coin.
    time = days("2024-03-07", 5, weekends=False)
    behind = np.array([300, 300, 240, 240, 240])
    assert chosen("SOL", time, -behind) == "XNYS"
    assert chosen("SOL", time + behind * HOUR // 60) == "XNYS"


def test_a_date_shifted_by_one_is_nothing_that_is_known():
    sundays_to_thursdays = days("2024-03-04", 20, weekends=False) - DAY
    assert chosen("SOL", sundays_to_thursdays) is None


@pytest.mark.parametrize("timeframe", ["1m", "30m", "1h", "4h"])
def test_bars_within_the_hours_of_an_exchange_are_those_of_a_share(timeframe):
    time = hours("XNYS", "2024-03-05", "2024-03-08", timeframe)
    assert chosen("ETH", time) == "XNYS"
    assert chosen("ES", time) == "XNYS"
    assert chosen("ETH", time[time < time[0] + 2 * DAY - 8 * HOUR]) is None  # two days may be all there are


@pytest.mark.parametrize("first", ["2024-03-08", "2024-07-05"])
def test_bars_around_the_clock_are_those_of_a_coin_or_a_future(first):
    last = str(np.datetime64(first) + 5)
    assert chosen("ETH", hours("24/7", first, last)) == "24/7"
    assert chosen("ES", hours("CMES", first, last)) == "CMES"
    assert chosen("GOLD", hours("FX", first, last)) == "FX"
    # The future on a coin is no reading of its code, and neither a coin nor a share trades like that.
    assert chosen("ETH", hours("CMES", first, str(np.datetime64(first) + 20))) is None


def test_daily_bars_of_a_share_and_of_a_future_have_the_same_days():
    assert chosen("ES", days("2024-03-01", 100, weekends=False)) is None
    assert chosen("ES", days("2024-03-01", 100, weekends=False), np.full(100, -300)) is None
    weekdays = days("2024-03-01", 100, weekends=False)
    sundays = weekdays[(weekdays // DAY + 3) % 7 == 0] - DAY
    assert chosen("ES", np.sort(np.concatenate((weekdays, sundays)))) == "CMES"  # made of hourly bars


def test_weekly_bars_tell_nothing():
    assert chosen("SOL", days("2024-03-02", 700, weekends=True)[::7]) is None


def test_the_sentence_says_what_it_could_be():
    assert either_or("SOL") == (
        "SOL could be a coin (24/7) or a share (XNYS), and the times of its bars do not decide: "
        "say which with --calendar 24/7 or --calendar XNYS"
    )


def test_the_calendar_of_bars(bars_at):
    weekdays = days("2024-03-01", 10, weekends=False).astype("datetime64[ns]")
    bars = bars_at(weekdays, "1d", symbol="DASH")
    assert calendar_name(bars) == "XNYS"
    assert calendar_name(bars[:5]) == "24/7"  # as before there was more than the spelling
    assert calendar_of(bars, "XTKS").name == "XTKS"
    assert calendar_name(bars_at(weekdays, "1d", symbol="ES")) == "XNYS"


def slow_facts(times: list[dt.datetime]) -> tuple[bool, bool, bool]:
    """Whether there are bars on Saturdays, on Sundays, and at night, in New York."""
    local = [time.replace(tzinfo=dt.UTC).astimezone(NEW_YORK) for time in times]
    saturday, sunday = (any(time.weekday() == day for time in local) for day in (5, 6))
    return saturday, sunday, any(not 4 <= time.hour < 20 for time in local)


@given(
    st.integers(min_value=0, max_value=365 * 24),
    st.lists(st.integers(min_value=0, max_value=14 * 24 - 1), min_size=40, max_size=300, unique=True),
)
def test_nothing_is_taken_for_what_its_times_speak_against(start, picked):
    first = dt.datetime(2023, 1, 1) + dt.timedelta(hours=start)
    times = [first + dt.timedelta(hours=hour) for hour in sorted(picked)]
    saturday, sunday, night = slow_facts(times)
    stamps = np.array(times, dtype="datetime64[ns]").astype(np.int64)
    # Within an hour of a change of clocks the slow look and the quick one may differ: the change is at 2:00, on a
    # Sunday, and 2:00 to 4:00 are all night.
    found = chosen("SOL", stamps)
    assert found is None or {"24/7": saturday, "XNYS": not (saturday or sunday or night)}[found]
    found = chosen("ES", stamps)
    assert found is None or {"CMES": night and not saturday, "XNYS": not (saturday or sunday or night)}[found]
