"""Market calendars: trading hours, and the number of bars in a year.

There are three kinds: ``FX`` (Sunday 17:00 to Friday 17:00 in New York, the week of 24/5 markets), ``24/7`` for crypto
currencies, and exchanges by their market identifier code (``XNYS``, ``XLON``, ``CMES``, ...) from
``exchange_calendars``.

The calendar of a data set is stored with it (:attr:`~ktrdr.core.data.bars.Bars.calendar`) or follows from the symbol
(:mod:`ktrdr.core.data.symbol_spelling`).
"""

from __future__ import annotations

import datetime as dt
import functools
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from ktrdr.core.data.exchange_sessions import exchange_name, exchange_reach, exchange_sessions
from ktrdr.core.data.symbol_spelling import pause_hours, readings
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.errors import BadInputError

__all__ = ["Intervals", "MarketCalendar", "bars_per_year", "calendar_for", "check_calendar", "new_york_hours"]

_DAY = 86_400_000_000_000
_HOUR = 3_600_000_000_000
_DAYS_PER_YEAR = 365.2425
_WEEKS_PER_YEAR = _DAYS_PER_YEAR / 7
_FEWEST_WEEKS = 8

# Days over which the bars of a year are counted: ten years in whole weeks (Monday 2014-12-29 to Sunday 2024-12-29).
_COUNTED = (16433, 20086)
# Calendars that `exchange_calendars` has open for 24 hours, although the market is closed in the last one.
_RESTING = frozenset({"CMES", "us_futures"})
# Sessions from this length on span two dates, and are due for one daily bar only.
_LONG_SESSION = 20 * _HOUR


