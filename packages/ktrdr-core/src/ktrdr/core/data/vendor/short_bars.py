"""Short bars that open a session before the grid of a timeframe begins, as Interactive Brokers delivers them.

An hourly file of a share has bars at 09:30, 10:00, 11:00, ...; the first one is half an hour long. A file of a currency
pair has bars at 17:15, 18:00, ..., and in some weeks also at 17:00, in the same hour as the one at 17:15.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time

__all__ = ["ShortBars", "align", "describe_short_bars", "find_short_bars", "grid_phase"]

_HOUR = 3_600_000_000_000
_FIVE_MINUTES = 300_000_000_000
_WEEK = 168 * _HOUR
_SATURDAY_NOON = 60 * _HOUR  # 1970-01-03 12:00


@dataclass(frozen=True, slots=True)
class ShortBars:
    """Short bars among the bars of one symbol.

    Attributes:
        rows: int64 ``(k,)``, their positions, ascending.
        slots: int64 ``(k,)``, nanoseconds since 1970: opens of the grid's slots that they belong to.
        merged: bool ``(k,)``, True if the bar before is the grid's bar of the same slot.
        complete: True if no bars overlap after the short bars are moved to the grid.
    """

    rows: np.ndarray
    slots: np.ndarray
    merged: np.ndarray
    complete: bool


def grid_phase(time: np.ndarray, step: int) -> np.ndarray:
    """Return the phase of the grid, ``time % step``, for each bar.

    It is the phase of most bars; bars that follow another one in less than ``step`` count twice. Above an hour the grid
    follows the market's clock, which moves against UTC twice a year, so each week has its own phase.

    Args:
        time: int64 ``(n,)``, ascending opens in nanoseconds since 1970, UTC.
        step: length of a bar in nanoseconds.

    Returns:
        int64 ``(n,)``.
    """
    if not len(time):
        return np.empty(0, dtype=np.int64)
    phase = time % step
    week = (time - _SATURDAY_NOON) // _WEEK if step > _HOUR else np.zeros(len(time), dtype=np.int64)
    pairs, inverse = np.unique(np.stack((week, phase), axis=1), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    score = np.bincount(inverse) + np.bincount(inverse[1:][np.diff(time) < step], minlength=len(pairs))
    # Sorted by score, the last entry of each week has the highest score.
    order = np.lexsort((score, pairs[:, 0]))
    weeks = pairs[order, 0]
    last = np.flatnonzero(np.append(weeks[1:] != weeks[:-1], True))
    return pairs[order[last], 1][np.searchsorted(weeks[last], week)]


def find_short_bars(time: np.ndarray, step: int) -> ShortBars | None:
    """Return the short bars that open sessions, None if there are none.

    A short bar opens off the grid, by a multiple of five minutes; all short bars open at the same minute of the hour.
    Each is the only bar off the grid in its slot, the bars around it are on the grid or outside its slot, and no
    neighbouring slot has a short bar. At least one of them ends where the next bar opens, less than ``step`` later.

    Args:
        time: int64 ``(n,)``, strictly ascending opens in nanoseconds since 1970, UTC.
        step: length of a bar in nanoseconds.
    """
    if len(time) < 2 or step > 4 * _HOUR:
        return None
    late = (time - grid_phase(time, step)) % step
    slot = time - late
    # There are no bars beyond both ends.
    before = np.concatenate(([np.iinfo(np.int64).min], time[:-1]))
    after = np.concatenate((time[1:], [np.iinfo(np.int64).max]))
    alone = (late > 0) & (late % _FIVE_MINUTES == 0) & (before <= slot) & (after >= slot + step)
    cut = alone & (after == slot + step)
    if not cut.any():
        return None
    minutes, counts = np.unique(late[cut] % _HOUR, return_counts=True)
    rows = np.flatnonzero(alone & (late % _HOUR == minutes[np.argmax(counts)]))
    near = np.diff(slot[rows]) <= step
    rows = rows[~(np.append(near, False) | np.append(False, near))]
    if not cut[rows].any():
        return None
    moved = time.copy()
    moved[rows] = slot[rows]
    merged = before[rows] == slot[rows]
    complete = bool((np.diff(np.delete(moved, rows[merged])) >= step).all())
    return ShortBars(rows, slot[rows], merged, complete)


def align(bars: Bars, short: ShortBars) -> tuple[Bars, np.ndarray]:
    """Move short bars to the grid, and merge them with the grid's bar of the same slot if there is one.

    A merged bar has the open of the first bar, the higher high, the lower low, the close of the second bar and the sum
    of the volumes, which is NaN (unknown) if one of them is.

    Args:
        bars: of any timeframe up to 4h, ascending.
        short: the result of :func:`find_short_bars` for these bars.

    Returns:
        The bars, and int64 ``(m,)``: the position in ``bars`` of each (of the first one of a merged pair).
    """
    time, close, volume = bars.time.copy(), bars.close.copy(), bars.volume.copy()
    high, low = bars.high.copy(), bars.low.copy()
    time[short.rows] = short.slots.view("datetime64[ns]")
    second = short.rows[short.merged]
    first = second - 1
    high[first] = np.maximum(high[first], high[second])
    low[first] = np.minimum(low[first], low[second])
    close[first] = close[second]
    volume[first] += volume[second]
    kept = np.delete(np.arange(len(bars)), second)
    columns = (column[kept] for column in (bars.open, high, low, close, volume))
    return Bars(bars.symbol, bars.timeframe, time[kept], *columns, calendar=bars.calendar, world=bars.world), kept


def describe_short_bars(bars: Bars, short: ShortBars) -> str:
    """Return the effect of ``--align`` as the second half of a sentence."""
    count, merged = len(short.rows), int(short.merged.sum())
    what = "1 bar is a short one that opens" if count == 1 else f"{count:,} bars are short ones that open"
    put = "puts it on the grid" if count == 1 else "puts them on the grid"
    first = format_time(bars.time[short.rows[0]])
    return (
        f"{what} a session before the grid of {bars.timeframe} begins (first {first}), as Interactive Brokers "
        f"delivers them; --align {put} and merges {merged:,} with the grid's bar of the same slot"
    )
