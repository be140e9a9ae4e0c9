"""Made-up bars that several benchmarks share."""

from __future__ import annotations

import numpy as np

from ktrdr.core.data.bars import Bars
from ktrdr.core.data.timeframe import Timeframe

__all__ = ["random_walk", "warm_allocator"]


def random_walk(n: int, *, timeframe: str = "1m", start: float = 1.1, step: float = 1e-4, digits: int = 5) -> Bars:
    """Return ``n`` bars whose close changes by about ``step`` of itself each, on a grid, as quotes are."""
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
    """Teach glibc to keep memory of large arrays, by freeing one.

    Otherwise what is measured of whoever makes more temporary arrays is mostly the kernel handing out pages.
    """
    np.ones(3_000_000)
