"""Coarser bars from finer ones.

Conventions: a coarse bar opens on a UTC boundary of its timeframe (2 h and 4 h bars at multiples counted from 00:00
UTC, daily ones at 00:00 UTC, weekly ones on Monday 00:00 UTC) whatever the market's hours, so FX has a short daily bar
on Sundays. It holds the finer bars that open in it. Since a bar becomes visible at open + timeframe, the last one is
left out unless the finer bars reach its close; there is no bar where there are no finer ones.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe
from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError

__all__ = ["boundary_at_or_before", "divides", "first_straddling", "resample"]

# 1970-01-05 was a Monday; shorter timeframes count from 1970-01-01 00:00.
_MONDAY = 4 * 86_400_000_000_000


def divides(finer: Timeframe, coarser: Timeframe) -> bool:
    """Tell whether bars of ``finer`` add up to bars of ``coarser``."""
    return finer.seconds < coarser.seconds and coarser.seconds % finer.seconds == 0


def boundary_at_or_before(time: np.ndarray, timeframe: Timeframe) -> np.ndarray:
    """Return the open (``datetime64[ns]``) of the bars of ``timeframe`` in which the instants ``time`` lie."""
    length = timeframe.nanoseconds
    anchor = _MONDAY if timeframe.name == "1w" else 0
    count = time.astype("datetime64[ns]").astype(np.int64) - anchor
    return (count // length * length + anchor).astype("datetime64[ns]")


def first_straddling(bars: Bars, timeframe: Timeframe) -> int:
    """Return the position of the first bar that crosses a boundary of ``timeframe``, -1 if none does."""
    last_instant = bars.close_time - np.timedelta64(1, "ns")
    crosses = boundary_at_or_before(bars.time, timeframe) != boundary_at_or_before(last_instant, timeframe)
    return int(np.argmax(crosses)) if crosses.any() else -1


def resample(bars: Bars, timeframe: Timeframe | str, *, data_end: np.datetime64 | None = None) -> Bars:
    """Return ``bars`` as bars of the coarser ``timeframe``.

    Of the finer bars in each: the first open, the highest high, the lowest low, the last close and the sum of volume,
    which is NaN if one of its parts is.

    Args:
        bars: the finer bars.
        timeframe: a multiple of theirs.
        data_end: until when there is data, default the close of the last of ``bars``; a bar that closes later than
            that is left out. To be given by who passes only a part of the bars there are.

    Raises:
        BadInputError: the timeframe is not an integer multiple, or a bar crosses a boundary of it (so that a coarse bar
            would hold prices from after its close).
    """
    target = Timeframe(str(timeframe))
    if not divides(bars.timeframe, target):
        raise BadInputError(
            f"{bars.symbol}: {target} bars cannot be made of {bars.timeframe} bars, {target} is no integer multiple "
            f"of {bars.timeframe} above 1"
        )
    if not len(bars):
        return dataclasses.replace(bars, timeframe=target)
    row = first_straddling(bars, target)
    if row >= 0:
        raise BadInputError(
            f"{bars.symbol}: {target} bars cannot be made of these {bars.timeframe} bars, because the one of "
            f"{format_time(bars.time[row])} UTC reaches over the end of a {target} bar; import a finer timeframe"
        )
    opens = boundary_at_or_before(bars.time, target)
    first = np.flatnonzero(np.concatenate(([True], opens[1:] != opens[:-1])))
    last = np.concatenate((first[1:], [len(bars)])) - 1
    result = Bars(
        bars.symbol,
        target,
        opens[first],
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
        calendar=bars.calendar,
    )
    end = bars.close_time[-1] if data_end is None else data_end
    return result if result.close_time[-1] <= end else result[:-1]