@dataclass(frozen=True, slots=True)
class Intervals:
    """Ascending intervals of time without overlap, ``int64`` nanoseconds since 1970, ``[open, close)``."""

    open: np.ndarray
    close: np.ndarray

    def covered(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return how many nanoseconds of each ``[start, end)`` lie inside the intervals, int64 ``(n,)``."""
        return self._until(end) - self._until(start)

    def _until(self, time: np.ndarray) -> np.ndarray:
        if not len(self.open):
            return np.zeros(len(time), dtype=np.int64)
        before = np.concatenate(([0], np.cumsum(self.close - self.open)))
        index = np.searchsorted(self.open, time, side="right") - 1
        inside = np.minimum(time, self.close[index]) - self.open[index]
        return np.where(index < 0, 0, before[index] + inside)


@dataclass(frozen=True, slots=True)
class MarketCalendar:
    """The trading hours of one market.

    Attributes:
        name: ``FX``, ``24/7`` or a market identifier code.
        break_hours: for ``FX``, hours without trading at the start of each day (1 for metals, else 0).
    """

    name: str
    break_hours: int = 0

    def sessions(self, start: np.datetime64, end: np.datetime64, timeframe: Timeframe) -> Intervals:
        """Return the intervals between ``start`` and ``end`` in which bars of ``timeframe`` are expected.

        For daily bars of an exchange these are whole days (UTC) with a session, because such bars are labelled with the
        date; for weekly bars, the weeks (from Monday, UTC) with a session. A session of nearly 24 hours begins on the
        day before: it counts with its hours for daily bars too.
        """
        first, last = _days(start, end)
        if self.name == "24/7":
            return Intervals(np.array([first * _DAY]), np.array([(last + 1) * _DAY]))
        days, opens, closes = self._hours(first, last)
        if timeframe.name == "1w":
            weeks = np.unique(_week(days))
            return Intervals((weeks * 7 - 3) * _DAY, (weeks * 7 + 4) * _DAY)
        long = len(opens) > 0 and int(np.median(closes - opens)) >= _LONG_SESSION
        if timeframe.name == "1d" and not long:
            return Intervals(days * _DAY, (days + 1) * _DAY)
        return Intervals(opens, closes)

    def holidays(self, start: np.datetime64, end: np.datetime64) -> Intervals:
        """Return the closed weekdays between ``start`` and ``end``."""
        first, last = _days(start, end)
        days = np.arange(first, last + 1)
        if self.name == "24/7":
            return Intervals(days[:0], days[:0])
        if self.name == "FX":
            return self._fx_days(days[_is_weekday(days) & _is_fx_holiday(days)])
        closed = np.setdiff1d(days[_is_weekday(days)], exchange_sessions(self.name, first, last)[0])
        return Intervals(closed * _DAY, (closed + 1) * _DAY)

    def bars_per_year(self, timeframe: Timeframe) -> float:
        """Return how many bars of ``timeframe`` an average year has, counted over the sessions of 2015 to 2024.

        Counted are the bars that resampling makes of one-minute bars: one wherever a session and the UTC grid of the
        timeframe overlap, however briefly (XNYS in winter, 14:30 to 21:00, has seven hourly bars, 14:00 to 20:00). Of
        daily bars there is one for each session, of weekly bars one for each week (from Monday, UTC) with a session. A
        calendar that begins later is counted over the whole weeks it has.
        """
        if self.name == "24/7":
            return _DAYS_PER_YEAR * 86400 / timeframe.seconds
        first, last = self._counted()
        days, opens, closes = self._hours(first, last)
        if timeframe.name == "1w":
            bars = len(np.unique(_week(days)))
        elif timeframe.name == "1d":
            bars = len(days)
        else:
            bars = _slots(opens, closes, timeframe.nanoseconds)
        return bars / (last - first + 1) * _DAYS_PER_YEAR

    def _counted(self) -> tuple[int, int]:
        first, last = _COUNTED
        if self.name == "FX":
            return first, last
        try:
            exchange_sessions(self.name, first, last)
        except BadInputError:
            lower, _ = exchange_reach(self.name)
            if lower is None:
                raise
            first = (lower + 9) // 7 * 7 - 3  # the first Monday
        return first, last

    def _hours(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return days with a session, and opens and closes of its parts; see :func:`.exchange_sessions`."""
        if self.name == "FX":
            days = np.arange(first, last + 1)
            days = days[_is_weekday(days) & ~_is_fx_holiday(days)]
            hours = self._fx_days(days)
            return days, hours.open, hours.close
        days, opens, closes = exchange_sessions(self.name, first, last)
        if self.name in _RESTING:
            closes = np.where(closes - opens >= 24 * _HOUR, closes - _HOUR, closes)
        return days, opens, closes

    def _fx_days(self, days: np.ndarray) -> Intervals:
        close = days * _DAY + _new_york_five(days)
        open_ = (days - 1) * _DAY + _new_york_five(days - 1) + self.break_hours * _HOUR
        return Intervals(open_, close)


def check_calendar(name: str) -> str:
    """Return the canonical name of a calendar: ``XNYS`` for ``nyse``, ``FX`` for ``24/5``.

    Raises:
        BadInputError: there is no calendar of that name.
    """
    upper = name.upper()
    if upper in ("FX", "24/5"):
        return "FX"
    return upper if upper == "24/7" else exchange_name(name)


def calendar_for(symbol: str, calendar: str | None = None) -> MarketCalendar:
    """Return the calendar named ``calendar``, by default the one that ``symbol`` implies.

    For a ticker with several readings (:func:`~ktrdr.core.data.symbol_spelling.readings`) it is the first one's.

    Raises:
        BadInputError: there is no calendar of that name.
    """
    name = readings(symbol)[0].calendar if calendar is None else check_calendar(calendar)
    return MarketCalendar(name, pause_hours(symbol) if name == "FX" else 0)


def bars_per_year(
    symbol: str, timeframe: Timeframe | str, times: np.ndarray | None = None, *, calendar: str | None = None
) -> float:
    """Return the number of bars in a year, to annualize figures per bar.

    If ``times`` hold at least eight whole weeks, it is the mean number of bars per week in the data, times 52.1775.
    Only weeks between two other weeks with bars count, so neither a range that starts on a Wednesday nor a gap in the
    data changes the result. Otherwise the number comes from the calendar (:func:`calendar_for`).

    Args:
        symbol: such as ``EURUSD``.
        timeframe: length of a bar.
        times: ``datetime64`` ``(n,)``, ascending opens, UTC; ``None`` to count by the calendar.
        calendar: name of the calendar; by default the one that ``symbol`` implies.
    """
    frame = Timeframe(str(timeframe))
    if times is not None and len(times) > 2:
        first, last = _week(times[[0, -1]].astype("datetime64[D]").astype(np.int64))
        mondays = (np.arange(first + 1, last + 1) * 7 - 3).astype("datetime64[D]").astype(times.dtype)
        counts = np.diff(np.searchsorted(times, mondays), prepend=0, append=len(times))
        counts = counts[1:-1][(counts[1:-1] > 0) & (counts[:-2] > 0) & (counts[2:] > 0)]
        if len(counts) >= _FEWEST_WEEKS:
            return float(counts.mean()) * _WEEKS_PER_YEAR
    return calendar_for(symbol, calendar).bars_per_year(frame)


def _days(start: np.datetime64, end: np.datetime64) -> tuple[int, int]:
    """Return first and last day since 1970 around ``[start, end]``, with one more day on each side."""
    return (
        int(start.astype("datetime64[D]").astype(np.int64)) - 1,
        int(end.astype("datetime64[D]").astype(np.int64)) + 1,
    )


def _is_weekday(days: np.ndarray) -> np.ndarray:
    return (days + 3) % 7 < 5  # 1970-01-01 was a Thursday


def _is_fx_holiday(days: np.ndarray) -> np.ndarray:
    day = days.astype("datetime64[D]")
    in_year = (day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    christmas = day.astype("datetime64[M]").astype(np.int64) % 12 == 11
    in_month = (day - day.astype("datetime64[M]").astype("datetime64[D]")).astype(np.int64)
    return (in_year == 0) | (christmas & (in_month == 24))


def _week(days: np.ndarray) -> np.ndarray:
    """Return the week of each day, as a number of weeks (from Monday) since 1970."""
    return (days + 3) // 7


def _slots(opens: np.ndarray, closes: np.ndarray, length: int) -> int:
    """Return how many bars of ``length`` on the UTC grid overlap the intervals, which ascend without overlap."""
    first, last = opens // length, (closes - 1) // length
    before = np.concatenate((first[:1] - 1, last[:-1]))
    return int(np.maximum(last - np.maximum(first, before + 1) + 1, 0).sum())


def new_york_hours(days: np.ndarray) -> np.ndarray:
    """Return how many hours New York is behind UTC at the end of ``days`` (since 1970), int64 of the same shape."""
    return _new_york_five(days) // _HOUR - 17


def _new_york_five(days: np.ndarray) -> np.ndarray:
    """Return the nanoseconds from 00:00 UTC to 17:00 in New York for each day."""
    known, index = np.unique(days, return_inverse=True)
    return np.array([_five_o_clock(int(day)) for day in known], dtype=np.int64)[index]


@functools.lru_cache(maxsize=65536)
def _five_o_clock(day: int) -> int:
    date = dt.date(1970, 1, 1) + dt.timedelta(days=day)
    local = dt.datetime.combine(date, dt.time(17), tzinfo=ZoneInfo("America/New_York"))
    offset = local.utcoffset()
    assert offset is not None
    return 17 * _HOUR - int(offset.total_seconds()) * 1_000_000_000
