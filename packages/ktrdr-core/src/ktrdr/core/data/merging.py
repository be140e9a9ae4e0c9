"""Merge of new bars into stored ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.consistency import shortest_step
from ktrdr.core.data.dataset_manifest import YearFile
from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError

__all__ = ["by_year", "check_spacing", "check_year_ends", "merge"]


def merge(old: Bars, new: Bars) -> tuple[Bars, tuple[int, int, int]]:
    """Return ``old`` with the bars of ``new`` added or replaced, and the numbers of added, replaced, unchanged bars.

    Times of both must ascend strictly; those of the result do too.
    """
    position = np.searchsorted(old.time, new.time)
    inside = np.minimum(position, len(old) - 1)
    known = old.time[inside] == new.time
    same = known.copy()
    for name in ("open", "high", "low", "close", "volume"):
        before, after = getattr(old, name)[inside], getattr(new, name)
        same &= (before == after) | (np.isnan(before) & np.isnan(after))
    replaced = known & ~same
    order = np.argsort(np.concatenate((old.time, new.time[~known])), kind="stable")

    def column(name: str) -> np.ndarray:
        values = getattr(old, name).copy()
        values[position[replaced]] = getattr(new, name)[replaced]
        return np.concatenate((values, getattr(new, name)[~known]))[order]

    columns = (column(name) for name in ("time", "open", "high", "low", "close", "volume"))
    merged = Bars(new.symbol, new.timeframe, *columns, calendar=new.calendar, world=new.world)
    return merged, (int((~known).sum()), int(replaced.sum()), int(same.sum()))


def by_year(bars: Bars) -> Iterator[tuple[int, Bars]]:
    """Yield each year (UTC) in which bars open, ascending, and its bars."""
    if not len(bars):
        return
    first, last = (int(str(time.astype("datetime64[Y]"))) for time in (bars.time[0], bars.time[-1]))
    for year in range(first, last + 1):
        part = bars.between(np.datetime64(f"{year:04d}", "ns"), np.datetime64(f"{year + 1:04d}", "ns"))
        if len(part):
            yield year, part


def check_spacing(bars: Bars) -> None:
    """Raise BadInputError if a bar opens before the bar before it has closed."""
    close = np.flatnonzero(np.diff(bars.time) < shortest_step(bars.timeframe))
    if len(close):
        raise _overlap(bars, bars.time[close[0]], bars.time[close[0] + 1])


def check_year_ends(bars: Bars, files: Sequence[YearFile]) -> None:
    """Raise BadInputError if bars overlap where two years meet; ``files`` ascend, ``bars`` name the data set."""
    for before, after in itertools.pairwise(files):
        if after.first - before.last < shortest_step(bars.timeframe):
            raise _overlap(bars, before.last, after.first)


def _overlap(bars: Bars, first: np.datetime64, second: np.datetime64) -> BadInputError:
    return BadInputError(
        f"{bars.symbol} {bars.timeframe}: with the stored bars, the bar of {format_time(second)} opens before "
        f"the one of {format_time(first)} has closed; give the time zone of the file, or delete the stored bars first"
    )
