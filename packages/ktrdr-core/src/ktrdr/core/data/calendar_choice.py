"""Choice of the calendar for a ticker that can name several things, by the times of its bars.

A coin trades on Saturdays; a share trades neither at weekends nor at night; a future trades at night but not on
Saturdays. Too few bars to show this give no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import MarketCalendar, calendar_for, new_york_hours
from ktrdr.core.data.consistency import common_step
from ktrdr.core.data.symbol_spelling import Reading, readings

__all__ = ["calendar_name", "calendar_of", "choose_reading", "either_or"]

_MINUTE = 60_000_000_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
# The least evidence: days with intraday bars, daily bars, and Saturdays between them.
_FEWEST_DAYS = 3
_FEWEST_DAILY = 10
_FEWEST_WEEKENDS = 2
# Hours of the day in New York in which shares trade, pre-market and after-hours trading included.
_SHARE_HOURS = (4, 20)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Evidence in the times of bars. Days and hours are those of New York; for daily bars, the days as written.

    Attributes:
        daily, intraday: length of the bars; both False for weekly bars, which show nothing.
        bars: number of bars.
        dates: number of days with bars.
        saturdays: number of Saturdays in the span of the bars.
        on_saturdays, on_sundays: number of those days with bars.
        night_days: number of days with bars outside the hours of shares.
        new_york_midnight: every bar is labelled with midnight in New York.
    """

    daily: bool
    intraday: bool
    bars: int
    dates: int
    saturdays: int
    on_saturdays: int
    on_sundays: int
    night_days: int
    new_york_midnight: bool


def choose_reading(symbol: str, time: np.ndarray, offset: np.ndarray | None = None) -> Reading | None:
    """Return the reading of ``symbol``: the only one, or the only one that fits the times; else ``None``.

    Args:
        symbol: the name to store the bars under.
        time: int64 ``(n,)`` nanoseconds since 1970, ascending: opens of bars as written.
        offset: int64 ``(n,)`` minutes that the written times are ahead of UTC; ``None`` for UTC.
    """
    choices = readings(symbol)
    if len(choices) == 1:
        return choices[0]
    seen = _observe(time, offset)
    fitting = [each for each in choices if _fits(each, choices, seen)]
    return fitting[0] if len(fitting) == 1 else None


def either_or(symbol: str, *, alone: bool = True) -> str:
    """Return a clause with the readings of ``symbol`` (several) and the options that choose one.

    Args:
        symbol: the name to store the bars under.
        alone: False if the file has several symbols, to which the option must not apply.
    """
    choices = readings(symbol)
    things = " or ".join(f"{each.what} ({each.calendar})" for each in choices)
    remedies = " or ".join(f"--calendar {each.calendar}" for each in choices)
    answer = f"say which with {remedies}"
    if not alone:
        answer = f"import it by itself with --symbol {symbol} and {remedies}, then the file"
    return f"{symbol} could be {things}, and the times of its bars do not decide: {answer}"


def calendar_name(bars: Bars) -> str:
    """Return the name of the calendar of ``bars``: the stored one, else the one that symbol and times imply.

    If these do not decide, it is that of the symbol's first reading. The name is not checked.
    """
    if bars.calendar is not None:
        return bars.calendar
    chosen = choose_reading(bars.symbol, bars.time.astype(np.int64)) or readings(bars.symbol)[0]
    return chosen.calendar


def calendar_of(bars: Bars, calendar: str | None = None) -> MarketCalendar:
    """Return the calendar named ``calendar``, by default that of ``bars`` (:func:`calendar_name`).

    Raises:
        BadInputError: there is no calendar of that name.
    """
    return calendar_for(bars.symbol, calendar if calendar is not None else calendar_name(bars))


def _observe(time: np.ndarray, offset: np.ndarray | None) -> _Evidence:
    utc = time if offset is None else time - offset * _MINUTE
    step = common_step(utc)
    daily, intraday = 23 * _HOUR <= step <= 25 * _HOUR, 0 < step < 23 * _HOUR
    behind = new_york_hours(utc // _DAY) * _HOUR
    local = time if daily else utc - behind
    dates = np.unique(local // _DAY)
    first, last = (int(dates[0]), int(dates[-1])) if len(dates) else (0, -1)
    # 1970-01-03 was a Saturday: day 2, and every seventh after it.
    hour = local // _HOUR % 24
    night = (hour < _SHARE_HOURS[0]) | (hour >= _SHARE_HOURS[1])
    return _Evidence(
        daily=daily,
        intraday=intraday,
        bars=len(time),
        dates=len(dates),
        saturdays=(last - 2) // 7 - (first - 3) // 7,
        on_saturdays=int((dates % 7 == 2).sum()),
        on_sundays=int((dates % 7 == 3).sum()),
        night_days=0 if daily else len(np.unique(local[night] // _DAY)),
        new_york_midnight=daily and not ((utc - behind) % _DAY).any(),
    )


def _fits(reading: Reading, choices: Sequence[Reading], seen: _Evidence) -> bool:
    """Return True if the times support ``reading``; times that are only compatible with it do not."""
    if reading.calendar == "24/7":
        return seen.on_saturdays > 0 and 2 * seen.on_saturdays >= seen.saturdays and seen.daily | seen.intraday
    weekend = seen.on_saturdays + seen.on_sundays
    if reading.what == "a share":
        # Daily bars of shares have the same days as those of futures and indices.
        by_day = all(each.calendar == "24/7" for each in choices if each != reading)
        enough = seen.bars >= _FEWEST_DAILY and seen.saturdays >= _FEWEST_WEEKENDS
        by_days = seen.daily and by_day and (enough or seen.new_york_midnight)
        by_hours = seen.intraday and seen.dates >= _FEWEST_DAYS and not seen.night_days
        return not weekend and (by_days or by_hours)
    if reading.what == "an index":
        return False
    around_the_clock = seen.intraday and seen.night_days >= _FEWEST_DAYS and seen.saturdays > 0
    sundays = seen.daily and seen.on_sundays >= _FEWEST_WEEKENDS
    return not seen.on_saturdays and (around_the_clock or sundays)
