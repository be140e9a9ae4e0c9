"""Made-up bars that several benchmarks share."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe

__all__ = ["random_walk", "warm_allocator"]


def random_walk(n: int, *, timeframe: str = "1m", start: float = 1.1, step: float = 1e-4, digits: int = 5) -> Bars:
    """Return ``n`` bars of a random walk with relative steps of about ``step``, rounded to ``digits`` like quotes."""
    random = np.random.default_rng(0)
    close = np.round(start * np.exp(np.cumsum(random.normal(0, step, n))), digits)
    open_ = np.concatenate((close[:1], close[:-1]))
    reach = np.round(random.random((2, n)) * 2 * step * start, digits)
    return Bars(
        "EURUSD",
        Timeframe(timeframe),
        np.datetime64("2010-01-01", "ns") + np.arange(n) * np.timedelta64(Timeframe(timeframe).seconds, "s"),
        open_,
        np.maximum(open_, close) + reach[0],
        np.minimum(open_, close) - reach[1],
        close,
        random.integers(1, 1000, n).astype(np.float64),
    )


def warm_allocator() -> None:
    """Make glibc keep the memory of large arrays, by freeing one.

    Otherwise the time of programs with many temporary arrays would be mostly that of page faults.
    """
    np.ones(3_000_000)
