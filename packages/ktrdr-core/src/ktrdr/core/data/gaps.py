"""Gaps between bars, classified by the calendar of the market."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.calendars import Intervals, MarketCalendar

__all__ = ["GAP_KINDS", "Gaps", "find_gaps", "outside_hours"]

GAP_KINDS = ("weekend", "holiday", "session_break", "unexpected")
"""The first three are expected: the market was closed."""

_DAY = 86_400_000_000_000
_WEEK = 7 * _DAY
_SATURDAY_NOON = 2 * _DAY + _DAY // 2  # 1970-01-03 12:00
_CHUNK = 262_144


@dataclass(frozen=True, slots=True)
class Gaps:
    """Gaps: places where a bar does not open at the close of the bar before.

    Attributes:
        start: ``datetime64[ns]`` ``(g,)``, close of the bar before.
        end: ``datetime64[ns]`` ``(g,)``, open of the bar after.
        missing: int64 ``(g,)``, bars the calendar expects in between.
        kind: int64 ``(g,)``, position in :data:`GAP_KINDS`; ``unexpected`` if ``missing`` is not 0.
    """

    start: np.ndarray
    end: np.ndarray
    missing: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def count(self, kind: str) -> int:
        """Return how many gaps are of ``kind``."""
        return int((self.kind == GAP_KINDS.index(kind)).sum())


def find_gaps(bars: Bars, calendar: MarketCalendar) -> Gaps:
    """Return all gaps of ``bars``, which ascend in time.

    A bar counts as missing if the market was open for more than half of its time: a daily bar for the two hours of a
    Sunday is not missing, nor is the hourly bar of 9:00 of a session that opens at 9:30.
    """
    time = bars.time.astype(np.int64)
    if bars.timeframe.name == "1d" and calendar.name not in ("FX", "24/7"):
        time = time // _DAY * _DAY
    length = bars.timeframe.nanoseconds
    row = np.flatnonzero(np.diff(time) > length)
    start, end = time[row] + length, time[row + 1]
    if not len(row):
        nothing = np.empty(0, dtype=np.int64)
        return Gaps(nothing.astype("datetime64[ns]"), nothing.astype("datetime64[ns]"), nothing, nothing)
    sessions = calendar.sessions(bars.time[0], bars.time[-1], bars.timeframe)
    holidays = calendar.holidays(bars.time[0], bars.time[-1])
    missing = np.ceil(sessions.covered(start, end) / length - 0.5).astype(np.int64)
    weekend = (start - _SATURDAY_NOON) // _WEEK != (end - _SATURDAY_NOON) // _WEEK
    kind = np.where(weekend, GAP_KINDS.index("weekend"), GAP_KINDS.index("session_break"))
    kind[holidays.covered(start, end) > 0] = GAP_KINDS.index("holiday")
    kind[missing > 0] = GAP_KINDS.index("unexpected")
    return Gaps(start.astype("datetime64[ns]"), end.astype("datetime64[ns]"), missing, kind.astype(np.int64))


def outside_hours(bars: Bars, calendar: MarketCalendar) -> np.ndarray:
    """Return the positions of the bars during which the market was closed all the time, except on holidays.

    Many such bars indicate a wrong time zone, a wrong calendar, or a vendor that fills weekends.

    Returns:
        int64 ``(k,)``, ascending.
    """
    if not len(bars):
        return np.empty(0, dtype=np.int64)
    sessions = calendar.sessions(bars.time[0], bars.time[-1], bars.timeframe)
    holidays = calendar.holidays(bars.time[0], bars.time[-1])
    found = [
        begin + np.flatnonzero(_closed(bars[begin : begin + _CHUNK], sessions, holidays))
        for begin in range(0, len(bars), _CHUNK)
    ]
    return np.concatenate(found)


def _closed(bars: Bars, sessions: Intervals, holidays: Intervals) -> np.ndarray:
    start = bars.time.astype(np.int64)
    end = start + bars.timeframe.nanoseconds
    return (sessions.covered(start, end) == 0) & (holidays.covered(start, end) == 0)
