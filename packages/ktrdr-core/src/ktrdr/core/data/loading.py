"""Loading of bars: stored ones, or bars resampled from a finer stored timeframe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from ktrdr.core.data.bar_store import BarStore
from ktrdr.core.data.bars import Bars
from ktrdr.core.data.resample import boundary_at_or_before, divides, first_straddling, resample
from ktrdr.core.data.timeframe import TIMEFRAMES, Timeframe
from ktrdr.core.errors import BadInputError, NotFoundError

__all__ = ["bars_digest", "fingerprint", "load_bars"]


def load_bars(
    store: BarStore,
    symbol: str,
    timeframe: Timeframe | str,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
) -> Bars:
    """Return the bars of ``symbol`` that open in ``[start, end)``.

    A timeframe that is not stored is resampled from the coarsest finer one that is stored and fits
    (:mod:`ktrdr.core.data.resample`). A range never changes a bar: the result is a slice of the bars without a range.

    Args:
        store: holds the bars.
        symbol: such as ``EURUSD``.
        timeframe: length of a bar.
        start: the earliest open, UTC; ``None`` for the first bar.
        end: bars open before this time, UTC; ``None`` for the last bar.

    Raises:
        BadInputError: the finer bars that are stored do not fit.
        NotFoundError: neither the timeframe nor a finer one that fits is stored; the message names the stored ones.
    """
    target = Timeframe(str(timeframe))
    if store.has(symbol, target):
        return store.read(symbol, target, start, end)
    finer = [name for name in reversed(TIMEFRAMES) if divides(Timeframe(name), target) and store.has(symbol, name)]
    for name in finer:
        info = store.info(symbol, name)
        bars = store.read(symbol, name, _down(start, target), _up(end, target))
        if first_straddling(bars, target) < 0:
            return resample(bars, target, data_end=info.end).between(start, end)
    if finer:
        raise BadInputError(
            f"{symbol}: {target} bars are not stored and cannot be made of the stored ones ({', '.join(finer)}), whose "
            f"bars reach over the ends of {target} bars; import {target} bars or a finer timeframe"
        )
    coarser = [info.timeframe for info in store.datasets() if info.symbol == symbol]
    if coarser:
        raise NotFoundError(
            f"{symbol}: {target} bars are not stored and cannot be made of the stored ones ({', '.join(coarser)}),"
            f" since {target} is no integer multiple of those; import {target} bars or finer ones with `ktrdr data"
            " import`"
        )
    return store.read(symbol, target, start, end)  # raises NotFoundError, which names the stored data sets


def fingerprint(digests: Iterable[bytes]) -> str:
    """Return the sha256 (hex) of the content of data sets: symbols, timeframes, times and values.

    The order of the data sets does not matter. Every bit of a value counts; all NaN are equal.

    Args:
        digests: result of :func:`bars_digest` for each data set.
    """
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def bars_digest(bars: Bars) -> bytes:
    """Return the sha256 of the content of one data set; see :func:`fingerprint`."""
    digest = hashlib.sha256(f"{bars.symbol}\n{bars.timeframe}\n{len(bars)}\n".encode())
    digest.update(np.ascontiguousarray(bars.time.astype("<i8")).data)
    for name in ("open", "high", "low", "close", "volume"):
        values = np.ascontiguousarray(getattr(bars, name), dtype="<f8")
        unknown = np.isnan(values)
        digest.update(np.where(unknown, np.nan, values).data if unknown.any() else values.data)
    return digest.digest()


def _down(time: np.datetime64 | None, timeframe: Timeframe) -> np.datetime64 | None:
    return None if time is None else boundary_at_or_before(np.array([time]), timeframe)[0]


def _up(time: np.datetime64 | None, timeframe: Timeframe) -> np.datetime64 | None:
    if time is None:
        return None
    step = np.timedelta64(timeframe.nanoseconds, "ns")
    return boundary_at_or_before(np.array([time]) + (step - np.timedelta64(1, "ns")), timeframe)[0]
