"""The reserve: bars at the end of the data that no training, search or evaluation uses."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.times import format_time
from ktrdr.core.errors import BadInputError
from ktrdr.core.models.manifest import Period

__all__ = ["before_reserve", "cut_reserve", "reserve_period", "reserve_start", "timeline"]


def timeline(times: Iterable[np.ndarray]) -> np.ndarray:
    """Return the opens of the bars of any symbol, ``datetime64[ns]``, ascending and distinct.

    Args:
        times: opens of each symbol's bars, ``datetime64[ns]`` ascending, UTC.
    """
    first, *others = times
    # Usually all symbols have the same bars.
    different = [time for time in others if not np.array_equal(time, first)]
    return np.unique(np.concatenate([first, *different])) if different else first


def reserve_start(times: Iterable[np.ndarray], reserve: float) -> np.datetime64 | None:
    """Return the open of the first bar of the reserve, the same for all symbols; ``None`` without a reserve.

    Args:
        times: opens of each symbol's base bars, ``datetime64[ns]`` UTC.
        reserve: fraction of the timeline at its end, rounded up to whole bars.

    Raises:
        BadInputError: there are no bars before the reserve.
    """
    if reserve == 0:
        return None
    time = timeline(times)
    # Rounded first, because 0.15 * 5700 could be above 855 in floating point and must not become 856.
    bars = math.ceil(round(reserve * len(time), 6))
    if bars >= len(time):
        raise BadInputError(
            f"`validation.reserve: {reserve:g}` takes all {len(time):,} bars and leaves none to train on; use more data"
            " or a smaller reserve"
        )
    start: np.datetime64 = time[len(time) - bars]
    return start


def before_reserve(bars: Mapping[str, Bars], reserve: np.datetime64 | None) -> dict[str, Bars]:
    """Return the bars of one symbol by timeframe without those that contain prices of the reserve.

    Args:
        bars: bars by timeframe, the base timeframe first.
        reserve: open of the first bar of the reserve; ``None`` without one.
    """
    if reserve is None:
        return dict(bars)
    cut = {}
    for place, (timeframe, own) in enumerate(bars.items()):
        # A longer bar that begins before the reserve may end in it.
        time = own.time if place == 0 else own.close_time - np.timedelta64(1, "ns")
        cut[timeframe] = own[: int(np.searchsorted(time, reserve))]
    return cut


def cut_reserve(bars: Mapping[str, Mapping[str, Bars]], reserve: np.datetime64 | None) -> dict[str, dict[str, Bars]]:
    """Return :func:`before_reserve` of every symbol.

    Args:
        bars: bars by symbol and timeframe, the base timeframe first.
        reserve: open of the first bar of the reserve; ``None`` without one.

    Raises:
        BadInputError: a symbol has no bar of a timeframe before the reserve.
    """
    cut = {symbol: before_reserve(own, reserve) for symbol, own in bars.items()}
    for symbol, own in cut.items():
        for timeframe, part in own.items():
            if reserve is not None and not len(part):
                raise BadInputError(
                    f"{symbol} has no {timeframe} bars before the reserve, which begins at {format_time(reserve)}; use"
                    " more data, an earlier start or a smaller `validation.reserve`, or leave the symbol out"
                )
    return cut


def reserve_period(base: Mapping[str, Bars], reserve: np.datetime64 | None) -> Period | None:
    """Return the period of the reserve, the same for all symbols: open of its first bar to close of its last, UTC.

    Args:
        base: base bars by symbol, with those of the reserve.
        reserve: open of the first bar of the reserve; ``None`` without one.
    """
    if reserve is None:
        return None
    return Period(start=_utc(reserve), end=_utc(max(bars.end for bars in base.values())))


def _utc(time: np.datetime64) -> dt.datetime:
    at: dt.datetime = time.astype("datetime64[us]").item().replace(tzinfo=dt.UTC)
    return at
