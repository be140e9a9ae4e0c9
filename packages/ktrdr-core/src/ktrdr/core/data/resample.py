"""Resampling of bars to a coarser timeframe.

A coarse bar opens on a UTC boundary of its timeframe, independent of the market's hours: 2 h and 4 h bars at multiples
counted from 00:00 UTC, daily bars at 00:00 UTC, weekly bars on Monday 00:00 UTC. So FX has a short daily bar on
Sundays. A coarse bar aggregates the finer bars that open in it; without any, there is no coarse bar. Because a bar is
visible from open + timeframe, the last one is dropped unless the finer bars reach its close.
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
    """Return True if ``coarser`` is an integer multiple, above 1, of ``finer``."""
    return finer.seconds < coarser.seconds and coarser.seconds % finer.seconds == 0


def boundary_at_or_before(time: np.ndarray, timeframe: Timeframe) -> np.ndarray:
    """Return the open (``datetime64[ns]``) of the bar of ``timeframe`` that contains each instant of ``time``."""
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
    """Return ``bars`` resampled to the coarser ``timeframe``.

    A coarse bar has the first open, the highest high, the lowest low, the last close and the sum of the volumes of its
    finer bars; the sum is NaN if one of them is.

    Args:
        bars: the finer bars.
        timeframe: a multiple of theirs.
        data_end: end of the data, by default the close of the last of ``bars``; a coarse bar that closes later is
            dropped. Needed if ``bars`` are only a part of the data.

    Raises:
        BadInputError: the timeframe is not an integer multiple, or a finer bar crosses a boundary of it (a coarse bar
            would then contain prices from after its close).
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
        world=bars.world,
    )
    end = bars.close_time[-1] if data_end is None else data_end
    return result if result.close_time[-1] <= end else result[:-1]
