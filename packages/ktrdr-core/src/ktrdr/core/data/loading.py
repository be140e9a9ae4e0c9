"""Bars as strategies ask for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.store import BarStore
from ktrdr.core.data.timeframe import Timeframe

__all__ = ["fingerprint", "load_bars"]


def load_bars(
    store: BarStore,
    symbol: str,
    timeframe: Timeframe | str,
    start: np.datetime64 | None = None,
    end: np.datetime64 | None = None,
) -> Bars:
    """Return the bars of ``symbol`` that open in ``[start, end)``."""
    return store.read(symbol, timeframe, start, end)


def fingerprint(bars: Iterable[Bars]) -> str:
    """Return the sha256 (hex) of the content of ``bars``: symbols, timeframes, times and values.

    The order in which data sets come does not matter; every bit of a value does, except which NaN marks an unknown
    volume.
    """
    digests = sorted(_digest(each) for each in bars)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _digest(bars: Bars) -> bytes:
    digest = hashlib.sha256(f"{bars.symbol}\n{bars.timeframe}\n{len(bars)}\n".encode())
    digest.update(memoryview(np.ascontiguousarray(bars.time.astype("<i8"))))
    for name in ("open", "high", "low", "close", "volume"):
        values = np.ascontiguousarray(getattr(bars, name).astype("<f8"))
        values[np.isnan(values)] = np.nan
        digest.update(memoryview(values))
    return digest.digest()
